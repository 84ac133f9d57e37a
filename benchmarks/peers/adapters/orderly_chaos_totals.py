"""The same without `on_trade`: an order answers how much of it was filled."""

from orderly_chaos import LimitOrderBook, Side

LIMIT, CANCEL = 0, 1


def prepare(messages):
    book = LimitOrderBook()
    sides = {1: Side.BUY, -1: Side.SELL}
    lots = 0

    def replay():
        nonlocal lots
        limit, market, cancel = book.limit, book.market, book.cancel
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                cancel(order_id)
            elif kind == LIMIT:
                lots += limit(sides[side], order_id, size, price)
            else:
                lots += market(sides[side], order_id, size)

    return replay, lambda: {"lots": lots}
