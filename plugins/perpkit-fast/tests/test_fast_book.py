"""What the fast book promises beyond the port: refusals that change nothing, and memory that stays."""

import importlib.util
import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings

import perpkit_fast
from perpkit import Exchange, Registry
from perpkit.errors import PluginError
from perpkit.model.command import Command
from perpkit.model.order import Side
from perpkit.plugin import BOOK
from perpkit.testing.builders import exchange, market_context, market_table, order
from perpkit.testing.strategies import order_streams
from perpkit_fast import FastBook, arrays
from perpkit_fast import records as r

BUY, SELL = Side.BUY, Side.SELL
REGISTRY = Registry.of(perpkit_fast)
BEYOND = 1 << 62


@pytest.fixture
def book() -> FastBook:
    """Return a book with an order on either side."""
    made = FastBook(market_context())
    made.place(1, 1, BUY, 5, 99)
    made.place(2, 2, SELL, 5, 101)
    return made


def test_a_configuration_picks_it_by_name() -> None:
    provider = REGISTRY.get(BOOK, "fast")
    assert provider.build is FastBook
    assert provider.capabilities == {"fused"}


def test_without_its_compiled_part_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perpkit_fast._book", None)
    spec = importlib.util.spec_from_file_location("unbuilt", perpkit_fast.__file__)
    assert spec
    assert spec.loader
    with pytest.raises(ImportError, match=r"with a C compiler .* or configure book = 'price-time'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@settings(max_examples=25)
@given(stream=order_streams(market_ids=(1, 2)))
def test_an_exchange_comes_to_the_same_state_as_with_the_reference(stream: list[Command]) -> None:
    def made(**keys: str) -> Exchange:
        deposits = dict.fromkeys((1, 2, 3, 4), "50000")
        tables = [market_table(id=1), market_table("inverse", id=2)]
        return exchange(*tables, deposits=deposits, registry=REGISTRY, **keys)

    fast, reference = made(book="fast"), made()
    for command in stream:
        assert fast.apply(command) == reference.apply(command)
    assert fast.dump() == reference.dump()


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((3, 1, BUY, 0, 99), "positive size"),
        ((3, 1, BUY, -1, 99), "positive size"),
        ((3, 1, BUY, BEYOND, 99), "62 bits"),
        ((3, 1, BUY, BEYOND - 5, 99), "62 bits"),
        ((3, 1, BUY, 1, BEYOND), "62 bits"),
        ((3, 1, BUY, 1, -BEYOND), "62 bits"),
        ((3, 1, BUY, 1, 99, 2, 0, BEYOND), "62 bits"),
        ((3, 1, BUY, 1, 99, 2, 0, 0, -1), "62 bits"),
        ((3, 1, BUY, 1, 99, 0), "62 bits"),
        ((3, 1, BUY, 1, 99, 6 << 1), "62 bits"),
        ((3, 1, BUY, 1, 99, 1 << 1 | 5 << 12), "62 bits"),
        ((1, 1, BUY, 1, 99), "no order rests"),
        ((2, 1, BUY, 1, 200), "no order rests"),
    ],
)
def test_an_order_that_cannot_be_taken_changes_nothing(book: FastBook, numbers: tuple[int, ...], expected: str) -> None:
    before = book.dump_records()
    with pytest.raises(PluginError, match=expected):
        book.place(*numbers)
    assert book.dump_records() == before
    assert book.plan(order(9, BUY, 1, 99)).version == 2


def test_the_largest_numbers_are_taken(book: FastBook) -> None:
    assert book.place(3, -1, BUY, BEYOND - 6, BEYOND - 1, 1 << 1)[0] == BEYOND - 6 - 5
    assert book.place(4, 1, SELL, 1, 1 - BEYOND)[4] == ((3, -1, 0, BEYOND - 1, 1, False),)
    assert book.levels(BUY, 1)[0].size_lots == BEYOND - 12


def test_an_order_of_another_market_is_refused(book: FastBook) -> None:
    with pytest.raises(PluginError, match="this book's market"):
        book.plan(order(3, BUY, 1, 99, market=2))


def test_more_than_an_order_has_cannot_be_taken_off(book: FastBook) -> None:
    for lots in (6, -1):
        with pytest.raises(PluginError, match="at most the 5 lots"):
            book.reduce(1, lots)
    assert book.reduce(1, 5) == 0


def test_a_plan_of_more_than_rests_is_refused_whole(book: FastBook) -> None:
    """As a plan of another book with the same version would be."""
    other = FastBook(market_context())
    other.place(1, 1, BUY, 3, 99)
    other.place(2, 1, SELL, 8, 101)
    before = book.dump_records()
    with pytest.raises(PluginError, match="plan again"):
        book.commit(other.plan(order(3, BUY, 8, 101)))
    assert book.dump_records() == before


def test_orders_are_not_read_on_when_the_book_has_changed(book: FastBook) -> None:
    book.place(3, 1, BUY, 1, 98)
    reading = book.orders(BUY)
    assert next(reading).id == 1
    book.cancel(3)
    with pytest.raises(RuntimeError, match="changed"):
        next(reading)


