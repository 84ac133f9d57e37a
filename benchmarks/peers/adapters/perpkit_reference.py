"""An `Order` a message, `plan` and `commit`; each fill is read from the plan."""

from perpkit.model.order import Order, Side, TimeInForce
from perpkit.plugin import BOOK, NoOptions, Registry
from perpkit.testing.builders import market_context

LIMIT, CANCEL = 0, 1
ANY_PRICE_TICKS = {1: 1 << 40, -1: 1}


def prepare(messages):
    book = Registry.builtin().get(BOOK, "price-time").build(market_context(), NoOptions())
    sides = {1: Side.BUY, -1: Side.SELL}
    gtc, ioc = TimeInForce.GTC, TimeInForce.IOC
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        plan_of, commit, reduce = book.plan, book.commit, book.reduce
        for kind, order_id, side, price, size, account in messages:
            if kind == CANCEL:
                reduce(order_id, size)
                continue
            limit, until = (price, gtc) if kind == LIMIT else (ANY_PRICE_TICKS[side], ioc)
            plan = plan_of(Order(order_id, account, 1, 0, sides[side], size, limit, until))
            commit(plan)
            for match in plan.matches:
                trades += 1
                lots += match.size_lots
                notional += match.size_lots * match.price_ticks

    def outcome():
        left = sum(order.size_lots for side in Side for order in book.orders(side))
        return {"trades": trades, "lots": lots, "notional": notional, "left_lots": left}

    return replay, outcome
