"""What every transfer tells, which ledger accounts it moves, and where its limits are, to the unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perpkit import Exchange, MarketState, RejectReason, Side
from perpkit.engine.guard.base import INTEGER_BOUND
from perpkit.model.cause import Cause, Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    HoldingsReported,
    RequestWithdrawal,
    SetMarketState,
    WithdrawalSent,
)
from perpkit.model.event import (
    BreachFound,
    DepositCredited,
    Event,
    FundMoved,
    HoldingsCompared,
    TakenOver,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ledger import Chart, LedgerAccount, house, insurance, wallet, withdrawal

R = RejectReason
NOW = 1_000
HOT, IN_FLIGHT = house(Chart.CUSTODY_HOT, 2), house(Chart.CUSTODY_IN_FLIGHT, 2)


@pytest.fixture
def exchange(make_tables: Callable[..., dict[str, Any]]) -> Exchange:
    """Assets 1 and 2, at most 1,000 of asset 2; accounts 7 and 8 have 600 and 100 of it, market 1 settles in it."""
    tables = make_tables({"settlement": "GOLD"})
    tables["assets"]["GOLD"] = {"id": 2, "unit": "1", "deposits_max": "1000"}
    made = Exchange.of(tables)
    told(made, DepositObserved(deposit_id=101, account=7, asset=2, amount_units=600))
    told(made, DepositObserved(deposit_id=102, account=8, asset=2, amount_units=100))
    made.quote("PERP-1", "100", time_ns=NOW)
    return made


def told(exchange: Exchange, command: Command) -> list[Event]:
    outcome = exchange.apply(command)
    assert outcome.rejected is None
    return list(outcome.events)


def balances(exchange: Exchange, *accounts: LedgerAccount) -> list[int]:
    return [exchange.clearing.balance(account) for account in accounts]


def request(amount: int, number: int = 5, account: int = 7) -> RequestWithdrawal:
    return RequestWithdrawal(
        withdrawal_id=number, account=account, asset=2, amount_units=amount, destination=42, time_ns=NOW
    )


# Money that comes in.


@pytest.mark.parametrize(("amount", "credited"), [(299, 299), (300, 300), (301, 300)])
def test_a_deposit_is_credited_up_to_the_limit_and_the_rest_waits(
    exchange: Exchange, amount: int, credited: int
) -> None:
    events = told(exchange, DepositObserved(deposit_id=1, account=9, asset=2, amount_units=amount, time_ns=NOW))
    assert events == [
        DepositCredited(deposit_id=1, account=9, asset=2, amount_units=credited, suspended_units=amount - credited)
    ]
    assert balances(exchange, wallet(9, 2), house(Chart.SUSPENSE, 2), HOT) == [
        credited,
        amount - credited,
        700 + amount,
    ]


def test_what_waits_counts_toward_the_limit_and_above_it_nothing_is_credited(exchange: Exchange) -> None:
    for number in (1, 2):
        told(exchange, DepositObserved(deposit_id=number, account=9, asset=2, amount_units=400, time_ns=NOW))
    assert balances(exchange, wallet(9, 2), house(Chart.SUSPENSE, 2), HOT) == [300, 500, 1_500]
    told(exchange, DepositObserved(deposit_id=3, account=9, asset=1, amount_units=1_000_000, time_ns=NOW))
    assert balances(exchange, wallet(9, 1), house(Chart.SUSPENSE, 1)) == [1_000_000, 0]  # the other asset has its own


@pytest.mark.parametrize(("short", "reason"), [(0, R.AMOUNT_ABOVE_MAXIMUM), (1, None)])
def test_what_comes_in_may_come_within_a_unit_of_what_can_be_counted(
    exchange: Exchange, short: int, reason: RejectReason | None
) -> None:
    amount = INTEGER_BOUND - 700 - short
    outcome = exchange.apply(DepositObserved(deposit_id=1, account=9, asset=2, amount_units=amount, time_ns=NOW))
    assert outcome.rejected is reason


@pytest.mark.parametrize("account", [0, -1])
def test_a_deposit_that_names_nobody_waits_whole(exchange: Exchange, account: int) -> None:
    events = told(exchange, DepositObserved(deposit_id=1, account=account, asset=2, amount_units=9, time_ns=NOW))
    assert events == [DepositCredited(deposit_id=1, account=account, asset=2, amount_units=0, suspended_units=9)]
    assert balances(exchange, house(Chart.SUSPENSE, 2), HOT) == [9, 709]
    again = exchange.apply(DepositObserved(deposit_id=1, account=9, asset=2, amount_units=9, time_ns=NOW))
    assert again.rejected is R.ID_REUSED


def test_a_deposit_of_one_unit_opens_the_first_account(exchange: Exchange) -> None:
    told(exchange, DepositObserved(deposit_id=1, account=1, asset=2, amount_units=1, time_ns=NOW))
    assert balances(exchange, wallet(1, 2)) == [1]


def test_capital_goes_to_its_fund_and_what_exceeds_the_limit_waits(exchange: Exchange) -> None:
    events = told(exchange, CapitalObserved(deposit_id=1, fund=1, asset=2, amount_units=310, time_ns=NOW))
    moved = {"fund": 1, "asset": 2, "market": 0, "cause": Cause.CAPITAL}
    assert events == [
        DepositCredited(deposit_id=1, account=0, asset=2, amount_units=300, suspended_units=10),
        FundMoved(amount_units=300, balance_units=300, **moved),  # type: ignore[arg-type]
    ]
    assert balances(exchange, insurance(1, 2), house(Chart.SUSPENSE, 2)) == [300, 10]
    events = told(exchange, CapitalObserved(deposit_id=2, fund=1, asset=2, amount_units=5, time_ns=NOW))
    assert events == [DepositCredited(deposit_id=2, account=0, asset=2, amount_units=0, suspended_units=5)]


def test_capital_for_a_fund_that_there_is_not_waits(exchange: Exchange) -> None:
    events = told(exchange, CapitalObserved(deposit_id=1, fund=2, asset=2, amount_units=10, time_ns=NOW))
    assert events == [DepositCredited(deposit_id=1, account=0, asset=2, amount_units=0, suspended_units=10)]
    assert balances(exchange, insurance(2, 2), house(Chart.SUSPENSE, 2)) == [0, 10]


def test_capital_that_is_refused_moves_no_fund(exchange: Exchange) -> None:
    told(exchange, CapitalObserved(deposit_id=1, fund=1, asset=2, amount_units=10, time_ns=NOW))
    again = exchange.apply(CapitalObserved(deposit_id=1, fund=1, asset=2, amount_units=10, time_ns=NOW))
    assert (again.rejected, len(again.events), *balances(exchange, insurance(1, 2))) == (R.ID_REUSED, 1, 10)


# Money that goes out.


def test_a_withdrawal_tells_each_step_and_moves_its_money_with_it(exchange: Exchange) -> None:
    fields = {"withdrawal_id": 5, "account": 7, "asset": 2, "amount_units": 250}
    accounts = (wallet(7, 2), withdrawal(5, 2), HOT, IN_FLIGHT)
    assert told(exchange, request(250)) == [WithdrawalHeld(**fields, destination=42)]
    assert balances(exchange, *accounts) == [350, 250, 700, 0]
    events = told(exchange, ApproveWithdrawal(withdrawal_id=5, time_ns=NOW))
    assert events == [WithdrawalReleased(**fields, destination=42)]
    assert balances(exchange, *accounts) == [350, 250, 450, 250]
    events = told(exchange, WithdrawalSent(withdrawal_id=5, network_fee_units=3, time_ns=NOW))
    assert events == [WithdrawalSettled(**fields, network_fee_units=3)]
    assert balances(exchange, *accounts) == [350, 0, 450, 0]
    assert exchange.clearing.conservation(2) == (450, 450)
    # What left makes room under the limit again.
    told(exchange, DepositObserved(deposit_id=1, account=8, asset=2, amount_units=560, time_ns=NOW))
    assert balances(exchange, wallet(8, 2), house(Chart.SUSPENSE, 2)) == [650, 10]


@pytest.mark.parametrize(("fee", "reason"), [(0, None), (250, None), (251, R.AMOUNT_NOT_POSITIVE)])
def test_the_network_may_cost_all_that_was_asked_for_and_no_more(
    exchange: Exchange, fee: int, reason: RejectReason | None
) -> None:
    told(exchange, request(250))
    told(exchange, ApproveWithdrawal(withdrawal_id=5, time_ns=NOW))
    assert exchange.apply(WithdrawalSent(withdrawal_id=5, network_fee_units=fee, time_ns=NOW)).rejected is reason


def test_a_network_fee_below_zero_is_refused(exchange: Exchange) -> None:
    told(exchange, request(250))
    told(exchange, ApproveWithdrawal(withdrawal_id=5, time_ns=NOW))
    outcome = exchange.apply(WithdrawalSent(withdrawal_id=5, network_fee_units=-1, time_ns=NOW))
    assert outcome.rejected is R.AMOUNT_NOT_POSITIVE


def test_all_that_is_not_needed_may_leave_to_the_unit(exchange: Exchange) -> None:
    assert exchange.apply(request(601)).rejected is R.INSUFFICIENT_BALANCE
    assert exchange.apply(request(0)).rejected is R.AMOUNT_NOT_POSITIVE
    told(exchange, request(600))
    assert balances(exchange, wallet(7, 2)) == [0]
    assert exchange.apply(request(1, number=6)).rejected is R.INSUFFICIENT_BALANCE
    told(exchange, request(1, number=6, account=8))  # one unit is enough to ask for


def test_a_cancelled_withdrawal_says_that_it_was_not_recalled(exchange: Exchange) -> None:
    told(exchange, request(250))
    events = told(exchange, CancelWithdrawal(withdrawal_id=5, time_ns=NOW))
    assert events == [WithdrawalReturned(withdrawal_id=5, account=7, asset=2, amount_units=250, recalled=False)]
    assert balances(exchange, wallet(7, 2), withdrawal(5, 2)) == [600, 0]
    assert exchange.apply(request(1)).rejected is R.ID_REUSED


def opened(exchange: Exchange, held: int) -> None:
    """Let account 8 be long 8 of account 7 at 100 with 100, of which it holds some for withdrawal; then halt."""
    told(exchange, request(held, account=8))
    exchange.place(7, "PERP-1", Side.SELL, 8, 100)
    assert exchange.place(8, "PERP-1", Side.BUY, 8, 100).rejected is None
    told(exchange, SetMarketState(market=1, state=MarketState.HALTED, time_ns=NOW))


@pytest.mark.parametrize(("held", "released"), [(13, True), (14, True), (15, False)])
def test_what_its_owner_needs_to_stay_out_of_breach_is_recalled_on_approval(
    exchange: Exchange, held: int, released: bool
) -> None:
    """At 94 equity is 52 less what is held, and 38 are needed. The market is halted, so nobody is liquidated."""
    opened(exchange, held)
    exchange.quote("PERP-1", "94", time_ns=NOW)
    fields = {"withdrawal_id": 5, "account": 8, "asset": 2, "amount_units": held}
    expected: list[Event] = [WithdrawalReleased(**fields, destination=42)]
    if not released:
        expected = [WithdrawalReturned(**fields, recalled=True)]
    assert told(exchange, ApproveWithdrawal(withdrawal_id=5, time_ns=NOW)) == expected


def test_a_withdrawal_is_told_after_the_work_that_came_first(make_exchange: Callable[..., Exchange]) -> None:
    """Accounts 1 and 2 are in breach, and each command may do the work for one step."""
    deposits = {1: "1000", 2: "1000", 9: "100000"}
    exchange = make_exchange({}, limits={"work_max": 1}, deposits=deposits)
    for account in (1, 2):
        exchange.place(9, "PERP-1", Side.SELL, 90, 100)
        exchange.place(account, "PERP-1", Side.BUY, 90, 100)
    exchange.quote("PERP-1", "93", time_ns=NOW)
    outcome = exchange.withdraw(9, "COIN", "10", withdrawal_id=1)
    kinds = [type(event) for event in outcome.events]
    assert kinds.index(TakenOver) < kinds.index(WithdrawalHeld)


# Holdings.


def test_holdings_are_compared_with_all_of_custody(exchange: Exchange) -> None:
    told(exchange, request(250))
    told(exchange, ApproveWithdrawal(withdrawal_id=5, time_ns=NOW))
    assert told(exchange, HoldingsReported(asset=2, holdings_units=700, time_ns=NOW)) == [
        HoldingsCompared(asset=2, ledger_units=700, holdings_units=700)
    ]


def test_holdings_that_differ_are_a_breach_that_says_by_how_much(exchange: Exchange) -> None:
    compared, found, *_ = told(exchange, HoldingsReported(asset=2, holdings_units=699, time_ns=NOW))
    assert compared == HoldingsCompared(asset=2, ledger_units=700, holdings_units=699)
    assert isinstance(found, BreachFound)
    assert (found.law, found.asset, found.market, found.expected, found.found) == (Law.HOLDINGS, 2, 0, 700, 699)
    assert exchange.apply(request(1)).rejected is R.BREACH_STANDS
