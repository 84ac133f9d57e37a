"""The state that clearing owns: ledger, positions, resting orders' reservations, marks and running sums."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

from perpkit.model.event import Event
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT, AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.ledger import Chart, LedgerAccount, isolated_margin, of_market, wallet
from perpkit.model.market import MarketSpec
from perpkit.model.order import Order, Side
from perpkit.model.position import CROSS, PositionMode, PositionTerms
from perpkit.model.price import Mark, PriceState
from perpkit.ports.clearing import ClearingContext, MarketTotals
from perpkit.reference.clearing.ledger import Ledger
from perpkit.units import Lots, Units, div_ceil

Slot: TypeAlias = tuple[MarketId, PositionId]
"""What tells an account's positions apart."""


@attrs.define
class Position:
    """Size and cost, never an average price. `unpaid_units` is loss the pool could not pay."""

    size_lots: Lots = 0
    cost_units: Units = 0
    unpaid_units: Units = 0
    funding_index_scaled: int = 0
    terms: PositionTerms = CROSS

    @property
    def is_open(self) -> bool:
        """Whether there is a size, or something owed."""
        return self.size_lots != 0 or self.unpaid_units != 0

    def funding_due(self, index_scaled: int, scale: int) -> Units:
        """Return what the position owes since its funding index; negative: it receives.

        Rounds:
            Up: the payer pays a fraction more, the receiver gets a fraction less.
        """
        return div_ceil(self.size_lots * (index_scaled - self.funding_index_scaled), scale)


@attrs.define
class OpenOrder:
    """A resting order and what was set aside for it at acceptance, relieved in proportion as it fills."""

    order: Order
    client_order_id: int
    left_lots: Lots
    value_units: Units
    reserve_units: Units
    post_only: bool = False

    def relieve(self, lots: Lots) -> tuple[Units, Units]:
        """Free the part of `lots`; return what was freed of (value, reserve).

        Rounds:
            Up, the last part what is left: freed exactly, whatever the split.
        """
        value = div_ceil(self.value_units * lots, self.left_lots)
        reserve = div_ceil(self.reserve_units * lots, self.left_lots)
        self.left_lots -= lots
        self.value_units -= value
        self.reserve_units -= reserve
        return value, reserve


@attrs.define
class SlotOrders:
    """The resting orders on one position id, and their sums."""

    orders: dict[OrderId, OpenOrder] = attrs.field(factory=dict[OrderId, OpenOrder])
    buy_units: Units = 0
    sell_units: Units = 0
    reserve_units: Units = 0

    def add(self, open_order: OpenOrder, sign: int = 1) -> None:
        """Count an order in, or with sign -1 out."""
        self.count(open_order.order.side, sign * open_order.value_units, sign * open_order.reserve_units)
        if sign > 0:
            self.orders[open_order.order.id] = open_order
        else:
            del self.orders[open_order.order.id]

    def count(self, side: Side, value_units: Units, reserve_units: Units) -> None:
        """Add to the sums."""
        if side is Side.BUY:
            self.buy_units += value_units
        else:
            self.sell_units += value_units
        self.reserve_units += reserve_units


@attrs.define
class Account:
    """What one account has, by slot. The money is in the ledger."""

    positions: dict[Slot, Position] = attrs.field(factory=dict[Slot, Position])
    orders: dict[Slot, SlotOrders] = attrs.field(factory=dict[Slot, SlotOrders])
    by_client_id: dict[tuple[MarketId, int], OrderId] = attrs.field(factory=dict[tuple[MarketId, int], OrderId])
    modes: dict[MarketId, PositionMode] = attrs.field(factory=dict[MarketId, PositionMode])

    def slots(self) -> list[Slot]:
        """Return every slot with a position or orders, sorted."""
        used = [slot for slot, position in self.positions.items() if position.is_open or slot in self.orders]
        return sorted(used + [slot for slot in self.orders if slot not in self.positions])

    def gross_lots(self, market: MarketId) -> Lots:
        """Return the size in a market over all position ids."""
        return sum([abs(position.size_lots) for slot, position in self.positions.items() if slot[0] == market])


