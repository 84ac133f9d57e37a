"""People who answer by themselves: for simulation, tests and demonstrations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.tasks import Answer, Task, TaskKind, signed_answer
from perpkit.custody.digest import digest
from perpkit.ports.custody.nomination import Nominator, Opening
from perpkit.ports.custody.people import KeyName, Pen, PersonName
from perpkit.ports.custody.signing import Refusal, Signer


class Member(Protocol):
    """Somebody who is asked. A test puts its own in place of one to have somebody misbehave."""

    def answer(self, task: Task) -> Answer | None:
        """Answer a task, or leave it."""
        ...


class WillingMember:
    """Does what is asked: commits, reveals, agrees, and signs what their own signers find right.

    Args:
        secret: what the secrets of all draws are derived from; nobody else may know it.
        agrees_to: the kinds of decision that this person agrees to; others are left alone.
    """

    def __init__(
        self,
        name: PersonName,
        *,
        pen: Pen,
        nominator: Nominator,
        secret: bytes,
        signers: Iterable[tuple[tuple[str, KeyName], Signer]] = (),
        agrees_to: frozenset[TaskKind] = frozenset(TaskKind),
    ) -> None:
        self.name = name
        self.pen = pen
        self.signers: dict[tuple[str, KeyName], Signer] = dict(signers)
        self._nominator = nominator
        self._secret = secret
        self._agrees_to = agrees_to

    def answer(self, task: Task) -> Answer | None:
        """Answer a task."""
        if task.kind not in self._agrees_to:
            return None
        if task.kind is TaskKind.SIGN:
            return self._sign(task)
        return self.say(task, self._payload(task))

    def say(self, task: Task, payload: bytes) -> Answer:
        """Return an answer that agrees."""
        return signed_answer(Answer(task=task.id, subject=task.subject, person=self.name, payload=payload), self.pen)

    def decline(self, task: Task, reason: str) -> Answer:
        """Return an answer that does not."""
        return signed_answer(
            Answer(task=task.id, subject=task.subject, person=self.name, agrees=False, reason=reason), self.pen
        )

    def draw_secret(self, opening: Opening) -> bytes:
        """Return this person's secret for a draw: the same each time it is asked for."""
        return digest("draw-secret", [self._secret, opening])

    def _payload(self, task: Task) -> bytes:
        if task.opening is None:
            return self.pen.sign(task.digest)
        secret = self.draw_secret(task.opening)
        if task.kind is TaskKind.REVEAL:
            return secret
        commitment = self._nominator.commitment(task.opening, self.name, secret)
        return commitment + self.pen.sign(commitment)

    def _sign(self, task: Task) -> Answer | None:
        assert task.case is not None
        assert task.release is not None
        signer = self.signers.get((task.case.unsigned.wallet, task.key))
        if signer is None:
            return None
        partial = signer.sign(task.case, task.release)
        if isinstance(partial, Refusal):
            return self.decline(task, partial.reason)
        return self.say(task, partial.payload)


class Staff:
    """Everybody who works with a desk. Each member has what is theirs alone, so that one can be made to misbehave."""

    def __init__(self, members: Mapping[PersonName, Member]) -> None:
        self.members: dict[PersonName, Member] = dict(members)

    def attend(self, desk: Desk) -> Sequence[Refusal]:
        """Let everybody answer all that they are asked, until nobody has more to say; return what was refused."""
        refusals: list[Refusal] = []
        seen: set[bytes] = set()
        while (task := next((each for each in desk.tasks() if each.id not in seen), None)) is not None:
            seen.add(task.id)
            member = self.members.get(task.person)
            answer = member.answer(task) if member else None
            refusal = desk.answer(answer) if answer else None
            if refusal:
                refusals.append(refusal)
        return refusals
