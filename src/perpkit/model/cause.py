"""Why something happened: a change of a position or a fund, the end of an order, a halt."""

from enum import IntEnum


class Cause(IntEnum):
    """Why a position or a fund changed."""

    TRADE = 1
    LIQUIDATION = 2
    TAKE_OVER = 3
    INVENTORY = 4
    DELEVERAGING = 5
    SETTLEMENT = 6
    CAPITAL = 7


class Law(IntEnum):
    """Which law of the books does not hold."""

    CONSERVATION = 1
    ZERO_SUM = 2
    NO_DEBT = 3
    RESERVATIONS = 4
    HOLDINGS = 10


class CancelReason(IntEnum):
    """Why an order, or what was left of it, went away."""

    REQUESTED = 1
    IMMEDIATE = 2
    WORK_LIMIT = 3
    LOCKED = 4
    REDUCE_ONLY = 5
    LIQUIDATION = 6
    SETTLEMENT = 7
    INSOLVENT = 8
    EXPIRED = 9
    SELF_TRADE = 10
    COST_CAP = 11
    MADE_WAY = 12
    LINKED = 13
    SWITCH = 14
    NO_POSITION = 15
    UNAFFORDABLE = 16
