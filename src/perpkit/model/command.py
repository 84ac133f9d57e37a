"""Everything that may be asked of an exchange. `time_ns` is the sequencer's stamp."""

from typing import TypeAlias

import attrs

from perpkit.model.ids import AccountId, AssetId, FundId, MarketId, OrderId, PositionId
from perpkit.model.market import MarketState
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import PositionMode
from perpkit.model.price import Quote
from perpkit.model.trigger import Attached, Trigger
from perpkit.units import Lots, Nanos, Ticks, Units


@attrs.frozen(kw_only=True)
class PlaceOrder:
    """Ask to trade. `docs/reference/orders.md` has every kind of order, with an example of each.

    `slide`: a post-only order that would take is put one tick behind the best price instead of refused.
    `market_to_limit`: the limit is the best opposite price of the moment. `pegged`: the limit follows the best shown
    price of its own side, `peg_offset_ticks` behind it, never beyond `price_ticks`. `close`: a reduce-only order to
    which the account's other orders of that side on the position give way. `trigger`: it waits until a price is
    reached, and reserves nothing before. `attached` orders come with this one.

    Units:
        Size in lots, price in ticks. A market order is immediate-or-cancel at `price_ticks`, or, where that is 0,
        at the market's own bound. With `close` and a trigger a size of 0 is the whole position, whatever it has
        become. `display_lots` of an iceberg are shown at a time. `value_limit_units` is the most that an
        immediate buy may cost, the least that a fill-or-kill sell must bring, in |value|. `expires_ns` goes with
        good-till-date. `client_order_id` 0 means none; any other is idempotent.
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
    slide: bool = False
    market_to_limit: bool = False
    hidden: bool = False
    pegged: bool = False
    close: bool = False
    self_trade: SelfTrade = SelfTrade.OFF
    self_trade_by_owner: bool = False
    display_lots: Lots = 0
    expires_ns: Nanos = 0
    value_limit_units: Units = 0
    peg_offset_ticks: Ticks = 0
    trigger: Trigger | None = None
    attached: tuple[Attached, ...] = ()
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class AmendOrder:
    """Change an order in place; 0 leaves a field as it is.

    A smaller size at the same price keeps its place in the queue; a new price or a larger size is a new arrival.

    Units:
        `size_lots` is the whole size, what has filled included. `trigger_ticks` is for an order that still waits.
    """

    account: AccountId
    market: MarketId
    order_id: OrderId = 0
    client_order_id: int = 0
    size_lots: Lots = 0
    price_ticks: Ticks = 0
    trigger_ticks: Ticks = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class CancelOrder:
    """Take an order out, in the book or still waiting, by the exchange's id or, where that is 0, by the client's."""

    account: AccountId
    market: MarketId
    order_id: OrderId = 0
    client_order_id: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class CancelOrders:
    """Take out all orders of an account, in the book or still waiting: of one market or (0) all, of the chosen sides.

    `by_position`: only those of `position_id`.
    """

    account: AccountId
    market: MarketId = 0
    buys: bool = True
    sells: bool = True
    by_position: bool = False
    position_id: PositionId = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class ClosePosition:
    """One click: close a position, all (0) or a part of it, at the market (0) or at a limit. Other closes give way."""

    account: AccountId
    market: MarketId
    position_id: PositionId = 0
    size_lots: Lots = 0
    price_ticks: Ticks = 0
    client_order_id: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class ReversePosition:
    """One click: one immediate order of twice the size. What fills of it is what the position becomes."""

    account: AccountId
    market: MarketId
    position_id: PositionId = 0
    price_ticks: Ticks = 0
    client_order_id: int = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class ClosePositions:
    """One click: close every position of an account at the market, in one market or (0) in all."""

    account: AccountId
    market: MarketId = 0
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class AdjustMargin:
    """Move margin from the wallet to an isolated position, or (negative) back."""

    account: AccountId
    market: MarketId
    position_id: PositionId = 0
    amount_units: Units
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class SetPositionMode:
    """Choose how an account's positions in a market are told apart; it must have none there, and no orders."""

    account: AccountId
    market: MarketId
    mode: PositionMode
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class CancelAllAfter:
    """The dead man's switch: cancel all orders of an account unless it is renewed in time; 0 disarms it."""

    account: AccountId
    after_ns: Nanos
    time_ns: Nanos = 0


@attrs.frozen(kw_only=True)
class SetPositionTerms:
    """Choose cross or isolated margin and the leverage of a position.

    The margin mode changes while it is flat and has no orders; the leverage also later, where the margin suffices.
    """

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
class DepositReversed:
    """A reorganised chain took back a deposit that custody had told of. Should it come again, it is another deposit."""

    deposit_id: int
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
    | AmendOrder
    | CancelOrder
    | CancelOrders
    | ClosePosition
    | ReversePosition
    | ClosePositions
    | CancelAllAfter
    | SetPositionTerms
    | SetPositionMode
    | AdjustMargin
    | DepositObserved
    | CapitalObserved
    | DepositReversed
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
