"""What a position is worth in each kind of contract, and the searches over listed prices and sizes."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perpkit.errors import ConfigError
from perpkit.model.market import Bracket, ContractKind, MarketSpec, ValueRounding, bracket_index
from perpkit.model.order import Side
from perpkit.units import Scale

Make = Callable[..., MarketSpec]


def market(
    kind: ContractKind, rounding: ValueRounding, numerator: int, denominator: int, high: int = 300
) -> MarketSpec:
    """Make a market with the worth of a lot stated directly, and prices from 1 to `high` ticks."""
    return MarketSpec(
        id=1,
        name="PERP",
        kind=kind,
        settlement=1,
        tick=Scale.of("1"),
        lot=Scale.of("1"),
        numerator=numerator,
        denominator=denominator,
        value_rounding=rounding,
        brackets=(Bracket(up_to_units=10**9, initial_ppb=10**9, maintenance_ppb=0),),
        price_min_ticks=1,
        price_max_ticks=high,
        order_max_lots=1,
        open_interest_max_lots=10**6,
        orders_max=1,
        market_slippage_ppb=50_000_000,
        liquidation_fee_ppb=0,
    )


MARKETS = st.builds(
    market,
    st.sampled_from(ContractKind),
    st.sampled_from(ValueRounding),
    st.integers(1, 10**6),
    st.integers(1, 10**3),
)


def test_a_linear_position_is_worth_its_size_times_the_price(make_spec: Make) -> None:
    spec = make_spec({"lot": "0.001", "tick": "0.5", "price_min": "0.5"}, unit="0.01")
    assert spec.value(1_000, 100_001) == 5_000_050  # 1 at 50,000.5
    assert spec.value(-1_000, 100_001) == -5_000_050


def test_a_quanto_position_is_worth_a_fixed_amount_a_point_and_contract(make_spec: Make) -> None:
    spec = make_spec({"kind": "quanto", "multiplier": "0.000001"}, unit="0.00000001")
    assert spec.value(10_000, 500) == 500_000_000  # 5 XBT


def test_an_inverse_position_is_worth_less_base_coin_the_higher_the_price(make_spec: Make) -> None:
    spec = make_spec({"kind": "inverse"}, unit="0.00000001")
    assert spec.value(1_000, 1_000) == -100_000_000
    assert spec.value(1_000, 1_250) == -80_000_000
    assert spec.value(1_000, 1_250) - spec.value(1_000, 1_000) == 20_000_000  # a long gained 0.2


def test_a_fill_is_rounded_once_and_a_unit_once_a_lot() -> None:
    once = market(ContractKind.INVERSE, ValueRounding.FILL, 10**8, 1, high=10_000)
    each = market(ContractKind.INVERSE, ValueRounding.UNIT, 10**8, 1, high=10_000)
    assert once.value(-500, 6_725) == 7_434_944  # 500 · 14,869.888…
    assert each.value(-500, 6_725) == 7_435_000  # 500 · 14,870


def test_a_tie_goes_to_the_even_value() -> None:
    spec = market(ContractKind.LINEAR, ValueRounding.FILL, 1, 2)
    assert [spec.value(lots, 1) for lots in (1, 3, 5, -1, -3, -5)] == [0, 2, 2, 0, -2, -2]


@given(MARKETS, st.integers(-(10**6), 10**6), st.integers(1, 300))
def test_the_two_sides_of_a_trade_are_worth_the_same(spec: MarketSpec, lots: int, price: int) -> None:
    assert spec.value(-lots, price) == -spec.value(lots, price)


@given(MARKETS, st.integers(-(10**6), 10**6), st.integers(1, 300))
def test_a_value_is_at_most_half_a_unit_off(spec: MarketSpec, lots: int, price: int) -> None:
    numerator, denominator = spec.ratio(price)
    roundings = abs(lots) if spec.value_rounding is ValueRounding.UNIT else 1
    assert abs(spec.value(lots, price) - lots * Fraction(numerator, denominator)) <= Fraction(roundings, 2)


@given(MARKETS, st.integers(1, 10**6), st.data())
def test_a_long_gains_when_the_price_rises_and_a_short_when_it_falls(
    spec: MarketSpec, lots: int, data: st.DataObject
) -> None:
    low = data.draw(st.integers(1, 300))
    high = data.draw(st.integers(low, 300))
    assert spec.value(lots, low) <= spec.value(lots, high)
    assert spec.value(-lots, low) >= spec.value(-lots, high)


@given(MARKETS, st.sampled_from((-7, 7)), st.data())
def test_the_last_price_toward_loss_is_found(spec: MarketSpec, lots: int, data: st.DataObject) -> None:
    """Against a walk over every listed price, from the greatest profit on."""
    worst = sorted([spec.value(lots, 1), spec.value(lots, 300)])
    least = data.draw(st.integers(worst[0] - 1, worst[1] + 1))
    toward_loss = range(300, 0, -1) if lots > 0 else range(1, 301)
    good = [price for price in toward_loss if spec.value(lots, price) >= least]
    expected = None if len(good) == 300 else good[-1] if good else toward_loss[0]
    assert spec.last_price(lots, lambda price: spec.value(lots, price) >= least) == expected


@example(ContractKind.LINEAR, ValueRounding.UNIT, 1, 3, 5, 4)
@example(ContractKind.LINEAR, ValueRounding.FILL, 1, 100, 5, 4)
@given(
    st.sampled_from(ContractKind), st.sampled_from(ValueRounding), st.integers(1, 10**4), st.integers(1, 10**2),
    st.integers(0, 10**4), st.integers(1, 300),
)  # fmt: skip
def test_the_lots_within_a_limit_are_as_many_as_fit(
    kind: ContractKind, rounding: ValueRounding, numerator: int, denominator: int, limit: int, price: int
) -> None:
    spec = market(kind, rounding, numerator, denominator)
    lots = spec.lots_within(limit, price)
    assert lots >= 0
    assert abs(spec.value(lots, price)) <= limit
    if lots < spec.open_interest_max_lots:
        assert abs(spec.value(lots + 1, price)) > limit


def test_a_market_order_may_slip_so_far_and_no_further_than_the_listed_prices() -> None:
    spec = market(ContractKind.LINEAR, ValueRounding.FILL, 1, 1)
    assert (spec.slippage_bound(Side.BUY, 110), spec.slippage_bound(Side.SELL, 110)) == (115, 105)  # 115.5, 104.5
    assert (spec.slippage_bound(Side.BUY, 299), spec.slippage_bound(Side.SELL, 1)) == (300, 1)
    assert [spec.within(price) for price in (-5, 0, 1, 300, 301)] == [1, 1, 1, 300, 300]


def test_a_value_at_the_top_of_a_bracket_is_in_it_and_above_the_last_in_the_last() -> None:
    brackets = [Bracket(up_to_units=top, initial_ppb=0, maintenance_ppb=0) for top in (10, 20, 30)]
    assert [bracket_index(brackets, value) for value in (0, 10, 11, 20, 21, 30, 31, 10**9)] == [0, 0, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"open_interest_max": str(2**60 // 10_001)}, r"open_interest_max_lots·2 times the greatest \|value\|"),
        ({"order_max": str(2**61 // 10_001 // 200)}, r"order_max_lots·orders_max times the greatest \|value\|"),
    ],
)
def test_limits_under_which_a_sum_could_leave_64_bits_are_refused(
    make_spec: Make, change: dict[str, str], told: str
) -> None:
    ((name, lots),) = change.items()
    assert make_spec({name: lots})
    with pytest.raises(ConfigError, match=told):
        make_spec({name: str(int(lots) + 1)})


def test_the_lowest_price_of_an_inverse_market_is_what_bounds_it(make_spec: Make) -> None:
    market = {"kind": "inverse", "price_min": "100", "open_interest_max": "10000", "order_max": "1", "orders_max": 1}
    assert make_spec(market, unit="1e-16")  # a lot is worth 1e14 units at 100
    with pytest.raises(ConfigError, match="open_interest_max_lots"):
        make_spec({**market, "price_min": "50"}, unit="1e-16", number=2)


@pytest.mark.parametrize(
    "brackets",
    [
        [],
        [("20", "10%", "5%"), ("10", "10%", "5%")],
        [("10", "10%", "5%"), ("10", "20%", "5%")],
        [("10", "5%", "10%")],
        [("10", "101%", "1%")],
        [("10", "10%", "-1%")],
        [("0", "10%", "1%")],
    ],
)
def test_brackets_must_rise_and_need_less_to_keep_than_to_open(
    make_spec: Make, brackets: list[tuple[str, str, str]]
) -> None:
    tables = [{"up_to": top, "initial": initial, "maintenance": rate} for top, initial, rate in brackets]
    with pytest.raises(ConfigError, match=r"bracket"):
        make_spec({"brackets": tables})
