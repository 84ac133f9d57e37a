"""`perpkit replay`: the log or the journal of a run through a fresh exchange, also under another configuration."""

import argparse
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from perpkit.audit import state_digest
from perpkit.cli.demo import CONFIG, DIGEST, LOG
from perpkit.cli.log import log_commands, log_frames
from perpkit.cli.progress import Progress
from perpkit.cli.table import table
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.records import pack_all
from perpkit.plugin import Registry
from perpkit.runtime.recovery import replay_frames


def add_parser(subparsers: Any) -> None:
    """Add `perpkit replay`."""
    parser = subparsers.add_parser("replay", help="replay a log or a journal, and compare")
    parser.add_argument("directory", type=Path, help=f"where {CONFIG} is, with {LOG} or a journal beside it")
    parser.add_argument("--until", type=int, metavar="SEQ", help="stop after this command")
    parser.add_argument("--config", type=Path, metavar="FILE", help="what this configuration would have done")
    parser.set_defaults(run=run)


class _Tally:
    """Counts the events of one replay, and digests them."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self.counts: Counter[str] = Counter()
        self._progress, self._name, self._total = progress, name, total
        self._digest = hashlib.sha256()

    def note(self, outcome: Outcome) -> None:
        self.counts.update(type(event).__name__ for event in outcome.events)
        self._digest.update(pack_all(outcome.events))
        if outcome.sequence % 1_000 == 0 and self._total:
            self._progress.show(self._name, min(outcome.sequence, self._total), self._total)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def run(arguments: argparse.Namespace) -> int:
    """Replay and print the digests; exit code 1 when the state differs from the one that was kept beside the log."""
    own = ExchangeConfig.from_toml(arguments.directory / CONFIG)
    if arguments.config:
        return _compare(arguments, own, ExchangeConfig.from_toml(arguments.config))
    with Progress(["replay"]) as progress:
        exchange, tally = _replay(arguments, own, own, progress, "replay")
    digest = state_digest(exchange)
    print(f"commands {exchange.sequence}\nevents   {tally.counts.total()}")
    print(f"state    {digest}\nevents   {tally.digest}")
    kept = arguments.directory / DIGEST
    if not kept.exists() or arguments.until is not None:
        return 0
    expected = kept.read_text(encoding="utf-8").strip()
    print("same state as the run" if digest == expected else f"another state than the run: {expected}")
    return 0 if digest == expected else 1


def _compare(arguments: argparse.Namespace, own: ExchangeConfig, other: ExchangeConfig) -> int:
    """Show what another configuration would have made of the same commands."""
    names = ["as it was", arguments.config.name]
    with Progress(names) as progress:
        (was, tally), (would, others) = (
            _replay(arguments, own, config, progress, name) for name, config in zip(names, (own, other), strict=True)
        )
    rows = [[name, str(tally.counts[name]), str(others.counts[name])] for name in sorted(tally.counts | others.counts)]
    rows.append(["state", state_digest(was)[:16], state_digest(would)[:16]])
    print(table(["event", *names], rows))
    return 0


def _replay(
    arguments: argparse.Namespace, own: ExchangeConfig, under: ExchangeConfig, progress: Progress, name: str
) -> tuple[Exchange, _Tally]:
    registry = Registry.discover()
    exchange = Exchange.of(under, registry)
    tally = _Tally(progress, name, log_commands(arguments.directory))
    frames = log_frames(arguments.directory, own, registry)
    replay_frames(exchange, frames, until=arguments.until, check_digests=under is own, watch=tally.note)
    return exchange, tally
