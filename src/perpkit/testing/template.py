"""A package with one provider: what `perpkit new-plugin` writes, made from the port itself so that it always fits."""

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any, get_args, get_type_hints

import attrs

from perpkit.custody import Vault
from perpkit.plugin import CUSTODY, GROUP, NoOptions, PerpkitSpecs, Port, Provider, Registry
from perpkit.plugin.provider import NAME
from perpkit.testing.builders import config

_SUFFIX = re.compile("(Source|Model|Schedule|Policy|Fund)$")

PYPROJECT = Template("""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$name"
version = "0.1.0"
description = "A $key provider for perpkit"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["perpkit"]

[project.optional-dependencies]
test = ["perpkit[testing]", "mypy"]

[project.entry-points."$group"]
$name = "$module"

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]

[tool.mypy]
strict = true
files = ["src"]

[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["--import-mode=importlib"]
filterwarnings = ["error"]

[tool.ruff]
line-length = 120

[tool.ruff.lint]
extend-select = ["I"]

[tool.ruff.lint.isort]
known-first-party = ["perpkit", "perpkit_*", "$module"]
""")

README = Template("""\
# $name

A `$key` provider for perpkit, offered as `$provider`:

```toml
[exchange]
$key = $choice
```

```sh
python -m pip install -e '.[test]'
python -m pytest
python -m mypy
perpkit conformance $key=$provider
```
""")

INIT = Template('''\
"""Offers `$provider`."""

from collections.abc import Iterable

$init_imports


@hookimpl
def $hook() -> Iterable[Provider[$protocol]]:
    """Offer it under its name; a configuration decides."""
    return [
        $token.provider(
            name="$provider",
            build=$part,
            options=$part_options,
            summary="begins as $start",
            capabilities=$capabilities,  # beyond the port: rules that need one are skipped without it
            waivers={},  # the rules that it breaks on purpose: {"the id of a rule": "the reason"}
        )
    ]
''')

PART = Template('''\
"""`$provider`: begins as perpkit's `$start`. Change one method after another, and keep the tests green."""

$imports


@attrs.frozen(kw_only=True)
class $part_options:
    """What a configuration may set, each with a default; replace `note` by what your part needs."""

    note: str = ""


class $part:
    """$summary"""

    def __init__(self, context: $context, options: $part_options) -> None:
        self._options = options
        self._start = $start_class(context, $start_options())
$members
''')

TEST_CONFORMANCE = Template('''\
"""The rules of the port; each has a number that perpkit's documentation explains."""

$conformance_imports

(PROVIDER,) = $hook()


class Test$part($suite):
    capabilities = PROVIDER.capabilities
    waivers = PROVIDER.waivers

    def make(self, context: $context) -> $protocol:
        return $part(context, $part_options())
''')

CONFTEST = Template('''\
"""A slow machine is no failure: no example has a deadline."""

from hypothesis import settings

settings.register_profile("$name", deadline=None)
settings.load_profile("$name")
''')

TEST_PROVIDER = Template('''\
"""An exchange finds the provider by its name, and trades with it."""

import $module
from perpkit import Exchange, Registry, Side
from perpkit.engine.compose import compose, venue_entries
from perpkit.engine.config import ExchangeConfig
from perpkit.testing.builders import tables

TABLES = tables($key=$choice)


def test_a_configuration_picks_it_by_name() -> None:
    registry, config = Registry.of($module), ExchangeConfig.from_dict(TABLES)
    entries = (*compose(config, registry).manifest.entries, *venue_entries(config, registry))
    assert "$provider" in [entry.provider for entry in entries if entry.port == "$key"]


def test_an_exchange_trades_with_it() -> None:
    exchange = Exchange.of(TABLES, Registry.of($module))
    exchange.deposit(1, "COIN", "100000")
    exchange.deposit(2, "COIN", "100000")
    exchange.quote("PERP-1", "100", time_ns=1)
    exchange.place(1, "PERP-1", Side.SELL, 10, 100)
    assert exchange.place(2, "PERP-1", Side.BUY, 10, 100).fills
''')


RECEIVE = '''

    def receive(self, account: AccountId, asset: AssetId, amount_units: Units) -> int:
        """Let money arrive, as if from outside: most rules of custody need some."""
        return self._start.receive(account, asset, amount_units)'''
"""What a custody needs beyond its port, so that the rules about money run."""


