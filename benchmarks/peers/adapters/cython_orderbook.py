"""`Order` with a `Decimal` price; ids are its own strings. Trades are read from its log after the clock stopped."""

from decimal import Decimal

from cython_orderbook import Order, OrderBook, OrderSide

LIMIT, CANCEL = 0, 1


def prepare(messages):
    book = OrderBook()
    sides = {1: OrderSide.BID, -1: OrderSide.ASK}
    ids = {}

    def replay():
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                book.cancel_order(ids.pop(order_id))
            elif kind == LIMIT:
                order = Order(side=sides[side], price=Decimal(price), original_quantity=size)
                book.add_limit_order(order)
                ids[order_id] = order.order_id
            else:
                book.add_market_order(Order(side=sides[side], original_quantity=size))

    def outcome():
        log = book.trade_log
        return {
            "trades": len(log),
            "lots": sum(trade.quantity_filled for trade in log),
            "notional": sum(trade.quantity_filled * trade.price for trade in log),
        }

    return replay, outcome
