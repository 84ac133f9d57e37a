"""Who is asked what: the tasks that follow from a desk's state."""

from collections.abc import Iterator, Mapping

from perpkit.custody.desk.core import Core
from perpkit.custody.desk.state import Halt
from perpkit.custody.desk.tasks import Task, TaskKind
from perpkit.custody.desk.withdrawal import State, Withdrawal
from perpkit.custody.digest import change_digest, digest, request_digest
from perpkit.custody.policy.rule import suffice
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Approval


def tasks_of(core: Core, subject: int | None = None) -> Iterator[Task]:
    """Yield everything that somebody is asked to do, or what concerns one subject.

    While the desk is halted, only what may end that, or change the policy.
    """
    state = core.state
    for halt in (state.halt, *state.switched_off.values()):
        if halt:
            yield from _resume_tasks(core, halt)
    if state.proposal and not state.proposal.agreed:
        yield from _change_tasks(core)
    if not state.halt:
        for number, withdrawal in state.open.items():
            if subject in (None, number):
                yield from _withdrawal_tasks(core, withdrawal)


def decided(core: Core, subject: int) -> Mapping[PersonName, Approval]:
    """Return who has agreed to what an entry put to the people."""
    return core.state.decisions.get(subject, {})


def resumable(core: Core, subject: int) -> bool:
    """Say whether enough people have agreed that what a halt or a stop holds may go on."""
    people = {name: core.people[name] for name in decided(core, subject) if name in core.people}
    return suffice(people, core.terms.resume_quorum)


def approved(core: Core, withdrawal: Withdrawal) -> bool:
    """Say whether everybody has agreed whom the policy asks for."""
    people = {each.person: core.people[each.person] for each in withdrawal.approvals if each.person in core.people}
    return suffice(people, core.policy.quorum(withdrawal.request))


def _withdrawal_tasks(core: Core, withdrawal: Withdrawal) -> Iterator[Task]:
    state = withdrawal.state
    if state is State.REQUESTED:
        yield from _take_on_tasks(core, withdrawal)
    elif state is State.JUDGED:
        yield from _draw_tasks(core, withdrawal)
    elif state is State.HALTED:
        yield from _retry_tasks(core, withdrawal)
    elif state in {State.NOMINATED, State.APPROVED, State.SIGNING}:
        draft = withdrawal.draft
        if state is State.SIGNING and draft and draft.release:
            yield from _sign_tasks(core, withdrawal)
        elif not approved(core, withdrawal):
            yield from _approve_tasks(core, withdrawal)


def _take_on_tasks(core: Core, withdrawal: Withdrawal) -> Iterator[Task]:
    wanted = withdrawal.decision.step_up if withdrawal.decision else ()
    if wanted and withdrawal.stepped_up is None:
        for person in core.people.values():
            if person.roles.issuperset(wanted) and _free(withdrawal, person.name):
                yield _request_task(core, withdrawal, TaskKind.TAKE_ON, person.name)


def _draw_tasks(core: Core, withdrawal: Withdrawal) -> Iterator[Task]:
    opening = withdrawal.opening
    if opening is None:
        return
    committed = withdrawal.commitments.keys() == set(opening.eligible)
    kind, done = (TaskKind.REVEAL, withdrawal.reveals) if committed else (TaskKind.COMMIT, withdrawal.commitments)
    for person in opening.eligible:
        if person not in done and person not in withdrawal.declined:
            yield Task(
                kind=kind,
                asset=core.asset,
                person=person,
                subject=withdrawal.request.withdrawal_id,
                digest=digest("opening", opening),
                request=withdrawal.request,
                opening=opening,
            )


def _approve_tasks(core: Core, withdrawal: Withdrawal) -> Iterator[Task]:
    drawn = withdrawal.transcript.nominated if withdrawal.transcript else ()
    roles = core.policy.quorum(withdrawal.request).keys()
    for person in core.people.values():
        if not person.roles.isdisjoint(roles) and person.name not in drawn and _free(withdrawal, person.name):
            yield _request_task(core, withdrawal, TaskKind.APPROVE, person.name)


def _sign_tasks(core: Core, withdrawal: Withdrawal) -> Iterator[Task]:
    draft = withdrawal.draft
    assert draft is not None
    assert draft.release is not None
    wallet = core.wallets[draft.unsigned.wallet]
    for place in core.keys:
        if (
            place.wallet == wallet.name
            and place.key in wallet.keys
            and place.key not in draft.partials
            and place.person in draft.release.nominated
            and place.person not in withdrawal.declined
        ):
            yield Task(
                kind=TaskKind.SIGN,
                asset=core.asset,
                person=place.person,
                subject=withdrawal.request.withdrawal_id,
                digest=draft.unsigned.txid,
                request=withdrawal.request,
                case=withdrawal.case(draft),
                release=draft.release,
                key=place.key,
            )


def _retry_tasks(core: Core, withdrawal: Withdrawal) -> Iterator[Task]:
    asked = {"withdrawal_id": withdrawal.request.withdrawal_id, "stopped": withdrawal.stopped}
    for person in _deciders(core, withdrawal.stopped):
        yield Task(
            kind=TaskKind.RETRY,
            asset=core.asset,
            person=person,
            subject=withdrawal.request.withdrawal_id,
            digest=digest("retry", asked),
            request=withdrawal.request,
            text=withdrawal.reason,
        )


def _resume_tasks(core: Core, halt: Halt) -> Iterator[Task]:
    for person in _deciders(core, halt.number):
        yield Task(
            kind=TaskKind.RESUME,
            asset=core.asset,
            person=person,
            subject=halt.number,
            digest=halt.digest,
            text=halt.reason,
        )


def _change_tasks(core: Core) -> Iterator[Task]:
    proposal = core.state.proposal
    assert proposal is not None
    for person in core.people:
        if person != proposal.change.proposer and person not in decided(core, proposal.number):
            yield Task(
                kind=TaskKind.CHANGE,
                asset=core.asset,
                person=person,
                subject=proposal.number,
                digest=change_digest(proposal.change),
                text=proposal.change.text,
            )


def _deciders(core: Core, subject: int) -> Iterator[PersonName]:
    wanted, done = core.terms.resume_quorum.keys(), decided(core, subject)
    return (
        person.name
        for person in core.people.values()
        if not person.roles.isdisjoint(wanted) and person.name not in done
    )


def _free(withdrawal: Withdrawal, person: PersonName) -> bool:
    """Whether a person has no part in a withdrawal yet, and has not said that they want none."""
    taken = withdrawal.agreed | {withdrawal.request.initiator}
    return person not in taken and person not in withdrawal.unwilling


def _request_task(core: Core, withdrawal: Withdrawal, kind: TaskKind, person: PersonName) -> Task:
    request = withdrawal.request
    return Task(
        kind=kind,
        asset=core.asset,
        person=person,
        subject=request.withdrawal_id,
        digest=request_digest(request),
        request=request,
    )
