"""The streams that are measured are the same for ever, and a figure is only given for a book that is right."""

import json

import pytest

from perpkit.bench.book import BookBench, BookRow, bench_book
from perpkit.bench.flow import Kind, flow
from perpkit.bench.path import bench_path
from perpkit.cli.main import main
from perpkit.reference.book_price_time import PriceTimeBook


def test_the_stream_of_messages_is_the_same_for_ever() -> None:
    messages, expected = flow(20_000)
    assert flow(20_000) == (messages, expected)
    assert (expected.trades, expected.resting) == (3_146, 8_474)
    assert expected.trades_sha256.startswith("284e3a5ea786a0ba")


def test_a_cancel_names_an_order_that_rests_with_what_is_left_of_it() -> None:
    seen = set[int]()
    for message in flow(20_000)[0]:
        if message.kind is Kind.CANCEL:
            assert message.order_id in seen
            assert message.size_lots > 0
        seen.add(message.order_id)


def test_the_reference_is_measured_against_itself() -> None:
    found = bench_book(rounds=1, messages=10_000)
    reference = next(row for row in found.rows if row.book == "price-time")
    assert (reference.way, reference.ratio, reference.floor_per_second) == ("port", 1.0, 400_000)
    assert reference.memory_bytes > 0
    assert any("price-time" in line and f"{reference.per_second:,}" in line for line in found.lines())


def test_a_book_that_makes_other_trades_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PriceTimeBook, "_trade", lambda self, matches: None)
    with pytest.raises(AssertionError, match="expected trades, lots and notional"):
        bench_book(rounds=1, messages=10_000)


def test_one_floor_that_is_missed_fails_the_bench() -> None:
    fast = BookRow(book="a", way="port", per_second=500, ratio=1, floor_per_second=400, memory_bytes=0)
    slow = BookRow(book="b", way="port", per_second=300, ratio=1, floor_per_second=400, memory_bytes=0)
    assert BookBench(rows=(fast,), messages=1, rounds=1, machine="").met
    both = BookBench(rows=(fast, slow), messages=1, rounds=1, machine="")
    assert not both.met
    assert [line.endswith("not met") for line in both.lines()[:2]] == [False, True]


def test_the_whole_way_of_an_order_is_measured_with_real_orders() -> None:
    found = bench_path(rounds=1, commands=300)
    assert found.per_second > 0
    assert "commands/s" in found.lines()[0]


def test_bench_prints_json_with_whether_floors_are_met(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    small = lambda progress: bench_path(rounds=1, commands=200, progress=progress)  # noqa: E731 - a table wants one
    monkeypatch.setattr("perpkit.cli.bench.BENCHES", {"path": small, "audit": small})
    code = main(["bench", "path", "--json"])
    one = json.loads(capsys.readouterr().out)
    assert {"per_second", "rounds", "met"} <= one.keys()
    assert code == (0 if one["met"] else 1)
    main(["bench", "all", "--json"])
    assert json.loads(capsys.readouterr().out).keys() == {"path", "audit"}
