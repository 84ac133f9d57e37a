"""What the journals on a disk share: the port's methods over a group commit and a directory of snapshots."""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from perpkit.errors import JournalError
from perpkit.ports.journal import Cut, Frame, FrameKind, JournalContext
from perpkit.runtime.journal.group import GroupCommit, Store, check_snapshot
from perpkit.runtime.journal.header import config_digest_of
from perpkit.runtime.journal.snapshot import SnapshotFiles


def manifest_payload(context: JournalContext) -> bytes:
    """Return the composition manifest as canonical JSON."""
    return json.dumps(list(context.manifest), sort_keys=True, separators=(",", ":")).encode()


def check_manifest(context: JournalContext, last: bytes) -> None:
    """Refuse to write on after other parts wrote, unless that is accepted; `last` is the payload of the last EPOCH.

    Raises:
        JournalError: which parts differ, and in what.
    """
    own = manifest_payload(context)
    if not last or last == own or context.accept_manifest:
        return
    changes = _changes(json.loads(last), json.loads(own))
    if changes:
        named = "; ".join(f"{', '.join(parts)}: {change}" for change, parts in changes.items())
        raise JournalError(
            f"{context.directory}: written by other parts than are to write now: {named}. Replay it with the parts of "
            "now to see that they lead to the states it notes, then open it with accept_manifest, once"
        )


def _changes(before: list[Mapping[str, Any]], now: list[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what changed, and for which parts; nothing when only the order did."""
    gone, new = ([each for each in some if each not in other] for some, other in ((before, now), (now, before)))
    changes: dict[str, list[str]] = {}
    for old in gone:
        same = next((each for each in new if _place(each) == _place(old)), None)
        if same is None:
            change = f"was {old.get('provider')!r}, is gone"
        else:
            new.remove(same)
            fields = [field for field in {**old, **same} if old.get(field) != same.get(field)]
            change = ", ".join(f"{field} was {old.get(field)!r}, is {same.get(field)!r}" for field in fields)
        changes.setdefault(change, []).append(_place(old))
    for each in new:
        changes.setdefault(f"was not there, is {each.get('provider')!r}", []).append(_place(each))
    return changes


def _place(entry: Mapping[str, Any]) -> str:
    market = entry.get("market")
    return f"{entry.get('port')} of {market}" if market else f"{entry.get('port')}"


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
        writer = self._writer()
        writer.check()
        check_snapshot(seq, writer.durable_seq)
        self._snapshots.put(seq, state)

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """See `Journal.snapshots`."""
        return self._snapshots.read()

    def close(self) -> None:
        """See `Journal.close`."""
        if self._group is not None:
            self._group.close()
