"""Order books on one stream of messages: each through its port, and native ones by their faster ways in."""

import gc
import pickle
import statistics
import time
import tracemalloc
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias, TypeVar, cast
from zlib import crc32

import attrs

from perpkit.bench.flow import Expected, Kind, Message, flow
from perpkit.bench.machine import machine
from perpkit.bench.market import MARKET, bench_config
from perpkit.engine.compose import market_context_of
from perpkit.model.ids import AccountId, OrderId
from perpkit.model.order import Order, Side, TimeInForce
from perpkit.model.records import RECORD
from perpkit.plugin import BOOK, Provider, Registry
from perpkit.ports import MarketContext
from perpkit.ports.book import FUSED, FusedBook, OrderBook
from perpkit.units import Lots, Ticks

REFERENCE = "price-time"
PORT_FLOOR, CALL_FLOOR, BATCH_FLOOR = 400_000, 4_000_000, 25_000_000
BATCH_MESSAGES, CHUNK_MESSAGES = 4_096, 256
MESSAGES, ROUNDS = 200_000, 5

Totals: TypeAlias = tuple[int, int, int]
"""How many trades, of how many lots, for how much in all."""
Plain: TypeAlias = tuple[OrderId, AccountId, Side, Lots, Ticks, TimeInForce | None]
"""A `Message` in the order of an `Order`; one that has no time in force cancels."""
Flagged: TypeAlias = tuple[OrderId, AccountId, Side, Lots, Ticks, int]
"""A `Plain` with the flags of a record in place of the time in force."""

_GTC, _IOC = TimeInForce.GTC, TimeInForce.IOC
_Row = TypeVar("_Row")
_PLACE, _CANCEL, _MATCHED = 301, 303, 312
_HIGHEST_TICKS, _LOWEST_TICKS = 1 << 40, 1


@attrs.frozen(kw_only=True)
class BookRow:
    """One book by one way in. `ratio` is to the reference in the same run; a floor of 0 is none."""

    book: str
    way: str
    per_second: int
    ratio: float
    floor_per_second: int
    memory_bytes: int

    @property
    def met(self) -> bool:
        """Whether the floor is reached."""
        return self.per_second >= self.floor_per_second

    def line(self) -> str:
        """Return the figures as text."""
        floor = f"floor {self.floor_per_second:,}: {'met' if self.met else 'not met'}" if self.floor_per_second else ""
        figures = f"{self.per_second:>12,} messages/s {self.ratio:>7.1f} x {self.memory_bytes / 10**6:>7.1f} MB"
        return f"{self.book:<12} {self.way:<8} {figures}  {floor}".rstrip()


@attrs.frozen(kw_only=True)
class BookBench:
    """Messages a second of CPU time, medians over rounds in turn. In every round the trades were those that are due."""

    rows: tuple[BookRow, ...]
    messages: int
    rounds: int
    machine: str

    @property
    def met(self) -> bool:
        """Whether every floor is reached."""
        return all(row.met for row in self.rows)

    def lines(self) -> list[str]:
        """Return the figures as text."""
        about = f"{self.messages:,} messages, medians of {self.rounds} rounds in turn, CPU time, every trade checked"
        return [*(row.line() for row in self.rows), about, self.machine]


class _Run(Protocol):
    """One replay of the stream."""

    @abstractmethod
    def replay(self) -> float:
        """Send every message; return the seconds of CPU time that it took."""
        ...

    @abstractmethod
    def totals(self) -> Totals:
        """Return what was traded."""
        ...


