"""Every page runs from top to bottom, says what is printed, and leads nowhere that is not there.

What a fence does, by its first word:

- `python`: runs, all of a page in one namespace. With `{ no-run="why" }` behind the word it does not.
- `console`: each line `$ perpkit …` runs; the lines below it are what it prints. A line `...` stands for any lines.
- `toml`: must be TOML.
- `text` directly behind `python`: what that block prints.

A fence with `title="NAME"` becomes a file of that name in the directory where the page runs, and is not run itself. A
file named `pyproject.toml` is installed too.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from perpkit.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("tests/*.md")])
READ = [page for page in PAGES if page.is_relative_to(ROOT / "docs") or page.name == "README.md"]
RUN = [page for page in READ if page.name != "first-plugin.md"]
"""Here in one process; the other one takes an environment of its own: see test_tutorial.py."""

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(?P<text>.+)$", re.MULTILINE)


def name_of(page):
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def lines_of(text):
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def printed(run):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run()
    return out.getvalue()


def matches(said, printed):
    """Say whether printed text is what a page says, where a line `...` stands for any lines."""
    lines = lines_of(said)
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line) + r"\n" for line in lines)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines_of(printed))) is not None


def run_console(text):
    """Yield (command, what the page says that it prints, what it prints) for each command of a console fence."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, said = part.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "perpkit", f"expected a command of perpkit's, was {command!r}; use a `sh` fence for others"
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main(arguments)
        yield command, said, (errors if code == 2 else out).getvalue()  # 2: one line says why; else progress is no news


def run_python(fence, page, namespace):
    code = compile("\n" * fence.line + fence.text, str(page), "exec")
    said = printed(lambda: exec(code, namespace))
    if fence.follower and fence.follower.language == "text":
        assert lines_of(said) == lines_of(fence.follower.text), f"{name_of(page)}, line {fence.line}"


@pytest.fixture
def run_page(site, fences, install):
    """Return a function that runs a page in a directory of its own."""
    before = set(sys.modules)

    def run(page):
        namespace = {"__name__": "__main__"}
        for fence in fences(page):
            where = f"{name_of(page)}, line {fence.line}"
            if "no-run" in fence.marks:
                assert fence.marks["no-run"], f'{where}: expected {{ no-run="the reason" }}'
            elif title := fence.marks.get("title"):
                (site / title).write_text(fence.text, "utf-8")
                importlib.invalidate_caches()
                if title == "pyproject.toml":
                    install(site, fence.text)
            elif fence.language == "python":
                run_python(fence, page, namespace)
            elif fence.language == "console":
                for command, said, told in run_console(fence.text):
                    assert matches(said, told), f"{where}: {command}\n--- the page\n{said}\n--- printed\n{told}"
            elif fence.language == "toml":
                tomllib.loads(fence.text)

    yield run
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site)):
            del sys.modules[name]


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_a_page_runs_and_prints_what_it_says(page, run_page):
    run_page(page)


@pytest.mark.parametrize("page", READ, ids=name_of)
def test_no_fence_is_left_open_or_unlabelled(page, fences):
    assert page.read_text("utf-8").count("```") == 2 * len(fences(page))
    assert all(fence.language for fence in fences(page))


def slugs(page):
    """Return the anchors of a page's headings."""
    found = set()
    for heading in HEADING.finditer(CODE.sub(lambda code: code[0].strip("`") if "\n" not in code[0] else "", page)):
        text = re.sub(r"[^\w\s-]", "", heading["text"]).strip().lower()
        found.add(re.sub(r"\s+", "-", text))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for link in LINK.finditer(CODE.sub("", text)):
        path, _, anchor = link["target"].partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link[0]}"
        assert not anchor or anchor in slugs(target.read_text("utf-8")), f"{name_of(page)}: {link[0]}"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    named = re.findall(r": +(\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md"))


# The tests of the tests: a page that is wrong is found.

WRONG = {
    "fails": "```python\n1 / 0\n```\n",
    "prints something else": '```python\nprint("a")\n```\n\n```text\nb\n```\n',
    "command prints something else": "```console\n$ perpkit plugins\nnothing\n```\n",
    "command of another program": "```console\n$ true\n```\n",
    "skips without a reason": "```python { no-run }\n1 / 0\n```\n",
    "not TOML": "```toml\n=\n```\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_page_is_found(text, run_page, tmp_path):
    page = tmp_path / "wrong.md"
    page.write_text(text, "utf-8")
    with pytest.raises((AssertionError, ZeroDivisionError, tomllib.TOMLDecodeError)):
        run_page(page)


def test_a_right_page_passes(run_page, tmp_path):
    page = tmp_path / "right.md"
    skipped = '```python { no-run="needs a network" }\n1 / 0\n```\n'
    page.write_text(skipped + "```python\nprint(1)\n```\n\n```text\n1\n```\n", "utf-8")
    run_page(page)


@pytest.mark.parametrize(
    ("said", "told", "expected"),
    [("a\n...\nc", "a\nb\nb\nc\n", True), ("a\n...\nc", "a\nc\n", True), ("a\nc", "a\nb\nc", False), ("", "", True)],
)
def test_dots_stand_for_any_lines(said, told, expected):
    assert matches(said, told) is expected
