"""Fee rates are read exactly, and no order reaches too far through the mark."""

import pytest

from perpkit.errors import ConfigError, UnitsError
from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.order import Order, Side
from perpkit.model.price import Mark, PriceState
from perpkit.ports.context import Limits, MarketContext
from perpkit.reference.fees import MakerTakerFees, MakerTakerOptions
from perpkit.reference.order_checks import PriceBandCheck, PriceBandOptions
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


def admits(side: Side, price: int, band: str = "10%") -> bool:
    order = Order(id=1, account=7, market=1, position_id=0, side=side, size_lots=1, price_ticks=price)
    return PriceBandCheck(CONTEXT, PriceBandOptions(band=band)).admits(order, MARK, None, None)


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
