"""Pure Python; the best price is a `min` or `max` over all prices. An order answers its trades."""

from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

LIMIT, CANCEL = 0, 1


def prepare(messages):
    engine = LightMatchingEngine()
    sides = {1: Side.BUY, -1: Side.SELL}
    ids = {}
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        for kind, order_id, side, price, size, _ in messages:
            if kind == CANCEL:
                engine.cancel_order(ids.pop(order_id), "X")
                continue
            order, filled = engine.add_order("X", price if kind == LIMIT else 0, size, sides[side])
            ids[order_id] = order.order_id
            for trade in filled:
                if trade.trade_side != sides[side]:  # each trade is there twice, once for each side
                    trades += 1
                    lots += trade.trade_qty
                    notional += trade.trade_qty * trade.trade_price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
