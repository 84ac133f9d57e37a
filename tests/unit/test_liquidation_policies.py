"""Both liquidation policies: what they touch first, how much they close, at what price, and when they stop."""

from collections.abc import Mapping, Sequence

import pytest

from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.position import Breach, Exposure, Need, Pool, SlotNeed, Thresholds
from perpkit.model.price import Mark, PriceState
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, Settled, Step, TakeOver
from perpkit.reference.liquidation_stepped import SteppedLiquidation
from perpkit.reference.liquidation_takeover import TakeOverLiquidation
from perpkit.units import Scale


def market(number: int, kind: ContractKind = ContractKind.LINEAR, numerator: int = 1) -> MarketSpec:
    """Make a market with brackets up to 1,000, 2,000 and 4,000 units; above them the last one goes on."""
    return MarketSpec(
        id=number,
        name=f"PERP-{number}",
        kind=kind,
        settlement=1,
        tick=Scale.of("1"),
        lot=Scale.of("1"),
        numerator=numerator,
        denominator=1,
        brackets=tuple(
            Bracket(up_to_units=top, initial_ppb=rate, maintenance_ppb=rate)
            for top, rate in [(1_000, 10_000_000), (2_000, 20_000_000), (4_000, 30_000_000)]
        ),
        price_min_ticks=1,
        price_max_ticks=10_000,
        order_max_lots=1_000_000,
        open_interest_max_lots=1_000_000,
        orders_max=100,
        market_slippage_ppb=50_000_000,
        liquidation_fee_ppb=0,
    )


CONTEXT = ExchangeContext(
    markets={1: market(1), 2: market(2), 3: market(3, ContractKind.INVERSE, 10_000)},
    assets={},
    limits=Limits(),
    taker_ppb={},
)
BOTH = pytest.mark.parametrize("policy", [SteppedLiquidation, TakeOverLiquidation])
Policy = type[SteppedLiquidation] | type[TakeOverLiquidation]


def held(
    size: int, *, market: int = 1, position_id: int = 0, gross: int | None = None, orders: int = 0, unpaid: int = 0
) -> Exposure:
    return Exposure(
        market=market,
        position_id=position_id,
        size_lots=size,
        cost_units=100 * size,
        gross_lots=abs(size) if gross is None else gross,
        open_orders=orders,
        unpaid_units=unpaid,
    )


def case(
    *exposures: Exposure,
    needs: Sequence[int] = (),
    bankrupt: Mapping[tuple[int, int], int | None] | None = None,
    mark: int = 100,
    stalled: bool = False,
) -> Case:
    """Build a case; `needs` are the maintenance needs in the order of the exposures, 10 each by default."""
    names = [(exposure.market, exposure.position_id) for exposure in exposures]
    slots = tuple(
        SlotNeed(market=name[0], position_id=name[1], maintenance_units=units)
        for name, units in zip(names, needs or [10] * len(names), strict=True)
    )
    return Case(
        breach=Breach(account=7, asset=1, equity_units=1, maintenance_units=10),
        pool=Pool(account=7, asset=1, wallet_units=1, reserved_units=0, exposures=exposures),
        need=Need(equity_units=1, initial_units=10, maintenance_units=10, slots=slots),
        thresholds={
            name: Thresholds(liquidation_ticks=95, bankruptcy_ticks=(bankrupt or {}).get(name, 90)) for name in names
        },
        marks={
            number: Mark(market=number, price_ticks=mark, state=PriceState.OK, at_ns=1) for number in CONTEXT.markets
        },
        steps_done=0,
        stalled=stalled,
    )


def stepped(given: Case) -> Step:
    return SteppedLiquidation(CONTEXT, NoOptions()).next_step(given)


def closed(given: Case) -> int:
    step = stepped(given)
    assert isinstance(step, CloseOnBook)
    return step.size_lots


@BOTH
def test_resting_orders_of_the_market_go_first(policy: Policy) -> None:
    given = case(held(5, orders=2), held(5, market=2))
    assert policy(CONTEXT, NoOptions()).next_step(given) == CancelOrders(market=1)


@BOTH
def test_orders_on_another_position_of_the_same_market_go_first_too(policy: Policy) -> None:
    given = case(held(5, position_id=1), held(0, position_id=2, orders=1))
    assert policy(CONTEXT, NoOptions()).next_step(given) == CancelOrders(market=1)


