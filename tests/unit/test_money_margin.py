"""Margin where several positions share a market, where fees are reserved at entry, and at the ends of the lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perpkit.model.market import MarketSpec
from perpkit.model.position import Exposure, Pool, Thresholds
from perpkit.model.price import Mark, PriceState
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.reference.margin_tiered import ClosingFee, MaintenanceBasis, TieredMargin, TieredOptions

Make = Callable[..., MarketSpec]
FEE_IN = TieredOptions(closing_fee=ClosingFee.IN)
ENTRY_FEE_IN = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY, closing_fee=ClosingFee.IN)
TEN_PERCENT = 100_000_000
MARKS = {number: Mark(market=number, price_ticks=100, state=PriceState.OK, at_ns=0) for number in (1, 2)}


@pytest.fixture(scope="session")
def specs(make_spec: Make) -> dict[int, MarketSpec]:
    """Two markets in which a lot is worth its price; 10 % / 5 % up to 10,000, 20 % / 10 % above."""
    return {number: make_spec(number=number) for number in (1, 2)}


def model_of(specs: dict[int, MarketSpec], options: TieredOptions | None = None, taker_ppb: int = 0) -> TieredMargin:
    context = ExchangeContext(markets=specs, assets={}, limits=Limits(), taker_ppb=dict.fromkeys(specs, taker_ppb))
    return TieredMargin(context, options or TieredOptions())


def held(size: int, cost: int | None = None, **more: Any) -> Exposure:
    fields = {"market": 1, "position_id": 0, "gross_lots": abs(size), **more}
    return Exposure(size_lots=size, cost_units=100 * size if cost is None else cost, **fields)


def pool_of(*exposures: Exposure, wallet: int = 0) -> Pool:
    return Pool(account=1, asset=1, wallet_units=wallet, reserved_units=0, exposures=exposures)


def test_a_long_beside_a_larger_short_is_liquidated_where_the_short_loses(specs: dict[int, MarketSpec]) -> None:
    """5 more are short than long: at p equity is 300 - 5(p - 100), and the need 5 % of 15p."""
    pool = pool_of(held(5, position_id=1, gross_lots=15), held(-10, position_id=2, gross_lots=15), wallet=300)
    found = model_of(specs).thresholds(pool, 1, 1, MARKS)
    assert found.liquidation_ticks == 139  # 105 >= 104.25; at 140 it is 100 < 105


def test_as_much_long_as_short_is_liquidated_where_the_need_outgrows_the_wallet(specs: dict[int, MarketSpec]) -> None:
    """5 % of 20 lots: at 150 that is the wallet, at 151 it is one more."""
    pool = pool_of(held(10, position_id=1, gross_lots=20), held(-10, position_id=2, gross_lots=20), wallet=150)
    assert model_of(specs).thresholds(pool, 1, 1, MARKS).liquidation_ticks == 150


def test_only_cross_positions_of_the_same_market_move_together(specs: dict[int, MarketSpec]) -> None:
    """The isolated short beside it, and the larger short in the other market, do not turn a long's side of loss."""
    beside = held(-30, position_id=2, gross_lots=40, isolated_units=3_000)
    pool = pool_of(held(10, position_id=1, gross_lots=40), beside, held(-30, market=2), wallet=500)
    # At 69 equity is 500 - 310, and 34.5 and 150 are needed; at 68 it is 180 < 184.
    assert model_of(specs).thresholds(pool, 1, 1, MARKS).liquidation_ticks == 69


def test_reserving_the_closing_fee_raises_the_price_of_a_close(specs: dict[int, MarketSpec]) -> None:
    """Long 10 at 90 with 90 of margin: equity 190 at 100, so all of it is bankrupt at 810 without the fee."""
    pool = pool_of(held(10, 900, isolated_units=90))
    # At the mark 10 % of 1,000; at entry 10 % of 900 and of the 90 that it needed to open.
    for options, whole, half in ((TieredOptions(), 810, 405), (FEE_IN, 910, 455), (ENTRY_FEE_IN, 909, 455)):
        model = model_of(specs, options, TEN_PERCENT)
        assert model.closing_value(pool, 1, 0, 10, MARKS) == whole
        assert model.closing_value(pool, 1, 0, 5, MARKS) == half


def test_a_position_is_bankrupt_where_it_could_no_longer_pay_its_closing_fee(specs: dict[int, MarketSpec]) -> None:
    pool = pool_of(held(10, 900, isolated_units=90), held(10, 900, market=2))
    found = {options: model_of(specs, options, TEN_PERCENT).thresholds(pool, 1, 0, MARKS) for options in OPTIONS}
    # 10p >= 810; 10p - p >= 810; 10p - 99 >= 810.
    assert [each.bankruptcy_ticks for each in found.values()] == [81, 90, 91]


OPTIONS = (TieredOptions(), FEE_IN, ENTRY_FEE_IN)


def test_the_fee_at_entry_is_shared_by_the_costs_of_the_market_alone(specs: dict[int, MarketSpec]) -> None:
    """9,000 and 6,000 at entry need 2,000 to open: the position's part is 1,200, so 10 % of 10,200 are reserved."""
    own = held(90, 9_000, position_id=1, gross_lots=150, isolated_units=2_000)
    pool = pool_of(own, held(-60, -6_000, position_id=2, gross_lots=150), held(70, market=2), wallet=9_000)
    model = model_of(specs, ENTRY_FEE_IN, TEN_PERCENT)
    assert model.closing_value(pool, 1, 1, 90, MARKS) == 9_000 - 2_000 + 1_020
    assert model.thresholds(pool, 1, 1, MARKS).bankruptcy_ticks == 90  # 90p - 1,020 >= 7,000
    slot = model.need(pool, MARKS).slots[0]
    assert slot.maintenance_units == 600 + 1_020  # of 1,000 on 15,000 at entry, nine fifteenths


def test_thresholds_are_of_the_position_that_is_named(specs: dict[int, MarketSpec]) -> None:
    exposures = [
        held(10, position_id=7, market=market, gross_lots=20, isolated_units=100 * market) for market in (1, 2)
    ]
    exposures.insert(1, held(10, position_id=8, gross_lots=20, isolated_units=400))
    model = model_of(specs)
    found = [model.thresholds(pool_of(*exposures), market, at, MARKS) for market, at in ((1, 7), (1, 8), (2, 7))]
    assert found == [
        Thresholds(liquidation_ticks=95, bankruptcy_ticks=90),
        Thresholds(liquidation_ticks=64, bankruptcy_ticks=60),
        Thresholds(liquidation_ticks=85, bankruptcy_ticks=80),
    ]
