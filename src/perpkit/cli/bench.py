"""`perpkit bench`: measures on this machine, and prints ratios."""

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias

import attrs

from perpkit.bench.audit import bench_audit
from perpkit.bench.book import bench_book
from perpkit.bench.journal import bench_journal
from perpkit.bench.overload import bench_overload
from perpkit.bench.path import bench_path
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
    "book": lambda progress: bench_book(progress=progress),
    "audit": lambda progress: bench_audit(progress=progress),
    "journal": lambda progress: bench_journal(progress=progress),
    "overload": lambda progress: bench_overload(progress=progress),
    "path": lambda progress: bench_path(progress=progress),
}


def add_parser(subparsers: Any) -> None:
    """Add `perpkit bench`."""
    parser = subparsers.add_parser("bench", help="measure on this machine, as ratios")
    parser.add_argument("name", choices=[*BENCHES, "all"], help="what to measure")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 1 when a floor or a ceiling is missed."""
    names = list(BENCHES) if arguments.name == "all" else [arguments.name]
    results: dict[str, Result] = {}
    with Progress(names) as progress:
        for name in names:
            results[name] = BENCHES[name](partial(progress.show, name))
    if arguments.json:
        figures = {name: attrs.asdict(result) | {"met": result.met} for name, result in results.items()}
        print(json.dumps(figures if arguments.name == "all" else figures[arguments.name]))
    else:
        print("\n\n".join("\n".join(result.lines()) for result in results.values()))
    return 0 if all(result.met for result in results.values()) else 1
