"""A custody with people and a chain behind it: it decides, is away for a while, and has deposits taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from perpkit import Exchange, ExchangeConfig, MarketState, RejectReason, Side, Venue
from perpkit.audit import replay, state_digest
from perpkit.custody import Vault
from perpkit.errors import ChainError, CustodyError
from perpkit.model.cause import Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    DepositReversed,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
)
from perpkit.model.event import (
    BreachFound,
    DepositReverted,
    HoldingsCompared,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
)
from perpkit.model.ledger import receivable, wallet
from perpkit.model.price import Quote
from perpkit.plugin import NoOptions
from perpkit.ports import JournalContext
from perpkit.runtime.journal import MemoryJournal, MemoryOptions
from perpkit.runtime.venue import Pace
from perpkit.testing.builders import exchange_context
from perpkit.testing.fakes import HandClock


class Desk(Vault):
    """Notes what it hears, decides when it is told to, and can be out of reach or miscount."""

    def __init__(self) -> None:
        super().__init__(exchange_context(), NoOptions())
        self.heard: list[object] = []
        self.away: type[Exception] | None = None
        self.miscount_units = 0

    def _hear(self, event: object = None) -> None:
        if self.away:
            raise self.away("the node does not answer")
        self.heard += [event] if event else []

    def requested(self, held: WithdrawalHeld, /) -> None:
        self._hear(held)

    def returned(self, returned: WithdrawalReturned, /) -> None:
        self._hear(returned)

    def release(self, released: WithdrawalReleased, /) -> None:
        self._hear(released)
        super().release(released)

    def observe(self, after: int, /) -> Any:
        self._hear()
        return super().observe(after)

    def holdings(self, asset: int, /) -> int:
        self._hear()
        return super().holdings(asset)

    def recount(self, asset: int, /) -> int:
        return super().holdings(asset) + self.miscount_units

    def approve(self, withdrawal_id: int) -> None:
        self._seen.append(ApproveWithdrawal(withdrawal_id=withdrawal_id))

    def deny(self, withdrawal_id: int) -> None:
        self._seen.append(CancelWithdrawal(withdrawal_id=withdrawal_id))

    def take_back(self, deposit_id: int, amount: int) -> None:
        self.lose(1, amount)
        self._seen.append(DepositReversed(deposit_id=deposit_id))


class Place:
    """A venue, what it stands on, and what outlives it."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self.tables, self.desk, self.clock = tables, Desk(), HandClock()
        self.journal = MemoryJournal(JournalContext(directory="", config_digest="0" * 64, manifest=[]), MemoryOptions())
        self.venue = self.fresh()
        self.desk.receive(1, 1, 1_000)
        self.desk.receive(2, 1, 100_000)
        self.venue.poll()
        self.quote(100)

    def fresh(self) -> Venue:
        """Stand a venue up, as after a crash: nothing but journal and custody is left."""
        pace = Pace(audit_every_ns=0, reconcile_every_ns=1_000)
        venue, _ = Venue.recover(Exchange.of(self.tables), self.desk, self.journal, clock=self.clock, pace=pace)
        self.venue = venue
        return venue

    def quote(self, price: int) -> None:
        stamp = self.clock()
        quotes = tuple(Quote(market=1, source=s, price_ticks=price, weight=1, at_ns=stamp) for s in (1, 2, 3))
        assert self.venue.submit(IndexQuotes(quotes=quotes)).rejected is None

    def trade(self, lots: int, price: int = 100) -> None:
        """Let account 1 buy from account 2, or (negative) sell to it."""
        side = Side.BUY if lots > 0 else Side.SELL
        for account, own in ((2, Side.SELL if lots > 0 else Side.BUY), (1, side)):
            order = PlaceOrder(account=account, market=1, side=own, size_lots=abs(lots), price_ticks=price)
            assert self.venue.submit(order).rejected is None

    def request(self, amount: int = 400, number: int = 5) -> None:
        request = RequestWithdrawal(withdrawal_id=number, account=1, asset=1, amount_units=amount, destination=7)
        assert self.venue.submit(request).rejected is None

    def waiting(self) -> list[object]:
        return [*self.venue.exchange.held(), *self.venue.exchange.outstanding()]

    def heard(self) -> list[type[object]]:
        return [type(event) for event in self.desk.heard]

    def resume(self, *operators: int) -> RejectReason | None:
        first, second = operators
        evidence = self.venue.exchange.evidence
        return self.venue.submit(ResumeExchange(evidence=evidence, operator=first, second_operator=second)).rejected

    def agrees(self) -> bool:
        """Reconcile, count again, and replay the log from nothing."""
        events = [event for outcome in self.venue.reconcile() for event in outcome.events]
        compared = [event for event in events if isinstance(event, HoldingsCompared)]
        assert len(compared) == 2
        again = replay(self.venue.log(), ExchangeConfig.from_dict(self.tables))
        assert again.state_digest == state_digest(self.venue.exchange)
        return not self.venue.exchange.audit()[1] and not self.venue.exchange.evidence


