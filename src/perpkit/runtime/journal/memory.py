"""Journal `memory`: for tests and simulations. Nothing is durable; reopening the same directory name goes on."""

from collections.abc import Iterator, Sequence

import attrs

from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import Cut, Frame, FrameKind, JournalContext
from perpkit.runtime.journal.base import check_manifest, manifest_payload
from perpkit.runtime.journal.group import check_batch, check_note, check_snapshot, halt_payload, not_next
from perpkit.runtime.journal.header import config_digest_of
from perpkit.runtime.journal.snapshot import KEPT


@attrs.frozen(kw_only=True)
class MemoryOptions:
    """There is nothing to choose."""


@attrs.define
class _Shelf:
    """What one directory name stands for, as long as the process lives."""

    config_digest: bytes
    epoch: int = 0
    last_seq: int = 0
    frames: list[Frame] = attrs.field(factory=list[Frame])
    snapshots: dict[int, bytes] = attrs.field(factory=dict[int, bytes])


_SHELVES: dict[str, _Shelf] = {}


class MemoryJournal:
    """A frame for every append, at once. Opening a name that is open takes it over, as after a crash.

    Without a directory name every journal is one of its own.

    Raises:
        JournalError: the name is used under another configuration or manifest, or unknown to a reader.
    """

    def __init__(self, context: JournalContext, _options: MemoryOptions) -> None:
        digest = config_digest_of(context)
        shelf = _SHELVES.get(context.directory) if context.directory else _Shelf(digest)
        if shelf is None and context.read_only:
            raise JournalError(f"{context.directory}: no journal here")
        if shelf is None:
            shelf = _SHELVES[context.directory] = _Shelf(digest)
        if digest and digest != shelf.config_digest:
            raise JournalError(
                f"{context.directory}: written under configuration {shelf.config_digest.hex()}, "
                f"opened under {digest.hex()}"
            )
        self._shelf = shelf
        self._refusal = "opened to be read only" if context.read_only else ""
        self._epoch = shelf.epoch
        if not context.read_only:
            signed_in = [frame.payload for frame in shelf.frames if frame.kind is FrameKind.EPOCH]
            check_manifest(context, signed_in[-1] if signed_in else b"")
            self._epoch = shelf.epoch = shelf.epoch + 1
            self._put(FrameKind.EPOCH, manifest_payload(context))

    @staticmethod
    def forget(directory: str) -> None:
        """Let go of what a name stands for."""
        _SHELVES.pop(directory, None)

    @property
    def last_seq(self) -> int:
        """See `Journal.last_seq`."""
        return self._shelf.last_seq

    @property
    def durable_seq(self) -> int:
        """See `Journal.durable_seq`: here everything is, at once."""
        return self._shelf.last_seq

    @property
    def cuts(self) -> Sequence[Cut]:
        """Nothing: memory has no unfinished writes."""
        return ()

    def _check(self) -> None:
        if self._refusal:
            raise JournalError(self._refusal)
        if self._epoch != self._shelf.epoch:
            raise FencedError(f"another writer took over with epoch {self._shelf.epoch}, this one has {self._epoch}")

    def _put(self, kind: FrameKind, payload: bytes, count: int = 0) -> None:
        last_seq = self._shelf.last_seq
        self._shelf.frames.append(
            Frame(
                kind=kind,
                first_seq=last_seq + (count > 0),
                count=count,
                epoch=self._epoch,
                durable_seq=last_seq,
                payload=payload,
            )
        )
        self._shelf.last_seq += count

    def append(self, records: bytes, count: int, expected_seq: int, /) -> None:
        """See `Journal.append`."""
        check_batch(records, count)
        self._check()
        if expected_seq != self.last_seq + 1:
            raise not_next(expected_seq, self.last_seq)
        self._put(FrameKind.COMMANDS, bytes(records), count)

    def note(self, kind: FrameKind, payload: bytes, /) -> None:
        """See `Journal.note`."""
        check_note(kind)
        self._check()
        self._put(kind, payload)

    def wait(self, seq: int, /) -> None:
        """See `Journal.wait`."""
        if seq > self.last_seq:
            raise JournalError(f"wait: sequence {seq} was never appended, the last one is {self.last_seq}")

    def halt(self, reason: str, /) -> None:
        """See `Journal.halt`."""
        if self._refusal.startswith("the journal was halted"):
            return
        self._check()
        self._put(FrameKind.HALT, halt_payload(reason))
        self._refusal = f"the journal was halted: {reason}"

    def read(self, from_seq: int, /) -> Iterator[Frame]:
        """See `Journal.read`."""
        return (frame for frame in tuple(self._shelf.frames) if frame.last_seq >= from_seq)

    def put_snapshot(self, seq: int, state: bytes, /) -> None:
        """See `Journal.put_snapshot`."""
        check_snapshot(seq, self.durable_seq)
        self._check()
        kept = self._shelf.snapshots
        kept[seq] = state
        for old in sorted(kept, reverse=True)[KEPT:]:
            del kept[old]

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """See `Journal.snapshots`."""
        return iter(sorted(self._shelf.snapshots.items(), reverse=True))

    def close(self) -> None:
        """See `Journal.close`."""
        if self._refusal != "the journal is closed":
            if self._epoch == self._shelf.epoch and self._refusal != "opened to be read only":
                self._put(FrameKind.CLOSE, b"")
            self._refusal = "the journal is closed"
