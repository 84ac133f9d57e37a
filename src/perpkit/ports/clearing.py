"""Clearing: the owner of money and size. Ledger, positions, reservations and books stand behind this one port."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    CancelOrder,
    PlaceOrder,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.event import Event
from perpkit.model.ids import AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.ledger import LedgerAccount, Posting
from perpkit.model.market import MarketState
from perpkit.model.order import Level, Order, Side
from perpkit.model.position import Breach, Closing, Need, Pool, PoolKey, PositionMode, Thresholds, Winner
from perpkit.model.preview import Preview
from perpkit.model.price import Mark
from perpkit.ports.book import OrderBook
from perpkit.ports.context import ExchangeContext
from perpkit.ports.margin import MarginModel
from perpkit.ports.trading import FeeSchedule, OrderCheck
from perpkit.units import Lots, Ticks, Units


@attrs.frozen(kw_only=True)
class ClearingContext:
    """What clearing composes: the parts that the configuration picked."""

    exchange: ExchangeContext
    margin: MarginModel
    books: Mapping[MarketId, OrderBook]
    fees: Mapping[MarketId, FeeSchedule]
    order_checks: Mapping[MarketId, tuple[OrderCheck, ...]]


@attrs.frozen(kw_only=True)
class MarketTotals:
    """Running sums of one market, for laws 1 and 2: no scan.

    `costs_units` includes what is unpaid. `funding_base_scaled` is the sum of size · funding index at entry.
    """

    size_lots: Lots
    costs_units: Units
    ccp_units: Units
    open_interest_lots: Lots
    funding_index_scaled: int
    funding_base_scaled: int
    funding_paid_units: Units
    funding_settlements: int


class Clearing(Protocol):
    """Reads that return values, and a closed set of writes; `Exchange` is its only caller. Provisional.

    Each write is atomic, and zero-sum by construction. An error inside a write leaves the exchange unusable.

    Raises:
        InvariantError: a write was asked for what no client can ask for, and would break a law: a posting that is not
            positive, mixes assets, overdraws an account or pays off more than is owed; changes off the book that do
            not sum to zero; a close of more than there is. What a client may get wrong is refused by a `Rejected`.
    """

    # Reads.

    @abstractmethod
    def has_account(self, account: AccountId, /) -> bool:
        """Whether a deposit ever opened the account."""
        ...

    @abstractmethod
    def accounts(self) -> Sequence[AccountId]:
        """Return the clients' accounts in order of id."""
        ...

    @abstractmethod
    def pool(self, account: AccountId, asset: AssetId, /) -> Pool:
        """Return an account's wallet in an asset with all its positions and reservations there."""
        ...

    @abstractmethod
    def need(self, account: AccountId, asset: AssetId, /) -> Need:
        """Return what the margin model says of that pool at the marks that stand."""
        ...

    @abstractmethod
    def stressed_need(self, account: AccountId, asset: AssetId, /) -> Need:
        """Return what the margin model says of that pool where each market moved against it by its stress."""
        ...

    @abstractmethod
    def thresholds(self, account: AccountId, market: MarketId, position_id: PositionId, /) -> Thresholds:
        """Return the liquidation and bankruptcy price of a position at the marks that stand."""
        ...

    @abstractmethod
    def position_mode(self, account: AccountId, market: MarketId, /) -> PositionMode:
        """Return how an account's positions in a market are told apart."""
        ...

    @abstractmethod
    def preview(self, command: PlaceOrder, order_id: OrderId, state: MarketState, locked: bool, /) -> Preview:
        """Return what `place` would do, in the same numbers."""
        ...

    @abstractmethod
    def marks(self) -> Mapping[MarketId, Mark]:
        """Return the marks that stand."""
        ...

    @abstractmethod
    def balance(self, account: LedgerAccount, /) -> Units:
        """Return what a ledger account holds."""
        ...

    @abstractmethod
    def conservation(self, asset: AssetId, /) -> tuple[Units, Units]:
        """Return (client and house side, custody side) of an asset, as running sums."""
        ...

    @abstractmethod
    def totals(self, market: MarketId, /) -> MarketTotals:
        """Return the running sums of a market."""
        ...

    @abstractmethod
    def order(self, market: MarketId, account: AccountId, order_id: OrderId, client_order_id: int, /) -> Order | None:
        """Return a resting order of an account by the exchange's id or, where that is 0, by the client's."""
        ...

    @abstractmethod
    def levels(self, market: MarketId, side: Side, count: int, /) -> Sequence[Level]:
        """Return up to `count` levels of a book, best first."""
        ...

    @abstractmethod
    def orders(self, market: MarketId, side: Side, /) -> Sequence[Order]:
        """Return the resting orders of one side in priority order."""
        ...

    @abstractmethod
    def breached(self, stopped: frozenset[MarketId], /) -> Sequence[Breach]:
        """Return the pools below maintenance, lowest equity/maintenance first, ties by account, market, position.

        A pool with positions in `stopped` markets counts only when it is in breach both with them at their last
        good mark and with them left out.
        """
        ...

    @abstractmethod
    def breach(self, pool: PoolKey, stopped: frozenset[MarketId], /) -> Breach | None:
        """Return one pool as `breached` would, None when it is healthy."""
        ...

    @abstractmethod
    def winners(self, market: MarketId, against: Side, price_ticks: Ticks, /) -> Sequence[Winner]:
        """Return the profitable client positions that lie on a side and can bear a close at a price."""
        ...

    @abstractmethod
    def holders(self, market: MarketId, /) -> Sequence[Closing]:
        """Return every position of a market, inventory included, as the change that would close it."""
        ...

    @property
    @abstractmethod
    def version(self) -> int:
        """How many writes began that may have changed something. The same before and after: nothing was changed."""
        ...

    # Writes.

    @abstractmethod
    def place(self, command: PlaceOrder, order_id: OrderId, state: MarketState, locked: bool, /) -> Sequence[Event]:
        """Admit, plan, settle and rest an order; or return one `Rejected` and change nothing.

        A `locked` account may only reduce.
        """
        ...

    @abstractmethod
    def amend(self, command: AmendOrder, state: MarketState, locked: bool, /) -> Sequence[Event]:
        """Change a resting order in place; or return one `Rejected`, and the order keeps its place.

        A smaller size at the same price keeps its place; any other change is a new arrival under the same id.
        """
        ...

    @abstractmethod
    def cancel(self, command: CancelOrder, reason: CancelReason, /) -> Sequence[Event]:
        """Take an order out and free what it reserved."""
        ...

    @abstractmethod
    def cancel_all(
        self,
        market: MarketId,
        account: AccountId | None,
        reason: CancelReason,
        side: Side | None = None,
        position_id: PositionId | None = None,
        /,
    ) -> Sequence[Event]:
        """Take out all orders of an account in a market, or of everybody; or those of one side, of one position."""
        ...

    @abstractmethod
    def close_on_book(
        self,
        account: AccountId,
        market: MarketId,
        position_id: PositionId,
        size_lots: Lots,
        limit_ticks: Ticks,
        order_id: OrderId,
        cause: Cause,
        /,
    ) -> Sequence[Event]:
        """Send an immediate-or-cancel close without admission; size positive, side from the position."""
        ...

    @abstractmethod
    def cross_off_book(
        self, market: MarketId, price_ticks: Ticks, closings: Sequence[Closing], cause: Cause, /
    ) -> Sequence[Event]:
        """Change named positions at one price, off the book. The changes sum to zero.

        An account whose position becomes flat hands what it could not pay over to the inventory on its side.
        """
        ...

    @abstractmethod
    def post(self, postings: Sequence[Posting], /) -> Sequence[Event]:
        """Move money between ledger accounts; a credit to a market's ccp pays off what its inventory owes."""
        ...

    @abstractmethod
    def set_mark(self, mark: Mark, /) -> None:
        """Let a mark stand."""
        ...

    @abstractmethod
    def accrue_funding(self, market: MarketId, per_lot_scaled: int, /) -> Sequence[Event]:
        """Add to the cumulative funding index: what one long lot pays, in billionths of an accounting unit.

        Resting closes of isolated positions that funding put beyond their bankruptcy price are cancelled.
        """
        ...

    @abstractmethod
    def settle_funding(self, pool: PoolKey, /) -> Sequence[Event]:
        """Book the funding that is due on a pool's positions."""
        ...

    @abstractmethod
    def set_position_terms(self, command: SetPositionTerms, /) -> Sequence[Event]:
        """Choose margin mode and leverage of a position; or return one `Rejected`."""
        ...

    @abstractmethod
    def set_position_mode(self, command: SetPositionMode, /) -> Sequence[Event]:
        """Choose how an account's positions in a market are told apart; or return one `Rejected`."""
        ...

    @abstractmethod
    def adjust_margin(self, command: AdjustMargin, /) -> Sequence[Event]:
        """Move margin between the wallet and an isolated position; or return one `Rejected`."""
        ...

    @abstractmethod
    def dump(self) -> bytes:
        """Return the whole state, the same bytes for the same observable content."""
        ...

    @abstractmethod
    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        ...
