"""Order flow that others recorded or wrote down goes through the book, and comes out as price-time priority demands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.order import MatchPlan, Order, Side, TimeInForce
from perpkit.model.position import Need
from perpkit.plugin import NoOptions
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.testing.builders import market_context, order

BUY, SELL = Side.BUY, Side.SELL
GTC, IOC = TimeInForce.GTC, TimeInForce.IOC
DATA = Path(__file__).parents[3] / "shared" / "data"
DAY = "AMZN_2012-06-21_34200000_57600000"
CHECKABLE_ROWS_MIN = 29_957
OUT_OF_TURN = 8
"""Trades of the day that met an order which was not the first that is known at its price."""
UNSEEN = 1 << 40


def lines(variable: str, default: Path) -> list[str]:
    """Return the lines of the file that an environment variable names, or of the default; skip where there is none."""
    path = Path(os.environ.get(variable) or default)
    if not path.exists() and variable not in os.environ:
        pytest.skip(f"no file {path}; {variable} may name another place")
    return path.read_text("utf-8").splitlines()


def new_book() -> PriceTimeBook:
    return PriceTimeBook(market_context(), NoOptions())


def send(book: PriceTimeBook, arriving: Order) -> MatchPlan:
    plan = book.plan(arriving)
    book.commit(plan)
    return plan


def trades(plan: MatchPlan) -> list[tuple[int, int, int]]:
    return [(met.maker, met.price_ticks, met.size_lots) for met in plan.matches]


class Day:
    """A recorded day of which only the best level of each side was published.

    What happens behind the best level is not in the record. So when a level becomes the best because the one before it
    is gone, nobody knows what it holds: one order then stands for all of it, ahead of those that are seen coming.
    """

    def __init__(self) -> None:
        self.book = new_book()
        self.best: dict[Side, int] = {}
        self.unseen: dict[Side, int] = {}
        self.sizes: dict[int, int] = {}
        self.in_turn = 0

    def happen(self, kind: int, order_id: int, size: int, price: int, side: Side) -> None:
        """Do what a message says: an order comes (1), shrinks (2), goes (3) or trades (4)."""
        if kind == 1:
            assert not send(self.book, order(order_id, side, size, price)).matches
            self.sizes[order_id] = size
            return
        maker = order_id if order_id in self.sizes else self.unseen[side]
        if kind == 4:
            plan = self.book.plan(order(-order_id, side.opposite, size, price, time_in_force=IOC))
        if kind == 4 and trades(plan) == [(maker, price, size)]:
            self.book.commit(plan)
            self.in_turn += 1
        else:
            self.book.reduce(maker, size)
        self.sizes[maker] -= size
        if not self.sizes[maker]:
            del self.sizes[maker]

    def agree(self, side: Side, price: int, size: int) -> bool:
        """Hold the best level against the published one; return whether it is all of orders that were seen coming."""
        last = self.best.get(side)
        if last is None or side * (price - last) < 0:
            self._uncover(side, price, size, last)
        self.best[side] = price
        (level,) = self.book.levels(side, 1)
        assert (level.price_ticks, level.size_lots) == (price, size)
        return next(self.book.orders(side)).id != self.unseen[side]

    def _uncover(self, side: Side, price: int, size: int, last: int | None) -> None:
        """Let an order stand for all of a level that was out of sight; what was known up to there is no more."""
        for each in list(self.book.orders(side)):
            if side * (each.price_ticks - price) >= 0:
                assert each.price_ticks != last
                self.book.reduce(each.id, self.sizes.pop(each.id))
        self.unseen[side] = max(self.unseen.values(), default=UNSEEN) + 1
        send(self.book, order(self.unseen[side], side, size, price))
        self.sizes[self.unseen[side]] = size


@pytest.fixture
def day() -> list[tuple[list[int], list[int]]]:
    """Every message of the day with the published best level of both sides after it."""
    folder = DATA / "order_flow"
    messages = lines("PERPKIT_LOBSTER_MESSAGES", folder / f"{DAY}_message_1.csv")
    published = lines("PERPKIT_LOBSTER_BOOK", folder / f"{DAY}_orderbook_1.csv")
    rows = zip(messages, published, strict=True)
    return [([int(n) for n in said.split(",")[1:]], [int(n) for n in book.split(",")]) for said, book in rows]


def test_a_recorded_day_leads_to_the_published_best_levels(day: list[tuple[list[int], list[int]]]) -> None:
    flow, checked, traded = Day(), 0, 0
    for (kind, order_id, size, price, direction), (ask, ask_size, bid, bid_size) in day:
        if kind in (1, 2, 3, 4):
            flow.happen(kind, order_id, size, price, Side(direction))
        whole = {SELL: flow.agree(SELL, ask, ask_size), BUY: flow.agree(BUY, bid, bid_size)}
        checked += whole[Side(direction)]
        traded += kind == 4
    assert checked >= CHECKABLE_ROWS_MIN
    assert traded - flow.in_turn == OUT_OF_TURN


# The scripts of a matching engine, which say what is done and not what comes of it.

Resting = list[tuple[int, int, int]]


class Script:
    """What a matching script does to a book, command by command."""

    def __init__(self) -> None:
        self.book = new_book()
        self.trades: Resting = []
        self.states: list[Resting] = []
        """(id, price, size) of what rests after each command about an order, buys first."""

    def run(self, name: str) -> Script:
        path = DATA / "matching_scripts" / f"{name}.txt"
        if not path.exists():
            pytest.skip(f"no file {path}")
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if words[1:2] in (["order"], ["limit"], ["market"], ["slippage"]):
                self._obey([word for word in words if not word.isdigit()], [int(w) for w in words if w.isdigit()])
                self.states.append(self.rests())
        return self

    def rests(self) -> Resting:
        return [(each.id, each.price_ticks, each.size_lots) for side in Side for each in self.book.orders(side)]

    def _obey(self, words: list[str], numbers: list[int]) -> None:
        match words, numbers:
            case ["add", "limit", side], [order_id, _, price, size]:
                self._send(order_id, Side[side.upper()], size, price)
            case ["add", "market", side], [order_id, _, size]:
                self._send_at_once(order_id, Side[side.upper()], size, 1_000)
            case ["add", "slippage", "market", side], [order_id, _, size, slippage]:
                self._send_at_once(order_id, Side[side.upper()], size, slippage)
            case ["reduce", _], [order_id, size]:
                self.book.reduce(order_id, size)
            case ["modify", _], [order_id, price, size]:
                self._send(order_id, self._take_out(order_id), size, price)
            case ["replace", _], [order_id, new_id, price, size]:
                self._send(new_id, self._take_out(order_id), size, price)
            case ["delete", _], [order_id]:
                self._take_out(order_id)
            case _:
                raise AssertionError(f"expected a known command, was {words} {numbers}")

    def _send(self, order_id: int, side: Side, size: int, price: int, time_in_force: TimeInForce = GTC) -> None:
        self.trades += trades(send(self.book, order(order_id, side, size, price, time_in_force=time_in_force)))

    def _send_at_once(self, order_id: int, side: Side, size: int, slippage: int) -> None:
        best = self.book.best(side.opposite)
        assert best is not None
        self._send(order_id, side, size, best + side * slippage, IOC)

    def _take_out(self, order_id: int) -> Side:
        found = next(each for side in Side for each in self.book.orders(side) if each.id == order_id)
        self.book.reduce(order_id, found.size_lots)
        return found.side


BIDS = [(7, 30, 10), (8, 30, 20), (9, 30, 30), (4, 20, 10), (5, 20, 20), (6, 20, 30)]
BIDS_BEHIND = [(1, 10, 10), (2, 10, 20), (3, 10, 30)]
ASKS = [(16, 40, 30), (17, 40, 20), (18, 40, 10), (13, 50, 30), (14, 50, 20), (15, 50, 10)]
ASKS_BEHIND = [(10, 60, 30), (11, 60, 20), (12, 60, 10)]


@pytest.mark.parametrize(
    ("name", "traded", "rests"),
    [
        ("scenario-01", [], []),
        ("scenario-02", [], []),
        ("scenario-03", [], []),
        ("scenario-04", [(1, 10, 10)], []),
        ("scenario-05", [(1, 10, 10)], []),
        (
            "scenario-06",
            [(16, 40, 30), (17, 40, 20), (18, 40, 10), (13, 50, 30), (14, 50, 10)],
            [*BIDS, *BIDS_BEHIND, (14, 50, 10), (15, 50, 10), *ASKS_BEHIND],
        ),
        ("scenario-07", BIDS, [*BIDS_BEHIND, *ASKS, *ASKS_BEHIND]),
    ],
)
def test_a_script_ends_as_price_time_priority_demands(name: str, traded: Resting, rests: Resting) -> None:
    script = Script().run(name)
    assert script.trades == traded
    assert script.rests() == rests


def test_an_order_is_reduced_modified_replaced_and_deleted() -> None:
    states = Script().run("scenario-03").states
    assert states == [[(1, 10, 10)], [(1, 10, 5)], [(1, 20, 20)], [(2, 30, 30)], []]


# The two scenarios of `exchange_core_basic.feature`, by a whole exchange.

ALICE, BOB, CHARLIE = 1, 2, 3  # accounts; the markets are linear and quanto


def shown(exchange: Exchange, market: int) -> list[list[tuple[int, int]]]:
    """Return (price, size) of every level: the asks, and the bids."""
    levels = [exchange.clearing.levels(market, side, 9) for side in (SELL, BUY)]
    return [[(each.price_ticks, each.size_lots) for each in side] for side in levels]


def met(outcome: Outcome) -> list[tuple[int, int, int]]:
    """Return (order, price, size) of every maker."""
    return [(each.order_id, each.price_ticks, abs(each.size_lots)) for each in outcome.fills if each.maker]


@pytest.mark.parametrize("market", [1, 2])
def test_the_basic_full_cycle(make_exchange: Any, market: int) -> None:
    exchange = make_exchange({}, {"kind": "quanto"}, deposits={ALICE: "100000", BOB: "100000"}, price="1600")
    name = f"PERP-{market}"
    ask = exchange.place(ALICE, name, SELL, 7, 1600).sequence
    assert not exchange.place(ALICE, name, BUY, 4, 1550).fills
    assert shown(exchange, market) == [[(1600, 7)], [(1550, 4)]]
    assert met(exchange.place(BOB, name, BUY, 2, 1700, time_in_force=IOC)) == [(ask, 1600, 2)]
    assert shown(exchange, market) == [[(1600, 5)], [(1550, 4)]]
    bid = exchange.place(BOB, name, BUY, 4, 1583)
    assert not bid.fills
    assert shown(exchange, market) == [[(1600, 5)], [(1583, 4), (1550, 4)]]
    assert met(exchange.amend(ALICE, name, ask, price=1580)) == [(bid.sequence, 1583, 4)]
    assert shown(exchange, market) == [[(1580, 1)], [(1550, 4)]]


def test_what_a_bid_sets_aside_comes_back_when_it_is_cancelled(make_exchange: Any) -> None:
    paid_whole = [{"up_to": "100000000", "initial": "100%", "maintenance": "50%"}]
    market = {"price_max": "20000", "multiplier": "10", "brackets": paid_whole}
    exchange = make_exchange(market, deposits={CHARLIE: "94000000"}, price="18500", deposits_max="100000000")

    def free() -> int:
        need: Need = exchange.clearing.need(CHARLIE, 1)
        return need.equity_units - need.initial_units

    bid = exchange.place(CHARLIE, "PERP-1", BUY, 500, 18500)
    assert (free(), shown(exchange, 1)) == (1_500_000, [[], [(18500, 500)]])
    exchange.cancel(CHARLIE, "PERP-1", bid.sequence)
    assert (free(), shown(exchange, 1)) == (94_000_000, [[], []])
