"""Every row of the page on features names a test that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/features.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in re.findall(r"^\| (?!feature \|).+$", PAGE, re.MULTILINE)
]


def functions_of(path):
    """Return the names of the test functions of a file, as pytest collects them."""
    bodies = [ast.parse(path.read_text("utf-8")).body]
    bodies += [node.body for node in bodies[0] if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
    return {node.name for body in bodies for node in body if isinstance(node, ast.FunctionDef)}


def test_there_are_rows():
    assert len(ROWS) > 40
    assert len({feature for feature, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("feature", "answer", "how", "shown_by"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_said_to_be_there_is_shown_by_a_test_that_there_is(feature, answer, how, shown_by):
    assert answer in ("yes", "yes, by plugin", "later")
    assert how
    if answer == "later":
        assert not shown_by
        return
    file, _, name = shown_by.strip("`").partition("::")
    assert file.startswith(("tests/", "plugins/"))
    assert re.fullmatch(r"test_\w+\.py", Path(file).name)
    assert name.startswith("test_")
    assert name in functions_of(ROOT / file), f"{feature}: no {name} in {file}"
