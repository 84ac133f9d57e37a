"""The queue: who stands where, exactly, and that nobody gives more than asked or than they can bear."""

import pytest

from perpkit.model.position import Winner
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.reference.deleveraging_ranked import RankedDeleveraging

POLICY = RankedDeleveraging(ExchangeContext(markets={}, assets={}, limits=Limits(), taker_ppb={}), NoOptions())


def winner(
    account: int,
    *,
    profit: int = 10,
    cost: int = 100,
    value: int = 100,
    equity: int = 100,
    bearable: int = 10,
    position_id: int = 0,
) -> Winner:
    return Winner(
        account=account,
        position_id=position_id,
        size_lots=bearable,
        cost_units=cost,
        profit_units=profit,
        value_units=value,
        equity_units=equity,
        bearable_lots=bearable,
    )


def shares(size: int, *winners: Winner) -> list[tuple[int, int]]:
    case = DeleveragingCase(market=1, size_lots=size, price_ticks=650, severity_units=1, winners=winners)
    return [(share.account, share.size_lots) for share in POLICY.shares(case)]


def test_the_published_example_of_six_longs() -> None:
    # (account, quantity, score): a short of 20 must be placed.
    longs = [(1, 10, 3), (2, 10, 6), (3, 20, 1), (4, 30, 4), (5, 20, 5), (6, 10, 2)]
    queue = [winner(account, bearable=lots, profit=100 * score) for account, lots, score in longs]
    assert shares(20, *queue) == [(2, 10), (5, 10)]


def test_leverage_counts_as_much_as_profit() -> None:
    calm = winner(1, profit=20, value=100, equity=100)
    bold = winner(2, profit=10, value=300, equity=100)
    assert shares(5, calm, bold) == [(2, 5)]


def test_short_and_inverse_costs_rank_by_their_size() -> None:
    assert shares(5, winner(1, profit=10, cost=-200), winner(2, profit=10, cost=-100)) == [(2, 5)]


def test_scores_that_no_binary_fraction_tells_apart_are_told_apart() -> None:
    huge = 10**20
    almost = winner(1, profit=huge, cost=3 * huge)
    above = winner(2, profit=huge + 1, cost=3 * huge)
    assert shares(5, almost, above) == [(2, 5)]


def test_equal_scores_go_by_account_then_position() -> None:
    twins = [winner(2), winner(1, position_id=2), winner(1, position_id=1, profit=20, cost=200)]
    case = DeleveragingCase(market=1, size_lots=25, price_ticks=650, severity_units=1, winners=twins)
    assert list(POLICY.shares(case)) == [
        Share(account=1, position_id=1, size_lots=10),
        Share(account=1, position_id=2, size_lots=10),
        Share(account=2, position_id=0, size_lots=5),
    ]


def test_nobody_gives_more_than_they_can_bear() -> None:
    assert shares(20, winner(1, bearable=3, profit=50), winner(2, bearable=0, profit=40), winner(3)) == [
        (1, 3),
        (3, 10),
    ]


@pytest.mark.parametrize("profit", [0, -5])
def test_who_has_not_won_is_left_alone(profit: int) -> None:
    assert shares(20, winner(1, profit=profit)) == []


def test_a_score_without_a_bound_comes_first() -> None:
    assert shares(20, winner(1, profit=99), winner(2, equity=0, profit=1), winner(3, cost=0, profit=2)) == [
        (3, 10),
        (2, 10),
    ]


def test_nothing_to_place_is_nobody_s_share() -> None:
    assert shares(0, winner(1)) == []
