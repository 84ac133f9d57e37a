"""What a gate, a signer or a software HSM must not forget: a map of text that survives the process."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import cattrs

from perpkit.custody.digest import canonical_bytes
from perpkit.errors import CustodyError

T = TypeVar("T")

_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_structure_hook(bytes, lambda text, _: bytes.fromhex(text))


class GateMemory(Protocol):
    """Text by key, for one process at a time.

    Raises:
        CustodyError: it cannot be read or written, or another process has it.
    """

    @abstractmethod
    def load(self) -> Mapping[str, str]:
        """Return everything, in order of keys."""
        ...

    @abstractmethod
    def save(self, key: str, text: str, /) -> None:
        """Set the text of a key. When this returns, no crash can undo it."""
        ...


class RamMemory:
    """Forgets everything with the process: for simulation and tests only."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def load(self) -> Mapping[str, str]:
        """Return everything, in order of keys."""
        return dict(sorted(self._texts.items()))

    def save(self, key: str, text: str, /) -> None:
        """Set the text of a key."""
        self._texts[key] = text


class SqliteMemory:
    """Keeps everything in an SQLite file, which it holds alone, and syncs each write to the disk.

    Raises:
        CustodyError: the file is no such memory, cannot be read or written, or another process has it.
    """

    def __init__(self, path: str | Path) -> None:
        import sqlite3

        self._path = Path(path)
        try:
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        except sqlite3.Error as error:
            raise CustodyError(f"{path} cannot be opened: {error}") from error
        try:
            self._run("PRAGMA locking_mode = EXCLUSIVE")
            self._run("PRAGMA synchronous = EXTRA")
            # The first write takes the lock, which is then kept.
            self._run("BEGIN EXCLUSIVE")
            self._run("CREATE TABLE IF NOT EXISTS memory (key TEXT PRIMARY KEY, text TEXT NOT NULL)")
            self._run("COMMIT")
        except CustodyError:
            self.close()
            raise

    def load(self) -> Mapping[str, str]:
        """Return everything, in order of keys."""
        return dict(self._run("SELECT key, text FROM memory ORDER BY key"))

    def save(self, key: str, text: str, /) -> None:
        """Set the text of a key in a transaction of its own."""
        self._run("INSERT OR REPLACE INTO memory VALUES (?, ?)", key, text)

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._database.close()

    def _run(self, statement: str, *values: str) -> list[tuple[str, str]]:
        import sqlite3

        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise CustodyError(
                f"{self._path}: expected an SQLite file with room, that no other process has open: {error}"
            ) from error


def written(value: object) -> str:
    """Return an attrs object as text to save."""
    return canonical_bytes(value).decode()


def read(text: str, kind: type[T]) -> T:
    """Return what `written` has made text of.

    Raises:
        CustodyError: the text is not of that kind: the memory is damaged, or was edited.
    """
    try:
        return _converter.structure(json.loads(text), kind)
    except (ValueError, TypeError, cattrs.BaseValidationError) as error:
        raise CustodyError(f"expected a {kind.__name__}, was {text[:80]!r}: the memory is damaged: {error}") from error
