"""Pages as data: their fences and links, and a directory of its own in which a page runs."""

from __future__ import annotations

import re
import textwrap
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SNIPPET = re.compile(r'^--8<-- "(?P<path>[^"]+)"$', re.MULTILINE)
FENCE = re.compile(r"^(?P<indent> *)```(?P<head>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r'(?P<key>[\w-]+)="(?P<value>[^"]*)"')


class Fence(NamedTuple):
    """One fenced block: where it starts, its language, its marks and its text, and the block right behind it."""

    line: int
    language: str
    marks: dict[str, str]
    text: str
    end: int
    follower: Fence | None = None


def fences_of(page: Path) -> list[Fence]:
    """Return the fences of a page with snippets filled in; `follower` is set where only blank lines lie between."""
    source = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(source):
        language, _, rest = match["head"].strip().partition(" ")
        text = SNIPPET.sub(lambda snippet: (ROOT / snippet["path"]).read_text("utf-8").rstrip(), match["body"])
        marks = {mark["key"]: mark["value"] for mark in MARK.finditer(rest)}
        if "no-run" in rest and not marks.get("no-run", "").strip():
            marks["no-run"] = ""
        line = source.count("\n", 0, match.start()) + 1
        found.append((match.start(), Fence(line, language, marks, textwrap.dedent(text), match.end())))
    fences: list[Fence] = []
    for index, (_, fence) in enumerate(found):
        behind = found[index + 1] if index + 1 < len(found) else None
        follows = behind is not None and not source[fence.end : behind[0]].strip()
        fences.append(fence._replace(follower=behind[1]) if behind and follows else fence)
    return fences


def distribute(site: Path, name: str, version: str, groups: dict[str, dict[str, str]]) -> None:
    """Put a distribution with entry points on the path that `site` is, as an installer would."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")


def install_project(site: Path, pyproject: str) -> None:
    """Do to a page's pyproject.toml what `pip install -e .` would."""
    project = tomllib.loads(pyproject)["project"]
    distribute(site, project["name"], project["version"], project.get("entry-points", {}))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty directory to run in, on the import path; perpkit is installed there, and nobody's plugins are."""
    distributions = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: distributions(path=[str(tmp_path)]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    distribute(tmp_path, "perpkit", "0.1.0", {})  # pages show this version, whatever the present one is
    return tmp_path


@pytest.fixture(scope="session")
def fences():
    """Return `fences_of`."""
    return fences_of


@pytest.fixture(scope="session")
def install():
    """Return `install_project`."""
    return install_project
