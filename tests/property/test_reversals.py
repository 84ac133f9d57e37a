"""Chains take deposits back at any moment: the books balance to the unit, and whoever is short owes exactly that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit import Exchange, MarketState, Side
from perpkit.audit.witness import Witness
from perpkit.model.cause import Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    DepositReversed,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
    SetMarketState,
    WithdrawalSent,
)
from perpkit.model.event import DepositCredited, DepositReverted
from perpkit.model.ledger import CUSTODY_SIDE, house, receivable
from perpkit.units import SCALE

ACCOUNTS = (1, 2, 3)
STEPS = st.one_of(
    st.tuples(st.just("deposit"), st.sampled_from((0, *ACCOUNTS)), st.integers(1, 3_000)),
    st.tuples(st.just("capital"), st.sampled_from((1, 9)), st.integers(1, 500)),
    st.tuples(st.just("order"), st.sampled_from(ACCOUNTS), st.integers(-30, 30).filter(bool)),
    st.tuples(st.just("quote"), st.just(0), st.integers(80, 120)),
    st.tuples(st.just("funding"), st.just(0), st.integers(-2, 2)),
    st.tuples(st.just("withdraw"), st.sampled_from(ACCOUNTS), st.integers(1, 1_500)),
    st.tuples(st.sampled_from(("approve", "sent", "reverse")), st.just(0), st.integers(0, 9)),
    st.just(("resume", 0, 0)),
)


class Machine:
    """Applies steps, and keeps its own account of who owes what."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.witness = exchange, Witness()
        self.deposits: list[int] = []
        self.withdrawals: list[int] = []
        self.owed: dict[int, int] = {}
        self.number = 0

    def step(self, what: str, who: int, how_much: int) -> None:
        self.number += 1
        match what:
            case "quote":
                self.witness.note(self.exchange.quote("PERP-1", how_much, time_ns=self.exchange.clock_ns))
            case "funding":
                self.exchange.clearing.accrue_funding(1, how_much * SCALE)
            case "resume":
                self.resume()
            case _:
                if command := self.command(what, who, how_much):
                    self.do(command)

    def command(self, what: str, who: int, how_much: int) -> Command | None:
        number, stamp = self.number, {"time_ns": self.exchange.clock_ns}
        match what:
            case "deposit":
                self.deposits.append(number)
                return DepositObserved(deposit_id=number, account=who, asset=1, amount_units=how_much, **stamp)
            case "capital":
                self.deposits.append(number)
                return CapitalObserved(deposit_id=number, fund=who, asset=1, amount_units=how_much, **stamp)
            case "order":
                side = Side.BUY if how_much > 0 else Side.SELL
                price = 100 + (number % 7 - 3)
                size = abs(how_much)
                return PlaceOrder(account=who, market=1, side=side, size_lots=size, price_ticks=price, **stamp)
            case "withdraw":
                self.withdrawals.append(number)
                return RequestWithdrawal(withdrawal_id=number, account=who, asset=1, amount_units=how_much, **stamp)
        numbers = self.deposits if what == "reverse" else self.withdrawals
        if not numbers:
            return None
        chosen = numbers[-1 - how_much % len(numbers)]
        if what == "reverse":
            return DepositReversed(deposit_id=chosen, **stamp)
        kind = ApproveWithdrawal if what == "approve" else WithdrawalSent
        return kind(withdrawal_id=chosen, **stamp)

    def resume(self) -> None:
        stamp = {"time_ns": self.exchange.clock_ns}
        if evidence := self.exchange.evidence:
            self.do(ResumeExchange(evidence=evidence, operator=1, second_operator=2, **stamp))
            self.do(SetMarketState(market=1, state=MarketState.OPEN, **stamp))

    def do(self, command: Command) -> None:
        outcome = self.exchange.apply(command)
        self.witness.note(outcome)
        for event in outcome.events:
            if isinstance(event, DepositReverted):
                self.owed[event.account] = self.owed.get(event.account, 0) + event.shortfall_units
            elif isinstance(event, DepositCredited):
                self.owed[event.account] = self.owed.get(event.account, 0) - event.repaid_units

    def check(self) -> None:
        """Count everything again: what is below zero is what is owed, or what is on its way out and not there."""
        balance = self.exchange.clearing.balance
        for account in (0, *ACCOUNTS):
            assert -balance(receivable(account, 1)) == self.owed.get(account, 0) >= 0
        below = [units for each in sorted(CUSTODY_SIDE) if (units := balance(house(each, 1))) < 0]
        below += [-owed for owed in self.owed.values() if owed]
        findings = self.exchange.audit()[1]
        assert {each.law for each in findings} <= {Law.NO_DEBT}
        assert sorted(each.found for each in findings) == sorted(below)
        assert self.witness.complaints + self.witness.compare(self.exchange) == []


@settings(max_examples=60)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_the_books_balance_whatever_is_taken_back(
    make_exchange: Callable[..., Exchange], steps: list[tuple[Any, ...]]
) -> None:
    machine = Machine(make_exchange(deposits_max="20000"))
    for account in ACCOUNTS:
        machine.step("deposit", account, 2_000)
    for step in steps:
        machine.step(*step)
        machine.check()
    state = machine.exchange.dump()
    machine.exchange.load(state)
    assert machine.exchange.dump() == state
