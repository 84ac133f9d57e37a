"""A C++ book over ctypes, with `on_trade`: a dataclass for each trade."""

from orderly_chaos import LimitOrderBook, Side

LIMIT, CANCEL = 0, 1


def prepare(messages):
    trades = []
    book = LimitOrderBook(on_trade=trades.append)
    sides = {1: Side.BUY, -1: Side.SELL}

    def replay():
        limit, market, cancel = book.limit, book.market, book.cancel
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                cancel(order_id)
            elif kind == LIMIT:
                limit(sides[side], order_id, size, price)
            else:
                market(sides[side], order_id, size)

    def outcome():
        return {
            "trades": len(trades),
            "lots": sum(trade.quantity for trade in trades),
            "notional": sum(trade.quantity * trade.price for trade in trades),
        }

    return replay, outcome
