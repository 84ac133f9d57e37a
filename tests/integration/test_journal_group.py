"""The group commit over a store whose disk does what the test says; and that its measurement counts right."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import attrs
import pytest

from perpkit.bench.journal import GROUPS_PER_ROUND, bench_journal, syncs_of
from perpkit.cli.main import main
from perpkit.errors import JournalError
from perpkit.ports.journal import Frame, FrameKind
from perpkit.runtime.journal.frame import Draft
from perpkit.runtime.journal.group import JOINED_BYTES_MAX, GroupCommit


@attrs.define
class GatedStore:
    """Writes a group when the gate is opened for it."""

    sound: bool = True
    full: bool = False
    durable_seq: int = 0
    groups: list[list[tuple[str, int, int]]] = attrs.field(factory=list)
    writers: list[threading.Thread] = attrs.field(factory=list)
    gate: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    begun: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))

    def write(self, drafts: Sequence[Draft], begun: Callable[[], None] | None = None, /) -> None:
        self.sound = False
        if begun:
            begun()
        self.begun.release()
        assert self.gate.acquire(timeout=10)
        if self.full:
            # Once; nothing is left of the group, so that a HALT frame can follow.
            self.full, self.sound = False, True
            raise JournalError("the disk is full")
        self.writers.append(threading.current_thread())
        self.groups.append([(draft.kind.name, draft.first_seq, draft.count) for draft in drafts])
        self.durable_seq = drafts[-1].last_seq
        self.sound = True

    def release(self) -> None:
        pass

    def taken(self) -> None:
        """Return when the thread has taken one more group."""
        assert self.begun.acquire(timeout=10)

    def let(self, groups: int) -> None:
        """Let so many groups be written."""
        self.gate.release(groups)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> GatedStore:
    # So that nothing is written only because time went by.
    monkeypatch.setattr("perpkit.runtime.journal.group.LINGER_S", 1_000)
    return GatedStore()


@pytest.fixture
def group(store: GatedStore) -> Iterator[GroupCommit]:
    commit = GroupCommit(store, 0, window_bytes=1 << 23, window_appends=1_000)
    yield commit
    store.let(1_000)
    commit.close()


def put(group: GroupCommit, count: int = 1, size: int = 64) -> None:
    group.append(bytes(size), count, group.last_seq + 1)


def begin(group: GroupCommit, store: GatedStore) -> None:
    """Have the thread write one command, and return while it does."""
    put(group)
    group.wait(0)
    store.taken()


def test_what_comes_while_a_group_is_written_becomes_the_next_one(group: GroupCommit, store: GatedStore) -> None:
    begin(group, store)
    for _ in range(3):
        put(group, 2)
    group.note(FrameKind.DIGEST, bytes(32))
    put(group)
    store.let(2)
    group.wait(8)
    assert store.groups == [[("COMMANDS", 1, 1)], [("COMMANDS", 2, 6), ("DIGEST", 7, 0), ("COMMANDS", 8, 1)]]


def test_a_caller_who_waits_writes_itself(group: GroupCommit, store: GatedStore) -> None:
    store.let(3)
    for _ in range(3):
        put(group)
        group.wait(group.last_seq)
    assert store.writers == [threading.main_thread()] * 3
    assert len(store.groups) == 3


def test_what_is_left_behind_is_written_meanwhile(group: GroupCommit, store: GatedStore) -> None:
    begin(group, store)
    put(group)
    store.let(1)
    group.wait(1)
    store.taken()
    store.let(1)
    group.wait(2)
    assert store.writers == [group._thread] * 2
    assert store.groups == [[("COMMANDS", 1, 1)], [("COMMANDS", 2, 1)]]


def test_what_nobody_waits_for_is_written_all_the_same(
    group: GroupCommit, store: GatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(group)
    put(group)
    store.taken()
    store.let(1)
    group.wait(2)
    monkeypatch.undo()
    patient = GroupCommit(store, 2, window_bytes=1 << 23, window_appends=1_000)
    put(patient)
    store.taken()
    store.let(2)
    patient.close()


def test_a_caller_whom_the_window_stops_has_what_is_in_it_written(store: GatedStore) -> None:
    group = GroupCommit(store, 0, window_bytes=1 << 23, window_appends=1)
    store.let(1_000)
    for _ in range(3):
        put(group)
    group.close()
    assert [frames[0][1] for frames in store.groups] == [1, 2, 3, 3]


def test_a_note_on_a_durable_command_is_waited_for(group: GroupCommit, store: GatedStore) -> None:
    store.let(1)
    put(group)
    group.wait(1)
    group.note(FrameKind.DIGEST, bytes(32))
    store.let(1)
    group.wait(1)
    assert store.groups == [[("COMMANDS", 1, 1)], [("DIGEST", 1, 0)]]


def test_a_note_that_somebody_else_is_writing_is_waited_for(group: GroupCommit, store: GatedStore) -> None:
    group.note(FrameKind.DIGEST, bytes(32))
    writer, caller = (threading.Thread(target=group.wait, args=[0]) for _ in range(2))
    writer.start()
    store.taken()
    caller.start()
    caller.join(0.1)
    assert caller.is_alive()
    store.let(1)
    caller.join(10)
    writer.join(10)
    assert store.groups == [[("DIGEST", 0, 0)]]


def test_whoever_waits_for_a_note_that_failed_is_told(group: GroupCommit, store: GatedStore) -> None:
    store.let(1)
    put(group)
    group.wait(1)
    group.note(FrameKind.DIGEST, bytes(32))
    store.full = True
    store.let(1)
    for _ in range(2):
        with pytest.raises(JournalError, match="the disk is full"):
            group.wait(1)


def test_a_note_before_commands_that_nobody_waits_for_is_not_waited_for(group: GroupCommit, store: GatedStore) -> None:
    store.let(1)
    put(group)
    group.wait(1)
    group.note(FrameKind.DIGEST, bytes(32))
    put(group)
    group.wait(1)
    assert store.groups == [[("COMMANDS", 1, 1)]]


def test_what_came_after_a_group_that_failed_is_not_written(group: GroupCommit, store: GatedStore) -> None:
    told: list[str] = []

    def wait(seq: int) -> None:
        try:
            group.wait(seq)
        except JournalError as error:
            told.append(str(error))

    put(group)
    callers = [threading.Thread(target=wait, args=[seq]) for seq in (1, 2)]
    callers[0].start()
    store.taken()
    put(group)
    callers[1].start()
    store.full = True
    store.let(1_000)
    for caller in callers:
        caller.join(10)
    assert told == ["the disk is full"] * 2
    group.halt("no room")
    assert store.groups == [[("HALT", 0, 0)]]


def test_halting_waits_for_a_caller_who_writes(group: GroupCommit, store: GatedStore) -> None:
    put(group)
    writer = threading.Thread(target=group.wait, args=[1])
    writer.start()
    store.taken()
    halting = threading.Thread(target=group.halt, args=["why"])
    halting.start()
    halting.join(0.1)
    assert halting.is_alive()
    store.let(2)
    halting.join(10)
    writer.join(10)
    assert store.groups == [[("COMMANDS", 1, 1)], [("HALT", 1, 0)]]


def test_many_commands_at_once_get_a_frame_of_their_own_and_few_join_one(group: GroupCommit, store: GatedStore) -> None:
    begin(group, store)
    put(group)
    put(group, 1_000, JOINED_BYTES_MAX)
    put(group, 1_000, JOINED_BYTES_MAX)
    put(group)
    put(group)
    store.let(2)
    group.wait(group.last_seq)
    assert store.groups[1] == [("COMMANDS", 2, 1), ("COMMANDS", 3, 1_000), ("COMMANDS", 1_003, 1_002)]


def test_everybody_who_waits_is_woken_once_their_commands_are_durable(group: GroupCommit, store: GatedStore) -> None:
    woken: list[int] = []

    def wait(seq: int) -> None:
        group.wait(seq)
        assert store.durable_seq >= seq
        woken.append(seq)

    begin(group, store)
    put(group)
    threads = [threading.Thread(target=wait, args=[1 + number % 2]) for number in range(8)]
    for thread in threads:
        thread.start()
    assert not woken
    store.let(1)
    for thread in threads[::2]:
        thread.join(10)
    assert woken == [1] * 4
    store.let(1)
    for thread in threads:
        thread.join(10)
    assert sorted(woken) == [1] * 4 + [2] * 4


@pytest.fixture
def interrupted() -> Iterator[Callable[[], None]]:
    """Return a function after which the main thread is interrupted soon, as by Ctrl-C."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    def soon() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, interrupt)
    yield soon
    signal.signal(signal.SIGALRM, before)


