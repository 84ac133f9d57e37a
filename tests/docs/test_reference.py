"""The reference pages name everything that there is, in its order, and nothing else: read from the code, both ways."""

from __future__ import annotations

import argparse
import re
from enum import Enum
from pathlib import Path
from typing import get_args

import attrs
import pytest

from perpkit import plugin
from perpkit.cli import demo
from perpkit.engine import config
from perpkit.engine.config import ExchangeConfig
from perpkit.model import records
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import Command
from perpkit.model.event import Event
from perpkit.model.reject import RejectReason
from perpkit.plugin import PORTS, Registry
from perpkit.ports import Limits, MarketContext
from perpkit.report import RunSummary, summary
from perpkit.runtime import Recording
from perpkit.testing.conformance import SUITES, rules_of
from perpkit.units import Scale

DOCS = Path(__file__).parents[2] / "docs"
NAMES = re.compile(r"`([^`]+)`")
CELL = re.compile(r"(?<!\\)\|")
COMMANDS = [cls.__name__ for cls in get_args(Command)]
EVENTS = [cls.__name__ for cls in get_args(Event)]


def section(page, heading):
    """Return what stands under a heading, up to the next of any level."""
    text = (DOCS / page).read_text("utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page}: no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def tables(text):
    """Return the tables of a text, each a list of rows, each a dictionary by the column's heading."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        header, _, *rows = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in block.splitlines()]
        found.append([dict(zip(header, row, strict=True)) for row in rows])
    return found


def only(text, column):
    """Return the one table of a text that has a column, by that column's names, without backquotes."""
    (rows,) = [rows for rows in tables(text) if rows and column in rows[0]]
    return {NAMES.search(row[column])[1]: row for row in rows}


def written(value):
    """Return a default as a page has it: as a configuration would, in backquotes; nothing where there is none."""
    match value:
        case attrs.NOTHING | None:
            return ""
        case Enum():
            return f'`"{value.name.lower().replace("_", "-")}"`'
        case config.Selection():
            return f'`"{value.provider}"`'
        case str():
            return f'`"{value}"`'
        case ():
            return "`[]`"
    return f"`{value}`"


def fields(cls):
    return {field.name: written(field.default) for field in attrs.fields(cls)}


def defaults(rows):
    return {name: row["default"] for name, row in rows.items()}


def test_rejects():
    rows = only((DOCS / "reference/rejects.md").read_text("utf-8"), "reason")
    assert [(name, int(row["code"])) for name, row in rows.items()] == [(r.text, int(r)) for r in sorted(RejectReason)]
    for name, row in rows.items():
        given = NAMES.findall(row["given to"])
        assert given or row["given to"] == "every command", name
        assert set(given) <= set(COMMANDS), name


def test_every_reject_is_given_by_somebody():
    sources = [path.read_text("utf-8") for path in (DOCS.parent / "src").rglob("*.py") if path.name != "reject.py"]
    given = {name for source in sources for name in re.findall(r"\bRejectReason\.([A-Z_]+)\b", source)}
    assert given == {reason.name for reason in RejectReason}


@pytest.mark.parametrize(
    ("heading", "column", "names", "kinds"),
    [("## Commands", "command", COMMANDS, records._COMMANDS), ("## Events", "event", EVENTS, records._EVENTS)],
)
def test_commands_and_events(heading, column, names, kinds):
    rows = only(section("reference/events.md", heading), column)
    assert list(rows) == names
    assert {name: int(row["kind"]) for name, row in rows.items()} == {cls.__name__: kind for cls, kind in kinds.items()}


@pytest.mark.parametrize("enumeration", [Cause, CancelReason])
def test_enumerations_of_events(enumeration):
    text = (DOCS / "reference/events.md").read_text("utf-8")
    (heading,) = re.findall(rf"^### .*`{enumeration.__name__}`$", text, re.MULTILINE)
    rows = only(section("reference/events.md", heading), "name")
    assert [(name, int(row["code"])) for name, row in rows.items()] == [(each.name, int(each)) for each in enumeration]


def test_ports():
    text = (DOCS / "reference/providers.md").read_text("utf-8")
    rows = only(text, "token")
    keys = [NAMES.search(row["port"])[1] for row in rows.values()]
    assert keys == [port.key for port in PORTS] == re.findall(r"^## `(\w+)`$", text, re.MULTILINE)
    for port, (token, row) in zip(PORTS, rows.items(), strict=True):
        assert getattr(plugin, token) is port
        assert row["hook"] == f"`{port.hook}`"
        assert row["built once in"] == ("market" if port.context is MarketContext else "exchange")


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.key)
def test_providers(port):
    text, registry = section("reference/providers.md", f"## `{port.key}`"), Registry.builtin()
    rows = only(text, "provider")
    assert sorted(rows) == sorted(registry.names(port))
    default = attrs.fields_dict(config._ExchangeTable)[port.key].default
    assert [name for name, row in rows.items() if "(default)" in row["provider"]] == (
        [] if default == () else [default.provider]
    )
    for name, row in rows.items():
        options = fields(registry.get(port, name).options)
        assert ("no options" in row["what it does"]) == (not options)
        if options:
            assert defaults(only(text, f"option of `{name}`")) == options
    assert len(tables(text)) == 1 + sum(bool(fields(registry.get(port, name).options)) for name in rows)


