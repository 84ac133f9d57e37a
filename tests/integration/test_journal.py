"""What every journal does, whatever keeps it."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from perpkit.engine.snapshot import STATE_LAYOUT
from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import Frame, FrameKind, Journal, JournalContext
from perpkit.runtime.journal import (
    PAYLOAD_BYTES_MAX,
    FileJournal,
    FileOptions,
    MemoryJournal,
    MemoryOptions,
    SqliteJournal,
    SqliteOptions,
)
from perpkit.runtime.journal.file import SEGMENT_BYTES_MIN
from perpkit.runtime.journal.frame import Draft

DIGEST = "c0" * 32
DISK = ("file", "sqlite")
Open = Callable[..., Journal]


@pytest.fixture(params=["file", "sqlite", "memory"])
def provider(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def opened(provider: str, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens the same journal again and again; options go by name, as do context fields."""
    directory = str(tmp_path / "journal")
    journals: list[Journal] = []

    def build(*, options: dict[str, int] | None = None, **changes: object) -> Journal:
        plain = JournalContext(directory=directory, config_digest=DIGEST, manifest=[{"port": "book", "provider": "x"}])
        context = attrs.evolve(plain, **changes)
        journal: Journal
        if provider == "file":
            journal = FileJournal(context, FileOptions(**{"segment_bytes": SEGMENT_BYTES_MIN, **(options or {})}))
        elif provider == "sqlite":
            journal = SqliteJournal(context, SqliteOptions(**(options or {})))
        else:
            journal = MemoryJournal(context, MemoryOptions())
        journals.append(journal)
        return journal

    yield build
    for journal in journals:
        journal.close()
    MemoryJournal.forget(directory)


def put(journal: Journal, count: int) -> None:
    first_seq = journal.last_seq + 1
    journal.append(b"".join(seq.to_bytes(64, "big") for seq in range(first_seq, first_seq + count)), count, first_seq)


def commands(frames: Iterator[Frame]) -> list[int]:
    found: list[int] = []
    for frame in frames:
        if frame.kind is FrameKind.COMMANDS:
            sequences = list(range(frame.first_seq, frame.last_seq + 1))
            assert frame.payload == b"".join(seq.to_bytes(64, "big") for seq in sequences)
            found += sequences
    return found


def test_what_is_durable_can_be_read(opened: Open) -> None:
    journal = opened()
    assert (journal.last_seq, journal.durable_seq, list(journal.cuts)) == (0, 0, [])
    for count in (1, 3, 100):
        put(journal, count)
    assert journal.last_seq == 104
    journal.wait(104)
    assert journal.durable_seq == 104
    assert commands(journal.read(1)) == list(range(1, 105))
    assert commands(journal.read(104))[-1] == 104
    assert not list(journal.read(105))


def test_the_first_frame_holds_the_manifest(opened: Open) -> None:
    first = next(opened().read(0))
    assert (first.kind, first.first_seq, first.count, first.epoch) == (FrameKind.EPOCH, 0, 0, 1)
    assert first.payload == b'[{"port":"book","provider":"x"}]'


def test_reopening_goes_on(opened: Open) -> None:
    for number in range(3):
        journal = opened()
        assert journal.last_seq == journal.durable_seq == number * 50
        put(journal, 50)
        journal.close()
    frames = list(opened(read_only=True).read(0))
    assert commands(iter(frames)) == list(range(1, 151))
    assert [f.epoch for f in frames if f.kind is FrameKind.EPOCH] == [1, 2, 3]
    assert [f.last_seq for f in frames if f.kind is FrameKind.CLOSE] == [50, 100, 150]
    assert all(f.durable_seq <= f.last_seq for f in frames)


def test_only_the_next_sequence_is_taken(opened: Open) -> None:
    journal = opened()
    put(journal, 5)
    for wrong in (0, 5, 7):
        with pytest.raises(FencedError, match=f"expected to write sequence {wrong}, the next one is 6"):
            journal.append(bytes(64), 1, wrong)
    journal.append((6).to_bytes(64, "big"), 1, 6)
    journal.wait(6)
    assert commands(journal.read(1)) == list(range(1, 7))