@pytest.fixture
def place(make_tables: Callable[..., dict[str, Any]]) -> Place:
    """Account 1 has 1,000 by deposit 1, account 2 100,000 by deposit 2; the mark is 100."""
    return Place(make_tables())


# Approval.


def test_a_withdrawal_is_held_approved_released_and_sent(place: Place) -> None:
    place.request()
    fields = {"withdrawal_id": 5, "account": 1, "asset": 1, "amount_units": 400, "destination": 7}
    assert place.desk.heard == [WithdrawalHeld(**fields)]
    assert place.venue.exchange.held() == (WithdrawalHeld(**fields),)
    place.desk.approve(5)
    place.venue.poll()
    assert place.desk.heard[1:] == [WithdrawalReleased(**fields)]
    assert place.venue.exchange.outstanding() == (WithdrawalReleased(**fields),)
    place.venue.poll()
    assert place.waiting() == []
    assert place.desk.holdings(1) == 100_600
    assert place.agrees()


def test_what_is_denied_goes_back_to_its_owner(place: Place) -> None:
    place.request()
    place.desk.deny(5)
    place.venue.poll()
    assert place.heard() == [WithdrawalHeld, WithdrawalReturned]
    assert place.venue.exchange.clearing.balance(wallet(1, 1)) == 1_000
    assert place.agrees()


def test_what_a_liquidation_recalls_before_the_approval_does_not_leave(place: Place) -> None:
    place.trade(50)
    place.request()
    place.quote(91)  # equity 150 without what is held, and 228 are needed
    assert place.heard() == [WithdrawalHeld, WithdrawalReturned]
    place.desk.approve(5)
    (refused,) = place.venue.poll()
    assert refused.rejected is RejectReason.UNKNOWN_WITHDRAWAL
    assert place.desk.holdings(1) == 101_000
    assert place.agrees()


def test_what_was_approved_before_the_liquidation_leaves(place: Place) -> None:
    place.trade(50)
    place.request()
    place.desk.approve(5)
    place.venue.poll()
    place.quote(91)
    place.venue.poll()
    assert place.heard() == [WithdrawalHeld, WithdrawalReleased]
    assert place.desk.holdings(1) == 100_600
    assert place.agrees()


def test_a_custody_that_does_not_approve_hears_of_releases_only(make_tables: Callable[..., dict[str, Any]]) -> None:
    """The bare vault knows nothing of requests, so whoever embeds the exchange approves and cancels."""
    vault = Vault(exchange_context(), NoOptions())
    journal = MemoryJournal(JournalContext(directory="", config_digest="0" * 64, manifest=[]), MemoryOptions())
    venue = Venue(Exchange.of(make_tables()), vault, journal, clock=HandClock())
    vault.receive(1, 1, 1_000)
    venue.poll()
    for number in (5, 6):
        venue.submit(RequestWithdrawal(withdrawal_id=number, account=1, asset=1, amount_units=400))
    venue.submit_all([CancelWithdrawal(withdrawal_id=5), ApproveWithdrawal(withdrawal_id=6)])
    venue.poll()
    assert (venue.custody_faults, vault.holdings(1)) == (0, 600)
    (compared,) = [event for outcome in venue.reconcile() for event in outcome.events]
    assert compared == HoldingsCompared(asset=1, ledger_units=600, holdings_units=600)


