"""`perpkit replay`: the log of a run through a fresh exchange."""

import argparse
from pathlib import Path
from typing import Any

from perpkit.audit import replay
from perpkit.cli.demo import CONFIG, DIGEST, LOG
from perpkit.cli.progress import Progress
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Outcome
from perpkit.errors import ConfigError
from perpkit.model.records import RECORD
from perpkit.plugin import Registry


def add_parser(subparsers: Any) -> None:
    """Add `perpkit replay`."""
    parser = subparsers.add_parser("replay", help="replay a log and compare the digest")
    parser.add_argument("directory", type=Path, help=f"where {LOG} and {CONFIG} are")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay, print the digests; exit code 1 when the state differs from the one that was kept beside the log."""
    try:
        log = (arguments.directory / LOG).read_bytes()
    except OSError as error:
        raise ConfigError(f"{arguments.directory / LOG}: expected a log, was {error.strerror}") from None
    config = ExchangeConfig.from_toml(arguments.directory / CONFIG)
    records = len(log) // RECORD.size
    with Progress(["replay"]) as progress:

        def watch(outcome: Outcome) -> None:
            if outcome.sequence % 1_000 == 0:
                progress.show("replay", min(outcome.sequence, records), records)

        result = replay(log, config, Registry.discover(), watch=watch)
    print(f"commands {result.commands}\nevents   {result.events}")
    print(f"state    {result.state_digest}\nevents   {result.events_digest}")
    kept = arguments.directory / DIGEST
    if not kept.exists():
        return 0
    same = kept.read_text(encoding="utf-8").strip() == result.state_digest
    print(
        "same state as the run" if same else f"another state than the run: {kept.read_text(encoding='utf-8').strip()}"
    )
    return 0 if same else 1
