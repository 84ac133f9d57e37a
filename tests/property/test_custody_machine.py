"""Withdrawals under everything that can go wrong: crashes between any two steps, people who refuse, reorganised chains.

Whatever happens: no coin leaves twice, none leaves without policy, quorum and HSM, none is lost, and a withdrawal that
races a liquidation is recalled or gone, never both.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from perpkit.custody.desk.address_book import destination_digest
from perpkit.custody.desk.core import DeskTerms
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.desk.log import Entry, MemoryLog, verify_log
from perpkit.custody.desk.tasks import Answer, Task, TaskKind
from perpkit.custody.desk.withdrawal import GIVEN_BACK, State
from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.pretend.embedded import PretendWorld
from perpkit.custody.pretend.plain_transaction import read_transaction
from perpkit.custody.setup import NominationTerms, Setup
from perpkit.errors import CustodyError
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    DepositReversed,
    WithdrawalSent,
)
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased, WithdrawalReturned
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.ports.custody.policy import Approval
from perpkit.units import HOUR_NS, MINUTE_NS

POLICY = """
version = 1
name = "machine"
[rules.pay-out]
kind = "path"
asset = "BTC"
source = "cold"
target = "client"
[rules.book]
kind = "destination"
delay_hours = 1
roles = { officer = 1 }
[rules.quorum]
kind = "quorum"
asset = "BTC"
tiers = [{ from_units = 0, roles = { approver = 2 } }]
[rules.hats]
kind = "segregation"
[rules.drawn]
kind = "nomination"
seats = 2
[rules.shape]
kind = "shape"
asset = "BTC"
fee_max_units = 9000
fee_rate_max_units = 90000
[rules.cap]
kind = "limit"
asset = "BTC"
transaction_units = 60000
[rules.hsm]
kind = "hsm"
[rules.once]
kind = "idempotency"
[rules.fresh]
kind = "reconciliation"
minutes = 10
"""
HOLDERS = ("ann", "ben", "cleo", "dora")
ROLES = {
    **dict.fromkeys(HOLDERS, "signer"),
    **dict.fromkeys(("fay", "gus", "hana"), "approver"),
    **dict.fromkeys(("igor", "kira"), "officer"),
}
CONFIRMATIONS = 2
WITHDRAWALS = range(1, 5)
PEOPLE = st.sampled_from(sorted(ROLES))
NUMBERS = st.sampled_from(WITHDRAWALS)
ALLOWED_UNITS, DENIED_UNITS = 50_000, 60_001


def secret(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def receiver(number: int) -> bytes:
    return f"the script of destination {number}".encode()


SETUP = Setup(
    people={name: Person(name=name, roles=frozenset({role}), public=secret(name)) for name, role in ROLES.items()},
    keys=tuple(
        KeyPlace(key=f"cold-{name}", wallet="cold", person=name, place=name, online=False, public=secret(f"key {name}"))
        for name in HOLDERS
    ),
    policy=POLICY,
    terms=DeskTerms(confirmations=CONFIRMATIONS, resume_quorum={"officer": 2}),
    nomination=NominationTerms(attempts_max=3, rounds_ahead=4),
    wallets={"cold": {"threshold": 2, "hsm": True}},
    hsm={"public": secret("hsm").hex()},
)


class CrashError(Exception):
    """The machine on which the desk runs, or the gate, is switched off."""


class Fuse:
    """Blows at the so-manyth thing that is written, before or after it is."""

    def __init__(self) -> None:
        self.left, self.after = 0, False

    def guard(self, write: Callable[[], object]) -> object:
        self.left -= 1
        blown = self.left == 0
        if blown and not self.after:
            raise CrashError
        result = write()
        if blown:
            raise CrashError
        return result


class FusedLog(MemoryLog):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def append(self, *args: object) -> Entry:
        return self._fuse.guard(lambda: super(FusedLog, self).append(*args))


class FusedMemory(RamMemory):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def save(self, key: str, text: str) -> None:
        self._fuse.guard(lambda: super(FusedMemory, self).save(key, text))


class Moody:
    """Somebody who answers, does not, or says no, as they are told."""

    def __init__(self, member: object) -> None:
        self.member, self.mood = member, "willing"

    def answer(self, task: Task) -> Answer | None:
        if self.mood == "silent":
            return None
        if self.mood == "unwilling" and task.kind is not TaskKind.RESUME and task.kind is not TaskKind.RETRY:
            return self.member.decline(task, "no")
        return self.member.answer(task)


class Exchange:
    """What an exchange does with custody's commands: credits by id, and lets each withdrawal go or come back once."""

    def __init__(self) -> None:
        self.units = 0
        self.credited: dict[int, int] = {}
        self.reversed: set[int] = set()
        self.held: set[int] = set()
        self.released: set[int] = set()
        self.returned: set[int] = set()
        self.sent: set[int] = set()

    def apply(self, command: Command) -> None:
        match command:
            case (
                DepositObserved(deposit_id=number, amount_units=units)
                | CapitalObserved(deposit_id=number, amount_units=units)
            ):
                assert self.credited.setdefault(number, units) == units
            case DepositReversed(deposit_id=number):
                assert number in self.credited
                self.reversed.add(number)
            case ApproveWithdrawal(withdrawal_id=number):
                self._move(number, self.released)
            case CancelWithdrawal(withdrawal_id=number):
                self._move(number, self.returned)
            case WithdrawalSent(withdrawal_id=number):
                assert number in self.released
                self.sent.add(number)

    def _move(self, number: int, into: set[int]) -> None:
        if number in self.held:
            self.held.remove(number)
            into.add(number)


