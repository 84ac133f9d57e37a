"""The file journal under what happens to files: swaps, holes, full disks, other writers, kill -9.

PERPKIT_KILLS sets how often; PERPKIT_SEED repeats a run whose seed was printed.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import FrameKind, JournalContext
from perpkit.runtime.journal import FileJournal, FileOptions
from perpkit.runtime.journal.file import SEGMENT_BYTES_MIN, segment_names
from perpkit.runtime.journal.header import FORMAT, PAGE_BYTES

KILLS = int(os.environ.get("PERPKIT_KILLS", "30"))
SEED = int(os.environ.get("PERPKIT_SEED", "20200312"))
DIGEST = "5a" * 32
SMALL = FileOptions(segment_bytes=SEGMENT_BYTES_MIN)


@pytest.fixture
def seed() -> int:
    print(f"PERPKIT_SEED={SEED}")
    return SEED


def context_of(directory: Path, **changes: object) -> JournalContext:
    plain = JournalContext(directory=str(directory), config_digest=DIGEST, manifest=[{"port": "book"}])
    return attrs.evolve(plain, **changes)


def opened(directory: Path, options: FileOptions = SMALL, **changes: object) -> FileJournal:
    return FileJournal(context_of(directory, **changes), options)


def record(seq: int) -> bytes:
    return struct.pack("<Q", seq) * 8


def records(first_seq: int, count: int) -> bytes:
    return b"".join(record(seq) for seq in range(first_seq, first_seq + count))


def fill(journal: FileJournal, count: int, group: int = 10) -> int:
    """Append so many commands, each group durable before the next; return the last sequence."""
    until = journal.last_seq + count
    while journal.last_seq < until:
        first_seq = journal.last_seq + 1
        journal.append(records(first_seq, group), group, first_seq)
        journal.wait(journal.last_seq)
    return journal.last_seq


def commands_in(journal: FileJournal, from_seq: int = 1) -> list[int]:
    """Return the sequences that the frames hold, after checking each record against its sequence."""
    found: list[int] = []
    for frame in journal.read(from_seq):
        if frame.kind is FrameKind.COMMANDS:
            assert frame.payload == records(frame.first_seq, frame.count)
            found += range(frame.first_seq, frame.last_seq + 1)
    return found


def kinds_in(journal: FileJournal) -> list[FrameKind]:
    return [frame.kind for frame in journal.read(0)]


def segment(directory: Path, index: int) -> Path:
    return directory / segment_names(directory)[index]


# ---------------------------------------------------------------------------------------------- damage, on disk


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A journal of three segments, closed in good order."""
    directory = tmp_path / "three"
    journal = opened(directory)
    while len(segment_names(directory)) < 3:
        fill(journal, 100, group=50)
    fill(journal, 10)
    journal.close()
    return directory


def refused(directory: Path, message: str, **changes: object) -> None:
    before = {path.name: path.read_bytes() for path in directory.glob("*.pk?")}
    for read_only in (True, False):
        with pytest.raises(JournalError, match=message):
            opened(directory, read_only=read_only, **changes)
    assert before == {path.name: path.read_bytes() for path in directory.glob("*.pk?")}


def test_three_segments_read_back_from_anywhere(three: Path) -> None:
    journal = opened(three)
    last = journal.last_seq
    assert commands_in(journal) == list(range(1, last + 1))
    for from_seq in (1, 2, 500, last - 1, last):
        got = list(journal.read(from_seq))
        assert got[0].last_seq >= from_seq
        assert commands_in(journal, from_seq)[0] <= from_seq
        assert commands_in(journal, from_seq)[-1] == last
        assert [f.last_seq for f in journal.read(0) if f.last_seq >= from_seq] == [f.last_seq for f in got]
    assert [frame.kind for frame in journal.read(last)][1:] == [FrameKind.CLOSE, FrameKind.EPOCH]
    assert not list(journal.read(last + 1))
    journal.close()


def test_a_missing_segment_is_noticed_wherever_it_was(three: Path) -> None:
    for index, message in ((0, "a segment before it is missing"), (1, "before it is missing"), (2, "was durable")):
        copy = three.with_name(f"without-{index}")
        shutil.copytree(three, copy)
        segment(copy, index).unlink()
        refused(copy, message)
    for path in three.glob("*.pkj"):
        path.unlink()
    with pytest.raises(JournalError, match="its segments are missing"):
        opened(three)
    with pytest.raises(JournalError, match="no journal here"):
        opened(three, read_only=True)


def test_swapped_segments_are_noticed(three: Path) -> None:
    one, two = segment(three, 1), segment(three, 2)
    one.rename(three / "other")
    two.rename(one)
    (three / "other").rename(two)
    refused(three, "renamed or swapped")