@BOTH
def test_orders_in_other_markets_stay_while_this_one_may_cure_the_pool(policy: Policy) -> None:
    given = case(held(5), held(5, market=2, orders=3), needs=[20, 10])
    assert policy(CONTEXT, NoOptions()).next_step(given) == TakeOver(market=1, position_id=0, price_ticks=90)


@BOTH
@pytest.mark.parametrize(
    ("needs", "first"), [([10, 20, 30], (2, 0)), ([20, 20, 10], (1, 1)), ([10, 20, 20], (1, 2)), ([5, 5, 5], (1, 1))]
)
def test_the_largest_need_comes_first(policy: Policy, needs: list[int], first: tuple[int, int]) -> None:
    given = case(held(5, market=2), held(5, position_id=2), held(5, position_id=1), needs=needs[::-1])
    step = policy(CONTEXT, NoOptions()).next_step(given)
    assert isinstance(step, TakeOver)
    assert (step.market, step.position_id) == first


@BOTH
def test_nothing_held_and_nothing_owed_is_settled(policy: Policy) -> None:
    assert policy(CONTEXT, NoOptions()).next_step(case()) == Settled()
    assert policy(CONTEXT, NoOptions()).next_step(case(held(0))) == Settled()


@BOTH
def test_a_debt_without_a_position_is_taken_over(policy: Policy) -> None:
    step = policy(CONTEXT, NoOptions()).next_step(case(held(0, gross=50, unpaid=3)))
    assert isinstance(step, TakeOver)
    assert (step.market, step.position_id) == (1, 0)


@BOTH
@pytest.mark.parametrize(("size", "worst"), [(5, 1), (-5, 10_000)])
def test_what_no_listed_price_bankrupts_goes_at_the_worst_listed_price(policy: Policy, size: int, worst: int) -> None:
    given = case(held(size), bankrupt={(1, 0): None})
    assert policy(CONTEXT, NoOptions()).next_step(given) == TakeOver(market=1, position_id=0, price_ticks=worst)


def test_take_over_never_asks_the_book() -> None:
    step = TakeOverLiquidation(CONTEXT, NoOptions()).next_step(case(held(35)))
    assert step == TakeOver(market=1, position_id=0, price_ticks=90)


def test_in_the_lowest_bracket_the_whole_is_taken_over() -> None:
    assert stepped(case(held(10))) == TakeOver(market=1, position_id=0, price_ticks=90)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (11, 1),  # 1,100 units: down to 10 lots, the top of the first bracket
        (20, 10),
        (-20, 10),
        (21, 1),  # 2,100 units: down to 20 lots, the top of the second
        (35, 15),
        (90, 70),  # above the last bracket counts as in it
    ],
)
def test_a_large_position_shrinks_to_the_top_of_the_next_lower_bracket(size: int, expected: int) -> None:
    assert closed(case(held(size))) == expected


def test_a_close_is_bounded_at_the_bankruptcy_price() -> None:
    assert stepped(case(held(20))) == CloseOnBook(market=1, position_id=0, size_lots=10, limit_ticks=90)
    assert stepped(case(held(-20), bankrupt={(1, 0): 110})) == CloseOnBook(
        market=1, position_id=0, size_lots=10, limit_ticks=110
    )


def test_brackets_count_the_size_of_all_positions_in_the_market() -> None:
    # 8 and 9 lots are 1,700 units together, in the second bracket: 7 lots are too many.
    assert closed(case(held(8, gross=17), held(-9, position_id=1, gross=17), needs=[20, 10])) == 7


def test_a_close_is_never_larger_than_the_position() -> None:
    assert closed(case(held(3, gross=20))) == 3


def test_a_lot_worth_more_than_a_bracket_still_shrinks() -> None:
    # One lot is worth 3,000 units: nothing fits in the second bracket, so all three go.
    assert closed(case(held(3), mark=3_000)) == 3


def test_an_inverse_position_is_measured_in_its_settlement_asset() -> None:
    # 10,000 / 100 = 100 units a lot.
    assert closed(case(held(15, market=3))) == 5


def test_when_the_book_gave_nothing_the_whole_is_taken_over() -> None:
    assert stepped(case(held(35), stalled=True)) == TakeOver(market=1, position_id=0, price_ticks=90)


def test_the_position_shrinks_step_by_step_until_the_rest_is_taken_over() -> None:
    size, sizes = 35, []
    while isinstance(step := stepped(case(held(size))), CloseOnBook):
        size -= step.size_lots
        sizes.append(size)
    assert sizes == [20, 10]
    assert isinstance(step, TakeOver)
