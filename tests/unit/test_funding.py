"""Funding rates: published figures, the bounds, and what thin books, missing samples and a restart do."""

from fractions import Fraction

import pytest

from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.order import Level
from perpkit.model.price import IndexPrice, Mark, PriceState, PricingInputs
from perpkit.plugin import NoOptions
from perpkit.ports.context import Limits, MarketContext
from perpkit.reference.funding import (
    HourlyFunding,
    HourlyFundingOptions,
    NoFunding,
    PremiumFunding,
    PremiumFundingOptions,
    impact_price,
)
from perpkit.units import HOUR_NS, Scale

NOW = 1_584_000_000_000_000_000


def market(kind: ContractKind = ContractKind.LINEAR, numerator: int = 1) -> MarketSpec:
    """Make a market in which one lot at p ticks is worth `numerator`·p units, or `numerator`/p when inverse."""
    return MarketSpec(
        id=1,
        name="BTC-PERP",
        kind=kind,
        settlement=1,
        tick=Scale.of("1"),
        lot=Scale.of("0.1"),
        numerator=numerator,
        denominator=1,
        brackets=(Bracket(up_to_units=10**12, initial_ppb=10_000_000, maintenance_ppb=5_000_000),),
        price_min_ticks=1,
        price_max_ticks=1_000_000,
        order_max_lots=1_000_000,
        open_interest_max_lots=1_000_000,
        orders_max=100,
        market_slippage_ppb=50_000_000,
        liquidation_fee_ppb=0,
    )


LINEAR = market()
INVERSE = market(ContractKind.INVERSE, numerator=100_000)


def premium(**options: int) -> PremiumFunding:
    return PremiumFunding(MarketContext(market=LINEAR, limits=Limits()), PremiumFundingOptions(**options))


def hourly(**options: int) -> HourlyFunding:
    return HourlyFunding(MarketContext(market=LINEAR, limits=Limits()), HourlyFundingOptions(**options))


def levels(*rows: tuple[int, int]) -> tuple[Level, ...]:
    return tuple(Level(price_ticks=price, size_lots=size, orders=1) for price, size in rows)


def sample(model: PremiumFunding, index: int, bids: tuple[Level, ...] = (), asks: tuple[Level, ...] = ()) -> None:
    price = IndexPrice(market=1, price_ticks=index, state=PriceState.OK, at_ns=NOW)
    mark = Mark(market=1, price_ticks=index, state=PriceState.OK, at_ns=NOW)
    model.sample(PricingInputs(index=price, at_ns=NOW, bids=bids, asks=asks), mark)


def rate_of(*premiums_ppb: int, **options: int) -> int:
    """Return the rate after samples of these premiums."""
    return rate_after(premium(**options), *premiums_ppb)


def rate_after(model: PremiumFunding, *premiums_ppb: int) -> int:
    for wanted in premiums_ppb:
        at = levels((1_000_000_000 + wanted, 1))
        sample(model, 1_000_000_000, bids=at if wanted > 0 else (), asks=at if wanted < 0 else ())
    return model.rate_ppb()


# Impact prices.


def test_the_impact_bid_published_by_dydx() -> None:
    # 0.1 at 9,999 and 1 at 9,998, selling 5,000: 9,998.2, which is 110,911 millionths above an index of 9,000.
    bids = levels((9_999, 1), (9_998, 10))
    price = impact_price(LINEAR, bids, 50_000)
    assert price is not None
    assert price.limit_denominator(10) == Fraction(99_982, 10)
    model = premium(impact_notional_units=50_000, interest_ppb=110_911_000, clamp_ppb=0, cap_ppb=10**9)
    sample(model, 9_000, bids=bids)
    assert model.rate_ppb() // 1_000 == 110_911


def test_the_last_level_is_taken_in_part() -> None:
    # 300 units buy two lots at 100 and, for the other 100, half a lot at 200: 300 / 2.5 = 120.
    assert impact_price(LINEAR, levels((100, 2), (200, 9)), 300) == 120


def test_an_inverse_impact_price_is_the_price_of_the_whole_size() -> None:
    # Lots of 100,000/p units: 100 lots at 1,000 are 10,000, 100 at 2,000 are 5,000. 200 lots for 15,000: 1,333⅓.
    assert impact_price(INVERSE, levels((1_000, 100), (2_000, 100)), 15_000) == Fraction(4_000, 3)


def test_exactly_enough_depth_is_enough_and_one_unit_less_is_not() -> None:
    assert impact_price(LINEAR, levels((100, 2)), 200) == 100
    assert impact_price(LINEAR, levels((100, 2)), 201) is None
    assert impact_price(LINEAR, (), 200) is None


def test_without_a_notional_the_best_price_stands() -> None:
    assert impact_price(LINEAR, levels((100, 2), (99, 5)), 0) == 100
    assert impact_price(LINEAR, (), 0) is None


# Samples.


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        (levels((10_100, 1)), levels((10_200, 1)), 10_000_000),
        (levels((9_700, 1)), levels((9_800, 1)), -20_000_000),
        (levels((9_900, 1)), levels((10_100, 1)), 0),
        (levels((10_100, 1)), (), 10_000_000),
        ((), levels((9_800, 1)), -20_000_000),
        ((), (), 0),
    ],
)
def test_the_premium_is_what_the_book_can_trade_beyond_the_index(
    bids: tuple[Level, ...], asks: tuple[Level, ...], expected: int
) -> None:
    model = premium(interest_ppb=0, clamp_ppb=0, cap_ppb=10**9)
    sample(model, 10_000, bids, asks)
    assert model.rate_ppb() == expected


