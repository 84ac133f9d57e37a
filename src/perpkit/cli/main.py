"""`perpkit`: reads the command line and runs one subcommand."""

import argparse
import sys
from collections.abc import Sequence

from perpkit.cli import audit, bench, conformance, custody, demo, doctor, new_plugin, plugins, replay
from perpkit.errors import PerpkitError

COMMANDS = (demo, replay, audit, plugins, doctor, conformance, custody, new_plugin, bench)
"""Modules with `add_parser(subparsers)`, which sets `run`: a function of the parsed arguments to an exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code.

    Whatever perpkit itself refuses becomes one line on stderr and exit code 2.
    """
    parser = argparse.ArgumentParser(prog="perpkit", description="Build and study perpetual-futures exchanges.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except PerpkitError as error:
        print(f"perpkit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return code
