"""Pure Python with floats and a lock. A market order is a limit beyond every price; trades are read after the clock."""

import logging

from manticore_orderbook import OrderBook

LIMIT, CANCEL = 0, 1
ANY_PRICE = {1: 1_000_000.0, -1: 1.0}
ALL = 10**9


def prepare(messages):
    logging.disable(logging.CRITICAL)
    book = OrderBook("X", enable_logging=False, max_trade_history=ALL)

    def replay():
        add, cancel = book.add_order, book.cancel_order
        for kind, order_id, side, price, size, account in messages:
            if kind == CANCEL:
                cancel(str(order_id))
            else:
                limit = float(price) if kind == LIMIT else ANY_PRICE[side]
                add("buy" if side > 0 else "sell", limit, float(size), order_id=str(order_id), user_id=str(account))

    def outcome():
        history = book.get_trade_history(ALL)
        return {
            "trades": len(history),
            "lots": sum(trade["quantity"] for trade in history),
            "notional": sum(trade["quantity"] * trade["price"] for trade in history),
        }

    return replay, outcome
