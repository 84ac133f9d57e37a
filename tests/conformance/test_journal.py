"""The journal: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import shutil
import time
from pathlib import Path

import attrs
import pytest

from perpkit.errors import FencedError
from perpkit.plugin import JOURNAL, Registry
from perpkit.ports.journal import FrameKind
from perpkit.runtime.journal import FileJournal, FileOptions, MemoryJournal, MemoryOptions, SqliteJournal, SqliteOptions
from perpkit.runtime.journal.file import SEGMENT_BYTES_MIN
from perpkit.testing.conformance import broken
from perpkit.testing.conformance.journal import DURABLE, JournalConformance

SMALL = FileOptions(segment_bytes=SEGMENT_BYTES_MIN)


class TestMemory(JournalConformance):
    """It forgets with the process, but no rule lasts longer; and it lets a second writer in, unlike the others."""

    capabilities = frozenset({DURABLE})

    def make(self, context):
        return MemoryJournal(context, MemoryOptions())


class TestFile(JournalConformance):
    capabilities = frozenset({DURABLE})

    def make(self, context):
        return FileJournal(context, SMALL)


class TestSqlite(JournalConformance):
    capabilities = frozenset({DURABLE})

    def make(self, context):
        return SqliteJournal(context, SqliteOptions())


class SignsInWithoutManifest(MemoryJournal):
    def _put(self, kind, payload, count=0):
        super()._put(kind, b"[]" if kind is FrameKind.EPOCH else payload, count)


class ReadsBackwards(MemoryJournal):
    def read(self, from_seq, /):
        return reversed(list(super().read(from_seq)))


class TakesAnySequence(MemoryJournal):
    def append(self, records, count, expected_seq, /):
        super().append(records, count, self.last_seq + 1)


class TakesWhatItCannotHold(MemoryJournal):
    def append(self, records, count, expected_seq, /):
        self._check()
        if expected_seq != self.last_seq + 1:
            raise FencedError("not the next")
        self._put(FrameKind.COMMANDS, records, count)


class ForgetsNotes(MemoryJournal):
    def note(self, kind, payload, /):
        pass


class KeepsANoteForLater(MemoryJournal):
    """Writes a note with the commands after it."""

    _kept = None

    def note(self, kind, payload, /):
        self._kept = (kind, payload)

    def append(self, records, count, expected_seq, /):
        if self._kept:
            super().note(*self._kept)
            self._kept = None
        super().append(records, count, expected_seq)


class NotesAnything(MemoryJournal):
    def note(self, kind, payload, /):
        self._put(kind, payload)


class ReadsOnlyWhatFollows(MemoryJournal):
    def read(self, from_seq, /):
        return (frame for frame in super().read(from_seq) if frame.first_seq >= from_seq)


class VouchesTooEarly(MemoryJournal):
    def read(self, from_seq, /):
        return (attrs.evolve(frame, durable_seq=frame.last_seq) for frame in super().read(from_seq))


class DropsWhatComesWhileItWaits(MemoryJournal):
    def wait(self, seq, /):
        time.sleep(0.001)
        self._shelf.frames = [frame for frame in self._shelf.frames if frame.last_seq <= seq]


class KeepsTheOldest(MemoryJournal):
    def put_snapshot(self, seq, state, /):
        if len(self._shelf.snapshots) < 2:
            super().put_snapshot(seq, state)


class KeepsWhatMayBeLost(MemoryJournal):
    def put_snapshot(self, seq, state, /):
        self._shelf.snapshots[seq] = state


class WritesAfterAHalt(MemoryJournal):
    def halt(self, reason, /):
        super().halt(reason)
        self._refusal = ""


class ForgetsWhyItHalted(MemoryJournal):
    def halt(self, reason, /):
        super().halt("")


class WritesAfterItsEnd(MemoryJournal):
    def close(self):
        pass


class StartsAnew(FileJournal):
    def __init__(self, context, options):
        if not context.read_only:
            shutil.rmtree(context.directory, ignore_errors=True)
        super().__init__(context, options)


class AcknowledgesBeforeItWrote(FileJournal):
    """Writes when it is closed."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._kept = []

    @property
    def last_seq(self):
        return super().last_seq + sum(count for _, count, _ in self._kept)

    @property
    def durable_seq(self):
        return self.last_seq

    def append(self, records, count, expected_seq, /):
        self._kept.append((records, count, expected_seq))

    def wait(self, seq, /):
        pass

    def close(self):
        kept, self._kept = self._kept, []
        for each in kept:
            super().append(*each)
        super().close()


