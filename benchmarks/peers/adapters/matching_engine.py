"""A command object a message; each fill is read from the list of events. Its write-ahead log is off."""

from matching_engine.domain import (
    CancelOrder,
    NewOrder,
    OrderType,
    SelfTradePrevention,
    SequencedCommand,
    Side,
    TimeInForce,
)
from matching_engine.engine import MatchingEngine
from matching_engine.events import Trade

LIMIT, CANCEL = 0, 1


def prepare(messages):
    process = MatchingEngine().process
    sides = {1: Side.BUY, -1: Side.SELL}
    limit, market, off = OrderType.LIMIT, OrderType.MARKET, SelfTradePrevention.NONE
    gtc, ioc = TimeInForce.GTC, TimeInForce.IOC
    trades = lots = notional = 0

    def replay():
        nonlocal trades, lots, notional
        for number, (kind, order_id, side, price, size, account) in enumerate(messages, start=1):
            if kind == CANCEL:
                command = CancelOrder(order_id, account)
            elif kind == LIMIT:
                command = NewOrder(order_id, account, sides[side], price, size, limit, gtc, False, off)
            else:
                command = NewOrder(order_id, account, sides[side], 0, size, market, ioc, False, off)
            for event in process(SequencedCommand(number, number, command)):
                if type(event) is Trade:
                    trades += 1
                    lots += event.qty
                    notional += event.qty * event.price

    return replay, lambda: {"trades": trades, "lots": lots, "notional": notional}
