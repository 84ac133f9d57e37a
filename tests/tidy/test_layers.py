"""Imports go down only: the contract in pyproject.toml holds, and it does notice when it is broken."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = "import sys; sys.path.insert(0, sys.argv.pop()); from importlinter.cli import lint_imports; "
LINT += "sys.exit(lint_imports(no_cache=True))"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("importlinter") is None,
    reason="import-linter is not installed: `make layers` installs it",
)


def lint(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in `folder`, on the perpkit under `source`."""
    return subprocess.run(
        [sys.executable, "-c", LINT, str(source)], cwd=folder, check=False, capture_output=True, text=True
    )


def layers() -> list[str]:
    """Return the modules of the contract, highest first."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    rows = configuration["tool"]["importlinter"]["contracts"][0]["layers"]
    return [name.strip() for row in rows for name in row.split("|")]


def toy(folder: Path, imports: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Lint a perpkit of empty modules of which some import another."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    package = folder / "perpkit"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in layers():
        imported = f"import {imports[name]}\n" if name in imports else ""
        (package / f"{name.removeprefix('perpkit.')}.py").write_text(imported, "utf-8")
    return lint(folder, folder)


def test_perpkit_keeps_its_layers() -> None:
    result = lint(ROOT, ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr


def test_imports_downward_are_fine(tmp_path: Path) -> None:
    result = toy(tmp_path, {"perpkit.cli": "perpkit.errors", "perpkit.engine": "perpkit.ports"})
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("perpkit.units", "perpkit.model"),
        ("perpkit.ports", "perpkit.engine"),
        ("perpkit.engine", "perpkit.reference"),
        ("perpkit.reference", "perpkit.engine"),
    ],
)
def test_imports_upward_or_sideways_are_found(tmp_path: Path, importer: str, imported: str) -> None:
    result = toy(tmp_path, {importer: imported})
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout
