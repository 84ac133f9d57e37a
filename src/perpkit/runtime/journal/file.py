"""Journal `file`: append-only segment files, one writer, one sync per group."""

from collections.abc import Iterator
from pathlib import Path

import attrs

from perpkit.errors import JournalError
from perpkit.ports.journal import Frame, FrameKind, JournalContext
from perpkit.runtime.journal.base import DurableJournal, check_manifest, manifest_payload
from perpkit.runtime.journal.disk import EpochFile, WriterLock, make_directory
from perpkit.runtime.journal.frame import Draft, Run, damage, frame_of
from perpkit.runtime.journal.header import PAGE_BYTES, Header, Slot
from perpkit.runtime.journal.scan import SUFFIX, SegmentInfo, Verified, segment_name, verify
from perpkit.runtime.journal.segment import RESERVE_BYTES, SegmentStore, create_segment

SEGMENT_BYTES_MIN = PAGE_BYTES + 2 * RESERVE_BYTES


@attrs.frozen(kw_only=True)
class FileOptions:
    """`segment_bytes` is preallocated at a time; `window_bytes` and `window_appends` bound what is not yet durable."""

    segment_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=attrs.validators.ge(SEGMENT_BYTES_MIN))
    window_bytes: int = attrs.field(default=8 * 1024 * 1024, validator=attrs.validators.ge(1))
    window_appends: int = attrs.field(default=16_384, validator=attrs.validators.ge(1))


def segment_names(directory: Path) -> list[str]:
    """Return the segments of a directory in order.

    Raises:
        JournalError: a file ends like a segment but is not named like one.
    """
    names = sorted(path.name for path in directory.glob(f"*{SUFFIX}"))
    for name in names:
        stem = name.removesuffix(SUFFIX)
        if not (stem.isdigit() and name == segment_name(int(stem))):
            raise JournalError(f"{name}: not a segment's name (20 digits and {SUFFIX}): a file of something else")
    return names


class FileJournal(DurableJournal):
    """Keeps frames in `{first_seq:020d}.pkj` and snapshots in `{seq:020d}.pks`, in one directory.

    Opening verifies every byte. A reader (`read_only`) takes no lock, changes nothing, and may look while another
    writes.

    Raises:
        JournalError: damage, another configuration, format or manifest; or the system lacks flock and pwritev.
        FencedError: another writer holds the directory.
    """

    def __init__(self, context: JournalContext, options: FileOptions) -> None:
        super().__init__(context)
        self._store: SegmentStore | None = None
        if context.read_only:
            self._verified = self._look(context.accept_torn)
            self._snapshots.check(self._verified.chain.last_seq)
        else:
            self._verified = self._open(context, options)
        self._found_seq, self._cuts = self._verified.chain.last_seq, self._verified.cuts
        if self._store is not None:
            self._begin(self._store, options.window_bytes, options.window_appends)

    def _open(self, context: JournalContext, options: FileOptions) -> Verified:
        try:
            make_directory(self._directory)
            lock = WriterLock(self._directory)
        except OSError as error:
            raise JournalError(f"{self._directory}: cannot be opened: {error}") from error
        store = SegmentStore(self._directory, lock, options.segment_bytes, self._config_digest)
        try:
            found = self._take_over(store, context, options)
        except OSError as error:
            store.release()
            raise JournalError(f"{self._directory}: cannot be opened: {error}") from error
        except JournalError:
            store.release()
            raise
        self._store = store
        return found

    def _look(self, accept_torn: bool) -> Verified:
        """Verify without a lock: damage is there when looked at again, a group that was just being written is not."""
        seen = ""
        while True:
            names = segment_names(self._directory)
            if not names:
                raise JournalError(f"{self._directory}: no journal here")
            try:
                return verify(names, self._read_segment, config_digest=self._config_digest, accept_torn=accept_torn)
            except JournalError as error:
                if str(error) == seen:
                    raise
                seen = str(error)

    def _take_over(self, store: SegmentStore, context: JournalContext, options: FileOptions) -> Verified:
        """Fence whoever wrote before, verify, cut what is unfinished, and sign in with the manifest."""
        for leftover in self._directory.glob(f"*{SUFFIX}.tmp"):
            leftover.unlink()
        epoch_file = EpochFile(self._directory)
        names, epoch = segment_names(self._directory), epoch_file.read()
        if epoch:
            # The writer before may still live, without its lock: from here on it writes nothing more.
            epoch_file.write(epoch + 1)
        if not names:
            if epoch:
                raise JournalError(f"{self._directory}: written {epoch} times, but its segments are missing")
            header = Header(config_digest=self._config_digest, first_seq=1, prev_crc=0)
            create_segment(self._directory, header, Slot(1, 0, 0), options.segment_bytes)
            names = [segment_name(1)]
        found = verify(names, self._read_segment, config_digest=self._config_digest, accept_torn=context.accept_torn)
        self._snapshots.check(found.chain.last_seq)
        check_manifest(context, found.manifest)
        store.start(found.segments, found.chain, found.slot, sum(cut.bytes_cut for cut in found.cuts))
        store.take_over(max(epoch, found.chain.epoch) + 1)
        store.write([Draft.note(FrameKind.EPOCH, store.durable_seq, manifest_payload(context))])
        return found

    def _read_segment(self, name: str) -> bytes:
        try:
            return (self._directory / name).read_bytes()
        except OSError as error:
            raise JournalError(f"{name}: cannot be read: {error}") from error

    def read(self, from_seq: int, /) -> Iterator[Frame]:
        """See `Journal.read`; every frame is checked again."""
        infos = self._store.infos() if self._store else self._verified.segments
        following = [info.first_seq for info in infos[1:]]
        for info, next_seq in zip(infos, [*following, None], strict=True):
            # Notes after the last command of a segment may stand in it, so only a later one is passed over.
            if next_seq is None or next_seq > from_seq:
                yield from self._read_frames(info, from_seq)

    def _read_frames(self, info: SegmentInfo, from_seq: int) -> Iterator[Frame]:
        data = memoryview(self._read_segment(info.name))[: info.end]
        run = Run(data, info.chain(), PAGE_BYTES)
        for head in run:
            if head.last_seq >= from_seq:
                yield frame_of(data, head)
        if run.fault is not None or run.end != info.end:
            reason = run.fault.reason if run.fault else "the frames end here"
            raise damage(info.name, run.end, run.chain.last_seq + 1, f"{reason}: damaged since the journal was opened")
