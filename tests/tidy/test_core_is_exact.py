"""The core holds integers only, divides in one place, and depends on nothing that varies between runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ("units", "model", "engine", "reference")
ONE_PLACE_THAT_DIVIDES = ROOT / "src/perpkit/units/rounding.py"

INEXACT_NAMES = {"float", "round"}
VARYING_IMPORTS = {"math", "random", "secrets", "time"}
FLOAT_METHODS = {"timestamp", "total_seconds"}
WALL_CLOCK = {f"{owner}.{method}" for owner in ("datetime", "date") for method in ("now", "today", "utcnow")}
SET_METHODS = {"difference", "intersection", "symmetric_difference", "union"}
ORDER_TAKERS = {"enumerate", "iter", "list", "tuple"}


def offences(source: str, *, may_divide: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) for everything that an exact, repeatable core must not contain."""
    for node in ast.walk(ast.parse(source)):
        anchor = node.iter if isinstance(node, ast.comprehension) else node
        line = getattr(anchor, "lineno", 0)
        found = [*_inexact(node), *_varying(node), *([] if may_divide else _divides(node))]
        yield from ((line, complaint) for complaint in found)


def _inexact(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=float() | complex() as value):
            yield f"float literal {value!r}"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            yield "operator /"
        case ast.Name(id=name) if name in INEXACT_NAMES:
            yield f"name {name}"
        case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[]) if name in FLOAT_METHODS:
            yield f".{name}() answers a float"


def _varying(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            modules = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            modules = [module]
        case _:
            modules = []
    for module in modules:
        if module.split(".")[0] in VARYING_IMPORTS:
            yield f"import of {module}"
    match node:
        case ast.For(iter=items) | ast.comprehension(iter=items) | ast.Starred(value=items) if _is_set(items):
            yield "iteration over a set"
        case ast.Call(func=ast.Name(id=name), args=[items, *_]) if name in ORDER_TAKERS and _is_set(items):
            yield f"{name}() of a set"
        case ast.Attribute() if ".".join(ast.unparse(node).split(".")[-2:]) in WALL_CLOCK:
            yield "wall clock"


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub(), right=right):
            return _is_set(left) or _is_set(right)
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in SET_METHODS:
            return _is_set(owner)
    return False


def _divides(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.BinOp(op=ast.FloorDiv()) | ast.AugAssign(op=ast.FloorDiv()):
            yield "operator // outside units/rounding.py"
        case ast.BinOp(op=ast.Mod()) | ast.AugAssign(op=ast.Mod()):
            yield "operator % outside units/rounding.py"
        case ast.Name(id="divmod"):
            yield "divmod outside units/rounding.py"


@pytest.mark.parametrize("folder", CORE)
def test_core_is_exact(folder: str) -> None:
    files = sorted((ROOT / "src/perpkit" / folder).rglob("*.py"))
    assert files, f"src/perpkit/{folder} has no Python files: has it moved?"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in files
        for line, complaint in offences(path.read_text("utf-8"), may_divide=path == ONE_PLACE_THAT_DIVIDES)
    ]
    assert not found, "\n" + "\n".join(found)


FORBIDDEN = [
    ("x = 0.5", "float literal"),
    ("x = 1e9", "float literal"),
    ("x = 2j", "float literal"),
    ("x = a / b", "operator /"),
    ("x /= b", "operator /"),
    ("x = float(a)", "name float"),
    ("def f(x: float): ...", "name float"),
    ("x = round(a)", "name round"),
    ("x = map(round, a)", "name round"),
    ("x = delta.total_seconds()", "answers a float"),
    ("x = when.timestamp()", "answers a float"),
    ("import math", "import of math"),
    ("import os, time as t", "import of time"),
    ("from random import Random", "import of random"),
    ("def f():\n    from math import isqrt", "import of math"),
    ("import secrets", "import of secrets"),
    ("x = datetime.now(UTC)", "wall clock"),
    ("x = datetime.datetime.utcnow()", "wall clock"),
    ("for x in {1, 2}: pass", "iteration over a set"),
    ("for x in set(a): pass", "iteration over a set"),
    ("for x in frozenset(a): pass", "iteration over a set"),
    ("for x in {y for y in a}: pass", "iteration over a set"),
    ("for x in set(a) | b: pass", "iteration over a set"),
    ("for x in set(a).union(b): pass", "iteration over a set"),
    ("x = [y for y in set(a)]", "iteration over a set"),
    ("x = sum(y for y in {1, 2})", "iteration over a set"),
    ("x = {y: 1 for y in {z for z in a}}", "iteration over a set"),
    ("x = [*set(a)]", "iteration over a set"),
    ("x = tuple(set(a))", "tuple() of a set"),
    ("x = a // b", "operator //"),
    ("x //= b", "operator //"),
    ("x = a % b", "operator %"),
    ("x %= b", "operator %"),
    ("x = '%d' % b", "operator %"),
    ("x = divmod(a, b)", "divmod"),
    ("x = map(divmod, a, b)", "divmod"),
]

ALLOWED = [
    "x = a * b + 1 - 2**63",
    "x = 'a / b'  # a / b, 0.5",
    "x = f'{a}:{b}'",
    "for x in sorted(set(a)): pass",
    "for x in [1, 2]: pass",
    "x = a in {1, 2}",
    "x = len(set(a))",
    "from perpkit.units.time import DAY",
    "from .time import DAY",
    "x = market.round_lot",
    "x = reading.timestamp",
]


@pytest.mark.parametrize(("source", "complaint"), FORBIDDEN)
def test_the_checker_catches(source: str, complaint: str) -> None:
    assert any(complaint in found for _, found in offences(source)), source


@pytest.mark.parametrize("source", ALLOWED)
def test_the_checker_lets_pass(source: str) -> None:
    assert not list(offences(source))


def test_the_one_place_may_divide_but_not_inexactly() -> None:
    source = "a = b // c\nd = b % c\ne = divmod(b, c)\nf = b / c\n"
    assert list(offences(source, may_divide=True)) == [(4, "operator /")]


def test_the_line_is_reported() -> None:
    assert list(offences("a = 1\n\nb = 0.5\n")) == [(3, "float literal 0.5")]
    assert list(offences("a = [\n    b\n    for b in set(c)\n]\n")) == [(3, "iteration over a set")]
