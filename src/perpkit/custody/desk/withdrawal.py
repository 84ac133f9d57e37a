"""One withdrawal: the states it passes through, and everything that is known about it."""

from collections.abc import Mapping
from enum import Enum

import attrs

from perpkit.custody.desk import entries
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import BlockRef, Outpoint
from perpkit.ports.custody.nomination import Opening, Transcript
from perpkit.ports.custody.people import KeyName, PersonName
from perpkit.ports.custody.policy import Approval, Decision, Request, Verdict
from perpkit.ports.custody.signing import Case, Refusal, Release
from perpkit.ports.custody.wallet import Partial, UnsignedTransaction
from perpkit.units import Nanos, Units


class State(Enum):
    """Where a withdrawal stands. The first eight are passed in this order; the others end it, or stop it."""

    REQUESTED = "requested"
    JUDGED = "judged"
    NOMINATED = "nominated"
    APPROVED = "approved"
    SIGNING = "signing"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    CONFIRMED = "confirmed"
    DENIED = "denied"
    EXPIRED = "expired"
    RECALLED = "recalled"
    HALTED = "halted"


_S = State

TRANSITIONS: Mapping[State, frozenset[State]] = {
    _S.REQUESTED: frozenset({_S.JUDGED, _S.DENIED, _S.EXPIRED, _S.RECALLED, _S.HALTED, _S.CONFIRMED}),
    _S.JUDGED: frozenset({_S.NOMINATED, _S.EXPIRED, _S.RECALLED, _S.HALTED, _S.CONFIRMED}),
    _S.NOMINATED: frozenset({_S.APPROVED, _S.EXPIRED, _S.RECALLED, _S.HALTED, _S.CONFIRMED}),
    _S.APPROVED: frozenset({_S.SIGNING, _S.EXPIRED, _S.RECALLED, _S.HALTED, _S.CONFIRMED}),
    _S.SIGNING: frozenset({_S.SIGNING, _S.SIGNED, _S.JUDGED, _S.HALTED, _S.CONFIRMED}),
    _S.SIGNED: frozenset({_S.BROADCAST, _S.SIGNING, _S.CONFIRMED}),
    _S.BROADCAST: frozenset({_S.CONFIRMED, _S.SIGNING}),
    _S.CONFIRMED: frozenset(),
    _S.DENIED: frozenset({_S.HALTED}),
    _S.EXPIRED: frozenset({_S.HALTED}),
    _S.RECALLED: frozenset({_S.HALTED}),
    _S.HALTED: frozenset({_S.REQUESTED, _S.RECALLED, _S.CONFIRMED}),
}
"""Which state may follow which.

To CONFIRMED from anywhere a finished transaction of it may be on its way; from SIGNING to itself when a draft that the
gate refuses is made anew, and back to JUDGED when a nominated signer will not sign; to HALTED from an end when the
exchange let go of it all the same.
"""

GIVEN_BACK = frozenset({State.DENIED, State.EXPIRED, State.RECALLED})


@attrs.define(kw_only=True)
class Draft:
    """A transaction from the first draft to the finished bytes."""

    unsigned: UnsignedTransaction
    spends: tuple[Outpoint, ...]
    fee_units: Units
    nomination: Transcript
    approvals: tuple[Approval, ...]
    release: Release | None = None
    granted_ns: Nanos = 0
    partials: dict[KeyName, Partial] = attrs.field(factory=dict)
    raw: bytes | None = None