def test_whoever_is_interrupted_while_others_write_harms_nobody(
    group: GroupCommit, store: GatedStore, interrupted: Callable[[], None]
) -> None:
    begin(group, store)
    interrupted()
    with pytest.raises(KeyboardInterrupt):
        group.wait(1)
    put(group)
    store.let(2)
    group.wait(2)
    assert store.durable_seq == 2


def test_a_write_that_is_interrupted_ends_the_journal(store: GatedStore, interrupted: Callable[[], None]) -> None:
    group = GroupCommit(store, 0, window_bytes=1 << 23, window_appends=1_000)
    others: list[str] = []

    def wait() -> None:
        store.taken()
        try:
            group.wait(1)
        except JournalError as error:
            others.append(str(error))

    put(group)
    waiting = threading.Thread(target=wait)
    waiting.start()
    interrupted()
    with pytest.raises(KeyboardInterrupt):
        group.wait(1)
    waiting.join(10)
    store.let(1_000)
    for call in (lambda: put(group), lambda: group.wait(1), lambda: group.halt("?")):
        with pytest.raises(JournalError, match="interrupted half-way"):
            call()
    assert others == ["a write was interrupted half-way: recover from the journal"]
    group.close()
    assert not store.groups


def test_a_caller_interrupted_at_a_full_window_has_appended_nothing(
    store: GatedStore, interrupted: Callable[[], None]
) -> None:
    group = GroupCommit(store, 0, window_bytes=128, window_appends=1_000)
    put(group)
    put(group)
    interrupted()
    with pytest.raises(KeyboardInterrupt):
        put(group)
    assert group.last_seq == 2
    store.let(1_000)
    put(group)
    group.wait(3)
    group.close()


