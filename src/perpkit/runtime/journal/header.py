"""The header page: what a journal file belongs to, and in two alternating slots how much of it is durable.

Layout, little endian: `magic 8 | format u32 | crc kind u32 | configuration digest 32 | first_seq u64 | prev_crc u32 |
crc u32`, slots `counter u64 | durable_seq u64 | chain crc u32 | crc u32` at 512 and 1,024, zeros up to 4,096.
"""

import struct
import zlib

import attrs

from perpkit.errors import JournalError
from perpkit.ports.journal import JournalContext

PAGE_BYTES = 4096
MAGIC = b"PERPKITJ"
FORMAT = 2
CRC_ZLIB = 1
_HEADER = struct.Struct("<8sII32sQI")
_CRC = struct.Struct("<I")
_HEADER_BYTES = _HEADER.size + _CRC.size
_SLOT = struct.Struct("<QQI")
_SLOT_BYTES = _SLOT.size + _CRC.size
# A sector each, so that one torn sector cannot take both.
SLOTS_AT = (512, 1024)


@attrs.frozen(kw_only=True)
class Header:
    """What a segment starts with: the first sequence it can hold, and the chain checksum it continues."""

    config_digest: bytes
    first_seq: int
    prev_crc: int

    def pack(self) -> bytes:
        """Return the header as bytes."""
        raw = _HEADER.pack(MAGIC, FORMAT, CRC_ZLIB, self.config_digest, self.first_seq, self.prev_crc)
        return raw + _CRC.pack(zlib.crc32(raw))


@attrs.frozen
class Slot:
    """The durable mark: the last durable sequence, and the checksum of the last durable frame."""

    counter: int
    durable_seq: int
    chain_crc: int

    @property
    def offset(self) -> int:
        """Where in the page it goes: never where the one before it stands."""
        return SLOTS_AT[self.counter % 2]

    def pack(self) -> bytes:
        """Return the slot as bytes."""
        raw = _SLOT.pack(self.counter, self.durable_seq, self.chain_crc)
        return raw + _CRC.pack(zlib.crc32(raw))


def new_page(header: Header, slot: Slot) -> bytes:
    """Return a header page with both slots filled."""
    page = bytearray(PAGE_BYTES)
    page[:_HEADER_BYTES] = header.pack()
    for each in (attrs.evolve(slot, counter=slot.counter - 1), slot):
        page[each.offset : each.offset + _SLOT_BYTES] = each.pack()
    return bytes(page)


def config_digest_of(context: JournalContext) -> bytes:
    """Return the configuration's digest as bytes; nothing for a reader who takes any.

    Raises:
        JournalError: it is not 64 hex digits.
    """
    digest = context.config_digest
    if not digest and context.read_only:
        return b""
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise JournalError(f"configuration digest: expected 64 hex digits, was {digest!r}")
    return raw


def read_page(data: bytes, where: str, config_digest: bytes) -> tuple[Header, Slot]:
    """Return the header and the newest slot of a page; an empty `config_digest` takes any.

    Raises:
        JournalError: it is not a journal's, or is of another format or configuration, or damaged.
    """
    if data[:8] != MAGIC:
        raise JournalError(f"{where}, offset 0: not a perpkit journal file (starts with {data[:8]!r})")
    if len(data) < PAGE_BYTES:
        raise JournalError(f"{where}, offset {len(data)}: the header page ends early")
    _, version, crc_kind, digest, first_seq, prev_crc = _HEADER.unpack_from(data)
    if version != FORMAT:
        age = "a newer" if version > FORMAT else "an older"
        raise JournalError(f"{where}, offset 8: format {version}, this perpkit reads {FORMAT}: use {age} perpkit")
    if crc_kind != CRC_ZLIB or zlib.crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise JournalError(f"{where}, offset 0: the header is damaged (wrong checksum)")
    if config_digest and digest != config_digest:
        raise JournalError(
            f"{where}, offset 16: written under configuration {digest.hex()}, opened under {config_digest.hex()}: "
            "open it with the configuration that it was written under"
        )
    blank = bytearray(data[:PAGE_BYTES])
    for at, size in ((0, _HEADER_BYTES), *((at, _SLOT_BYTES) for at in SLOTS_AT)):
        blank[at : at + size] = bytes(size)
    if blank != bytes(PAGE_BYTES):
        raise JournalError(f"{where}: the header page is damaged (data where only zeros belong)")
    return Header(config_digest=digest, first_seq=first_seq, prev_crc=prev_crc), _newest_slot(data, where)


def _newest_slot(page: bytes, where: str) -> Slot:
    slots = []
    for at in SLOTS_AT:
        raw = page[at : at + _SLOT.size]
        slot = Slot(*_SLOT.unpack(raw))
        if zlib.crc32(raw) == _CRC.unpack_from(page, at + _SLOT.size)[0] and slot.offset == at:
            slots.append(slot)
    if not slots:
        # They are written in turns with a sync between, so a crash damages one at most.
        raise JournalError(f"{where}, offset {SLOTS_AT[0]}: both durable marks are damaged")
    return max(slots, key=lambda slot: slot.counter)
