"""Needs, prices and closing values of pools, worked out by hand: a lot at price p is worth p units."""

from typing import Any

import pytest

from perpkit.model.position import Exposure, Thresholds
from perpkit.testing.builders import exchange_context, exposure, market_table, marks, pool
from perpkit.units import SCALE
from perpkit_portfolio_margin import PortfolioMargin, PortfolioOptions

MODEL = PortfolioMargin(exchange_context(market_table(), market_table(id=2)), PortfolioOptions())
AT_100 = marks(100, 100)


def held(size_lots: int, market: int = 1, **fields: Any) -> Exposure:
    """A position opened at 100."""
    return exposure(size_lots, size_lots * 100, market=market, **fields)


HEDGE = (held(100), held(-60, 2))


def test_the_initial_need_is_a_multiple_of_maintenance() -> None:
    need = MODEL.need(pool(1_000, *HEDGE), AT_100)
    assert (need.equity_units, need.maintenance_units, need.initial_units) == (1_000, 480, 624)


def test_the_need_is_allotted_by_what_each_position_would_need_alone() -> None:
    slots = MODEL.need(pool(1_000, *HEDGE), AT_100).slots
    assert [slot.maintenance_units for slot in slots] == [300, 180]


def test_the_parts_of_a_need_sum_to_it_exactly() -> None:
    need = MODEL.need(pool(0, held(10), held(10, position_id=1), held(-13, 2)), marks(97, 89))
    assert sum(slot.maintenance_units for slot in need.slots) == need.maintenance_units


def test_equity_is_what_a_pool_would_be_left_with() -> None:
    owing = held(10, unpaid_units=7, funding_due_units=5)
    assert MODEL.need(pool(500, owing, held(-10, 2)), marks(90, 80)).equity_units == 500 - 100 - 7 - 5 + 200


def test_an_isolated_position_stands_alone() -> None:
    """It needs 12 % although the pool beside it is its perfect hedge, and the pool needs no less for it."""
    need = MODEL.need(pool(1_000, held(50), held(-50, 2, isolated_units=800)), AT_100)
    assert [(slot.maintenance_units, slot.equity_units) for slot in need.slots] == [(600, None), (600, 800)]
    assert (need.maintenance_units, need.initial_units) == (600, 780)


def test_orders_on_an_isolated_position_need_margin_from_the_wallet() -> None:
    """15.6 % of 500; what the position holds has margin of its own."""
    position = held(10, isolated_units=160, open_buy_units=500)
    assert MODEL.need(pool(0, position), AT_100).initial_units == 78
    assert MODEL.opening_margin(position, 500, AT_100) == 78


def test_a_chosen_leverage_asks_for_at_least_the_value_divided_by_it() -> None:
    """10,000 ÷ 2 for the position that chose; the hedge beside it lowers only what the grid asks."""
    leveraged = (held(100, leverage=2), held(-60, 2))
    assert MODEL.need(pool(0, *leveraged), AT_100).initial_units == 5_000
    assert MODEL.need(pool(0, held(100, leverage=50)), AT_100).initial_units == 1_560
    assert MODEL.opening_margin(held(0, isolated_units=0, leverage=2), 1_000, AT_100) == 500


def test_an_inverse_market_bounds_leverage_by_its_shorts_and_opens_at_the_rate_of_its_longs() -> None:
    """0.12 ÷ 1.12 · 1.3 = 13.93 %, 0.12 ÷ 0.88 · 1.3 = 17.73 %."""
    model = PortfolioMargin(exchange_context(market_table("inverse")), PortfolioOptions())
    assert model.initial_ppb(1) == 139_285_716
    assert model.opening_margin(held(0, isolated_units=0), 10_000, AT_100) == 1_773
    assert MODEL.initial_ppb(1) == 156_000_000


def test_a_hedge_is_liquidated_when_its_prices_part() -> None:
    """At 95: equity 500, need 12 % of 3,500. At 94: equity 400, need 12 % of 3,400."""
    pool_of_1_000 = pool(1_000, *HEDGE)
    assert MODEL.thresholds(pool_of_1_000, 1, 0, AT_100).liquidation_ticks == 95
    needs = {price: MODEL.need(pool_of_1_000, marks(price, 100)) for price in (95, 94)}
    assert {price: (need.equity_units, need.maintenance_units) for price, need in needs.items()} == {
        95: (500, 420),
        94: (400, 408),
    }


