"""Journal `sqlite`: the same frames as rows of a database, with their own checksums, because SQLite has none.

SQLite finishes or forgets a transaction, so there is never an unfinished frame. What it forgets wrongly, such as a
log that was damaged, `journal.mark` notices: it holds the durable mark as a segment's header page does.
"""

import contextlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from perpkit.errors import FencedError, JournalError
from perpkit.ports.journal import Frame, FrameKind, JournalContext
from perpkit.runtime.journal.base import DurableJournal, check_manifest, manifest_payload
from perpkit.runtime.journal.disk import WriterLock, allocate, make_directory, put_file, sync_data, write_all
from perpkit.runtime.journal.frame import HEAD_BYTES, Chain, Draft, Head, damage, frame_of, head_at, is_intact, pack
from perpkit.runtime.journal.header import Header, Slot, new_page, read_page
from perpkit.runtime.journal.scan import Marks

if TYPE_CHECKING:
    import sqlite3

DATABASE = "journal.sqlite"
MARK = "journal.mark"
RESERVE = "journal.reserve"
_RESERVE_BYTES = 256 * 1024
_SCHEMA = """
    BEGIN IMMEDIATE;
    CREATE TABLE header (page BLOB NOT NULL, epoch INTEGER NOT NULL);
    CREATE TABLE frames (number INTEGER PRIMARY KEY, frame BLOB NOT NULL);
"""


@attrs.frozen(kw_only=True)
class SqliteOptions:
    """`window_bytes` and `window_appends` bound what is not yet durable."""

    window_bytes: int = attrs.field(default=8 * 1024 * 1024, validator=attrs.validators.ge(1))
    window_appends: int = attrs.field(default=16_384, validator=attrs.validators.ge(1))


def _connect(directory: Path, *, read_only: bool) -> "sqlite3.Connection":
    import sqlite3

    uri = f"{(directory / DATABASE).absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    # The group's thread writes, the thread that opened it opens and closes; never two at a time.
    database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    if not read_only:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
    return database


class _SqliteStore:
    """Appends frames, a transaction a group. The epoch is compared within it, so a replaced writer cannot commit."""

    def __init__(self, directory: Path, lock: WriterLock) -> None:
        self.sound: bool = True
        self.epoch: int = 0
        self.last_seqs = array("Q")
        self.chain = Chain()
        self.slot = Slot(1, 0, 0)
        self.database: sqlite3.Connection | None = None
        self.mark_fd = -1
        self._directory, self._lock = directory, lock

    @property
    def durable_seq(self) -> int:
        """See `Store.durable_seq`."""
        return self.chain.last_seq

    def write(self, drafts: Sequence[Draft], begun: Callable[[], None] | None = None, /) -> None:
        """See `Store.write`."""
        import sqlite3

        if not self.sound or self.database is None:
            raise JournalError(f"{self._directory}: an earlier write failed: nothing more may be written")
        self.sound = False
        number = len(self.last_seqs)
        try:
            self._commit(self.database, drafts, number, begun)
        except sqlite3.Error as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            if full:
                self._free_reserve(self.database)
            state = "the disk is full" if full else "the write failed"
            raise JournalError(
                f"{DATABASE}, row {number + 1}, sequence {self.durable_seq + 1}: {state}: {error}"
            ) from error
        except OSError as error:
            raise JournalError(f"{MARK}: the write failed: {error}") from error
        self.sound = True

    def _commit(
        self,
        database: "sqlite3.Connection",
        drafts: Sequence[Draft],
        number: int,
        begun: Callable[[], None] | None,
    ) -> None:
        database.execute("BEGIN IMMEDIATE")
        (current,) = database.execute("SELECT epoch FROM header").fetchone()
        if current != self.epoch:
            database.execute("ROLLBACK")
            raise FencedError(
                f"{self._directory}: another writer took over with epoch {current}, this one has {self.epoch}: "
                "its lock was removed or lost; stop this writer"
            )
        if begun:
            begun()
        crc, rows = self.chain.crc, []
        for row, draft in enumerate(drafts, start=number + 1):
            packed = pack(draft, epoch=self.epoch, prev_crc=crc, durable_seq=self.durable_seq)
            crc = packed.crc
            rows.append((row, b"".join(packed.pieces)))
        database.executemany("INSERT INTO frames VALUES (?, ?)", rows)
        database.execute("COMMIT")
        self.chain = Chain(crc, self.epoch, drafts[-1].last_seq)
        self.last_seqs.extend(draft.last_seq for draft in drafts)
        self.slot = Slot(self.slot.counter + 1, self.durable_seq, crc)
        write_all(self.mark_fd, [self.slot.pack()], self.slot.offset)

    def _free_reserve(self, database: "sqlite3.Connection") -> None:
        """Undo the group and make room for a HALT frame."""
        import sqlite3

        with contextlib.suppress(sqlite3.Error, OSError):
            if database.in_transaction:
                database.execute("ROLLBACK")
            (self._directory / RESERVE).unlink(missing_ok=True)
            self.sound = True

    def release(self) -> None:
        """Bring the mark to the medium and let go of files and lock."""
        sound, self.sound = self.sound, False
        try:
            if self.mark_fd >= 0 and sound:
                sync_data(self.mark_fd)
        except OSError as error:
            raise JournalError(f"{MARK}: the last sync failed: {error}") from error
        finally:
            if self.database is not None:
                self.database.close()
            if self.mark_fd >= 0:
                os.close(self.mark_fd)
            self._lock.release()