def test_segments_of_another_journal_are_noticed(three: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    journal = opened(stranger)
    fill(journal, 10)  # other groups, so other frames, though the commands are the same
    while len(segment_names(stranger)) < 2:
        fill(journal, 100, group=50)
    journal.close()
    shutil.copy(segment(stranger, 1), three / "new")
    name = segment(stranger, 1).name
    segment(three, 1).unlink()
    (three / "new").rename(three / name)
    refused(three, "another journal|missing or was swapped")


def test_a_hole_is_noticed(three: Path) -> None:
    path = segment(three, 1)
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES + 10_000)
        file.write(bytes(5_000))
    refused(three, rf"{path.name}, offset \d+, sequence \d+: .*and {segment(three, 2).name} follows", accept_torn=True)


def test_a_foreign_file_is_noticed(three: Path) -> None:
    (three / "notes.pkj").write_text("hello")
    refused(three, "notes.pkj: not a segment's name")
    (three / "notes.pkj").unlink()
    (three / f"{10**6:020d}.pkj").write_text("hello")
    refused(three, "not a perpkit journal file")


def test_another_configuration_and_format_are_refused(three: Path) -> None:
    refused(three, f"under configuration {DIGEST}, opened under {'00' * 32}", config_digest="00" * 32)
    assert commands_in(opened(three, config_digest="", read_only=True))
    with segment(three, 0).open("r+b") as file:
        file.seek(8)
        file.write(bytes([FORMAT + 1]))
    refused(three, f"format {FORMAT + 1}, this perpkit reads {FORMAT}: use a newer perpkit")


def test_data_in_the_zero_tail_is_refused(three: Path) -> None:
    with segment(three, 2).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    refused(three, "a hole: zeros, then data")
    journal = opened(three, accept_torn=True)
    assert len(journal.cuts) == 1
    journal.close()
    assert not opened(three, read_only=True).cuts


def test_a_segment_that_lost_its_preallocation_is_complete(three: Path) -> None:
    path = segment(three, 2)
    end = len(path.read_bytes().rstrip(b"\0"))
    os.truncate(path, end)
    journal = opened(three)
    assert not journal.cuts
    fill(journal, 10)
    journal.close()
    assert path.stat().st_size == SEGMENT_BYTES_MIN


def test_damage_after_opening_is_noticed_when_it_is_read(three: Path) -> None:
    journal = opened(three)
    path = segment(three, 1)
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES + 9_000)
        file.write(b"\xff\xff")
    with pytest.raises(JournalError, match=rf"{path.name}, offset \d+, sequence \d+.*since the journal was opened"):
        list(journal.read(1))
    journal.close()


def test_a_journal_that_ends_before_its_snapshot_is_refused(three: Path) -> None:
    journal = opened(three)
    last = journal.last_seq
    journal.put_snapshot(last, b"state")
    journal.close()
    (three / f"{last:020d}.pks").rename(three / f"{last + 1:020d}.pks")
    refused(three, f"ends at sequence {last}, before this snapshot")


# ---------------------------------------------------------------------------------------------- writers


