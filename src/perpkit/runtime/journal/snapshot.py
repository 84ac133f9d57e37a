"""Snapshots: a state as of a durable command, with a checksum of its own, and the files that hold them."""

import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from perpkit.engine.snapshot import STATE_LAYOUT
from perpkit.errors import JournalError
from perpkit.runtime.journal.disk import put_file, sync_directory
from perpkit.runtime.journal.header import FORMAT

MAGIC = b"PERPKITS"
SUFFIX = ".pks"
KEPT = 2
_HEAD = struct.Struct("<8sII32sQQ")
_CRC = struct.Struct("<I")
logger: logging.Logger = logging.getLogger("perpkit.journal")


def pack_snapshot(config_digest: bytes, seq: int, state: bytes) -> bytes:
    """Return a snapshot as bytes.

    Layout, little endian: `magic 8 | format u32 | state layout u32 | configuration digest 32 | seq u64 | len u64 |
    crc u32 | state`.
    """
    head = _HEAD.pack(MAGIC, FORMAT, STATE_LAYOUT, config_digest, seq, len(state))
    return head + _CRC.pack(zlib.crc32(state, zlib.crc32(head))) + state


def unpack_snapshot(data: bytes, config_digest: bytes, seq: int) -> bytes:
    """Return the state; an empty digest takes any.

    Raises:
        JournalError: it is damaged, or not what it should be.
    """
    start = _HEAD.size + _CRC.size
    if len(data) < start:
        raise JournalError(f"expected at least {start} bytes, was {len(data)}")
    magic, version, layout, digest, found_seq, size = _HEAD.unpack_from(data)
    state = data[start:]
    if zlib.crc32(state, zlib.crc32(data[: _HEAD.size])) != _CRC.unpack_from(data, _HEAD.size)[0]:
        raise JournalError("damaged (wrong checksum)")
    if (magic, version, found_seq, size) != (MAGIC, FORMAT, seq, len(state)):
        raise JournalError("not the snapshot that its name says, or of another format")
    if layout != STATE_LAYOUT:
        raise JournalError(f"the state has layout {layout}, this perpkit reads {STATE_LAYOUT}")
    if config_digest and digest != config_digest:
        raise JournalError("taken under another configuration")
    return state


class SnapshotFiles:
    """The snapshots of a directory, each a file named after its sequence."""

    def __init__(self, directory: Path, config_digest: bytes) -> None:
        self._directory, self._config_digest = directory, config_digest
        self._told: set[int] = set()

    def sequences(self) -> list[int]:
        """Return what the files are named, the newest first."""
        stems = (path.stem for path in self._directory.glob(f"*{SUFFIX}"))
        return sorted((int(stem) for stem in stems if stem.isdigit()), reverse=True)

    def check(self, last_seq: int) -> None:
        """Refuse a journal that ends before a snapshot: only what was durable is ever in one.

        Raises:
            JournalError: it does.
        """
        newest = max(self.sequences(), default=0)
        if newest > last_seq:
            raise JournalError(
                f"{self._name(newest)}: the journal ends at sequence {last_seq}, before this snapshot: "
                "what was durable is missing; restore the directory from a copy"
            )

    def put(self, seq: int, state: bytes) -> None:
        """Keep a snapshot, and of the others the newest that is older.

        Raises:
            JournalError: it could not be written.
        """
        try:
            put_file(self._directory / self._name(seq), [pack_snapshot(self._config_digest, seq, state)])
            for old in self.sequences()[KEPT:]:
                (self._directory / self._name(old)).unlink()
            sync_directory(self._directory)
        except OSError as error:
            raise JournalError(f"{self._name(seq)}: the snapshot could not be written: {error}") from error

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield those that can be used, the newest first; for each of the others the log says once why not."""
        for seq in self.sequences():
            try:
                data = (self._directory / self._name(seq)).read_bytes()
            except OSError:
                continue  # a writer replaced it meanwhile, or it cannot be read: the next one will do
            try:
                state = unpack_snapshot(data, self._config_digest, seq)
            except JournalError as error:
                if seq not in self._told:
                    logger.warning("%s: passed over: %s", self._name(seq), error)
                self._told.add(seq)
                continue
            yield seq, state

    @staticmethod
    def _name(seq: int) -> str:
        return f"{seq:020d}{SUFFIX}"