class SqliteJournal(DurableJournal):
    """Keeps frames in `journal.sqlite` (write-ahead log, synchronous FULL), the durable mark and snapshots beside it.

    Raises:
        JournalError: damage, another configuration, format or manifest; or Python was built without sqlite3.
        FencedError: another writer holds the directory.
    """

    def __init__(self, context: JournalContext, options: SqliteOptions) -> None:
        try:
            import sqlite3
        except ImportError as error:
            raise JournalError(f"this Python has no sqlite3 ({error}): name another journal") from error
        super().__init__(context)
        self._store: _SqliteStore | None = None
        try:
            if context.read_only:
                self._look()
            else:
                self._store = self._open(context)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{self._directory / DATABASE}: cannot be opened: {error}") from error
        if self._store is not None:
            self._begin(self._store, options.window_bytes, options.window_appends)

    def _look(self) -> None:
        if not (self._directory / DATABASE).exists():
            raise JournalError(f"{self._directory}: no journal here")
        # The mark first: what a writer adds meanwhile is then beyond it.
        _, slot = self._read_mark()
        with contextlib.closing(_connect(self._directory, read_only=True)) as database:
            chain, self._last_seqs, _ = self._verify(database, slot)
        self._found_seq = chain.last_seq

    def _open(self, context: JournalContext) -> _SqliteStore:
        make_directory(self._directory)
        store = _SqliteStore(self._directory, WriterLock(self._directory))
        try:
            self._take_over(store, context)
        except BaseException:
            store.release()
            raise
        return store

    def _take_over(self, store: _SqliteStore, context: JournalContext) -> None:
        """Fence whoever wrote before, verify, and sign in with the manifest."""
        if (self._directory / MARK).exists() and not (self._directory / DATABASE).exists():
            raise JournalError(f"{self._directory}: {MARK} is there, {DATABASE} is missing")
        database = store.database = _connect(self._directory, read_only=False)
        page = new_page(Header(config_digest=self._config_digest, first_seq=1, prev_crc=0), store.slot)
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            database.executescript(_SCHEMA)
            database.execute("INSERT INTO header VALUES (?, 0)", (page,))
            database.execute("COMMIT")
        if not (self._directory / MARK).exists() and not database.execute("SELECT count(*) FROM frames").fetchone()[0]:
            put_file(self._directory / MARK, [page])
        database.execute("UPDATE header SET epoch = epoch + 1")
        _, store.slot = self._read_mark()
        store.chain, store.last_seqs, manifest = self._verify(database, store.slot)
        check_manifest(context, manifest)
        (epoch,) = database.execute("SELECT epoch FROM header").fetchone()
        store.epoch = max(epoch, store.chain.epoch + 1)
        database.execute("UPDATE header SET epoch = ?", (store.epoch,))
        store.mark_fd = os.open(self._directory / MARK, os.O_RDWR)
        fd = os.open(self._directory / RESERVE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            allocate(fd, 0, _RESERVE_BYTES)
        finally:
            os.close(fd)
        store.write([Draft.note(FrameKind.EPOCH, store.durable_seq, manifest_payload(context))])

    def _read_mark(self) -> tuple[Header, Slot]:
        try:
            data = (self._directory / MARK).read_bytes()
        except FileNotFoundError:
            raise JournalError(f"{self._directory}: {MARK} is missing: what is durable cannot be told") from None
        return read_page(data, MARK, self._config_digest)

    def _verify(self, database: "sqlite3.Connection", slot: Slot) -> tuple[Chain, "array[int]", bytes]:
        """Check the header and every frame; return where they end, the last sequence of each, the last manifest."""
        row = database.execute("SELECT page FROM header").fetchone()
        read_page(row[0] if row else b"", DATABASE, self._config_digest)
        chain, marks, last_seqs, manifest = Chain(), Marks(), array("Q"), b""
        marks.want(slot, chain, MARK)
        for head, blob in _rows(database, 1, chain):
            marks.see(head)
            if head.kind == FrameKind.EPOCH:
                manifest = frame_of(blob, head).payload
            last_seqs.append(head.last_seq)
        missing = marks.missing(chain)
        if missing:
            raise damage(DATABASE, len(last_seqs), chain.last_seq + 1, f"the journal ends here, but {missing}")
        self._snapshots.check(chain.last_seq)
        return chain, last_seqs, manifest

    def read(self, from_seq: int, /) -> Iterator[Frame]:
        """See `Journal.read`; every frame is checked again."""
        last_seqs = self._store.last_seqs if self._store else self._last_seqs
        until = len(last_seqs)
        start = bisect_left(last_seqs, from_seq, 0, until)
        with contextlib.closing(_connect(self._directory, read_only=True)) as database:
            found = start
            for head, blob in _rows(database, start + 1, None, until):
                if head.last_seq != last_seqs[found]:
                    break
                found += 1
                yield frame_of(blob, head)
        if found != until:
            seq = last_seqs[found - 1] + 1 if found else 1
            raise damage(DATABASE, found + 1, seq, "a frame is missing: damaged since the journal was opened")


def _rows(
    database: "sqlite3.Connection", first: int, chain: Chain | None, until: int = 2**62
) -> Iterator[tuple[Head, bytes]]:
    """Yield checked frames in order; without a chain the first one stands where it says."""
    import sqlite3

    number = first
    query = "SELECT number, frame FROM frames WHERE number BETWEEN ? AND ? ORDER BY number"
    try:
        for found, blob in database.execute(query, (first, until)):
            seq = chain.last_seq + 1 if chain else 0
            if found != number:
                raise damage(DATABASE, number, seq, f"row {number} is missing, the next one is {found}")
            head = head_at(blob, 0) if len(blob) >= HEAD_BYTES else None
            if head is None or head.end != len(blob) or not is_intact(blob, head):
                raise damage(DATABASE, number, seq, "a frame with a wrong checksum")
            if chain is None:
                chain = Chain(
                    head.prev_crc, head.epoch - (head.kind == FrameKind.EPOCH), head.first_seq - (head.commands > 0)
                )
            objection = chain.objection(head)
            if objection:
                raise damage(DATABASE, number, seq, objection)
            chain.follow(head)
            number += 1
            yield head, blob
    except sqlite3.DatabaseError as error:
        raise damage(DATABASE, number, chain.last_seq + 1 if chain else 0, str(error)) from error
