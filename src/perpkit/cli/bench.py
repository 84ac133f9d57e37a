"""`perpkit bench`: measures on this machine, and prints ratios."""

import argparse
import json
from typing import Any

import attrs

from perpkit.bench.journal import FLOOR, bench_journal
from perpkit.cli.progress import Progress


def add_parser(subparsers: Any) -> None:
    """Add `perpkit bench`."""
    parser = subparsers.add_parser("bench", help="measure on this machine, as ratios")
    parser.add_argument("name", choices=["journal"], help="what to measure")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 1 when the floor is missed."""
    with Progress([arguments.name]) as progress:
        result = bench_journal(progress=lambda done, total: progress.show(arguments.name, done, total))
    if arguments.json:
        print(json.dumps(attrs.asdict(result)))
    else:
        print(f"bare write + fdatasync  {result.bare_per_second:>12,} commands/s")
        print(f"file journal            {result.journal_per_second:>12,} commands/s")
        print(f"ratio                   {result.ratio:>12} (floor {FLOOR})")
        print(f"groups of 4,096 commands, {result.rounds} rounds in turn, medians")
    return 0 if result.ratio >= FLOOR else 1
