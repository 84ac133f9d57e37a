"""Marginal brackets: what is needed, how it is shared, and where a position is liquidated and bankrupt."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit.errors import ConfigError
from perpkit.model.market import Bracket, MarketSpec
from perpkit.model.position import Exposure, Need, Pool, Thresholds
from perpkit.model.price import Mark, PriceState
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.reference.margin_tiered import ClosingFee, MaintenanceBasis, Rates, TieredMargin, TieredOptions

Make = Callable[..., MarketSpec]
ENTRY = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY)
FEE_IN = TieredOptions(closing_fee=ClosingFee.IN)
ENTRY_FEE_IN = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY, closing_fee=ClosingFee.IN)
KINDS = ("linear", "inverse", "quanto")


def model_of(*specs: MarketSpec, options: TieredOptions | None = None, taker_ppb: int = 0) -> TieredMargin:
    markets = {spec.id: spec for spec in specs}
    context = ExchangeContext(markets=markets, assets={}, limits=Limits(), taker_ppb=dict.fromkeys(markets, taker_ppb))
    return TieredMargin(context, options or TieredOptions())


def marks_of(*prices: int) -> dict[int, Mark]:
    return {
        market: Mark(market=market, price_ticks=price, state=PriceState.OK, at_ns=0)
        for market, price in enumerate(prices, start=1)
    }


def held(size: int, cost: int, **more: Any) -> Exposure:
    fields = {"market": 1, "position_id": 0, "gross_lots": abs(size), **more}
    return Exposure(size_lots=size, cost_units=cost, **fields)


def pool_of(*exposures: Exposure, wallet: int = 0, reserved: int = 0) -> Pool:
    return Pool(account=1, asset=1, wallet_units=wallet, reserved_units=reserved, exposures=exposures)


@pytest.fixture(scope="session")
def spec(make_spec: Make) -> MarketSpec:
    """A lot is worth its price; 10 % / 5 % up to 10,000, 20 % / 10 % above."""
    return make_spec()


# Requirements.


def test_each_part_of_a_value_is_charged_at_the_rate_of_its_bracket(spec: MarketSpec) -> None:
    model, marks = model_of(spec), marks_of(100)
    need = model.need(pool_of(held(90, 9_000)), marks)
    assert (need.initial_units, need.maintenance_units) == (900, 450)
    need = model.need(pool_of(held(300, 30_000)), marks)  # 10,000 in the first bracket, 20,000 in the second
    assert (need.initial_units, need.maintenance_units) == (1_000 + 4_000, 500 + 2_000)
    need = model.need(pool_of(held(2_000, 200_000)), marks)  # above the last bracket the last rate goes on
    assert (need.initial_units, need.maintenance_units) == (1_000 + 38_000, 500 + 19_000)


def test_a_requirement_is_rounded_up(spec: MarketSpec) -> None:
    rates = Rates.of(spec.brackets, [bracket.maintenance_ppb for bracket in spec.brackets])
    assert [rates.requirement(value) for value in (0, 1, 20, 21, 10_000, 10_001)] == [0, 1, 1, 2, 500, 501]


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5), st.data())
def test_requirements_never_jump_at_the_edge_of_a_bracket(widths: list[int], data: st.DataObject) -> None:
    tops = [sum(widths[: i + 1]) for i in range(len(widths))]
    rates_ppb = sorted(data.draw(st.integers(0, 10**9)) for _ in tops)
    brackets = [bracket(top, rate) for top, rate in zip(tops, rates_ppb, strict=True)]
    rates = Rates.of(brackets, rates_ppb)
    exact = Fraction(0)
    for value in range(sum(widths) + 50):
        assert rates.requirement(value) == -(-exact.numerator // exact.denominator)
        above = next((rate for top, rate in zip(tops, rates_ppb, strict=True) if value < top), rates_ppb[-1])
        exact += Fraction(above, 10**9)


def bracket(top: int, rate: int) -> Bracket:
    return Bracket(up_to_units=top, initial_ppb=rate, maintenance_ppb=rate)


def test_brackets_whose_rates_fall_are_refused(make_spec: Make) -> None:
    falling = [
        {"up_to": "10", "initial": "20%", "maintenance": "5%"},
        {"up_to": "20", "initial": "10%", "maintenance": "5%"},
    ]
    with pytest.raises(ConfigError, match="rates that rise"):
        model_of(make_spec({"brackets": falling}))


def test_equity_is_the_wallet_and_the_profit_less_what_is_owed(spec: MarketSpec) -> None:
    losing = held(10, 1_100, unpaid_units=7, funding_due_units=5)
    need = model_of(spec).need(pool_of(losing, wallet=500), marks_of(100))
    assert need.equity_units == 500 + (1_000 - 1_100) - 7 - 5


def test_orders_need_what_the_worse_side_of_them_would_make_of_the_position(spec: MarketSpec) -> None:
    def initial(size: int, buys: int, sells: int) -> int:
        exposure = held(size, size * 100, open_buy_units=buys, open_sell_units=sells)
        return model_of(spec).need(pool_of(exposure, reserved=3), marks_of(100)).initial_units

    assert initial(10, 500, 0) == 150 + 3
    assert initial(10, 0, 500) == 100 + 3  # selling 500 of 1,000 leaves less than is held
    assert initial(10, 0, 2_500) == 150 + 3  # 1,500 short at worst
    assert initial(-10, 2_500, 700) == 170 + 3
    assert initial(0, 400, 700) == 70 + 3


def test_a_chosen_leverage_raises_the_initial_need_and_never_lowers_it(spec: MarketSpec) -> None:
    def initial(leverage: int) -> int:
        return model_of(spec).need(pool_of(held(10, 1_000, leverage=leverage)), marks_of(100)).initial_units

    assert [initial(leverage) for leverage in (0, 1, 3, 10)] == [100, 1_000, 334, 100]
    assert model_of(spec).initial_ppb(1) == 100_000_000


def test_an_isolated_position_stands_apart_from_the_pool(spec: MarketSpec) -> None:
    isolated = held(10, 1_100, position_id=1, gross_lots=15, isolated_units=220)
    cross = held(5, 450, gross_lots=15)
    need = model_of(spec).need(pool_of(cross, isolated, wallet=1_000), marks_of(100))
    assert need.equity_units == 1_000 + 50
    assert [(slot.equity_units, slot.maintenance_units) for slot in need.slots] == [(None, 25), (220 - 100, 50)]
    assert need.maintenance_units == 25
    assert need.initial_units == 50  # what the isolated position holds has margin of its own


def test_orders_on_an_isolated_position_need_margin_from_the_wallet(spec: MarketSpec) -> None:
    isolated = held(10, 1_000, isolated_units=100, open_buy_units=500)
    assert model_of(spec).need(pool_of(isolated), marks_of(100)).initial_units == 50


def test_the_entry_basis_does_not_move_with_the_mark(spec: MarketSpec) -> None:
    position = held(10, 900)
    needs = [model_of(spec, options=ENTRY).need(pool_of(position), marks_of(mark)) for mark in (50, 100, 200)]
    assert [need.maintenance_units for need in needs] == [45, 45, 45]
    needs = [model_of(spec).need(pool_of(position), marks_of(mark)) for mark in (50, 100, 200)]
    assert [need.maintenance_units for need in needs] == [25, 50, 100]


def test_a_closing_fee_is_added_where_the_venue_counts_it(spec: MarketSpec) -> None:
    def maintenance(options: TieredOptions) -> int:
        model = model_of(spec, options=options, taker_ppb=1_000_000)  # 0.1 %
        return model.need(pool_of(held(100, 9_000)), marks_of(100)).maintenance_units

    assert maintenance(TieredOptions()) == 500
    assert maintenance(FEE_IN) == 500 + 10  # of 10,000 at the mark
    assert maintenance(ENTRY_FEE_IN) == 450 + 10  # of 9,000 at entry and 900 of margin, rounded up from 9.9


def test_what_an_order_needs_set_aside_includes_the_closing_fee(spec: MarketSpec) -> None:
    flat = held(0, 0, isolated_units=0, leverage=5)
    for options, margin in ((TieredOptions(), 2_000), (FEE_IN, 2_000 + 10), (ENTRY_FEE_IN, 2_000 + 12)):
        assert (
            model_of(spec, options=options, taker_ppb=1_000_000).opening_margin(flat, 10_000, marks_of(100)) == margin
        )


def test_an_order_on_top_of_a_position_brings_all_that_both_need_more(spec: MarketSpec) -> None:
    """20,000 in all need 3,000, the 10,000 that are held have 1,000. Alone the order would need 1,000."""
    holding = held(100, 10_000, isolated_units=1_000)
    assert model_of(spec).opening_margin(holding, 10_000, marks_of(100)) == 2_000


# Splitting and growing.


@st.composite
def split_pools(draw: st.DrawFn) -> tuple[Pool, Pool, int]:
    """Draw a position, the same position over several ids, and a mark."""
    sizes = draw(st.lists(st.integers(1, 400), min_size=2, max_size=4))
    margins = [draw(st.sampled_from((None, 0, 50))) for _ in sizes]
    sign, price, entry = draw(st.sampled_from((-1, 1))), draw(st.integers(1, 300)), draw(st.integers(1, 300))
    whole = sum(sizes)
    parts = [
        held(sign * size, sign * size * entry, position_id=i, gross_lots=whole, isolated_units=margin)
        for i, (size, margin) in enumerate(zip(sizes, margins, strict=True))
    ]
    return pool_of(held(sign * whole, sign * whole * entry)), pool_of(*parts), price


@pytest.mark.parametrize("options", [TieredOptions(), ENTRY, FEE_IN], ids=str)
@given(drawn=split_pools())
def test_splitting_a_position_never_lowers_its_maintenance(
    spec: MarketSpec, options: TieredOptions, drawn: tuple[Pool, Pool, int]
) -> None:
    whole, split, price = drawn
    model = model_of(spec, options=options, taker_ppb=750_000)
    apart = sum(slot.maintenance_units for slot in model.need(split, marks_of(price)).slots)
    together = model.need(whole, marks_of(price)).maintenance_units
    assert together <= apart <= together + 2 * len(split.exposures)


def test_splitting_a_position_never_lowers_its_fee_reserve(spec: MarketSpec) -> None:
    model, marks = model_of(spec, options=ENTRY_FEE_IN, taker_ppb=750_000), marks_of(172)
    together = model.need(pool_of(held(368, 63_296)), marks).maintenance_units
    split = pool_of(*(held(184, 31_648, position_id=i, gross_lots=368) for i in (0, 1)))
    assert model.need(split, marks).maintenance_units >= together


@given(st.lists(st.integers(1, 400), min_size=2, max_size=4), st.integers(1, 300), st.sampled_from((-1, 1)))
def test_splitting_a_cross_position_never_lowers_what_it_takes_to_open(
    spec: MarketSpec, sizes: list[int], price: int, sign: int
) -> None:
    model, whole = model_of(spec), sum(sizes)
    parts = [held(sign * size, 0, position_id=i, gross_lots=whole) for i, size in enumerate(sizes)]
    apart = model.need(pool_of(*parts), marks_of(price)).initial_units
    assert apart >= model.need(pool_of(held(sign * whole, 0)), marks_of(price)).initial_units


def test_lots_worth_less_than_a_unit_need_no_less_to_open_when_they_are_split(make_spec: Make) -> None:
    spec = make_spec({"brackets": [{"up_to": "1000", "initial": "100%", "maintenance": "100%"}], "lot": "0.01"})
    model, marks = model_of(spec), marks_of(50)  # a lot is worth half a unit
    assert model.need(pool_of(held(100, 0)), marks).initial_units == 50
    split = pool_of(*(held(1, 0, position_id=i, gross_lots=100) for i in range(100)))
    assert model.need(split, marks).initial_units >= 50


@given(st.integers(0, 2_000), st.integers(1, 300), st.sampled_from(KINDS), st.sampled_from((TieredOptions(), FEE_IN)))
def test_a_larger_position_never_needs_less(
    make_spec: Make, size: int, price: int, kind: str, options: TieredOptions
) -> None:
    spec = make_spec({"kind": kind}, unit="0.01")
    model = model_of(spec, options=options, taker_ppb=750_000)

    def need(lots: int) -> Need:
        return model.need(pool_of(held(lots, spec.value(lots, price))), marks_of(price))

    for sign in (-1, 1):
        smaller, larger = need(sign * size), need(sign * (size + 1))
        assert smaller.maintenance_units <= larger.maintenance_units
        assert smaller.initial_units <= larger.initial_units


# Where it ends.


@st.composite
def isolated_positions(draw: st.DrawFn) -> tuple[str, Exposure, int]:
    """Draw the kind of market, a position with margin of its own, solvent at the mark, and the mark."""
    kind = draw(st.sampled_from(KINDS))
    size = draw(st.integers(1, 500)) * draw(st.sampled_from((-1, 1)))
    entry, mark = draw(st.integers(5, 250)), draw(st.integers(5, 250))
    value = {"linear": size, "quanto": size, "inverse": -size * 10_000}[kind]
    cost, worth = (value * p if kind != "inverse" else round(Fraction(value, p)) for p in (entry, mark))
    margin = draw(st.integers(0, 20_000))
    exposure = held(size, cost, isolated_units=max(margin, cost - worth), unpaid_units=0)
    return kind, exposure, mark


def market_of(make_spec: Make, kind: str) -> MarketSpec:
    unit = "0.0001" if kind == "inverse" else "1"
    tops = (
        {"up_to": "10000", "initial": "10%", "maintenance": "3%"},
        {"up_to": "50000", "initial": "20%", "maintenance": "9%"},
    )
    return make_spec({"kind": kind, "price_max": "400", "brackets": tops}, unit=unit)


def walk(spec: MarketSpec, model: TieredMargin, exposure: Exposure, holds: Callable[[Need], bool]) -> int | None:
    """Return the last price toward loss at which something holds of the position, by asking at every listed price."""
    prices = range(spec.price_min_ticks, spec.price_max_ticks + 1)
    toward_loss = list(reversed(prices)) if exposure.size_lots > 0 else list(prices)
    good = [price for price in toward_loss if holds(model.need(pool_of(exposure), marks_of(price)))]
    return None if len(good) == len(prices) else good[-1] if good else toward_loss[0]


def in_slot(need: Need) -> tuple[int, int]:
    slot = need.slots[0]
    assert slot.equity_units is not None
    return slot.equity_units, slot.maintenance_units


@pytest.mark.parametrize("options", [TieredOptions(), ENTRY, ENTRY_FEE_IN], ids=str)
@settings(max_examples=50)
@given(drawn=isolated_positions())
def test_law_7_the_thresholds_are_the_last_prices_that_hold(
    make_spec: Make, options: TieredOptions, drawn: tuple[str, Exposure, int]
) -> None:
    kind, exposure, mark = drawn
    spec = market_of(make_spec, kind)
    model = model_of(spec, options=options, taker_ppb=750_000)
    found = model.thresholds(pool_of(exposure), 1, 0, marks_of(mark))
    assert found.liquidation_ticks == walk(spec, model, exposure, lambda need: in_slot(need)[0] >= in_slot(need)[1])
    if options.closing_fee is ClosingFee.OUT:
        assert found.bankruptcy_ticks == walk(spec, model, exposure, lambda need: in_slot(need)[0] >= 0)
    check_order(exposure, found)


def check_order(exposure: Exposure, found: Thresholds) -> None:
    """A position is liquidated before it is bankrupt, or at the same price."""
    if found.bankruptcy_ticks is not None:
        assert found.liquidation_ticks is not None
        sign = 1 if exposure.size_lots > 0 else -1
        assert sign * found.bankruptcy_ticks <= sign * found.liquidation_ticks


@pytest.mark.parametrize("mark", [105, 900])
def test_law_7_liquidation_comes_first_with_the_closing_fee_in(make_spec: Make, mark: int) -> None:
    rates = {"up_to": "1000", "initial": "10%", "maintenance": "0.4%"}
    spec = make_spec({"tick": "0.01", "price_min": "0.01", "brackets": [rates]}, unit="0.01")
    exposure = held(1, 10_000, isolated_units=1_000)
    model = model_of(spec, options=FEE_IN, taker_ppb=750_000)
    check_order(exposure, model.thresholds(pool_of(exposure), 1, 0, marks_of(mark * 100)))


@given(drawn=isolated_positions())
def test_a_single_cross_position_ends_where_an_isolated_one_would(
    make_spec: Make, drawn: tuple[str, Exposure, int]
) -> None:
    kind, exposure, mark = drawn
    model = model_of(market_of(make_spec, kind))
    cross = pool_of(attrs.evolve(exposure, isolated_units=None), wallet=exposure.isolated_units or 0)
    assert model.thresholds(cross, 1, 0, marks_of(mark)) == model.thresholds(pool_of(exposure), 1, 0, marks_of(mark))


def test_a_long_with_ten_percent_ends_where_the_hand_says(spec: MarketSpec) -> None:
    """Long 10 at 100 with 100: at 95 equity 50 >= 47.5, at 94 equity 40 < 47; at 90 nothing is left."""
    found = model_of(spec).thresholds(pool_of(held(10, 1_000, isolated_units=100)), 1, 0, marks_of(100))
    assert found == Thresholds(liquidation_ticks=95, bankruptcy_ticks=90)


def test_a_short_with_ten_percent_ends_where_the_hand_says(spec: MarketSpec) -> None:
    """Short 10 at 100 with 100: at 104 equity 60 >= 52, at 105 equity 50 < 52.5; at 110 nothing is left."""
    found = model_of(spec).thresholds(pool_of(held(-10, -1_000, isolated_units=100)), 1, 0, marks_of(100))
    assert found == Thresholds(liquidation_ticks=104, bankruptcy_ticks=110)


def test_a_position_that_cannot_lose_everything_has_no_thresholds(spec: MarketSpec) -> None:
    found = model_of(spec).thresholds(pool_of(held(10, 1_000, isolated_units=1_000)), 1, 0, marks_of(100))
    assert found == Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)
    flat = model_of(spec).thresholds(pool_of(held(0, 0, open_buy_units=5)), 1, 0, marks_of(100))
    assert flat == Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)


def test_another_position_of_the_pool_moves_the_thresholds(make_spec: Make) -> None:
    """Long 10 at 100 in both markets with a wallet of 300; market 2 has lost 100, so 200 are left for both."""
    model = model_of(make_spec(), make_spec(number=2))
    pool = pool_of(held(10, 1_000), held(10, 1_000, market=2), wallet=300)
    found = model.thresholds(pool, 1, 0, marks_of(100, 90))
    # At 87: equity 300 - 130 - 100 = 70 < 43.5 + 45. At 89: 90 >= 45 + 45; at 88: 80 < 44 + 45.
    assert found.liquidation_ticks == 89
    # Its share of the equity of 200 is 50/95: 105 of it may be lost, 10 a lot.
    assert found.bankruptcy_ticks == 90
    assert model.closing_value(pool, 1, 0, 10, marks_of(100, 90)) == 1_000 - 105
    assert model.closing_value(pool, 2, 0, 10, marks_of(100, 90)) == 900 - 94
    assert model.closing_value(pool, 1, 0, 1, marks_of(100, 90)) == 100 - 10


def test_the_closing_values_of_a_pool_share_its_equity_and_no_more(make_spec: Make) -> None:
    model = model_of(make_spec(), make_spec(number=2))
    marks = marks_of(100, 90)
    for wallet in range(150, 300, 7):
        pool = pool_of(held(10, 1_000), held(-10, -950, market=2), wallet=wallet)
        worths = [model.closing_value(pool, 1, 0, 10, marks), model.closing_value(pool, 2, 0, -10, marks)]
        left = wallet + (worths[0] - 1_000) + (worths[1] + 950)
        assert 0 <= left <= 2


@pytest.mark.parametrize(
    "beside",
    [
        held(5, 500, position_id=1, isolated_units=9),
        held(0, 0, position_id=1),
    ],
    ids=["an isolated position", "an id that only has orders"],
)
def test_without_any_maintenance_the_whole_equity_may_be_lost(make_spec: Make, beside: Exposure) -> None:
    free = make_spec({"brackets": [{"up_to": "10000", "initial": "10%", "maintenance": "0"}]})
    worth = model_of(free).closing_value(pool_of(held(10, 1_000), beside, wallet=100), 1, 0, 10, marks_of(100))
    assert worth == 900
