"""`perpkit doctor CONFIG`: will this configuration compose, and out of what?"""

import argparse
from pathlib import Path

from perpkit.cli.table import table
from perpkit.engine.compose import compose, venue_entries
from perpkit.engine.config import ExchangeConfig
from perpkit.plugin import Registry


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("doctor", help="check a configuration and show what it composes")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compose and print the manifest, after the problems of plugins, which may be why it fails."""
    config = ExchangeConfig.from_toml(arguments.config)
    registry = Registry.discover()
    for problem in registry.problems:
        print(f"problem: {problem}")
    entries = [*compose(config, registry).manifest.entries, *venue_entries(config, registry)]
    rows = [
        [entry.port, entry.market or "-", entry.provider, f"{entry.distribution} {entry.version}", str(entry.api)]
        for entry in entries
    ]
    print(table(["PORT", "MARKET", "PROVIDER", "FROM", "API"], rows))
    print(f"{arguments.config} composes; configuration digest {config.config_digest()}")
    return 0
