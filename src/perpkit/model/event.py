"""Everything that can have happened, one class each. Money and sizes are integers, as in the commands."""

from typing import TypeAlias

import attrs

from perpkit.model.cause import CancelReason, Cause, Law
from perpkit.model.ids import AccountId, AssetId, FundId, MarketId, OrderId, PositionId
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.price import PriceState, SourceReading
from perpkit.model.reject import RejectReason
from perpkit.units import Lots, Nanos, Ppb, Ticks, Units


@attrs.frozen(kw_only=True)
class Rejected:
    """The command was refused and changed nothing.

    `check` is the index of the refusing order check, `part` the place in the manifest of the part at fault, else -1.
    """

    reason: RejectReason
    check: int = -1
    part: int = -1


@attrs.frozen(kw_only=True)
class Duplicate:
    """The same client order id with the same content: it was done before, by command `sequence`."""

    account: AccountId
    client_order_id: int
    sequence: int


@attrs.frozen(kw_only=True)
class OrderAccepted:
    """An order was admitted. What it filled and whether it rests follows."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    order_id: OrderId
    client_order_id: int
    side: Side
    size_lots: Lots
    price_ticks: Ticks


@attrs.frozen(kw_only=True)
class OrderRested:
    """What is left of an order waits in the book."""

    market: MarketId
    account: AccountId
    order_id: OrderId
    side: Side
    size_lots: Lots
    price_ticks: Ticks


@attrs.frozen(kw_only=True)
class OrderCancelled:
    """`size_lots` of an order went away unfilled; `left_lots` of it still rest."""

    market: MarketId
    account: AccountId
    order_id: OrderId
    size_lots: Lots
    left_lots: Lots
    reason: CancelReason


@attrs.frozen(kw_only=True)
class Filled:
    """One side of a trade: the taker's, directly followed by the maker's, in the order makers were met.

    `size_lots` is signed: positive bought. `fee_units` is what was paid, negative for a rebate.
    """

    market: MarketId
    account: AccountId
    position_id: PositionId
    order_id: OrderId
    price_ticks: Ticks
    size_lots: Lots
    fee_units: Units
    maker: bool
    cause: Cause


@attrs.frozen(kw_only=True)
class PositionChanged:
    """A position after a fill, a take-over, a deleveraging or a settlement.

    `realized_units` is what this change brought; `unpaid_units` what the pool still owes for losses it could not pay.
    """

    market: MarketId
    account: AccountId
    position_id: PositionId
    size_lots: Lots
    cost_units: Units
    unpaid_units: Units
    realized_units: Units
    cause: Cause


@attrs.frozen(kw_only=True)
class FundingSettled:
    """Funding that was due was booked; positive: the position paid."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    amount_units: Units


@attrs.frozen(kw_only=True)
class TermsSet:
    """A position's margin mode and leverage were chosen."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    isolated: bool
    leverage: int


@attrs.frozen(kw_only=True)
class DepositCredited:
    """Money came in: to an account, or, where that is 0, to an insurance fund.

    `suspended_units` of it, not in `amount_units`, wait in suspense: the asset's limit was met, or nobody is known
    whom to credit.
    """

    deposit_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    suspended_units: Units


@attrs.frozen(kw_only=True)
class WithdrawalHeld:
    """Money left a wallet and waits for custody's approval."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    destination: int


@attrs.frozen(kw_only=True)
class WithdrawalReturned:
    """Held money went back to the wallet: cancelled, or recalled because the account fell into breach."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    recalled: bool


@attrs.frozen(kw_only=True)
class WithdrawalReleased:
    """The point of no return: custody must send this once, however often it is asked."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    destination: int


