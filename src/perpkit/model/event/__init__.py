"""Everything that can have happened, one class each. Money and sizes are integers, as in the commands."""

from typing import TypeAlias

from perpkit.model.event.market import (
    FundingAccrued,
    IndexUpdated,
    MarketStateChanged,
    MarkUpdated,
)
from perpkit.model.event.money import (
    AuditCompleted,
    BreachFound,
    DeleveragingDone,
    DepositCredited,
    DepositReverted,
    ExchangeResumed,
    FundMoved,
    FundReserved,
    HoldingsCompared,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.event.orders import (
    Duplicate,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderRefused,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    Rejected,
    SwitchSet,
)
from perpkit.model.event.positions import (
    Deleveraged,
    Filled,
    FundingSettled,
    LiquidationEnded,
    LiquidationStarted,
    LossSocialized,
    MarginAdjusted,
    PositionChanged,
    PositionModeSet,
    TakenOver,
    TermsSet,
)

Event: TypeAlias = (
    Rejected
    | Duplicate
    | OrderAccepted
    | OrderRested
    | OrderCancelled
    | OrderAmended
    | OrderWaits
    | OrderTriggered
    | OrderRefused
    | Filled
    | PositionChanged
    | FundingSettled
    | TermsSet
    | PositionModeSet
    | MarginAdjusted
    | SwitchSet
    | DepositCredited
    | DepositReverted
    | WithdrawalHeld
    | WithdrawalReturned
    | WithdrawalReleased
    | WithdrawalSettled
    | HoldingsCompared
    | IndexUpdated
    | MarkUpdated
    | FundingAccrued
    | MarketStateChanged
    | LiquidationStarted
    | LiquidationEnded
    | TakenOver
    | FundMoved
    | FundReserved
    | Deleveraged
    | DeleveragingDone
    | LossSocialized
    | AuditCompleted
    | BreachFound
    | ExchangeResumed
)

__all__ = [
    "AuditCompleted",
    "BreachFound",
    "Deleveraged",
    "DeleveragingDone",
    "DepositCredited",
    "DepositReverted",
    "Duplicate",
    "Event",
    "ExchangeResumed",
    "Filled",
    "FundMoved",
    "FundReserved",
    "FundingAccrued",
    "FundingSettled",
    "HoldingsCompared",
    "IndexUpdated",
    "LiquidationEnded",
    "LiquidationStarted",
    "LossSocialized",
    "MarginAdjusted",
    "MarkUpdated",
    "MarketStateChanged",
    "OrderAccepted",
    "OrderAmended",
    "OrderCancelled",
    "OrderRefused",
    "OrderRested",
    "OrderTriggered",
    "OrderWaits",
    "PositionChanged",
    "PositionModeSet",
    "Rejected",
    "SwitchSet",
    "TakenOver",
    "TermsSet",
    "WithdrawalHeld",
    "WithdrawalReleased",
    "WithdrawalReturned",
    "WithdrawalSettled",
]
