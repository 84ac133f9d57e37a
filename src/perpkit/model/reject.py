"""Why a command was refused. When several reasons apply, the one that stands first here is given."""

from enum import IntEnum


class RejectReason(IntEnum):
    """Stable codes, in order of precedence; a code is never used again for something else."""

    OVERLOADED = 5
    EARLIER_STAMP = 10
    UNKNOWN_MARKET = 20
    UNKNOWN_ASSET = 30
    UNKNOWN_ACCOUNT = 40
    UNKNOWN_ORDER = 50
    UNKNOWN_WITHDRAWAL = 60
    UNKNOWN_DEPOSIT = 62
    BREACH_STANDS = 65
    NO_SUCH_BREACH = 66
    OPERATORS_NOT_DISTINCT = 67
    PLUGIN_FAULT = 70
    CLIENT_ORDER_ID_REUSED = 80
    ID_REUSED = 90
    RATE_LIMITED = 95
    MARKET_STATE = 100
    ACCOUNT_LOCKED = 110
    SIZE_NOT_POSITIVE = 120
    SIZE_ABOVE_MAXIMUM = 130
    AMOUNT_NOT_POSITIVE = 140
    AMOUNT_ABOVE_MAXIMUM = 145
    PRICE_OUT_OF_BOUNDS = 150
    FLAGS_CONFLICT = 160
    POSITION_MODE = 165
    NO_MARK = 170
    NO_REFERENCE_PRICE = 172
    TRIGGER_CROSSED = 175
    TOO_MANY_ORDERS = 180
    ORDER_CHECK = 190
    NOTHING_TO_REDUCE = 200
    PAST_BANKRUPTCY = 210
    WOULD_CROSS = 220
    CANNOT_FILL = 230
    COST_CAP = 235
    POSITION_LIMIT = 240
    OPEN_INTEREST_LIMIT = 250
    TERMS_IN_USE = 260
    NOT_ISOLATED = 265
    LEVERAGE_TOO_HIGH = 270
    INSUFFICIENT_BALANCE = 280
    INSUFFICIENT_MARGIN = 290
    MARGIN_UNDER_STRESS = 295
    OTHER_POSITION_AT_RISK = 298

    @property
    def text(self) -> str:
        """The reason as lower-case hyphen words."""
        return self.name.lower().replace("_", "-")
