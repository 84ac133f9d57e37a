"""Pure Python with `Decimal` and `uuid4`. A market order is sent as a limit beyond every price."""

import logging

from pyorderbook.book import Book
from pyorderbook.order import Order, Side

LIMIT, CANCEL = 0, 1
ANY_PRICE = {1: 1_000_000, -1: 1}


def prepare(messages):
    logging.disable(logging.CRITICAL)
    book = Book()
    sides = {1: Side.BID, -1: Side.ASK}
    orders = {}
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                book.cancel(orders.pop(order_id))
                continue
            order = orders[order_id] = Order(sides[side], "X", price if kind == LIMIT else ANY_PRICE[side], size)
            for trade in book.match(order).trades:
                trades += 1
                lots += trade.fill_quantity
                notional += trade.fill_quantity * trade.fill_price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
