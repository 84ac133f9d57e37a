"""People at the desk: who is asked what, what they answer, and what happens when they do not."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from perpkit.custody.desk.tasks import Answer, Task, TaskKind, signed_answer
from perpkit.custody.desk.withdrawal import State
from perpkit.custody.gate.gate_memory import written
from perpkit.custody.move import CHANGE
from perpkit.model.command import ApproveWithdrawal, CancelWithdrawal
from perpkit.ports.custody.signing import Refusal
from perpkit.units import HOUR_NS

from .office import APPROVERS, HOLDERS, Office, policy_text, secret, setup


class Silent:
    """Somebody who answers some kinds of task, and leaves the others."""

    def __init__(self, member: object, *ignored: TaskKind) -> None:
        self.member, self.ignored = member, ignored

    def answer(self, task: Task) -> Answer | None:
        return None if task.kind in self.ignored else self.member.answer(task)


class Unwilling(Silent):
    """Somebody who says no to some kinds of task."""

    def answer(self, task: Task) -> Answer | None:
        return self.member.decline(task, "no") if task.kind in self.ignored else self.member.answer(task)


def replace(office: Office, how: type[Silent], name: str, *kinds: TaskKind) -> None:
    office.staff.members[name] = how(office.staff.members[name], *kinds)


def asked(office: Office, kind: TaskKind) -> list[str]:
    return [task.person for task in office.desk.tasks() if task.kind is kind]


def task_of(office: Office, kind: TaskKind, person: str = "") -> Task:
    return next(task for task in office.desk.tasks() if task.kind is kind and person in ("", task.person))


def answer_all(office: Office, kind: TaskKind, people: Sequence[str]) -> None:
    for name in people:
        member = office.staff.members[name]
        assert office.desk.answer(member.answer(task_of(office, kind, name))) is None


def test_nobody_is_asked_to_reveal_before_everybody_has_committed() -> None:
    office = Office()
    office.request()
    assert asked(office, TaskKind.COMMIT) == list(HOLDERS)
    answer_all(office, TaskKind.COMMIT, HOLDERS[:3])
    assert (asked(office, TaskKind.COMMIT), asked(office, TaskKind.REVEAL)) == ([HOLDERS[3]], [])
    answer_all(office, TaskKind.COMMIT, HOLDERS[3:])
    assert (asked(office, TaskKind.COMMIT), asked(office, TaskKind.REVEAL)) == ([], list(HOLDERS))


def test_it_is_too_late_to_commit_once_the_beacons_round_may_be_known() -> None:
    office = Office()
    office.request()
    answer = office.staff.members["ann"].answer(task_of(office, TaskKind.COMMIT, "ann"))
    office.chain.mine(2)
    refusal = office.desk.answer(answer)
    assert refusal
    assert refusal.rule == "commitment-late"
    office.desk.advance()
    # Nobody has committed, so nobody is left to draw from.
    assert office.desk.withdrawals[1].state is State.HALTED


@pytest.mark.parametrize("kind", [TaskKind.COMMIT, TaskKind.REVEAL])
def test_who_spoils_a_draw_is_named_and_left_out_of_the_next(kind: TaskKind) -> None:
    office = Office()
    replace(office, Silent, "ann", kind)
    office.request()
    office.step()
    office.step()
    if kind is TaskKind.REVEAL:
        office.now_ns += 6 * HOUR_NS
        office.desk.reconcile()
    office.until(State.APPROVED)
    transcript = office.desk.withdrawals[1].transcript
    assert (transcript.refused, transcript.opening.attempt) == (("ann",), 2)
    assert "ann" not in transcript.nominated
    office.release()
    office.until(State.CONFIRMED)


def test_who_says_no_to_a_draw_is_left_out_at_once() -> None:
    office = Office()
    replace(office, Unwilling, "ben", TaskKind.REVEAL)
    office.request()
    office.step(mine=0)
    opening = office.desk.withdrawals[1].opening
    assert (opening.attempt, opening.eligible) == (2, ("ann", "cleo", "dora"))


def test_after_too_many_spoilt_draws_people_decide_and_the_money_goes_back() -> None:
    office = Office()
    for name in HOLDERS[:3]:
        replace(office, Unwilling, name, TaskKind.COMMIT)
    office.request()
    office.step()
    stopped = office.desk.withdrawals[1]
    assert stopped.state is State.HALTED
    assert stopped.reason.startswith("no signers can be drawn: ")
    assert office.told()[-1] == CancelWithdrawal(withdrawal_id=1)
    office.give_back()
    assert (office.desk.withdrawals[1].state, office.desk.tasks()) == (State.RECALLED, ())


def test_what_was_released_and_finds_no_signers_begins_anew_when_a_quorum_says_so() -> None:
    office = Office()
    office.approved()
    drawn = office.desk.withdrawals[1].transcript.nominated
    others = [name for name in HOLDERS if name not in drawn]
    for name in (*drawn, others[0]):
        replace(office, Unwilling, name, TaskKind.SIGN, TaskKind.COMMIT)
    office.release()
    office.desk.advance()
    office.step()
    office.step()
    assert office.desk.withdrawals[1].state is State.HALTED
    assert CancelWithdrawal(withdrawal_id=1) not in office.told()
    for name in HOLDERS:
        member = office.staff.members[name]
        office.staff.members[name] = getattr(member, "member", member)
    first = office.desk.withdrawals[1].sequence
    office.until(State.CONFIRMED)
    assert office.desk.withdrawals[1].sequence > first
    assert office.told().count(ApproveWithdrawal(withdrawal_id=1)) == 1
    assert office.to_receiver() == 100_000 - 240


@pytest.mark.parametrize("how", [Silent, Unwilling])
def test_when_a_nominated_signer_will_not_sign_others_are_drawn_and_the_same_coin_is_spent(how: type[Silent]) -> None:
    office = Office(deposits_units=(300_000, 300_000))
    office.approved()
    first = office.desk.withdrawals[1].transcript.nominated
    replace(office, how, first[0], TaskKind.SIGN)
    office.release()
    office.step()
    if how is Silent:
        assert office.desk.withdrawals[1].state is State.SIGNING
        office.now_ns += 6 * HOUR_NS
        office.desk.reconcile()
    office.until(State.CONFIRMED)
    withdrawal = office.desk.withdrawals[1]
    old, new = withdrawal.drafts
    assert first[0] in withdrawal.transcript.refused
    assert first[0] not in new.release.nominated
    assert set(old.spends) & set(new.spends)
    assert office.to_receiver() == 100_000 - 240
    assert office.told().count(ApproveWithdrawal(withdrawal_id=1)) == 1


def test_only_those_with_a_role_that_the_policy_asks_for_are_asked_to_approve_and_only_as_long_as_needed() -> None:
    office = Office()
    office.request()
    replace(office, Silent, "fay", TaskKind.APPROVE)
    replace(office, Silent, "gus", TaskKind.APPROVE)
    replace(office, Silent, "hana", TaskKind.APPROVE)
    office.until(State.NOMINATED)
    assert asked(office, TaskKind.APPROVE) == list(APPROVERS)
    members = [office.staff.members[name].member for name in APPROVERS]
    assert office.desk.answer(members[0].answer(task_of(office, TaskKind.APPROVE, "fay"))) is None
    office.desk.advance()
    assert (office.desk.withdrawals[1].state, asked(office, TaskKind.APPROVE)) == (State.NOMINATED, ["gus", "hana"])
    assert office.desk.answer(members[2].answer(task_of(office, TaskKind.APPROVE, "hana"))) is None
    office.desk.advance()
    assert (office.desk.withdrawals[1].state, office.desk.tasks()) == (State.APPROVED, ())


def test_who_was_drawn_to_sign_is_not_asked_to_approve() -> None:
    everybody = 'kind = "quorum"\nasset = "BTC"\ntiers = [{ from_units = 0, roles = { signer = 2 } }]'
    office = Office(setup(policy_text(quorum=everybody)))
    office.request()
    for name in HOLDERS:
        replace(office, Silent, name, TaskKind.APPROVE)
    office.until(State.NOMINATED)
    drawn = office.desk.withdrawals[1].transcript.nominated
    assert asked(office, TaskKind.APPROVE) == [name for name in HOLDERS if name not in drawn]


def test_an_approver_who_says_no_is_not_asked_again_and_without_a_quorum_it_expires() -> None:
    office = Office()
    replace(office, Unwilling, "fay", TaskKind.APPROVE)
    replace(office, Unwilling, "gus", TaskKind.APPROVE)
    office.request()
    for _ in range(6):
        office.step()
    assert (office.desk.withdrawals[1].state, office.desk.tasks()) == (State.NOMINATED, ())
    office.now_ns += 24 * HOUR_NS
    assert office.told()[-1] == CancelWithdrawal(withdrawal_id=1)


def test_a_policy_that_asks_for_more_before_the_draft_is_released_is_obeyed() -> None:
    office = Office()
    office.approved()
    quorum = 'kind = "quorum"\nasset = "BTC"\ntiers = [{ from_units = 0, roles = { approver = 3 } }]'
    adopt(office, policy_text(quorum=quorum))
    office.release()
    office.desk.advance()
    assert asked(office, TaskKind.APPROVE) == [
        name for name in APPROVERS if name not in {each.person for each in office.desk.withdrawals[1].approvals}
    ]
    office.until(State.CONFIRMED)
    assert len(office.desk.withdrawals[1].approvals) == 3


def answers(office: Office) -> dict[str, Answer]:
    """Return answers to one task that are wrong, each in one way, by what is wrong."""
    task = task_of(office, TaskKind.APPROVE, "fay")
    fay, gus = office.staff.members["fay"].member, office.staff.members["gus"].member
    good = fay.answer(task)
    return {
        "approval-signature": fay.say(task, gus.pen.sign(task.digest)),
        "answer-signature": attrs.evolve(good, signature=gus.pen.sign(task.digest)),
        "task": signed_answer(attrs.evolve(good, person="gus"), gus.pen),
        "task ": signed_answer(attrs.evolve(good, task=bytes(32)), fay.pen),
        "task  ": signed_answer(attrs.evolve(good, subject=2), fay.pen),
        "task   ": signed_answer(attrs.evolve(good, person="nobody"), fay.pen),
    }


def test_a_wrong_answer_is_refused_noted_and_changes_nothing() -> None:
    office = Office()
    for name in APPROVERS:
        replace(office, Silent, name, TaskKind.APPROVE)
    office.request()
    office.until(State.NOMINATED)
    before = office.desk.tasks()
    for rule, answer in answers(office).items():
        refusal = office.desk.answer(answer)
        assert isinstance(refusal, Refusal)
        assert (refusal.by, refusal.rule) == ("desk", rule.strip())
        assert office.log.entries()[-1].body["refusal"]["rule"] == rule.strip()
        assert office.desk.tasks() == before
    assert office.desk.withdrawals[1].approvals == []


def test_an_answer_that_comes_twice_counts_once() -> None:
    office = Office()
    replace(office, Silent, "fay", TaskKind.APPROVE)
    replace(office, Silent, "gus", TaskKind.APPROVE)
    office.request()
    office.until(State.NOMINATED)
    answer = office.staff.members["fay"].member.answer(task_of(office, TaskKind.APPROVE, "fay"))
    assert office.desk.answer(answer) is None
    again = office.desk.answer(answer)
    assert again
    assert again.rule == "task"
    assert [each.person for each in office.desk.withdrawals[1].approvals].count("fay") == 1


@pytest.mark.parametrize("payload", [b"", bytes(32), bytes(64)])
def test_a_commitment_that_is_not_signed_by_whose_it_is_is_refused(payload: bytes) -> None:
    office = Office()
    office.request()
    member = office.staff.members["ann"]
    refusal = office.desk.answer(member.say(task_of(office, TaskKind.COMMIT, "ann"), payload))
    assert refusal
    assert refusal.rule == "commitment-signature"


def test_revealing_something_else_than_was_committed_to_is_refused() -> None:
    office = Office()
    office.request()
    answer_all(office, TaskKind.COMMIT, HOLDERS)
    member = office.staff.members["ann"]
    refusal = office.desk.answer(member.say(task_of(office, TaskKind.REVEAL, "ann"), bytes(32)))
    assert refusal
    assert refusal.rule == "reveal"


def test_only_the_nominated_are_asked_to_sign_and_a_partial_by_another_key_is_refused() -> None:
    office = Office()
    office.approved()
    drawn = office.desk.withdrawals[1].transcript.nominated
    office.release()
    office.desk.advance()
    assert sorted(asked(office, TaskKind.SIGN)) == sorted(drawn)
    task = task_of(office, TaskKind.SIGN, drawn[0])
    other = office.staff.members[drawn[1]].answer(task_of(office, TaskKind.SIGN, drawn[1]))
    wrong = office.desk.answer(attrs.evolve(other, task=task.id, person=drawn[0]))
    assert wrong
    assert wrong.rule == "partial-bad"
    stranger = next(name for name in HOLDERS if name not in drawn)
    refusal = office.desk.answer(attrs.evolve(other, person=stranger))
    assert refusal
    assert refusal.rule == "task"
    assert office.desk.withdrawals[1].draft.partials == {}


def test_a_partial_speaks_for_itself_and_needs_no_pen() -> None:
    office = Office()
    office.approved()
    office.release()
    office.desk.advance()
    for task in office.desk.tasks():
        answer = office.staff.members[task.person].answer(task)
        assert office.desk.answer(attrs.evolve(answer, signature=b"")) is None
    office.until(State.CONFIRMED)


def test_a_halt_has_only_a_yes() -> None:
    office = Office()
    office.desk.halt("something is wrong", "igor")
    task = task_of(office, TaskKind.RESUME, "igor")
    refusal = office.desk.answer(office.staff.members["igor"].decline(task, "no"))
    assert refusal
    assert refusal.rule == "answer-no"


def adopt(office: Office, text: str) -> None:
    assert office.desk.propose(text, "hana") is None
    answer_all(office, TaskKind.CHANGE, ("igor", "kira"))
    office.now_ns += HOUR_NS
    office.desk.advance()
    office.desk.reconcile()


def test_another_policy_takes_over_when_others_agreed_and_the_delay_is_over_at_the_desk_and_at_the_gate() -> None:
    office = Office()
    text = policy_text(cap='kind = "limit"\nasset = "BTC"\ntransaction_units = 50000')
    old = office.desk.policy.digest
    assert office.desk.propose(text, "hana") is None
    answer_all(office, TaskKind.CHANGE, ("igor", "kira"))
    office.desk.advance()
    assert office.desk.policy.digest == old
    office.now_ns += HOUR_NS
    office.desk.reconcile()
    office.desk.advance()
    assert office.desk.policy.digest != old
    assert asked(office, TaskKind.CHANGE) == []
    office.reopen()
    office.desk.advance()
    assert office.desk.policy.digest != old
    assert office.request(1, 50_001).state is State.DENIED
    office.approved(2, 50_000)
    office.release(2, 50_000)
    office.until(State.CONFIRMED, 2)


def test_a_policy_that_not_enough_agree_to_never_takes_over_and_can_be_taken_back() -> None:
    office = Office()
    old = office.desk.policy.digest
    assert office.desk.propose(policy_text(off=None), "igor") is None
    assert office.desk.propose(policy_text(off=None), "igor").rule == "proposal"
    answer_all(office, TaskKind.CHANGE, ("kira", "fay", "gus"))
    office.now_ns += 10 * HOUR_NS
    office.desk.advance()
    assert office.desk.policy.digest == old
    assert office.desk.drop_proposal("igor") is None
    assert asked(office, TaskKind.CHANGE) == []
    assert office.desk.drop_proposal("igor").rule == "proposal"


def test_a_policy_that_the_gate_refuses_is_dropped_at_the_desk_as_well() -> None:
    office = Office()
    old = office.desk.policy.digest
    office.world.gate_memory.save("policy", written(bytes(32)))
    office.reopen()
    office.desk.advance()
    adopt(office, policy_text(off=None))
    office.desk.advance()
    assert office.desk.policy.digest == old
    assert "policy-refused" in office.kinds()
    assert office.reopen().policy.digest == old


@pytest.mark.parametrize(
    ("text", "by", "rule"), [("nonsense", "igor", "proposal"), (policy_text(), "nobody", "person")]
)
def test_what_is_no_policy_and_who_is_nobody_cannot_be_proposed(text: str, by: str, rule: str) -> None:
    refusal = Office().desk.propose(text, by)
    assert refusal
    assert refusal.rule == rule


def test_while_the_desk_is_halted_no_looser_policy_can_be_proposed() -> None:
    office = Office()
    office.desk.halt("something is wrong", "igor")
    refusal = office.desk.propose(policy_text(off=None), "igor")
    assert refusal
    assert refusal.rule == "change"


def test_a_destination_counts_from_when_it_was_added_and_is_gone_at_once() -> None:
    office = Office()
    assert office.add_destination(2, 7, b"another script") is None
    assert office.request(1, destination=2).state is State.DENIED
    office.now_ns += HOUR_NS
    office.desk.advance()
    assert office.request(2, destination=2).state is State.JUDGED
    assert office.desk.remove_destination(2, "liam") is None
    assert office.request(3, destination=2).state is State.DENIED
    refusal = office.add_destination(2, 7, b"another script")
    assert refusal
    assert refusal.rule == "destination-number"


def test_a_withdrawal_to_a_destination_that_is_removed_before_its_release_is_not_signed() -> None:
    office = Office()
    office.approved()
    assert office.desk.remove_destination(1, "liam") is None
    office.release()
    office.step()
    withdrawal = office.desk.withdrawals[1]
    assert withdrawal.state is State.SIGNING
    assert withdrawal.waiting
    assert (withdrawal.waiting.by, withdrawal.waiting.rule) == ("policy", "book")
    assert withdrawal.draft.release is None


def test_an_approval_of_another_destination_is_refused_and_so_is_ones_own_branch() -> None:
    office = Office()
    wallet = office.world.wallets()["cold"]
    good = office.log.entries()[0]
    assert good.kind == "destination-added"
    refusal = office.desk.add_destination(0, 7, wallet.address_of(b"x"))
    assert refusal
    assert refusal.rule == "destination-number"
    refusal = office.desk.add_destination(3, 7, wallet.address_of(wallet.script(CHANGE, 0)))
    assert refusal
    assert refusal.rule == "destination-own"
    refusal = office.desk.add_destination(3, 7, "mistyped")
    assert refusal
    assert refusal.rule == "destination-address"
    keep = office.staff.members["liam"].pen
    office.staff.members["liam"].pen = office.staff.members["fay"].pen
    refusal = office.add_destination(3, 7, b"x")
    assert refusal
    assert refusal.rule == "destination-approval"
    office.staff.members["liam"].pen = keep
    assert office.desk.remove_destination(1, "nobody").rule == "person"
    assert office.desk.remove_destination(9, "liam").rule == "destination-number"


def test_a_client_who_has_just_changed_a_password_waits() -> None:
    office = Office(setup(policy_text(settle='kind = "cool-down"\nhours = { password = 2 }')))
    office.desk.note_change(7, "password")
    assert office.request(1).state is State.DENIED
    office.now_ns += 2 * HOUR_NS
    office.desk.advance()
    assert office.request(2).state is State.JUDGED


def test_every_secret_of_the_office_is_somebodys_own() -> None:
    assert len({secret(name) for name in HOLDERS}) == 4


def test_when_the_chain_takes_back_the_block_of_a_draw_the_draw_is_done_again() -> None:
    office = Office()
    office.approved()
    first = office.desk.withdrawals[1].transcript
    office.chain.reorganise(office.chain.tip().height - first.opening.round + 1)
    office.desk.advance()
    for task in office.desk.tasks():
        office.desk.answer(office.staff.members[task.person].answer(task))
    office.release()
    office.until(State.CONFIRMED)
    again = office.desk.withdrawals[1].transcript
    assert (again.opening.attempt, again.refused) == (1, ())
    assert again.opening.round > first.opening.round
    assert office.to_receiver() == 100_000 - 240
