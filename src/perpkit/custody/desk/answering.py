"""What people answered: checked, and noted as what it is."""

from perpkit.custody.desk import entries
from perpkit.custody.desk.asking import tasks_of
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.entries import Step
from perpkit.custody.desk.nominating import commitments_closed
from perpkit.custody.desk.tasks import Answer, Task, TaskKind, answer_digest
from perpkit.ports.custody.policy import Approval
from perpkit.ports.custody.signing import Refusal
from perpkit.ports.custody.wallet import Partial

DECISIONS = {TaskKind.RETRY, TaskKind.RESUME, TaskKind.CHANGE}


def take(core: Core, answer: Answer) -> Refusal | None:
    """Note an answer, or why it is none. A wrong one changes nothing.

    Raises:
        ChainError: whether it came in time cannot be known; answer again.
    """
    step = _read(core, answer)
    if isinstance(step, Refusal):
        core.note(entries.AnswerRefused(person=answer.person, task=answer.task, refusal=step))
        return step
    core.note(step)
    return None


def _read(core: Core, answer: Answer) -> Step | Refusal:
    task = next(
        (each for each in tasks_of(core, answer.subject) if each.person == answer.person and each.id == answer.task),
        None,
    )
    if task is None:
        return _refuse("task", f"{answer.person} is not asked that, or not any more")
    by_partial = task.kind is TaskKind.SIGN and answer.agrees
    public = core.people[answer.person].public
    if not by_partial and not core.scheme.verify(public, answer_digest(answer), answer.signature):
        return _refuse("answer-signature", f"the answer is not signed by {answer.person}")
    if answer.agrees:
        return _agreed(core, task, answer)
    if task.kind in DECISIONS:
        return _refuse("answer-no", "whoever does not agree to this lets it be")
    return entries.Declined(
        withdrawal_id=task.subject, person=answer.person, reason=answer.reason, signature=answer.signature
    )


def _agreed(core: Core, task: Task, answer: Answer) -> Step | Refusal:
    match task.kind:
        case TaskKind.COMMIT:
            return _commit(core, task, answer)
        case TaskKind.REVEAL:
            return _reveal(core, task, answer)
        case TaskKind.SIGN:
            return _sign(core, task, answer)
    if not core.scheme.verify(core.people[answer.person].public, task.digest, answer.payload):
        return _refuse("approval-signature", f"{answer.person} has not signed what is to be agreed to")
    approval = Approval(person=answer.person, digest=task.digest, signature=answer.payload, at_ns=core.clock())
    match task.kind:
        case TaskKind.TAKE_ON:
            return entries.TakenOn(withdrawal_id=task.subject, approval=approval)
        case TaskKind.APPROVE:
            return entries.ApprovalGiven(withdrawal_id=task.subject, approval=approval)
        case TaskKind.RETRY:
            return entries.Decided(subject=core.state.withdrawals[task.subject].stopped, approval=approval)
        case _:
            return entries.Decided(subject=task.subject, approval=approval)


def _commit(core: Core, task: Task, answer: Answer) -> Step | Refusal:
    commitment, signature = answer.payload[:32], answer.payload[32:]
    if not core.scheme.verify(core.people[answer.person].public, commitment, signature):
        return _refuse("commitment-signature", f"{answer.person} has not signed the commitment")
    if commitments_closed(core, core.state.withdrawals[task.subject]):
        return _refuse("commitment-late", "the beacon's round may be known to somebody")
    return entries.Committed(
        withdrawal_id=task.subject, person=answer.person, commitment=commitment, signature=signature
    )


def _reveal(core: Core, task: Task, answer: Answer) -> Step | Refusal:
    assert task.opening is not None
    commitment = core.state.withdrawals[task.subject].commitments[answer.person]
    if core.nominator.commitment(task.opening, answer.person, answer.payload) != commitment:
        return _refuse("reveal", f"{answer.person} has revealed something else than what they committed to")
    return entries.Revealed(
        withdrawal_id=task.subject, person=answer.person, secret=answer.payload, signature=answer.signature
    )


def _sign(core: Core, task: Task, answer: Answer) -> Step | Refusal:
    assert task.case is not None
    unsigned = task.case.unsigned
    partial = Partial(key=task.key, txid=unsigned.txid, payload=answer.payload)
    if not core.wallets[unsigned.wallet].is_partial(unsigned, partial):
        return _refuse("partial-bad", f"it is no good signature of {task.key} on this draft")
    return entries.PartAdded(withdrawal_id=task.subject, partial=partial)


def _refuse(rule: str, reason: str) -> Refusal:
    return Refusal(by="desk", rule=rule, reason=reason)
