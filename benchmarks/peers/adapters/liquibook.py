"""Liquibook's C++ depth book over SWIG, with a listener in Python that hears of each fill."""

import liquibook

LIMIT, CANCEL = 0, 1


class Fills(liquibook.OrderListener):
    def __init__(self):
        super().__init__()
        self.trades = self.lots = self.notional = 0

    def on_fill(self, order, maker, size, price):
        order.fill(size, price, 0)
        maker.fill(size, price, 0)
        self.trades += 1
        self.lots += size
        self.notional += size * price

    def on_accept(self, order):
        pass

    def on_cancel(self, order):
        pass


def prepare(messages):
    fills = Fills()
    book = liquibook.DepthOrderBook("X")
    book.set_order_listener(fills)
    orders = {}
    plain = liquibook.oc_no_conditions

    def replay():
        add, cancel, new = book.add, book.cancel, liquibook.SimpleOrder
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                cancel(orders[order_id])
            else:
                # Kept until the end: the book holds no reference of its own to an object that Python made.
                order = orders[order_id] = new(side > 0, price if kind == LIMIT else 0, size, 0, plain)
                add(order, plain)

    return replay, lambda: {"trades": fills.trades, "lots": fills.lots, "notional": fills.notional}