class LetsReadersWrite(MemoryJournal):
    def __init__(self, context, options):
        super().__init__(context, options)
        self._refusal = ""


class ForgetsTheQueue(AcknowledgesBeforeItWrote):
    def close(self):
        self._kept = []
        super().close()


class KnowsNoOther(MemoryJournal):
    """Never looks whether somebody else took over."""

    def _check(self):
        self._epoch = self._shelf.epoch
        super()._check()


class TakesAnyConfiguration(MemoryJournal):
    def __init__(self, context, options):
        super().__init__(attrs.evolve(context, config_digest="00" * 32), options)


class TakesAnyParts(MemoryJournal):
    def __init__(self, context, options):
        super().__init__(attrs.evolve(context, accept_manifest=True), options)


class BelievesDamage(FileJournal):
    def snapshots(self):
        for path in sorted(Path(self._directory).glob("*.pks"), reverse=True):
            yield int(path.stem), path.read_bytes()[-99:]


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (SignsInWithoutManifest, "JOURNAL-010"),
        (ReadsBackwards, "JOURNAL-020"),
        (TakesAnySequence, "JOURNAL-030"),
        (TakesWhatItCannotHold, "JOURNAL-040"),
        (ForgetsNotes, "JOURNAL-050"),
        (KeepsANoteForLater, "JOURNAL-060"),
        (NotesAnything, "JOURNAL-070"),
        (ReadsOnlyWhatFollows, "JOURNAL-080"),
        (VouchesTooEarly, "JOURNAL-090"),
        (DropsWhatComesWhileItWaits, "JOURNAL-100"),
        (KeepsTheOldest, "JOURNAL-110"),
        (KeepsWhatMayBeLost, "JOURNAL-120"),
        (WritesAfterAHalt, "JOURNAL-130"),
        (ForgetsWhyItHalted, "JOURNAL-130"),
        (WritesAfterItsEnd, "JOURNAL-140"),
        (WritesAfterItsEnd, "JOURNAL-150"),
        (StartsAnew, "JOURNAL-200"),
        (AcknowledgesBeforeItWrote, "JOURNAL-210"),
        (LetsReadersWrite, "JOURNAL-220"),
        (ForgetsTheQueue, "JOURNAL-230"),
        (KnowsNoOther, "JOURNAL-240"),
        (TakesAnyConfiguration, "JOURNAL-250"),
        (TakesAnyParts, "JOURNAL-260"),
        (BelievesDamage, "JOURNAL-270"),
        (ForgetsNotes, "JOURNAL-300"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    class Suite(JournalConformance):
        capabilities = frozenset({DURABLE})

        def make(self, context):
            return faulty(context, SMALL if issubclass(faulty, FileJournal) else MemoryOptions())

    assert broken(Suite(), rule)


class ToldByHash(MemoryJournal):
    """Hands out a state in which there is a hash of text."""

    def snapshots(self):
        return ((seq, b"%d" % hash("state")) for seq, _ in super().snapshots())


class OfAnotherRun(JournalConformance):
    """Here, not in the test: rule 930 has another process import it."""

    def make(self, context):
        return ToldByHash(context, MemoryOptions())


@pytest.mark.parametrize(("own_seed", "other_seed"), [("", "1"), ("1", "2"), ("2", "1")])
def test_what_a_hash_seed_decides_is_caught_by_a_run_under_another_seed(own_seed, other_seed, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", own_seed)
    found = broken(OfAnotherRun(), "JOURNAL-930")
    assert f"other answers under PYTHONHASHSEED={other_seed}" in str(found)


@pytest.mark.parametrize("name", ["file", "sqlite"])
def test_a_journal_on_a_disk_is_offered_as_durable(name):
    assert DURABLE in Registry.builtin().get(JOURNAL, name).capabilities
