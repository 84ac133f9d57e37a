"""The desk of one asset: takes withdrawals from the request to the mined transaction, and deposits the other way."""

import threading
from collections.abc import Mapping, Sequence

from perpkit.custody.desk import (
    address_book,
    answering,
    entries,
    incoming,
    judging,
    nominating,
    policy_change,
    refill,
    signing_step,
)
from perpkit.custody.desk.asking import approved, resumable, tasks_of
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.known import told_to_gate, wallet_units
from perpkit.custody.desk.log import AuditLog
from perpkit.custody.desk.state import Halt
from perpkit.custody.desk.tasks import Answer, Task
from perpkit.custody.desk.withdrawal import GIVEN_BACK, State, Withdrawal
from perpkit.custody.move import COLD, HOT, HOUSE
from perpkit.errors import ChainError, CustodyError
from perpkit.model.command import Command
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased, WithdrawalReturned
from perpkit.model.ids import AccountId, FundId
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Approval, Facts, PolicyEngine, Request
from perpkit.ports.custody.signing import Case, Refusal
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit.units import Units

_WITHDRAWABLE = frozenset({State.REQUESTED, State.JUDGED, State.NOMINATED, State.APPROVED})


class Desk:
    """Everything that custody does with one asset, driven by `advance` and by people's answers.

    It holds no key and calls nobody. What people have to do stands in `tasks`; what they say comes in by `answer`. The
    log is all that it keeps: each step is an entry before it is a deed, and every deed may be done again. So another
    desk over the same log, chain and gate goes on wherever this one was cut off.

    Args:
        core: the parts it works with; its gate is given this desk's `facts`.

    Raises:
        CustodyError: the log holds what no desk has written, or cannot be written.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.RLock()
        self._away = True

    @property
    def asset(self) -> str:
        """The name of its asset."""
        return self._core.asset

    @property
    def log(self) -> AuditLog:
        """All that it keeps."""
        return self._core.log

    @property
    def withdrawals(self) -> Mapping[int, Withdrawal]:
        """Every withdrawal, by its id."""
        return self._core.state.withdrawals

    @property
    def halted(self) -> Halt | None:
        """Why no money leaves, if none does."""
        return self._core.state.halt

    @property
    def policy(self) -> PolicyEngine:
        """The policy by which this desk judges now."""
        return self._core.policy

    def tasks(self) -> Sequence[Task]:
        """Return what people are asked to do."""
        with self._lock:
            self._core.catch_up()
            return tuple(tasks_of(self._core))

    def answer(self, answer: Answer) -> Refusal | None:
        """Take what somebody says to a task. What is wrong is refused and noted, and changes nothing.

        Raises:
            ChainError: whether it came in time cannot be known; answer again.
        """
        with self._lock:
            self._core.catch_up()
            return answering.take(self._core, answer)

    def advance(self) -> None:
        """Do everything that can be done now. What the chain, the gate or people owe is waited for."""
        with self._lock:
            core = self._core
            core.catch_up()
            self._decide()
            try:
                incoming.follow(core)
                signing_step.send_again(core)
                self._away = False
            except ChainError:
                self._away = True
            for withdrawal in list(core.state.open.values()):
                self._advance(withdrawal)

    def requested(self, held: WithdrawalHeld) -> None:
        """Begin to decide about a withdrawal, once."""
        with self._lock:
            self._core.catch_up()
            if held.withdrawal_id not in self.withdrawals:
                self._request(held, released=False)

    def release(self, released: WithdrawalReleased) -> None:
        """Let a withdrawal be signed and sent, once; one that was never asked for is judged from the start."""
        with self._lock:
            self._core.catch_up()
            withdrawal = self.withdrawals.get(released.withdrawal_id)
            if withdrawal is None:
                self._request(released, released=True)
            elif not withdrawal.released:
                self._core.note(entries.Released(withdrawal_id=released.withdrawal_id))

    def returned(self, returned: WithdrawalReturned) -> None:
        """Forget a withdrawal that went back to its owner.

        Raises:
            CustodyError: it was released before: the exchange has given back what may have left. The desk halts.
        """
        with self._lock:
            core, name = self._core, returned.withdrawal_id
            core.catch_up()
            withdrawal = self.withdrawals.get(name)
            if withdrawal is None or withdrawal.state in GIVEN_BACK:
                return
            if withdrawal.released:
                reason = f"the exchange gave back withdrawal {name}, which it had released"
                core.halt(reason)
                raise CustodyError(f"{reason}: the two do not belong to one history")
            core.note(entries.Recalled(withdrawal_id=name))

    def told(self, after: int) -> Sequence[tuple[int, Command]]:
        """Return what the exchange has to be told, with the numbers of the entries that tell it, after a number."""
        with self._lock:
            self._core.catch_up()
            return [(number, command) for number, command in self._core.state.told if number > after]

    def holdings(self) -> Units:
        """Return what the blocks lead to, at the depth that counts, as far as `advance` has followed them.

        Raises:
            ChainError: the chain does not answer.
        """
        with self._lock:
            self._follow_once()
            return incoming.holdings(self._core.view())

    def recount(self) -> Units:
        """Return what the node itself counts after the block that `holdings` stops at.

        Raises:
            ChainError: the chain does not answer.
        """
        with self._lock:
            self._follow_once()
            return incoming.recount(self._core, self._core.view())

    def reconcile(self) -> None:
        """Count twice and compare with the log now; a difference halts the desk.

        Raises:
            ChainError: the chain does not answer.
        """
        with self._lock:
            self._core.catch_up()
            incoming.follow(self._core)
            incoming.reconcile(self._core, self._core.view())

    def move(self, amount_units: Units, *, by: PersonName) -> Refusal | int:
        """Ask for a move from the cold wallet to the hot one; return its number among the withdrawals.

        It passes all that a withdrawal passes, and the exchange is told nothing. Exactly the amount arrives: the house
        pays the network fee, with coins at its `house_address`.
        """
        with self._lock:
            self._core.catch_up()
            return refill.ask(self._core, amount_units, by)

    def replace(self, withdrawal_id: int, fee_rate_units: Units, by: PersonName) -> Refusal | None:
        """Draft a transaction with another fee in place of one that is not mined, or that the gate refuses.

        Everybody signs again. Whichever of the two is mined counts: they spend the same coin.

        Units:
            `fee_rate_units` for 1,000 virtual bytes.

        Raises:
            CustodyError: such a transaction cannot be drafted.
        """
        with self._lock:
            self._core.catch_up()
            withdrawal = self.withdrawals.get(withdrawal_id)
            if by not in self._core.people:
                return Refusal(by="desk", rule="person", reason=f"nobody knows {by}")
            if withdrawal is None or not signing_step.replaceable(withdrawal) or self.halted:
                return Refusal(by="desk", rule="replace", reason="only what is not mined can be replaced")
            signing_step.make_draft(self._core, withdrawal, fee_rate_units)
            return None

    def deposit_address(self, account: AccountId) -> str:
        """Return an address where money for an account comes in; another one once something has."""
        return self._address(Owner(Purpose.CLIENT, account))

    def capital_address(self, fund: FundId) -> str:
        """Return an address where the operator pays into an insurance fund.

        While coins are missing, what comes in here takes their place first; only what is left of it is told as capital.
        So a loss is made good, and a quorum can resume.
        """
        return self._address(Owner(Purpose.FUND, fund))

    def house_address(self) -> str:
        """Return an address for money of the house, which pays the fees of moves and counts as nobody's holdings."""
        return self._address(HOUSE)

    def add_destination(
        self, number: int, account: AccountId, address: str, approvals: Sequence[Approval] = ()
    ) -> Refusal | None:
        """Note where an account's money may go, with who agreed: see `address_book.destination_digest`."""
        with self._lock:
            self._core.catch_up()
            return address_book.add(self._core, number, account, address, approvals)

    def remove_destination(self, number: int, by: PersonName) -> Refusal | None:
        """Take a destination out of the address book, at once and for ever."""
        with self._lock:
            self._core.catch_up()
            return address_book.remove(self._core, number, by)

    def note_change(self, account: AccountId, what: str) -> None:
        """Note that an account's `password`, `two-factor`, `e-mail` or `device` changed now."""
        with self._lock:
            self._core.note(entries.AccountChanged(account=account, what=what))

    def propose(self, text: str, by: PersonName) -> Refusal | None:
        """Put another policy to the people; it takes over when the present one, and the gate's, allow it."""
        with self._lock:
            self._core.catch_up()
            return policy_change.propose(self._core, text, by)

    def drop_proposal(self, by: PersonName) -> Refusal | None:
        """Take back a proposed policy that has not taken over."""
        with self._lock:
            self._core.catch_up()
            return policy_change.drop(self._core, by)

    def halt(self, reason: str, by: PersonName) -> None:
        """Let no money leave from now on. A quorum ends it: see `tasks`."""
        with self._lock:
            self._core.catch_up()
            self._core.halt(reason, by)

    def switch_off(self, what: str, reason: str, by: PersonName) -> Refusal | None:
        """Tell the policy's `halt` rules that this asset, or a wallet, is switched off. A quorum switches it on again.

        A withdrawal that is asked for meanwhile is denied; one that is under way waits for its release.
        """
        with self._lock:
            core = self._core
            core.catch_up()
            if by not in core.people:
                return Refusal(by="desk", rule="person", reason=f"nobody knows {by}")
            if what not in (core.asset, *core.wallets):
                names = ", ".join((core.asset, *core.wallets))
                return Refusal(by="desk", rule="switch", reason=f"expected one of {names}, was {what!r}")
            if what not in core.state.switched_off:
                core.note(entries.SwitchedOff(what=what, reason=reason, by=by))
            return None

    def facts(self, case: Case | None) -> Facts:
        """Return what the gate cannot know itself: hand it this when it is made."""
        with self._lock:
            return told_to_gate(self._core, case)

    def _address(self, owner: Owner) -> str:
        with self._lock:
            self._core.catch_up()
            return address_book.address_of(self._core, owner)

    def _follow_once(self) -> None:
        if self._core.followed is None:
            self.advance()

    def _request(self, asked: WithdrawalHeld | WithdrawalReleased, *, released: bool) -> None:
        core = self._core
        destination = core.state.destinations.get(asked.destination)
        small = HOT in core.wallets and asked.amount_units <= core.terms.hot_limit_units
        hot = small and (wallet_units(core, HOT) or 0) >= asked.amount_units
        request = Request(
            withdrawal_id=asked.withdrawal_id,
            asset=self.asset,
            account=asked.account,
            amount_units=asked.amount_units,
            destination=asked.destination,
            script=destination.script if destination else b"",
            source=HOT if hot else COLD,
            target="client",
            initiator="",
            requested_ns=core.clock(),
        )
        core.note(entries.Requested(request=request, released=released))

    def _decide(self) -> None:
        """Do what people have decided, if enough of them have."""
        core, halt = self._core, self._core.state.halt
        if halt and resumable(core, halt.number):
            core.note(entries.DeskResumed(halt=halt.number))
        for what, switched in list(core.state.switched_off.items()):
            if resumable(core, switched.number):
                core.note(entries.SwitchedOn(what=what))
        for withdrawal in list(core.state.open.values()):
            if withdrawal.state is State.HALTED and resumable(core, withdrawal.stopped):
                core.note(entries.Retried(withdrawal_id=withdrawal.request.withdrawal_id))
        policy_change.activate(core)

    def _advance(self, withdrawal: Withdrawal) -> None:
        core = self._core
        try:
            while self._step(withdrawal):
                pass
        except CustodyError as error:
            core.catch_up()
            core.wait(withdrawal, signing_step.fault(error))

    def _step(self, withdrawal: Withdrawal) -> bool:
        """Take a withdrawal one step further; say whether there may be another."""
        core, state = self._core, withdrawal.state
        name = withdrawal.request.withdrawal_id
        age_ns = core.clock() - withdrawal.request.requested_ns
        if state in _WITHDRAWABLE and not withdrawal.released and age_ns >= core.terms.expiry_ns:
            core.note(entries.Expired(withdrawal_id=name))
            return False
        if state is State.BROADCAST:
            return signing_step.send(core, withdrawal)
        if core.state.halt or core.state.counted_block is None:
            return False
        match state:
            case State.REQUESTED if not self._away:
                return judging.judge(core, withdrawal)
            case State.JUDGED:
                return nominating.draw(core, withdrawal)
            case State.NOMINATED if approved(core, withdrawal):
                core.note(entries.Approved(withdrawal_id=name))
                return True
            case State.APPROVED if withdrawal.released:
                return signing_step.make_draft(core, withdrawal)
            case State.SIGNING:
                return signing_step.sign(core, withdrawal)
            case State.SIGNED:
                return signing_step.send(core, withdrawal)
        return False
