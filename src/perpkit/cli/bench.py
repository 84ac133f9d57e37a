"""`perpkit bench`: measures on this machine, and prints ratios."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from perpkit.bench.audit import bench_audit
from perpkit.bench.journal import bench_journal
from perpkit.bench.overload import bench_overload
from perpkit.cli.progress import Progress


class Result(attrs.AttrsInstance, Protocol):
    """Figures, as an attrs class."""

    @property
    def met(self) -> bool:
        """Whether they are good enough."""
        ...

    def lines(self) -> list[str]:
        """Return them as text."""
        ...


_Bench: TypeAlias = Callable[[Callable[[int, int], None]], Result]
BENCHES: Mapping[str, _Bench] = {
    "audit": lambda progress: bench_audit(progress=progress),
    "journal": lambda progress: bench_journal(progress=progress),
    "overload": lambda progress: bench_overload(progress=progress),
}


def add_parser(subparsers: Any) -> None:
    """Add `perpkit bench`."""
    parser = subparsers.add_parser("bench", help="measure on this machine, as ratios")
    parser.add_argument("name", choices=list(BENCHES), help="what to measure")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 1 when a floor or a ceiling is missed."""
    with Progress([arguments.name]) as progress:
        result = BENCHES[arguments.name](lambda done, total: progress.show(arguments.name, done, total))
    print(json.dumps(attrs.asdict(result)) if arguments.json else "\n".join(result.lines()))
    return 0 if result.met else 1
