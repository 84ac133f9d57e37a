"""Group commit: callers hand over commands and go on; what came together is written and synced once."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import FrameKind
from perpkit.runtime.journal.frame import PAYLOAD_BYTES_MAX, Draft

HALT_BYTES_MAX = 16 * 1024
LINGER_S = 0.1
"""How long, at most, what nobody waits for stays unwritten."""
JOINED_BYTES_MAX = 64 * 1024
"""Commands of one append that together are shorter than this may share a frame with those before them."""


class Store(Protocol):
    """Where frames go. Called by several threads, one at a time."""

    sound: bool
    """Whether it can still write after a failure: a full disk leaves it sound, a failed sync or a new writer not."""

    @property
    def durable_seq(self) -> int:
        """The last durable command."""
        ...

    def write(self, drafts: Sequence[Draft], begun: Callable[[], None] | None = None, /) -> None:
        """Make frames durable, in order; on failure raise `JournalError` with `durable_seq` as far as it got.

        `begun` is called when only writing and waiting for the disk is left to do.
        """
        ...

    def release(self) -> None:
        """Let go of files and locks."""
        ...


def check_batch(records: bytes, count: int) -> None:
    """Refuse commands that no frame can hold.

    Raises:
        JournalError: they are none, or more than one frame takes.
    """
    if count < 1 or not records:
        raise JournalError(f"append: expected at least one command, was {count} in {len(records)} bytes")
    if len(records) > PAYLOAD_BYTES_MAX:
        raise JournalError(f"append: expected at most {PAYLOAD_BYTES_MAX} bytes at a time, was {len(records)}")


def check_note(kind: FrameKind) -> None:
    """Refuse a note that only the journal itself may write.

    Raises:
        JournalError: it is one.
    """
    if kind is not FrameKind.DIGEST:
        raise JournalError(f"note: expected a DIGEST, was {kind.name}: the journal writes those itself")


def check_snapshot(seq: int, durable_seq: int) -> None:
    """Refuse a snapshot of what may yet be lost.

    Raises:
        JournalError: it is one.
    """
    if not 0 <= seq <= durable_seq:
        raise JournalError(f"snapshot: expected a durable sequence, at most {durable_seq}, was {seq}")


def not_next(expected_seq: int, last_seq: int) -> FencedError:
    """Return the error for an append that does not continue the journal."""
    return FencedError(f"append: expected to write sequence {expected_seq}, the next one is {last_seq + 1}")


def halt_payload(reason: str) -> bytes:
    """Return the text of a HALT frame, no longer than the reserve allows."""
    return reason.encode()[:HALT_BYTES_MAX].decode("utf-8", "ignore").encode()


_INTERRUPTED = JournalError("a write was interrupted half-way: recover from the journal")


class GroupCommit:
    """The writing side of a durable journal, over a store. `window_appends` bounds what waits, as does `window_bytes`.

    One at a time writes, and takes along all that came together until then: one write and one sync a group. It is
    whoever waits for commands that nobody is writing yet, so that a caller alone has no other thread to wake and to
    be woken by; the rest, such as what a caller leaves behind while it prepares more, is written by a thread. An
    append costs a lock, a list entry and the checksum of its records; a group, on top, a join a frame, however many
    commands it has.

    Callers of one group are told when the next has begun, if there is one: whoever wakes up wants the interpreter, and
    while the disk is waited for it is free.

    What interrupts a caller that is writing, such as Ctrl-C, ends the journal as a failed write does.
    """

    def __init__(self, store: Store, last_seq: int, *, window_bytes: int, window_appends: int) -> None:
        self._store = store
        self._window_bytes, self._window_appends = window_bytes, window_appends
        self._disk = threading.Lock()  # before `_lock`, where both are needed
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._done = threading.Condition(self._lock)
        self._queue: list[Draft] = []
        self._bytes = self._appends = 0
        self._last_seq = last_seq
        self._refusal = ""
        self._ending = self._halted = self._closed = self._told = False
        self._failure: JournalError | None = None
        self._thread = threading.Thread(target=self._write_rest, name="perpkit-journal", daemon=True)
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
        large = len(records) >= JOINED_BYTES_MAX
        draft = Draft(FrameKind.COMMANDS, expected_seq)
        if large:
            draft.add(records, count)  # the checksum takes its time: before the lock is taken
        with self._lock:
            self._wait_for_room(len(records))
            if expected_seq != self._last_seq + 1:
                raise not_next(expected_seq, self._last_seq)
            if not large:
                if self._queue and self._queue[-1].takes(records):
                    draft = self._queue.pop()
                draft.add(records, count)
            self._last_seq += count
            self._hand_over(draft, len(records))

    def note(self, kind: FrameKind, payload: bytes, /) -> None:
        """See `Journal.note`."""
        check_note(kind)
        draft = Draft.note(kind, 0, payload)
        with self._lock:
            self._wait_for_room(len(payload))
            draft.first_seq = self._last_seq
            self._hand_over(draft, len(payload))

    def _hand_over(self, draft: Draft, more_bytes: int) -> None:
        self._queue.append(draft)
        self._bytes += more_bytes
        self._appends += 1
        if self._appends > 1:
            self._work.notify()  # whoever appended before has not come to wait yet, and may not for long

    def _wait_for_room(self, more_bytes: int) -> None:
        self.check()
        while self._appends and (
            self._bytes + more_bytes > self._window_bytes or self._appends >= self._window_appends
        ):
            self._work.notify()
            self._done.wait()
            self.check()

    def check(self) -> None:
        """Raise why nothing more is taken, if that is so.

        Raises:
            JournalError: a write failed, or the journal was halted or closed.
        """
        if self._failure is not None:
            self._told = True
            raise type(self._failure)(str(self._failure)) from self._failure
        if self._refusal:
            raise JournalError(self._refusal)

    def wait(self, seq: int, /) -> None:
        """See `Journal.wait`."""
        with self._lock:
            if seq > self._last_seq:
                raise JournalError(f"wait: sequence {seq} was never appended, the last one is {self._last_seq}")
        while self._must_write(seq):
            self._write_group()

    def _must_write(self, seq: int) -> bool:
        """Wait while others write; whether something is still not durable then, so that it falls to the caller."""
        with self._lock:
            # Behind the last command, only notes on it can be missing.
            while self._store.durable_seq < seq or (self._appends and seq == self._last_seq):
                if self._failure is not None:
                    self.check()
                if self._queue and not self._disk.locked():
                    return True
                self._done.wait()
            if self._queue:
                self._work.notify()
            return False

    def halt(self, reason: str, /) -> None:
        """See `Journal.halt`."""
        if self._halted:
            return
        if self._closed:
            raise JournalError(self._refusal)
        self._end(f"the journal was halted: {reason}")
        if not self._store.sound:
            self.check()
        self._sign(FrameKind.HALT, halt_payload(reason))
        self._halted = self._told = True

    def close(self) -> None:
        """See `Journal.close`. Raises what prevented queued commands from being written, unless that was told."""
        if self._closed:
            return
        self._closed = True
        self._end("the journal is closed")
        try:
            if self._store.sound and (self._failure is None or self._told):
                self._sign(FrameKind.CLOSE, b"")
        finally:
            self._store.release()
        if self._failure is not None and not self._told:
            self.check()

    def _end(self, refusal: str) -> None:
        """Take nothing more, and return when what can be written is; this thread may then write."""
        with self._lock:
            self._refusal = self._refusal or refusal
            self._ending = True
            self._work.notify()
            self._done.notify_all()
        self._thread.join()
        with self._disk:
            pass  # a caller may still have been writing

    def _sign(self, kind: FrameKind, payload: bytes) -> None:
        with self._disk:
            self._store.write([Draft.note(kind, self._store.durable_seq, payload)])

    def _write_rest(self) -> None:
        """Write what nobody waits for."""
        while True:
            with self._lock:
                while not (self._queue or self._ending or self._failure):
                    self._work.wait(LINGER_S)
                if self._failure or not self._queue:
                    self._done.notify_all()  # a caller who was interrupted may not have come to it
                    return
            self._write_group(again=True)

    def _write_group(self, *, again: bool = False) -> None:
        """Write all that came together by the time that nobody else is writing; `again`: and then what comes next."""
        with self._disk:
            drafts: list[Draft] = []
            group_bytes = group_appends = 0
            try:
                with self._lock:
                    if self._failure is None:
                        drafts, self._queue = self._queue, []
                        group_bytes, group_appends = self._bytes, self._appends
                if drafts:
                    self._store.write(drafts, self._tell)
            except JournalError as error:
                self._failure = error
            except BaseException:
                self._failure = _INTERRUPTED
                raise
            finally:
                with self._lock:
                    if self._failure is None:  # else it stays counted: whoever waits for it is told
                        self._bytes -= group_bytes
                        self._appends -= group_appends
                    if not (again and self._queue) or self._failure:
                        self._done.notify_all()

    def _tell(self) -> None:
        with self._lock:
            self._done.notify_all()