def test_a_record_that_cannot_be_done_is_answered_and_changes_nothing(book: FastBook) -> None:
    before = book.dump_records()
    commands = b"".join(
        [
            r.pack_cancel(1, 7),
            r.pack_cancel(2, 1),
            r.pack_reduce(1, 1, 6),
            r.pack_place(order(1, BUY, 1, 98)),
            r.pack_place(order(3, BUY, 1, 98, market=2)),
            r.pack_place(order(3, BUY, BEYOND, 98)),
            bytes(64),
        ]
    )
    said = [(each.order_id, each.reason, each.kind) for each in r.unpack_answers(commands, book.apply(commands))]
    assert said == [
        (7, r.Refusal.UNKNOWN_ORDER, r.Kind.CANCEL),
        (1, r.Refusal.OTHER_MARKET, r.Kind.CANCEL),
        (1, r.Refusal.OUT_OF_RANGE, r.Kind.REDUCE),
        (1, r.Refusal.ORDER_RESTS, r.Kind.PLACE),
        (3, r.Refusal.OTHER_MARKET, r.Kind.PLACE),
        (3, r.Refusal.OUT_OF_RANGE, r.Kind.PLACE),
        (0, r.Refusal.UNKNOWN_KIND, 0),
    ]
    assert book.dump_records() == before


def test_bytes_that_end_inside_a_record_are_refused_before_anything_is_done(book: FastBook) -> None:
    for call in (book.apply, book.load_records):
        with pytest.raises(ValueError, match="64 bytes"):
            call(r.pack_cancel(1, 1) + b"x")
    assert book.best(BUY) == 99


def test_a_load_that_fails_leaves_the_book_as_it_was(book: FastBook) -> None:
    before = book.dump_records()
    for wrong in (order(3, BUY, 0, 99), order(4, BUY, 1, 99, market=3)):
        with pytest.raises(PluginError):
            book.load([order(4, BUY, 1, 99), wrong])
    with pytest.raises(PluginError, match="no order rests"):
        book.load([order(4, BUY, 1, 99), order(4, SELL, 1, 103)])
    assert book.dump_records() == before


def test_records_may_lie_anywhere_in_memory() -> None:
    commands = r.pack_place(order(1, BUY, 5, 99)) + r.pack_place(order(2, SELL, 3, 99))
    shifted = memoryview(b"x" + commands)[1:]
    assert FastBook(market_context()).apply(shifted) == FastBook(market_context()).apply(bytearray(commands))


def test_arrays_are_the_same_bytes_as_records() -> None:
    commands = np.zeros(2, arrays.COMMAND)
    for row, each in zip(commands, (order(1, BUY, 5, 99), order(2, SELL, 3, 99, account=4)), strict=True):
        row["kind"], row["market"], row["id"], row["account"] = r.Kind.PLACE, 1, each.id, each.account
        row["flags"] = r.flags_of() | (each.side is SELL)
        row["size_lots"], row["price_ticks"] = each.size_lots, each.price_ticks
    assert commands.tobytes() == r.pack_place(order(1, BUY, 5, 99)) + r.pack_place(order(2, SELL, 3, 99, account=4))
    answers = np.frombuffer(FastBook(market_context()).apply(commands), arrays.ANSWER)
    assert answers["kind"].tolist() == [r.Kind.PLACED, r.Kind.PLACED, r.Kind.MATCHED]
    assert answers[1:2].view(arrays.PLACED)[["matches", "rest_lots", "version"]].tolist() == [(1, 0, 1)]
    fields = ["id", "account", "size_lots", "price_ticks", "left_lots", "taker"]
    assert answers[2:].view(arrays.MATCHED)[fields].tolist() == [(1, 1, 3, 99, 2, 2)]
    for dtype in (arrays.COMMAND, arrays.PLACED, arrays.MATCHED, arrays.REDUCED, arrays.REFUSED, arrays.ANSWER):
        assert dtype.itemsize == 64


def test_ten_million_orders_that_came_and_went_leave_no_memory_behind() -> None:
    """Half of each batch comes and half of the one before goes, so that the book is as full after each."""
    half = 50_000
    draw = np.random.default_rng(3)
    comes, goes = np.zeros(half, arrays.COMMAND), np.zeros(half, arrays.COMMAND)
    comes["kind"], comes["market"], comes["size_lots"] = r.Kind.PLACE, 1, 1
    goes["kind"], goes["market"] = r.Kind.CANCEL, 1
    book, memory = FastBook(market_context()), []
    for number in range(10_000_000 // (2 * half)):
        sells = draw.integers(0, 2, half)
        comes["id"] = np.arange(half) + number * half + 1
        comes["flags"] = r.flags_of() | sells
        comes["price_ticks"] = np.where(sells, 1_000_300, 1_000_000) - draw.integers(0, 200, half)
        book.apply(comes)
        if number:
            goes["id"] = draw.permutation(half) + (number - 1) * half + 1
            book.apply(goes)
        memory.append(book.memory_bytes)
    assert len(book.dump_records()) == 64 * half
    assert set(memory[2:]) == {memory[2]}
    assert memory[2] < 400 * 2 * half + (4 << 20)


def test_levels_that_came_and_went_far_away_leave_no_memory_behind() -> None:
    draw = random.Random(9)
    book, memory = FastBook(market_context()), set()
    for step in range(20):
        for number in range(1, 3_001):
            book.place(step * 3_000 + number, 1, SELL, 1, draw.getrandbits(60) + 1)
        for number in range(1, 3_001):
            book.cancel(step * 3_000 + number)
        memory.add(book.memory_bytes)
    assert len(memory) == 1