def test_what_no_frame_can_hold_is_refused_and_harms_nothing(opened: Open) -> None:
    journal = opened()
    for records, count in ((b"", 1), (bytes(64), 0), (bytes(PAYLOAD_BYTES_MAX + 1), 1)):
        with pytest.raises(JournalError, match="expected at"):
            journal.append(records, count, 1)
    for kind in (FrameKind.COMMANDS, FrameKind.EPOCH, FrameKind.HALT, FrameKind.CLOSE):
        with pytest.raises(JournalError, match="expected a DIGEST"):
            journal.note(kind, b"")
    put(journal, 1)
    journal.wait(1)
    with pytest.raises(JournalError, match="never appended"):
        journal.wait(2)


def test_notes_stay_between_the_commands_they_follow(opened: Open) -> None:
    journal = opened()
    journal.note(FrameKind.DIGEST, b"0" * 32)
    put(journal, 2)
    journal.note(FrameKind.DIGEST, b"2" * 32)
    put(journal, 1)
    journal.wait(3)
    frames = [(f.kind.name, f.first_seq, f.count) for f in journal.read(0)]
    assert frames == [("EPOCH", 0, 0), ("DIGEST", 0, 0), ("COMMANDS", 1, 2), ("DIGEST", 2, 0), ("COMMANDS", 3, 1)]
    assert [f.first_seq for f in journal.read(2)] == [1, 2, 3]


def test_a_halt_is_recorded_and_nothing_after_it(opened: Open) -> None:
    journal = opened()
    put(journal, 3)
    journal.halt("conservation does not hold ✗" + "!" * 20_000)
    for call in (lambda: put(journal, 1), lambda: journal.note(FrameKind.DIGEST, b"")):
        with pytest.raises(JournalError, match="halted: conservation"):
            call()
    assert journal.durable_seq == 3
    journal.wait(3)
    journal.close()
    with pytest.raises(JournalError):
        put(journal, 1)
    frames = list(opened(read_only=True).read(3))
    assert [f.kind for f in frames] == [FrameKind.COMMANDS, FrameKind.HALT, FrameKind.CLOSE]
    assert frames[1].payload.decode().startswith("conservation does not hold ✗!!!")
    put(opened(), 1)


def test_closing_writes_what_is_queued(opened: Open) -> None:
    journal = opened()
    for _ in range(100):
        put(journal, 1)
    journal.close()
    journal.close()
    assert commands(opened(read_only=True).read(1)) == list(range(1, 101))


def test_two_snapshots_are_kept(opened: Open, tmp_path: Path) -> None:
    journal = opened()
    put(journal, 30)
    journal.wait(30)
    assert not list(journal.snapshots())
    for seq in (10, 20, 30):
        journal.put_snapshot(seq, b"state at %d" % seq)
    journal.put_snapshot(30, b"again")
    assert list(journal.snapshots()) == [(30, b"again"), (20, b"state at 20")]
    with pytest.raises(JournalError, match="at most 30, was 31"):
        journal.put_snapshot(31, b"")
    journal.close()
    assert [seq for seq, _ in opened(read_only=True).snapshots()] == [30, 20]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("ended", ["halted", "closed"])
def test_no_snapshot_is_kept_after_the_end(opened: Open, ended: str) -> None:
    journal = opened()
    put(journal, 3)
    journal.wait(3)
    journal.put_snapshot(2, b"before")
    journal.halt("law 1") if ended == "halted" else journal.close()
    with pytest.raises(JournalError, match=f"the journal (was|is) {ended}"):
        journal.put_snapshot(3, b"after")
    assert list(journal.snapshots()) == [(2, b"before")]


@pytest.mark.parametrize("provider", DISK, indirect=True)
def test_a_damaged_snapshot_is_left_out(opened: Open, tmp_path: Path) -> None:
    journal = opened()
    put(journal, 30)
    journal.wait(30)
    journal.put_snapshot(20, b"older")
    journal.put_snapshot(30, b"newer")
    path = next(tmp_path.rglob("*30.pks"))
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert list(journal.snapshots()) == [(20, b"older")], bit
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert list(journal.snapshots()) == [(20, b"older")], size
    path.write_bytes(whole)
    assert len(list(journal.snapshots())) == 2


