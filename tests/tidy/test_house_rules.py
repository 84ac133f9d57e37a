"""No file names the machine that built it; files and functions stay short enough to read."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# Written in pieces, so that this file does not trip over itself.
HOSTS = [
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("npmjs", ".org"),
    ("npmjs", ".com"),
    ("crates", ".io"),
    ("proxy.golang", ".org"),
    ("rubygems", ".org"),
    ("conda.anaconda", ".org"),
    ("deb.debian", ".org"),
    ("archive.ubuntu", ".com"),
]
FOLDERS = ["work", "workspace", "farm", "root", "home", "Users", "builds"]
MACHINE = re.compile(
    "|".join(
        [
            *(re.escape("".join(pieces)) for pieces in HOSTS),
            "--(extra-)?" + "index-url",
            r"(?<![\w.~*)}\]-])/(" + "|".join(FOLDERS) + r")/\w",
            r"\b[A-Za-z]:\\\\?" + "Users",
        ]
    )
)


def committed_files() -> list[Path]:
    """Return what is, or is about to be, in version control; every file of an unpacked release."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listing = subprocess.run(
            [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        paths = [ROOT / name for name in listing.split("\0") if name]
    else:
        inside = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        made = {"build", "dist", "site"}
        paths = [ROOT / path for path in inside if path.parts[0] not in made and path.parts[0][0] != "."]
    return sorted(path for path in paths if path.is_file())


def machine_names(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what was found) for registry hosts and absolute paths of somebody's machine."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in MACHINE.finditer(line):
            yield number, match.group()


def test_no_file_names_a_registry_or_a_build_machine() -> None:
    found = []
    for path in committed_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}:{line}: {name}" for line, name in machine_names(text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "https://" + "pypi" + ".org/simple",
        "https://files." + "pythonhosted" + ".org/x.whl",
        "pip install --" + "index-url=https://mirror.example/simple x",
        "cd /" + "work/main",
        'path = "/' + 'home/alice/perpkit"',
        "/" + "Users/alice",
        "C:\\" + "Users\\alice",
    ],
)
def test_the_search_catches(text: str) -> None:
    assert list(machine_names("first line\n" + text))


@pytest.mark.parametrize(
    "text", ["frame" + "/work", "https://venue.example/" + "home/x", "at work / at home", "~" + "/work"]
)
def test_the_search_lets_pass(text: str) -> None:
    assert not list(machine_names(text))


def test_there_are_sources() -> None:
    assert SOURCES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_documented_and_short(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path}: a module starts with a docstring that says what it is for"
    lines = len(text.splitlines())
    assert lines <= FILE_LINES_MAX, f"{path}: {lines} lines, at most {FILE_LINES_MAX}"
    long = list(long_functions(tree))
    assert not long, f"{path}: at most {FUNCTION_LINES_MAX} lines a function: {long}"


def long_functions(tree: ast.AST) -> Iterator[str]:
    """Yield a line for every function that does not fit on a screen, its docstring included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"line {node.lineno}: {node.name} has {lines}"


def test_a_long_function_is_found() -> None:
    short = "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)
    assert not list(long_functions(ast.parse(short)))
    assert list(long_functions(ast.parse(short + "    x = 1\n")))
