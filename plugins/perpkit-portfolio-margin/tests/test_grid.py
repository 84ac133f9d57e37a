"""What a book loses under each shock, worked out by hand, and what holds for every book."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.position import Exposure
from perpkit.testing.builders import KINDS, exchange_context, exposure, market_table, marks
from perpkit.units import SCALE, Ppb
from perpkit_portfolio_margin import Grid, Stake

PERCENT = SCALE // 100
SHOCKS = tuple(percent * PERCENT for percent in (-12, -8, -4, 4, 8, 12))
MARKETS = {
    rounding: exchange_context(
        *(market_table(kind, id=number, value_rounding=rounding) for number, kind in enumerate(KINDS, start=1))
    ).markets
    for rounding in ("fill", "unit")
}
LINEAR, INVERSE, QUANTO = 1, 2, 3
AT_100 = marks(100, 100, 100)


def grid(shocks_ppb: tuple[Ppb, ...] = SHOCKS, floor_ppb: Ppb = 2 * PERCENT, rounding: str = "fill") -> Grid:
    return Grid(markets=MARKETS[rounding], shocks_ppb=shocks_ppb, floor_ppb=floor_ppb)


def held(market: int, size_lots: int, **fields: Any) -> Exposure:
    """A position; at 100 a lot of any market is worth 100. The grid does not look at cost."""
    return exposure(size_lots, 0, market=market, **fields)


def percents(by_ppb: dict[Ppb, int]) -> dict[int, int]:
    return {shock // PERCENT: units for shock, units in by_ppb.items()}


def test_a_linear_long_loses_its_value_times_the_shock() -> None:
    losses = dict(grid().losses([held(LINEAR, 100)], AT_100))
    assert percents(losses) == {-12: 1_200, -8: 800, -4: 400, 4: -400, 8: -800, 12: -1_200}
    assert grid().need([held(LINEAR, 100)], AT_100) == grid().need([held(LINEAR, -100)], AT_100) == 1_200


def test_an_inverse_long_loses_more_on_the_way_down_than_a_short_on_the_way_up() -> None:
    """10,000 · 0.12 ÷ 0.88 = 1,363.6 and 10,000 · 0.12 ÷ 1.12 = 1,071.4; both up."""
    assert grid().need([held(INVERSE, 100)], AT_100) == 1_364
    assert grid().need([held(INVERSE, -100)], AT_100) == 1_072
    assert grid().rates_ppb(INVERSE) == (136_363_637, 107_142_858)
    assert grid().rates_ppb(LINEAR) == (120_000_000, 120_000_000)


def test_what_one_market_gains_is_set_against_what_another_loses() -> None:
    """Falling by 12 %: 1,200 lost, 720 gained."""
    assert grid().need([held(LINEAR, 100), held(QUANTO, -60)], AT_100) == 480


def test_ids_of_one_market_are_netted_too() -> None:
    assert grid().need([held(LINEAR, 100), held(LINEAR, -60, position_id=1)], AT_100) == 480


def test_a_book_that_loses_nothing_in_the_grid_needs_the_floor() -> None:
    """2 % of 10,000 long and 10,000 short."""
    assert grid().need([held(LINEAR, 100), held(QUANTO, -100)], AT_100) == 400


def test_a_book_of_both_kinds_may_lose_most_in_the_middle_of_the_grid() -> None:
    """Long 9,500 linear, short 10,000 inverse. Rising by 2.5 %: 243.9 lost, 237.5 gained; by 5 %: 476.2 and 475."""
    book = [held(LINEAR, 95), held(INVERSE, -100)]
    shocks = (-5 * PERCENT, -25 * PERCENT // 10, 25 * PERCENT // 10, 5 * PERCENT)
    assert grid(shocks, 1).losses(book, AT_100) == dict(zip(shocks, (-51, -18, 7, 2), strict=True))
    assert grid(shocks, 1).need(book, AT_100) == 7


def test_an_order_counts_where_it_uncovers_the_other_leg() -> None:
    """Selling the long leaves a short of 6,000, which rising by 12 % takes 720: more than 480 of the whole book."""
    book = [held(LINEAR, 100, open_sell_units=10_000), held(QUANTO, -60)]
    assert grid().need(book, AT_100) == 480
    assert grid().need(book, AT_100, orders=True) == 720


def test_an_order_counts_where_it_adds() -> None:
    book = [held(LINEAR, 100, open_buy_units=5_000), held(QUANTO, -60)]
    assert grid().need(book, AT_100, orders=True) == 480 + 600


def test_the_floor_counts_orders_too() -> None:
    """10 % of what may become 15,000 long, and of 10,000 short; the grid itself asks 12 % of 5,000."""
    book = [held(LINEAR, 100, open_buy_units=5_000), held(QUANTO, -100)]
    assert grid(floor_ppb=10 * PERCENT).need(book, AT_100, orders=True) == 2_500
    assert grid(floor_ppb=20 * PERCENT).rates_ppb(LINEAR) == (20 * PERCENT, 20 * PERCENT)


def test_an_order_is_not_counted_as_a_hedge_before_it_fills() -> None:
    book = [held(LINEAR, 100), held(QUANTO, 0, open_sell_units=6_000)]
    assert grid().need(book, AT_100, orders=True) == 1_200


def test_where_a_market_rounds_each_lot_the_rounded_lots_are_what_is_lost() -> None:
    """An inverse lot of 10,000 at 7 is worth 1,428.57…, and 1,429 once rounded; falling by 12 % takes ÷ 0.88."""
    at_7 = marks(7, 7, 7)
    assert grid(rounding="fill").need([held(INVERSE, 1_000)], at_7) == 194_806
    assert grid(rounding="unit").need([held(INVERSE, 1_000)], at_7) == 194_864


def test_a_loss_is_rounded_up_and_a_gain_down() -> None:
    stake = Stake(inverse=False, least=15, most=15, denominator=1)
    assert (stake.loss(-10 * PERCENT), stake.loss(10 * PERCENT)) == (2, -1)


# What holds for every book.

SIZES = st.integers(-2_000, 2_000)
BOOKS = st.lists(st.builds(held, st.sampled_from((LINEAR, INVERSE, QUANTO)), SIZES), max_size=6)
PRICES = st.integers(10, 1_000)
MARKS = st.builds(marks, PRICES, PRICES, PRICES)
ROUNDINGS = st.sampled_from(("fill", "unit"))
SHOCK = st.integers(1, 9 * SCALE // 10)


@given(first=BOOKS, second=BOOKS, at=MARKS, rounding=ROUNDINGS)
def test_two_books_together_never_need_more_than_apart(
    first: list[Exposure], second: list[Exposure], at: Any, rounding: str
) -> None:
    part = grid(rounding=rounding)
    assert part.need(first + second, at) <= part.need(first, at) + part.need(second, at)


@given(book=BOOKS, at=MARKS, more=SHOCK, rounding=ROUNDINGS)
def test_one_more_scenario_never_lowers_a_need(book: list[Exposure], at: Any, more: Ppb, rounding: str) -> None:
    few, many = grid(rounding=rounding), grid((*SHOCKS, -more, more), rounding=rounding)
    assert few.need(book, at) <= many.need(book, at)


@given(market=st.sampled_from((LINEAR, INVERSE, QUANTO)), size=SIZES, at=MARKS, shocks=st.tuples(SHOCK, SHOCK))
def test_a_greater_shock_in_the_place_of_another_never_lowers_the_need_of_a_position(
    market: int, size: int, at: Any, shocks: tuple[Ppb, Ppb]
) -> None:
    small, great = (grid((-shock, shock)).need([held(market, size)], at) for shock in sorted(shocks))
    assert small <= great


@given(
    market=st.sampled_from((LINEAR, INVERSE, QUANTO)),
    sizes=st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)),
    side=st.sampled_from((1, -1)),
    at=MARKS,
    rounding=ROUNDINGS,
)
def test_a_position_that_grows_never_needs_less(
    market: int, sizes: tuple[int, int], side: int, at: Any, rounding: str
) -> None:
    small, large = (grid(rounding=rounding).need([held(market, side * size)], at) for size in sorted(sizes))
    assert small <= large


@given(book=BOOKS, hundreds=st.integers(1, 8), shock=st.sampled_from(SHOCKS))
def test_a_pool_that_covers_its_need_owes_nothing_after_any_scenario(
    book: list[Exposure], hundreds: int, shock: Ppb
) -> None:
    """The promise of the model. Prices of whole hundreds are moved to whole ticks; each value is rounded once."""
    before = marks(*[100 * hundreds] * 3)
    after = {
        market: attrs.evolve(mark, price_ticks=mark.price_ticks + mark.price_ticks * shock // SCALE)
        for market, mark in before.items()
    }
    equity = grid(floor_ppb=1).need(book, before)
    for each in book:
        value = MARKETS["fill"][each.market].value
        equity += value(each.size_lots, after[each.market].price_ticks)
        equity -= value(each.size_lots, before[each.market].price_ticks)
    assert equity >= -len(book)


@given(
    book=st.lists(
        st.tuples(st.sampled_from((LINEAR, QUANTO)), SIZES, st.integers(0, 900), st.integers(0, 900)), max_size=4
    ),
    at=MARKS,
    data=st.data(),
)
def test_with_its_orders_a_book_needs_what_the_worst_of_their_fills_would_make_of_it(
    book: list[tuple[int, int, int, int]], at: Any, data: st.DataObject
) -> None:
    waiting, filled = [], []
    for market, size, buys, sells in book:
        price = at[market].price_ticks
        waiting.append(held(market, size, open_buy_units=buys * price, open_sell_units=sells * price))
        bought, sold = data.draw(st.integers(0, buys)), data.draw(st.integers(0, sells))
        filled.append(held(market, size + bought - sold))
    assert grid().need(filled, at) <= grid().need(waiting, at, orders=True)


@pytest.mark.parametrize("kind", [LINEAR, INVERSE, QUANTO])
def test_a_book_without_positions_needs_nothing(kind: int) -> None:
    assert grid().need([], AT_100) == grid().need([held(kind, 0)], AT_100) == 0