@attrs.define
class _ByPort:
    """An `Order` a message, `plan` and `commit`; each fill is read from the plan."""

    book: OrderBook
    stream: Sequence[Plain]
    trades: int = 0
    lots: int = 0
    notional: int = 0

    def replay(self) -> float:
        plan_of, commit, reduce = self.book.plan, self.book.commit, self.book.reduce
        trades = lots = notional = 0
        seconds = 0.0
        for chunk in _chunks(self.stream):
            start = time.process_time()
            for order_id, account, side, size, limit, until in chunk:
                if until is None:
                    reduce(order_id, size)
                    continue
                plan = plan_of(Order(order_id, account, MARKET, 0, side, size, limit, until))
                commit(plan)
                for met in plan.matches:
                    trades += 1
                    lots += met.size_lots
                    notional += met.size_lots * met.price_ticks
            seconds += time.process_time() - start
        self.trades, self.lots, self.notional = trades, lots, notional
        return seconds

    def totals(self) -> Totals:
        return self.trades, self.lots, self.notional


@attrs.define
class _ByCall:
    """Whole numbers in, tuples out; each fill is read."""

    book: FusedBook
    stream: Sequence[Flagged]
    trades: int = 0
    lots: int = 0
    notional: int = 0

    def replay(self) -> float:
        place, cancel = self.book.place, self.book.cancel
        trades = lots = notional = 0
        seconds = 0.0
        for chunk in _chunks(self.stream):
            start = time.process_time()
            for order_id, account, side, size, limit, flags in chunk:
                if not flags:
                    cancel(order_id)
                    continue
                fills = place(order_id, account, side, size, limit, flags)[4]
                if not fills:
                    continue
                for _, _, _, fill_ticks, fill_lots, _ in fills:
                    trades += 1
                    lots += fill_lots
                    notional += fill_lots * fill_ticks
            seconds += time.process_time() - start
        self.trades, self.lots, self.notional = trades, lots, notional
        return seconds

    def totals(self) -> Totals:
        return self.trades, self.lots, self.notional


