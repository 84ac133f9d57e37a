"""Measures order books that pip can install, and perpkit's own, on one stream of messages; README.md says how."""

import argparse
import ast
import json
import statistics
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from environments import NotMeasuredError, environment, finish
from report import Report, Row, Verdict, machine

from perpkit.bench.flow import MESSAGES, Kind, flow

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROUND_S = 600
REFERENCE = "perpkit_reference"
MESSAGE = struct.Struct("<6q")


@attrs.frozen
class Peer:
    """A book: its adapter, what pip installs for it, and Pythons that it runs on, of which the first found is taken.

    `messages_max` cuts the stream for a book that would take hours for all of it, or never ends.
    """

    adapter: str
    name: str
    requirements: Sequence[str]
    pythons: Sequence[str] = ("3.13", "3.12", "3.11")
    messages_max: int = MESSAGES

    @property
    def own(self) -> bool:
        """Whether it is perpkit's, installed from this tree."""
        return str(ROOT) in self.requirements

    @property
    def environment(self) -> str:
        """The name of its environment, which adapters of one package share."""
        return self.name.split()[0].strip(",")


OWN = [str(ROOT)]
FAST = [str(ROOT), str(ROOT / "plugins" / "perpkit-fast")]
PEERS = (
    Peer(REFERENCE, "perpkit, reference", OWN),
    Peer("perpkit_fast_calls", "perpkit-fast, per call", FAST),
    Peer("perpkit_fast_batches", "perpkit-fast, in batches", FAST),
    Peer("limit_order_book", "limit-order-book 3.1.0", ["limit-order-book==3.1.0"], ["3.13"]),
    Peer("matching_engine", "matching-engine 0.1.1", ["matching-engine==0.1.1"], ["3.13", "3.12"]),
    Peer("orderly_chaos", "orderly-chaos 0.2.0", ["orderly-chaos==0.2.0"], ["3.12", "3.11"]),
    Peer("orderly_chaos_totals", "orderly-chaos 0.2.0, totals", ["orderly-chaos==0.2.0"], ["3.12", "3.11"]),
    Peer("liquibook", "liquibook 2.0.1", ["liquibook==2.0.1"]),
    Peer("litebook", "litebook 0.0.1", ["litebook==0.0.1"]),
    Peer("cython_orderbook", "cython-orderbook 0.1.2", ["cython-orderbook==0.1.2"]),
    Peer("pyorderbook", "pyorderbook 0.4.9", ["pyorderbook==0.4.9"], ["3.13", "3.12"]),
    Peer("manticore_orderbook", "manticore-orderbook 1.0.1", ["manticore-orderbook==1.0.1"]),
    Peer("obook", "obook 0.1.0", ["obook==0.1.0"]),
    Peer("lightmatchingengine", "lightmatchingengine 2019.1.4", ["lightmatchingengine==2019.1.4"]),
    Peer("fastlob", "fastlob 0.0.24", ["fastlob==0.0.24"], ["3.13"]),
    Peer("nanobook", "nanobook 0.19.2", ["nanobook==0.19.2"], messages_max=10_000),
    Peer("order_matching", "order-matching 0.12.0", ["order-matching[polars]==0.12.0"], ["3.13"], 10_000),
)


@attrs.define
class Book:
    """What is known of a peer so far."""

    peer: Peer
    adapter: Path
    messages: int
    python: str = ""
    reading_kib: int = 0
    rounds: list[dict[str, Any]] = attrs.field(factory=list)
    failure: str = ""

    def process(self, stream: Path, limit_s: float, *options: str) -> dict[str, Any]:
        """Run one process on the stream and return what it found.

        Raises:
            NotMeasuredError: it crashed, hung, or ended without a word.
        """
        result = stream.with_name("result.json")
        result.unlink(missing_ok=True)  # of the book before
        # -I: where the caller's environment looks for packages is no matter of the peer's.
        command = [self.python, "-I", str(HERE / "one_round.py")]
        finish("it", [*command, str(self.adapter), str(stream), str(self.messages), str(result), *options], limit_s)
        if not result.exists():
            raise NotMeasuredError("it ended before the messages did")
        found: dict[str, Any] = json.loads(result.read_text("utf-8"))
        return found

    def row(self, expected: Mapping[str, int]) -> Row:
        """Return the medians of its rounds, and whether all of them were right."""
        row = Row(
            adapter=self.peer.adapter,
            name=self.peer.name,
            calls=(ast.get_docstring(ast.parse(self.adapter.read_text("utf-8"))) or "").replace("\n", " "),
            own=self.peer.own,
            messages=self.messages,
        )
        if self.failure:
            return attrs.evolve(row, said=f"no figure: {self.failure}")
        # The worst verdict of all rounds: a book that is right now and then is wrong.
        verdict, said = max(judge(each["outcome"], expected) for each in self.rounds)
        middle = {key: statistics.median(each[key] for each in self.rounds) for key in ("cpu_s", "wall_s", "peak_kib")}
        return attrs.evolve(
            row,
            verdict=verdict,
            said=said,
            python=self.rounds[0]["python"],
            cpu_s=middle["cpu_s"],
            cpu_s_of_rounds=[each["cpu_s"] for each in self.rounds],
            wall_s=middle["wall_s"],
            memory_mib=max(0, round((middle["peak_kib"] - self.reading_kib) / 1024)),
        )