def test_the_command_prints_what_was_measured_and_fails_below_the_floor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = bench_journal(rounds=2)
    assert all(value > 0 for value in attrs.astuple(result))
    assert result.syncs_per_group <= 1
    for ratio, code in ((0.5, 0), (0.49, 1)):
        measured = attrs.evolve(result, waited_ratio=ratio)
        monkeypatch.setattr("perpkit.cli.bench.bench_journal", lambda progress, measured=measured: measured)
        assert main(["bench", "journal", "--json"]) == code
        assert json.loads(capsys.readouterr().out) == attrs.asdict(measured) | {"met": code == 0}
        assert main(["bench", "journal"]) == code
        assert f"{ratio} (floor 0.5)" in capsys.readouterr().out


def test_groups_that_were_merged_count_as_one_sync() -> None:
    def frame(turn: int, durable_seq: int) -> Frame:
        first_seq = 1 + turn * 4_096
        return Frame(
            kind=FrameKind.COMMANDS, first_seq=first_seq, count=4_096, epoch=1, durable_seq=durable_seq, payload=b""
        )

    alone = [frame(turn, turn * 4_096) for turn in range(2 * GROUPS_PER_ROUND)]
    assert syncs_of(alone) == [GROUPS_PER_ROUND] * 2
    merged = [*alone[:-1], frame(2 * GROUPS_PER_ROUND - 1, alone[-2].durable_seq)]
    assert syncs_of(merged) == [GROUPS_PER_ROUND, GROUPS_PER_ROUND - 1]
