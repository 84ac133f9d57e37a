"""What the journals on a disk share: the port's methods over a group commit and a directory of snapshots."""

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from perpkit.errors import JournalError
from perpkit.ports.journal import Cut, Frame, FrameKind, JournalContext
from perpkit.runtime.journal.group import GroupCommit, Store, check_snapshot
from perpkit.runtime.journal.header import config_digest_of
from perpkit.runtime.journal.snapshot import SnapshotFiles


def manifest_payload(context: JournalContext) -> bytes:
    """Return the composition manifest as canonical JSON."""
    return json.dumps(list(context.manifest), sort_keys=True, separators=(",", ":")).encode()


class DurableJournal:
    """A journal whose frames go to a store; without one it is a reader."""

    def __init__(self, context: JournalContext) -> None:
        self._directory = Path(context.directory)
        self._config_digest = config_digest_of(context)
        self._snapshots = SnapshotFiles(self._directory, self._config_digest)
        self._group: GroupCommit | None = None
        self._found_seq = 0
        self._cuts: Sequence[Cut] = ()

    def _begin(self, store: Store, window_bytes: int, window_appends: int) -> None:
        """Start to take commands."""
        self._group = GroupCommit(store, store.durable_seq, window_bytes=window_bytes, window_appends=window_appends)

    @property
    def last_seq(self) -> int:
        """See `Journal.last_seq`."""
        return self._group.last_seq if self._group else self._found_seq

    @property
    def durable_seq(self) -> int:
        """See `Journal.durable_seq`; for a reader, the last command that was there when it opened."""
        return self._group.durable_seq if self._group else self._found_seq

    @property
    def cuts(self) -> Sequence[Cut]:
        """What opening removed; for a reader, what it would have removed."""
        return self._cuts

    def _writer(self) -> GroupCommit:
        if self._group is None:
            raise JournalError(f"{self._directory}: opened to be read only")
        return self._group

    def append(self, records: bytes, count: int, expected_seq: int, /) -> None:
        """See `Journal.append`; at most `PAYLOAD_BYTES_MAX` bytes at a time."""
        self._writer().append(records, count, expected_seq)

    def note(self, kind: FrameKind, payload: bytes, /) -> None:
        """See `Journal.note`."""
        self._writer().note(kind, payload)

    def wait(self, seq: int, /) -> None:
        """See `Journal.wait`."""
        self._writer().wait(seq)

    def halt(self, reason: str, /) -> None:
        """See `Journal.halt`."""
        self._writer().halt(reason)

    @abstractmethod
    def read(self, from_seq: int, /) -> Iterator[Frame]:
        """See `Journal.read`; every frame is checked again."""
        ...

    def put_snapshot(self, seq: int, state: bytes, /) -> None:
        """See `Journal.put_snapshot`."""
        check_snapshot(seq, self._writer().durable_seq)
        self._snapshots.put(seq, state)

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """See `Journal.snapshots`."""
        return self._snapshots.read()

    def close(self) -> None:
        """See `Journal.close`."""
        if self._group is not None:
            self._group.close()
