"""What the engine itself remembers: stamps, market states, the liquidation queue, withdrawals. Never money or size."""

from collections import deque
from typing import TYPE_CHECKING

import attrs

from perpkit.engine.waiting import SEQUENCE_BITS, Desk
from perpkit.model.cause import Cause
from perpkit.model.event import Event, Filled, FundMoved, MarketStateChanged, OrderCancelled
from perpkit.model.ids import AccountId, AssetId, FundId, MarketId, OrderId, PositionId
from perpkit.model.ledger import LedgerAccount, Posting, insurance
from perpkit.model.market import MarketState
from perpkit.model.position import Balances, PoolKey
from perpkit.model.price import IndexPrice, PriceState
from perpkit.ports.insurance import Loss
from perpkit.units import Lots, Nanos, Units

if TYPE_CHECKING:
    from perpkit.engine.compose import Parts
    from perpkit.engine.config import ExchangeConfig


@attrs.define
class Liquidation:
    """A pool in the queue: how often the policy was asked, and whether its last close on the book closed nothing."""

    pool: PoolKey
    steps: int = 0
    stalled: bool = False


@attrs.define
class Deposit:
    """Money that came in for an account, or (0) for a fund, as it was booked: its chain may take it back."""

    account: AccountId
    fund: FundId
    asset: AssetId
    credited_units: Units
    suspended_units: Units
    reversed: bool = False


@attrs.define
class Withdrawal:
    """Money on its way out. Once released it cannot be recalled."""

    account: AccountId
    asset: AssetId
    amount_units: Units
    destination: int
    released: bool = False


@attrs.define
class Window:
    """The client order ids of one account that are remembered: packed content and sequence, oldest first."""

    seen: dict[int, tuple[bytes, int]] = attrs.field(factory=dict[int, tuple[bytes, int]])


@attrs.define(eq=False)
class Core:
    """The engine's own state, and the events of the command that is running.

    `inventory_due`: the house holds inventory, or money that came with a liquidation and belongs to the fund.
    `evidence`: what whoever resumes after a breach must name; 0 while the books agree.
    `price_faults`: how many commands in a row were refused because of a part, of those with prices and those that met
    work that an earlier command left.
    `watched` is how many of the running command's events the desk has seen.
    """

    parts: "Parts"
    config: "ExchangeConfig"
    clock_ns: Nanos = 0
    sequence: int = 0
    market_states: dict[MarketId, MarketState] = attrs.field(factory=dict[MarketId, MarketState])
    indexes: dict[MarketId, IndexPrice] = attrs.field(factory=dict[MarketId, IndexPrice])
    funding_next_ns: dict[MarketId, Nanos | None] = attrs.field(factory=dict[MarketId, Nanos | None])
    queue: deque[Liquidation] = attrs.field(factory=deque[Liquidation])
    withdrawals: dict[int, Withdrawal] = attrs.field(factory=dict[int, Withdrawal])
    settled_withdrawals: set[int] = attrs.field(factory=set[int])
    deposits: dict[int, Deposit] = attrs.field(factory=dict[int, Deposit])
    deposits_units: dict[AssetId, Units] = attrs.field(factory=dict[AssetId, Units])
    next_turn_ns: dict[AccountId, Nanos] = attrs.field(factory=dict[AccountId, Nanos])
    windows: dict[AccountId, Window] = attrs.field(factory=dict[AccountId, Window])
    reserved_units: dict[MarketId, Units] = attrs.field(factory=dict[MarketId, Units])
    inventory_due: bool = False
    evidence: int = 0
    price_faults: int = 0
    desk: Desk = attrs.field(factory=Desk)
    events: list[Event] = attrs.field(factory=list[Event])
    watched: int = 0

    @property
    def behind(self) -> bool:
        """Whether an earlier command left work: pools to liquidate, triggers or pegged orders to look at."""
        return bool(self.queue) or self.desk.due

    def order_id(self, nth: int = 0) -> OrderId:
        """Return the id of the order that a command makes; commands that make several count them from 1."""
        return self.sequence | nth << SEQUENCE_BITS

    def stopped(self) -> frozenset[MarketId]:
        """Return the markets where nothing may be liquidated: not running, or their mark is frozen."""
        marks = self.parts.clearing.marks()
        return frozenset(
            market
            for market, state in self.market_states.items()
            if not state.runs or marks[market].state is PriceState.FROZEN
        )

    def set_market_state(self, market: MarketId, state: MarketState) -> None:
        """Let a market accept something else from now on."""
        self.market_states[market] = state
        self.events.append(MarketStateChanged(market=market, state=state))

    def locked(self, account: AccountId, asset: AssetId) -> bool:
        """Whether a pool of the account in this asset waits in the liquidation queue."""
        return any(each.pool[:2] == (account, asset) for each in self.queue)

    def position_lots(self, account: AccountId, market: MarketId, position_id: PositionId) -> Lots:
        """Return the size of a position, 0 where there is none."""
        pool = self.parts.clearing.pool(account, self.config.markets[market].settlement)
        return sum(e.size_lots for e in pool.exposures if (e.market, e.position_id) == (market, position_id))

    def standing(self, account: AccountId, market: MarketId) -> tuple[MarketState, bool]:
        """Return what clearing has to know of an arriving order: the market's state, and whether its pool is locked."""
        return self.market_states[market], self.locked(account, self.config.markets[market].settlement)

    def fund_balances(self, asset: AssetId) -> Balances:
        """Return what each insurance sub-fund holds of an asset."""
        clearing, fund = self.parts.clearing, self.parts.insurance
        return {each: clearing.balance(insurance(each, asset)) for each in fund.funds()}

    def to_fund(self, source: LedgerAccount, loss: Loss) -> None:
        """Post an inflow from a ledger account to the sub-funds that the insurance part names."""
        for move in self.parts.insurance.receive(loss):
            target = insurance(move.fund, loss.asset)
            self.post(Posting(source, target, move.amount_units))
            self.note_fund(move.fund, loss, move.amount_units)

    def note_fund(self, fund: int, loss: Loss, amount_units: Units) -> None:
        """Tell that a fund grew, or (negative) shrank."""
        self.events.append(
            FundMoved(
                fund=fund,
                asset=loss.asset,
                market=loss.market,
                amount_units=amount_units,
                balance_units=self.parts.clearing.balance(insurance(fund, loss.asset)),
                cause=loss.cause,
            )
        )

    def post(self, *postings: Posting) -> None:
        """Post and collect the events."""
        self.events += self.parts.clearing.post(postings)

    def loss(self, market: MarketId, amount_units: Units, cause: Cause) -> Loss:
        """Return an amount in a market as the insurance part is shown it."""
        asset = self.config.markets[market].settlement
        return Loss(market=market, asset=asset, amount_units=amount_units, cause=cause, at_ns=self.clock_ns)

    def capital(self, asset: AssetId, amount_units: Units) -> Loss:
        """Return the operator's own money as an inflow: it belongs to no market."""
        return Loss(market=0, asset=asset, amount_units=amount_units, cause=Cause.CAPITAL, at_ns=self.clock_ns)


def work_in(events: list[Event]) -> int:
    """Count fills and cancels, the part of the work that events show."""
    return sum(isinstance(e, OrderCancelled) or (isinstance(e, Filled) and e.maker) for e in events)
