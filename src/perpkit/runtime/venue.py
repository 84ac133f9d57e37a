"""The venue round an exchange: it stamps, journals before it answers, and talks to custody."""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Self

import attrs

from perpkit.audit import state_digest
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.errors import CustodyError, JournalError, UnitsError
from perpkit.model.command import Command, IndexQuotes, NoteFault, RunAudit
from perpkit.model.event import BreachFound, ExchangeResumed, Rejected
from perpkit.model.records import pack
from perpkit.ports import Custody
from perpkit.ports.journal import FrameKind, Journal
from perpkit.runtime.custody_line import CustodyLine, ForCustody
from perpkit.runtime.evidence import FlightRecorder
from perpkit.runtime.journal.frame import PAYLOAD_BYTES_MAX
from perpkit.runtime.metrics import Meter
from perpkit.runtime.recovery import Recovered, recover
from perpkit.units import MINUTE_NS, Nanos

Subscriber = Callable[[Nanos, Outcome], None]

RECONCILE_ROUNDS = 10

logger: logging.Logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Pace:
    """How often the journal notes the state digest and keeps a snapshot, and how often the books are audited; 0: never.

    Units:
        `digest_every` and `snapshot_every` in commands. `audit_every_ns`, for a full sweep of the books, and
        `reconcile_every_ns`, for the ledger against custody, in time; `Venue.tick` does both.
    """

    digest_every: int = 10_000
    snapshot_every: int = 100_000
    audit_every_ns: Nanos = MINUTE_NS // 4
    reconcile_every_ns: Nanos = 10 * MINUTE_NS


