"""The same log leads to the same state and the same events under another instruction set with 32-bit pointers."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PYODIDE_VERSION = "314.0.7"

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def node():
    """Return the path of Node.js."""
    return shutil.which("node") or pytest.skip("Node.js is not installed: nothing here runs WebAssembly")


@pytest.fixture(scope="module")
def pyodide(node):
    """Return a folder with Pyodide, installed once and kept among this user's caches."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perpkit-tests"
    folder = caches / f"pyodide-{PYODIDE_VERSION}"
    if not folder.exists():
        caches.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=caches) as made:
            install(Path(made, "whole"))
            Path(made, "whole").rename(folder)  # so that an installation that was cut short is not taken for one
    return folder


def install(folder: Path) -> None:
    """Let npm install Pyodide. Where that fails the tests are skipped; a gate has to run them, so there they fail."""
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retry-mintimeout=1000")
    npm = ["npm", "install", *quiet, "--prefix", folder, f"pyodide@{PYODIDE_VERSION}"]
    try:
        subprocess.run(npm, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up(f"npm could not install Pyodide {PYODIDE_VERSION}: {getattr(error, 'stderr', '') or error}")


def test_webassembly_changes_nothing(crash, packages, node, pyodide):
    done = subprocess.run(
        [node, HERE / "replay.mjs", pyodide, ROOT / "src", packages, HERE, crash.folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["platform"], answer["pointer_bits"]) == ("emscripten", 32)
    assert answer["problems"] == []
    assert answer["replayed"] == crash.replayed