@attrs.frozen(kw_only=True)
class WithdrawalSettled:
    """A released withdrawal left custody."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    network_fee_units: Units


@attrs.frozen(kw_only=True)
class HoldingsCompared:
    """What the ledger says custody holds, and what custody says."""

    asset: AssetId
    ledger_units: Units
    holdings_units: Units


@attrs.frozen(kw_only=True)
class AuditCompleted:
    """A full sweep of the books: how much of them was counted again, and in how many places it did not agree."""

    accounts: int
    positions: int
    orders: int
    breaches: int


@attrs.frozen(kw_only=True)
class BreachFound:
    """The books do not agree; every market halts. Whoever resumes must name `evidence`.

    `market` and `asset` are 0 where the law is not about one.
    """

    law: Law
    market: MarketId
    asset: AssetId
    expected: int
    found: int
    evidence: int


@attrs.frozen(kw_only=True)
class ExchangeResumed:
    """Two operators answered for a breach; every halted market accepts cancels again."""

    evidence: int
    operator: int
    second_operator: int


@attrs.frozen(kw_only=True)
class IndexUpdated:
    """The index moved or changed state; each source's price, age, weight and why it was left out."""

    market: MarketId
    price_ticks: Ticks
    state: PriceState
    sources: tuple[SourceReading, ...]


@attrs.frozen(kw_only=True)
class MarkUpdated:
    """The mark moved or changed state."""

    market: MarketId
    price_ticks: Ticks
    state: PriceState


@attrs.frozen(kw_only=True)
class FundingAccrued:
    """A funding stamp: positive, longs pay shorts. `per_lot_scaled` is in billionths of an accounting unit."""

    market: MarketId
    rate_ppb: Ppb
    per_lot_scaled: int
    next_ns: Nanos


@attrs.frozen(kw_only=True)
class MarketStateChanged:
    """A market accepts something else from now on."""

    market: MarketId
    state: MarketState


@attrs.frozen(kw_only=True)
class LiquidationStarted:
    """A pool was found below maintenance; `market` 0 means the account's cross pool."""

    market: MarketId
    account: AccountId
    asset: AssetId
    position_id: PositionId
    equity_units: Units
    maintenance_units: Units


@attrs.frozen(kw_only=True)
class LiquidationEnded:
    """A pool left liquidation after `steps`: cured, or empty."""

    market: MarketId
    account: AccountId
    asset: AssetId
    position_id: PositionId
    steps: int


@attrs.frozen(kw_only=True)
class TakenOver:
    """The house took a position over; `margin_units` is what was left of its margin and went with it."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    size_lots: Lots
    price_ticks: Ticks
    margin_units: Units


@attrs.frozen(kw_only=True)
class FundMoved:
    """Money entered an insurance fund, or (negative) left it."""

    fund: FundId
    asset: AssetId
    market: MarketId
    amount_units: Units
    balance_units: Units
    cause: Cause


@attrs.frozen(kw_only=True)
class FundReserved:
    """The fund's money that stands behind the unrealised loss of inventory in a market, when it changed."""

    asset: AssetId
    market: MarketId
    reserved_units: Units


@attrs.frozen(kw_only=True)
class Deleveraged:
    """A winner's position was closed against inventory; `haircut_units` is what that cost it against the mark."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    size_lots: Lots
    price_ticks: Ticks
    haircut_units: Units


@attrs.frozen(kw_only=True)
class DeleveragingDone:
    """One round of deleveraging: what had to be placed, what was not, and how fair it was."""

    market: MarketId
    size_lots: Lots
    unplaced_lots: Lots
    severity_units: Units
    haircut_units: Units
    overshoot_units: Units


@attrs.frozen(kw_only=True)
class LossSocialized:
    """The last resort: this account's share of a loss that nobody else could pay."""

    market: MarketId
    account: AccountId
    asset: AssetId
    amount_units: Units


Event: TypeAlias = (
    Rejected
    | Duplicate
    | OrderAccepted
    | OrderRested
    | OrderCancelled
    | Filled
    | PositionChanged
    | FundingSettled
    | TermsSet
    | DepositCredited
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
