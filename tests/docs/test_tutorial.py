"""Somebody who has never seen the project gets a plugin of their own out of the tutorial alone.

The page runs as its reader would run it: in an empty directory, with a new Python environment in which perpkit is
installed, command after command. What its fences do:

- `sh`: the commands run, and succeed.
- `console`: each line `$ …` runs; the lines below it are what it prints. `...` stands for anything, in a line or as
  one, and one figure of seconds is as good as another. A command that is shown to fail has to.
- a fence with `title="PATH"` is a file to write there; a `diff` takes its lines that begin with `-` out of the file and
  puts those that begin with `+` there.

Nothing is downloaded: the new environment sees the packages of this one, and packages are built with its hatchling.
Hypothesis tries fewer examples than it would for a reader; nothing that the page shows depends on how many.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/first-plugin.md"
NEEDED = ("pip", "hatchling", "editables", "pytest", "hypothesis", "mypy", "rich")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
SECONDS = re.compile(r"\b\d+\.\d+s\b")
NOT_THE_READERS = {"CI", "BUILD_NUMBER", "PYTHONPATH", "PYTHONHOME", "MYPYPATH"}
"""What a build machine, or somebody who works on perpkit, has set; the first two make pytest print more."""
FEW_EXAMPLES = """\
from hypothesis import settings

settings.register_profile("few", max_examples=10, derandomize=True, database=None)
settings.load_profile("few")
"""
FAILS = re.compile(r"^(FAILED|\d+ failed)\b", re.MULTILINE)


class Reader:
    """Does what a page says, in a directory and an environment of their own; remembers where it is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "desk"
        self.directory.mkdir()
        self._where = directory / "where"
        builder = venv.EnvBuilder(symlinks=os.name != "nt")
        context = builder.ensure_directories(directory / "venv")
        builder.create(directory / "venv")
        self._share_packages(Path(context.env_exe))
        kept = {name: value for name, value in os.environ.items() if name not in NOT_THE_READERS}
        self._environment = kept | {
            "PATH": os.pathsep.join([context.bin_path, os.environ["PATH"]]),
            "VIRTUAL_ENV": context.env_dir,
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as the option's own value: False, no isolation
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTEST_ADDOPTS": "-p few_examples",
            "COLUMNS": "80",
            "NO_COLOR": "1",
        }
        self.run(f"python -m pip install -q --no-deps -e '{ROOT}'")

    @staticmethod
    def _share_packages(python: Path) -> None:
        """Let an environment see what is installed in this one, but for perpkit, its plugins and what is editable."""
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(subprocess.check_output([python, "-c", asked], text=True).strip())
        for folder in map(Path, sys.path):
            for entry in folder.iterdir() if folder.name in ("site-packages", "dist-packages") else ():
                own = entry.name.startswith(("perpkit", "_editable", "__")) or entry.suffix == ".pth"
                if not (own or (site / entry.name).exists()):
                    (site / entry.name).symlink_to(entry)
        (site / "few_examples.py").write_text(FEW_EXAMPLES)

    def run(self, commands: str) -> tuple[int, str]:
        """Run commands where the last ones ended; return the exit code and what was printed."""
        ran = subprocess.run(
            ["sh", "-e", "-c", f"{commands}\npwd >'{self._where}'"],
            check=False, cwd=self.directory, env=self._environment, encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if ran.returncode == 0:
            self.directory = Path(self._where.read_text("utf-8").strip())
        return ran.returncode, ran.stdout

    def read_all(self, fences) -> None:
        """Do what a page says."""
        for fence in fences:
            self.read(fence)

    def read(self, fence) -> None:
        """Do what one fence says."""
        if title := fence.marks.get("title"):
            file = self.directory / title
            file.write_text(patched(file.read_text("utf-8"), fence.text) if fence.language == "diff" else fence.text)
        elif fence.language == "sh":
            code, told = self.run(fence.text)
            assert code == 0, f"line {fence.line}: {fence.text}\n{told}"
        elif fence.language == "console":
            for part in re.split(r"^\$ ", fence.text, flags=re.MULTILINE)[1:]:
                command, _, said = part.partition("\n")
                code, told = self.run(command)
                where = f"line {fence.line}: {command}\n--- the page\n{said}\n--- printed\n{told}"
                assert (code != 0) == bool(FAILS.search(said)), where
                assert matches(said, told), where
        else:
            raise AssertionError(f"line {fence.line}: a reader cannot tell what to do with {fence.language!r}")


def patched(text: str, diff: str) -> str:
    """Return a text with the lines that a diff takes out replaced by those that it puts in."""
    old, new = ("".join(f"{line[1:]}\n" for line in diff.splitlines() if line[0] == sign) for sign in "-+")
    assert text.count(old) == 1, f"expected once:\n{old}in\n{text}"
    return text.replace(old, new)


def matches(said: str, told: str) -> bool:
    """Say whether printed text is what a page says."""
    lines = SECONDS.sub("0s", said).rstrip().splitlines()
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r" *\n"
        for line in lines
    )
    return (
        re.fullmatch(pattern, "".join(f"{line}\n" for line in SECONDS.sub("0s", told).rstrip().splitlines()))
        is not None
    )


@pytest.mark.skipif(
    MISSING != [] and not os.environ.get("CI"), reason=f"not installed: {', '.join(MISSING)}; `make test` installs it"
)
def test_the_tutorial_leads_to_a_plugin_of_ones_own(tmp_path, fences):
    Reader(tmp_path).read_all(fences(PAGE))


# The tests of the test: a page that is wrong is found.

WRONG = {
    "a command fails": "```sh\nfalse\n```\n",
    "a command in the middle fails": "```sh\nfalse\ntrue\n```\n",
    "prints something else": "```console\n$ echo a\nb\n```\n",
    "prints more": "```console\n$ printf 'a\\nb\\n'\na\n```\n",
    "is shown to fail and does not": "```console\n$ echo 1 failed\n1 failed\n```\n",
    "fails and is shown not to": "```console\n$ echo a; false\na\n```\n",
    "takes out what is not there": '```python title="a.py"\na\n```\n```diff title="a.py"\n-b\n+c\n```\n',
    "nobody can tell what to do": "```python\nprint(1)\n```\n",
}


@pytest.fixture
def desk(tmp_path):
    """A reader without an environment of their own."""
    reader = Reader.__new__(Reader)
    reader.directory, reader._where, reader._environment = tmp_path, tmp_path / "where", dict(os.environ)
    return reader


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_tutorial_is_found(text, desk, fences):
    page = desk.directory / "wrong.md"
    page.write_text(text, "utf-8")
    with pytest.raises(AssertionError):
        desk.read_all(fences(page))


def test_a_right_tutorial_passes(desk, fences):
    page = desk.directory / "right.md"
    made = '```sh\nmkdir a\ncd a\n```\n```text title="b"\none\ntwo\n```\n```diff title="b"\n-two\n+three\n```\n'
    page.write_text(made + "```console\n$ cat b; echo in 1.5s\none\n...\nin 2.25s\n```\n", "utf-8")
    desk.read_all(fences(page))
    assert (page.parent / "a/b").read_text("utf-8") == "one\nthree\n"
