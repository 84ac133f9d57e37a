"""Group commit: callers hand over commands and go on; one thread writes all that came together and syncs once."""

import threading
from collections.abc import Sequence
from typing import Protocol

from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import FrameKind
from perpkit.runtime.journal.frame import PAYLOAD_BYTES_MAX, Draft

HALT_BYTES_MAX = 16 * 1024


class Store(Protocol):
    """Where frames go. Called by one thread at a time."""

    sound: bool
    """Whether it can still write after a failure: a full disk leaves it sound, a failed sync or a new writer not."""

    @property
    def durable_seq(self) -> int:
        """The last durable command."""
        ...

    def write(self, drafts: Sequence[Draft], /) -> None:
        """Make frames durable, in order; on failure raise `JournalError` with `durable_seq` as far as it got."""
        ...

    def release(self) -> None:
        """Let go of files and locks."""
        ...


def check_batch(records: bytes, count: int) -> None:
    """Refuse commands that no frame can hold."""
    if count < 1 or not records:
        raise JournalError(f"append: expected at least one command, was {count} in {len(records)} bytes")
    if len(records) > PAYLOAD_BYTES_MAX:
        raise JournalError(f"append: expected at most {PAYLOAD_BYTES_MAX} bytes at a time, was {len(records)}")


def check_note(kind: FrameKind) -> None:
    """Refuse a note that only the journal itself may write."""
    if kind is not FrameKind.DIGEST:
        raise JournalError(f"note: expected a DIGEST, was {kind.name}: the journal writes those itself")


def check_snapshot(seq: int, durable_seq: int) -> None:
    """Refuse a snapshot of what may yet be lost."""
    if not 0 <= seq <= durable_seq:
        raise JournalError(f"snapshot: expected a durable sequence, at most {durable_seq}, was {seq}")


def not_next(expected_seq: int, last_seq: int) -> FencedError:
    """Return the error for an append that does not continue the journal."""
    return FencedError(f"append: expected to write sequence {expected_seq}, the next one is {last_seq + 1}")


def halt_payload(reason: str) -> bytes:
    """Return the text of a HALT frame, no longer than the reserve allows."""
    return reason.encode()[:HALT_BYTES_MAX].decode("utf-8", "ignore").encode()


class GroupCommit:
    """The writing side of a durable journal, over a store. `window_appends` bounds what waits, as does `window_bytes`.

    An append costs the caller a lock, a list entry and the checksum of its records; a group costs the thread one write
    and one sync, and a join a frame, however many commands it has.
    """

    def __init__(self, store: Store, last_seq: int, *, window_bytes: int, window_appends: int) -> None:
        self._store = store
        self._window_bytes, self._window_appends = window_bytes, window_appends
        lock = threading.Lock()
        self._work = threading.Condition(lock)
        self._done = threading.Condition(lock)
        self._queue: list[Draft] = []
        self._bytes = self._appends = 0
        self._last_seq = last_seq
        self._refusal = ""
        self._ending = self._halted = self._closed = self._told = False
        self._failure: JournalError | None = None
        self._thread = threading.Thread(target=self._write_groups, name="perpkit-journal", daemon=True)
        self._thread.start()

    @property
    def last_seq(self) -> int:
        """The sequence of the last command that was appended."""
        return self._last_seq

    @property
    def durable_seq(self) -> int:
        """The sequence of the last command that is known to be durable."""
        return self._store.durable_seq

    def append(self, records: bytes, count: int, expected_seq: int, /) -> None:
        """See `Journal.append`."""
        check_batch(records, count)
        with self._work:
            self._wait_for_room(len(records))
            if expected_seq != self._last_seq + 1:
                raise not_next(expected_seq, self._last_seq)
            draft = self._queue[-1] if self._queue else None
            if (
                draft is None
                or draft.kind is not FrameKind.COMMANDS
                or draft.payload_bytes + len(records) > PAYLOAD_BYTES_MAX
            ):
                draft = Draft(FrameKind.COMMANDS, expected_seq)
                self._queue.append(draft)
            draft.add(records, count)
            self._last_seq += count
            self._bytes += len(records)
            self._appends += 1
            self._work.notify()

    def note(self, kind: FrameKind, payload: bytes, /) -> None:
        """See `Journal.note`."""
        check_note(kind)
        draft = Draft.note(kind, 0, payload)
        with self._work:
            self._wait_for_room(len(payload))
            draft.first_seq = self._last_seq
            self._queue.append(draft)
            self._bytes += len(payload)
            self._appends += 1
            self._work.notify()

    def _wait_for_room(self, more_bytes: int) -> None:
        self._check()
        while self._appends and (
            self._bytes + more_bytes > self._window_bytes or self._appends >= self._window_appends
        ):
            self._done.wait()
            self._check()

    def _check(self) -> None:
        if self._failure is not None:
            self._told = True
            raise type(self._failure)(str(self._failure)) from self._failure
        if self._refusal:
            raise JournalError(self._refusal)

    def wait(self, seq: int, /) -> None:
        """See `Journal.wait`."""
        with self._done:
            if seq > self._last_seq:
                raise JournalError(f"wait: sequence {seq} was never appended, the last one is {self._last_seq}")
            while self._store.durable_seq < seq:
                if self._failure is not None:
                    self._check()
                self._done.wait()

    def halt(self, reason: str, /) -> None:
        """See `Journal.halt`."""
        if self._halted:
            return
        if self._closed:
            raise JournalError(self._refusal)
        self._end(f"the journal was halted: {reason}")
        if not self._store.sound:
            self._check()
        self._store.write([Draft.note(FrameKind.HALT, self._store.durable_seq, halt_payload(reason))])
        self._halted = self._told = True

    def close(self) -> None:
        """See `Journal.close`. Raises what prevented queued commands from being written, unless that was told."""
        if self._closed:
            return
        self._closed = True
        self._end("the journal is closed")
        try:
            if self._store.sound and (self._failure is None or self._told):
                self._store.write([Draft.note(FrameKind.CLOSE, self._store.durable_seq, b"")])
        finally:
            self._store.release()
        if self._failure is not None and not self._told:
            self._check()

    def _end(self, refusal: str) -> None:
        """Take nothing more, and return when the thread has written what it can; this thread may then write."""
        with self._work:
            self._refusal = self._refusal or refusal
            self._ending = True
            self._work.notify()
            self._done.notify_all()
        self._thread.join()

    def _write_groups(self) -> None:
        failure: JournalError | None = JournalError("the journal's writer thread stopped unexpectedly")
        try:
            while True:
                with self._work:
                    while not self._queue and not self._ending:
                        self._work.wait()
                    group, self._queue = self._queue, []
                    taken_bytes, taken_appends = self._bytes, self._appends
                if not group:
                    failure = None
                    return
                self._store.write(group)
                with self._work:
                    self._bytes -= taken_bytes
                    self._appends -= taken_appends
                    self._done.notify_all()
        except JournalError as error:
            failure = error
        finally:
            with self._work:
                self._failure = failure
                self._done.notify_all()
