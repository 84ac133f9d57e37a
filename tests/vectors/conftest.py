"""Finds the published figures beside the repository, and tells at the end which cases ran and which wait, and why."""

from __future__ import annotations

import importlib.util
import json
import os
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared"


def _place(variable: str, default: Path) -> Path:
    """Return the path that an environment variable names, or the default; a named one must exist."""
    path = Path(os.environ.get(variable) or default)
    if os.environ.get(variable) and not path.exists():
        raise pytest.UsageError(f"{variable}: expected a path that exists, was {path}")
    return path


def _adapters() -> dict[str, Callable[..., Any]]:
    """Load what every file of `adapters` offers; tests are no package that could import them."""
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted((HERE / "adapters").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"vector_adapters_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.ADAPTERS
    return found


class Vectors:
    """The cases of `perpetuals.json`: which wait and which are not offered, by id."""

    def __init__(self) -> None:
        self.path = _place("PERPKIT_VECTORS", SHARED / "vectors" / "perpetuals.json")
        self.found = self.path.exists()
        self.cases: list[dict[str, Any]] = json.loads(self.path.read_text("utf-8"))["cases"] if self.found else []
        self.adapters = _adapters()
        waiting = tomllib.loads((HERE / "waiting.toml").read_text("utf-8"))
        self.waiting_categories: dict[str, str] = waiting["categories"]
        self.waiting_cases: dict[str, str] = waiting["cases"]
        self.not_offered: dict[str, str] = tomllib.loads((HERE / "not_offered.toml").read_text("utf-8"))["cases"]

    @property
    def skip_reason(self) -> str:
        return f"no vectors at {self.path}; PERPKIT_VECTORS may name another place"

    def why_waiting(self, case: dict[str, Any]) -> str | None:
        return self.waiting_cases.get(case["id"]) or self.waiting_categories.get(case["category"])

    def to_run(self) -> list[dict[str, Any]]:
        return [case for case in self.cases if not self.why_waiting(case) and case["id"] not in self.not_offered]


VECTORS = Vectors()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each case."""
    if "case" not in metafunc.fixturenames:
        return
    params = [pytest.param(case, id=case["id"]) for case in VECTORS.to_run()]
    absent = pytest.param(None, id="absent", marks=pytest.mark.skip(reason=VECTORS.skip_reason))
    metafunc.parametrize("case", params or [absent])


@pytest.fixture(scope="session")
def vectors() -> Vectors:
    """All cases, and what stands in the two lists."""
    if not VECTORS.found:
        pytest.skip(VECTORS.skip_reason)
    return VECTORS


@pytest.fixture(scope="session")
def ask(make_exchange: Any, make_spec: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a function that puts a case to perpkit through the adapter of its category."""
    make = SimpleNamespace(exchange=make_exchange, spec=make_spec)
    return lambda case: VECTORS.adapters[case["category"]](case, make)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: `data` beside `vectors`, or what PERPKIT_DATA names."""
    path = _place("PERPKIT_DATA", SHARED / "data")
    if not path.exists():
        pytest.skip(f"no data at {path}; PERPKIT_DATA may name another place")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases ran, and list by reason what waits."""
    if not VECTORS.found:
        terminalreporter.write_line(f"vectors: {VECTORS.skip_reason}")
        return
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    run = sum("test_vectors.py::test_published[" in report.nodeid for report in reports)
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for case in VECTORS.cases:
        if reason := VECTORS.why_waiting(case):
            reasons[reason][case["category"]] += 1
    waiting = sum(sum(counts.values()) for counts in reasons.values())
    terminalreporter.write_line(f"vectors: {run} run, {waiting} wait, {len(VECTORS.not_offered)} not offered")
    for reason, counts in reasons.items():
        listed = ", ".join(f"{category} ({count})" for category, count in counts.items())
        terminalreporter.write_line(f"  wait, {reason}: {listed}")
    for case_id, reason in VECTORS.not_offered.items():
        terminalreporter.write_line(f"  not offered: {case_id}: {reason}")
