"""What a journal has to keep."""

import json
import threading
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit.errors import FencedError, JournalError
from perpkit.model.records import RECORD
from perpkit.plugin import JOURNAL
from perpkit.ports.journal import FrameKind
from perpkit.runtime.journal import MemoryJournal, MemoryOptions
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.journal_base import DIGEST, STEPS, JournalBase, batch, commands, kinds, put, step, told

DURABLE = "durable"
"""The capability of a journal that is there for whoever opens the directory next, in whatever process."""

FRAME_BYTES_MAX = 1 << 20
few: settings = settings(law, max_examples=25)
"""For laws whose every example opens files and waits for a disk."""


class JournalConformance(JournalBase):
    """Append, wait until durable, read, and snapshots beside; see `perpkit.ports.journal`.

    A journal that outlives its process declares the capability `durable`: its directory is then opened again.
    """

    port = JOURNAL
    code = "JOURNAL"

    @rule(10, "a new journal holds who writes it, and nothing else")
    def test_signs_in(self) -> None:
        """Its first frame is an EPOCH with the manifest as JSON."""
        context = self.context()
        journal = self.opened(context)
        assert (journal.last_seq, journal.durable_seq, list(journal.cuts), list(journal.snapshots())) == (0, 0, [], [])
        (signed,) = journal.read(0)
        assert (signed.kind, signed.first_seq, signed.count) == (FrameKind.EPOCH, 0, 0)
        assert json.loads(signed.payload) == list(context.manifest)

    @rule(20, "what was waited for is durable, and is read in order, as it was written")
    def test_reads_what_was_written(self) -> None:
        """Whether it came one by one or together."""
        journal, last = self.made(), 0
        for count in (1, 3, 40):
            last += count
            assert put(journal, count) == last
            assert journal.durable_seq <= last
            journal.wait(last)
            assert journal.durable_seq == last
        assert told(journal.read(1)) == commands(1, last)

    @rule(30, "only the next sequence is taken")
    def test_expected_seq(self) -> None:
        """Whoever expects another one is fenced, and nothing of theirs is written."""
        journal = self.made()
        journal.wait(put(journal, 5))
        for wrong in (0, 5, 7):
            with pytest.raises(FencedError):
                journal.append(batch(wrong, 1), 1, wrong)
        assert journal.last_seq == 5
        journal.wait(put(journal, 1))
        assert told(journal.read(1)) == commands(1, 6)

    @rule(40, "commands that do not fit one frame are refused")
    def test_too_large(self) -> None:
        """And nothing of them is written."""
        journal = self.made()
        count = FRAME_BYTES_MAX // RECORD.size + 1
        with pytest.raises(JournalError):
            journal.append(batch(1, 1) * count, count, 1)
        assert journal.last_seq == 0

    @rule(50, "a note stands after the command that it was made after")
    def test_notes(self) -> None:
        """Before the first command, too."""
        journal = self.made()
        journal.note(DIGEST, b"0" * 32)
        put(journal, 2)
        journal.note(DIGEST, b"2" * 32)
        journal.wait(put(journal, 1))
        noted = [("DIGEST", 0, b"0" * 32), *commands(1, 2), ("DIGEST", 2, b"2" * 32), *commands(3, 3)]
        assert told(journal.read(0))[1:] == noted

    @rule(60, "a note after the last command is durable after the next wait")
    def test_last_note(self) -> None:
        """Although the command that is waited for has long been durable."""
        journal = self.made()
        for last in range(1, 11):
            journal.wait(put(journal, 1))
            journal.note(DIGEST, bytes(32))
            journal.wait(last)
            assert kinds(journal.read(last))[-1] == ("DIGEST", last)

    @rule(70, "nobody but the journal notes anything but digests")
    def test_kinds_of_notes(self) -> None:
        """What else there is says what the journal itself did."""
        journal = self.made()
        for kind in set(FrameKind) - {DIGEST}:
            with pytest.raises(JournalError):
                journal.note(kind, b"")
        assert kinds(journal.read(0)) == [("EPOCH", 0)]

    @rule(80, "reading from a sequence leaves out the frames before it, and no other")
    def test_read_from(self) -> None:
        """A frame that holds it, or follows it, is not before it."""
        journal = self.made()
        for _ in range(4):
            put(journal, 3)
            journal.note(DIGEST, bytes(32))
            journal.wait(put(journal, 1))
        frames = list(journal.read(0))
        for seq in range(18):
            assert list(journal.read(seq)) == [frame for frame in frames if frame.last_seq >= seq]

    @rule(90, "a frame says who wrote it, and what was durable before it")
    def test_frames(self) -> None:
        """One writer has one epoch; nothing is durable before it is written."""
        journal = self.made()
        for _ in range(5):
            put(journal, 2)
            journal.note(DIGEST, bytes(32))
            journal.wait(put(journal, 1))
        frames = list(journal.read(0))
        assert {frame.epoch for frame in frames} == {frames[0].epoch}
        marks = [frame.durable_seq for frame in frames]
        assert marks == sorted(marks)
        assert all(frame.durable_seq <= frame.first_seq - (frame.count > 0) for frame in frames)

    @rule(100, "callers on several threads each get what they waited for")
    def test_threads(self) -> None:
        """One appends at a time, as a venue sees to; they wait together."""
        journal, turn, early = self.made(), threading.Lock(), list[int]()

        def call() -> None:
            for _ in range(10):
                with turn:
                    last = put(journal, 1)
                journal.wait(last)
                early.extend([last] if journal.durable_seq < last else [])

        threads = [threading.Thread(target=call) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not early
        assert told(journal.read(1)) == commands(1, 30)

    @rule(110, "the two newest snapshots are kept, and told the newest first")
    def test_snapshots(self) -> None:
        """An older one is left out."""
        journal = self.made()
        journal.wait(put(journal, 30))
        for seq in (10, 20, 30):
            journal.put_snapshot(seq, b"state %d" % seq)
        assert list(journal.snapshots()) == [(30, b"state 30"), (20, b"state 20")]

    @rule(120, "a state that may yet be lost is not kept")
    def test_snapshot_of_what_is_not_there(self) -> None:
        """Only what is durable is."""
        journal = self.made()
        journal.wait(put(journal, 3))
        with pytest.raises(JournalError):
            journal.put_snapshot(4, b"state")
        assert list(journal.snapshots()) == []

    @rule(130, "a halt is noted after what was appended, and nothing more is taken")
    def test_halt(self) -> None:
        """The reason is in it; what was appended before it is durable."""
        journal = self.made()
        put(journal, 3)
        journal.halt("law 1 does not hold ✗")
        with pytest.raises(JournalError):
            put(journal, 1)
        with pytest.raises(JournalError):
            journal.note(DIGEST, bytes(32))
        assert journal.durable_seq == 3
        assert told(journal.read(1)) == [*commands(1, 3), ("HALT", 3, "law 1 does not hold ✗".encode())]

    @rule(140, "a journal that halted or closed keeps no more snapshots")
    def test_no_snapshot_after_the_end(self) -> None:
        """Somebody else may write by then."""
        halted, closed = self.made(), self.made()
        for journal in (halted, closed):
            journal.wait(put(journal, 3))
        halted.halt("why")
        closed.close()
        for journal in (halted, closed):
            with pytest.raises(JournalError):
                journal.put_snapshot(3, b"state")

    @rule(150, "a closed journal takes nothing more")
    def test_closed(self) -> None:
        """What was appended before is durable."""
        journal = self.made()
        put(journal, 3)
        journal.close()
        with pytest.raises(JournalError):
            put(journal, 1)
        with pytest.raises(JournalError):
            journal.note(DIGEST, bytes(32))
        assert journal.durable_seq == 3

    @rule(200, "opened again, it goes on where it was", needs=DURABLE)
    def test_goes_on(self) -> None:
        """Each writer signs in with an epoch above the one before."""
        context = self.context()
        for last in (0, 3, 6):
            journal = self.opened(context)
            assert journal.last_seq == journal.durable_seq == last
            journal.wait(put(journal, 3))
            journal.put_snapshot(last + 3, b"state")
            journal.close()
        reader = self.opened(context, read_only=True)
        rounds = [[("EPOCH", n), *(("COMMAND", n + seq) for seq in (1, 2, 3)), ("CLOSE", n + 3)] for n in (0, 3, 6)]
        assert kinds(reader.read(0)) == [*rounds[0], *rounds[1], *rounds[2]]
        epochs = [frame.epoch for frame in reader.read(0) if frame.kind is FrameKind.EPOCH]
        assert epochs == sorted(set(epochs))
        assert [seq for seq, _ in reader.snapshots()] == [9, 6]

    @rule(210, "what was waited for, whoever looks then can see", needs=DURABLE)
    def test_acknowledged_is_written(self) -> None:
        """Not only after the writer closed: a crash would not have let it."""
        context = self.context()
        journal = self.opened(context)
        for _ in range(3):
            put(journal, 2)
            journal.note(DIGEST, bytes(32))
            journal.wait(put(journal, 1))
            reader = self.opened(context, read_only=True)
            assert (reader.last_seq, reader.durable_seq) == (journal.last_seq, journal.last_seq)
            seen = told(reader.read(0))
            assert [each for each in seen if each[0] == "COMMAND"] == commands(1, journal.last_seq)
            assert seen == told(journal.read(0))

    @rule(220, "a reader takes nothing, and nobody is disturbed by it", needs=DURABLE)
    def test_reader(self) -> None:
        """It looks while another writes."""
        context = self.context()
        writer = self.opened(context)
        writer.wait(put(writer, 2))
        reader = self.opened(context, read_only=True)
        with pytest.raises(JournalError):
            put(reader, 1)
        with pytest.raises(JournalError):
            reader.note(DIGEST, bytes(32))
        with pytest.raises(JournalError):
            reader.put_snapshot(2, b"state")
        with pytest.raises(JournalError):
            reader.halt("why")
        reader.close()
        writer.wait(put(writer, 1))
        assert told(writer.read(0))[1:] == commands(1, 3)
        assert list(writer.snapshots()) == []

    @rule(230, "closing writes what was appended, and a CLOSE frame", needs=DURABLE)
    def test_close(self) -> None:
        """Notes, too."""
        context = self.context()
        journal = self.opened(context)
        put(journal, 3)
        journal.note(DIGEST, bytes(32))
        journal.close()
        told_last = kinds(self.opened(context, read_only=True).read(1))
        assert told_last == [("COMMAND", 1), ("COMMAND", 2), ("COMMAND", 3), ("DIGEST", 3), ("CLOSE", 3)]

    @rule(240, "of two writers, one writes at most", needs=DURABLE)
    def test_two_writers(self) -> None:
        """The second does not get in, or the first is fenced from then on."""
        context = self.context()
        first = self.opened(context)
        first.wait(put(first, 2))
        try:
            second = self.opened(context)
        except FencedError:
            first.wait(put(first, 1))
        else:
            second.wait(put(second, 1))
            with pytest.raises(FencedError):
                first.wait(put(first, 1))
        seen = kinds(self.opened(context, read_only=True).read(1))
        assert [seq for kind, seq in seen if kind == "COMMAND"] == [1, 2, 3]

    @rule(250, "a log of another configuration is refused", needs=DURABLE)
    def test_configuration(self) -> None:
        """To readers as well, unless they take any."""
        context = self.context()
        self.opened(context).close()
        for read_only in (False, True):
            with pytest.raises(JournalError):
                self.opened(context, config_digest="11" * 32, read_only=read_only)
        assert self.opened(context, config_digest="", read_only=True).last_seq == 0

    @rule(260, "other parts write on only when that is accepted", needs=DURABLE)
    def test_manifest(self) -> None:
        """Readers may look without."""
        context = self.context()
        self.opened(context).close()
        other = [{"port": "book", "provider": "fast"}]
        with pytest.raises(JournalError):
            self.opened(context, manifest=other)
        assert self.opened(context, manifest=other, read_only=True).last_seq == 0
        accepted = self.opened(context, manifest=other, accept_manifest=True)
        accepted.wait(put(accepted, 1))

    @rule(270, "a damaged snapshot is left out", needs=DURABLE)
    def test_damaged_snapshot(self) -> None:
        """The one before it serves. Judged where a state stands in a file as it was given."""
        context = self.context()
        journal, older, newer = self.opened(context), b"older state" * 9, b"newer state" * 9
        journal.wait(put(journal, 30))
        journal.put_snapshot(20, older)
        journal.put_snapshot(30, newer)
        journal.close()
        files = [path for path in Path(context.directory).rglob("*") if path.is_file() and newer in path.read_bytes()]
        if not files:
            pytest.skip("keeps a state in another form than it was given")
        for path in files:
            path.write_bytes(path.read_bytes().replace(newer, b"Newer" + newer[5:]))
        assert list(self.opened(context, read_only=True).snapshots()) == [(20, older)]

    @rule(300, "it holds what the memory journal holds, whatever comes")
    @few
    @given(steps=st.lists(STEPS, max_size=8))
    def test_model(self, steps: list[tuple[str, int]]) -> None:
        """Opened again now and then, where it is durable."""
        context = self.context()
        named = attrs.evolve(context, directory=f"{context.directory}, as memory has it")
        try:
            mine, model = self.opened(context), MemoryJournal(named, MemoryOptions())
            for what, number in steps:
                if what == "reopen" and DURABLE in self.capabilities:
                    mine.close()
                    model.close()
                    mine, model = self.opened(context), MemoryJournal(named, MemoryOptions())
                for each in (mine, model):
                    step(each, what, number)
            for each in (mine, model):
                each.wait(put(each, 1))
            assert (mine.last_seq, mine.durable_seq) == (model.last_seq, model.last_seq)
            assert told(mine.read(0)) == told(model.read(0))
            assert list(mine.snapshots()) == list(model.snapshots())
        finally:
            self.clean_up()
            MemoryJournal.forget(named.directory)
