"""Money in and out, between the exchange and custody."""

import pytest

from perpkit import RejectReason, Side, Venue
from perpkit.custody import Vault
from perpkit.model.command import ApproveWithdrawal, CancelWithdrawal, DepositObserved, RequestWithdrawal
from perpkit.model.event import (
    HoldingsCompared,
    LiquidationEnded,
    LiquidationStarted,
    TakenOver,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ledger import Chart, house, wallet
from perpkit.plugin import NoOptions
from perpkit.ports import ExchangeContext, JournalContext, Limits
from perpkit.runtime.journal import MemoryJournal, MemoryOptions


def kinds(outcome):
    return [type(event) for event in outcome.events]


@pytest.fixture
def vault(exchange):
    asset = exchange.asset("USD")
    return Vault(ExchangeContext(markets={}, assets={1: asset}, limits=Limits(), taker_ppb={}), NoOptions())


@pytest.fixture
def venue(exchange, vault):
    journal = MemoryJournal(JournalContext(directory="", config_digest="0" * 64, manifest=[]), MemoryOptions())
    # The exchange of these tests has a past that no journal knows.
    journal.append(b"\0" * 64 * exchange.sequence, exchange.sequence, 1)
    return Venue(exchange, vault, journal, clock=lambda: 10)


def test_a_deposit_is_credited_once_by_its_id(exchange):
    deposit = DepositObserved(deposit_id=77, account=9, asset=1, amount_units=500, time_ns=2)
    assert exchange.apply(deposit).rejected is None
    assert exchange.apply(deposit).rejected is RejectReason.ID_REUSED
    assert exchange.clearing.balance(wallet(9, 1)) == 500


def test_what_exceeds_the_deposit_limit_waits_in_suspense(exchange):
    room = 100_000_000_000 - 4 * 200_000
    exchange.apply(DepositObserved(deposit_id=1, account=9, asset=1, amount_units=room + 7, time_ns=2))
    assert exchange.clearing.balance(wallet(9, 1)) == room
    assert exchange.clearing.balance(house(Chart.SUSPENSE, 1)) == 7


def test_a_withdrawal_is_held_released_sent_and_settled(venue, vault, exchange):
    vault.receive(1, 1, 5_000)
    venue.poll()
    request = RequestWithdrawal(withdrawal_id=5, account=1, asset=1, amount_units=3_000, destination=42)
    assert kinds(venue.submit(request)) == [WithdrawalHeld]
    assert kinds(venue.submit(ApproveWithdrawal(withdrawal_id=5))) == [WithdrawalReleased]
    assert exchange.clearing.balance(house(Chart.CUSTODY_IN_FLIGHT, 1)) == 3_000
    (settled,) = venue.poll()
    assert kinds(settled) == [WithdrawalSettled]
    assert vault.holdings(1) == 2_000
    assert exchange.clearing.balance(house(Chart.CUSTODY_IN_FLIGHT, 1)) == 0
    assert venue.submit(request).rejected is RejectReason.ID_REUSED


def test_custody_sends_once_however_often_it_is_asked(vault):
    released = WithdrawalReleased(withdrawal_id=5, account=1, asset=1, amount_units=300, destination=42)
    vault.receive(1, 1, 1_000)
    vault.release(released)
    vault.release(released)
    assert vault.holdings(1) == 700


def test_custody_says_everything_again_and_nothing_is_counted_twice(venue, vault, exchange):
    vault.receive(1, 1, 1_000)
    venue.poll()
    before = exchange.clearing.balance(wallet(1, 1))
    for command in vault.observe(0)[0]:
        assert venue.submit(command).rejected is RejectReason.ID_REUSED
    assert exchange.clearing.balance(wallet(1, 1)) == before


def test_the_ledger_is_compared_with_what_custody_holds(venue, vault):
    vault.receive(1, 1, 1_000)
    venue.poll()
    compared, *_ = venue.submit(vault.report(1)).events
    assert compared == HoldingsCompared(asset=1, ledger_units=801_000, holdings_units=1_000)


def test_a_held_withdrawal_is_recalled_when_its_account_falls_into_breach_and_cures_it(exchange, trade):
    trade(exchange, 1, 2, "50", "100")
    assert exchange.withdraw(1, "USD", "1000", withdrawal_id=5).rejected is None
    # 1,000 left, 50 lots lost 16 each: equity 200 against a need of 210. What is held comes back first.
    outcome = exchange.quote("COIN", "84", time_ns=2)
    assert [kind for kind in kinds(outcome) if kind in (LiquidationStarted, WithdrawalReturned, LiquidationEnded)] == [
        LiquidationStarted,
        WithdrawalReturned,
        LiquidationEnded,
    ]
    assert TakenOver not in kinds(outcome)
    (returned,) = [event for event in outcome.events if isinstance(event, WithdrawalReturned)]
    assert (returned.withdrawal_id, returned.amount_units, returned.recalled) == (5, 100_000, True)
    assert exchange.apply(ApproveWithdrawal(withdrawal_id=5, time_ns=2)).rejected is RejectReason.UNKNOWN_WITHDRAWAL


def test_a_released_withdrawal_is_past_recall(exchange, trade):
    trade(exchange, 1, 2, "50", "100")
    exchange.withdraw(1, "USD", "1000", withdrawal_id=5)
    exchange.apply(ApproveWithdrawal(withdrawal_id=5, time_ns=1))
    outcome = exchange.quote("COIN", "84", time_ns=2)
    assert WithdrawalReturned not in kinds(outcome)
    assert TakenOver in kinds(outcome)


def test_a_cancelled_withdrawal_goes_back(exchange):
    exchange.withdraw(1, "USD", "1500", withdrawal_id=5)
    assert exchange.clearing.balance(wallet(1, 1)) == 50_000
    exchange.apply(CancelWithdrawal(withdrawal_id=5, time_ns=1))
    assert exchange.clearing.balance(wallet(1, 1)) == 200_000


def test_margin_and_more_than_there_is_cannot_leave(exchange, trade):
    trade(exchange, 1, 2, "50", "100")
    assert exchange.withdraw(1, "USD", "2000.01", withdrawal_id=5).rejected is RejectReason.INSUFFICIENT_BALANCE
    assert exchange.withdraw(1, "USD", "1500.01", withdrawal_id=5).rejected is RejectReason.INSUFFICIENT_MARGIN
    assert exchange.withdraw(1, "USD", "1500", withdrawal_id=5).rejected is None


def test_unrealised_profit_may_leave_as_cash_above_the_margin(exchange, trade):
    trade(exchange, 1, 2, "50", "100")
    exchange.quote("COIN", "120", time_ns=2)
    # Equity 3,000, need 600: 2,400 may go although the wallet has 2,000.
    assert exchange.withdraw(1, "USD", "2400", withdrawal_id=5).rejected is None
    assert exchange.place(2, "COIN", Side.BUY, "1", "120").rejected is None
