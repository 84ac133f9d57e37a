"""A desk with everything round it, for tests: a pretend chain, people who answer, a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from perpkit.custody.desk.address_book import destination_digest
from perpkit.custody.desk.core import DeskTerms
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.log import AuditLog, MemoryLog
from perpkit.custody.desk.withdrawal import State, Withdrawal
from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.pretend.embedded import PretendWorld
from perpkit.custody.setup import NominationTerms, Setup
from perpkit.model.command import Command
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased, WithdrawalReturned
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.ports.custody.policy import Approval
from perpkit.units import HOUR_NS, Units

RULES = {
    "pay-out": 'kind = "path"\nasset = "BTC"\nsource = "cold"\ntarget = "client"',
    "book": 'kind = "destination"\ndelay_hours = 1\nroles = { support = 1 }',
    "quorum": 'kind = "quorum"\nasset = "BTC"\ntiers = [{ from_units = 0, roles = { approver = 2 } }]',
    "hats": 'kind = "segregation"',
    "drawn": 'kind = "nomination"\nseats = 2',
    "shape": 'kind = "shape"\nasset = "BTC"\nfee_max_units = 9000\nfee_rate_max_units = 90000',
    "hsm": 'kind = "hsm"',
    "once": 'kind = "idempotency"',
    "fresh": 'kind = "reconciliation"\nminutes = 10',
    "off": 'kind = "halt"',
    "change": 'kind = "change"\nroles = { officer = 2 }\ndelay_hours = 1',
}
HOLDERS = ("ann", "ben", "cleo", "dora")
APPROVERS = ("fay", "gus", "hana")
OFFICERS = ("igor", "kira")
SUPPORT = ("liam",)
ROLES = {
    **dict.fromkeys(HOLDERS, "signer"),
    **dict.fromkeys(APPROVERS, "approver"),
    **dict.fromkeys(OFFICERS, "officer"),
    **dict.fromkeys(SUPPORT, "support"),
}
START_NS = 1_000 * HOUR_NS
CONFIRMATIONS = 3


def policy_text(**changed: str | None) -> str:
    """Return the policy with some rules changed, added or (None) left out."""
    rules = {**RULES, **{name.replace("_", "-"): text for name, text in changed.items()}}
    tables = [f"[rules.{name}]\n{text}\n" for name, text in rules.items() if text]
    return "\n".join(['version = 1\nname = "tests"\n', *tables])


def secret(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def setup(policy: str = "", *, hot: bool = False, **terms: int) -> Setup:
    """Return two of four keys and the HSM for the cold wallet, one key online, and two of three for a hot one."""
    wallets = {"cold": {"threshold": 2, "hsm": True}}
    holders = [("cold", name, name == "ann") for name in HOLDERS]
    if hot:
        wallets["hot"] = {"threshold": 2}
        holders += [("hot", name, True) for name in HOLDERS[:3]]
    return Setup(
        people={name: Person(name=name, roles=frozenset({role}), public=secret(name)) for name, role in ROLES.items()},
        keys=tuple(
            KeyPlace(
                key=f"{wallet}-{name}",
                wallet=wallet,
                person=name,
                place=f"place of {name}",
                online=online,
                public=secret(f"{wallet}-{name}"),
            )
            for wallet, name, online in holders
        ),
        policy=policy or policy_text(),
        terms=attrs.evolve(DeskTerms(confirmations=CONFIRMATIONS, resume_quorum={"officer": 2}), **terms),
        nomination=NominationTerms(),
        wallets=wallets,
        hsm={"public": secret("hsm").hex()},
    )


class Office:
    """One desk and its world. Account 7 may be paid at destination 1, from an hour after the start on."""

    def __init__(
        self, using: Setup | None = None, *, log: AuditLog | None = None, deposits_units: Sequence[Units] = (500_000,)
    ) -> None:
        self.now_ns = START_NS
        self.log = log or MemoryLog()
        self.world = PretendWorld("BTC", 1, using or setup(), lambda _: RamMemory())
        self.chain, self.staff = self.world.chain, self.world.staff
        self.desk = self.reopen()
        self.receiver = b"the client's own script"
        self.add_destination(1, 7, self.receiver)
        for amount_units in deposits_units:
            self.deposit(7, amount_units)
        self.now_ns += HOUR_NS
        self.told()

    def reopen(self) -> Desk:
        """Open another desk over the same log, chain and gate, as after a crash."""
        self.desk = self.world.desk(self.log, lambda: self.now_ns)
        return self.desk

    def add_destination(self, number: int, account: int, script: bytes, approver: str = "liam") -> object:
        wanted = destination_digest("BTC", number, account, script)
        approval = Approval(
            person=approver, digest=wanted, signature=self.world.staff.members[approver].pen.sign(wanted), at_ns=0
        )
        address = self.world.wallets()["cold"].address_of(script)
        return self.desk.add_destination(number, account, address, [approval])

    def script_of(self, address: str) -> bytes:
        return self.world.wallets()["cold"].script_of(address)

    def deposit(self, account: int, amount_units: Units, confirmations: int = CONFIRMATIONS) -> None:
        self.chain.pay(self.script_of(self.desk.deposit_address(account)), amount_units)
        self.chain.mine(confirmations)

    def told(self, after: int = 0) -> list[Command]:
        self.desk.advance()
        return [command for _, command in self.desk.told(after)]

    def held(self, number: int = 1, amount_units: Units = 100_000, destination: int = 1) -> WithdrawalHeld:
        return WithdrawalHeld(
            withdrawal_id=number, account=7, asset=1, amount_units=amount_units, destination=destination
        )

    def request(self, number: int = 1, amount_units: Units = 100_000, destination: int = 1) -> Withdrawal:
        self.desk.requested(self.held(number, amount_units, destination))
        self.desk.advance()
        return self.desk.withdrawals[number]

    def release(self, number: int = 1, amount_units: Units = 100_000) -> Withdrawal:
        self.desk.release(
            WithdrawalReleased(withdrawal_id=number, account=7, asset=1, amount_units=amount_units, destination=1)
        )
        self.desk.advance()
        return self.desk.withdrawals[number]

    def give_back(self, number: int = 1, amount_units: Units = 100_000) -> None:
        self.desk.returned(
            WithdrawalReturned(withdrawal_id=number, account=7, asset=1, amount_units=amount_units, recalled=True)
        )

    def step(self, *, mine: int = 1) -> None:
        """Let everybody answer once, and time pass on the chain."""
        self.desk.advance()
        self.staff.attend(self.desk)
        self.desk.advance()
        if mine:
            self.chain.mine(mine)
            self.desk.advance()

    def until(self, state: State, number: int = 1) -> Withdrawal:
        """Go on until a withdrawal is in a state."""
        for _ in range(12):
            if self.desk.withdrawals[number].state is state:
                return self.desk.withdrawals[number]
            self.step()
        raise AssertionError(f"expected {state}, was {self.desk.withdrawals[number]}")

    def approved(self, number: int = 1, amount_units: Units = 100_000) -> Withdrawal:
        self.request(number, amount_units)
        return self.until(State.APPROVED, number)

    def to_receiver(self) -> Units:
        """Return what was mined to the client's own script."""
        found = self.chain.coins([self.receiver], self.chain.tip())
        return sum(coin.output.amount_units for coin in found)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.log.entries()]


def raising_after(count: int, error: Exception) -> Callable[[], None]:
    """Return a function that raises when it is called for the `count`th time."""
    left = [count]

    def tick() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    return tick
