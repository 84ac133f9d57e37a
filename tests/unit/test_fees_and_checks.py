"""Fee rates are read exactly, and an order check refuses what it is there to refuse, to the lot."""

import attrs
import pytest

from perpkit.errors import ConfigError, UnitsError
from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.order import Order, Side, TimeInForce
from perpkit.model.price import Mark, PriceState
from perpkit.ports.context import Limits, MarketContext
from perpkit.ports.trading import OrderCase
from perpkit.reference.fees import MakerTakerFees, MakerTakerOptions
from perpkit.reference.order_checks import (
    MaxOpenOrdersCheck,
    MaxOpenOrdersOptions,
    OpenInterestCapCheck,
    OpenInterestCapOptions,
    PositionLimitCheck,
    PositionLimitOptions,
    PriceBandCheck,
    PriceBandOptions,
)
from perpkit.units import Scale

MARKET = MarketSpec(
    id=1,
    name="BTC-PERP",
    kind=ContractKind.LINEAR,
    settlement=1,
    tick=Scale.of("0.5"),
    lot=Scale.of("0.001"),
    numerator=1,
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
CONTEXT = MarketContext(market=MARKET, limits=Limits())
MARK = Mark(market=1, price_ticks=100_000, state=PriceState.OK, at_ns=1)


def fees(**rates: str) -> MakerTakerFees:
    return MakerTakerFees(CONTEXT, MakerTakerOptions(**rates))


def case(side: Side, size: int = 1, price: int = 100_000, **account: int) -> OrderCase:
    order = Order(id=1, account=7, market=1, position_id=0, side=side, size_lots=size, price_ticks=price)
    return OrderCase(order=order, mark=MARK, **account)


def reducing(of: OrderCase) -> OrderCase:
    return attrs.evolve(of, order=attrs.evolve(of.order, reduce_only=True))


def admits(side: Side, price: int, band: str = "10%") -> bool:
    return PriceBandCheck(CONTEXT, PriceBandOptions(band=band)).admits(case(side, price=price))


def test_waiting_is_free_and_taking_costs_three_quarters_of_a_thousandth() -> None:
    assert fees().rate_ppb(7, True) == 0
    assert fees().rate_ppb(7, False) == 750_000


def test_a_rebate_may_use_up_the_taker_fee_and_no_more() -> None:
    assert fees(maker="-0.025%", taker="0.075%").rate_ppb(7, True) == -250_000
    assert fees(maker="-0.00075", taker="0.075%").rate_ppb(7, True) == -750_000
    with pytest.raises(ConfigError, match="maker"):
        fees(maker="-0.0750001%", taker="0.075%")


@pytest.mark.parametrize("text", ["much", "0.00000000001", "", "nan"])
def test_a_rate_that_cannot_be_held_exactly_is_refused(text: str) -> None:
    with pytest.raises(UnitsError, match="taker"):
        fees(taker=text)


@pytest.mark.parametrize(
    ("side", "price", "admitted"),
    [
        (Side.BUY, 110_000, True),
        (Side.BUY, 110_001, False),
        (Side.SELL, 90_000, True),
        (Side.SELL, 89_999, False),
    ],
)
def test_the_edge_of_the_band_is_inside(side: Side, price: int, admitted: bool) -> None:
    assert admits(side, price) is admitted


def test_an_order_far_on_its_own_side_may_wait() -> None:
    assert admits(Side.BUY, 1)
    assert admits(Side.SELL, 1_000_000)


def test_the_band_is_an_option() -> None:
    assert admits(Side.BUY, 101_000, band="0.01")
    assert not admits(Side.BUY, 101_001, band="0.01")
    assert admits(Side.SELL, 1, band="200%")
    with pytest.raises(ConfigError, match="band"):
        admits(Side.BUY, 1, band="-1%")


# A lot of this market is a thousandth: a limit of 0.01 is 10 lots.


@pytest.mark.parametrize(
    ("asks", "admitted"),
    [
        (case(Side.BUY, 10), True),
        (case(Side.BUY, 11), False),
        (case(Side.BUY, 3, long_lots=7), True),
        (case(Side.BUY, 4, long_lots=7), False),
        (case(Side.BUY, 3, long_lots=4, open_buy_lots=3), True),
        (case(Side.BUY, 4, long_lots=4, open_buy_lots=3), False),
        (case(Side.SELL, 3, short_lots=4, open_sell_lots=3), True),
        (case(Side.SELL, 4, short_lots=4, open_sell_lots=3), False),
        (case(Side.BUY, 10, open_sell_lots=9), True),
        (case(Side.SELL, 10, open_buy_lots=9), True),
    ],
)
def test_a_position_may_reach_its_limit_with_all_that_rests_filled(asks: OrderCase, admitted: bool) -> None:
    assert PositionLimitCheck(CONTEXT, PositionLimitOptions(most="0.01")).admits(asks) is admitted


@pytest.mark.parametrize(
    ("asks", "admitted"),
    [
        (case(Side.SELL, 50, position_lots=50, long_lots=50), True),
        (case(Side.SELL, 20, position_lots=10, long_lots=10), True),
        (case(Side.SELL, 21, position_lots=10, long_lots=10), False),
        (case(Side.SELL, 10, position_lots=10, long_lots=10, open_sell_lots=11), False),
        (case(Side.BUY, 20, position_lots=-10, short_lots=10), True),
        (case(Side.BUY, 11, short_lots=10), False),
        (case(Side.BUY, 5, long_lots=6, short_lots=50), False),
        (reducing(case(Side.BUY, 50, long_lots=6, short_lots=50)), True),
    ],
)
def test_whoever_is_on_the_other_side_may_close_and_turn_as_far_as_the_limit(asks: OrderCase, admitted: bool) -> None:
    assert PositionLimitCheck(CONTEXT, PositionLimitOptions(most="0.01")).admits(asks) is admitted


def test_the_cap_on_open_interest_stops_what_could_open_and_nothing_that_reduces() -> None:
    check = OpenInterestCapCheck(CONTEXT, OpenInterestCapOptions(most="0.1"))
    assert check.admits(case(Side.BUY, 40, open_interest_lots=60))
    assert not check.admits(case(Side.BUY, 41, open_interest_lots=60))
    assert not check.admits(case(Side.SELL, 1, open_interest_lots=100))
    assert check.admits(reducing(case(Side.SELL, 100, open_interest_lots=100)))


def test_one_order_too_many_may_not_rest_but_may_trade_at_once() -> None:
    check = MaxOpenOrdersCheck(CONTEXT, MaxOpenOrdersOptions(most=2))
    assert check.admits(case(Side.BUY, open_orders=1))
    full = case(Side.BUY, open_orders=2)
    assert not check.admits(full)
    for at_once in (TimeInForce.IOC, TimeInForce.FOK):
        assert check.admits(attrs.evolve(full, order=attrs.evolve(full.order, time_in_force=at_once)))


def test_a_limit_that_would_admit_nothing_or_is_no_whole_number_of_lots_is_refused() -> None:
    for most in ("0", "-1"):
        with pytest.raises(ConfigError, match="position-limit: expected most above 0"):
            PositionLimitCheck(CONTEXT, PositionLimitOptions(most=most))
        with pytest.raises(ConfigError, match="open-interest-cap: expected most above 0"):
            OpenInterestCapCheck(CONTEXT, OpenInterestCapOptions(most=most))
    with pytest.raises(UnitsError, match="most"):
        PositionLimitCheck(CONTEXT, PositionLimitOptions(most="0.0005"))
    with pytest.raises(ConfigError, match="max-open-orders: expected most above 0"):
        MaxOpenOrdersCheck(CONTEXT, MaxOpenOrdersOptions(most=0))