# Crashes.

STEPS: list[Callable[[Place], object]] = [
    lambda place: place.request(),
    lambda place: place.request(number=6),
    lambda place: place.desk.approve(5),
    lambda place: place.venue.poll(),
    lambda place: place.venue.submit(CancelWithdrawal(withdrawal_id=6)),
    lambda place: place.venue.poll(),
]


@pytest.mark.parametrize("crash", range(len(STEPS) + 1))
def test_after_a_crash_at_any_point_it_goes_on_where_it_was(place: Place, crash: int) -> None:
    for number, step in enumerate(STEPS):
        if number == crash:
            place.fresh()
        step(place)
    if crash == len(STEPS):
        place.fresh()
    while any(not outcome.rejected for outcome in place.venue.poll()):
        pass
    assert place.waiting() == []
    assert place.desk.holdings(1) == 100_600
    assert place.venue.exchange.clearing.balance(wallet(1, 1)) == 600
    assert place.agrees()


@pytest.mark.parametrize("stage", ["held", "released"])
def test_what_custody_did_not_hear_before_a_crash_it_hears_after(place: Place, stage: str) -> None:
    """What is durable and was not told: the process ended between the two."""
    if stage == "released":
        place.request()
        place.desk.approve(5)
    place.desk.heard = []
    request = RequestWithdrawal(withdrawal_id=5, account=1, asset=1, amount_units=400, destination=7)
    place.venue._tell_one = lambda *_: None  # type: ignore[method-assign]
    place.venue.submit(request) if stage == "held" else place.venue.poll()
    assert place.desk.heard == []
    place.fresh()
    assert place.heard() == [WithdrawalHeld if stage == "held" else WithdrawalReleased]


# A custody that cannot be reached.


