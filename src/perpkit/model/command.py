"""Everything that may be asked of an exchange. `time_ns` is the sequencer's stamp."""

from typing import TypeAlias

import attrs

from perpkit.model.ids import AccountId, AssetId, FundId, MarketId, OrderId, PositionId
from perpkit.model.market import MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import Quote
from perpkit.units import Lots, Nanos, Ticks, Units


@attrs.frozen(kw_only=True)
class PlaceOrder:
    """Ask to trade.

    Units:
        Size in lots, price in ticks. A market order is immediate-or-cancel at `price_ticks`, or, where that is 0,
        at the market's own bound. `client_order_id` 0 means none; any other is idempotent.
    """

    account: AccountId
    market: MarketId
    side: Side
    size_lots: Lots
    price_ticks: Ticks = 0
    is_market: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    position_id: PositionId = 0
    client_order_id: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class CancelOrder:
    """Take an order out of the book, by the exchange's id or, where that is 0, by the client's."""

    account: AccountId
    market: MarketId
    order_id: OrderId = 0
    client_order_id: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class SetPositionTerms:
    """Choose cross or isolated margin and the leverage of a position that is flat and has no orders."""

    account: AccountId
    market: MarketId
    position_id: PositionId = 0
    isolated: bool = False
    leverage: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class DepositObserved:
    """Custody saw money arrive for an account. The first deposit opens the account."""

    deposit_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class CapitalObserved:
    """Custody saw money arrive that the operator pays into an insurance fund."""

    deposit_id: int
    fund: FundId
    asset: AssetId
    amount_units: Units
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class RequestWithdrawal:
    """Ask for money out; it is held until it is approved, recalled or cancelled."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    destination: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class ApproveWithdrawal:
    """Custody's policy agreed: release what is held, the point of no return."""

    withdrawal_id: int
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class CancelWithdrawal:
    """Give what is held back to its owner."""

    withdrawal_id: int
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class WithdrawalSent:
    """Custody saw a released withdrawal leave. The network fee is part of the amount that was asked for."""

    withdrawal_id: int
    network_fee_units: Units = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class HoldingsReported:
    """Custody says what it holds of an asset, to be compared with the ledger."""

    asset: AssetId
    holdings_units: Units
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class IndexQuotes:
    """All quotes of one stamp, of every source and market; also how time passes when there are none."""

    quotes: tuple[Quote, ...] = ()
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class SetMarketState:
    """The operator opens, restricts or halts a market."""

    market: MarketId
    state: MarketState
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class RunAudit:
    """Count the whole books again, from nothing, and compare."""

    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class ResumeExchange:
    """Two operators go on after a breach, and name the evidence that they looked at.

    Who they are is for the embedder to check; here they only have to be two.
    """

    evidence: int
    operator: int
    second_operator: int
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class NoteFault:
    """A part failed a command, which was refused: what a journal keeps in its place. The part is not asked again.

    `part` is its place in the manifest, `priced` whether the command carried prices.
    """

    part: int
    priced: bool = False
    time_ns: Nanos = 0


Command: TypeAlias = (
    PlaceOrder
    | CancelOrder
    | SetPositionTerms
    | DepositObserved
    | CapitalObserved
    | RequestWithdrawal
    | ApproveWithdrawal
    | CancelWithdrawal
    | WithdrawalSent
    | HoldingsReported
    | IndexQuotes
    | SetMarketState
    | RunAudit
    | ResumeExchange
    | NoteFault
)
