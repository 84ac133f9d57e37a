"""`perpkit.testing` asks for no more than its docstring says: somebody's own tests may use another runner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); sys.modules.update(dict.fromkeys(sys.argv[3:])); "
IMPORT += "import importlib; importlib.import_module('perpkit.testing.' + sys.argv[2])"


def imported_without(module: str, *missing: str) -> int:
    """Import a module of perpkit.testing where others are not installed; return the exit code."""
    command = [sys.executable, "-c", IMPORT, str(ROOT / "src"), module, *missing]
    return subprocess.run(command, check=False, capture_output=True).returncode


@pytest.mark.parametrize("module", ["builders", "custody", "fakes", "scenario", "template"])
def test_what_needs_nothing_but_perpkit(module: str) -> None:
    assert imported_without(module, "pytest", "hypothesis") == 0


def test_strategies_need_hypothesis_alone() -> None:
    assert imported_without("strategies", "pytest") == 0
    assert imported_without("strategies", "hypothesis") == 1


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_conformance_needs_both(missing: str) -> None:
    assert imported_without("conformance", missing) == 1
