"""`perpkit audit`: an exchange's books checked from outside, from nothing but its files."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from perpkit.audit import Witness, state_digest
from perpkit.cli.demo import CONFIG
from perpkit.cli.log import open_journal
from perpkit.cli.progress import Progress
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.plugin import Registry
from perpkit.ports.journal import Frame, FrameKind, Journal
from perpkit.runtime.journal.snapshot import SnapshotFiles
from perpkit.runtime.recovery import replay_frames

COMPLAINTS_SHOWN = 20


def add_parser(subparsers: Any) -> None:
    """Add `perpkit audit`."""
    parser = subparsers.add_parser("audit", help="check a journal and its books from outside")
    parser.add_argument("directory", type=Path, help=f"where {CONFIG} and the journal are")
    parser.set_defaults(run=run)


@attrs.define
class _Audit:
    """Replays a journal from nothing and keeps what does not agree."""

    exchange: Exchange
    journal: Journal
    snapshots: dict[int, bytes]
    witness: Witness = attrs.field(factory=Witness)
    halts: list[str] = attrs.field(factory=list[str])
    complaints: list[str] = attrs.field(factory=list[str])
    snapshots_agreed: int = 0
    digests: int = 0

    def replay(self, progress: Progress) -> None:
        total = self.journal.last_seq

        def watch(outcome: Outcome) -> None:
            self.witness.note(outcome)
            self._compare_snapshot(outcome.sequence)
            if outcome.sequence % 1_000 == 0 or outcome.sequence == total:
                progress.show("audit", outcome.sequence, total)

        self._compare_snapshot(0)
        self.digests = replay_frames(self.exchange, self._frames(), watch=watch).digests_checked
        _, findings = self.exchange.audit()
        self.complaints += [*self.witness.complaints, *self.witness.compare(self.exchange), *map(str, findings)]

    def _frames(self) -> Iterator[Frame]:
        for frame in self.journal.read(1):
            if frame.kind is FrameKind.HALT:
                self.halts.append(f"after command {frame.first_seq}: {frame.payload.decode()}")
            yield frame

    def _compare_snapshot(self, sequence: int) -> None:
        """A snapshot is what the journal leads to, or it is no snapshot of this exchange."""
        state = self.snapshots.get(sequence)
        if state is None:
            return
        if state == self.exchange.dump():
            self.snapshots_agreed += 1
        else:
            self.complaints.append(f"snapshot {sequence}: not the state that the journal leads to")


def run(arguments: argparse.Namespace) -> int:
    """Check and print; exit code 1 on a breach that stands or that only this audit found, 2 on damage."""
    config, registry = ExchangeConfig.from_toml(arguments.directory / CONFIG), Registry.discover()
    journal = open_journal(arguments.directory, config, registry)
    try:
        audit = _Audit(Exchange.of(config, registry), journal, dict(journal.snapshots()))
        with Progress(["audit"]) as progress:
            audit.replay(progress)
    finally:
        journal.close()
    kept = SnapshotFiles(arguments.directory, b"").sequences()
    audit.complaints += [f"snapshot {sequence}: damaged" for sequence in kept if sequence not in audit.snapshots]
    witness, counted = audit.witness, audit.exchange.audit()[0]
    print(f"journal    whole to command {journal.last_seq}, state {state_digest(audit.exchange)}")
    print(f"digests    {audit.digests} agree")
    print(f"snapshots  {audit.snapshots_agreed} of {len(kept)} agree")
    print(f"books      {counted.accounts} accounts, {counted.positions} positions, {counted.orders} orders counted")
    for halt in audit.halts:
        print(f"halt       {halt}")
    for sequence, breach in witness.breaches:
        print(f"breach     found by command {sequence}: {breach}")
    for complaint in audit.complaints[:COMPLAINTS_SHOWN]:
        print(f"wrong      {complaint}")
    if len(audit.complaints) > COMPLAINTS_SHOWN:
        print(f"wrong      and {len(audit.complaints) - COMPLAINTS_SHOWN} more")
    if witness.standing:
        print(f"wrong      a breach stands: nobody has resumed with evidence {audit.exchange.evidence}")
    sound = not audit.complaints and not witness.standing
    print("the books balance" if sound else "the books do not balance")
    return 0 if sound else 1
