"""A Rust book; each order answers its trades."""

import nanobook

LIMIT, CANCEL = 0, 1


def prepare(messages):
    exchange = nanobook.Exchange()
    sides = {1: "buy", -1: "sell"}
    ids = {}
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                exchange.cancel(ids.pop(order_id))
                continue
            if kind == LIMIT:
                result = exchange.submit_limit(sides[side], price, size, "gtc")
                ids[order_id] = result.order_id
            else:
                result = exchange.submit_market(sides[side], size)
            for trade in result.trades:
                trades += 1
                lots += trade.quantity
                notional += trade.quantity * trade.price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