def test_a_side_too_thin_for_the_notional_counts_for_nothing() -> None:
    model = premium(interest_ppb=0, clamp_ppb=0, cap_ppb=10**9, impact_notional_units=20_000)
    sample(model, 10_000, bids=levels((10_100, 1)), asks=levels((9_900, 1), (9_800, 5)))
    # The ask side: one lot at 9,900 and 10,100 / 9,800 of a lot at 9,800.
    expected = Fraction(10_000) - Fraction(20_000) / (1 + Fraction(10_100, 9_800))
    assert model.rate_ppb() == -round(expected / 10_000 * 10**9)


# Rates.


def test_the_worked_example_of_hyperliquid() -> None:
    model = premium(cap_ppb=40_000_000)
    sample(model, 10_000, bids=levels((10_100, 1)))
    assert model.rate_ppb() == 9_500_000  # a premium of 1 % is drawn to 0.95 %


@pytest.mark.parametrize(
    ("premium_ppb", "expected"),
    [
        (0, 100_000),
        (600_000, 100_000),
        (-400_000, 100_000),
        (600_001, 100_001),
        (-400_001, 99_999),
        (-1_000_000, -500_000),
        (4_250_000, 3_750_000),
        (9_000_000, 3_750_000),
        (-9_000_000, -3_750_000),
    ],
)
def test_near_the_interest_rate_it_is_the_interest_rate_and_far_off_it_is_capped(
    premium_ppb: int, expected: int
) -> None:
    assert rate_of(premium_ppb) == expected


def test_every_sample_weighs_the_same() -> None:
    assert rate_of(1_000_000, 3_000_000, 2_000_000) == 1_500_000


@pytest.mark.parametrize(("premiums", "expected"), [((1, 2), 2), ((2, 3), 2), ((-1, -2), -2), ((1, 1, 2), 1)])
def test_the_mean_is_rounded_half_to_even(premiums: tuple[int, ...], expected: int) -> None:
    assert rate_of(*premiums, interest_ppb=0, clamp_ppb=0) == expected


def test_an_interval_without_samples_pays_nothing() -> None:
    model = premium()
    assert model.rate_ppb() == 0
    assert model.close(NOW) == 0


def test_closing_pays_the_running_rate_and_starts_again() -> None:
    model = premium()
    sample(model, 10_000, bids=levels((10_020, 1)))
    assert model.close(NOW) == 1_500_000
    assert model.rate_ppb() == 0
    sample(model, 10_000, asks=levels((9_980, 1)))
    assert model.close(NOW) == -1_500_000


def test_by_default_it_pays_at_four_twelve_and_twenty_utc() -> None:
    first = premium().next_ns(0)
    assert first == 4 * HOUR_NS
    assert premium().next_ns(first) == 12 * HOUR_NS


def test_what_was_dumped_goes_on_where_it_stopped() -> None:
    model, copy = premium(), premium()
    sample(model, 10_000, bids=levels((10_020, 1)))
    copy.load(model.dump())
    assert copy.dump() == model.dump()
    for one in (model, copy):
        sample(one, 10_000, bids=levels((10_030, 1)))
    assert copy.rate_ppb() == model.rate_ppb() == 2_000_000


# An eighth every hour.


@pytest.mark.parametrize(
    ("premium_ppb", "expected"),
    [
        (0, 12_500),  # the interest of 0.01 % for eight hours
        (10_000_000, 1_187_500),  # 1 % is drawn to 0.95 %
        (-10_000_000, -1_187_500),
        (320_500_000, 40_000_000),  # 32 %, and 4 % an hour are the cap
        (320_500_008, 40_000_000),
        (320_499_992, 39_999_999),
        (-900_000_000, -40_000_000),
    ],
)
def test_an_hour_costs_an_eighth_of_the_rate_for_eight_hours_and_at_most_the_cap(
    premium_ppb: int, expected: int
) -> None:
    assert rate_after(hourly(), premium_ppb) == expected


@pytest.mark.parametrize(("premium_ppb", "expected"), [(4, 0), (12, 2), (-12, -2), (13, 2), (20, 2), (21, 3)])
def test_the_eighth_is_rounded_half_to_even(premium_ppb: int, expected: int) -> None:
    assert rate_after(hourly(interest_ppb=0, clamp_ppb=0), premium_ppb) == expected


def test_the_mean_is_of_the_samples_of_one_hour() -> None:
    model = hourly(interest_ppb=0, clamp_ppb=0)
    rate_after(model, 8_000, 24_000)
    assert model.close(NOW) == 2_000
    assert rate_after(model, 80_000) == 10_000


def test_an_hour_ends_at_every_full_hour() -> None:
    model = hourly()
    assert [model.next_ns(after) for after in (0, HOUR_NS - 1, HOUR_NS)] == [HOUR_NS, HOUR_NS, 2 * HOUR_NS]


def test_without_funding_there_is_no_stamp_and_no_rate() -> None:
    model = NoFunding(MarketContext(market=LINEAR, limits=Limits()), NoOptions())
    assert model.next_ns(0) is None
    assert model.rate_ppb() == model.close(NOW) == 0
    model.load(model.dump())