class CustodyMachine(RuleBasedStateMachine):
    """One desk, one chain, one exchange, and the world against them."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = Fuse()
        self.now_ns = 1_000 * HOUR_NS
        self.log = FusedLog(self.fuse)
        self.world = PretendWorld("BTC", 1, SETUP, lambda _: FusedMemory(self.fuse))
        self.chain = self.world.chain
        self.members = {name: Moody(member) for name, member in self.world.staff.members.items()}
        self.world.staff.members.update(self.members)
        self._broadcast, self.chain.broadcast = self.chain.broadcast, self.broadcast
        self.exchange = Exchange()
        self.amounts: dict[int, int] = {}
        self.stolen = False
        self.cursor = 0
        self.reopen()

    @initialize(asked=st.integers(0, 3), rounds=st.integers(0, 3))
    def begin(self, asked: int = 0, rounds: int = 0) -> None:
        wallet = self.world.wallets()["cold"]
        pen = self.members["igor"].member.pen
        for number in WITHDRAWALS:
            wanted = destination_digest("BTC", number, 7, receiver(number))
            approval = Approval(person="igor", digest=wanted, signature=pen.sign(wanted), at_ns=0)
            assert self.desk.add_destination(number, 7, wallet.address_of(receiver(number)), [approval]) is None
        for _ in range(4):
            self.deposit(80_000)
        self.now_ns += HOUR_NS
        self.chain.mine(4)
        self.poll()
        for number in range(1, asked + 1):
            self.request(number, 1)
        for _ in range(rounds):
            self.all_goes_well_for_a_while()

    def reopen(self) -> None:
        self.fuse.left = 0
        self.desk: Desk = self.world.desk(self.log, lambda: self.now_ns)
        self.custody = DeskCustody({1: self.desk})

    def run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except CrashError:
            self.reopen()

    def broadcast(self, raw: bytes) -> bytes:
        return self.fuse.guard(lambda: self._broadcast(raw))

    def poll(self) -> None:
        seen, self.cursor = self.custody.observe(self.cursor)
        for command in seen:
            self.exchange.apply(command)

    # What the exchange does.

    @rule(number=NUMBERS, allowed=st.integers(0, 9))
    def request(self, number: int, allowed: int) -> None:
        if number not in self.amounts:
            self.amounts[number] = ALLOWED_UNITS if allowed else DENIED_UNITS
            self.exchange.held.add(number)
        if number in self.exchange.held:
            self.run(lambda: self.custody.requested(self.event(WithdrawalHeld, number)))

    @rule(again=st.booleans())
    def observe(self, again: bool) -> None:
        """It asks for what is new, or, as after a restart, for everything again."""
        self.cursor = 0 if again else self.cursor
        self.run(self.poll)

    @rule(number=NUMBERS)
    def release(self, number: int) -> None:
        if number in self.exchange.released:
            self.run(lambda: self.custody.release(self.event(WithdrawalReleased, number)))

    @rule(number=NUMBERS, told=st.booleans())
    def liquidate(self, number: int, told: bool) -> None:
        """It recalls what it has not released, and may die before it has said so."""
        if number in self.exchange.held:
            self.exchange.held.remove(number)
            self.exchange.returned.add(number)
        if number in self.exchange.returned and told:
            returned = WithdrawalReturned(
                withdrawal_id=number, account=7, asset=1, amount_units=self.amounts[number], recalled=True
            )
            self.run(lambda: self.custody.returned(returned))

    def event(self, kind: type, number: int) -> object:
        return kind(withdrawal_id=number, account=7, asset=1, amount_units=self.amounts[number], destination=number)

    # What people do.

    @rule(times=st.integers(1, 3), mine=st.integers(0, 2))
    def everybody_answers(self, times: int, mine: int) -> None:
        for _ in range(times):
            self.run(self._attend)
        self.chain.mine(mine)

    def _attend(self) -> None:
        self.world.staff.attend(self.desk)
        self.desk.advance()

    @rule(person=PEOPLE, mood=st.sampled_from(("willing", "willing", "silent", "unwilling")))
    def change_mood(self, person: str, mood: str) -> None:
        self.members[person].mood = mood

    @rule(number=NUMBERS, rate=st.sampled_from((1_000, 2_500, 9_000)))
    def replace(self, number: int, rate: int) -> None:
        self.chain.fail_next(0)
        if number in self.desk.withdrawals:
            with suppress(CustodyError):  # the chain is away, or the coin that has to be spent again is gone
                self.run(lambda: self.desk.replace(number, rate, "igor"))

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        for _ in range(2):
            self.run(self._attend)
            self.run(self.poll)
            for number in sorted(self.exchange.released):
                self.release(number)
            self.chain.mine()

    # What goes wrong.

    @rule(left=st.integers(1, 12), after=st.booleans())
    def crash_soon(self, left: int, after: bool) -> None:
        self.fuse.left, self.fuse.after = left, after

    @rule(calls=st.integers(1, 6))
    def chain_away(self, calls: int) -> None:
        self.chain.fail_next(calls)

    @rule(depth=st.sampled_from((1, 1, 1, 2, 3, 4)))
    def reorganise(self, depth: int) -> None:
        self.chain.reorganise(min(depth, self.chain.tip().height))

    @rule(minutes=st.sampled_from((1, 6, 400, 1_500)))
    def time_passes(self, minutes: int) -> None:
        self.now_ns += minutes * MINUTE_NS

    @rule(units=st.integers(1_000, 90_000))
    def deposit(self, units: int) -> None:
        self.run(lambda: self._pay(units))

    def _pay(self, units: int) -> None:
        self._pay_to(self.desk.deposit_address(7), units)

    @rule(units=st.integers(1_000, 90_000))
    def capital(self, units: int) -> None:
        self.run(lambda: self._pay_in(units))

    def _pay_in(self, units: int) -> None:
        self._pay_to(self.desk.capital_address(4), units)

    def _pay_to(self, address: str, units: int) -> None:
        self.chain.pay(self.world.wallets()["cold"].script_of(address), units)

    @rule(rarely=st.integers(0, 9), place=st.integers(0, 9))
    def steal_or_halt(self, rarely: int, place: int) -> None:
        coins = sorted(self.chain.coins(self.world_scripts(), self.chain.tip()), key=lambda coin: coin.outpoint)
        if rarely == 0 and coins and not self.stolen:
            self.chain.steal(coins[place % len(coins)].outpoint)
            self.stolen = True
        elif rarely == 1:
            self.run(lambda: self.desk.halt("somebody saw something", "igor"))

    def world_scripts(self) -> list[bytes]:
        self.chain.fail_next(0)
        return list(self.desk._core.wallets["cold"].scripts())

    # What must hold.

    @invariant()
    def what_must_hold(self) -> None:
        self.no_coin_leaves_twice_and_none_unless_the_exchange_let_it_go()
        self.none_leaves_without_policy_quorum_and_hsm()
        self.every_draft_of_a_withdrawal_shares_a_coin_with_every_other_and_with_no_other_withdrawal()
        self.nothing_that_the_exchange_released_is_forgotten()

    def no_coin_leaves_twice_and_none_unless_the_exchange_let_it_go(self) -> None:
        self.chain.fail_next(0)
        for number in self.amounts:
            coins = self.chain.coins([receiver(number)], self.chain.tip())
            waiting = [raw for raw in self.chain._waiting.values() if self._pays(raw, number)]
            assert len(coins) <= 1
            assert len(waiting) + len(coins) <= 1
            if coins or waiting:
                assert number in self.exchange.released
                assert number not in self.exchange.returned

    @staticmethod
    def _pays(transaction: object, number: int) -> bool:
        return any(output.script == receiver(number) for output in transaction.outputs)

    def none_leaves_without_policy_quorum_and_hsm(self) -> None:
        for number, withdrawal in self.desk.withdrawals.items():
            for draft in withdrawal.finished:
                assert self.amounts[number] <= 60_000
                assert withdrawal.released
                assert draft.release
                assert "hsm" in draft.partials
                assert sorted(read_transaction(draft.raw).signatures) == sorted(draft.partials)
                assert {self.world.setup.people[each.person].roles for each in draft.approvals} == {
                    frozenset({"approver"})
                }
                assert len({each.person for each in draft.approvals}) >= 2
                signers = {key.removeprefix("cold-") for key in draft.partials} - {"hsm"}
                assert signers <= set(draft.release.nominated)
                assert not signers & {each.person for each in draft.approvals}

    def every_draft_of_a_withdrawal_shares_a_coin_with_every_other_and_with_no_other_withdrawal(self) -> None:
        for withdrawal in self.desk.withdrawals.values():
            drafts = withdrawal.drafts
            assert all(set(one.spends) & set(other.spends) for one in drafts for other in drafts)
        live = [each for each in self.desk.withdrawals.values() if each.state is not State.CONFIRMED]
        spent = [{point for draft in each.drafts for point in draft.spends} for each in live]
        assert sum(map(len, spent)) == len(set().union(*spent))

    def nothing_that_the_exchange_released_is_forgotten(self) -> None:
        for number in self.exchange.released:
            withdrawal = self.desk.withdrawals[number]
            assert withdrawal.state not in GIVEN_BACK or not withdrawal.released
            assert (number in self.exchange.sent) <= (withdrawal.state is State.CONFIRMED)

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        self.fuse.left = 0
        self.chain.fail_next(0)
        for member in self.members.values():
            member.mood = "willing"
        if self.stolen:
            self._pay_in(90_000)  # as much as any coin has
        for round_ in range(60):
            self.now_ns += 7 * HOUR_NS if round_ % 10 == 9 else MINUTE_NS
            self.all_goes_well_for_a_while()
            if not self.stolen and self.exchange.released == self.exchange.sent and not self.desk.halted:
                break
        assert verify_log(map(json.loads, self.log.export())) is None
        assert self.world.desk(self.log, lambda: self.now_ns).tasks() == self.desk.tasks()
        assert self.desk.halted is None
        # A withdrawal whose signed transaction would spend a stolen coin can neither leave nor be drafted anew.
        assert self.stolen or self.exchange.sent == self.exchange.released
        credited = sum(
            units for number, units in self.exchange.credited.items() if number not in self.exchange.reversed
        )
        left = credited - sum(self.amounts[number] for number in self.exchange.sent)
        assert self.desk.holdings() == self.desk.recount() == left


CustodyMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestCustody = CustodyMachine.TestCase


def test_the_machine_reaches_a_mined_withdrawal_with_a_crash_at_every_step() -> None:
    """The machine's own way, without chance: so that it is known to test something."""
    for left in range(1, 45):
        machine = CustodyMachine()
        machine.begin()
        machine.request(1, 1)
        machine.crash_soon(left, left % 2 == 0)
        for _ in range(6):
            machine.all_goes_well_for_a_while()
            machine.what_must_hold()
        assert machine.exchange.sent == {1}, left
        machine.teardown()


def test_a_theft_is_found_nothing_leaves_after_it_and_all_goes_on_once_it_is_made_good() -> None:
    machine = CustodyMachine()
    machine.begin()
    machine.request(1, 1)
    machine.chain.steal(min(machine.desk._core.view().coins))
    machine.stolen = True
    machine.chain.mine(2)
    machine.now_ns += 5 * MINUTE_NS
    machine.all_goes_well_for_a_while()
    assert machine.desk.halted
    assert machine.exchange.sent == set()
    assert attrs.asdict(machine.desk.halted)["by"] == ""
    machine.teardown()
    assert machine.exchange.sent == {1}
