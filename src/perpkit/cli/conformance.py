"""`perpkit conformance PORT=PROVIDER`: runs the rules of a port over a provider, without a test file."""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from perpkit.errors import ConfigError
from perpkit.plugin import PORTS, Registry
from perpkit.plugin.hint import did_you_mean

SUITE = '''\
"""The provider {name!r} under the rules of its port."""

from hypothesis import settings

settings.register_profile("perpkit", max_examples={examples})
settings.load_profile("perpkit")

from perpkit.plugin import PORTS, Registry
from perpkit.testing.conformance import suite_of

PORT = next(port for port in PORTS if port.key == {port!r})
PROVIDER = Registry.discover().get(PORT, {name!r})


class TestProvider(suite_of(PORT)):
    capabilities = PROVIDER.capabilities
    waivers = PROVIDER.waivers

    def make(self, context):
        return PROVIDER.build(context, PROVIDER.options())
'''


def add_parser(subparsers: Any) -> None:
    """Add `perpkit conformance`."""
    parser = subparsers.add_parser("conformance", help="run the rules of a port over a provider")
    parser.add_argument("provider", metavar="PORT=PROVIDER", help="for example mark_price=index")
    parser.add_argument(
        "--examples", type=int, default=100, metavar="N", help="inputs a law is tried on (default: 100)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run pytest over the suite with the provider's default options; return its exit code."""
    key, _, name = arguments.provider.partition("=")
    port = next((each for each in PORTS if each.key == key), None)
    if port is None or not name:
        keys = [each.key for each in PORTS]
        hint = did_you_mean(key, keys)
        raise ConfigError(f"expected PORT=PROVIDER, the port of {', '.join(keys)}; was {arguments.provider!r}{hint}")
    if arguments.examples < 1:
        raise ConfigError(f"--examples: expected at least 1, was {arguments.examples}")
    Registry.discover().get(port, name)
    for needed in ("pytest", "hypothesis"):
        if importlib.util.find_spec(needed) is None:
            raise ConfigError(f"expected {needed} to be installed: pip install 'perpkit[testing]'")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "test_provider.py")
        file.write_text(SUITE.format(port=key, name=name, examples=arguments.examples), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "--rootdir", directory, "-p", "no:cacheprovider", str(file)]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own file, under this Python