def attempt(label: str, books: Sequence[Book], step: Callable[[Book], None]) -> None:
    """Do a step with each book, in turn, and leave out from now on those with which it fails."""
    for number, book in enumerate(books, start=1):
        if book.failure:
            continue
        print(f"{label}, book {number} of {len(books)}: {book.peer.name}", file=sys.stderr)
        try:
            step(book)
        except NotMeasuredError as error:
            book.failure = str(error)
            print(f"  {error}", file=sys.stderr)


def measure(
    peers: Sequence[Peer],
    *,
    count: int,
    rounds: int,
    environments: Path = HERE / ".environments",
    adapters: Path = HERE / "adapters",
    round_s: float = ROUND_S,
) -> list[Row]:
    """Return a row for each book: the fastest first, and last those without a figure."""
    books = [Book(peer, adapters / f"{peer.adapter}.py", min(count, peer.messages_max)) for peer in peers]
    made: set[Path] = set()
    with tempfile.TemporaryDirectory() as directory:
        stream = Path(directory) / "messages.bin"
        stream.write_bytes(b"".join(MESSAGE.pack(*message) for message in flow(count)[0]))

        def install(book: Book) -> None:
            home = environments / book.peer.environment
            # perpkit's own are made anew in each run, since their source may have changed.
            book.python = environment(
                home, book.peer.pythons, book.peer.requirements, keep=home in made or not book.peer.own
            )
            made.add(home)
            book.reading_kib = book.process(stream, round_s, "--read-only")["peak_kib"]

        attempt("installing", books, install)
        for number in range(1, rounds + 1):
            # Round robin, so that what else the machine does meets all books alike.
            attempt(
                f"round {number} of {rounds}", books, lambda book: book.rounds.append(book.process(stream, round_s))
            )
    expected = {messages: facts(messages) for messages in {book.messages for book in books}}
    return sorted((book.row(expected[book.messages]) for book in books), key=lambda row: -row.cpu_rate)


def facts(count: int) -> Mapping[str, int]:
    """Return what a book may be asked after so many messages; what is left follows from the rest."""
    messages, expected = flow(count)
    sizes = {kind: sum(message.size_lots for message in messages if message.kind is kind) for kind in Kind}
    left = sizes[Kind.LIMIT] + sizes[Kind.MARKET] - sizes[Kind.CANCEL] - 2 * expected.lots
    return {"trades": expected.trades, "lots": expected.lots, "notional": expected.notional, "left_lots": left}


def judge(outcome: Mapping[str, Any], expected: Mapping[str, int]) -> tuple[Verdict, str]:
    """Say whether what a book answered is right, and whether it answered all that counts."""
    names = {"trades": "trades", "lots": "quantity", "notional": "notional", "left_lots": "quantity left"}
    for key, value in outcome.items():
        if value != expected[key]:
            return Verdict.WRONG, f"**no**: {names[key]} {value:,}, expected {expected[key]:,}"
    if {"trades", "lots", "notional"} <= outcome.keys():
        return Verdict.RIGHT, "yes"
    return Verdict.PARTLY, f"yes, of what it says: {', '.join(names[key] for key in outcome)}"


def main() -> int:
    """Measure, and show the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="how long the stream is (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=[peer.adapter for peer in PEERS], help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--write-docs", action="store_true", help="put table and picture into the documentation")
    arguments = parser.parse_args()
    if arguments.only and arguments.write_docs:
        parser.error("--write-docs needs every book: leave out --only")
    wanted = {REFERENCE, *(arguments.only or (peer.adapter for peer in PEERS))}
    peers = [peer for peer in PEERS if peer.adapter in wanted]
    rows = measure(peers, count=arguments.messages, rounds=arguments.rounds)
    report = Report(
        rows=rows, reference=REFERENCE, machine=machine(), messages=arguments.messages, rounds=arguments.rounds
    )
    print(report.table())
    if arguments.json:
        arguments.json.write_text(report.json(), "utf-8")
    if arguments.write_docs:
        report.write_docs(ROOT / "docs")
    return 0 if all(row.verdict is Verdict.RIGHT for row in rows if row.adapter == REFERENCE) else 1


if __name__ == "__main__":
    sys.exit(main())
