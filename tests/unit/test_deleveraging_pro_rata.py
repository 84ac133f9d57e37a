"""Pro rata: everybody gives up the same part of what they can bear, to the lot, and nobody more than that."""

import pytest

from perpkit.model.position import Winner
from perpkit.plugin import NoOptions
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.reference.deleveraging_pro_rata import ProRataDeleveraging
from perpkit.testing.builders import exchange_context, winner

POLICY = ProRataDeleveraging(exchange_context(), NoOptions())


def shares(size: int, *winners: Winner) -> list[tuple[int, int]]:
    case = DeleveragingCase(market=1, size_lots=size, price_ticks=650, severity_units=1, winners=winners)
    return [(share.account, share.size_lots) for share in POLICY.shares(case)]


def test_where_the_queue_closes_two_of_six_pro_rata_takes_a_fifth_of_each() -> None:
    longs = [winner(account, lots) for account, lots in enumerate((10, 10, 20, 30, 20, 10), start=1)]
    assert shares(20, *longs) == [(1, 2), (2, 2), (3, 4), (4, 6), (5, 4), (6, 2)]


def test_profit_and_leverage_do_not_count() -> None:
    calm = winner(1, 10, profit_units=1, equity_units=10_000)
    bold = winner(2, 10, profit_units=900, equity_units=1)
    assert shares(8, bold, calm) == [(1, 4), (2, 4)]


def test_it_is_shared_by_what_can_be_borne_and_not_by_what_is_held() -> None:
    assert shares(6, winner(1, 3, size_lots=90), winner(2, 9)) == [(1, 2), (2, 4)]  # 1.5 and 4.5


def test_the_largest_remainders_round_up() -> None:
    # A tenth of 17, 26 and 7 is 1.7, 2.6 and 0.7: one lot and two, and the two that are left go to 0.7 and 0.7.
    assert shares(5, winner(1, 17), winner(2, 26), winner(3, 7)) == [(1, 2), (2, 2), (3, 1)]


def test_equal_remainders_go_by_account_then_position() -> None:
    longs = [winner(2, 3), winner(1, 3, position_id=2), winner(1, 3, position_id=1)]
    case = DeleveragingCase(market=1, size_lots=2, price_ticks=650, severity_units=1, winners=longs)
    assert list(POLICY.shares(case)) == [
        Share(account=1, position_id=1, size_lots=1),
        Share(account=1, position_id=2, size_lots=1),
    ]


def test_rounding_up_asks_nobody_for_more_than_they_can_bear() -> None:
    # Of 100 lots that can be borne 99 are placed: every share is just below its whole, and all but one round up to it.
    longs = [winner(account, 1) for account in range(1, 101)]
    assert shares(99, *longs) == [(account, 1) for account in range(1, 100)]


@pytest.mark.parametrize("size", [13, 14, 1_000])
def test_past_what_all_can_bear_all_bear_all_they_can(size: int) -> None:
    assert shares(size, winner(1, 3), winner(2, 0, size_lots=9, profit_units=9), winner(3, 10)) == [(1, 3), (3, 10)]


@pytest.mark.parametrize("profit", [0, -5])
def test_who_has_not_won_is_left_alone(profit: int) -> None:
    assert shares(4, winner(1, 10, profit_units=profit), winner(2, 10)) == [(2, 4)]


def test_nothing_to_place_or_nobody_to_bear_it_is_nobody_s_share() -> None:
    assert shares(0, winner(1, 10)) == shares(5) == shares(5, winner(1, 0, profit_units=9)) == []
