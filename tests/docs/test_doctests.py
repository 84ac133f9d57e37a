"""The examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>>" in path.read_text("utf-8")
]


def test_there_are_examples_where_readers_look_first():
    for name in ("units.rounding", "units.scale", "model.records", "engine.exchange", "audit.digest", "runtime.venue"):
        assert f"perpkit.{name}" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_show_what_happens(name, capsys):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed, capsys.readouterr().out
