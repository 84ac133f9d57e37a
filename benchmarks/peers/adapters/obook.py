"""A Go engine over ctypes. Its self-trade prevention cannot be switched off, so every order gets a user of its own."""

import obook

LIMIT, CANCEL = 0, 1
BUY_SELL = {1: obook.BUY, -1: obook.SELL}


def prepare(messages):
    book = obook.Book(max_orders=1_000_000)
    ids = {}
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        trade_kind = int(obook.EventKind.TRADE)
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                book.cancel(ids.pop(order_id), order_id)
            elif kind == LIMIT:
                ids[order_id] = book.submit(order_id, BUY_SELL[side], price, size).order_id
            else:
                book.submit(order_id, BUY_SELL[side], 0, size, obook.MARKET, obook.IOC)
            for event in book.events():
                if event.kind == trade_kind:
                    trades += 1
                    lots += event.qty
                    notional += event.qty * event.price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
