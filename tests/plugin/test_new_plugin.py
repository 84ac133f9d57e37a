"""`perpkit new-plugin`: a package for every port passes tests, types and the rules of its port as it is made."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from perpkit.cli.main import main
from perpkit.plugin import MARK_PRICE, PORTS
from perpkit.testing.template import package

ROOT = Path(__file__).parents[2]
SRC = str(ROOT / "src")
FEW_EXAMPLES = """\
from hypothesis import settings

settings.register_profile("few", max_examples=10, derandomize=True, database=None)
settings.load_profile("few")
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """One package a port, and one whose name begins with perpkit-, all in one directory."""
    directory = tmp_path_factory.mktemp("plugins")
    (directory / "conftest.py").write_text(FEW_EXAMPLES)
    before = Path.cwd()
    os.chdir(directory)
    try:
        for port in PORTS:
            assert main(["new-plugin", f"acme-{port.key.replace('_', '-')}", "--port", port.key]) == 0
        assert main(["new-plugin", "perpkit-calm-mark", "--port", "mark_price"]) == 0
    finally:
        os.chdir(before)
    return directory


def run(directory, *arguments):
    sources = [str(path) for path in directory.glob("*/src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SRC, *sources]), "MYPYPATH": SRC}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def test_its_tests_and_the_rules_of_its_port_pass_untouched(packages):
    told = run(
        packages, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=.", "."
    )
    assert told.returncode == 0, told.stdout[-4_000:]


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_its_types_pass_untouched(packages):
    sources = [str(path) for path in packages.glob("*/src")]
    told = run(packages, "mypy", "--strict", "--cache-dir", str(packages / "cache"), *sources)
    assert told.returncode == 0, told.stdout


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize("prefix", ["acme", "perpkit-calm", "zeta"])  # in an import block: before, among, behind ours
def test_it_is_in_the_form_that_ruff_asks_for(prefix, tmp_path):
    """By its own configuration and by perpkit's, so that it may move in here."""
    for port in PORTS:
        directory = tmp_path / port.key
        for path, text in package(f"{prefix}-{port.key.replace('_', '-')}", port).items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text)
        for command in (["format", "--check"], ["check"], ["check", "--config", str(ROOT / "pyproject.toml")]):
            told = run(directory, "ruff", *command, "--no-cache", ".")
            assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("name", "provider", "part"),
    [
        ("acme-mark", "acme-mark", "AcmeMark"),
        ("perpkit-calm-mark", "calm-mark", "CalmMark"),
        ("perpkit-7", "perpkit-7", "Perpkit7"),
    ],
)
def test_a_provider_is_not_called_perpkit_once_more(name, provider, part):
    files = package(name, MARK_PRICE)
    module = name.replace("-", "_")
    assert f'name="{provider}",' in files[f"src/{module}/__init__.py"]
    assert f"class {part}:" in files[f"src/{module}/part.py"]
    assert f"perpkit conformance mark_price={provider}\n" in files["README.md"]
    assert f'{name} = "{module}"' in files["pyproject.toml"]


def test_it_prints_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "acme-mark", "--port", "mark_price"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cd acme-mark",
        "python -m pip install -e '.[test]'",
        "python -m pytest",
        "python -m mypy",
        "perpkit conformance mark_price=acme-mark",
    ]


@pytest.mark.parametrize("name", ["Acme", "acme_mark", "-acme", "acme mark", "../acme", "perpkit"])
def test_a_name_that_is_none_is_refused(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "--port", "mark_price", "--", name]) == 2
    assert re.search("expected (lower-case words joined by hyphens|a name of its own)", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme-mark").mkdir()
    assert main(["new-plugin", "acme-mark", "--port", "mark_price"]) == 2
    assert "expected a new directory" in capsys.readouterr().err


def test_conformance_runs_the_rules_over_a_provider(capfd):
    assert main(["conformance", "mark_price=index", "--examples", "5"]) == 0
    assert "passed" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("mark_price", "expected PORT=PROVIDER"),
        ("mark_prise=index", "did you mean 'mark_price'?"),
        ("mark_price=indx", "did you mean 'index'?"),
    ],
)
def test_conformance_says_what_is_wrong_with_a_question(asked, told, capsys):
    assert main(["conformance", asked]) == 2
    assert told in capsys.readouterr().err
