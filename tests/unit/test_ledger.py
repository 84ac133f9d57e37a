"""The ledger: money moves, it is never made, and nothing but a few house accounts goes below zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.errors import InvariantError
from perpkit.model.ledger import (
    CUSTODY_SIDE,
    MAY_BE_NEGATIVE,
    Chart,
    LedgerAccount,
    Posting,
    house,
    insurance,
    isolated_margin,
    of_market,
    wallet,
    withdrawal,
)
from perpkit.reference.clearing.ledger import Ledger

HOT, ALICE, BOB = house(Chart.CUSTODY_HOT, 1), wallet(1, 1), wallet(2, 1)
ACCOUNTS = st.builds(LedgerAccount, st.sampled_from(Chart), st.sampled_from((1, 2)), st.integers(0, 2))


@pytest.fixture
def ledger() -> Ledger:
    """One hundred units that custody saw arrive for Alice."""
    made = Ledger()
    made.post(Posting(HOT, ALICE, 100))
    return made


def test_a_deposit_raises_both_sides(ledger: Ledger) -> None:
    assert (ledger.balance(HOT), ledger.balance(ALICE)) == (100, 100)
    assert ledger.sides(1) == (100, 100)


def test_what_one_account_gives_the_other_gets(ledger: Ledger) -> None:
    ledger.post(Posting(ALICE, BOB, 30))
    assert (ledger.balance(ALICE), ledger.balance(BOB)) == (70, 30)
    assert ledger.sides(1) == (100, 100)


def test_custody_moves_within_custody(ledger: Ledger) -> None:
    cold = house(Chart.CUSTODY_COLD, 1)
    ledger.post(Posting(cold, HOT, 40))
    assert (ledger.balance(HOT), ledger.balance(cold)) == (60, 40)
    assert ledger.sides(1) == (100, 100)


def test_money_leaves_on_both_sides(ledger: Ledger) -> None:
    ledger.post(Posting(ALICE, HOT, 100))
    assert ledger.sides(1) == (0, 0)


def test_a_move_goes_either_way_and_zero_moves_nothing(ledger: Ledger) -> None:
    ledger.move(ALICE, BOB, 30)
    ledger.move(ALICE, BOB, -10)
    ledger.move(ALICE, BOB, 0)
    assert (ledger.balance(ALICE), ledger.balance(BOB)) == (80, 20)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_posting_is_of_a_positive_amount(ledger: Ledger, amount: int) -> None:
    with pytest.raises(InvariantError, match="positive amount"):
        ledger.post(Posting(ALICE, BOB, amount))


def test_a_posting_is_of_one_asset(ledger: Ledger) -> None:
    with pytest.raises(InvariantError, match="one asset"):
        ledger.post(Posting(ALICE, wallet(2, 2), 1))


@pytest.mark.parametrize("chart", sorted(set(Chart) - CUSTODY_SIDE))
def test_only_the_counterparty_funding_and_receivables_may_owe(chart: Chart) -> None:
    ledger, account = Ledger(), house(chart, 1)
    ledger.post(Posting(HOT, account, 5))
    if chart in (Chart.CCP, Chart.FUNDING, Chart.RECEIVABLE):
        ledger.post(Posting(account, ALICE, 6))
        assert ledger.balance(account) == -1
        return
    with pytest.raises(InvariantError, match="law 3"):
        ledger.post(Posting(account, ALICE, 6))


def test_cold_custody_cannot_pay_out_more_than_it_holds(ledger: Ledger) -> None:
    cold = house(Chart.CUSTODY_COLD, 1)
    ledger.post(Posting(cold, HOT, 60))
    with pytest.raises(InvariantError, match="law 3"):
        ledger.post(Posting(ALICE, cold, 61))


@given(st.lists(st.tuples(ACCOUNTS, ACCOUNTS, st.integers(-50, 50)), max_size=40))
def test_both_sides_stay_equal_and_the_running_sums_are_the_sums(moves: list[tuple[LedgerAccount, ...]]) -> None:
    ledger = Ledger()
    for debit, credit, amount in moves:
        before = ledger.state()
        try:
            ledger.move(debit, credit, amount)
        except InvariantError:
            ledger.load(before)
    state = ledger.state()
    for asset in (1, 2):
        clients = sum(row[-1] for row in state if row[1] == asset and Chart(row[0]) not in CUSTODY_SIDE)
        custody = sum(row[-1] for row in state if row[1] == asset and Chart(row[0]) in CUSTODY_SIDE)
        assert ledger.sides(asset) == (clients, custody)
        assert clients == custody
    assert all(row[-1] >= 0 for row in state if Chart(row[0]) not in MAY_BE_NEGATIVE)
    other = Ledger()
    other.load(state)
    assert (other.state(), other.sides(1), other.sides(2)) == (state, ledger.sides(1), ledger.sides(2))


def test_an_account_that_is_empty_is_not_part_of_the_state(ledger: Ledger) -> None:
    ledger.post(Posting(ALICE, BOB, 100))
    assert ledger.state() == [[*BOB, 100], [*HOT, 100]]
    ledger.load([])
    assert (ledger.state(), ledger.sides(1), ledger.balance(BOB)) == ([], (0, 0), 0)


def test_every_ledger_account_has_a_name_of_its_own() -> None:
    accounts = [
        wallet(1, 1), wallet(1, 2), wallet(2, 1), isolated_margin(1, 1, 1, 0), isolated_margin(1, 1, 1, 1),
        isolated_margin(1, 1, 2, 0), withdrawal(1, 1), insurance(1, 1), of_market(Chart.CCP, 1, 1),
        of_market(Chart.CCP, 1, 2), of_market(Chart.FUNDING, 1, 1), house(Chart.FEES, 1), HOT,
    ]  # fmt: skip
    assert len(set(accounts)) == len(accounts)
