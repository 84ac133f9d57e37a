"""Every example runs, and prints what the file beside it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARGUMENTS = {"kill_and_recover.py": ["--kills", "3"]}
"""What an example is run with here, where its full run would take long."""
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_there_are_examples_and_no_output_without_one():
    assert EXAMPLES
    assert sorted((ROOT / "examples").glob("*.out")) == [example.with_suffix(".out") for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_prints_what_is_written_beside_it(example, tmp_path):
    """Twice, under different hash seeds: nothing that it prints depends on the order of a set."""
    for seed in ("0", "1"):
        path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        ran = subprocess.run(
            [sys.executable, str(example), *ARGUMENTS.get(example.name, ())],
            check=False, capture_output=True, encoding="utf-8", cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert example.name in ARGUMENTS or ran.stderr == ""
        assert ran.stdout == example.with_suffix(".out").read_text("utf-8")
