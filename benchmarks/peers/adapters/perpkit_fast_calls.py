"""`place` and `cancel` with plain integers; each fill is read from the tuples that `place` returns."""

from perpkit.model.order import Side
from perpkit.plugin import BOOK, NoOptions, Registry
from perpkit.testing.builders import market_context

LIMIT, CANCEL = 0, 1
GTC, IOC = 1 << 1, 2 << 1
ANY_PRICE_TICKS = {1: 1 << 40, -1: 1}


def prepare(messages):
    book = Registry.discover().get(BOOK, "fast").build(market_context(), NoOptions())
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        place, cancel = book.place, book.cancel
        for kind, order_id, side, price, size, account in messages:
            if kind == CANCEL:
                cancel(order_id)
                continue
            if kind == LIMIT:
                fills = place(order_id, account, side, size, price, GTC)[4]
            else:
                fills = place(order_id, account, side, size, ANY_PRICE_TICKS[side], IOC)[4]
            for _, _, _, fill_price, fill_lots, _ in fills:
                trades += 1
                lots += fill_lots
                notional += fill_lots * fill_price

    def outcome():
        left = sum(order.size_lots for side in Side for order in book.orders(side))
        return {"trades": trades, "lots": lots, "notional": notional, "left_lots": left}

    return replay, outcome
