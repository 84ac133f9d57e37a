"""What the rules of journals share: batches of commands, what frames say, and directories that go with the rule."""

import contextlib
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from hypothesis import strategies as st

from perpkit.errors import JournalError
from perpkit.model.command import CancelOrder
from perpkit.model.records import RECORD, pack
from perpkit.ports.journal import Frame, FrameKind, Journal, JournalContext
from perpkit.testing.conformance.base import OutsideConformance

DIGEST = FrameKind.DIGEST
Told: TypeAlias = list[tuple[str, int, bytes]]
STEPS = st.one_of(
    st.tuples(st.sampled_from(("put", "put", "snapshot")), st.integers(1, 5)),
    st.tuples(st.sampled_from(("note", "wait", "reopen")), st.just(0)),
)


def batch(first_seq: int, count: int) -> bytes:
    """Return commands as records, each with its sequence in it."""
    return b"".join(pack(CancelOrder(account=1, market=1, order_id=first_seq + n)) for n in range(count))


def put(journal: Journal, count: int) -> int:
    """Append commands; return the sequence of the last."""
    journal.append(batch(journal.last_seq + 1, count), count, journal.last_seq + 1)
    return journal.last_seq


def told(frames: Iterable[Frame]) -> Told:
    """Return what frames say, commands one by one: how many share a frame is the journal's own affair."""
    found: Told = []
    for frame in frames:
        if frame.kind is not FrameKind.COMMANDS:
            found.append((frame.kind.name, frame.first_seq, frame.payload))
            continue
        assert len(frame.payload) == frame.count * RECORD.size
        for n in range(frame.count):
            found.append(("COMMAND", frame.first_seq + n, frame.payload[n * RECORD.size :][: RECORD.size]))
    return found


def commands(first_seq: int, last_seq: int) -> Told:
    """Return what is told of commands that `put` appended."""
    return [("COMMAND", seq, batch(seq, 1)) for seq in range(first_seq, last_seq + 1)]


def kinds(frames: Iterable[Frame]) -> list[tuple[str, int]]:
    """Return what frames are, commands one by one, and the command that each is or follows."""
    return [(kind, seq) for kind, seq, _ in told(frames)]


def step(journal: Journal, what: str, number: int) -> None:
    """Do one of `STEPS`."""
    if what == "put":
        put(journal, number)
    elif what == "note":
        journal.note(DIGEST, bytes(32))
    elif what == "wait":
        journal.wait(journal.last_seq)
    elif what == "snapshot" and journal.last_seq:
        journal.wait(journal.last_seq)
        seq = max(1, journal.last_seq - number)
        journal.put_snapshot(seq, b"state %d" % seq)


def close(journal: Journal) -> None:
    """Close a journal, whatever is wrong with it."""
    with contextlib.suppress(JournalError):
        journal.close()


class JournalBase(OutsideConformance[Journal, JournalContext]):
    """Opens journals for the rules, and closes them again."""

    def context(self) -> JournalContext:
        """Return a directory of its own, which is gone after the rule."""
        directory = Path(self._made.enter_context(tempfile.TemporaryDirectory()), "journal")
        return JournalContext(
            directory=str(directory), config_digest="c0" * 32, manifest=[{"port": "book", "provider": "price-time"}]
        )

    def opened(self, context: JournalContext, **changes: Any) -> Journal:
        """Open a journal, which is closed after the rule."""
        journal = self.make(attrs.evolve(context, **changes))
        self._made.callback(close, journal)
        return journal

    def made(self) -> Journal:
        """Open a journal of its own."""
        return self.opened(self.context())

    def clean_up(self) -> None:
        """Close what is open, and remove the directories."""
        self._made.close()

    @cached_property
    def _made(self) -> contextlib.ExitStack:
        return contextlib.ExitStack()

    def exercise(self, part: Journal) -> list[object]:
        """Append, note, wait, keep a state, read and close."""
        put(part, 3)
        part.note(DIGEST, bytes(32))
        part.wait(put(part, 2))
        part.put_snapshot(5, b"state")
        seen = [part.last_seq, part.durable_seq, list(part.cuts), told(part.read(0)), kinds(part.read(4))]
        kept = list(part.snapshots())
        part.close()
        return [*seen, kept]
