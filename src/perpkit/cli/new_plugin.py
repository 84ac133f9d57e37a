"""`perpkit new-plugin NAME --port PORT`: a package with one provider that passes its tests as it is made."""

import argparse
from pathlib import Path
from typing import Any

from perpkit.errors import ConfigError
from perpkit.plugin import PORTS
from perpkit.plugin.provider import NAME
from perpkit.testing.template import package, provider_of


def add_parser(subparsers: Any) -> None:
    """Add `perpkit new-plugin`."""
    parser = subparsers.add_parser("new-plugin", help="make a package with a provider of your own")
    parser.add_argument("name", help="of the package and its directory, and less perpkit- of the provider")
    parser.add_argument("--port", required=True, choices=[port.key for port in PORTS], help="what it replaces")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the package into a new directory and print what to do next.

    Raises:
        ConfigError: the name is none for a package, or something of that name is there.
    """
    name, directory = arguments.name, Path(arguments.name)
    if not NAME.fullmatch(name):
        raise ConfigError(f"new-plugin: expected lower-case words joined by hyphens, was {name!r}")
    if name == "perpkit":
        raise ConfigError("new-plugin: expected a name of its own, was 'perpkit', which would hide perpkit itself")
    if directory.exists():
        raise ConfigError(f"new-plugin: expected a new directory, was {directory}, which is there")
    port = next(port for port in PORTS if port.key == arguments.port)
    for path, text in package(name, port).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    print(f"cd {name}")
    print("python -m pip install -e '.[test]'")
    print("python -m pytest")
    print("python -m mypy")
    print(f"perpkit conformance {port.key}={provider_of(name)}")
    return 0
