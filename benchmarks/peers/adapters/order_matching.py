"""Pure Python; each call goes through lists of all orders."""

from datetime import datetime, timedelta

from loguru import logger
from order_matching.enums import Side
from order_matching.matching_engine import MatchingEngine
from order_matching.order import LimitOrder, MarketOrder
from order_matching.orders import Orders

LIMIT, CANCEL = 0, 1


def prepare(messages):
    logger.remove()
    engine = MatchingEngine(seed=1)
    sides = {1: Side.BUY, -1: Side.SELL}
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        now, step = datetime(2026, 1, 1), timedelta(microseconds=1)  # noqa: DTZ001 - it takes naive ones only
        for kind, order_id, side, price, size, account in messages:
            now += step
            if kind == CANCEL:
                engine.cancel_order(str(order_id))
                continue
            terms = {"side": sides[side], "size": size, "order_id": str(order_id), "trader_id": str(account)}
            new = (
                LimitOrder(price=price, timestamp=now, **terms)
                if kind == LIMIT
                else MarketOrder(timestamp=now, **terms)
            )
            engine.place(Orders([new]))
            for trade in engine.match(timestamp=now).trades:
                trades += 1
                lots += trade.size
                notional += trade.size * trade.price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