@pytest.mark.parametrize("provider", DISK, indirect=True)
def test_a_snapshot_of_another_state_layout_is_passed_over_and_the_log_says_so_once(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened()
    put(journal, 30)
    journal.wait(30)
    journal.put_snapshot(20, b"readable")
    with monkeypatch.context() as older:
        older.setattr("perpkit.runtime.journal.snapshot.STATE_LAYOUT", 9_001)
        journal.put_snapshot(30, b"arranged otherwise")
    for _ in range(2):
        assert list(journal.snapshots()) == [(20, b"readable")]
    [(name, level, message)] = caplog.record_tuples
    assert (name, level) == ("perpkit.journal", logging.WARNING)
    assert message == f"{30:020d}.pks: passed over: the state has layout 9001, this perpkit reads {STATE_LAYOUT}"
    journal.put_snapshot(30, b"taken anew")
    assert [seq for seq, _ in journal.snapshots()] == [30, 20]


@pytest.mark.parametrize("provider", DISK, indirect=True)
@pytest.mark.parametrize("window", [{"window_bytes": 640}, {"window_appends": 5}])
def test_a_full_window_blocks_until_a_group_is_durable(
    opened: Open, window: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(options=window)
    store = journal._store  # type: ignore[attr-defined]
    gate, real = threading.Event(), store.write
    monkeypatch.setattr(store, "write", lambda *group: (gate.wait(10), real(*group)))
    for _ in range(5):
        put(journal, 2)
    done = threading.Event()
    blocked = threading.Thread(target=lambda: (put(journal, 2), done.set()))
    blocked.start()
    assert not done.wait(0.2)
    assert (journal.last_seq, journal.durable_seq) == (10, 0)
    gate.set()
    assert done.wait(10)
    blocked.join()
    journal.wait(12)
    assert commands(journal.read(1)) == list(range(1, 13))


@pytest.mark.parametrize("provider", DISK, indirect=True)
def test_a_store_says_once_that_a_group_has_begun_and_not_before_it_may_write(opened: Open, tmp_path: Path) -> None:
    journal = opened()
    store = journal._store  # type: ignore[attr-defined]
    told: list[int] = []
    store.write([Draft(FrameKind.COMMANDS, 1, 1, [bytes(64)], 64, zlib.crc32(bytes(64)))], lambda: told.append(0))
    assert (told, store.durable_seq) == ([0], 1)
    (tmp_path / "journal" / "lock").unlink()
    put(opened(), 1)
    with pytest.raises(FencedError):
        store.write([Draft.note(FrameKind.DIGEST, 1, bytes(32))], lambda: told.append(1))
    assert told == [0]


@pytest.mark.parametrize("provider", DISK, indirect=True)
def test_many_threads_race_and_every_sequence_is_written_once(opened: Open) -> None:
    journal = opened(options={"window_bytes": 6_400})
    wins: list[int] = []

    def race() -> None:
        while len(wins) < 500:
            seq = journal.last_seq + 1
            try:
                journal.append(seq.to_bytes(64, "big"), 1, seq)
            except FencedError:
                continue
            wins.append(seq)
            if seq % 10 == 0:
                journal.wait(seq)
                assert journal.durable_seq >= seq

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.wait(journal.last_seq)
    assert sorted(wins) == list(range(1, len(wins) + 1))
    assert commands(journal.read(1)) == sorted(wins)


def test_another_configuration_is_refused(opened: Open) -> None:
    opened().close()
    for read_only in (True, False):
        with pytest.raises(JournalError, match=f"under configuration {DIGEST}, opened under {'11' * 32}"):
            opened(config_digest="11" * 32, read_only=read_only)
    assert opened(config_digest="", read_only=True).last_seq == 0


def part(port: str, provider: str = "plain", version: str = "1.0", market: str = "") -> dict[str, object]:
    return {"port": port, "market": market, "provider": provider, "distribution": "acme", "version": version}


PARTS = [part("margin"), part("fees", market="COIN"), part("fees", market="OTHER"), part("insurance")]


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ([part("margin", version="1.1"), *PARTS[1:]], r"now: margin: version was '1\.0', is '1\.1'\. Replay"),
        (
            [PARTS[0], *(part("fees", "tiers", "2.0", each) for each in ("COIN", "OTHER")), PARTS[3]],
            r"now: fees of COIN, fees of OTHER: provider was 'plain', is 'tiers', version was '1\.0', is '2\.0'\. ",
        ),
        (PARTS[:3], r"now: insurance: was 'plain', is gone\. "),
        ([*PARTS, part("custody", "vault")], r"now: custody: was not there, is 'vault'\. "),
        ([part("margin", version="1.1"), *PARTS[1:3]], r"now: margin: version was .*; insurance: was 'plain', is gone"),
    ],
)
def test_other_parts_may_write_on_only_when_that_is_accepted(
    opened: Open, now: list[dict[str, object]], message: str
) -> None:
    journal = opened(manifest=PARTS)
    put(journal, 3)
    journal.close()
    written = list(opened(manifest=PARTS, read_only=True).read(0))
    with pytest.raises(JournalError, match=message) as refused:
        opened(manifest=now)
    assert "accept_manifest" in str(refused.value)
    assert list(opened(manifest=now, read_only=True).read(0)) == written
    put(opened(manifest=now, accept_manifest=True), 1)


