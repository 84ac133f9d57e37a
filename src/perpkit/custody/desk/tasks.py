"""What a desk asks of people, and how they answer. The desk calls nobody: whoever is asked fetches and answers."""

from enum import Enum

import attrs

from perpkit.custody.digest import digest
from perpkit.ports.custody.nomination import Opening
from perpkit.ports.custody.people import KeyName, Pen, PersonName
from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.signing import Case, Release


class TaskKind(Enum):
    """What somebody is asked to do, and what the payload of the answer is."""

    TAKE_ON = "take-on"
    """Decide what the policy would not decide by machine: a signature of the task's digest."""
    COMMIT = "commit"
    """Commit to a secret for the draw: the 32 bytes of `Nominator.commitment`, then one's signature of them."""
    REVEAL = "reveal"
    """Reveal that secret: its 32 bytes."""
    APPROVE = "approve"
    """Agree to a withdrawal: a signature of the task's digest."""
    SIGN = "sign"
    """Sign the draft with a key of the wallet: the payload of the partial."""
    RETRY = "retry"
    """Let a stopped withdrawal begin anew: a signature of the task's digest."""
    RESUME = "resume"
    """Let the desk go on after a halt: a signature of the task's digest."""
    CHANGE = "change"
    """Agree to another policy: a signature of the task's digest."""


@attrs.frozen(kw_only=True)
class Task:
    """Something that one person is asked to do, with all that an offline machine needs to know.

    `subject` is a withdrawal's id, or the number of the log's entry that is to be decided on; `digest` what is signed
    to agree; `text` says in words what it is about, where no request does.
    """

    kind: TaskKind
    asset: str
    person: PersonName
    subject: int
    digest: bytes
    request: Request | None = None
    opening: Opening | None = None
    case: Case | None = None
    release: Release | None = None
    key: KeyName = ""
    text: str = ""

    @property
    def id(self) -> bytes:
        """What an answer names the task by: the digest of all of it."""
        return digest("task", self)


@attrs.frozen(kw_only=True)
class Answer:
    """What a person says to a task, signed as themselves.

    When they do not agree, `reason` says why. The signature of a partial speaks for itself, so an offline machine that
    signs a transaction needs nobody's pen.
    """

    task: bytes
    subject: int
    person: PersonName
    agrees: bool = True
    payload: bytes = b""
    reason: str = ""
    signature: bytes = b""


def answer_digest(answer: Answer) -> bytes:
    """Return what a person signs to answer: all of it but the signature."""
    return digest("answer", attrs.evolve(answer, signature=b""))


def signed_answer(answer: Answer, pen: Pen) -> Answer:
    """Return an answer with a person's signature."""
    return attrs.evolve(answer, signature=pen.sign(answer_digest(answer)))
