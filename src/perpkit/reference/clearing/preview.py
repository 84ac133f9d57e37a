"""An order placed on a copy of what it touches: the exchange's own code gives the answer."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import attrs

from perpkit.model.cause import Cause
from perpkit.model.command import PlaceOrder
from perpkit.model.event import Filled, OrderCancelled, PositionChanged, Rejected
from perpkit.model.ids import HOUSE, AccountId, OrderId
from perpkit.model.market import MarketState
from perpkit.model.order import Level, MatchPlan, Order, Side
from perpkit.model.position import Thresholds
from perpkit.model.preview import Preview, Standing
from perpkit.ports.book import OrderBook
from perpkit.reference.clearing import execution, orders, settlement, views
from perpkit.reference.clearing.admission import Admitted, fit, refuse_margin
from perpkit.reference.clearing.settlement import FillSide
from perpkit.reference.clearing.state import State
from perpkit.units import Lots, Ticks, Units


def preview(state: State, command: PlaceOrder, order_id: OrderId, market_state: MarketState, locked: bool) -> Preview:
    """Return what an order would do. Nothing changes.

    Cost:
        As placing the order, copies of the accounts that would trade, and five readings of the account's pool.
    """
    before = standing(state, command)
    said = Preview(
        order=command,
        market=state.market(command.market),
        market_state=market_state,
        mark_ticks=state.marks[command.market].price_ticks,
        best_ticks=state.context.books[command.market].best(command.side.opposite),
        before=before,
        after=before,
    )
    fitting = fit(state, command, order_id, market_state, locked)
    if isinstance(fitting, Rejected):
        return attrs.evolve(said, refused=fitting.reason, check=fitting.check)
    said = attrs.evolve(said, needed_units=_needed(state, fitting, before))
    if refused := refuse_margin(state, fitting):
        return attrs.evolve(said, refused=refused.reason)
    return _placed(state, said, fitting)


def standing(state: State, command: PlaceOrder) -> Standing:
    """Return the position that an order is for, and its pool, as they are."""
    account, slot = command.account, (command.market, command.position_id)
    pool, held = views.pool(state, account, state.market(slot[0]).settlement), views.exposure(state, account, slot)
    need = state.context.margin.need(pool, state.marks)
    thresholds = Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)
    if held.size_lots:
        thresholds = state.context.margin.thresholds(pool, *slot, state.marks)
    return Standing(
        size_lots=held.size_lots,
        cost_units=held.cost_units,
        isolated_units=held.isolated_units,
        equity_units=need.equity_units,
        initial_units=need.initial_units,
        maintenance_units=need.maintenance_units,
        thresholds=thresholds,
    )


def _needed(state: State, fitting: Admitted, before: Standing) -> Units:
    """Return by how much the initial need rises while the order is taken in."""
    order = fitting.order
    if order.reduce_only:
        return 0
    pool = views.pool(state, order.account, state.market(order.market).settlement, pending=fitting.pending)
    return state.context.margin.need(pool, state.marks).initial_units - before.initial_units


def _placed(state: State, said: Preview, admitted: Admitted) -> Preview:
    command, order = said.order, admitted.order
    beside = _beside(state, sorted({order.account, *(match.maker_account for match in admitted.plan.matches)}))
    execution.place(beside, admitted, makes_way=command.close)
    events, beside.events = beside.events, []
    fills = [each for each in events if isinstance(each, Filled) and not each.maker]
    cancels = [each for each in events if isinstance(each, OrderCancelled)]
    changes = [
        each
        for each in events
        if isinstance(each, PositionChanged) and (each.account, each.position_id) == (order.account, order.position_id)
    ]
    rests = orders.find(beside, order.market, order.account, order.id, 0)
    after = standing(beside, command)
    return attrs.evolve(
        said,
        size_lots=order.size_lots,
        limit_ticks=order.price_ticks,
        fills=tuple((each.price_ticks, abs(each.size_lots)) for each in fills),
        rest_lots=rests.left_lots if rests else 0,
        cancelled=tuple((each.reason, each.size_lots) for each in cancels if each.order_id == order.id),
        gone=tuple(each.order_id for each in cancels if each.account == order.account and each.order_id != order.id),
        fee_units=sum(each.fee_units for each in fills),
        realized_units=sum(each.realized_units for each in changes),
        after=after,
        if_filled=_filled_up(beside, command, order, rests.left_lots) if rests else None,
    )


def _filled_up(beside: State, command: PlaceOrder, order: Order, lots: Lots) -> Standing:
    """Let what rests of the order fill at its limit, and return what becomes of the position."""
    signed, slot = order.side * lots, orders.slot_of(order)
    orders.relieve(beside, order.account, slot, order.id, lots)
    side = FillSide(
        account=order.account,
        slot=slot,
        lots=signed,
        value_units=beside.market(order.market).value(signed, order.price_ticks),
        price_ticks=order.price_ticks,
        order_id=order.id,
        maker=True,
        cause=Cause.TRADE,
    )
    settlement.settle_side(beside, side)
    return standing(beside, command)


def _beside(state: State, accounts: Sequence[AccountId]) -> State:
    """Return a state in which these accounts may trade while nothing of the real one changes."""
    books = {market: _LookedAt(book) for market, book in state.context.books.items()}
    beside = State(attrs.evolve(state.context, books=books))
    beside.ledger = state.ledger.overlay()
    beside.accounts = {each: copy.deepcopy(state.accounts[each]) for each in (HOUSE, *accounts)}
    beside.sums = {market: copy.copy(sums) for market, sums in state.sums.items()}
    beside.marks = state.marks
    counted = [(account, market) for account in accounts for market in state.markets]
    beside.order_counts = defaultdict(int, {key: state.order_counts.get(key, 0) for key in counted})
    return beside


class _LookedAt:
    """A book that is asked and never changed: what its orders would become, the copy of their accounts knows."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book

    def plan(self, taker: Order, /) -> MatchPlan:
        return self._book.plan(taker)

    def commit(self, plan: MatchPlan, /) -> None:
        pass

    def reduce(self, _order_id: OrderId, _by_lots: Lots, /) -> Lots:
        return 0

    def best(self, side: Side, /) -> Ticks | None:
        return self._book.best(side)

    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        return self._book.levels(side, count)

    def orders(self, side: Side, /) -> Iterator[Order]:
        return self._book.orders(side)

    def load(self, orders: Iterable[Order], /) -> None:
        pass
