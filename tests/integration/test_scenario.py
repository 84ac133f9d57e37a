"""Stories of a whole exchange, told with `Scenario`."""

import pytest

from perpkit import RejectReason
from perpkit.model.event import Deleveraged, LiquidationStarted, TakenOver
from perpkit.model.ids import HOUSE, INVENTORY_LONG
from perpkit.plugin import Registry
from perpkit.testing import fakes
from perpkit.testing.scenario import Scenario


@pytest.fixture
def scenario():
    """Account 1 is long 100 at 100 with 600, so that it is bankrupt at 94."""
    return (
        Scenario()
        .given(deposits={1: 600, 2: 50_000, 3: 50_000}, price=100)
        .when.account(2)
        .sells(100, at=100)
        .when.account(1)
        .buys(100, at=100)
        .then.account(1)
        .traded(100, at=100)
    )


def test_without_a_fund_the_winner_gives_up_what_the_loser_cannot_pay(scenario):
    (
        scenario.when.the_price_moves_to(90)
        .then.it_tells(TakenOver, account=1, size_lots=100, price_ticks=94)
        .then.it_tells(Deleveraged, account=2, size_lots=-100, haircut_units=400)
        .then.account(1)
        .has(0)
        .then.account(2)
        .holds(0)
        .then.account(2)
        .has(50_600)
        .then.the_books_balance()
    )


def test_with_a_fund_the_house_holds_what_it_took_over_until_somebody_wants_it():
    scenario = Scenario().given(deposits={1: 600, 2: 50_000, 3: 50_000}, price=100, fund=1_000)
    scenario.when.account(2).sells(100, at=100).when.account(1).buys(100, at=100)
    scenario.when.the_price_moves_to(90).then.account(HOUSE).holds(100, position_id=INVENTORY_LONG)
    scenario.then.the_fund_has(1_000).then.account(2).holds(-100)
    scenario.when.account(3).buys(100, at=95).when.the_price_moves_to(95)
    scenario.then.account(3).holds(100).then.account(HOUSE).holds(0, position_id=INVENTORY_LONG)
    # Taken over at 94 and sold at 95.
    scenario.then.the_fund_has(1_100).then.the_books_balance()


def test_a_large_position_goes_down_one_bracket_on_the_book():
    scenario = Scenario().given(deposits={1: 2_000, 2: 50_000, 3: 50_000}, price=100)
    scenario.when.account(2).sells(150, at=100).when.account(1).buys(150, at=100)
    scenario.when.account(3).buys(50, at=89)
    scenario.when.the_price_moves_to(90).then.account(1).holds(150)
    # At 89 equity is 350, and 13,350 need 368. What 10,000 are worth there, 112 lots, needs 200.
    scenario.when.the_price_moves_to(89).then.account(1).traded(-38, at=89).then.account(1).holds(112)
    scenario.then.the_book_has(bids=[(89, 12)]).then.the_books_balance()


def test_an_isolated_position_takes_nothing_beyond_its_margin():
    scenario = Scenario().given(deposits={1: 10_000, 2: 50_000}, price=100, fund=5_000)
    scenario.when.account(1).isolates(leverage=10)
    scenario.when.account(2).sells(100, at=100).when.account(1).buys(100, at=100).then.account(1).has(9_000)
    scenario.when.the_price_moves_to(85).then.it_tells(TakenOver, account=1, price_ticks=90, margin_units=0)
    scenario.then.account(1).has(9_000).then.the_books_balance()
    scenario.when.account(1).withdraws(9_001, withdrawal_id=1).then.it_is_refused(RejectReason.INSUFFICIENT_BALANCE)
    scenario.when.account(1).withdraws(9_000, withdrawal_id=2).then.it_is_accepted()


def test_nobody_is_liquidated_while_the_index_is_frozen():
    options = {"prices_ticks": [100, 60, 60], "states": ["ok", "frozen", "ok"]}
    index_price = {"provider": "scripted", "options": options}
    scenario = Scenario(registry=Registry.of(fakes), index_price=index_price)
    scenario.given(deposits={1: 600, 2: 50_000}, price=100)
    scenario.when.account(2).sells(100, at=100).when.account(1).buys(100, at=100)
    scenario.when.time_passes(hours=1).then.account(1).holds(100)
    scenario.when.time_passes(hours=1).then.it_tells(LiquidationStarted, account=1).then.the_mark_is(60)
    scenario.then.account(1).holds(0)


def test_what_is_not_so_is_shown_with_the_whole_exchange(scenario):
    scenario.when.account(3).sells(5, at=103).when.account(3).sells(4, at=105).when.account(3).buys(7, at=98)
    with pytest.raises(AssertionError) as shown:
        scenario.then.account(1).holds(99)
    text = str(shown.value)
    assert text.startswith("the position of account 1 in PERP-1: expected 99, was 100\n")
    ladder = ["PERP-1: OPEN, mark 100 OK", "  ask 4 at 105", "  ask 5 at 103", "  bid 7 at 98"]
    assert "\n".join(ladder) in text
    for line in (
        "account 1: wallet 600, equity 600, needs 500 to trade, 200 to stay",
        "  PERP-1/0: 100 at a cost of 10000, owes 0, 0 orders",
        "fund: 0",
    ):
        assert line in text.splitlines()
    assert "OrderRested(" in text
    for wrong in (
        lambda then: then.the_mark_is(99),
        lambda then: then.the_book_has(bids=[(98, 6)]),
        lambda then: then.account(1).has(599),
        lambda then: then.it_is_refused(RejectReason.WOULD_CROSS),
        lambda then: then.it_tells(TakenOver),
        lambda then: then.the_fund_has(1),
        lambda then: then.account(1).traded(7, at=98),
    ):
        with pytest.raises(AssertionError, match=r"expected .*, was "):
            wrong(scenario.then)