def package(name: str, port: Port[Any, Any]) -> Mapping[str, str]:
    """Return the files of a package, path to text.

    It begins as the part that a configuration without a choice gets, method for method, so that its tests pass before
    anything was changed.
    """
    start = _start(port)
    provider = provider_of(name)
    module, part = name.replace("-", "_"), "".join(word.capitalize() for word in provider.split("-"))
    protocol = _protocol(port)
    text = inspect.getsource(inspect.getmodule(protocol))  # type: ignore[arg-type]
    source = ast.parse(text)
    members, used = _members(source, text.splitlines(), protocol.__name__)
    if port is CUSTODY:
        members += RECEIVE
    suite = f"{_SUFFIX.sub('', protocol.__name__)}Conformance"
    words = {
        "name": name,
        "module": module,
        "key": port.key,
        "provider": provider,
        "choice": f'["{provider}"]' if port.key == "order_checks" else f'"{provider}"',
        "group": GROUP,
        "token": port.key.upper(),
        "hook": port.hook,
        "protocol": protocol.__name__,
        "suite": suite,
        "context": port.context.__name__,
        "part": part,
        "part_options": f"{part}Options",
        "start": start.name,
        "start_class": start.build.__name__,
        "start_options": start.options.__name__,
        "summary": inspect.getdoc(protocol).splitlines()[0].replace(" Provisional.", ""),  # type: ignore[union-attr]
        "members": members,
        "capabilities": 'frozenset({"receive"})' if port is CUSTODY else "frozenset()",
        "imports": _imports(source, used, port, start),
        "init_imports": _from(
            {
                "perpkit.plugin": {port.key.upper(), "Provider", "hookimpl"},
                "perpkit.ports": {protocol.__name__},
                f"{module}.part": {part, f"{part}Options"},
            }
        ),
        "conformance_imports": _from(
            {
                "perpkit.ports": {port.context.__name__, protocol.__name__},
                "perpkit.testing.conformance": {suite},
                module: {port.hook},
                f"{module}.part": {part, f"{part}Options"},
            }
        ),
    }
    templates = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/{module}/__init__.py": INIT,
        f"src/{module}/part.py": PART,
        "tests/conftest.py": CONFTEST,
        "tests/test_conformance.py": TEST_CONFORMANCE,
        "tests/test_provider.py": TEST_PROVIDER,
    }
    return {path: template.substitute(words) for path, template in templates.items()} | {f"src/{module}/py.typed": ""}


def provider_of(package: str) -> str:
    """Return what the provider of a package is called: a package may say whose it is for, a provider need not.

    Example:
        >>> provider_of("perpkit-calm-mark"), provider_of("acme-mark")
        ('calm-mark', 'acme-mark')
    """
    short = package.removeprefix("perpkit-")
    return short if NAME.fullmatch(short) else package


def _start(port: Port[Any, Any]) -> Provider[Any]:
    """Return the provider that a configuration without a choice gets."""
    name = "price-band" if port.key == "order_checks" else config().selection(port.key).provider
    start = Registry.builtin().get(port, name)
    # With a setup, that provider opens another vault, which nobody would begin with.
    return attrs.evolve(start, build=Vault, options=NoOptions) if port is CUSTODY else start


def _protocol(port: Port[Any, Any]) -> type:
    """Return the Protocol that the hook of a port says it offers."""
    offered = get_type_hints(getattr(PerpkitSpecs, port.hook))["return"]
    protocol: type = get_args(get_args(offered)[0])[0]
    return protocol


def _members(source: ast.Module, text: Sequence[str], protocol: str) -> tuple[str, set[str]]:
    """Return every member of a Protocol, passed on to what the part begins as, and the names that they use."""
    (found,) = (node for node in source.body if isinstance(node, ast.ClassDef) and node.name == protocol)
    lines: list[str] = []
    used: set[str] = set()
    for member in found.body:
        if not isinstance(member, ast.FunctionDef):
            continue
        used |= {node.id for node in ast.walk(member) if isinstance(node, ast.Name)} - {"abstractmethod"}
        is_property = any(isinstance(each, ast.Name) and each.id == "property" for each in member.decorator_list)
        given = ", ".join(argument.arg for argument in (*member.args.posonlyargs, *member.args.args)[1:])
        asked = f"self._start.{member.name}" + ("" if is_property else f"({given})")
        does = asked if member.returns is None or ast.unparse(member.returns) == "None" else f"return {asked}"
        summary = (ast.get_docstring(member) or "").splitlines()[0]
        lines += ["", "    @property"] if is_property else [""]
        lines += text[member.lineno - 1 : member.body[0].lineno - 1]
        lines += [f'        """{summary}"""', f"        {does}"]
    return "\n".join(lines), used


def _imports(source: ast.Module, used: set[str], port: Port[Any, Any], start: Provider[Any]) -> str:
    """Return the imports of a part: what its signatures name, its context, and what it begins as."""
    wanted: dict[str, set[str]] = {}
    for node in source.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            wanted.setdefault(node.module, set()).update(alias.name for alias in node.names if alias.name in used)
    if port is CUSTODY:
        wanted["perpkit.model.ids"].add("AccountId")
    own = inspect.getmodule(_protocol(port))
    assert own is not None
    defined = {node.name for node in source.body if isinstance(node, ast.ClassDef)}
    defined |= {
        node.target.id for node in source.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    wanted.setdefault(own.__name__, set()).update(defined & used)
    for each in (port.context, start.build, start.options):
        wanted.setdefault(each.__module__, set()).add(each.__name__)
    own_names = {module: names for module, names in wanted.items() if module.startswith("perpkit")}
    standard = {module: names for module, names in wanted.items() if module not in own_names}
    return "\n\n".join(filter(None, [_from(standard), "import attrs", _from(own_names)]))


def _from(wanted: Mapping[str, set[str]]) -> str:
    """Return one import a module, in the order that ruff wants: constants, classes, then functions."""

    def rank(name: str) -> tuple[bool, bool, str]:
        return not name.isupper(), not name[0].isupper(), name.lower()

    return "\n".join(
        f"from {module} import {', '.join(sorted(names, key=rank))}"
        for module, names in sorted(wanted.items())
        if names
    )
