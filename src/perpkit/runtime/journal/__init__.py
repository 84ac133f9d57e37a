"""Journals: `file` (segments of checked frames), `sqlite` (the same frames in a database), `memory` (for tests)."""

from collections.abc import Iterable

from perpkit.plugin import JOURNAL, Provider, hookimpl
from perpkit.ports import Journal
from perpkit.runtime.journal.file import FileJournal, FileOptions
from perpkit.runtime.journal.frame import PAYLOAD_BYTES_MAX
from perpkit.runtime.journal.memory import MemoryJournal, MemoryOptions
from perpkit.runtime.journal.sqlite import SqliteJournal, SqliteOptions

__all__ = [
    "PAYLOAD_BYTES_MAX",
    "FileJournal",
    "FileOptions",
    "MemoryJournal",
    "MemoryOptions",
    "SqliteJournal",
    "SqliteOptions",
]


@hookimpl
def perpkit_journals() -> Iterable[Provider[Journal]]:
    """Offer the journals."""
    return [
        JOURNAL.provider(name="memory", build=MemoryJournal, options=MemoryOptions, summary="nothing is durable"),
        JOURNAL.provider(
            name="file",
            build=FileJournal,
            options=FileOptions,
            summary="segments of checked frames",
            capabilities=frozenset({"durable"}),
        ),
        JOURNAL.provider(
            name="sqlite",
            build=SqliteJournal,
            options=SqliteOptions,
            summary="the same in a database",
            capabilities=frozenset({"durable"}),
        ),
    ]