@attrs.define
class MarketSums:
    """Running sums of one market."""

    size_lots: Lots = 0
    costs_units: Units = 0
    open_interest_lots: Lots = 0
    funding_index_scaled: int = 0
    funding_base_scaled: int = 0
    funding_settlements: int = 0


class State:
    """Everything clearing owns, and the small questions that every part of it asks."""

    def __init__(self, context: ClearingContext) -> None:
        self.context: ClearingContext = context
        self.markets: Mapping[MarketId, MarketSpec] = context.exchange.markets
        self.ledger: Ledger = Ledger()
        self.ccp: dict[MarketId, LedgerAccount] = self._of_markets(Chart.CCP)
        self.funding: dict[MarketId, LedgerAccount] = self._of_markets(Chart.FUNDING)
        self.accounts: dict[AccountId, Account] = {HOUSE: Account()}
        self.sums: dict[MarketId, MarketSums] = {market: MarketSums() for market in self.markets}
        self.marks: dict[MarketId, Mark] = {
            market: Mark(market=market, price_ticks=0, state=PriceState.FROZEN, at_ns=0) for market in self.markets
        }
        self.order_counts: defaultdict[tuple[AccountId, MarketId], int] = defaultdict(int)
        self.events: list[Event] = []

    def market(self, market: MarketId) -> MarketSpec:
        """Return the rules of a market."""
        return self.markets[market]

    def position(self, account: AccountId, slot: Slot) -> Position:
        """Return a position, a new flat one where there is none."""
        positions = self.accounts[account].positions
        if slot not in positions:
            positions[slot] = Position()
        return positions[slot]

    def peek(self, account: AccountId, slot: Slot) -> Position:
        """Return a position to look at; a flat one that is not kept where there is none."""
        return self.accounts[account].positions.get(slot) or Position()

    def purse(self, account: AccountId, slot: Slot) -> LedgerAccount:
        """Return the ledger account that pays and receives for a position."""
        market, position_id = slot
        asset = self.markets[market].settlement
        if account == HOUSE:
            return of_market(Chart.INVENTORY, asset, market)
        if self.peek(account, slot).terms.isolated:
            return isolated_margin(account, asset, market, position_id)
        return wallet(account, asset)

    def client_accounts(self) -> Iterator[AccountId]:
        """Yield the accounts of clients in order of id."""
        return (account for account in sorted(self.accounts) if account != HOUSE)

    def slots_in(self, account: AccountId, asset: AssetId) -> list[Slot]:
        """Return an account's slots in the markets that settle in an asset, sorted."""
        return [slot for slot in self.accounts[account].slots() if self.markets[slot[0]].settlement == asset]

    def totals(self, market: MarketId) -> MarketTotals:
        """Return the running sums of a market as a value."""
        sums = self.sums[market]
        return MarketTotals(
            size_lots=sums.size_lots,
            costs_units=sums.costs_units,
            ccp_units=self.ledger.balance(self.ccp[market]),
            open_interest_lots=sums.open_interest_lots,
            funding_index_scaled=sums.funding_index_scaled,
            funding_base_scaled=sums.funding_base_scaled,
            funding_paid_units=self.ledger.balance(self.funding[market]),
            funding_settlements=sums.funding_settlements,
        )

    def _of_markets(self, chart: Chart) -> dict[MarketId, LedgerAccount]:
        return {market: of_market(chart, spec.settlement, market) for market, spec in self.markets.items()}


def inventory_slot(market: MarketId, size_lots: Lots) -> Slot:
    """Return the inventory slot for what was a position of this sign."""
    return market, INVENTORY_LONG if size_lots >= 0 else INVENTORY_SHORT
