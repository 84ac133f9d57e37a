"""`perpkit conformance PORT=PROVIDER`: runs the rules of a port over a provider, without a test file."""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from perpkit.engine.structure import converter, plain
from perpkit.errors import ConfigError, OptionsError
from perpkit.plugin import PORTS, Provider, Registry
from perpkit.plugin.hint import did_you_mean
from perpkit.plugin.structure import structure

SUITE = '''\
"""The provider {name!r} under the rules of its port."""

from hypothesis import settings

settings.register_profile("perpkit", max_examples={examples})
settings.load_profile("perpkit")

from perpkit.cli.conformance import options_of
from perpkit.plugin import PORTS, Registry
from perpkit.testing.conformance import suite_of

PORT = next(port for port in PORTS if port.key == {port!r})
PROVIDER = Registry.discover().get(PORT, {name!r})
OPTIONS = options_of(PROVIDER, {options!r})


class TestProvider(suite_of(PORT)):
    capabilities = PROVIDER.capabilities
    waivers = PROVIDER.waivers

    def make(self, context):
        return PROVIDER.build(context, OPTIONS)
'''


def add_parser(subparsers: Any) -> None:
    """Add `perpkit conformance`."""
    parser = subparsers.add_parser("conformance", help="run the rules of a port over a provider")
    parser.add_argument("provider", metavar="PORT=PROVIDER", help="for example mark_price=index")
    parser.add_argument(
        "--examples", type=int, default=100, metavar="N", help="inputs a law is tried on (default: 100)"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the provider, as in a configuration: text in quotes; may be repeated",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run pytest over the suite; return its exit code.

    Raises:
        ConfigError: there is no such port or provider, an option does not fit, or something needed is not installed.
    """
    key, _, name = arguments.provider.partition("=")
    port = next((each for each in PORTS if each.key == key), None)
    if port is None or not name:
        keys = [each.key for each in PORTS]
        hint = did_you_mean(key, keys)
        raise ConfigError(f"expected PORT=PROVIDER, the port of {', '.join(keys)}; was {arguments.provider!r}{hint}")
    if arguments.examples < 1:
        raise ConfigError(f"--examples: expected at least 1, was {arguments.examples}")
    options_of(Registry.discover().get(port, name), arguments.option)
    for needed in ("pytest", "hypothesis"):
        if importlib.util.find_spec(needed) is None:
            raise ConfigError(f"expected {needed} to be installed: pip install 'perpkit[testing]'")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "test_provider.py")
        suite = SUITE.format(port=key, name=name, options=arguments.option, examples=arguments.examples)
        file.write_text(suite, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "--rootdir", directory, "-p", "no:cacheprovider", str(file)]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own file, under this Python


def options_of(provider: Provider[Any], given: Sequence[str]) -> Any:
    """Return the options of a provider, of which each `NAME=VALUE` is a line of TOML; the others have their defaults.

    Raises:
        OptionsError: they do not fit the provider.
    """
    try:
        table = plain(tomllib.loads("\n".join(given)), "--option")
    except tomllib.TOMLDecodeError as error:
        shown = " ".join(f"--option {each}" for each in given)
        raise OptionsError(f"expected --option NAME=VALUE as in TOML, text in quotes, was {shown}: {error}") from error
    known = [field.name for field in attrs.fields(provider.options)]
    for name in table:
        if name not in known:
            raise OptionsError(
                f"--option {name}: expected an option of {provider.name}, {', '.join(known) or 'which has none'}"
                f"{did_you_mean(name, known)}"
            )
    return structure(converter, table, provider.options, "--option", fault=OptionsError)
