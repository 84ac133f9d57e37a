"""A Rust book; ids are its own strings, sizes are floats. A market order is sent as a limit beyond every price."""

import litebook

LIMIT, CANCEL = 0, 1
ANY_PRICE = {1: 1_000_000, -1: 1}


def prepare(messages):
    book = litebook.OrderBook(tick_size=1.0)
    sides = {1: litebook.OrderType.Buy, -1: litebook.OrderType.Sell}
    ids = {}
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                book.cancel(ids.pop(order_id))
                continue
            order = book.create_order(sides[side], price if kind == LIMIT else ANY_PRICE[side], size)
            ids[order_id] = order.id
            for trade in book.add(order):
                trades += 1
                lots += trade.quantity
                notional += trade.quantity * trade.price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
