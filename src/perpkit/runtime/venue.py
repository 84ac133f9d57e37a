"""The venue round an exchange: it stamps, journals before it answers, and talks to custody."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import attrs

from perpkit.audit import state_digest
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.errors import JournalError
from perpkit.model.command import Command
from perpkit.model.event import WithdrawalReleased
from perpkit.model.records import pack
from perpkit.ports import Custody
from perpkit.ports.journal import FrameKind, Journal
from perpkit.runtime.journal.frame import PAYLOAD_BYTES_MAX
from perpkit.runtime.recovery import Recovered, recover
from perpkit.units import Nanos

Subscriber = Callable[[Nanos, Outcome], None]


@attrs.frozen(kw_only=True)
class Pace:
    """How often the journal notes the state digest, and how often a snapshot is kept, in commands; 0 is never."""

    digest_every: int = 10_000
    snapshot_every: int = 100_000


class Venue:
    """Stamps commands, applies them, and tells nobody before they are durable.

    What is told, in order and once durable: released withdrawals to custody, then every outcome to the subscribers,
    then the caller its answer. Callers on several threads share one group commit. Whatever custody saw comes back
    as commands, by `poll`. A replay of the journal needs no venue: it calls no custody and no clock.

    Example:
        >>> from perpkit.engine.compose import build_custody, build_journal
        >>> from perpkit.engine.config import ExchangeConfig
        >>> from perpkit.plugin import Registry
        >>> from perpkit.simulate.world import configuration
        >>> config = ExchangeConfig.from_text(configuration("stepped"))
        >>> exchange, registry = Exchange.of(config), Registry.builtin()
        >>> custody = build_custody(config, registry)
        >>> journal = build_journal(config, registry, exchange.manifest, "")
        >>> venue = Venue(exchange, custody, journal, clock=lambda: 1)
        >>> venue.poll()
        []
    """

    def __init__(
        self,
        exchange: Exchange,
        custody: Custody,
        journal: Journal,
        *,
        clock: Callable[[], Nanos],
        pace: Pace | None = None,
    ) -> None:
        self.exchange = exchange
        self.custody = custody
        self.journal = journal
        self._clock = clock
        self._pace = pace or Pace()
        self._cursor = 0
        self._subscribers: list[Subscriber] = []
        self._untold: deque[tuple[Nanos, Outcome]] = deque()
        self._applying = threading.Lock()
        self._telling = threading.Lock()

    @classmethod
    def recover(
        cls,
        exchange: Exchange,
        custody: Custody,
        journal: Journal,
        *,
        clock: Callable[[], Nanos],
        pace: Pace | None = None,
    ) -> tuple[Self, Recovered]:
        """Bring a fresh exchange back from its journal and stand a venue round it.

        Custody is asked again for every withdrawal that was released and not yet seen to leave.

        Raises:
            JournalError: the journal is damaged, or does not lead to the states that it notes.
        """
        recovered = recover(exchange, journal)
        venue = cls(exchange, custody, journal, clock=clock, pace=pace)
        for released in exchange.outstanding():
            custody.release(released)
        return venue, recovered

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with the stamp and the outcome of every command, in order, once it is durable."""
        self._subscribers.append(subscriber)

    def submit(self, command: Command) -> Outcome:
        """Stamp a command, apply it and return what it did; the stamp it came with does not count.

        Raises:
            UnitsError: the command is malformed; nothing happened.
            JournalError: it could not be made durable; the venue accepts nothing more.
            Exception: a part's fault, which halted the exchange; from then on `HaltedError`.
        """
        return self.submit_all([command])[0]

    def submit_all(self, commands: Iterable[Command]) -> list[Outcome]:
        """Do many commands in one durable group.

        Raises:
            UnitsError: a command is malformed; those before it are done, it and those after it are not.
        """
        with self._applying:
            outcomes = self._apply(commands)
            last = self.exchange.sequence
        try:
            self.journal.wait(last)
        except JournalError as fault:
            # The reserve holds room to say why; after a failed sync even that may be refused.
            with contextlib.suppress(JournalError):
                self.journal.halt(str(fault))
            raise
        self._tell()
        self._keep_snapshot(last)
        return outcomes

    def poll(self) -> Sequence[Outcome]:
        """Turn what custody saw since the last time into commands, and do them."""
        seen, cursor = self.custody.observe(self._cursor)
        outcomes = self.submit_all(seen)
        self._cursor = cursor
        return outcomes

    def log(self) -> bytes:
        """Return every durable command as records: what `perpkit.audit.replay` reads."""
        frames = self.journal.read(1)
        return b"".join(frame.payload for frame in frames if frame.kind is FrameKind.COMMANDS)

    def close(self) -> None:
        """Stop in good order: everything said so far becomes durable, with the digest of the state."""
        with self._applying:
            self._note_digest()
            self.journal.close()
        self._tell()

    def _apply(self, commands: Iterable[Command]) -> list[Outcome]:
        records: list[bytes] = []
        outcomes: list[Outcome] = []
        first = self.exchange.sequence + 1
        sound = not self.exchange.halted
        try:
            for command in commands:
                stamp_ns = max(self._clock(), self.exchange.clock_ns)
                stamped = attrs.evolve(command, time_ns=stamp_ns)
                outcomes.append(self.exchange.apply(stamped))
                records.append(pack(stamped))
                self._untold.append((stamp_ns, outcomes[-1]))
        finally:
            # What came before a malformed command or a fault is done. The command whose fault halts the exchange is
            # not journaled, so that recovery leads to the state before it.
            for start, group in _groups(records):
                self.journal.append(b"".join(group), len(group), first + start)
            if self.exchange.halted and sound:
                self.journal.halt(self.exchange.halted)
        every = self._pace.digest_every
        if every and _crossed(first, len(records), every):
            self._note_digest()
        return outcomes

    def _note_digest(self) -> None:
        if self.exchange.sequence:
            self.journal.note(FrameKind.DIGEST, bytes.fromhex(state_digest(self.exchange)))

    def _tell(self) -> None:
        with self._telling:
            durable = self.journal.durable_seq
            while self._untold and self._untold[0][1].sequence <= durable:
                stamp_ns, outcome = self._untold.popleft()
                for event in outcome.events:
                    if isinstance(event, WithdrawalReleased):
                        self.custody.release(event)
                for subscriber in self._subscribers:
                    subscriber(stamp_ns, outcome)

    def _keep_snapshot(self, last: int) -> None:
        every = self._pace.snapshot_every
        if not every or last < every:
            return
        with self._applying:
            newest = next((seq for seq, _ in self.journal.snapshots()), 0)
            durable = self.journal.durable_seq == self.exchange.sequence
            if durable and self.exchange.sequence - newest >= every:
                self.journal.put_snapshot(self.exchange.sequence, self.exchange.dump())


def _groups(records: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Split records so that each group fits a frame; yield each with the index of its first."""
    start, size = 0, 0
    for index, record in enumerate(records):
        if size + len(record) > PAYLOAD_BYTES_MAX:
            yield start, records[start:index]
            start, size = index, 0
        size += len(record)
    if records:
        yield start, records[start:]


def _crossed(first: int, count: int, every: int) -> bool:
    """Whether a multiple of `every` lies among `count` numbers from `first`."""
    return (first + count - 1) // every > (first - 1) // every
