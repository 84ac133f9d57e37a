"""The reference clearing by itself: what a fill does to money, cost, margin and reservations, in small numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.engine.compose import compose
from perpkit.engine.config import ExchangeConfig
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import CancelOrder, PlaceOrder, SetPositionTerms
from perpkit.model.event import Event, Filled, OrderCancelled, PositionChanged
from perpkit.model.ledger import Chart, Posting, house, isolated_margin, wallet
from perpkit.model.market import MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.position import Closing, Exposure
from perpkit.model.price import Mark, PriceState
from perpkit.plugin import Registry
from perpkit.ports.clearing import Clearing

BUY, SELL = Side.BUY, Side.SELL
EventT = TypeVar("EventT")
Make = Callable[..., dict[str, Any]]


class Desk:
    """A clearing with market 1, and a counter for its orders. A lot at price p is worth p units."""

    def __init__(self, tables: dict[str, Any], deposits: dict[int, int], mark: int = 100) -> None:
        self.clearing: Clearing = compose(ExchangeConfig.from_dict(tables), Registry.builtin()).clearing
        self.orders = 0
        for account, amount in deposits.items():
            self.clearing.post([Posting(house(Chart.CUSTODY_HOT, 1), wallet(account, 1), amount)])
        self.mark(mark)

    def mark(self, price: int) -> None:
        self.clearing.set_mark(Mark(market=1, price_ticks=price, state=PriceState.OK, at_ns=0))

    def place(self, account: int, side: Side, size: int, price: int, **more: Any) -> Sequence[Event]:
        self.orders += 1
        command = PlaceOrder(account=account, market=1, side=side, size_lots=size, price_ticks=price, **more)
        return self.clearing.place(command, self.orders, MarketState.OPEN, False)

    def trade(self, buyer: int, seller: int, size: int, price: int) -> Sequence[Event]:
        """Let a resting order of the seller be taken by the buyer."""
        self.place(seller, SELL, size, price)
        events = self.place(buyer, BUY, size, price)
        assert sum(event.size_lots for event in told(events, Filled, buyer)) == size
        return events

    def isolate(self, account: int, leverage: int, position_id: int = 0) -> None:
        terms = SetPositionTerms(account=account, market=1, position_id=position_id, isolated=True, leverage=leverage)
        self.clearing.set_position_terms(terms)

    def wallet(self, account: int) -> int:
        return self.clearing.balance(wallet(account, 1))

    def margin(self, account: int, position_id: int = 0) -> int:
        return self.clearing.balance(isolated_margin(account, 1, 1, position_id))

    def held(self, account: int, position_id: int = 0) -> Exposure | None:
        pool = self.clearing.pool(account, 1)
        return next((each for each in pool.exposures if each.position_id == position_id), None)

    def position(self, account: int, position_id: int = 0) -> tuple[int, int]:
        """Return (size, cost)."""
        exposure = self.held(account, position_id)
        return (exposure.size_lots, exposure.cost_units) if exposure else (0, 0)


def told(events: Sequence[Event], kind: type[EventT], account: int) -> list[EventT]:
    return [event for event in events if isinstance(event, kind) and getattr(event, "account", None) == account]


def realized(events: Sequence[Event], account: int) -> int:
    return sum(event.realized_units for event in told(events, PositionChanged, account))


@pytest.fixture
def desk(make_tables: Make) -> Desk:
    """Accounts 1, 2 and 3 with 10,000 each, the mark at 100, no fees."""
    return Desk(make_tables(), {1: 10_000, 2: 10_000, 3: 10_000})


# Size and cost.


def test_a_fill_makes_two_opposite_positions_and_moves_no_money(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    assert (desk.position(1), desk.position(2)) == ((10, 1_000), (-10, -1_000))
    assert (desk.wallet(1), desk.wallet(2)) == (10_000, 10_000)
    totals = desk.clearing.totals(1)
    assert (totals.size_lots, totals.costs_units, totals.ccp_units, totals.open_interest_lots) == (0, 0, 0, 10)


def test_a_profit_comes_out_of_the_central_counterparty_and_a_loss_goes_into_it(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    events = desk.trade(3, 1, 10, 110)
    assert realized(events, 1) == 100
    assert desk.wallet(1) == 10_100
    assert desk.clearing.totals(1).ccp_units == -100  # what the short of account 2 owes, until it closes
    events = desk.trade(2, 3, 10, 110)
    assert (realized(events, 2), desk.wallet(2)) == (-100, 9_900)
    assert (desk.clearing.totals(1).ccp_units, desk.clearing.totals(1).open_interest_lots) == (0, 0)


def test_a_position_that_is_closed_is_forgotten(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    desk.trade(2, 1, 10, 100)
    assert desk.clearing.pool(1, 1).exposures == desk.clearing.pool(2, 1).exposures == ()


def test_the_parts_of_a_long_are_relieved_so_that_a_profit_is_never_early(desk: Desk) -> None:
    desk.trade(1, 2, 2, 100)
    desk.trade(1, 2, 1, 101)
    assert desk.position(1) == (3, 301)
    # 301 over three lots: 101, 100, 100.
    assert [realized(desk.trade(3, 1, 1, 110), 1) for _ in range(3)] == [9, 10, 10]


def test_the_parts_of_a_short_are_relieved_so_that_a_loss_is_never_late(desk: Desk) -> None:
    desk.trade(2, 1, 2, 100)
    desk.trade(2, 1, 1, 101)
    assert desk.position(1) == (-3, -301)
    # -301 over three lots, toward plus infinity: -100, -100, -101.
    assert [realized(desk.trade(1, 3, 1, 110), 1) for _ in range(3)] == [-10, -10, -9]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(50, 150)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 9), st.integers(50, 150)), min_size=1, max_size=12),
    st.sampled_from(("linear", "inverse")),
    st.sampled_from(Side),
)
def test_the_cost_is_relieved_exactly_in_any_split(
    make_tables: Make, opened: list[Any], closed: list[Any], kind: str, side: Side
) -> None:
    unit = "0.0001" if kind == "inverse" else "1"
    desk = Desk(make_tables({"kind": kind, "market_slippage": "100%"}, unit=unit), {1: 10**9, 2: 10**9})

    def deal(direction: Side, size: int, price: int) -> int:
        buyer, seller = (1, 2) if direction is BUY else (2, 1)
        return realized(desk.trade(buyer, seller, size, price), 1)

    spec = ExchangeConfig.from_dict(make_tables({"kind": kind}, unit=unit)).markets[1]
    for size, price in opened:
        deal(side, size, price)
    size, cost = desk.position(1)
    assert cost == sum(spec.value(side * lots, price) for lots, price in opened)
    paid_in, earned = cost, 0
    for wanted, price in [*closed, (1_000, 100)]:
        lots = min(wanted, abs(size))
        if not lots:
            break
        share = Fraction(cost * lots, abs(size))
        proceeds = spec.value(side * lots, price)
        profit = deal(side.opposite, lots, price)
        assert proceeds - share - 1 < profit <= proceeds - share  # at most a unit late, never early
        earned += proceeds - profit
        size, cost = desk.position(1)
    assert (size, cost, earned) == (0, 0, paid_in)


def test_a_fill_through_flat_closes_the_old_position_and_opens_a_new_one(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    events = desk.trade(3, 1, 15, 110)
    assert realized(events, 1) == 100
    assert desk.position(1) == (-5, -550)
    assert desk.position(3) == (15, 1_650)
    assert desk.wallet(1) == 10_100


def test_the_two_parts_of_a_flip_add_up_to_the_value_the_other_side_was_given(make_tables: Make) -> None:
    """Half a unit a lot: closing 1 lot at 101 is worth 50, opening 1 what is left of 101."""
    desk = Desk(make_tables({"lot": "0.5"}), {1: 10_000, 2: 10_000, 3: 10_000}, mark=101)
    desk.trade(1, 2, 1, 101)
    events = desk.trade(3, 1, 2, 101)
    assert desk.position(3) == (2, 101)
    assert (realized(events, 1), desk.position(1)) == (0, (-1, -51))
    totals = desk.clearing.totals(1)
    assert totals.costs_units + totals.ccp_units == 0


def test_position_ids_are_positions_of_their_own(desk: Desk) -> None:
    desk.place(2, SELL, 10, 100)
    desk.place(2, BUY, 4, 99)
    desk.place(1, BUY, 10, 100, position_id=1)
    desk.place(1, SELL, 4, 99, position_id=2)
    assert (desk.position(1, 1), desk.position(1, 2)) == ((10, 1_000), (-4, -396))
    assert desk.position(2) == (-6, -600)
    assert desk.clearing.totals(1).open_interest_lots == 10


# Fees.


def test_fees_are_charged_on_the_value_and_rounded_up(make_tables: Make) -> None:
    fees = {"provider": "maker-taker", "options": {"maker": "-0.1%", "taker": "0.55%"}}
    desk = Desk(make_tables(exchange={"fees": fees}), {1: 10_000, 2: 10_000})
    events = desk.trade(1, 2, 10, 101)
    assert [(fill.account, fill.fee_units, fill.maker) for fill in events if isinstance(fill, Filled)] == [
        (1, 6, False),  # 0.55 % of 1,010 is 5.555
        (2, -1, True),  # a rebate of 1.01
    ]
    assert (desk.wallet(1), desk.wallet(2)) == (10_000 - 6, 10_000 + 1)
    assert desk.clearing.balance(house(Chart.FEES, 1)) == 5


# Isolated margin.


def test_opening_takes_margin_out_of_the_wallet_and_adding_takes_more(desk: Desk) -> None:
    desk.isolate(1, leverage=5)
    desk.trade(1, 2, 10, 100)
    assert (desk.wallet(1), desk.margin(1)) == (9_800, 200)
    desk.trade(1, 2, 5, 102)
    assert (desk.wallet(1), desk.margin(1)) == (9_698, 302)


def test_reducing_gives_margin_back_in_proportion_with_what_was_won_or_lost(desk: Desk) -> None:
    desk.isolate(1, leverage=5)
    desk.trade(1, 2, 10, 100)
    desk.trade(3, 1, 4, 105)  # of 200, 80 come back, and 20 profit
    assert (desk.wallet(1), desk.margin(1)) == (9_900, 120)
    desk.trade(3, 1, 3, 90)  # of 120, 60 come back less 30 loss
    assert (desk.wallet(1), desk.margin(1)) == (9_930, 60)
    desk.trade(3, 1, 3, 100)
    assert (desk.wallet(1), desk.margin(1)) == (9_990, 0)


def test_margin_that_does_not_divide_stays_with_the_position(desk: Desk) -> None:
    desk.isolate(1, leverage=10)
    desk.trade(1, 2, 3, 101)  # 30.3 are needed
    assert desk.margin(1) == 31
    desk.trade(3, 1, 1, 101)  # two thirds of 31 are 20.67
    assert desk.margin(1) == 21


def test_a_flip_gives_the_old_margin_back_and_takes_what_the_new_position_needs(desk: Desk) -> None:
    desk.isolate(1, leverage=5)
    desk.trade(1, 2, 10, 100)
    desk.trade(3, 1, 15, 100)
    assert desk.position(1) == (-5, -500)
    assert (desk.wallet(1), desk.margin(1)) == (9_900, 100)


def test_a_loss_of_an_isolated_position_stops_at_its_margin(desk: Desk) -> None:
    """What the taker of the losing side could not pay is owed by the position, and no longer by its owner's wallet."""
    desk.isolate(1, leverage=10)
    desk.trade(1, 2, 10, 100)
    desk.mark(80)
    desk.place(2, BUY, 10, 80)
    events = desk.clearing.close_on_book(1, 1, 0, 10, 80, 0, Cause.LIQUIDATION)
    (changed,) = told(events, PositionChanged, 1)
    assert (changed.size_lots, changed.realized_units, changed.unpaid_units) == (0, -200, 100)
    assert (desk.wallet(1), desk.margin(1)) == (9_900, 0)
    totals = desk.clearing.totals(1)
    assert totals.costs_units + totals.ccp_units == 0