@pytest.mark.parametrize("fault", [ChainError, CustodyError])
def test_a_custody_out_of_reach_stops_nothing_and_hears_all_of_it_in_order_later(
    place: Place, fault: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    place.request()
    place.desk.approve(5)
    place.desk.heard = []
    observed = place.desk.observe(0)
    place.desk.away = fault
    with caplog.at_level(logging.WARNING):
        assert place.venue.poll() == ()
        place.request(number=6, amount=10)
        place.venue.submit(CancelWithdrawal(withdrawal_id=6))
        place.venue.submit(ApproveWithdrawal(withdrawal_id=5))
        place.request(number=7, amount=10)
        place.venue.tick()
    assert place.desk.heard == []
    # Asked once, told of three withdrawals, told of them again and asked what it holds; 6 went back unheard as well.
    assert place.venue.custody_faults == len(caplog.records) == 1 + 3 + 3 + 2
    assert "the node does not answer" in caplog.text
    place.desk.away = None
    place.venue.tick()
    assert place.heard() == [WithdrawalHeld, WithdrawalReturned, WithdrawalReleased, WithdrawalHeld]
    assert [event.withdrawal_id for event in place.desk.heard] == [6, 6, 5, 7]  # type: ignore[attr-defined]
    assert observed[0]
    place.venue.poll()
    assert place.desk.holdings(1) == 100_600
    assert place.agrees()


def test_what_has_to_wait_for_one_withdrawal_does_not_wait_for_another(place: Place) -> None:
    place.desk.away = ChainError
    place.request()
    place.desk.away = None
    place.request(number=6)
    assert [event.withdrawal_id for event in place.desk.heard] == [6]  # type: ignore[attr-defined]
    place.venue.tick()
    assert [event.withdrawal_id for event in place.desk.heard] == [6, 5]  # type: ignore[attr-defined]
    place.venue.tick()
    assert len(place.desk.heard) == 2


def test_holdings_that_could_not_be_asked_for_are_asked_for_at_the_next_tick(place: Place) -> None:
    place.desk.away = ChainError
    assert place.venue.tick() == []
    assert not place.venue.exchange.evidence
    place.desk.away = None
    place.desk.lose(1, 1)
    place.venue.tick()
    assert place.venue.exchange.evidence


def test_any_other_error_of_custody_is_a_fault_and_is_raised(place: Place) -> None:
    place.desk.away = KeyError
    with pytest.raises(KeyError):
        place.venue.poll()


# Two counts.


@pytest.mark.parametrize("miscount", [1, -1])
def test_a_second_count_that_differs_by_one_halts_with_both_numbers(place: Place, miscount: int) -> None:
    place.desk.miscount_units = miscount
    events = [event for outcome in place.venue.reconcile() for event in outcome.events]
    assert [each for each in events if isinstance(each, HoldingsCompared)] == [
        HoldingsCompared(asset=1, ledger_units=101_000, holdings_units=101_000),
        HoldingsCompared(asset=1, ledger_units=101_000, holdings_units=101_000 + miscount),
    ]
    (found,) = [each for each in events if isinstance(each, BreachFound)]
    assert (found.law, found.expected, found.found) == (Law.HOLDINGS, 101_000, 101_000 + miscount)
    assert place.venue.exchange.market_states == {1: MarketState.HALTED}
    place.desk.miscount_units = 0
    place.fresh()
    assert place.venue.exchange.market_states == {1: MarketState.HALTED}
    assert place.resume(7, 7) is RejectReason.OPERATORS_NOT_DISTINCT
    assert place.resume(7, 8) is None
    assert place.venue.exchange.market_states == {1: MarketState.CANCEL_ONLY}
    assert place.agrees()


def test_what_was_approved_while_a_breach_stood_is_released_once_it_is_answered_for(place: Place) -> None:
    place.request()
    place.desk.miscount_units = 1
    place.venue.reconcile()
    place.desk.approve(5)
    (refused,) = place.venue.poll()
    assert refused.rejected is RejectReason.BREACH_STANDS
    assert not place.venue.poll()
    place.desk.miscount_units = 0
    assert place.resume(7, 8) is None
    place.venue.poll()
    place.venue.poll()
    assert place.desk.holdings(1) == 100_600
    assert place.agrees()


# Deposits that a chain takes back.


def test_a_deposit_that_is_taken_back_leaves_the_books_in_agreement(place: Place) -> None:
    place.desk.take_back(1, 1_000)
    (outcome,) = place.venue.poll()
    (reverted,) = outcome.events
    assert reverted == DepositReverted(deposit_id=1, account=1, asset=1, amount_units=1_000, shortfall_units=0)
    assert place.agrees()
    place.fresh()
    place.venue.poll()
    assert place.agrees()


def test_a_deposit_that_was_lost_before_it_was_taken_back_halts_until_it_is_paid(place: Place) -> None:
    place.trade(50)
    place.quote(90)
    place.trade(-50, 90)
    place.desk.take_back(1, 1_000)
    (outcome,) = place.venue.poll()
    (found,) = [event for event in outcome.events if isinstance(event, BreachFound)]
    assert (found.law, found.expected, found.found) == (Law.NO_DEBT, 0, -500)
    assert not place.agrees()
    events = [event for outcome in place.venue.reconcile() for event in outcome.events]
    assert not [event for event in events if isinstance(event, BreachFound)], "custody and ledger agree all the same"
    assert place.resume(7, 8) is None
    place.desk.receive(1, 1, 600)
    place.venue.poll()
    balance = place.venue.exchange.clearing.balance
    assert (balance(wallet(1, 1)), balance(receivable(1, 1))) == (100, 0)
    assert place.agrees()


def test_what_a_taken_back_deposit_was_to_pay_for_does_not_leave(place: Place) -> None:
    place.request()
    place.desk.take_back(1, 1_000)
    place.desk.approve(5)
    taken, approved = place.venue.poll()
    assert (taken.rejected, approved.rejected) == (None, RejectReason.UNKNOWN_WITHDRAWAL)
    assert place.heard() == [WithdrawalHeld, WithdrawalReturned]
    assert place.desk.holdings(1) == 100_000
    assert place.agrees()
