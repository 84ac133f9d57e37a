"""The table of other order books says of each whether it was right, and why there is no figure where there is none."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from perpkit.bench.flow import flow

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "benchmarks" / "peers"
COUNT = 8_500  # past the first 8,000, which only rest
HERE = [f"{sys.version_info.major}.{sys.version_info.minor}"]
FACTS = {"trades": 152, "lots": 1_171, "notional": 58_549_257}

ANSWERS = '"""How it is called."""\ndef prepare(messages):\n    return (lambda: {replay}), lambda: {outcome}\n'
ADAPTERS = {
    "right": (ANSWERS, "None", FACTS),
    "partly": (ANSWERS, "None", {"lots": FACTS["lots"]}),
    "wrong": (ANSWERS, "None", {**FACTS, "notional": FACTS["notional"] + 1}),
    "raises": (ANSWERS, "1 / 0", {}),
    "dies": (ANSWERS, "__import__('os').abort()", {}),
    "leaves": (ANSWERS, "__import__('os')._exit(0)", {}),
    "hangs": (ANSWERS, "__import__('time').sleep(60)", {}),
}


@pytest.fixture(scope="module")
def bench():
    """The runner as a module; it is a script, so its neighbours are found beside it."""
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("run")
    finally:
        sys.path.remove(str(BENCH))
        for name in ("run", "report", "environments", "one_round"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """Where fake books share an environment: they need nothing."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def measure(bench, environments, tmp_path):
    """Return a function that measures fake books on a short stream; `fields` are those of `Peer`."""

    def measured(*names, text=None, rounds=1, round_s=20, **fields):
        (tmp_path / "adapters").mkdir(exist_ok=True)
        for name in names:
            template, replay, outcome = ADAPTERS.get(name, ("", "", ""))
            source = text or template.format(replay=replay, outcome=outcome)
            (tmp_path / "adapters" / f"{name}.py").write_text(source, "utf-8")
        peers = [bench.Peer(name, f"fake {name}", **{"requirements": [], "pythons": HERE, **fields}) for name in names]
        rows = bench.measure(
            peers, count=COUNT, rounds=rounds, round_s=round_s,
            environments=environments, adapters=tmp_path / "adapters",
        )  # fmt: skip
        return {row.adapter: row for row in rows}

    return measured


def test_the_reference_book_says_what_every_book_has_to_say(bench):
    adapter = importlib.import_module("one_round").load(BENCH / "adapters" / "perpkit_reference.py")
    replay, outcome = adapter.prepare([tuple(map(int, message)) for message in flow(COUNT)[0]])
    replay()
    assert outcome() == bench.facts(COUNT)
    assert FACTS.items() <= outcome().items()


def test_a_row_says_whether_its_book_was_right(measure):
    rows = measure("right", "partly", "wrong", rounds=2)
    assert {name: (row.verdict.name, row.said) for name, row in rows.items()} == {
        "right": ("RIGHT", "yes"),
        "partly": ("PARTLY", "yes, of what it says: quantity"),
        "wrong": ("WRONG", "**no**: notional 58,549,258, expected 58,549,257"),
    }
    for row in rows.values():
        assert row.cpu_rate > 0
        assert row.calls == "How it is called."
        assert len(row.cpu_s_of_rounds) == 2
        assert [row.python] == HERE


def test_a_book_without_a_figure_says_why_and_stops_nobody(measure):
    rows = measure("right", "raises", "dies", "leaves", rounds=2)
    assert rows["raises"].said == "no figure: it failed: ZeroDivisionError: division by zero"
    assert rows["dies"].said == "no figure: it crashed: SIGABRT"
    assert rows["leaves"].said == "no figure: it ended before the messages did"
    assert rows["right"].said == "yes"
    assert [row.cpu_rate > 0 for row in rows.values()] == [True, False, False, False]


def test_a_book_that_hangs_is_ended(measure):
    assert measure("hangs", round_s=1)["hangs"].said == "no figure: it did not end within 1 s"


def test_a_book_that_cannot_be_installed_says_so(measure, tmp_path):
    missing = str(tmp_path / "nowhere" / "book.whl")
    said = measure("right", requirements=[missing])["right"].said
    assert said.startswith("no figure: installing it failed: ")


def test_a_book_whose_python_is_not_there_says_so(measure):
    rows = measure("right", pythons=["2.6"])
    assert rows["right"].said == "no figure: needs Python 2.6, which this machine does not have"


