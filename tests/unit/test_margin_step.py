"""Steps: what is needed on both sides of an edge, and where a position is liquidated when the need jumps there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit import Exchange, RejectReason, Side
from perpkit.errors import ConfigError
from perpkit.model.market import MarketSpec
from perpkit.model.position import Breach, Exposure, Need, Pool, Thresholds
from perpkit.model.price import Mark, PriceState
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.ports.liquidation import Case, CloseOnBook
from perpkit.reference.liquidation_stepped import SteppedLiquidation
from perpkit.reference.margin_step import StepMargin
from perpkit.reference.margin_tiered import ClosingFee, MaintenanceBasis, TieredMargin, TieredOptions

Make = Callable[..., MarketSpec]
ENTRY = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY)
ENTRY_FEE_IN = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY, closing_fee=ClosingFee.IN)


def context_of(spec: MarketSpec, taker_ppb: int = 0) -> ExchangeContext:
    return ExchangeContext(markets={1: spec}, assets={}, limits=Limits(), taker_ppb={1: taker_ppb})


def model_of(spec: MarketSpec, options: TieredOptions | None = None, taker_ppb: int = 0) -> StepMargin:
    return StepMargin(context_of(spec, taker_ppb), options or TieredOptions())


def mark_of(price: int) -> dict[int, Mark]:
    return {1: Mark(market=1, price_ticks=price, state=PriceState.OK, at_ns=0)}


def held(size: int, cost: int, **more: Any) -> Exposure:
    fields = {"market": 1, "position_id": 0, "gross_lots": abs(size), **more}
    return Exposure(size_lots=size, cost_units=cost, **fields)


def pool_of(*exposures: Exposure, wallet: int = 0) -> Pool:
    return Pool(account=1, asset=1, wallet_units=wallet, reserved_units=0, exposures=exposures)


def liquidation(spec: MarketSpec, pool: Pool, mark: int, position_id: int = 0) -> int | None:
    return model_of(spec).thresholds(pool, 1, position_id, mark_of(mark)).liquidation_ticks


@pytest.fixture(scope="session")
def spec(make_spec: Make) -> MarketSpec:
    """A lot is worth its price; 10 % / 5 % up to 10,000, 20 % / 10 % above."""
    return make_spec()


@pytest.fixture(scope="session")
def inverse(make_spec: Make) -> MarketSpec:
    """A lot at price p is worth 10,000 / p units; the rates and the edge at 10,000 units are the same."""
    rates = [{"initial": "10%", "maintenance": "5%"}, {"initial": "20%", "maintenance": "10%"}]
    tops = [{"up_to": "1", **rates[0]}, {"up_to": "10", **rates[1]}]
    return make_spec({"kind": "inverse", "brackets": tops}, unit="0.0001")


# Requirements.


@pytest.mark.parametrize(
    ("value", "initial", "maintenance"),
    [
        (1, 1, 1),
        (20, 2, 1),
        (21, 3, 2),
        (9_000, 900, 450),
        (10_000, 1_000, 500),
        (10_001, 2_001, 1_001),
        (30_000, 6_000, 3_000),
        (200_000, 40_000, 20_000),
    ],
)
def test_the_whole_value_is_charged_at_the_rate_of_its_bracket(
    spec: MarketSpec, value: int, initial: int, maintenance: int
) -> None:
    """Rounded up; above the last bracket its rate goes on."""
    need = model_of(spec).need(pool_of(held(value, value)), mark_of(1))
    assert (need.initial_units, need.maintenance_units) == (initial, maintenance)


def test_at_entry_the_bracket_is_that_of_the_cost(spec: MarketSpec) -> None:
    needs = [model_of(spec, ENTRY).need(pool_of(held(90, cost)), mark_of(200)) for cost in (10_000, 10_001)]
    assert [need.maintenance_units for need in needs] == [500, 1_001]


def test_a_closing_fee_is_added_where_the_venue_counts_it(spec: MarketSpec) -> None:
    """At entry it is of the bankruptcy value: 0.1 % of 11,000 and of the 2,200 that back it, rounded up."""
    need = model_of(spec, ENTRY_FEE_IN, 1_000_000).need(pool_of(held(110, 11_000)), mark_of(100))
    assert need.maintenance_units == 1_100 + 14


def test_position_ids_are_in_the_bracket_of_them_all(spec: MarketSpec) -> None:
    """16,000 in all, at 10 %; alone each would be at 5 %."""
    long, short = held(100, 10_000, gross_lots=160), held(-60, -6_000, position_id=1, gross_lots=160)
    need = model_of(spec).need(pool_of(long, short), mark_of(100))
    assert [slot.maintenance_units for slot in need.slots] == [1_000, 600]


def test_brackets_whose_rates_fall_are_refused(make_spec: Make) -> None:
    falling = [
        {"up_to": "10", "initial": "20%", "maintenance": "5%"},
        {"up_to": "20", "initial": "10%", "maintenance": "5%"},
    ]
    with pytest.raises(ConfigError, match="rates that rise"):
        model_of(make_spec({"brackets": falling}))


# Opening past an edge.


@pytest.mark.parametrize(("order", "initial"), [(1_000, 1_000), (1_100, 2_020)])
def test_a_cross_order_past_an_edge_needs_more_for_what_is_held_too(spec: MarketSpec, order: int, initial: int) -> None:
    pool = pool_of(held(90, 9_000, open_buy_units=order))
    assert model_of(spec).need(pool, mark_of(100)).initial_units == initial


@pytest.mark.parametrize(
    ("leverage", "order", "margin"),
    [
        (0, 1_000, 100),
        (0, 1_100, 220 + 900),  # the 9,000 held had 900 and will need 1,800
        (8, 1_100, 220 + 675),  # they had 1,125
        (5, 1_100, 220),  # they had 1,800
        (2, 1_100, 550),
    ],
)
def test_an_isolated_order_past_an_edge_brings_what_the_position_will_need_more(
    spec: MarketSpec, leverage: int, order: int, margin: int
) -> None:
    model, position = model_of(spec), held(90, 9_000, isolated_units=900, leverage=leverage)
    waiting = attrs.evolve(position, open_buy_units=order)
    assert model.opening_margin(position, order, mark_of(100)) == margin
    assert model.need(pool_of(waiting), mark_of(100)).initial_units == margin


@pytest.mark.parametrize("leverage", [0, 8, 4])
def test_an_order_that_fills_in_parts_brings_as_much_as_at_once(spec: MarketSpec, leverage: int) -> None:
    """Asked as at a fill: with the sizes before it."""
    model, terms = model_of(spec), {"isolated_units": 0, "leverage": leverage}
    sizes = [90, 96, 100, 104, 120]
    parts = [
        model.opening_margin(held(before, 0, **terms), 100 * (after - before), mark_of(100))
        for before, after in pairwise(sizes)
    ]
    assert sum(parts) == model.opening_margin(held(90, 0, **terms), 3_000, mark_of(100))


def test_a_position_that_grew_past_an_edge_is_not_in_breach(make_spec: Make) -> None:
    """10 % / 9 % up to 10,000, 12 % / 11 % above: 9,900 with 990 and two lots more need 1,111."""
    tops = [
        {"up_to": "10000", "initial": "10%", "maintenance": "9%"},
        {"up_to": "100000", "initial": "12%", "maintenance": "11%"},
    ]
    model = model_of(make_spec({"brackets": tops}))
    margin = 990 + model.opening_margin(held(99, 9_900, isolated_units=990), 200, mark_of(100))
    (slot,) = model.need(pool_of(held(101, 10_100, isolated_units=margin)), mark_of(100)).slots
    assert (slot.equity_units, slot.maintenance_units) == (1_212, 1_111)


# Growing and splitting.


VALUES, SIGNS = st.integers(1, 12_000), st.sampled_from((1, -1))
OPTIONS = st.sampled_from((TieredOptions(), ENTRY, ENTRY_FEE_IN))


@settings(max_examples=40)
@given(values=st.tuples(VALUES, VALUES), sign=SIGNS, options=OPTIONS)
def test_a_larger_position_never_needs_less(
    spec: MarketSpec, values: tuple[int, int], sign: int, options: TieredOptions
) -> None:
    model = model_of(spec, options, 750_000)
    small, large = (model.need(pool_of(held(sign * v, sign * v)), mark_of(1)) for v in sorted(values))
    assert small.maintenance_units <= large.maintenance_units
    assert small.initial_units <= large.initial_units


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 80), min_size=2, max_size=4), price=st.integers(50, 150), options=OPTIONS)
def test_splitting_a_position_never_lowers_what_it_needs(
    spec: MarketSpec, sizes: list[int], price: int, options: TieredOptions
) -> None:
    model, whole = model_of(spec, options, 750_000), sum(sizes)
    parts = [held(size, size * 100, position_id=i, gross_lots=whole) for i, size in enumerate(sizes)]
    apart = model.need(pool_of(*parts), mark_of(price))
    together = model.need(pool_of(held(whole, whole * 100)), mark_of(price))
    assert apart.maintenance_units >= together.maintenance_units
    assert apart.initial_units >= together.initial_units


# Where it ends.


@pytest.mark.parametrize(
    ("margin", "mark", "ends"),
    [(1_650, 100, 95), (1_650, 93, 95), (1_650, 90, 90), (1_650, 80, 90), (1_990, 100, 92), (1_990, 90, 87)],
)
def test_a_long_ends_at_the_nearest_price_though_it_would_stand_again_below_the_edge(
    spec: MarketSpec, margin: int, mark: int, ends: int
) -> None:
    """Long 110 at 100. At 91 the value is 10,010 and 1,001 are needed; at 90 it is 9,900, and 495 are.

    With 1,650: at 95 equity 1,100 >= 1,045, at 94 990 < 1,034; at 90 550 >= 495, at 89 440 < 490.
    With 1,990: at 92 equity 1,110 >= 1,012, at 91 1,000 < 1,001; at 87 560 >= 479, at 86 450 < 473.
    """
    assert liquidation(spec, pool_of(held(110, 11_000, isolated_units=margin)), mark) == ends


def test_the_bankruptcy_price_knows_no_edge(spec: MarketSpec) -> None:
    """1,650 are 15 a lot."""
    position = pool_of(held(110, 11_000, isolated_units=1_650))
    found = [model_of(spec).thresholds(position, 1, 0, mark_of(mark)).bankruptcy_ticks for mark in (80, 90, 91, 100)]
    assert found == [85, 85, 85, 85]


def test_a_price_that_rises_over_an_edge_can_put_a_long_into_breach(spec: MarketSpec) -> None:
    """The same long at 91: equity 660, and 10,010 of value need 1,001. At entry it would not move with the price."""
    position = pool_of(held(110, 11_000, isolated_units=1_650))
    (slot,) = model_of(spec).need(position, mark_of(91)).slots
    assert (slot.equity_units, slot.maintenance_units) == (660, 1_001)
    assert model_of(spec, ENTRY).need(position, mark_of(91)).slots[0].maintenance_units == 1_100


def test_a_short_ends_where_its_loss_takes_it_over_an_edge(spec: MarketSpec) -> None:
    """Short 90 at 100 with 2,000: at 111 9,990 need 500 of 1,010, at 112 10,080 need 1,008 of 920."""
    found = model_of(spec).thresholds(pool_of(held(-90, -9_000, isolated_units=2_000)), 1, 0, mark_of(100))
    assert found == Thresholds(liquidation_ticks=111, bankruptcy_ticks=122)


def test_an_inverse_long_ends_where_its_loss_takes_it_over_an_edge(inverse: MarketSpec) -> None:
    """Long 100 at 105, worth 9,524, with 1,200: at 100 10,000 need 500 of 724, at 99 10,102 need 1,011 of 623."""
    found = model_of(inverse).thresholds(pool_of(held(100, -9_524, isolated_units=1_200)), 1, 0, mark_of(105))
    assert found == Thresholds(liquidation_ticks=100, bankruptcy_ticks=94)


@pytest.mark.parametrize(("mark", "ends"), [(95, 97), (98, 97), (99, 103), (110, 103)])
def test_an_inverse_short_ends_at_the_nearest_price(inverse: MarketSpec, mark: int, ends: int) -> None:
    """Short 99 at 95, worth 10,421, with 1,300.

    At 97 equity 1,085 >= 1,021, at 98 981 < 1,011. From 99 on it is at 5 %: at 103 491 >= 481, at 104 398 < 476.
    """
    assert liquidation(inverse, pool_of(held(-99, 10_421, isolated_units=1_300)), mark) == ends


@pytest.mark.parametrize(("mark", "ends"), [(100, 80), (70, 80), (62, 60)])
def test_longs_and_shorts_of_a_pool_end_together(spec: MarketSpec, mark: int, ends: int) -> None:
    """Long 100 and short 60 at 100 with 2,100: equity 2,100 - 40 a tick, and 160 lots to be covered.

    At 80 1,300 >= 1,280, at 79 1,260 < 1,264. From 62 down they are at 5 %: at 60 500 >= 480, at 59 460 < 472.
    """
    long, short = held(100, 10_000, gross_lots=160), held(-60, -6_000, position_id=1, gross_lots=160)
    for position_id in (0, 1):
        assert liquidation(spec, pool_of(long, short, wallet=2_100), mark, position_id) == ends


@pytest.mark.parametrize(("wallet", "mark", "ends"), [(900, 90, 100), (900, 101, 100), (5_000, 100, 500), (0, 100, 1)])
def test_longs_and_shorts_that_cancel_out_end_where_their_need_outgrows_the_wallet(
    spec: MarketSpec, wallet: int, mark: int, ends: int
) -> None:
    """100 lots in all: 500 at 100, and 1,010 at 101. With nothing there is no price, and the best is the lowest."""
    long, short = held(50, 5_000, gross_lots=100), held(-50, -5_000, position_id=1, gross_lots=100)
    assert liquidation(spec, pool_of(long, short, wallet=wallet), mark) == ends


def test_what_cancels_out_and_is_charged_at_entry_ends_nowhere(spec: MarketSpec) -> None:
    pool = pool_of(held(50, 5_000, gross_lots=100), held(-50, -5_000, position_id=1, gross_lots=100), wallet=900)
    assert model_of(spec, ENTRY).thresholds(pool, 1, 0, mark_of(100)).liquidation_ticks is None


def nearest(spec: MarketSpec, model: TieredMargin, position: Exposure, mark: int) -> int | None:
    """Ask at every listed price on the way: the last that holds toward loss, or from a breach the first back."""

    def holds(price: int) -> bool:
        (slot,) = model.need(pool_of(position), mark_of(price)).slots
        assert slot.equity_units is not None
        return slot.equity_units >= slot.maintenance_units

    side = 1 if position.size_lots > 0 else -1
    worst, best = (spec.price_min_ticks, spec.price_max_ticks)[::side]
    if holds(mark):
        failing = next((price for price in range(mark, worst - side, -side) if not holds(price)), None)
        return None if failing is None else failing + side
    return next((price for price in range(mark, best + side, side) if holds(price)), best)


@settings(max_examples=50)
@given(
    kind=st.sampled_from(("linear", "inverse", "quanto")),
    options=OPTIONS,
    size=st.integers(50, 400),
    side=SIGNS,
    prices=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    margin=st.integers(0, 9_000),
)
def test_law_7_the_liquidation_price_is_the_nearest_that_holds(
    make_spec: Make, kind: str, options: TieredOptions, size: int, side: int, prices: tuple[int, int], margin: int
) -> None:
    """Through three edges, from a mark on either side of it, and never beyond the bankruptcy price."""
    unit = 10_000 if kind == "inverse" else 1
    tops = [
        {"up_to": str(top / unit), "initial": f"{rate}%", "maintenance": f"{rate}%"}
        for top, rate in ((5_000, 2), (10_000, 5), (20_000, 9), (90_000, 14))
    ]
    spec = make_spec({"kind": kind, "price_max": "400", "brackets": tops}, unit=str(1 / unit))
    model, (entry, mark) = model_of(spec, options, 750_000), prices
    position = held(side * size, spec.value(side * size, entry), isolated_units=margin)
    found = model.thresholds(pool_of(position), 1, 0, mark_of(mark))
    assert found.liquidation_ticks == nearest(spec, model, position, mark)
    if found.bankruptcy_ticks is not None:
        assert found.liquidation_ticks is not None
        assert side * found.bankruptcy_ticks <= side * found.liquidation_ticks


# Down the steps.


def test_closing_down_to_an_edge_lowers_the_rate_of_all_that_is_left(spec: MarketSpec) -> None:
    """Long 110 at 94 is in breach by 44. Stepped liquidation sells 4 to come to 9,964; 3 would not do."""
    model, marks = model_of(spec), mark_of(94)
    pool = pool_of(held(110, 11_000), wallet=1_650)
    breach = Breach(account=1, asset=1, equity_units=990, maintenance_units=1_034)
    case = Case(
        breach=breach,
        pool=pool,
        need=model.need(pool, marks),
        thresholds={(1, 0): model.thresholds(pool, 1, 0, marks)},
        marks=marks,
        steps_done=0,
        stalled=False,
    )
    step = SteppedLiquidation(context_of(spec), NoOptions()).next_step(case)
    assert step == CloseOnBook(market=1, position_id=0, size_lots=4, limit_ticks=85)
    assert in_pool(model.need(pool_of(held(107, 10_700), wallet=1_650 - 18), marks)) == (990, 1_006)
    assert in_pool(model.need(pool_of(held(106, 10_600), wallet=1_650 - 24), marks)) == (990, 499)


def in_pool(need: Need) -> tuple[int, int]:
    return need.equity_units, need.maintenance_units


# In an exchange.


def test_an_exchange_by_steps_asks_the_higher_rate_of_the_whole_and_closes_down_to_the_step_below(
    make_tables: Callable[..., dict[str, Any]],
) -> None:
    brackets = [
        {"up_to": "10000", "initial": "10%", "maintenance": "5%"},
        {"up_to": "50000", "initial": "15%", "maintenance": "10%"},
    ]
    exchange = Exchange.of(make_tables({"brackets": brackets}, exchange={"margin": "step"}))
    for account, amount in ((1, 1_650), (2, 50_000), (3, 50_000)):
        exchange.deposit(account, "COIN", amount)
    exchange.quote("PERP-1", 100)
    exchange.place(2, "PERP-1", Side.SELL, 120, 100)
    assert exchange.place(1, "PERP-1", Side.BUY, 111, 100).rejected is RejectReason.INSUFFICIENT_MARGIN
    assert exchange.place(1, "PERP-1", Side.BUY, 110, 100).rejected is None
    exchange.place(3, "PERP-1", Side.BUY, 50, 93)
    exchange.quote("PERP-1", 95)
    assert exchange.clearing.pool(1, 1).exposures[0].size_lots == 110
    exchange.quote("PERP-1", 94)
    assert exchange.clearing.pool(1, 1).exposures[0].size_lots == 106
