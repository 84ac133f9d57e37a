"""The documentation builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "pymdownx")),
    reason="mkdocs-material is not installed: `make docs` installs it",
)


def test_the_site_builds(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        check=False, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    quickstart = (tmp_path / "tutorial" / "quickstart" / "index.html").read_text("utf-8")
    assert "--8&lt;--" not in quickstart
    assert "insufficient-margin" in quickstart
