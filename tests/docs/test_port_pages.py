"""The pages on ports and hooks are made from the code, by `make reference`, and say what it says now."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from perpkit.plugin import PORTS, PerpkitSpecs, Registry
from perpkit.ports import MarketContext
from perpkit.testing.builders import config
from perpkit.testing.conformance import rules_of, suite_of
from perpkit.testing.conformance.base import FoldConformance
from perpkit.testing.conformance.decider import DeciderConformance

REFERENCE = Path(__file__).parents[2] / "docs/reference"
MADE = "<!-- From here on `make reference` writes this page. -->\n"
KINDS = {DeciderConformance: "decider", FoldConformance: "fold"}


def protocol_of(port):
    """Return the Protocol that the hook of a port says it offers."""
    return get_args(get_args(get_type_hints(getattr(PerpkitSpecs, port.hook))["return"])[0])[0]


def kind_of(port):
    return next((kind for base, kind in KINDS.items() if issubclass(suite_of(port), base)), "owner")


def summary_of(thing):
    return inspect.getdoc(thing).splitlines()[0]


def paragraph_of(thing):
    """Return the text of a docstring before its first section."""
    return re.split(r"\n\n(?=[A-Z]\w+:\n)", inspect.getdoc(thing))[0]


def classes_of(module):
    """Return the public classes that a module defines: its Protocols, and the values that cross them."""
    own = [cls for name, cls in vars(module).items() if inspect.isclass(cls) and cls.__module__ == module.__name__]
    protocols = [cls for cls in own if getattr(cls, "_is_protocol", False)]
    return protocols, [cls for cls in own if cls not in protocols and not cls.__name__.startswith("_")]


def members_of(protocol):
    """Return a line for each member of a Protocol: its signature, and what it is for."""
    (tree,) = ast.parse(inspect.getsource(protocol)).body
    lines = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            given = [
                f"{each.arg}: {ast.unparse(each.annotation)}" for each in [*node.args.posonlyargs, *node.args.args][1:]
            ]
            answers = ast.unparse(node.returns)
            is_property = "property" in map(ast.unparse, node.decorator_list)
            signature = f"{node.name}: {answers}" if is_property else f"{node.name}({', '.join(given)}) -> {answers}"
            lines.append(f"- `{signature}`: {ast.get_docstring(node).splitlines()[0]}")
    return lines


def providers_of(port):
    chosen = None if port.key == "order_checks" else config().selection(port.key).provider
    return ", ".join(f"`{name}`{' (default)' * (name == chosen)}" for name in Registry.builtin().names(port))


def port_section(port):
    """Return what the page says of one port."""
    protocol, suite = protocol_of(port), suite_of(port)
    module = inspect.getmodule(protocol)
    protocols, values = classes_of(module)
    ports = [each for each in protocols if each in map(protocol_of, PORTS)]
    source = inspect.getsource(protocol)
    values = [each for each in values if len(ports) == 1 or re.search(rf"\b{each.__name__}\b", source)]
    offers = [offer.provider for offer in Registry.builtin().providers() if offer.provider.port is port]
    capabilities = {rule.needs for rule in rules_of(suite)} | {name for each in offers for name in each.capabilities}
    once = "market" if port.context is MarketContext else "exchange"
    lines = [
        f"## `{port.key}`",
        "",
        *([summary_of(module), ""] if len(ports) == 1 else []),
        paragraph_of(protocol),
        "",
        f"- Protocol: `perpkit.ports.{protocol.__name__}`, a port of kind *{kind_of(port)}*",
        f"- Token: `perpkit.plugin.{port.key.upper()}`, `api` {port.api}",
        f"- Hook: [`{port.hook}`](hooks.md#{port.hook})",
        f"- Built once in each {once}, from a `perpkit.ports.{port.context.__name__}`",
        f"- [Providers](providers.md#{port.key}) that come with perpkit: {providers_of(port)}",
        f"- [Rules](conformance.md#{port.key}): `perpkit.testing.conformance.{suite.__name__}`",
        *([f"- Capabilities: {', '.join(f'`{name}`' for name in sorted(capabilities - {''}))}"] * any(capabilities)),
        "",
        "Its members:",
        "",
        *members_of(protocol),
    ]
    if values:
        lines += ["", "Its values:", "", *(f"- `{cls.__name__}`: {summary_of(cls)}" for cls in values)]
    for each in protocols:
        if each not in ports:
            lines += ["", f"### `{each.__name__}`", "", paragraph_of(each), "", *members_of(each)]
    return "\n".join(lines)


def hook_section(port):
    """Return what the page says of one hook."""
    hook, offered = getattr(PerpkitSpecs, port.hook), protocol_of(port).__name__
    return "\n".join(
        [
            f"## `{port.hook}`",
            "",
            f"`{port.hook}() -> Iterable[Provider[{offered}]]`",
            "",
            f"{inspect.getdoc(hook)} See [`{port.key}`](ports.md#{port.key}).",
        ]
    )


PAGES = {"ports.md": port_section, "hooks.md": hook_section}


def made(section):
    """Return the part of a page that is made from the code."""
    return "\n" + "\n\n".join(section(port) for port in PORTS) + "\n"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_the_code_says_now(page):
    text = (REFERENCE / page).read_text("utf-8")
    assert text.partition(MADE)[2] == made(PAGES[page]), f"run `make reference`, and read what it changes in {page}"


def test_every_member_of_a_port_is_there_and_nothing_else():
    """Counted from the classes, not from their source as the page is."""
    text = (REFERENCE / "ports.md").read_text("utf-8")
    for port in PORTS:
        section = text.partition(f"\n## `{port.key}`\n")[2].partition("\n## ")[0].partition("\n### ")[0]
        listed = section.partition("\nIts members:\n")[2].partition("\nIts values:\n")[0]
        assert set(re.findall(r"^- `(\w+)[(:]", listed, re.MULTILINE)) == port.members, port.key
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == [port.key for port in PORTS]


def test_every_hook_is_there_and_nothing_else():
    text = (REFERENCE / "hooks.md").read_text("utf-8")
    hooks = [name for name in vars(PerpkitSpecs) if name.startswith("perpkit_")]
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == hooks


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.key)
def test_the_pages_agree_on_what_kind_of_port_it_is(port):
    providers = (REFERENCE / "providers.md").read_text("utf-8")
    assert f"(#{port.key}) | `{port.key.upper()}` |" in providers
    (row,) = re.findall(rf"^\| \[`{port.key}`\].*$", providers, re.MULTILINE)
    assert row.endswith(f"| {kind_of(port)} |")


if __name__ == "__main__":
    for name, section in PAGES.items():
        file = REFERENCE / name
        head, found, _ = file.read_text("utf-8").partition(MADE)
        sys.exit(f"{file}: expected the line {MADE}") if not found else file.write_text(head + MADE + made(section))