class Venue:
    """Stamps commands, applies them, and tells nobody before they are durable.

    What is told, in order and once durable: released withdrawals to custody, then every outcome to the subscribers,
    then the caller its answer. A custody that approves withdrawals itself hears of held and returned ones too. Callers
    on several threads share one group commit. Whatever custody saw comes back as commands, by `poll`, and what time
    asks for, by `tick`. A replay of the journal needs no venue: it calls no custody and no clock.

    A custody that cannot answer now (`CustodyError`) stops nothing else: it is logged and counted, and `tick` tells and
    asks again.

    When the books do not agree, or a fault halts the exchange, `evidence-SEQUENCE.json` is written into
    `evidence_directory`.

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
        evidence_directory: str | Path | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.exchange = exchange
        self.custody = custody
        self.journal = journal
        self._clock = clock
        self._pace = pace or Pace()
        self._flight = FlightRecorder(Path(evidence_directory) if evidence_directory else None)
        self._meter = meter
        if meter:
            meter.opened(journal)
        self._line = CustodyLine(custody)
        self._audit_ns = self._reconcile_ns = 0
        self._snapshot_seq = next((seq for seq, _ in journal.snapshots()), 0)
        self._subscribers: list[Subscriber] = []
        self._untold: deque[tuple[Command, Outcome]] = deque()
        self._applying = threading.Lock()
        self._telling = threading.Lock()
        self._polling = threading.RLock()

    @classmethod
    def recover(
        cls,
        exchange: Exchange,
        custody: Custody,
        journal: Journal,
        *,
        clock: Callable[[], Nanos],
        pace: Pace | None = None,
        evidence_directory: str | Path | None = None,
        meter: Meter | None = None,
    ) -> tuple[Self, Recovered]:
        """Bring a fresh exchange back from its journal and stand a venue round it.

        Custody is told again of every withdrawal that is held, where it approves them itself, and of every one that
        was released and not yet seen to leave.

        Raises:
            JournalError: the journal is damaged, or does not lead to the states that it notes.
        """
        recovered = recover(exchange, journal)
        logger.info("recovered to command %s: %s", exchange.sequence, recovered)
        venue = cls(
            exchange, custody, journal, clock=clock, pace=pace, evidence_directory=evidence_directory, meter=meter
        )
        waiting: list[ForCustody] = [*exchange.held(), *exchange.outstanding()]
        for event in waiting:
            venue._line.tell(event)
        return venue, recovered

    @property
    def custody_faults(self) -> int:
        """How often custody could not hear or answer."""
        return self._line.faults

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
            began = perf_counter()
            outcomes = self._apply(commands)
            if self._meter:
                self._meter.applied(len(outcomes), perf_counter() - began)
                self._meter.read(self.exchange, self._clock())
            last = self.exchange.sequence
        began = perf_counter()
        try:
            self.journal.wait(last)
        except JournalError as fault:
            # The reserve holds room to say why; after a failed sync even that may be refused.
            with contextlib.suppress(JournalError):
                self.journal.halt(str(fault))
            raise
        if self._meter:
            self._meter.durable(len(outcomes), perf_counter() - began)
        self._tell()
        self._keep_snapshot(last)
        return outcomes

    def poll(self) -> Sequence[Outcome]:
        """Turn what custody saw since the last time into commands, and do them; nothing where it cannot say now."""
        with self._polling:
            try:
                seen, cursor = self._line.observe()
            except CustodyError as fault:
                self._line.note("observe", fault)
                return ()
            outcomes = self.submit_all(seen)
            # What a part's fault refused is not lost: custody tells it again, and what was credited is known by its id.
            if not any(outcome.fault for outcome in outcomes):
                self._line.heard(cursor)
            return outcomes

    def tick(self) -> Sequence[Outcome]:
        """Do what time asks for: funding stamps that passed, the audit, the reconciliation. Call it often.

        After a start everything is due. What is late is done once, not as often as it was missed.
        """
        outcomes: list[Outcome] = []
        now_ns, pace = self._clock(), self._pace
        with self._telling:
            self._line.tell_again()
        due_ns = self.exchange.due_ns
        if due_ns is not None and due_ns <= now_ns:
            outcomes.append(self.submit(IndexQuotes()))
        if pace.audit_every_ns and self._audit_ns <= now_ns:
            self._audit_ns = _next_due(self._audit_ns, pace.audit_every_ns, now_ns)
            outcomes.append(self.submit(RunAudit()))
        if pace.reconcile_every_ns and self._reconcile_ns <= now_ns:
            faults = self.custody_faults
            outcomes += self.reconcile()
            if self.custody_faults == faults:
                self._reconcile_ns = _next_due(self._reconcile_ns, pace.reconcile_every_ns, now_ns)
        if self._meter:
            with self._applying:
                self._meter.read(self.exchange, now_ns)
        return outcomes

    def reconcile(self) -> Sequence[Outcome]:
        """Hold the ledger against what custody holds; a difference halts every market.

        Custody may see something between two questions, so it is asked until nothing happened in between, a few times.
        Only what custody saw changes the ledger's side, and nobody else may bring that in meanwhile. A custody that can
        count a second time is asked for both counts.
        """
        with self._polling:
            for _ in range(RECONCILE_ROUNDS):
                self.poll()
                try:
                    reports = list(self._line.reports(self.exchange.assets))
                    seen, _ = self._line.observe()
                except CustodyError as fault:
                    self._line.note("reconcile", fault)
                    return ()
                if not seen:
                    return self.submit_all(reports)
        logger.warning("custody saw something between each of %s pairs of questions; not reconciled", RECONCILE_ROUNDS)
        return ()

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
        stamped: Command | None = None
        try:
            for command in commands:
                stamped = attrs.evolve(command, time_ns=max(self._clock(), self.exchange.clock_ns))
                record = _record(stamped)
                outcome = self.exchange.apply(stamped)
                outcomes.append(outcome)
                records.append(_note_of(stamped, outcome) if outcome.fault else record)
                self._untold.append((stamped, outcome))
                self._keep_evidence(stamped, outcome)
        finally:
            if stamped and self.exchange.halted and sound:
                self._flight.fault(self.exchange, stamped, self.exchange.halted)
            # What came before a malformed command or a fault is done. The command whose fault halts the exchange is
            # not journaled, so that recovery leads to the state before it.
            for start, group in _groups(records):
                self.journal.append(b"".join(group), len(group), first + start)
            if self.exchange.halted and sound:
                with contextlib.suppress(JournalError):
                    self.journal.halt(self.exchange.halted)
        every = self._pace.digest_every
        if every and _crossed(first, len(records), every):
            self._note_digest()
        return outcomes

    def _keep_evidence(self, command: Command, outcome: Outcome) -> None:
        """Remember what was done, and write a breach down while the state is the one that it was found in."""
        self._flight.note(command, outcome)
        breaches = [event for event in outcome.events if isinstance(event, BreachFound)]
        if breaches:
            self._flight.breach(self.exchange, outcome, breaches)

    def _note_digest(self) -> None:
        if self.exchange.sequence:
            self.journal.note(FrameKind.DIGEST, bytes.fromhex(state_digest(self.exchange)))

    def _tell(self) -> None:
        with self._telling:
            durable = self.journal.durable_seq
            told: list[tuple[Command, Outcome]] = []
            while self._untold and self._untold[0][1].sequence <= durable:
                told.append(self._untold.popleft())
                self._tell_one(*told[-1])
            if self._meter:
                self._meter.note(told)

    def _tell_one(self, command: Command, outcome: Outcome) -> None:
        if outcome.fault:
            logger.warning("command %s was refused: %s", outcome.sequence, outcome.fault)
        for event in outcome.events:
            if isinstance(event, ForCustody):
                self._line.tell(event)
            elif isinstance(event, ExchangeResumed):
                self._line.ask_anew()
        for subscriber in self._subscribers:
            subscriber(command.time_ns, outcome)

    def _keep_snapshot(self, last: int) -> None:
        every = self._pace.snapshot_every
        if not every or last - self._snapshot_seq < every:
            return
        with self._applying:
            if self.journal.durable_seq == self.exchange.sequence:
                self._snapshot_seq = self.exchange.sequence
                self.journal.put_snapshot(self.exchange.sequence, self.exchange.dump())


def _record(command: Command) -> bytes:
    """Return the record of a command, before anything is done that no frame could hold."""
    record = pack(command)
    if len(record) > PAYLOAD_BYTES_MAX:
        raise UnitsError(
            f"{type(command).__name__}: expected at most {PAYLOAD_BYTES_MAX} bytes of records, was {len(record)}"
        )
    return record


def _note_of(command: Command, outcome: Outcome) -> bytes:
    """Return what is journaled for a command that a part failed: the refusal, whatever that part says next time."""
    (refused,) = (event for event in outcome.events if isinstance(event, Rejected))
    priced = isinstance(command, IndexQuotes)
    return pack(NoteFault(part=refused.part, priced=priced, time_ns=command.time_ns))


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


def _next_due(due_ns: Nanos, every_ns: Nanos, now_ns: Nanos) -> Nanos:
    """Return the next time on the same beat; a beat that was missed begins anew."""
    return due_ns + every_ns if due_ns + every_ns > now_ns else now_ns + every_ns