def test_accepted_parts_are_the_ones_that_may_write_from_then_on(opened: Open) -> None:
    other = [part("margin", version="1.1"), *PARTS[1:]]
    for manifest, accept in ((PARTS, False), (other, True), (other, False), (list(reversed(other)), False)):
        opened(manifest=manifest, accept_manifest=accept).close()
    with pytest.raises(JournalError, match=r"margin: version was '1\.1', is '1\.0'"):
        opened(manifest=PARTS)


def test_a_reader_needs_a_journal_and_changes_nothing(opened: Open) -> None:
    with pytest.raises(JournalError, match="no journal here"):
        opened(read_only=True)
    put(opened(), 3)
    opened_reader = opened(read_only=True)
    for call in (lambda: put(opened_reader, 1), lambda: opened_reader.halt("x")):
        with pytest.raises(JournalError, match="read only"):
            call()


def test_memory_taken_over_fences_the_writer_before(tmp_path: Path) -> None:
    context = JournalContext(directory=str(tmp_path), config_digest=DIGEST, manifest=[])
    old = MemoryJournal(context, MemoryOptions())
    put(old, 3)
    new = MemoryJournal(context, MemoryOptions())
    with pytest.raises(FencedError, match="epoch 2, this one has 1"):
        put(old, 1)
    old.close()
    put(new, 1)
    assert commands(new.read(1)) == [1, 2, 3, 4]
    MemoryJournal.forget(str(tmp_path))


def test_perpkit_imports_without_what_only_journals_need() -> None:
    code = "import sys; sys.modules.update(dict.fromkeys(['sqlite3', 'fcntl'])); import perpkit.runtime.journal as j; "
    code += "from perpkit.ports.journal import JournalContext as C; "
    code += (
        "c = C(directory='never-made', config_digest='00' * 32, manifest=[]); j.MemoryJournal(c, j.MemoryOptions())\n"
    )
    code += "try: j.SqliteJournal(c, j.SqliteOptions())\nexcept j.sqlite.JournalError as e: print(e)\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no sqlite3" in result.stdout


# ---------------------------------------------------------------------------------------------- sqlite alone


@pytest.fixture
def sqlite_directory(tmp_path: Path) -> Path:
    journal = open_sqlite(tmp_path)
    for _ in range(10):
        put(journal, 5)
        journal.wait(journal.last_seq)
    journal.close()
    return tmp_path


def open_sqlite(directory: Path, **changes: object) -> SqliteJournal:
    plain = JournalContext(directory=str(directory), config_digest=DIGEST, manifest=[])
    return SqliteJournal(attrs.evolve(plain, **changes), SqliteOptions())