def test_right_in_one_round_only_is_wrong(bench, tmp_path):
    adapter = tmp_path / "adapter.py"
    adapter.write_text("", "utf-8")
    found = {"cpu_s": 1.0, "wall_s": 1.0, "peak_kib": 0, "python": "3.11"}
    outcomes = [FACTS, {**FACTS, "trades": 153}, FACTS]
    book = bench.Book(bench.Peer("fake", "fake 1.0", []), adapter, COUNT)
    book.rounds = [{**found, "outcome": outcome} for outcome in outcomes]
    assert book.row(bench.facts(COUNT)).said == "**no**: trades 153, expected 152"


def test_an_adapter_gets_the_messages_and_no_more_than_its_share(measure):
    text = "def prepare(messages):\n    return (lambda: None), lambda: {'trades': hash(tuple(messages))}\n"
    expected = hash(tuple(tuple(map(int, message)) for message in flow(COUNT)[0][:100]))
    row = measure("counts", text=text, messages_max=100)["counts"]
    assert row.messages == 100
    assert f"{expected:,}" in row.said


def test_memory_is_what_the_replay_holds_and_not_the_messages(measure):
    text = """
def encode(messages):
    return bytes(64 << 20)

def prepare(messages):
    held = []
    return (lambda: held.append(b"x" * (32 << 20))), lambda: {"trades": len(held)}
"""
    assert 28 <= measure("holds", text=text)["holds"].memory_mib <= 40
    assert measure("right")["right"].memory_mib <= 8


@pytest.fixture
def report(bench):
    """A book that is right, one that is wrong and was cut short, and one without a figure."""
    row, verdict = bench.Row, bench.Verdict
    fields = {"calls": "so", "own": False, "messages": 1000, "python": "3.11", "wall_s": 2.0}
    rows = [
        row(adapter="base", name="base", verdict=verdict.RIGHT, said="yes", cpu_s=0.1, **{**fields, "own": True}),
        row(adapter="bad", name="bad", verdict=verdict.WRONG, said="**no**", cpu_s=0.2, **{**fields, "messages": 500}),
        row(adapter="none", name="none", said="no figure: a|b", calls="so", own=False, messages=1000),
    ]
    return bench.Report(rows=rows, reference="base", machine="a machine", messages=1000, rounds=3)


def test_the_table_has_a_line_for_each_book(report):
    assert report.table().splitlines()[2:] == [
        "| **base** | 3.11 | 10 k | 1 | 500 | 0 | yes | so |",
        "| bad, first 500 | 3.11 | 2.5 k | 0.25 | 250 | 0 | **no** | so |",
        "| none | – | – | – | – | – | no figure: a/b | so |",
    ]
    assert [row["ratio"] for row in json.loads(report.json())["rows"]] == [1, 0.25, 0]


def test_the_documentation_gets_table_and_picture_and_keeps_the_rest(report, tmp_path):
    (tmp_path / "explanation").mkdir()
    (tmp_path / "images").mkdir()
    page = tmp_path / "explanation" / "performance.md"
    page.write_text("before\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nafter\n", "utf-8")
    for _ in range(2):
        report.write_docs(tmp_path)
    head, table, tail = re.split("<!-- peers: (?:begin|end) -->\n", page.read_text("utf-8"))
    assert (head, tail) == ("before\n", "after\n")
    assert "1,000 messages, medians of 3 rounds, on a machine." in table
    assert report.table() in table
    picture = (tmp_path / "images" / "peers.svg").read_text("utf-8")
    assert "base: 10 k, right." in picture
    assert "bad, first 500: 2.5 k, wrong." in picture
    assert "<metadata" not in picture
    assert "@font-face" not in picture
    page.write_text("no marks\n", "utf-8")
    with pytest.raises(ValueError, match="found 0"):
        report.write_docs(tmp_path)


def test_every_adapter_is_measured_and_every_version_is_pinned(bench):
    assert sorted(peer.adapter for peer in bench.PEERS) == sorted(path.stem for path in BENCH.glob("adapters/*.py"))
    for peer in bench.PEERS:
        assert peer.own or all("==" in each for each in peer.requirements), peer


def test_the_page_has_a_line_for_every_book(bench):
    page = (ROOT / "docs" / "explanation" / "performance.md").read_text("utf-8")
    table = page.partition("<!-- peers: begin -->")[2].partition("<!-- peers: end -->")[0]
    lines = table.partition("---|\n")[2].splitlines()
    shown = [line.split("|")[1].strip().strip("*").partition(", first ")[0] for line in lines]
    assert sorted(shown) == sorted(peer.name for peer in bench.PEERS)
