"""Frames and header pages: what goes in comes out, and whatever is changed on the way is noticed."""

from __future__ import annotations

import attrs
import pytest

from perpkit.errors import JournalError
from perpkit.ports.journal import FrameKind, JournalContext
from perpkit.runtime.journal.frame import (
    END,
    FRAME_BYTES_MAX,
    HEAD_BYTES,
    PAYLOAD_BYTES_MAX,
    Chain,
    Draft,
    Run,
    frame_of,
    head_at,
    is_intact,
    pack,
)
from perpkit.runtime.journal.header import (
    FORMAT,
    PAGE_BYTES,
    SLOTS_AT,
    Header,
    Slot,
    config_digest_of,
    new_page,
    read_page,
)

DIGEST = bytes(range(32))
HEADER = Header(config_digest=DIGEST, first_seq=1, prev_crc=0)


def frames(*drafts: Draft, epoch: int = 1) -> bytes:
    """Return drafts as a chain of frames."""
    crc, out = 0, b""
    for draft in drafts:
        packed = pack(draft, epoch=epoch, prev_crc=crc, durable_seq=0)
        crc, out = packed.crc, out + b"".join(packed.pieces)
    return out


def signed_in(*drafts: Draft) -> bytes:
    """Return drafts after the frame of a writer that took over."""
    return frames(Draft.note(FrameKind.EPOCH, 0, b"[]"), *drafts)


def commands(first_seq: int, count: int, byte: bytes = b"x") -> Draft:
    """Return a draft of so many 64-byte commands."""
    draft = Draft(FrameKind.COMMANDS, first_seq)
    draft.add(byte * 64 * count, count)
    return draft


def decode(data: bytes) -> Run:
    """Return the run over all frames, gone through."""
    run = Run(data, Chain(), 0)
    for _ in run:
        pass
    return run


def test_frames_come_back() -> None:
    data = signed_in(commands(1, 2), Draft.note(FrameKind.DIGEST, 2, DIGEST), commands(3, 1, b"\0"))
    run = Run(data, Chain(), 0)
    got = [frame_of(data, head) for head in run]
    assert [(f.kind, f.first_seq, f.count, f.last_seq) for f in got] == [
        (FrameKind.EPOCH, 0, 0, 0),
        (FrameKind.COMMANDS, 1, 2, 2),
        (FrameKind.DIGEST, 2, 0, 2),
        (FrameKind.COMMANDS, 3, 1, 3),
    ]
    assert [f.payload for f in got] == [b"[]", b"x" * 128, DIGEST, bytes(64)]
    assert run.fault is None
    assert run.end == len(data)


def test_a_group_is_joined_from_its_parts() -> None:
    draft = Draft(FrameKind.COMMANDS, 1)
    draft.add(b"a" * 64, 1)
    draft.add(b"b" * 64, 1)
    crc, pieces, last_seq = pack(draft, epoch=1, prev_crc=0, durable_seq=0)
    data = b"".join(pieces)
    assert len(data) == draft.frame_bytes == HEAD_BYTES + 128 + len(END)
    assert (head_at(data, 0).crc, last_seq) == (crc, 2)
    assert frame_of(data, head_at(data, 0)).payload == b"a" * 64 + b"b" * 64


def test_the_largest_frame_is_a_mebibyte() -> None:
    draft = Draft.note(FrameKind.DIGEST, 0, bytes(PAYLOAD_BYTES_MAX))
    assert draft.frame_bytes == FRAME_BYTES_MAX
    with pytest.raises(JournalError, match="at most"):
        Draft.note(FrameKind.DIGEST, 0, bytes(PAYLOAD_BYTES_MAX + 1))


def test_the_end_mark_has_no_zero_byte() -> None:
    assert all(END)


def test_every_single_bit_of_a_frame_counts() -> None:
    data = signed_in(commands(1, 2))
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert not all(is_intact(changed, head_at(changed, at)) for at in (0, HEAD_BYTES + 2 + len(END))), bit


def test_a_full_frame_whose_length_field_is_damaged_is_not_taken_for_an_unfinished_one() -> None:
    data = bytearray(signed_in(commands(1, 2)) + bytes(4096))
    data[HEAD_BYTES + 2 + len(END) + 5] ^= 2  # 512 bytes longer, into the zeros
    fault = decode(bytes(data)).fault
    assert fault is not None
    assert not fault.torn


