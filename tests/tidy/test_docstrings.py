"""Every public function and class of the core says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("units", "model", "ports", "reference", "engine")


def undocumented(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each public function and class at module level without a docstring."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        overload = any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)
        if not (node.name.startswith("_") or overload or ast.get_docstring(node)):
            yield node.lineno, node.name


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_names_are_documented(folder: str) -> None:
    files = sorted((ROOT / "src/perpkit" / folder).rglob("*.py"))
    assert files, f"src/perpkit/{folder} has no Python files: has it moved?"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} has no docstring"
        for path in files
        for line, name in undocumented(path.read_text("utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


def test_a_missing_docstring_is_found() -> None:
    source = "def f(): ...\n\nclass C: ...\n\nasync def g(): ...\n"
    assert [name for _, name in undocumented(source)] == ["f", "C", "g"]


def test_private_names_overloads_and_documented_names_pass() -> None:
    source = "def _f(): ...\n\n@overload\ndef g(): ...\n\ndef g():\n    'Say what for.'\n"
    assert not list(undocumented(source))
