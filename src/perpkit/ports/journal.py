"""Journal: what happened, durably and in order, written by one writer. An owner, outside the exchange; it may block."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Protocol

import attrs


class FrameKind(IntEnum):
    """What a frame's payload is."""

    COMMANDS = 1
    """Command records, `count` of them, the first with sequence `first_seq`."""
    DIGEST = 2
    """The state digest after command `first_seq`, as 32 bytes."""
    EPOCH = 3
    """A writer took over: the composition manifest, as JSON."""
    HALT = 4
    """The exchange halted after command `first_seq`: why, as UTF-8 text."""
    CLOSE = 5
    """The writer stopped in good order; no payload."""


@attrs.frozen(kw_only=True)
class Frame:
    """One durable group. A frame that carries no commands has `count` 0 and names the command it follows.

    `durable_seq` is the last command that was durable before this frame was written.
    """

    kind: FrameKind
    first_seq: int
    count: int
    epoch: int
    durable_seq: int
    payload: bytes

    @property
    def last_seq(self) -> int:
        """The last command of the frame, or the command it follows."""
        return self.first_seq + self.count - 1 if self.count else self.first_seq


@attrs.frozen(kw_only=True)
class Cut:
    """What recovery removed above the durable mark: an unfinished write that nobody was told had happened."""

    where: str
    after_seq: int
    bytes_cut: int


@attrs.frozen(kw_only=True)
class JournalContext:
    """For journals: where the files may be, and what a log belongs to.

    `config_digest` is the SHA-256 of the configuration in hex, or empty for a reader that accepts any; `manifest`
    the composition, as plain values.
    `accept_torn`: cut a full-length frame with a wrong checksum above the durable mark instead of refusing it.
    `accept_manifest`: write on although the manifest is not the last writer's; a reader never compares it.
    """

    directory: str
    config_digest: str
    manifest: Sequence[Mapping[str, object]]
    accept_torn: bool = False
    accept_manifest: bool = False
    read_only: bool = False


class Journal(Protocol):
    """Append, wait until durable, read; and keep snapshots beside. Provisional.

    Raises `JournalError` for damage, with file, offset and sequence, and for every failure to write, after which
    nothing more is accepted. Raises `FencedError` when another writer took over.
    """

    @property
    @abstractmethod
    def last_seq(self) -> int:
        """The sequence of the last command that was appended, durable or not."""
        ...

    @property
    @abstractmethod
    def durable_seq(self) -> int:
        """The sequence of the last command that is known to be durable."""
        ...

    @property
    @abstractmethod
    def cuts(self) -> Sequence[Cut]:
        """What opening the journal had to remove."""
        ...

    @abstractmethod
    def append(self, records: bytes, count: int, expected_seq: int, /) -> None:
        """Queue commands to be written with the next group; return before they are durable.

        `expected_seq` is the sequence that the first of them must get: one after the last. Blocks while the window
        of what is not yet durable is full.

        Raises:
            FencedError: the sequence is not the next one, or another writer took over.
            JournalError: an earlier write failed; or the records do not fit one frame of 1 MiB.
        """
        ...

    @abstractmethod
    def note(self, kind: FrameKind, payload: bytes, /) -> None:
        """Queue a DIGEST frame after the last command; the journal writes the other kinds itself.

        One that is queued after the last command becomes durable with the next `wait`, `halt` or `close`.
        """
        ...

    @abstractmethod
    def wait(self, seq: int, /) -> None:
        """Return when every command up to `seq`, and every note before it, is durable.

        An interrupt in the middle of it may end the journal like a failed write.

        Raises:
            JournalError: a write failed; nothing after `durable_seq` may be told to anybody.
        """
        ...

    @abstractmethod
    def halt(self, reason: str, /) -> None:
        """Write a HALT frame now, out of the reserve if the disk is full, and accept nothing more."""
        ...

    @abstractmethod
    def read(self, from_seq: int, /) -> Iterator[Frame]:
        """Yield the durable frames that carry, or follow, a command at or after `from_seq`, in order."""
        ...

    @abstractmethod
    def put_snapshot(self, seq: int, state: bytes, /) -> None:
        """Keep a state as of a durable command, atomically; the two newest are kept.

        Raises:
            JournalError: the command is not durable yet; the journal was halted or closed, or is only read; or the
                state could not be written.
        """
        ...

    @abstractmethod
    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, state), the newest first; one that is damaged, or of another layout, is left out."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Write what is queued and a CLOSE frame, and let go of the lock."""
        ...