def test_a_payload_that_ends_in_zeros_is_whole_only_with_its_end_mark() -> None:
    data = signed_in(commands(1, 1, b"\0"))
    assert decode(data + bytes(100)).fault is None
    for cut in range(1, 60):
        fault = decode(data[:-cut] + bytes(cut + 100)).fault
        assert fault is not None
        assert fault.torn


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (commands(2, 1), "a frame for sequence 2 after 0"),
        (commands(0, 1), "a frame for sequence 0 after 0"),
        (Draft(FrameKind.COMMANDS, 0), "COMMANDS frame with 0"),
        (Draft(FrameKind.DIGEST, 1, 1), "DIGEST frame with 1"),
        (Draft.note(FrameKind.DIGEST, 3, b""), "a frame for sequence 3 after 0"),
        (Draft.note(FrameKind.EPOCH, 0, b""), "took over with epoch 1, not after 1"),
    ],
)
def test_an_intact_frame_in_the_wrong_place_is_named(second: Draft, reason: str) -> None:
    fault = decode(signed_in(second)).fault
    assert fault is not None
    assert fault.misplaced
    assert reason in fault.reason


def test_a_frame_of_another_epoch_or_journal_or_future_is_named() -> None:
    first = signed_in()
    crc = head_at(first, 0).crc
    cases = [
        (pack(commands(1, 1), epoch=2, prev_crc=crc, durable_seq=0), "of epoch 2 amid epoch 1"),
        (pack(commands(1, 1), epoch=1, prev_crc=crc ^ 1, durable_seq=0), "does not follow"),
        (pack(commands(1, 1), epoch=1, prev_crc=crc, durable_seq=1), "says 1 was durable after 0"),
        (
            pack(attrs.evolve(commands(1, 1), kind=99), epoch=1, prev_crc=crc, durable_seq=0),  # type: ignore[arg-type]
            "unknown kind 99",
        ),
    ]
    for packed, reason in cases:
        fault = decode(first + b"".join(packed.pieces)).fault
        assert fault is not None
        assert reason in fault.reason


def test_header_and_newest_slot_come_back() -> None:
    header = Header(config_digest=DIGEST, first_seq=2**63, prev_crc=2**32 - 1)
    page = bytearray(new_page(header, Slot(7, 5, 6)))
    assert read_page(bytes(page), "x", DIGEST) == (header, Slot(7, 5, 6))
    newer = Slot(8, 9, 10)
    page[newer.offset : newer.offset + 24] = newer.pack()
    assert read_page(bytes(page), "x", b"") == (header, newer)
    page[newer.offset + 3] ^= 1
    assert read_page(bytes(page), "x", DIGEST)[1] == Slot(7, 5, 6)
    page[SLOTS_AT[1] + 3] ^= 1
    with pytest.raises(JournalError, match="both durable marks"):
        read_page(bytes(page), "x", DIGEST)


def test_slots_alternate() -> None:
    assert [Slot(counter, 0, 0).offset for counter in range(4)] == [*SLOTS_AT, *SLOTS_AT]


def test_every_single_bit_of_a_header_page_counts() -> None:
    page = new_page(HEADER, Slot(1, 0, 0))
    for bit in range(PAGE_BYTES * 8):
        changed = bytearray(page)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            header, slot = read_page(bytes(changed), "x", DIGEST)
        except JournalError:
            continue
        # Only a slot may be damaged without more ado: the other one stands in for it.
        assert any(at <= bit // 8 < at + 24 for at in SLOTS_AT), bit
        assert (header, slot.durable_seq) == (HEADER, 0)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"SQLite f", "not a perpkit journal"),
        (8, (FORMAT + 1).to_bytes(4, "little"), "use a newer perpkit"),
        (8, (FORMAT - 1).to_bytes(4, "little"), "use an older perpkit"),
        (12, b"\x07", "header is damaged"),
        (16, b"\xff", "header is damaged"),
        (2000, b"\x01", "only zeros"),
    ],
)
def test_each_refusal_of_a_header_says_why(at: int, value: bytes, message: str) -> None:
    page = bytearray(new_page(HEADER, Slot(1, 0, 0)))
    page[at : at + len(value)] = value
    with pytest.raises(JournalError, match=f"^x.*{message}"):
        read_page(bytes(page), "x", DIGEST)


def test_other_configurations_and_short_files_are_refused() -> None:
    page = new_page(HEADER, Slot(1, 0, 0))
    with pytest.raises(JournalError, match=f"under configuration {DIGEST.hex()}, opened under {'00' * 32}"):
        read_page(page, "x", bytes(32))
    with pytest.raises(JournalError, match="ends early"):
        read_page(page[:100], "x", DIGEST)
    with pytest.raises(JournalError, match="not a perpkit journal"):
        read_page(b"", "x", DIGEST)


@pytest.mark.parametrize("digest", ["", "ab", "zz" * 32])
def test_a_writer_names_its_configuration(digest: str) -> None:
    with pytest.raises(JournalError, match="64 hex digits"):
        config_digest_of(JournalContext(directory="x", config_digest=digest, manifest=[]))


def test_a_reader_may_take_any_configuration() -> None:
    assert config_digest_of(JournalContext(directory="x", config_digest="", manifest=[], read_only=True)) == b""
