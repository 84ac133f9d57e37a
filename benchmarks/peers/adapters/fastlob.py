"""Pure Python with `Decimal` and a thread. Results leave out fills of an order that also rests, so none are counted."""

import logging

from fastlob import Orderbook, OrderParams, OrderSide, OrderType

LIMIT, CANCEL = 0, 1
ANY_PRICE = {1: 1_000_000, -1: 1}


def prepare(messages):
    logging.disable(logging.CRITICAL)
    book = Orderbook("X", start=True)
    sides = {1: OrderSide.BID, -1: OrderSide.ASK}
    ids = {}

    def replay():
        gtc = OrderType.GTC
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                book.cancel(ids.pop(order_id))
            else:
                limit = price if kind == LIMIT else ANY_PRICE[side]
                ids[order_id] = book.process(OrderParams(sides[side], limit, size, gtc)).orderid()

    def outcome():
        left = book.total_volume()
        book.stop()
        return {"left_lots": left}

    return replay, outcome
