"""The audit log: everything that custody did, in order, each entry chained to the one before by its hash."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from perpkit.custody.digest import canonical, canonical_bytes, digest
from perpkit.errors import CustodyError
from perpkit.units import Nanos

FIRST_PREVIOUS = bytes(32)
"""What the first entry names as the one before it."""

_FIELDS = ("number", "kind", "at_ns", "previous", "body")


@attrs.frozen(kw_only=True)
class Entry:
    """One line of the log. `digest` is over all the rest, and `previous` is the digest of the entry before."""

    number: int
    kind: str
    at_ns: Nanos
    previous: bytes
    body: Mapping[str, Any]
    digest: bytes

    def line(self) -> str:
        """Return the entry as a line of JSON: what is stored, exported and verified."""
        return canonical_bytes(self).decode()


def verify_log(entries: Iterable[object]) -> int | None:
    """Return the number of the first entry that is not as it was written, or None when all are.

    Needs nothing but the entries themselves. What was cut off at the end shows only to whoever noted the last digest.

    Args:
        entries: JSON objects, as they come out of the lines that `AuditLog.export` gives.

    Example:
        >>> log = MemoryLog()
        >>> _ = log.append("noted", 7, {"what": "a"}), log.append("noted", 8, {"what": "b"})
        >>> verify_log(map(json.loads, log.export()))
        >>> verify_log(json.loads(line.replace('"a"', '"c"')) for line in log.export())
        1
    """
    previous = FIRST_PREVIOUS
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, Mapping) or set(entry) != {*_FIELDS, "digest"}:
            return number
        try:
            found = digest("log", {field: entry[field] for field in _FIELDS})
        except CustodyError:
            return number
        if (entry["number"], entry["previous"], entry["digest"]) != (number, previous.hex(), found.hex()):
            return number
        previous = found
    return None


class AuditLog:
    """A log that only grows. Several desks may share one: each entry says in its body whose it is."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._appending = threading.Lock()

    def append(self, kind: str, at_ns: Nanos, body: Mapping[str, Any]) -> Entry:
        """Add an entry, durably.

        Raises:
            CustodyError: it could not be kept; nothing that depends on it may be done.
        """
        with self._appending:
            previous = self._entries[-1].digest if self._entries else FIRST_PREVIOUS
            values = (len(self._entries) + 1, kind, at_ns, previous, canonical(body))
            fields = dict(zip(_FIELDS, values, strict=True))
            entry = Entry(**fields, digest=digest("log", fields))
            self._keep(entry)
            self._entries.append(entry)
            return entry

    def entries(self, after: int = 0) -> Sequence[Entry]:
        """Return the entries that follow a number."""
        return self._entries[after:]

    def export(self) -> Iterator[str]:
        """Yield every entry as a line of JSON."""
        return (entry.line() for entry in self.entries())

    @property
    def head(self) -> bytes:
        """The digest of the last entry: whoever notes it elsewhere can tell if the log is cut."""
        return self._entries[-1].digest if self._entries else FIRST_PREVIOUS

    def _keep(self, entry: Entry) -> None:
        """Make an entry durable before it counts."""


class MemoryLog(AuditLog):
    """A log that is gone with the process: for simulation and tests."""


class SqliteLog(AuditLog):
    """A log in an SQLite file, each entry synced to the disk before anything is done about it.

    Raises:
        CustodyError: the file is no log, is damaged, or was edited; the message names the first bad entry.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        import sqlite3

        self._path = Path(path)
        try:
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, entry TEXT NOT NULL)")
            lines = [line for (line,) in self._database.execute("SELECT entry FROM log ORDER BY number")]
        except sqlite3.Error as error:
            raise CustodyError(f"{path}: expected an audit log in SQLite: {error}") from error
        loaded = [_object(line) for line in lines]
        bad = verify_log(loaded)
        if bad is not None:
            raise CustodyError(
                f"{path}: entry {bad} is not as it was written: the log is damaged or was edited. Nothing is sent on "
                "its word; restore it from a copy"
            )
        self._entries = [_entry(each) for each in loaded]

    def _keep(self, entry: Entry) -> None:
        import sqlite3

        try:
            self._database.execute("INSERT INTO log VALUES (?, ?)", (entry.number, entry.line()))
        except sqlite3.Error as error:
            raise CustodyError(
                f"{self._path}: entry {entry.number} could not be kept, or another process wrote it: {error}"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _object(line: object) -> Any:
    try:
        return json.loads(line) if isinstance(line, str) else None
    except ValueError:
        return None


def _entry(loaded: Mapping[str, Any]) -> Entry:
    hashes = {field: bytes.fromhex(loaded[field]) for field in ("previous", "digest")}
    return Entry(**{**loaded, **hashes})
