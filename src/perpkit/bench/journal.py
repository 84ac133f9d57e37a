"""The file journal against a bare write and fdatasync of the same bytes."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from perpkit.model.records import RECORD
from perpkit.ports import JournalContext
from perpkit.runtime.journal import FileJournal, FileOptions

GROUP_COMMANDS = 4_096
FLOOR = 0.5


@attrs.frozen(kw_only=True)
class JournalBench:
    """Commands a second, each the median over rounds that took turns; `ratio` is the journal's to the bare write's.

    The disk is shared with whatever else the machine does, so only the ratio says something, and only of one run.
    """

    bare_per_second: int
    journal_per_second: int
    ratio: float
    rounds: int
    commands_per_round: int


def bench_journal(
    rounds: int = 9, groups: int = 40, progress: Callable[[int, int], None] | None = None
) -> JournalBench:
    """Write `groups` durable groups of 4,096 records a round, in turn bare and through the journal."""
    payload = os.urandom(GROUP_COMMANDS * RECORD.size)
    bare, journal = [], []
    with tempfile.TemporaryDirectory() as directory:
        for turn in range(rounds):
            bare.append(_bare(Path(directory, f"bare-{turn}"), payload, groups))
            journal.append(_journal(str(Path(directory, f"journal-{turn}")), payload, groups))
            if progress:
                progress(turn + 1, rounds)
    commands = groups * GROUP_COMMANDS
    ratios = [slow / fast for slow, fast in zip(bare, journal, strict=True)]
    return JournalBench(
        bare_per_second=round(commands / statistics.median(bare)),
        journal_per_second=round(commands / statistics.median(journal)),
        ratio=round(statistics.median(ratios), 2),
        rounds=rounds,
        commands_per_round=commands,
    )


def _bare(path: Path, payload: bytes, groups: int) -> float:
    """Seconds for groups of plain writes into a preallocated file, each made durable."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(file, 0, (len(payload) + 1) * groups)
        os.fsync(file)
        start = time.perf_counter()
        for group in range(groups):
            os.pwrite(file, payload, group * len(payload))
            os.fdatasync(file)
        return time.perf_counter() - start
    finally:
        os.close(file)
        path.unlink()


def _journal(directory: str, payload: bytes, groups: int) -> float:
    """Seconds for the same groups through a journal, each waited for."""
    context = JournalContext(directory=directory, config_digest="0" * 64, manifest=[])
    journal = FileJournal(context, FileOptions())
    try:
        start = time.perf_counter()
        for group in range(groups):
            journal.append(payload, GROUP_COMMANDS, 1 + group * GROUP_COMMANDS)
            journal.wait((group + 1) * GROUP_COMMANDS)
        return time.perf_counter() - start
    finally:
        journal.close()
