"""Opening: read every segment, believe nothing, and say exactly what does not hold."""

from collections.abc import Callable, Sequence

import attrs

from perpkit.errors import JournalError
from perpkit.ports.journal import Cut, FrameKind
from perpkit.runtime.journal.frame import Chain, Fault, Head, Run, damage, frame_of
from perpkit.runtime.journal.header import PAGE_BYTES, Slot, read_page

SUFFIX = ".pkj"
_FROM_BACKUP = "restore the directory from a copy; nothing was changed"


@attrs.frozen(kw_only=True)
class SegmentInfo:
    """One segment: the first sequence it can hold, the checksum and epoch before it, where its frames end."""

    name: str
    first_seq: int
    prev_crc: int
    epoch: int
    end: int

    def chain(self) -> Chain:
        """Return where the journal had come to when the segment began."""
        return Chain(self.prev_crc, self.epoch, self.first_seq - 1)


@attrs.frozen(kw_only=True)
class Verified:
    """What a journal holds, after every byte of it was checked; `manifest` is the last writer's, as it stands there."""

    manifest: bytes
    chain: Chain
    segments: Sequence[SegmentInfo]
    slot: Slot
    cuts: Sequence[Cut]


def segment_name(first_seq: int) -> str:
    """Return the name of the segment whose first command gets `first_seq`."""
    return f"{first_seq:020d}{SUFFIX}"


@attrs.define
class Marks:
    """Frames that some slot says are durable, by their checksum, until they are seen."""

    wanted: dict[int, tuple[int, str]] = attrs.field(factory=dict[int, tuple[int, str]])
    durable_seq: int = 0

    def want(self, slot: Slot, chain: Chain, where: str) -> None:
        """Expect the frame that a slot names, unless it is the last one seen."""
        self.durable_seq = max(self.durable_seq, slot.durable_seq)
        if slot.chain_crc != chain.crc:
            self.wanted[slot.chain_crc] = (slot.durable_seq, where)

    def see(self, head: Head) -> None:
        """Take in an intact frame."""
        self.durable_seq = max(self.durable_seq, head.durable_seq)
        if self.wanted:
            self.wanted.pop(head.crc, None)

    def missing(self, chain: Chain) -> str:
        """Say what is durable but was not seen; nothing if all is there."""
        if self.durable_seq <= chain.last_seq and not self.wanted:
            return ""
        where = next((f" (says {name})" for _, name in self.wanted.values()), "")
        return f"everything up to sequence {self.durable_seq} was durable{where}"


def verify(
    names: Sequence[str], read: Callable[[str], bytes], *, config_digest: bytes, accept_torn: bool = False
) -> Verified:
    """Check the segments of a journal, all of them, in the order of their names.

    Raises:
        JournalError: anything but an unfinished write at the end is wrong.
    """
    chain, marks = Chain(), Marks()
    infos: list[SegmentInfo] = []
    slot, fault, manifest = Slot(0, 0, 0), None, b""
    for name in names:
        if fault is not None:
            raise damage(infos[-1].name, fault.at, chain.last_seq + 1, f"{fault.reason}, and {name} follows")
        info, slot, run = _begin(name, read(name), chain, marks, config_digest)
        for head in run:
            marks.see(head)
            if head.kind == FrameKind.EPOCH:
                manifest = frame_of(run.data, head).payload
        infos.append(attrs.evolve(info, end=run.end))
        fault = run.fault
    last = infos[-1]
    cuts = [_cut(fault, last.name, chain, marks, accept_torn)] if fault else []
    missing = marks.missing(chain)
    if missing:
        raise damage(last.name, last.end, chain.last_seq + 1, f"the journal ends here, but {missing}", _FROM_BACKUP)
    return Verified(manifest=manifest, chain=chain, segments=infos, slot=slot, cuts=cuts)


def _begin(name: str, data: bytes, chain: Chain, marks: Marks, config_digest: bytes) -> tuple[SegmentInfo, Slot, Run]:
    """Check that a segment continues the one before it."""
    header, slot = read_page(data[:PAGE_BYTES], name, config_digest)
    expected = chain.last_seq + 1
    if name != segment_name(header.first_seq):
        raise JournalError(f"{name}: its header says {segment_name(header.first_seq)}: the file was renamed or swapped")
    if header.first_seq != expected:
        reason = f"starts with sequence {header.first_seq}: a segment before it is missing or was swapped"
        raise damage(name, 0, expected, reason, _FROM_BACKUP)
    if header.prev_crc != chain.crc:
        reason = f"continues a frame with checksum {header.prev_crc:08x}, the one before has {chain.crc:08x}"
        raise damage(name, 0, expected, f"{reason}: a segment of another journal, or swapped", _FROM_BACKUP)
    marks.want(slot, chain, name)
    info = SegmentInfo(name=name, first_seq=expected, prev_crc=chain.crc, epoch=chain.epoch, end=PAGE_BYTES)
    return info, slot, Run(data, chain, PAGE_BYTES)


def _cut(fault: Fault, name: str, chain: Chain, marks: Marks, accept_torn: bool) -> Cut:
    """Return what to remove, if it is an unfinished write that nobody was told had happened."""
    marks.durable_seq = max(marks.durable_seq, fault.durable_seq)
    missing = marks.missing(chain)
    if missing:
        raise damage(name, fault.at, chain.last_seq + 1, f"{fault.reason}, but {missing}", _FROM_BACKUP)
    if fault.misplaced:
        raise damage(name, fault.at, chain.last_seq + 1, fault.reason, _FROM_BACKUP)
    if not fault.torn and not accept_torn:
        advice = "nobody was told that it is durable as far as the files say: accept_torn cuts it"
        raise damage(name, fault.at, chain.last_seq + 1, fault.reason, advice)
    return Cut(where=f"{name}, offset {fault.at}", after_seq=chain.last_seq, bytes_cut=fault.live - fault.at)
