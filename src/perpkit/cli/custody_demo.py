"""`perpkit custody demo`: a withdrawal with every actor on screen, and the thefts that fail."""

import argparse
import textwrap
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from perpkit.cli.table import table
from perpkit.custody.desk.log import AuditLog
from perpkit.errors import ConfigError
from perpkit.simulate.custody import PlainWorld, Show, World
from perpkit.simulate.custody.company import PLACES

WIDTH = 110
ACTOR_WIDTH = 10


def add_parser(subparsers: Any) -> None:
    """Add `perpkit custody demo`."""
    parser = subparsers.add_parser("demo", help="watch a withdrawal leave, and thieves fail")
    parser.add_argument(
        "--chain",
        choices=WORLDS,
        default="bitcoin",
        help="bitcoin: by Core's own consensus code, needs perpkit-bitcoin[regtest] (default); memory: a pretend chain",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the desk's log, for `perpkit custody verify`")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Play; exit code 1 when a theft succeeds."""
    world = WORLDS[arguments.chain](PLACES)
    try:
        return _play(Show(world, _say), arguments.log)
    finally:
        world.close()


def _play(show: Show, log: Path | None) -> int:
    print(f"chain  {show.company.world.title}\nHSM    {show.company.world.device}\n\nA withdrawal\n")
    txid = show.withdrawal()
    print(f"\nmined  {txid}\n\nAnother one, which waits for its signatures while thieves come\n")
    tried = list(show.robbery())
    for number, theft in enumerate(tried, start=1):
        print(f"\n{number}. {theft.name}: {theft.attempt}")
        for stop in theft.stops or ["NOTHING STOPPED IT"]:
            print(textwrap.fill(stop, WIDTH, initial_indent="   - ", subsequent_indent="     "))
    print("\nWhat no program stops: as many as it takes, together. But it shows\n")
    show.collusion()
    print()
    print(table(["THEFT", "STOPPED BY"], [[theft.name, _by(theft.stops)] for theft in tried]))
    lost = sum(not theft.failed for theft in tried)
    halted = "what no program stops halted the exchange, with both numbers"
    print(f"\n{len(tried) - lost} of {len(tried)} thefts failed; {halted}")
    if log:
        _keep(show.company.log, log)
    return 1 if lost else 0


def _keep(log: AuditLog, file: Path) -> None:
    try:
        file.write_text("".join(f"{line}\n" for line in log.export()), "ascii", newline="\n")
    except OSError as error:
        raise ConfigError(f"--log: expected a file that can be written: {error}") from error
    print(f"log: {file} (perpkit custody verify {file})")


def _by(stops: Collection[str]) -> str:
    return ", then ".join(stop.partition(":")[0] for stop in stops) or "nothing"


def _say(who: str, what: str) -> None:
    lines = textwrap.wrap(what, WIDTH - ACTOR_WIDTH)
    print(f"{who:<{ACTOR_WIDTH}}{lines[0]}")
    for line in lines[1:]:
        print(" " * ACTOR_WIDTH + line)


def _bitcoin(holders: Collection[str]) -> World:
    try:
        world: World = import_module("perpkit_bitcoin.demo").BitcoinWorld(holders)
    except ImportError as error:
        raise ConfigError(
            f"--chain bitcoin: {error}; install perpkit-bitcoin[regtest], or play on a pretend chain: --chain memory"
        ) from error
    return world


WORLDS: dict[str, Callable[[Collection[str]], World]] = {"bitcoin": _bitcoin, "memory": PlainWorld}
