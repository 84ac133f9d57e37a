"""The file journal against a bare write and fdatasync of the same bytes."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import attrs

from perpkit.model.records import RECORD
from perpkit.ports.journal import Frame, FrameKind, JournalContext
from perpkit.runtime.journal import FileJournal, FileOptions
from perpkit.units import div_floor

GROUP_COMMANDS = 4_096
GROUPS_PER_ROUND = 16
FLOOR, AIM = 0.5, 0.9


@attrs.frozen(kw_only=True)
class JournalBench:
    """Commands a second, medians over rounds in turn; and the journal's share of what the bare write does.

    `waited` is a caller who waits for each group before the next, so that the checksum comes on top of every sync.
    `overlapped` is one who hands over the next group first, and then waits for the one before: what the group commit
    is for. The floor is for the first.

    Every group is a write and a sync of its own. Where the second came too early and two became one, as happens when
    others use the machine, the time counts per sync, so the journal gains nothing by it; `syncs_per_group` says how
    often. The disk is shared with whatever else the machine does, so only ratios say something, and only of one run.
    """

    bare_per_second: int
    waited_per_second: int
    overlapped_per_second: int
    waited_ratio: float
    overlapped_ratio: float
    syncs_per_group: float
    rounds: int
    commands_per_round: int

    @property
    def met(self) -> bool:
        """Whether the floor is reached."""
        return self.waited_ratio >= FLOOR

    def lines(self) -> list[str]:
        """Return the figures as text."""
        rows = [
            ("bare write + fdatasync", self.bare_per_second, ""),
            ("file journal, each group waited for", self.waited_per_second, f"{self.waited_ratio} (floor {FLOOR})"),
            ("file journal, one group in flight", self.overlapped_per_second, f"{self.overlapped_ratio} (aim {AIM})"),
        ]
        lines = [f"{name:<35} {per_second:>12,} commands/s  {ratio}".rstrip() for name, per_second, ratio in rows]
        note = f"groups of 4,096 commands, {self.rounds} rounds in turn, medians"
        return [*lines, f"{note}; {self.syncs_per_group} syncs a group in flight"]


class _Writer(Protocol):
    """A way to make groups durable; it goes on where it stopped."""

    def round(self, payload: bytes) -> float:
        """Return how many seconds a round of groups took."""
        ...

    def syncs(self) -> list[int]:
        """Return how many syncs each round was."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def bench_journal(rounds: int = 25, progress: Callable[[int, int], None] | None = None) -> JournalBench:
    """Write rounds of durable groups of 4,096 records, in turn bare and through the journal in both ways.

    All three write into files that were there before; when the journal needs another one it makes it while it is timed.
    """
    payload = os.urandom(GROUP_COMMANDS * RECORD.size)
    with tempfile.TemporaryDirectory() as directory:
        writers: list[_Writer] = [
            _Bare(Path(directory, "bare"), rounds * GROUPS_PER_ROUND * len(payload)),
            _Waited(Path(directory, "waited")),
            _Overlapped(Path(directory, "overlapped")),
        ]
        seconds: list[list[float]] = []
        for turn in range(rounds):
            seconds.append([writer.round(payload) for writer in writers])
            if progress:
                progress(turn + 1, rounds)
        syncs = [writer.syncs() for writer in writers]
        for writer in writers:
            writer.close()
    groups = [[GROUPS_PER_ROUND / count for count in each] for each in syncs]
    bare, waited, overlapped = (
        [taken[index] * scale for taken, scale in zip(seconds, groups[index], strict=True)] for index in range(3)
    )
    return JournalBench(
        bare_per_second=_per_second(bare),
        waited_per_second=_per_second(waited),
        overlapped_per_second=_per_second(overlapped),
        waited_ratio=_ratio(bare, waited),
        overlapped_ratio=_ratio(bare, overlapped),
        syncs_per_group=round(sum(syncs[2]) / (rounds * GROUPS_PER_ROUND), 3),
        rounds=rounds,
        commands_per_round=GROUPS_PER_ROUND * GROUP_COMMANDS,
    )


def _per_second(seconds: list[float]) -> int:
    return round(GROUPS_PER_ROUND * GROUP_COMMANDS / statistics.median(seconds))


def _ratio(bare: list[float], journal: list[float]) -> float:
    """Return the median over rounds: the two of a round had the same disk."""
    return round(statistics.median(fast / slow for fast, slow in zip(bare, journal, strict=True)), 2)


class _Bare:
    """Plain writes into a preallocated file."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(self._file, 0, size)
        os.fsync(self._file)
        self._at = 0
        self._syncs: list[int] = []

    def round(self, payload: bytes) -> float:
        start = time.perf_counter()
        for _ in range(GROUPS_PER_ROUND):
            os.pwrite(self._file, payload, self._at)
            os.fdatasync(self._file)
            self._at += len(payload)
        self._syncs.append(GROUPS_PER_ROUND)
        return time.perf_counter() - start

    def syncs(self) -> list[int]:
        return self._syncs

    def close(self) -> None:
        os.close(self._file)


class _Waited:
    """Through a journal, each group waited for."""

    def __init__(self, directory: Path) -> None:
        context = JournalContext(directory=str(directory), config_digest="0" * 64, manifest=[])
        self.journal = FileJournal(context, FileOptions())

    def round(self, payload: bytes) -> float:
        start = time.perf_counter()
        for _ in range(GROUPS_PER_ROUND):
            self.hand_over(payload)
            self.journal.wait(self.journal.last_seq)
        return time.perf_counter() - start

    def hand_over(self, payload: bytes) -> None:
        """Append one group."""
        self.journal.append(payload, GROUP_COMMANDS, self.journal.last_seq + 1)

    def syncs(self) -> list[int]:
        return syncs_of(self.journal.read(1))

    def close(self) -> None:
        self.journal.close()


class _Overlapped(_Waited):
    """Through a journal, the next group handed over before the one in flight is waited for."""

    def round(self, payload: bytes) -> float:
        start = time.perf_counter()
        for _ in range(GROUPS_PER_ROUND):
            in_flight = self.journal.last_seq
            self.hand_over(payload)
            self.journal.wait(in_flight)
        self.journal.wait(self.journal.last_seq)
        return time.perf_counter() - start


def syncs_of(frames: Iterable[Frame]) -> list[int]:
    """Return with how many syncs the commands of each round became durable.

    Frames of one sync say the same about what was durable before them.

    Rounds:
        A frame belongs to the round in which its first command was.
    """
    rounds: list[set[int]] = []
    for frame in frames:
        if frame.kind is FrameKind.COMMANDS:
            turn = div_floor(frame.first_seq - 1, GROUPS_PER_ROUND * GROUP_COMMANDS)
            if turn == len(rounds):
                rounds.append(set())
            rounds[turn].add(frame.durable_seq)
    return [len(each) for each in rounds]