KEYS = {
    "## `[exchange]`": config._ExchangeTable,
    "## `[limits]`": Limits,
    "## `[assets.NAME]`": config._AssetTable,
    "## `[markets.NAME]`": config._MarketTable,
    "## `brackets`": config._BracketTable,
}


@pytest.mark.parametrize(("heading", "cls"), KEYS.items(), ids=KEYS)
def test_configuration(heading, cls):
    assert defaults(only(section("reference/configuration.md", heading), "key")) == fields(cls)


def test_what_a_market_may_choose_itself():
    rows = only(section("reference/configuration.md", "## `[exchange]`"), "key")
    own = {name for name, row in rows.items() if row["per market"] == "yes"}
    assert own == {port.key for port in PORTS if port.context is MarketContext}
    assert own == set(rows) & set(fields(config._MarketTable))


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("assets", "id", 0),
        ("assets", "unit", "0"),
        ("assets", "deposits_max", "0.0000001"),
        ("assets", "deposits_max", str(2**61)),
        ("markets", "kind", "Linear"),
        ("markets", "settlement", "USD"),
        ("markets", "tick", "0"),
        ("markets", "lot", "0"),
        ("markets", "multiplier", "0"),
        ("markets", "value_rounding", "lot"),
        ("markets", "price_min", "0.25"),
        ("markets", "price_max", "999.5"),
        ("markets", "order_max", "0"),
        ("markets", "open_interest_max", "0"),
        ("markets", "orders_max", 0),
        ("markets", "market_slippage", "101%"),
        ("markets", "liquidation_fee", "-1%"),
        ("markets", "brackets", []),
        ("markets", "open_interest_max", "10000000"),
        ("markets", "order_max", "100000"),
        ("limits", "work_share_percent", 101),
        ("limits", "work_max", 0),
    ],
)
def test_the_bounds_that_the_page_states(table, key, value, smallest):
    smallest[table].get("BTC-PERP", smallest[table].get("USDT", smallest[table]))[key] = value
    with pytest.raises(config.ConfigError, match=key):
        ExchangeConfig.from_dict(smallest)


@pytest.fixture
def smallest(fences):
    """The smallest configuration, as the page shows it."""
    (fence,) = [each for each in fences(DOCS / "reference/configuration.md") if each.language == "toml"]
    return {"limits": {}, **config.tomllib.loads(fence.text)}


def test_the_smallest_configuration_is_the_smallest(smallest):
    ExchangeConfig.from_dict(smallest)
    for table in (smallest["assets"]["USDT"], smallest["markets"]["BTC-PERP"]):
        for key in list(table):
            value = table.pop(key)
            with pytest.raises(config.ConfigError):
                ExchangeConfig.from_dict(smallest)
            table[key] = value


def test_rows_of_the_demo(smallest):
    run = RunSummary(
        name="stepped", recording=Recording(market=1), market=ExchangeConfig.from_dict(smallest).markets[1],
        unit=Scale.of("1"), unit_name="USDT", fund_start_units=0, commands=0, client_side_units=0,
        custody_side_units=0, deposits_units=0, state_digest="", source_names={},
    )  # fmt: skip
    rows = only(section("how-to/run-the-demo.md", "## Read the table"), "row")
    assert list(rows) == [row.label for row in summary([run])]


def test_options_of_the_demo():
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers())
    (subparser,) = parser._actions[1].choices.values()
    options = {action.option_strings[-1]: action.default for action in subparser._actions[1:]}
    rows = only(section("how-to/run-the-demo.md", "## Options"), "option")
    assert list(rows) == list(options)
    for option, row in rows.items():
        assert row["default"].strip("`") in (str(options[option]), "" if not options[option] else None, "all"), option


def test_files_of_the_demo():
    rows = only(section("how-to/run-the-demo.md", "## Read the files"), "file")
    kept = {value for name, value in vars(demo).items() if name.isupper() and "." in str(value)}
    assert set(rows) == kept | {"report.html", f"{demo.POLICIES[1]}/"}


def test_conformance_rules():
    """Every suite's table is in the page as it is made here, and no rule that does not exist."""
    page = (DOCS / "reference/conformance.md").read_text("utf-8")
    for suite in SUITES:
        assert rules_table(suite) in page, f"docs/reference/conformance.md: expected\n{rules_table(suite)}"
    known = {rule.id for suite in SUITES for rule in rules_of(suite)}
    assert set(re.findall(r"^\| `([A-Z]+-\d{3})`", page, re.MULTILINE)) == known


def rules_table(suite):
    rows = [f"| `{rule.id}` | {rule.promise} | {f'`{rule.needs}`' if rule.needs else ''} |" for rule in rules_of(suite)]
    table = ["| rule | what a part keeps | needs |", "|---|---|---|", *rows]
    return "\n".join(table).replace("|  |", "| |")
