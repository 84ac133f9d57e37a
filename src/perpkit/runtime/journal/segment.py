"""The writing side of the file journal: where the next frame goes, and what is durable."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import FrameKind
from perpkit.runtime.journal.disk import EpochFile, WriterLock, allocate, put_file, sync_data, write_all
from perpkit.runtime.journal.frame import Chain, Draft, Packed, pack
from perpkit.runtime.journal.header import PAGE_BYTES, Header, Slot, new_page
from perpkit.runtime.journal.scan import SegmentInfo, segment_name

RESERVE_BYTES = 32 * 1024
"""Held back at the end of each segment: a HALT and a CLOSE frame, and no others, may go there."""
_RESERVED_KINDS = (FrameKind.HALT, FrameKind.CLOSE)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@attrs.define
class _Open:
    """A segment open for writing; its durable frames end at `end`."""

    fd: int
    begun: SegmentInfo
    size: int
    end: int

    @property
    def info(self) -> SegmentInfo:
        """What it holds by now."""
        return attrs.evolve(self.begun, end=self.end)

    @property
    def first_seq(self) -> int:
        return self.begun.first_seq


def create_segment(directory: Path, header: Header, slot: Slot, size: int) -> None:
    """Make a segment, preallocated; it appears with a whole header or not at all."""
    put_file(directory / segment_name(header.first_seq), [new_page(header, slot)], size)


class SegmentStore:
    """Appends frames to the last segment, and makes the next one when it is full.

    The durable mark goes into a slot as soon as a group is durable, and to the medium with the group after it.
    """

    def __init__(self, directory: Path, lock: WriterLock, segment_bytes: int, config_digest: bytes) -> None:
        self.sound: bool = True
        self.epoch: int = 0
        self._directory, self._lock = directory, lock
        self._epoch_file = EpochFile(directory)
        self._segment_bytes, self._config_digest = segment_bytes, config_digest
        self._chain = Chain()
        self._slot = Slot(1, 0, 0)
        self._sealed: list[SegmentInfo] = []
        self._open: _Open | None = None
        self._retired: _Open | None = None
        self._listing = threading.Lock()

    @property
    def durable_seq(self) -> int:
        """See `Store.durable_seq`."""
        return self._chain.last_seq

    def start(self, infos: Sequence[SegmentInfo], chain: Chain, slot: Slot, cut_bytes: int) -> None:
        """Go on where verified segments end; what is there becomes durable, and what was cut zeros."""
        last = infos[-1]
        fd = os.open(self._directory / last.name, os.O_RDWR)
        try:
            size = os.fstat(fd).st_size
            if cut_bytes or size < self._segment_bytes:
                os.ftruncate(fd, last.end)
                size = max(size, self._segment_bytes, last.end + RESERVE_BYTES)
                allocate(fd, last.end, size - last.end)
            os.fsync(fd)
        except OSError:
            os.close(fd)
            raise
        self._sealed, self._open = list(infos[:-1]), _Open(fd, last, size, last.end)
        self._chain, self._slot = chain, slot

    def take_over(self, epoch: int) -> None:
        """From now on this writer may write, and no other."""
        self.epoch = epoch
        self._epoch_file.write(epoch)

    def infos(self) -> list[SegmentInfo]:
        """Return the segments and where their durable frames end."""
        with self._listing:
            return [*self._sealed, self._current().info]

    def write(self, drafts: Sequence[Draft], begun: Callable[[], None] | None = None, /) -> None:
        """See `Store.write`."""
        if not self.sound:
            raise JournalError(f"{self._directory}: an earlier write failed: nothing more may be written")
        self.sound = False  # until it is known how far this got
        try:
            self._check_fence()
            if begun:
                begun()
            self._write(drafts)
        except OSError as error:
            state = "the disk is full" if error.errno in _DISK_FULL else "the write failed"
            raise JournalError(f"{self._where()}: {state}: {error}") from error
        self.sound = True

    def _write(self, drafts: Sequence[Draft]) -> None:
        run: list[Packed] = []
        crc, run_bytes = self._chain.crc, 0
        for draft in drafts:
            if run_bytes + draft.frame_bytes > self._room(draft.kind):
                self._flush(run, run_bytes)
                run, run_bytes = [], 0
                if draft.frame_bytes > self._room(draft.kind):
                    self._make_room(draft.frame_bytes)
            packed = pack(draft, epoch=self.epoch, prev_crc=crc, durable_seq=self.durable_seq)
            run.append(packed)
            run_bytes += draft.frame_bytes
            crc = packed.crc
        self._flush(run, run_bytes)

    def _room(self, kind: FrameKind) -> int:
        segment = self._current()
        reserve = 0 if kind in _RESERVED_KINDS else RESERVE_BYTES
        return segment.size - reserve - segment.end

    def _flush(self, run: Sequence[Packed], size: int) -> None:
        """Write frames that fit the segment with one call, sync, and note the mark. A failed sync is never retried."""
        if not run:
            return
        segment, last = self._current(), run[-1]
        # Whatever can be made ready is, before the sync: somebody waits for what comes after it.
        chain = Chain(last.crc, self.epoch, last.last_seq)
        slot = Slot(self._slot.counter + 1, last.last_seq, last.crc)
        pieces, mark, at = [piece for packed in run for piece in packed.pieces], [slot.pack()], segment.end
        try:
            write_all(segment.fd, pieces, at)
        except OSError as error:
            if error.errno in _DISK_FULL:
                self._wipe(segment, at, size)
            raise
        sync_data(segment.fd)
        segment.end, self._chain, self._slot = at + size, chain, slot
        write_all(segment.fd, mark, slot.offset)
        if self._retired is not None:
            self._retire(self._retired)

    def _wipe(self, segment: _Open, at: int, size: int) -> None:
        """Turn what a full disk left of a group back into zeros, so that a HALT frame can follow the last good one."""
        with contextlib.suppress(OSError):
            write_all(segment.fd, [bytes(size)], at)
            self.sound = True

    def _retire(self, segment: _Open) -> None:
        """Leave the new mark in the segment before, too: a last segment that goes missing is then noticed."""
        self._retired = None
        try:
            write_all(segment.fd, [self._slot.pack()], self._slot.offset)
            sync_data(segment.fd)
        finally:
            os.close(segment.fd)

    def _make_room(self, frame_bytes: int) -> None:
        """Make the next segment; one without a command keeps its name, so it grows instead."""
        segment = self._current()
        size = max(self._segment_bytes, PAGE_BYTES + frame_bytes + RESERVE_BYTES)
        try:
            if segment.first_seq == self.durable_seq + 1:
                allocate(segment.fd, segment.size, size)
                os.fsync(segment.fd)
                segment.size += size
                return
            first_seq = self.durable_seq + 1
            header = Header(config_digest=self._config_digest, first_seq=first_seq, prev_crc=self._chain.crc)
            create_segment(self._directory, header, self._slot, size)
        except OSError as error:
            # Nothing of the group touched this segment: it can take a HALT frame, unless the next one has begun.
            begun = (self._directory / segment_name(self.durable_seq + 1)).exists()
            self.sound = error.errno in _DISK_FULL and not (begun and segment.first_seq <= self.durable_seq)
            raise
        info = SegmentInfo(
            name=segment_name(first_seq),
            first_seq=first_seq,
            prev_crc=self._chain.crc,
            epoch=self._chain.epoch,
            end=PAGE_BYTES,
        )
        fd = os.open(self._directory / info.name, os.O_RDWR)
        with self._listing:
            self._sealed.append(segment.info)
            self._retired, self._open = segment, _Open(fd, info, size, info.end)

    def _check_fence(self) -> None:
        current = self._epoch_file.read()
        if current != self.epoch:
            raise FencedError(
                f"{self._directory}: another writer took over with epoch {current}, this one has {self.epoch}: "
                "its lock was removed or lost; stop this writer"
            )

    def _current(self) -> _Open:
        if self._open is None:
            raise JournalError(f"{self._directory}: the journal was not started")
        return self._open

    def _where(self) -> str:
        segment = self._current()
        return f"{segment.begun.name}, offset {segment.end}, sequence {self.durable_seq + 1}"

    def release(self) -> None:
        """Bring the last mark to the medium and let go of files and lock."""
        sound, self.sound = self.sound, False
        try:
            if self._open is not None and sound:
                sync_data(self._open.fd)
        except OSError as error:
            raise JournalError(f"{self._where()}: the last sync failed: {error}") from error
        finally:
            for each in (self._open, self._retired):
                if each is not None:
                    os.close(each.fd)
            self._lock.release()
