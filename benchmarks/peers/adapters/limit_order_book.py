"""`limit`, `market` and `cancel` answer nothing: no fills, no trades, no accounts."""

from limit_order_book import LimitOrderBook

LIMIT, CANCEL = 0, 1


def prepare(messages):
    book = LimitOrderBook()

    def replay():
        limit, market, cancel = book.limit, book.market, book.cancel
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                cancel(order_id)
            elif kind == LIMIT:
                limit(side > 0, order_id, size, price)
            else:
                market(side > 0, order_id, size)

    return replay, lambda: {"left_lots": book.volume()}
