"""Snapshots: a state as of a durable command, with a checksum of its own, and the files that hold them."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from perpkit.errors import JournalError
from perpkit.runtime.journal.disk import put_file, sync_directory
from perpkit.runtime.journal.header import FORMAT

MAGIC = b"PERPKITS"
SUFFIX = ".pks"
KEPT = 2
_HEAD = struct.Struct("<8sII32sQQ")
_CRC = struct.Struct("<I")


def pack_snapshot(config_digest: bytes, seq: int, state: bytes) -> bytes:
    """Return a snapshot as bytes: `magic 8 | format u32 | 0 u32 | digest 32 | seq u64 | len u64 | crc u32 | state`."""
    head = _HEAD.pack(MAGIC, FORMAT, 0, config_digest, seq, len(state))
    return head + _CRC.pack(zlib.crc32(state, zlib.crc32(head))) + state


def unpack_snapshot(data: bytes, config_digest: bytes, seq: int) -> bytes | None:
    """Return the state, or nothing if it is damaged or not what it should be; an empty digest takes any."""
    start = _HEAD.size + _CRC.size
    if len(data) < start:
        return None
    magic, version, _, digest, found_seq, size = _HEAD.unpack_from(data)
    state = data[start:]
    if (magic, version, found_seq, size) != (MAGIC, FORMAT, seq, len(state)):
        return None
    if config_digest and digest != config_digest:
        return None
    intact = zlib.crc32(state, zlib.crc32(data[: _HEAD.size])) == _CRC.unpack_from(data, _HEAD.size)[0]
    return state if intact else None


class SnapshotFiles:
    """The snapshots of a directory, each a file named after its sequence."""

    def __init__(self, directory: Path, config_digest: bytes) -> None:
        self._directory, self._config_digest = directory, config_digest

    def sequences(self) -> list[int]:
        """Return what the files are named, the newest first."""
        stems = (path.stem for path in self._directory.glob(f"*{SUFFIX}"))
        return sorted((int(stem) for stem in stems if stem.isdigit()), reverse=True)

    def check(self, last_seq: int) -> None:
        """Refuse a journal that ends before a snapshot: only what was durable is ever in one."""
        newest = max(self.sequences(), default=0)
        if newest > last_seq:
            raise JournalError(
                f"{self._name(newest)}: the journal ends at sequence {last_seq}, before this snapshot: "
                "what was durable is missing; restore the directory from a copy"
            )

    def put(self, seq: int, state: bytes) -> None:
        """Keep a snapshot, and of the others the newest that is older."""
        try:
            put_file(self._directory / self._name(seq), [pack_snapshot(self._config_digest, seq, state)])
            for old in self.sequences()[KEPT:]:
                (self._directory / self._name(old)).unlink()
            sync_directory(self._directory)
        except OSError as error:
            raise JournalError(f"{self._name(seq)}: the snapshot could not be written: {error}") from error

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield the intact ones, the newest first."""
        for seq in self.sequences():
            try:
                data = (self._directory / self._name(seq)).read_bytes()
            except OSError:
                continue  # a writer replaced it meanwhile, or it cannot be read: the next one will do
            state = unpack_snapshot(data, self._config_digest, seq)
            if state is not None:
                yield seq, state

    @staticmethod
    def _name(seq: int) -> str:
        return f"{seq:020d}{SUFFIX}"
