"""Everything public says what it is for, in the sections that CONTRIBUTING.md asks for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src/perpkit").rglob("*.py"))
ORDER = ("Units", "Rounds", "Rejects", "Raises", "Source", "Example", "Cost")
UNITS = {"Ticks": "_ticks", "Lots": "_lots", "Units": "_units", "Ppb": "_ppb", "Nanos": "_ns"}
LOOSE = ("report", "testing")
"""Where a function that raises or divides need not say so: it shows numbers to people, or says what a test expects."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(source: str) -> Iterator[tuple[str, Function | ast.ClassDef, str]]:
    """Yield (name, node, docstring of its class) of what is public in a module, methods of its classes included."""
    for node in ast.parse(source).body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node, ""
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, Function) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member, ast.get_docstring(node) or ""


def is_overload(node: Function | ast.ClassDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


def undocumented(source: str) -> Iterator[str]:
    """Yield what has no docstring, or one that does not begin with a line that says it all."""
    for name, node, _ in public(source):
        text = ast.get_docstring(node)
        if text is None:
            if not is_overload(node):
                yield f"line {node.lineno}: {name} has no docstring"
            continue
        if not re.search(r"[.?!:…)`]$", text.splitlines()[0]):
            yield f"line {node.lineno}: {name} does not begin with one line that says what it is for"


def disordered(source: str) -> Iterator[str]:
    """Yield the docstrings whose sections are not in the order of CONTRIBUTING.md."""
    for name, node, _ in public(source):
        found = re.findall(r"^(\w+):$", ast.get_docstring(node) or "", re.MULTILINE)
        sections = [section for section in found if section in ORDER]
        if sections != sorted(sections, key=ORDER.index):
            yield f"line {node.lineno}: {name} has its sections in the order {', '.join(sections)}"


def unsaid(source: str, members: frozenset[str]) -> Iterator[str]:
    """Yield the functions that raise, or divide, and do not say so; whoever refers to a port has it said there."""
    for name, node, of_class in public(source):
        if not isinstance(node, Function) or node.name in members:
            continue
        said = f"{ast.get_docstring(node)}\n{of_class}"
        if said.startswith("See `"):
            continue
        inside = list(ast.walk(node))
        raised = [ast.unparse(each.exc) for each in inside if isinstance(each, ast.Raise) and each.exc]
        if "Raises" not in said and set(raised) - {"NotImplementedError"}:
            yield f"line {node.lineno}: {name} raises, and does not say what and when"
        calls = [each.func.id for each in inside if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)]
        if "Rounds:" not in said and any(re.match("(mul_)?div_", called) for called in calls):
            yield f"line {node.lineno}: {name} divides, and does not say which way it rounds"


def unitless(source: str) -> Iterator[str]:
    """Yield the numbers of a signature that say their unit neither in their name nor in a section."""
    for name, node, of_class in public(source):
        if not isinstance(node, Function) or "Units:" in f"{ast.get_docstring(node)}{of_class}":
            continue
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            inside = ast.walk(argument.annotation) if argument.annotation else ()
            named = {each.id for each in inside if isinstance(each, ast.Name)}
            if any(unit in named and not argument.arg.endswith(suffix) for unit, suffix in UNITS.items()):
                yield f"line {node.lineno}: {name}({argument.arg}) does not say its unit"


def members_of_ports() -> frozenset[str]:
    """Return the names of the methods that the ports have."""
    sources = [path.read_text("utf-8") for path in (ROOT / "src/perpkit/ports").rglob("*.py")]
    return frozenset(node.name for source in sources for _, node, _ in public(source) if isinstance(node, Function))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src/perpkit")))
def test_public_names_are_documented(path: Path) -> None:
    source, folder = path.read_text("utf-8"), path.relative_to(ROOT / "src/perpkit").parts[0]
    found = list(undocumented(source))
    if folder not in LOOSE:
        found += disordered(source)
        found += unsaid(source, members_of_ports() if folder != "ports" else frozenset())
    if folder in ("units", "ports"):
        found += unitless(source)
    assert not found, f"{path.relative_to(ROOT)}:\n" + "\n".join(found)


def test_there_are_sources_and_the_folders_are_where_they_were() -> None:
    assert {path.relative_to(ROOT / "src/perpkit").parts[0] for path in SOURCES} >= {*LOOSE, "units", "ports"}
    assert {"plan", "rate_ppb", "next_step"} <= members_of_ports()


def test_a_missing_docstring_is_found() -> None:
    source = "def f(): ...\n\nclass C:\n    def m(self): ...\n\nasync def g(): ...\n"
    assert [line.split()[2] for line in undocumented(source)] == ["f", "C", "C.m", "g"]


def test_a_docstring_in_another_form_is_found() -> None:
    assert len(list(undocumented('def f():\n    """Do it\n    and that."""'))) == 1
    raises, units = "Raises:\n        E: x", "Units:\n        x"
    assert len(list(disordered(f'def f():\n    """Do it.\n\n    {raises}\n\n    {units}"""'))) == 1
    assert not list(disordered(f'def f():\n    """Do it.\n\n    {units}\n\n    {raises}"""'))


def test_private_names_overloads_and_documented_names_pass() -> None:
    source = "def _f(): ...\n\n@overload\ndef g(): ...\n\ndef g():\n    'Say what for.'\n"
    assert not list(undocumented(source))


def test_what_is_raised_or_rounded_and_not_said_is_found() -> None:
    source = "def f():\n    'A.'\n    raise E\n\ndef g():\n    'B.'\n    return div_ceil(1, 2)\n"
    assert [line.split()[2] for line in unsaid(source, frozenset())] == ["f", "g"]
    assert not list(unsaid(source, frozenset({"f", "g"})))
    said = source.replace("A.", "A.\\n\\nRaises:\\n    E: x").replace("B.", "B.\\n\\nRounds:\\n    Up.")
    assert not list(unsaid(said, frozenset()))
    assert not list(unsaid("def f():\n    'A.'\n    try: g()\n    except E: raise\n", frozenset()))


def test_a_number_without_a_unit_is_found() -> None:
    assert list(unitless("def f(price: Ticks | None): 'A.'"))
    assert not list(unitless("def f(price_ticks: Ticks | None, size: int): 'A.'"))
    assert not list(
        unitless("class C:\n    'A.\\n\\n    Units:\\n        Ticks.'\n    def f(self, price: Ticks): 'A.'")
    )