@attrs.define(kw_only=True)
class Withdrawal:
    """What the log's entries about one withdrawal add up to.

    `sequence` is the number of the entry with which it began, or began anew; `stopped` that of the one that stopped it.
    `declined` will not sign, `unwilling` will not approve; `waiting` says what stands in the way, if anything does.
    """

    request: Request
    sequence: int
    released: bool
    state: State = State.REQUESTED
    decision: Decision | None = None
    judged_ns: Nanos = 0
    stepped_up: Approval | None = None
    opening: Opening | None = None
    opened_ns: Nanos = 0
    refused: tuple[PersonName, ...] = ()
    commitments: dict[PersonName, bytes] = attrs.field(factory=dict)
    commitment_signatures: dict[PersonName, bytes] = attrs.field(factory=dict)
    reveals: dict[PersonName, bytes] = attrs.field(factory=dict)
    declined: set[PersonName] = attrs.field(factory=set)
    unwilling: set[PersonName] = attrs.field(factory=set)
    transcript: Transcript | None = None
    approvals: list[Approval] = attrs.field(factory=list)
    drafts: list[Draft] = attrs.field(factory=list)
    mined: BlockRef | None = None
    mined_txid: bytes = b""
    stopped: int = 0
    reason: str = ""
    waiting: Refusal | None = None

    @property
    def internal(self) -> bool:
        """Whether it is a move between own wallets, of which the exchange knows nothing."""
        return self.request.withdrawal_id < 0

    @property
    def draft(self) -> Draft | None:
        """The last draft."""
        return self.drafts[-1] if self.drafts else None

    @property
    def finished(self) -> tuple[Draft, ...]:
        """Every draft that was completely signed: at most one of them is ever mined."""
        return tuple(draft for draft in self.drafts if draft.raw is not None)

    @property
    def closed(self) -> bool:
        """Whether nothing more will happen, unless the exchange says otherwise, or the chain."""
        stopped = self.state is State.HALTED and not self.released
        return stopped or self.state is State.CONFIRMED or self.state in GIVEN_BACK

    @property
    def allowed(self) -> bool:
        """Whether the policy agreed, and the money has not been given back: limits over time count it."""
        return self.judged_ns > 0 and self.state not in GIVEN_BACK and (self.state is not State.HALTED or self.released)

    @property
    def agreed(self) -> frozenset[PersonName]:
        """Who has approved it or taken it on, and so takes no other part in it."""
        taken_on = (self.stepped_up,) if self.stepped_up else ()
        return frozenset(approval.person for approval in (*self.approvals, *taken_on))

    def case(self, draft: Draft) -> Case:
        """Return what a signer of a draft has to see."""
        return Case(
            request=self.request,
            unsigned=draft.unsigned,
            nomination=draft.nomination,
            approvals=draft.approvals,
            taken_on=self.stepped_up,
        )

    def apply(self, step: entries.Step, number: int, at_ns: Nanos) -> None:
        """Take an entry about this withdrawal into account.

        Raises:
            CustodyError: it may not follow what is known: the log was not written by a desk.
        """
        if not isinstance(step, entries.Waited):
            self.waiting = None
        match step:
            case entries.Judged(decision=decision):
                self._judge(decision, number, at_ns)
            case entries.TakenOn(approval=approval):
                self.stepped_up = approval
            case entries.ApprovalGiven(approval=approval):
                self.approvals.append(approval)
                if self.draft and not self.draft.release:
                    self.draft.approvals = tuple(self.approvals)
            case entries.Approved():
                self._go(State.APPROVED)
                # Nobody outside has to let go of a move.
                self.released |= self.internal
            case entries.Released():
                self.released = True
                if self.state in GIVEN_BACK:
                    self._stop(f"the exchange released it although it was {self.state.value}", number)
            case entries.Waited(refusal=refusal):
                self.waiting = refusal
            case entries.Opened() | entries.Committed() | entries.Revealed() | entries.Declined() | entries.Nominated():
                self._apply_nomination(step, at_ns)
            case entries.Drafted() | entries.Granted() | entries.PartAdded() | entries.Signed() | entries.Broadcast():
                self._apply_signing(step, at_ns)
            case _:
                self._apply_end(step, number)

    def _apply_nomination(
        self,
        step: entries.Opened | entries.Committed | entries.Revealed | entries.Declined | entries.Nominated,
        at_ns: Nanos,
    ) -> None:
        match step:
            case entries.Opened(opening=opening, refused=refused):
                if self.state is not State.JUDGED:
                    self._go(State.JUDGED)
                self.opening, self.refused, self.opened_ns = opening, refused, at_ns
                self.transcript = None
                for answers in (self.commitments, self.commitment_signatures, self.reveals, self.declined):
                    answers.clear()
            case entries.Committed(person=person, commitment=commitment, signature=signature):
                self.commitments[person], self.commitment_signatures[person] = commitment, signature
            case entries.Revealed(person=person, secret=secret):
                self.reveals[person] = secret
            case entries.Declined(person=person):
                drawn = self.transcript.nominated if self.transcript else self.opening.eligible if self.opening else ()
                (self.declined if person in drawn else self.unwilling).add(person)
            case entries.Nominated(transcript=transcript):
                self.transcript = transcript
                self._go(State.NOMINATED)

    def _apply_end(self, step: entries.Step, number: int) -> None:
        match step:
            case entries.Confirmed(txid=txid, block=block):
                self.mined, self.mined_txid = block, txid
                self._go(State.CONFIRMED)
            case entries.Expired():
                self._go(State.EXPIRED)
            case entries.Recalled():
                self._go(State.RECALLED)
            case entries.Stopped(reason=reason):
                self._stop(reason, number)
            case entries.Retried():
                self._begin_anew(number)
            case _:
                raise CustodyError(f"expected an entry about a withdrawal, was {type(step).__name__}")

    def _apply_signing(
        self,
        step: entries.Drafted | entries.Granted | entries.PartAdded | entries.Signed | entries.Broadcast,
        at_ns: Nanos,
    ) -> None:
        if isinstance(step, entries.Drafted):
            assert self.transcript is not None
            self.drafts.append(
                Draft(
                    unsigned=step.unsigned,
                    spends=step.spends,
                    fee_units=step.fee_units,
                    nomination=self.transcript,
                    approvals=tuple(self.approvals),
                )
            )
            self._go(State.SIGNING)
            return
        draft = self.drafts[-1]
        match step:
            case entries.Granted(release=release):
                draft.release, draft.granted_ns = release, at_ns
            case entries.PartAdded(partial=partial):
                draft.partials[partial.key] = partial
            case entries.Signed(raw=raw):
                draft.raw = raw
                self._go(State.SIGNED)
            case entries.Broadcast():
                self._go(State.BROADCAST)

    def _judge(self, decision: Decision, number: int, at_ns: Nanos) -> None:
        self.decision = decision
        if decision.verdict is Verdict.ALLOW:
            self.judged_ns = at_ns
            self._go(State.JUDGED)
        elif decision.verdict is Verdict.DENY and self.released:
            self._stop(f"released without approval: {'; '.join(decision.reasons)}", number)
        elif decision.verdict is Verdict.DENY:
            self.reason = "; ".join(decision.reasons)
            self._go(State.DENIED)

    def _begin_anew(self, number: int) -> None:
        self._go(State.REQUESTED)
        self.sequence, self.reason, self.stopped, self.judged_ns = number, "", 0, 0
        self.decision = self.stepped_up = self.opening = self.transcript = None
        self.refused = ()
        self.approvals.clear()
        self.unwilling.clear()

    def _stop(self, reason: str, number: int) -> None:
        self._go(State.HALTED)
        self.reason, self.stopped = reason, number

    def _go(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise CustodyError(
                f"withdrawal {self.request.withdrawal_id}: expected one of "
                f"{sorted(each.value for each in TRANSITIONS[self.state])} after {self.state.value}, was {state.value}"
            )
        self.state = state
