"""What a journal asks of the operating system: complete writes, real syncs, atomic replacement, one lock.

Names of `os` are looked up at the call, so that a test can put a broken disk in their place.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from perpkit.errors import FencedError, JournalError
from perpkit.model.records import Buffer

_ZEROS = bytes(1 << 20)
_BUFFERS_MAX = 64


def write_all(fd: int, pieces: Sequence[Buffer], at: int) -> None:
    """Write every byte: a disk that fills up takes a part first, and says so only by the count.

    Raises:
        OSError: what the system says; some of the pieces may have been written.
    """
    if len(pieces) > _BUFFERS_MAX:
        pieces = [b"".join(pieces)]
    total = sum(len(piece) for piece in pieces)
    done = os.pwritev(fd, pieces, at)
    if done == total:
        return
    rest = memoryview(b"".join(pieces))
    while done < total:
        done += os.pwrite(fd, rest[done:], at + done)


def sync_data(fd: int) -> None:
    """Return when a file's data, and what it takes to read it back, is on the medium."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # there, fsync leaves the data in the drive's cache
    else:
        os.fdatasync(fd)


def allocate(fd: int, at: int, size: int) -> None:
    """Reserve room that reads as zeros; later writes to it cannot meet a full disk on most file systems."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, at, size)
        return
    for offset in range(at, at + size, len(_ZEROS)):
        write_all(fd, [_ZEROS[: at + size - offset]], offset)


def sync_directory(directory: Path) -> None:
    """Return when names made or changed in a directory are on the medium."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put_file(path: Path, pieces: Sequence[Buffer], size: int = 0) -> None:
    """Make or replace a file so that after a crash it is there whole or not at all; `size` reserves more room."""
    draft = path.with_name(path.name + ".tmp")
    try:
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            if size:
                allocate(fd, 0, size)
            write_all(fd, pieces, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def make_directory(directory: Path) -> None:
    """Make a directory, durably, unless it is there."""
    if not directory.is_dir():
        directory.mkdir(parents=True)
        sync_directory(directory.parent)


class WriterLock:
    """Held by the one writer of a directory; the system frees it when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        try:
            import fcntl
        except ImportError:
            raise JournalError("this system has no flock: name another journal, such as sqlite") from None
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 256, 0).decode("utf-8", "replace").strip() or "unknown"
            os.close(self._fd)
            raise FencedError(f"{directory}: held by another writer ({holder}): stop that one first") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._fd)


class EpochFile:
    """The number of the writer that may write. Read before each group, so that a writer without its lock notices."""

    def __init__(self, directory: Path) -> None:
        self.path: Path = directory / "epoch"

    def read(self) -> int:
        """Return the present epoch; 0 if none was written.

        Raises:
            JournalError: the file holds no number.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            raw = os.read(fd, 32)
        finally:
            os.close(fd)
        if not raw.strip().isdigit():
            raise JournalError(f"{self.path.name}, offset 0: expected a number, was {raw!r}")
        return int(raw)

    def write(self, epoch: int) -> None:
        """Let the writer of this epoch write, and no other."""
        put_file(self.path, [f"{epoch}\n".encode()])
