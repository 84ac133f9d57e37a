"""The demo from the command line: what a newcomer does first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perpkit.cli.main import main

DATA = Path(os.environ.get("PERPKIT_DATA", Path(__file__).parents[3] / "shared" / "data"))
HOURS = DATA / "crash_2020_03" / "btc_hour_2020-03-12.csv"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The demo over the real hourly file; the directory it wrote and what it printed."""
    if not HOURS.exists():
        pytest.skip(f"needs the hourly bars of March 2020 at {HOURS} (or PERPKIT_DATA)")
    out = tmp_path_factory.mktemp("demo")
    ran = subprocess.run(
        [sys.executable, "-m", "perpkit", "demo", "--prices", str(HOURS), "--out", str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return out, ran.stdout


def row(text, label):
    """Return the two cells of a row of the printed table."""
    line = next(line for line in text.splitlines() if line.strip().startswith(label))
    return line.strip()[len(label) :].split("  ")


def test_the_frozen_exchange_is_left_out_as_stale_by_name(real):
    out, _ = real
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "gemini was left out as stale from 2020-03-13 04:15 to 05:00 UTC" in report


def test_the_two_policies_differ_and_the_books_balance(real):
    _, printed = real
    assert "stepped" in printed
    assert "takeover" in printed
    taken = [cell.strip() for cell in row(printed, "take-overs") if cell.strip()]
    stepped = [cell.strip() for cell in row(printed, "closes on the book") if cell.strip()]
    assert stepped[1] == "0" != stepped[0]
    assert len(taken) == 2
    conservation = [cell.strip() for cell in row(printed, "client side = custody side") if cell.strip()]
    assert all(cell.startswith("exact") for cell in conservation)


def test_the_report_is_one_small_file_that_asks_for_nothing(real):
    report = (real[0] / "report.html").read_text(encoding="utf-8")
    assert len(report.encode()) < 1_000_000
    assert report.count("<svg") >= 4
    for outside in ("<script src", 'rel="stylesheet"', "@import", '<img src="http'):
        assert outside not in report


def test_the_log_replays_to_the_same_state_in_another_process_with_another_hash_seed(real):
    out, _ = real
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    ran = subprocess.run(
        [sys.executable, "-m", "perpkit", "replay", str(out)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "same state as the run" in ran.stdout


def test_a_changed_log_is_noticed(real, tmp_path):
    out, _ = real
    for name in ("commands.bin", "exchange.toml", "digest.txt"):
        (tmp_path / name).write_bytes((out / name).read_bytes())
    log = (tmp_path / "commands.bin").read_bytes()
    (tmp_path / "commands.bin").write_bytes(log[:-64])
    (tmp_path / "digest.txt").write_text("0" * 64, encoding="utf-8")
    assert main(["replay", str(tmp_path)]) == 1


def test_without_a_file_the_demo_says_that_its_prices_are_stylised(tmp_path, capsys):
    assert main(["demo", "--hours", "1", "--traders", "5", "--out", str(tmp_path)]) == 0
    assert "stylised" in capsys.readouterr().out
    assert "stylised" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_built_in_paths_are_listed(capsys):
    assert main(["demo", "--list"]) == 0
    assert "march-2020:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1, column 1"),
        ("ts,exchange\n", "line 1, column 1"),
        ("ts,exchange,open,high,low,close,volume\n2020-03-12T00:00:00Z,a,1,2\n", "line 2, column 5"),
        ("ts,exchange,open,high,low,close,volume\nyesterday,a,1,2,1,1,1\n", "line 2, column ts"),
        ("ts,exchange,open,high,low,close,volume\n2020-03-12T00:00:00Z,a,1,x,1,1,1\n", "line 2, column high"),
        ("ts,exchange,open,high,low,close,volume\n2020-03-12T00:00:00Z,a,NaN,2,1,1,1\n", "line 2, column open"),
        ("ts,exchange,open,high,low,close,volume\n2020-03-12T00:00:00Z,a,1,2,0,1,1\n", "line 2, column low"),
        ("ts,exchange,open,high,low,close,volume\n2020-03-12T00:00:00Z,a,1,2,1,1,-1\n", "line 2, column volume"),
        ("ts,exchange,open,high,low,close,volume\n2020-03-12T00:00:00Z,a,1,1,2,1,1\n", "line 2, column low"),
    ],
)
def test_a_malformed_file_gives_one_line_with_file_line_and_column(tmp_path, capsys, text, complaint):
    file = tmp_path / "bars.csv"
    file.write_text(text, encoding="utf-8")
    assert main(["demo", "--prices", str(file), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "bars.csv" in error
    assert complaint in error


def test_a_journal_is_never_written_over(tmp_path, capsys):
    (tmp_path / "something").write_text("kept", encoding="utf-8")
    assert main(["demo", "--hours", "1", "--traders", "2", "--journal", str(tmp_path)]) == 2
    assert "expected a new or empty directory" in capsys.readouterr().err
