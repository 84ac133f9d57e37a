"""`perpkit plugins` and `perpkit doctor` show what is there and say what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perpkit.cli.main import main

PARTS = Path(__file__).with_name("parts.py")


@pytest.fixture
def fakes(install):
    install("fake-parts", {"fake_parts": PARTS.read_text("utf-8")}, version="3.2")


@pytest.fixture
def written(tmp_path, config_text):
    def write(*lines):
        path = tmp_path / "exchange.toml"
        path.write_text(config_text(*lines), "utf-8")
        return str(path)

    return write


def test_plugins_lists_every_provider_with_its_origin(fakes, capsys):
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PORT", "NAME", "API", "FROM", "CAPABILITIES", "SUMMARY"]
    (line,) = [line for line in lines if "a fake book" in line]
    assert line.split()[:6] == ["book", "fake", "provisional", "fake-parts", "3.2", "(fake_parts)"]


def test_plugins_shows_how_to_pick_among_equal_names(install, capsys):
    install("acme-a")
    install("acme-b")
    assert main(["plugins"]) == 0
    assert "acme-b:flat" in capsys.readouterr().out


def test_plugins_writes_json(fakes, install, capsys):
    install("bad-parts", {"bad_parts": "import no_such_module"})
    assert main(["plugins", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (book,) = [one for one in told["providers"] if (one["port"], one["name"]) == ("book", "fake")]
    assert book == {
        "port": "book",
        "name": "fake",
        "origin": {"plugin": "fake_parts", "distribution": "fake-parts", "version": "3.2"},
        "api": 0,
        "provisional": True,
        "summary": "a fake book",
        "capabilities": [],
        "waivers": {},
        "options": ["size", "label", "tags", "loud", "mode", "level"],
    }
    (problem,) = [one for one in told["problems"] if one["origin"]["distribution"] == "bad-parts"]
    assert "no_such_module" in problem["text"]


def test_doctor_shows_what_a_configuration_composes(fakes, install, written, capsys):
    install("bad-parts", {"bad_parts": "import no_such_module"})
    assert main(["doctor", written()]) == 0
    out = capsys.readouterr().out
    assert "problem: bad-parts 1.0" in out
    assert ["book", "BTC", "fake", "fake-parts", "3.2", "0"] in [line.split() for line in out.splitlines()]
    assert ["custody", "-", "fake", "fake-parts", "3.2", "0"] in [line.split() for line in out.splitlines()]
    assert "exchange.toml composes" in out


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('book = "no-such-book"', "markets.BTC.book: expected book to be one of"),
        ('lots = "1"', "exchange.toml: markets.BTC: expected no key 'lots' here; did you mean 'lot'?"),
        ("=", "exchange.toml: line 33, column 1: expected TOML: "),
    ],
)
def test_doctor_says_what_is_wrong_in_one_line_and_fails(fakes, written, capsys, line, told):
    assert main(["doctor", written("", line)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("perpkit: ")
    assert told in captured.err


def test_a_file_that_is_not_there_is_one_line_too(tmp_path, capsys):
    assert main(["doctor", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: expected a readable TOML file in UTF-8" in capsys.readouterr().err


def test_the_package_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "perpkit", "--help"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "doctor" in done.stdout


def test_conformance_gives_a_provider_the_options_that_are_asked_for(capfd):
    asked = ["conformance", "index_price=weighted", "--examples", "1"]
    assert main([*asked, "--option", "stale_after_seconds = 600", "--option", "deviation_ppb=200_000_000"]) == 0
    # More sources than the kit has: the index never gets a price.
    assert main([*asked, "--option", "sources_min=99"]) == 1
    assert " failed, " in capfd.readouterr().out


@pytest.mark.parametrize(
    ("asked", "given", "told"),
    [
        ("journal=file", ["segment_byte=1"], "an option of file, segment_bytes, window_bytes, window_appends; did you"),
        ("journal=file", ["segment_byte=1"], "--option segment_byte: expected an option of file"),
        ("book=price-time", ["size=1"], "--option size: expected an option of price-time, which has none"),
        ("journal=file", ["segment_bytes='70000'"], "--option.segment_bytes: expected int, was str '70000'"),
        ("journal=file", ["segment_bytes=1"], "--option: 'segment_bytes' must be >= 69632: 1"),
        ("journal=file", ["segment_bytes=1e6"], "--option.segment_bytes: expected text, a whole number, true or false"),
        ("fees=maker-taker", ["taker=0.05%"], "expected --option NAME=VALUE as in TOML, text in quotes, was --option"),
        ("journal=file", ["window_appends"], "text in quotes, was --option window_appends: Expected '='"),
        ("journal=file", ["window_bytes=1", "window_bytes=2"], "Cannot overwrite a value"),
    ],
)
def test_conformance_says_what_is_wrong_with_an_option(asked, given, told, capsys):
    options = [each for option in given for each in ("--option", option)]
    assert main(["conformance", asked, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("perpkit: ")
    assert told in error