def execute(directory: Path, statement: str, *values: object) -> None:
    import sqlite3

    database = sqlite3.connect(directory / "journal.sqlite")
    database.execute(statement, values)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM frames WHERE number = 4", "row 4 is missing, the next one is 5"),
        ("DELETE FROM frames WHERE number > 9", "everything up to sequence 50 was durable"),
        ("DELETE FROM frames", "everything up to sequence 50 was durable"),
        ("UPDATE frames SET frame = zeroblob(length(frame)) WHERE number = 3", "wrong checksum"),
        ("UPDATE frames SET frame = x'00' WHERE number = 3", "wrong checksum"),
        ("UPDATE frames SET frame = (SELECT frame FROM frames WHERE number = 5) WHERE number = 4", "does not follow"),
        ("UPDATE header SET page = zeroblob(4096)", "not a perpkit journal"),
    ],
)
def test_sqlite_damage_is_refused(sqlite_directory: Path, statement: str, message: str) -> None:
    execute(sqlite_directory, statement)
    for read_only in (True, False):
        with pytest.raises(JournalError, match=message):
            open_sqlite(sqlite_directory, read_only=read_only)


@pytest.mark.parametrize("name", ["journal.sqlite", "journal.mark"])
def test_sqlite_misses_a_file(sqlite_directory: Path, name: str) -> None:
    (sqlite_directory / name).unlink()
    with pytest.raises(JournalError, match=f"{name} is missing"):
        open_sqlite(sqlite_directory)


def test_sqlite_that_forgets_commits_is_caught_by_the_mark(tmp_path: Path) -> None:
    """A damaged write-ahead log makes SQLite forget, without an error, what it said was committed."""
    journal = open_sqlite(tmp_path / "j")
    for _ in range(10):
        put(journal, 5)
        journal.wait(journal.last_seq)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "j").iterdir():
        if not path.name.endswith("-shm"):
            (copy / path.name).write_bytes(path.read_bytes())
    journal.close()
    log = copy / "journal.sqlite-wal"
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) * 3 // 4] ^= 1
    log.write_bytes(damaged)
    with pytest.raises(JournalError, match="everything up to sequence 50 was durable"):
        open_sqlite(copy)


def test_sqlite_single_bit_flips_change_nothing_or_are_refused(sqlite_directory: Path) -> None:
    path, seed = sqlite_directory / "journal.sqlite", 20200312
    print(f"seed {seed}")
    rng, whole, refused = random.Random(seed), path.read_bytes(), 0
    expected = list(open_sqlite(sqlite_directory, read_only=True).read(0))
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            assert list(open_sqlite(sqlite_directory, read_only=True).read(0)) == expected
        except JournalError:
            refused += 1
    assert refused > 30


def test_sqlite_writers_are_fenced(tmp_path: Path) -> None:
    old = open_sqlite(tmp_path)
    put(old, 1)
    old.wait(1)
    with pytest.raises(FencedError, match="held by another writer"):
        open_sqlite(tmp_path)
    (tmp_path / "lock").unlink()
    new = open_sqlite(tmp_path)
    put(old, 1)
    with pytest.raises(FencedError, match="took over with epoch 2, this one has 1"):
        old.wait(2)
    old.close()
    put(new, 1)
    new.close()
    assert commands(open_sqlite(tmp_path, read_only=True).read(1)) == [1, 2]


def test_sqlite_on_a_full_disk_still_records_the_halt(tmp_path: Path) -> None:
    journal = open_sqlite(tmp_path)
    put(journal, 5)
    journal.wait(5)
    store = journal._store
    assert store is not None
    assert store.database is not None
    store.database.execute("PRAGMA max_page_count = 6").fetchone()
    put(journal, 1_000)
    with pytest.raises(JournalError, match="row 3, sequence 6: the disk is full"):
        journal.wait(1_005)
    assert not (tmp_path / "journal.reserve").exists()
    store.database.execute("PRAGMA max_page_count = 1000").fetchone()
    journal.halt("disk full")
    journal.close()
    frames = list(open_sqlite(tmp_path, read_only=True).read(0))
    assert [f.kind.name for f in frames] == ["EPOCH", "COMMANDS", "HALT", "CLOSE"]
    open_sqlite(tmp_path).close()
    assert (tmp_path / "journal.reserve").exists()