def test_a_second_writer_is_told_whom_to_look_for(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(FencedError, match=f"process {os.getpid()} on "):
        opened(tmp_path)
    fill(journal, 10)
    assert opened(tmp_path, read_only=True).last_seq == 10
    journal.close()
    opened(tmp_path).close()


def test_a_writer_whose_lock_was_stolen_is_fenced(tmp_path: Path) -> None:
    old = opened(tmp_path)
    fill(old, 10)
    (tmp_path / "lock").unlink()
    new = opened(tmp_path)
    old.append(records(11, 1), 1, 11)
    with pytest.raises(FencedError, match="took over with epoch 2, this one has 1"):
        old.wait(11)
    with pytest.raises(FencedError):
        old.append(records(12, 1), 1, 12)
    with pytest.raises(FencedError):
        old.halt("?")
    old.close()
    fill(new, 10)
    new.close()
    again = opened(tmp_path)
    assert commands_in(again) == list(range(1, 21))
    assert [frame.epoch for frame in again.read(0) if frame.kind is FrameKind.EPOCH] == [1, 2, 3]
    again.close()


def test_opening_over_and_over_without_a_command_grows_the_segment(tmp_path: Path) -> None:
    manifest = [{"padding": "x" * 20_000}]
    for _ in range(10):
        opened(tmp_path, manifest=manifest).close()
    assert len(segment_names(tmp_path)) == 1
    journal = opened(tmp_path, manifest=manifest)
    fill(journal, 500, group=500)
    fill(journal, 2_000, group=500)
    journal.close()
    journal = opened(tmp_path, manifest=manifest)
    assert commands_in(journal) == list(range(1, 2_501))
    assert kinds_in(journal).count(FrameKind.EPOCH) == 12
    journal.close()


def test_frames_larger_than_a_segment_get_a_larger_one(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, 10)
    fill(journal, 16_000, group=16_000)
    fill(journal, 10)
    journal.close()
    assert commands_in(opened(tmp_path, read_only=True)) == list(range(1, 16_021))


def test_readers_may_look_while_another_writes(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    seen = [0]
    while seen[-1] < 20_000:
        for _ in range(5):
            journal.append(records(journal.last_seq + 1, 300), 300, journal.last_seq + 1)
        durable_seq = journal.durable_seq
        reader = opened(tmp_path, read_only=True)
        assert reader.last_seq >= durable_seq
        assert commands_in(reader, seen[-1] + 1)[-1:] in ([reader.last_seq], [])
        seen.append(reader.last_seq)
    assert seen == sorted(seen)
    journal.close()


def test_a_reader_changes_nothing_and_may_not_write(three: Path) -> None:
    reader = opened(three, read_only=True)
    for call in (
        lambda: reader.append(record(1), 1, reader.last_seq + 1),
        lambda: reader.note(FrameKind.DIGEST, b""),
        lambda: reader.wait(1),
        lambda: reader.halt("x"),
        lambda: reader.put_snapshot(1, b""),
    ):
        with pytest.raises(JournalError, match="read only"):
            call()
    reader.close()
    assert reader.durable_seq == reader.last_seq


# ---------------------------------------------------------------------------------------------- broken disks


def raising(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def halted_in_good_order(directory: Path, acknowledged: int) -> None:
    journal = opened(directory)
    assert journal.last_seq == acknowledged
    assert not journal.cuts
    assert commands_in(journal) == list(range(1, acknowledged + 1))
    assert kinds_in(journal)[-3:] == [FrameKind.HALT, FrameKind.CLOSE, FrameKind.EPOCH]
    assert [f.payload for f in journal.read(0) if f.kind is FrameKind.HALT] == [b"disk full"]
    fill(journal, 1_000, group=100)
    journal.close()


def test_a_disk_without_room_for_a_segment_still_records_the_halt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)

    def full(*_: int) -> None:
        raise raising(errno.ENOSPC)

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(JournalError, match=r"000001.pkj, offset \d+, sequence \d+: the disk is full"):
            fill(journal, 10_000, group=100)
        acknowledged = journal.durable_seq
        assert acknowledged > 0
        with pytest.raises(JournalError, match="the disk is full"):
            journal.append(record(1), 1, journal.last_seq + 1)
        journal.halt("disk full")
        journal.halt("again")
        with pytest.raises(JournalError, match="the disk is full"):
            journal.wait(acknowledged + 1)
        journal.wait(acknowledged)
        journal.close()
        with pytest.raises(JournalError, match=r"cannot be opened|disk is full"):
            opened(tmp_path, manifest=[{"padding": "x" * 60_000}], accept_manifest=True)
    assert not list(tmp_path.glob("*.tmp"))
    halted_in_good_order(tmp_path, acknowledged)


def test_a_disk_that_fills_up_inside_a_write_still_records_the_halt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    fill(journal, 10)
    real = os.pwritev

    def half(fd: int, pieces: list[bytes], at: int) -> int:
        data = b"".join(pieces)
        if len(data) > 3_000 and data.strip(b"\0"):
            real(fd, [data[: len(data) // 2]], at)
            raise raising(errno.ENOSPC)
        return real(fd, pieces, at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", half)
        with pytest.raises(JournalError, match="the disk is full"):
            fill(journal, 100, group=100)
        journal.halt("disk full")
        journal.close()
    halted_in_good_order(tmp_path, 10)


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_v, real = os.pwritev, os.pwrite
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, at: real(fd, b"".join(pieces)[:7], at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real_v(fd, [bytes(data)[:1000]], at))
    journal = opened(tmp_path)
    fill(journal, 100)
    journal.put_snapshot(100, b"s" * 5_000)
    journal.close()
    monkeypatch.undo()
    journal = opened(tmp_path)
    assert commands_in(journal) == list(range(1, 101))
    assert list(journal.snapshots()) == [(100, b"s" * 5_000)]
    journal.close()


def test_a_failed_sync_is_fatal_and_never_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    fill(journal, 10)
    calls = []

    def broken(fd: int) -> None:
        calls.append(fd)
        raise raising(errno.EIO)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        journal.append(records(11, 1), 1, 11)
        with pytest.raises(JournalError, match="the write failed"):
            journal.wait(11)
        assert journal.durable_seq == 10
        for call in (lambda: journal.append(record(12), 1, 12), lambda: journal.halt("EIO"), lambda: journal.wait(11)):
            with pytest.raises(JournalError, match="the write failed"):
                call()
        journal.close()
    assert len(calls) == 1
    journal = opened(tmp_path)
    assert commands_in(journal)[:10] == list(range(1, 11))
    assert FrameKind.CLOSE not in kinds_in(journal)
    journal.close()


def test_closing_tells_what_nobody_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)

    def broken(fd: int) -> None:
        raise raising(errno.EIO)

    monkeypatch.setattr(os, "fdatasync", broken)
    journal.append(records(1, 1), 1, 1)
    with pytest.raises(JournalError, match="the write failed"):
        journal.close()
    journal.close()
    monkeypatch.undo()
    opened(tmp_path).close()


def test_a_system_without_fallocate_gets_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    journal = opened(tmp_path)
    fill(journal, 2_000, group=100)
    assert all(path.stat().st_blocks * 512 >= SEGMENT_BYTES_MIN for path in tmp_path.glob("*.pkj"))
    journal.close()
    assert commands_in(opened(tmp_path, read_only=True)) == list(range(1, 2_001))


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match="cannot be opened"):
        opened(tmp_path / "file" / "journal")


# ---------------------------------------------------------------------------------------------- kill -9

WRITERS = """
import os, random, struct, sys
from perpkit.ports.journal import FrameKind, JournalContext
from perpkit.runtime.journal import FileJournal, FileOptions

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def write(directory, digest, seed):
    rng = random.Random(seed)
    context = JournalContext(directory=directory, config_digest=digest, manifest=[{"port": "book"}])
    journal = FileJournal(context, FileOptions(segment_bytes=256 * 1024))
    say("from", journal.last_seq)
    while True:
        for _ in range(rng.randint(1, 5)):
            first, count = journal.last_seq + 1, rng.randint(1, 200)
            records = b"".join(struct.pack("<Q", seq) * 8 for seq in range(first, first + count))
            journal.append(records, count, first)
            if rng.random() < 0.1:
                journal.note(FrameKind.DIGEST, rng.randbytes(32))
        journal.wait(journal.last_seq)
        say("durable", journal.durable_seq)

directory, digest = sys.argv[1:]
for line in sys.stdin:
    if not (pid := os.fork()):
        write(directory, digest, int(line))
    say("writer", pid)
    say("gone", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts a writer in a process of its own for each seed it reads; importing once saves the time."""
    command = [sys.executable, "-c", WRITERS, str(tmp_path / "j"), DIGEST]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def killed_writer(writers: subprocess.Popen[str], seed: int, delay_s: float) -> list[str]:
    """Let a writer run for so long, kill it, and return what it said."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{seed}\n")
    writers.stdin.flush()
    said: list[str] = []
    while not said or not said[-1].startswith("writer"):
        said.append(writers.stdout.readline())
    time.sleep(delay_s)
    os.kill(int(said[-1].split()[1]), signal.SIGKILL)
    while not said[-1].startswith("gone"):
        said.append(writers.stdout.readline())
    assert said[-1] == "gone -9\n"
    return said


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int, writers: subprocess.Popen[str]) -> None:
    rng, reached, cuts, directory = random.Random(seed), 0, 0, tmp_path / "j"
    opened(directory).close()
    for number in range(KILLS):
        said = killed_writer(writers, rng.randrange(2**32), rng.random() * 0.1)
        assert f"from {reached}\n" in said or not any(line.startswith("durable") for line in said)
        acknowledged = max((int(line.split()[1]) for line in said if line.startswith("durable")), default=reached)
        reader = opened(directory, read_only=True)
        cuts += len(reader.cuts)
        assert reader.last_seq >= acknowledged >= reached
        reached = reader.last_seq
        # Opening verifies every frame; the commands are compared for the newest here, and for all of them at the end.
        recent = commands_in(reader, acknowledged)
        assert recent == list(range(min(recent, default=reached + 1), reached + 1)), number
    reader = opened(directory, read_only=True)
    assert commands_in(reader) == list(range(1, reached + 1))
    epochs = [frame.epoch for frame in reader.read(0) if frame.kind is FrameKind.EPOCH]
    assert all(earlier < later for earlier, later in pairwise(epochs))
    print(f"{KILLS} kills, {reached} commands, {len(segment_names(directory))} segments, {cuts} unfinished writes cut")
