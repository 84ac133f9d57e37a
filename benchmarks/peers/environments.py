"""An environment for each book, and processes that end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

INSTALL_S = 900


class NotMeasuredError(Exception):
    """Why there is no figure for a book."""


def finish(what: str, command: Sequence[str], limit_s: float) -> None:
    """Run a command to its end.

    Raises:
        NotMeasuredError: it took too long, or failed.
    """
    # In a directory of its own, so that what a package writes where it runs is thrown away.
    with tempfile.TemporaryDirectory() as here:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=limit_s, cwd=here, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"{what} did not end within {limit_s:g} s") from None
    if done.returncode < 0:
        raise NotMeasuredError(f"{what} crashed: {signal.Signals(-done.returncode).name}")
    if done.returncode:
        last = ([line for line in done.stderr.splitlines() if line.strip()] or ["it does not say why"])[-1]
        raise NotMeasuredError(f"{what} failed: {last.strip()[:160]}")


def find_python(versions: Sequence[str]) -> str:
    """Return the first of these Pythons that this machine has: the one that runs, on the path, or of pyenv.

    Raises:
        NotMeasuredError: it has none of them.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in versions:
        installed = sorted(pyenv.glob(f"{version}.*/bin/python"))
        for candidate in (sys.executable, f"python{version}", *map(str, installed)):
            path = shutil.which(candidate)
            if path and _version_of(path) == version:
                return path
    raise NotMeasuredError(f"needs Python {' or '.join(versions)}, which this machine does not have")


def _version_of(python: str) -> str:
    says = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", says], capture_output=True, text=True, check=False).stdout.strip()


def environment(home: Path, versions: Sequence[str], requirements: Sequence[str], *, keep: bool) -> str:
    """Return the Python of an environment with these requirements and nothing else.

    `keep` takes the one that an earlier run left, when it was made for the same.

    Raises:
        NotMeasuredError: it cannot be made.
    """
    base = find_python(versions)
    python, stamp = home / "bin" / "python", home / "made-for.txt"
    wanted = "\n".join([base, *requirements])
    if keep and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return str(python)
    shutil.rmtree(home, ignore_errors=True)
    bare = [] if requirements else ["--without-pip"]
    finish("making its environment", [base, "-m", "venv", *bare, str(home)], INSTALL_S)
    if requirements:
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
        finish("installing it", [*pip, *requirements], INSTALL_S)
    stamp.write_text(wanted, "utf-8")
    return str(python)