@pytest.mark.parametrize("as_maker", [False, True])
def test_no_order_of_the_owner_can_make_an_isolated_position_owe(desk: Desk, as_maker: bool) -> None:
    """Long 10 at 100 with 100 of margin is bankrupt at 90; the mark has not moved."""
    desk.isolate(1, leverage=10)
    desk.trade(1, 2, 10, 100)
    first, second = ((1, SELL), (2, BUY)) if as_maker else ((2, BUY), (1, SELL))
    desk.place(*first, 10, 60)
    desk.place(*second, 10, 60)
    exposure = desk.held(1)
    assert exposure is None or exposure.unpaid_units == 0


def test_terms_are_for_flat_positions_without_orders(desk: Desk) -> None:
    desk.isolate(1, leverage=5)
    desk.trade(1, 2, 10, 100)
    desk.isolate(1, leverage=2)  # refused
    exposure = desk.held(1)
    assert exposure is not None
    assert exposure.leverage == 5


# Off the book.


def test_positions_cross_off_the_book_at_one_price(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    closings = [
        Closing(account=2, position_id=0, change_lots=4),
        Closing(account=1, position_id=0, change_lots=-4),
    ]
    events = desk.clearing.cross_off_book(1, 90, closings, Cause.DELEVERAGING)
    assert (realized(events, 1), realized(events, 2)) == (-40, 40)
    assert (desk.position(1), desk.position(2)) == ((6, 600), (-6, -600))


def test_rounding_off_the_book_leaves_nothing_over(make_tables: Make) -> None:
    """At half a unit a lot, 1 and 1 are worth 50 each at 101, and 2 are worth 101. The house, last, holds nothing."""
    desk = Desk(make_tables({"lot": "0.5"}), {1: 10_000, 2: 10_000, 3: 10_000}, mark=101)
    desk.trade(1, 3, 1, 101)
    desk.trade(2, 3, 1, 101)
    changes = {1: -1, 2: -1, 3: 2, 0: 0}
    closings = [
        Closing(account=account, position_id=1 - bool(account), change_lots=c) for account, c in changes.items()
    ]
    desk.clearing.cross_off_book(1, 101, closings, Cause.SETTLEMENT)
    totals = desk.clearing.totals(1)
    assert totals.costs_units + totals.ccp_units == 0


# Reduce-only.


def reducers(desk: Desk) -> dict[int, int]:
    """Return the sizes of account 1's resting orders by price."""
    return {order.price_ticks: order.size_lots for order in desk.clearing.orders(1, SELL) if order.account == 1}


def test_a_reduce_only_order_is_cut_to_what_there_is_to_reduce(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    desk.place(1, SELL, 15, 120, reduce_only=True)
    assert reducers(desk) == {120: 10}


def test_what_no_longer_reduces_goes_the_least_aggressive_first(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    for price in (120, 130, 110):
        desk.place(1, SELL, 4, price, reduce_only=True)
    assert reducers(desk) == {110: 4, 120: 4, 130: 2}
    desk.place(3, BUY, 3, 105)
    events = desk.place(1, SELL, 3, 105)
    assert reducers(desk) == {110: 4, 120: 3}
    cuts = [(cut.size_lots, cut.left_lots, cut.reason) for cut in told(events, OrderCancelled, 1)]
    assert sorted(cuts) == [(1, 3, CancelReason.REDUCE_ONLY), (2, 0, CancelReason.REDUCE_ONLY)]
    desk.trade(3, 1, 7, 104)
    assert reducers(desk) == {}


def test_of_two_at_one_price_the_later_goes_first(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    desk.place(1, SELL, 5, 120, reduce_only=True)
    desk.place(1, SELL, 5, 120, reduce_only=True)
    first = desk.clearing.orders(1, SELL)[0].id
    desk.trade(3, 1, 5, 105)
    assert [(order.id, order.size_lots) for order in desk.clearing.orders(1, SELL)] == [(first, 5)]


def test_an_ordinary_order_that_closes_counts_before_them(desk: Desk) -> None:
    desk.trade(1, 2, 10, 100)
    desk.place(1, SELL, 8, 120, reduce_only=True)
    desk.place(1, SELL, 6, 130)
    assert reducers(desk) == {120: 4, 130: 6}


ORDERS = st.tuples(
    st.sampled_from(Side), st.integers(1, 9), st.integers(95, 105), st.booleans(), st.sampled_from((1, 2, 3))
)


@given(st.lists(ORDERS, max_size=30))
def test_a_reduce_only_order_never_opens_and_never_flips(make_tables: Make, orders: list[Any]) -> None:
    desk = Desk(make_tables(), {1: 10**5, 2: 10**5, 3: 10**5})
    reducing: set[int] = set()
    for side, size, price, reduce_only, account in orders:
        sizes = {each: desk.position(each)[0] for each in (1, 2, 3)}
        events = desk.place(account, side, size, price, reduce_only=reduce_only)
        if reduce_only:
            reducing.add(desk.orders)
        for event in events:
            if isinstance(event, Filled):
                before = sizes[event.account]
                sizes[event.account] += event.size_lots
                if event.order_id in reducing:
                    assert before * event.size_lots < 0
                    assert abs(event.size_lots) <= abs(before)
        for each in (1, 2, 3):
            resting = [o for s in Side for o in desk.clearing.orders(1, s) if o.account == each and o.reduce_only]
            assert all(order.side * sizes[each] < 0 for order in resting)
            assert sum(order.size_lots for order in resting) <= abs(sizes[each])


# Reservations.


def reserved(desk: Desk, account: int) -> tuple[int, int, int]:
    """Return (reserve, value of open buys, value of open sells)."""
    pool = desk.clearing.pool(account, 1)
    return (
        pool.reserved_units,
        sum(each.open_buy_units for each in pool.exposures),
        sum(each.open_sell_units for each in pool.exposures),
    )


@pytest.fixture
def taxed(make_tables: Make) -> Desk:
    """As `desk`, with a taker fee of 0.5 % and none for makers."""
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": "0.5%"}}
    return Desk(make_tables(exchange={"fees": fees}), {1: 10_000, 2: 10_000, 3: 10_000})


def test_an_order_sets_aside_its_taker_fee_and_what_it_would_lose_against_the_mark(taxed: Desk) -> None:
    taxed.place(1, BUY, 7, 99)
    assert reserved(taxed, 1) == (4, 693, 0)  # 0.5 % of 693 is 3.465; below the mark nothing would be lost
    taxed.place(2, BUY, 10, 103)
    assert reserved(taxed, 2) == (6 + 30, 1_030, 0)
    taxed.place(3, SELL, 10, 110)
    assert reserved(taxed, 3) == (6, 0, 1_100)


def test_a_reduce_only_order_sets_nothing_aside(taxed: Desk) -> None:
    taxed.trade(1, 2, 10, 100)
    taxed.place(1, SELL, 10, 110, reduce_only=True)
    assert reserved(taxed, 1) == (0, 0, 0)


def test_a_fill_frees_what_it_no_longer_needs_rounded_up(taxed: Desk) -> None:
    taxed.place(1, BUY, 7, 99)
    taxed.place(2, SELL, 3, 99)
    assert reserved(taxed, 1) == (2, 396, 0)  # of 4, 12/7 are freed as 2; of 693, 297
    taxed.clearing.cancel(CancelOrder(account=1, market=1, order_id=1), CancelReason.REQUESTED)
    assert reserved(taxed, 1) == (0, 0, 0)


def test_a_taker_that_rests_keeps_only_what_its_rest_needs(taxed: Desk) -> None:
    taxed.place(2, SELL, 3, 101)
    taxed.place(1, BUY, 7, 101)
    # 707 and 4 + 7 for all; 3 of 7 filled: 303 and ceil(33/7) = 5 are freed.
    assert reserved(taxed, 1) == (6, 404, 0)


def test_what_does_not_rest_sets_nothing_aside(taxed: Desk) -> None:
    taxed.place(1, BUY, 7, 101, time_in_force=TimeInForce.IOC)
    assert reserved(taxed, 1) == (0, 0, 0)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(90, 110), st.booleans())
def test_reservations_are_freed_exactly_in_any_split(
    make_tables: Make, parts: list[int], price: int, cancels: bool
) -> None:
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": "0.37%"}}
    desk = Desk(make_tables(exchange={"fees": fees}), {1: 10**5, 2: 10**5})
    desk.place(1, BUY, sum(parts), price)
    order, before = desk.orders, reserved(desk, 1)
    for part in parts[: -1 if cancels else None]:
        desk.place(2, SELL, part, price, time_in_force=TimeInForce.IOC)
        after = reserved(desk, 1)
        assert all(0 <= now <= then for now, then in zip(after, before, strict=True))
        before = after
    if cancels:
        desk.clearing.cancel(CancelOrder(account=1, market=1, order_id=order), CancelReason.REQUESTED)
    assert reserved(desk, 1) == (0, 0, 0)
    assert desk.clearing.orders(1, BUY) == ()


# State.


def test_what_is_dumped_is_loaded_back(make_tables: Make, taxed: Desk) -> None:
    taxed.isolate(1, leverage=3)
    taxed.trade(1, 2, 10, 100)
    taxed.place(1, SELL, 4, 120, reduce_only=True, client_order_id=7)
    taxed.place(3, BUY, 7, 99)
    taxed.place(2, SELL, 3, 99)
    state = taxed.clearing.dump()
    other = Desk(make_tables(), {9: 1})
    other.clearing.load(state)
    assert other.clearing.dump() == state
    assert other.clearing.order(1, 1, 0, 7) == taxed.clearing.order(1, 1, 0, 7) is not None
    assert other.clearing.pool(1, 1) == taxed.clearing.pool(1, 1)
    assert not other.clearing.has_account(9)
