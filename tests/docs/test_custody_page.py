"""The pages on custody say what the code says: tables made from it by `make reference`, or compared with it both ways.

What stands between `<!-- made: NAME -->` and `<!-- end -->` is made.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import get_args

import attrs
import pytest

from perpkit.custody import setup
from perpkit.custody.desk import codec, core, entries, state, tasks
from perpkit.custody.desk.log import Entry
from perpkit.custody.desk.withdrawal import TRANSITIONS, State
from perpkit.custody.gate import refusals
from perpkit.custody.policy.text import KINDS
from perpkit.custody.pretend import embedded
from perpkit.model.command import Command
from perpkit.ports import custody as ports
from perpkit.ports.custody.hsm import Attestation
from perpkit.runtime import Pace
from perpkit.units import MINUTE_NS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/custody.md"
EXPLANATION = ROOT / "docs/explanation/custody.md"
MADE = re.compile(r"(?P<begin><!-- made: (?P<name>\w+) -->\n)(?P<made>.*?)(?P<end><!-- end -->\n)", re.DOTALL)
NAMES = re.compile(r"`([^`]+)`")
MODULES = ("chain", "wallet", "people", "policy", "nomination", "hsm", "signing")
"""In the order in which a reader needs them."""


# What is made.


def first_line(text):
    return text.split("\n\n")[0].replace("\n", " ")


def table(header, rows):
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(r)} |" for r in rows)])


def tasks_table():
    (tree,) = ast.parse(inspect.getsource(tasks.TaskKind)).body
    said = {
        before.targets[0].id: after.value.value
        for before, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(before, ast.Assign) and isinstance(after, ast.Expr)
    }
    rows = [[f"`{kind.value}`", first_line(said[kind.name])] for kind in tasks.TaskKind]
    return table(["task", "what is asked: what the payload of the answer is"], rows)


def entries_table():
    rows = [
        [
            f"`{kind}`",
            first_line(inspect.getdoc(cls)),
            ", ".join(f"`{field.name}`" for field in attrs.fields(cls)),
        ]
        for kind, cls in sorted(codec.KINDS.items(), key=lambda each: inspect.getsourcelines(each[1])[1])
    ]
    return table(["kind", "what happened", "in `body`"], rows)


def refusals_table():
    return table(["rule", "what it means"], [[f"`{rule}`", said] for rule, said in refusals.REFUSALS.items()])


def ports_text():
    return "\n\n".join(_module_text(importlib.import_module(f"{ports.__name__}.{name}")) for name in MODULES)


def _module_text(module):
    own = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    own = sorted(own, key=lambda cls: inspect.getsourcelines(cls)[1])
    protocols = [cls for cls in own if is_protocol(cls)]
    values = [cls for cls in own if cls not in protocols]
    parts = [f"### `{module.__name__}`", first_line(inspect.getdoc(module))]
    if values:
        parts.append("\n".join(f"- `{cls.__name__}`: {first_line(inspect.getdoc(cls))}" for cls in values))
    for cls in protocols:
        said = re.split(r"\n\n(?=[A-Z]\w+:\n)", inspect.getdoc(cls))[0]
        parts += [f"#### `{cls.__name__}`", said, "\n".join(_members(cls))]
    return "\n\n".join(parts)


def is_protocol(cls):
    return getattr(cls, "_is_protocol", False)


def _members(protocol):
    (tree,) = ast.parse(inspect.getsource(protocol)).body
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            yield f"- `{ast.unparse(node)}`: {first_line(after.value.value)}"
        elif isinstance(node, ast.FunctionDef):
            signature = f"{node.name}{_arguments(node)}"
            if "property" in map(ast.unparse, node.decorator_list):
                signature = f"{node.name}: {ast.unparse(node.returns)}"
            yield f"- `{signature}`: {first_line(ast.get_docstring(node))}"


def _arguments(node):
    """The arguments as they are written, without `self` and the slash that all of them have."""
    written = ast.unparse(node.args).removeprefix("self").removeprefix(", ").removesuffix(", /").replace("/, ", "")
    return f"({written.removeprefix('/')}) -> {ast.unparse(node.returns)}"


TABLES = {"tasks": tasks_table, "entries": entries_table, "refusals": refusals_table, "ports": ports_text}


def made_anew(text):
    return MADE.sub(lambda found: f"{found['begin']}\n{TABLES[found['name']]()}\n\n{found['end']}", text)


def test_what_is_made_from_the_code_says_what_the_code_says_now():
    text = PAGE.read_text("utf-8")
    assert {found["name"] for found in MADE.finditer(text)} == set(TABLES)
    assert text == made_anew(text), "run `make reference`, and read what it changes"


# What is written by hand.


def section(heading, page=PAGE):
    _, found, rest = page.read_text("utf-8").partition(f"\n{heading}\n")
    assert found, f"{page.name}: no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows_of(heading, page=PAGE, place=0):
    """Return a table under a heading: by the name in the first cell, the other cells by their column."""
    block = re.findall(r"(?:^\|.*\n)+", section(heading, page), re.MULTILINE)[place]
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
    return {NAMES.search(row[0])[1]: dict(zip(header, row, strict=True)) for row in rows}


def defaults_of(cls):
    """Return the fields of a class with their defaults, as the page writes them."""
    return {
        field.name: f"`{field.default}`" if not isinstance(field.default, type(attrs.NOTHING)) else ""
        for field in attrs.fields(cls)
    }


def test_every_state_is_there_with_those_that_may_follow_it():
    rows = rows_of("## States of a withdrawal")
    assert list(rows) == [each.value for each in State]
    for each in State:
        follow = NAMES.findall(rows[each.value]["may be followed by"])
        assert set(follow) == {after.value for after in TRANSITIONS[each]}, each
        assert len(follow) == len(set(follow))


def test_every_field_of_an_entry_is_there():
    assert set(rows_of("## The log")) == {field.name for field in attrs.fields(Entry)}


def test_every_kind_of_entry_is_one_that_a_desk_knows():
    """Nothing that looks like a step was forgotten in the union of them all."""
    own = {cls for _, cls in inspect.getmembers(entries, attrs.has) if cls.__module__ == entries.__name__}
    assert own == set(codec.KINDS.values())


def rules_of_desks():
    """Yield the rules in the refusals that are made without the table of the gate's and the signers'."""
    for path in (ROOT / "src/perpkit/custody").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                given = [word.value for word in node.keywords if node.func.id == "Refusal" and word.arg == "rule"]
                given += node.args[:1] if node.func.id == "_refuse" else []
                yield from (each.value for each in given if isinstance(each, ast.Constant))


def test_every_rule_of_the_desk_is_there_and_every_rule_there_is_one_of_the_desks():
    assert set(rows_of("### Of the desk")) == set(rules_of_desks())


KEYS = {
    "## Setup file": setup._File,
    "### `[people.NAME]`": setup._PersonTable,
    "### `[keys.WALLET.KEY]`": setup._KeyTable,
    "### `[terms]`": setup._TermsTable,
    "### `[nomination]`": setup.NominationTerms,
    "### Of the vault: `[wallets.NAME]`": embedded._WalletTable,
}


@pytest.mark.parametrize(("heading", "cls"), KEYS.items(), ids=KEYS)
def test_every_key_of_a_setup_file_is_there_with_its_default(heading, cls):
    found = {key: row["default"] for key, row in rows_of(heading).items()}
    wanted = defaults_of(cls)
    if cls is setup._File:
        wanted["nomination"] = "see below"
    assert found == wanted


def test_a_term_sets_the_field_that_the_page_says_and_no_other():
    quorum = {"officer": 2}
    usual = core.DeskTerms(resume_quorum=quorum)
    assert setup._TermsTable(resume_quorum=quorum).terms() == usual
    rows = rows_of("### `[terms]`")
    for key, row in rows.items():
        other = {"officer": 3} if key == "resume_quorum" else 77
        changed = setup._TermsTable(**{"resume_quorum": quorum, key: other}).terms()
        (differs,) = [
            name for name in attrs.fields_dict(core.DeskTerms) if getattr(changed, name) != getattr(usual, name)
        ]
        assert row["field"] == f"`{differs}`"
    assert {row["field"].strip("`") for row in rows.values()} == set(attrs.fields_dict(core.DeskTerms))


@pytest.mark.parametrize(
    ("page", "heading"), [(PAGE, "## Levels of attestation"), (EXPLANATION, "## What the HSM can show")]
)
def test_every_level_of_attestation_is_there(page, heading):
    levels = [field.name for field in attrs.fields(Attestation) if field.type in (bool, "bool")]
    listed = [
        row.split("|")[1].strip().strip("`") for row in re.findall(r"^\| .*", section(heading, page), re.MULTILINE)
    ]
    assert listed[1:] == levels
    first_three = Attestation(**dict.fromkeys(levels, True) | {"vendor": False})
    assert (first_three.healthy, first_three.untampered) == (True, False)
    for level in levels[:3]:
        assert not attrs.evolve(first_three, **{level: False}).healthy
    assert attrs.evolve(first_three, vendor=True).untampered


def test_every_port_that_a_custody_is_made_of_is_there_with_all_its_members():
    """Counted from the classes, not from their source as the page is."""
    assert set(MODULES) == {module.name for module in pkgutil.iter_modules(ports.__path__)}
    text = PAGE.read_text("utf-8").partition("\n## Ports\n")[2]
    listed = {
        name: set(re.findall(r"^- `(\w+)[(:]", part, re.MULTILINE))
        for name, part in re.findall(r"^#### `(\w+)`\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    }
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"{ports.__name__}.{name}")
        for cls in vars(module).values():
            if inspect.isclass(cls) and is_protocol(cls) and cls.__module__ == module.__name__:
                members = {*vars(cls), *cls.__annotations__} if "__annotations__" in vars(cls) else set(vars(cls))
                found[cls.__name__] = {member for member in members if not member.startswith("_")}
    assert listed == found


def test_the_explanation_names_rules_that_there_are():
    rows = re.findall(r"^\|[^|]+\|([^|]+)\|$", section("## When something breaks", EXPLANATION), re.MULTILINE)
    named = {name for row in rows for name in NAMES.findall(row)}
    assert named
    assert named <= set(refusals.REFUSALS)


def test_the_explanation_has_the_numbers_and_the_commands_of_the_code():
    text = EXPLANATION.read_text("utf-8")
    paragraph = next(each for each in text.split("\n\n") if "tells the exchange six things" in each)
    tells = {name for name in vars(state) if name in {cls.__name__ for cls in get_args(Command)}}
    assert set(NAMES.findall(paragraph)) - {"WithdrawalReleased"} == tells
    assert len(tells) == 6
    assert "sixteen kinds of rule" in text
    assert len(KINDS) == 16
    assert "after three attempts people decide" in text
    assert setup.NominationTerms().attempts_max == 3
    assert "every five minutes" in text
    assert core.DeskTerms(resume_quorum={"officer": 1}).reconcile_ns == 5 * MINUTE_NS
    assert "Every ten minutes" in text
    assert Pace().reconcile_every_ns == 10 * MINUTE_NS


if __name__ == "__main__":
    PAGE.write_text(made_anew(PAGE.read_text("utf-8")), "utf-8")