def test_a_hedge_stands_much_longer_when_its_prices_move_along() -> None:
    needs = {price: MODEL.need(pool(1_000, *HEDGE), marks(price, price)) for price in (86, 85)}
    assert {price: (need.equity_units, need.maintenance_units) for price, need in needs.items()} == {
        86: (440, 413),
        85: (400, 408),
    }


def test_the_equity_is_split_by_the_need() -> None:
    """300 and 180 of 480: 625 and 375 of 1,000."""
    pool_of_1_000 = pool(1_000, *HEDGE)
    assert MODEL.closing_value(pool_of_1_000, 1, 0, 100, AT_100) == 10_000 - 625
    assert MODEL.closing_value(pool_of_1_000, 1, 0, 10, AT_100) == 1_000 - 62
    assert MODEL.closing_value(pool_of_1_000, 2, 0, -60, AT_100) == -6_000 - 375
    assert [MODEL.thresholds(pool_of_1_000, market, 0, AT_100).bankruptcy_ticks for market in (1, 2)] == [94, 106]


def test_a_position_alone_ends_where_the_hand_says() -> None:
    """Long 100 at 100 with 2,000: at 91 equity 1,100 >= 1,092; at 90 1,000 < 1,080; at 80 nothing is left."""
    for alone in (pool(2_000, held(100)), pool(7, held(100, isolated_units=2_000))):
        found = MODEL.thresholds(alone, 1, 0, AT_100)
        assert found == Thresholds(liquidation_ticks=91, bankruptcy_ticks=80)


def test_a_pool_in_breach_has_its_liquidation_price_on_the_way_back() -> None:
    """Long 100 at 100 with 1,000, now at 95. At 103 equity 1,300 >= 1,236; at 102 1,200 < 1,224."""
    found = MODEL.thresholds(pool(1_000, held(100)), 1, 0, marks(95, 100))
    assert found == Thresholds(liquidation_ticks=103, bankruptcy_ticks=90)


def test_ids_that_nearly_cancel_are_liquidated_where_the_floor_outgrows_what_they_gain() -> None:
    """Long 100 and short 99 with 500. At 134: equity 534, floor 2 % of 26,666; at 135 535 against 537.3."""
    boxed = pool(500, held(100, gross_lots=199), held(-99, position_id=1, gross_lots=199))
    for position_id in (0, 1):
        assert MODEL.thresholds(boxed, 1, position_id, AT_100).liquidation_ticks == 134


def test_a_pool_that_stands_between_two_prices_is_told_the_one_where_it_loses_more() -> None:
    """505 long and 495 short in one market beside 104 long in another.

    Equity is 808 + 10·p. Falling by 12 % takes 1,248 + 1.2·p, so below 50 it does not cover that; the floor is
    208 + 20·p, so above 60 it does not cover that.
    """
    boxed = exposure(505, 0, gross_lots=1_000), exposure(-495, 0, position_id=1, gross_lots=1_000)
    stands = pool(808, *boxed, held(104, 2))
    spare = {p: MODEL.need(stands, marks(p, 100)) for p in (49, 50, 60, 61)}
    assert [need.equity_units >= need.maintenance_units for need in spare.values()] == [False, True, True, False]
    assert MODEL.thresholds(stands, 1, 0, marks(55, 100)).liquidation_ticks == 60


def test_lots_too_small_to_be_worth_anything_need_nothing_and_close_at_the_mark() -> None:
    """At no price does anything change, so what is in breach is so everywhere: the price of the greatest profit."""
    dust = market_table(lot="0.001", order_max="1", open_interest_max="1", price_max="400", value_rounding="unit")
    model, position = PortfolioMargin(exchange_context(dust), PortfolioOptions()), exposure(3, 0, unpaid_units=60)
    assert model.need(pool(70, position), AT_100).maintenance_units == 0
    assert model.closing_value(pool(70, position), 1, 0, 3, AT_100) == 0
    assert model.thresholds(pool(70, position), 1, 0, AT_100).liquidation_ticks is None
    assert model.thresholds(pool(50, position), 1, 0, AT_100).liquidation_ticks == 400


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"shocks_ppb": ()}, "shocks and a floor"),
        ({"shocks_ppb": (0,)}, "shocks and a floor"),
        ({"shocks_ppb": (-SCALE // 10,)}, "shocks and a floor"),
        ({"shocks_ppb": (SCALE,), "initial_factor_ppb": SCALE}, "shocks and a floor"),
        ({"floor_ppb": 0}, "shocks and a floor"),
        ({"initial_factor_ppb": SCALE - 1}, "initial factor"),
        ({"shocks_ppb": (SCALE * 8 // 10,)}, "initial factor"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PortfolioOptions(**options)