def _chunks(stream: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Yield a stream piece by piece, as new objects, like those that a gateway has just read.

    A message that was made long before the clock started has to be fetched from memory, which costs as much as the
    fastest of these books.
    """
    for at in range(0, len(stream), CHUNK_MESSAGES):
        yield pickle.loads(pickle.dumps(stream[at : at + CHUNK_MESSAGES]))  # noqa: S301 - dumped here


@attrs.define
class _ByBatch:
    """Records in, made before; records out, let go but for a checksum, so that their memory is used again.

    What they say is read from the answers of a second book, which have to be the same. Reading them in between would
    leave the next run a cold cache.
    """

    make: Callable[[], FusedBook]
    batches: Sequence[bytes]
    checksum: int = 0

    def replay(self) -> float:
        book, seconds = self.make(), 0.0
        for batch in self.batches:
            start = time.process_time()
            answers = book.apply(batch)
            seconds += time.process_time() - start
            self.checksum = crc32(answers, self.checksum)
            del answers
        return seconds

    def totals(self) -> Totals:
        book = self.make()
        answers = b"".join(book.apply(batch) for batch in self.batches)
        assert crc32(answers) == self.checksum, "expected the same answers to the same batches"
        rows = (row for row in RECORD.iter_unpack(answers) if row[0] == _MATCHED)
        fills = [(size, price) for _, _, _, _, _, _, size, price, _, _ in rows]
        return len(fills), sum(size for size, _ in fills), sum(size * price for size, price in fills)


@attrs.frozen
class _Way:
    """A book and a way in, the floor it has, and what makes a run with an empty book."""

    book: str
    name: str
    floor_per_second: int
    run: Callable[[], _Run]
    memory: Callable[[], int]


def bench_book(
    rounds: int = ROUNDS, messages: int = MESSAGES, progress: Callable[[int, int], None] | None = None
) -> BookBench:
    """Replay the stream through every book that is installed, by each way in that it offers.

    Raises:
        AssertionError: a book makes other trades than price-time priority does.
    """
    stream, expected = flow(messages)
    ways = list(_ways(stream))
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds):
        for number, way in enumerate(ways):
            seconds[number].append(_measured(way.run(), expected))
            if progress:
                progress(turn * len(ways) + number + 1, rounds * len(ways))
    medians = [statistics.median(each) for each in seconds]
    reference = next(median for way, median in zip(ways, medians, strict=True) if way.book == REFERENCE)
    rows = [
        BookRow(
            book=way.book,
            way=way.name,
            per_second=round(messages / median),
            ratio=round(reference / median, 2),
            floor_per_second=way.floor_per_second,
            memory_bytes=way.memory(),
        )
        for way, median in zip(ways, medians, strict=True)
    ]
    return BookBench(rows=tuple(rows), messages=messages, rounds=rounds, machine=machine())


def _ways(messages: Sequence[Message]) -> Iterator[_Way]:
    registry = Registry.discover()
    context = market_context_of(bench_config(), registry, MARKET)
    stream = [_plain(message) for message in messages]
    flagged = [(*message[:5], (message[5] or 0) << 1) for message in stream]
    batches = _batches(stream)
    for name in registry.names(BOOK):
        yield from _ways_of(registry.get(BOOK, name), context, stream, flagged, batches)


def _ways_of(
    provider: Provider[OrderBook],
    context: MarketContext,
    stream: Sequence[Plain],
    flagged: Sequence[Flagged],
    batches: Sequence[bytes],
) -> Iterator[_Way]:
    def book() -> OrderBook:
        return provider.build(context, provider.options())

    def by_port() -> _ByPort:
        return _ByPort(book(), stream)

    def by_call() -> _ByCall:
        return _ByCall(cast("FusedBook", book()), flagged)

    def by_batch() -> _ByBatch:
        return _ByBatch(lambda: cast("FusedBook", book()), batches)

    if FUSED not in provider.capabilities:
        floor = PORT_FLOOR if provider.name == REFERENCE else 0
        yield _Way(provider.name, "port", floor, by_port, lambda: _traced_bytes(by_port()))
        return
    yield _Way(provider.name, "port", 0, by_port, lambda: _asked_bytes(by_call()))
    yield _Way(provider.name, "calls", CALL_FLOOR, by_call, lambda: _asked_bytes(by_call()))
    yield _Way(provider.name, "batches", BATCH_FLOOR, by_batch, lambda: _asked_bytes(by_call()))


def _measured(run: _Run, expected: Expected) -> float:
    # What the bench itself keeps is no book's work: the collector does not go through it.
    gc.collect()
    gc.freeze()
    try:
        seconds = run.replay()
    finally:
        gc.unfreeze()
    due = expected.trades, expected.lots, expected.notional
    assert run.totals() == due, f"expected trades, lots and notional of {due}, was {run.totals()}"
    return seconds


def _traced_bytes(run: _Run) -> int:
    """Return what Python holds for a book at the end of the stream; asking makes it slow, so nothing is measured."""
    tracemalloc.start()
    try:
        run.replay()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def _asked_bytes(run: _ByCall) -> int:
    run.replay()
    return run.book.memory_bytes


def _batches(stream: Sequence[Plain]) -> Sequence[bytes]:
    records = [_record(message) for message in stream]
    return [b"".join(records[at : at + BATCH_MESSAGES]) for at in range(0, len(records), BATCH_MESSAGES)]


def _plain(message: Message) -> Plain:
    kind, order_id, side, price, size, account = message
    if kind is Kind.CANCEL:
        return order_id, account, side, size, price, None
    if not price:
        return order_id, account, side, size, _HIGHEST_TICKS if side > 0 else _LOWEST_TICKS, _IOC
    return order_id, account, side, size, price, _GTC


def _record(message: Plain) -> bytes:
    order_id, account, side, size, limit, until = message
    if until is None:
        return RECORD.pack(_CANCEL, 0, MARKET, order_id, 0, 0, 0, 0, 0, 0)
    return RECORD.pack(_PLACE, until << 1 | (side < 0), MARKET, order_id, account, 0, size, limit, 0, 0)
