"""One million commands, whose trades somebody else counted: the fast book finds the same ones, each way in.

The commands are limit orders of either kind, cancels of orders that rest, and market orders that the book can fill;
prices wander round 50,000 and about 12,000 orders rest at any time. What has to come of them was worked out by a
program that shares no line with perpkit.
"""

import hashlib
import math
import random
from bisect import bisect_left, insort

import numpy as np
import pytest

from perpkit.model.order import Side, TimeInForce
from perpkit.testing.builders import market_context, order
from perpkit_fast import FastBook, arrays
from perpkit_fast import records as r

COUNT = 1_000_000
TRADES, TRADED_LOTS, NOTIONAL = 285_995, 2_697_927, 134_890_237_829
TRADES_SHA256 = "126f2a1d12a1f953dc8cb2e6ce8492130db300a319cf893029be661064ea9fc1"
LIMIT, CANCEL, MARKET = range(3)
MIDDLE, DEPTH_LOG = 50_000, math.log(1 - 1 / 14)
Row = tuple[int, int, int, int, int, int]
"""What it is, order id, side (0 buys), price, size, account."""


class Flow:
    """Draws the commands, and keeps as much of a book as drawing them takes."""

    def __init__(self) -> None:
        self.draw = random.Random(20261121)
        self.resting: dict[int, list[int]] = {}
        self.ids: list[int] = []
        self.places: dict[int, int] = {}
        self.queues: tuple[dict[int, dict[int, None]], ...] = ({}, {})
        self.prices: tuple[list[int], ...] = ([], [])
        self.lots = [0, 0]
        self.last_id = 0

    def best(self, side: int) -> int:
        return self.prices[side][0 if side else -1]

    def rest(self, order_id: int, side: int, price: int, size: int, account: int) -> None:
        self.resting[order_id] = [side, price, size, account]
        self.places[order_id] = len(self.ids)
        self.ids.append(order_id)
        self.lots[side] += size
        if price not in self.queues[side]:
            insort(self.prices[side], price)
        self.queues[side].setdefault(price, {})[order_id] = None

    def drop(self, order_id: int) -> None:
        side, price, size, _ = self.resting.pop(order_id)
        self.lots[side] -= size
        place, last = self.places.pop(order_id), self.ids.pop()
        if last != order_id:
            self.ids[place], self.places[last] = last, place
        del self.queues[side][price][order_id]
        if not self.queues[side][price]:
            del self.queues[side][price], self.prices[side][bisect_left(self.prices[side], price)]

    def trade(self, side: int, limit: int, size: int) -> int:
        """Take `size` lots off the other side; return what finds nobody."""
        other, sign = 1 - side, -1 if side else 1
        while size and self.prices[other] and sign * (limit - self.best(other)) >= 0:
            maker = next(iter(self.queues[other][self.best(other)]))
            lots = min(size, self.resting[maker][2])
            size -= lots
            self.resting[maker][2] -= lots
            self.lots[other] -= lots
            if not self.resting[maker][2]:
                self.drop(maker)
        return size

    def passive(self) -> Row:
        self.last_id += 1
        side, account = self.draw.getrandbits(1), self.draw.randrange(1, 1001)
        sign = 1 if side else -1
        near = self.best(1 - side) if self.prices[1 - side] else MIDDLE - sign
        price = near + sign * (1 + int(math.log(1 - self.draw.random()) / DEPTH_LOG))
        size = min(100, 1 + int(-math.log(1 - self.draw.random()) * 12))
        self.rest(self.last_id, side, price, size, account)
        return LIMIT, self.last_id, side, price, size, account

    def cancel(self) -> Row:
        order_id = self.ids[int(self.draw.random() * len(self.ids))]
        row = CANCEL, order_id, *self.resting[order_id]
        self.drop(order_id)
        return row

    def aggressive(self) -> Row:
        self.last_id += 1
        account = self.draw.randrange(1, 1001)
        middle = (self.best(1) + self.best(0)) / 2
        side = 0 if self.draw.random() < 0.5 - max(-0.1, min(0.1, (middle - MIDDLE) / 2000)) else 1
        wanted = int(-math.log(1 - self.draw.random()) * 24.0 * (len(self.ids) / 10_000)) + 1
        size = max(1, min(wanted, self.lots[1 - side] // 4))
        if self.draw.random() < 0.5:
            self.trade(side, 0 if side else 1 << 40, size)
            return MARKET, self.last_id, side, 0, size, account
        price = self.best(1 - side) + (-1 if side else 1) * self.draw.randrange(4)
        left = self.trade(side, price, size)
        if left:
            self.rest(self.last_id, side, price, left, account)
        return LIMIT, self.last_id, side, price, size, account

    def rows(self) -> list[Row]:
        rows = []
        for step in range(COUNT):
            choice = self.draw.random()
            if step < 8_000 or choice < 0.55 or len(self.ids) < 500:
                rows.append(self.passive())
            else:
                rows.append(self.cancel() if choice < 0.90 else self.aggressive())
        return rows


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return Flow().rows()


def limit_of(kind: int, side: int, price: int) -> int:
    return price if kind == LIMIT else 1 if side else 1 << 40


def flags_of(kind: int) -> int:
    return r.flags_of(time_in_force=TimeInForce.GTC if kind == LIMIT else TimeInForce.IOC)


def test_in_batches(rows: list[Row]) -> None:
    columns = np.array(rows)
    kind, side = columns[:, 0], columns[:, 2]
    commands = np.zeros(COUNT, arrays.COMMAND)
    commands["kind"] = np.where(kind == CANCEL, r.Kind.CANCEL, r.Kind.PLACE)
    commands["flags"] = np.where(kind == LIMIT, flags_of(LIMIT), flags_of(MARKET)) | side
    commands["market"] = 1
    commands["price_ticks"] = np.where(kind == MARKET, np.where(side, 1, 1 << 40), columns[:, 3])
    for name, column in (("id", 1), ("size_lots", 4), ("account", 5)):
        commands[name] = columns[:, column]
    book = FastBook(market_context(limits={"order_fills_max": 1_000_000}))
    answers = np.concatenate(
        [np.frombuffer(book.apply(commands[at : at + 4096]), arrays.ANSWER) for at in range(0, COUNT, 4096)]
    )
    assert not (answers["kind"] == r.Kind.REFUSED).any()
    matched = answers[answers["kind"] == r.Kind.MATCHED].view(arrays.MATCHED)
    assert len(matched) == TRADES
    assert matched["size_lots"].sum() == TRADED_LOTS
    assert (matched["size_lots"] * matched["price_ticks"]).sum() == NOTIONAL
    trades = matched[["taker", "id", "price_ticks", "size_lots"]].tolist()
    told = hashlib.sha256("".join("{},{},{},{};".format(*trade) for trade in trades).encode())
    assert told.hexdigest() == TRADES_SHA256


def test_one_call_for_each(rows: list[Row]) -> None:
    book, trades = FastBook(market_context(limits={"order_fills_max": 1_000_000})), hashlib.sha256()
    for kind, order_id, side, price, size, account in rows:
        if kind == CANCEL:
            assert book.cancel(order_id) == size
        else:
            limit = limit_of(kind, side, price)
            *_, fills = book.place(order_id, account, -1 if side else 1, size, limit, flags_of(kind))
            for maker, _, _, at, lots, _ in fills:
                trades.update(b"%d,%d,%d,%d;" % (order_id, maker, at, lots))
    assert trades.hexdigest() == TRADES_SHA256


def test_through_the_port_as_far_as_patience_goes(rows: list[Row]) -> None:
    context = market_context(limits={"order_fills_max": 1_000_000})
    book, other = FastBook(context), FastBook(context)
    for kind, order_id, side, price, size, account in rows[:50_000]:
        if kind == CANCEL:
            assert book.reduce(order_id, size) == 0
            other.cancel(order_id)
            continue
        limit = limit_of(kind, side, price)
        tif = TimeInForce.GTC if kind == LIMIT else TimeInForce.IOC
        taker = order(order_id, Side.SELL if side else Side.BUY, size, limit, account=account, time_in_force=tif)
        plan = book.plan(taker)
        book.commit(plan)
        *_, fills = other.place(order_id, account, taker.side, size, limit, flags_of(kind))
        assert [each[0] for each in fills] == [match.maker for match in plan.matches]
    assert book.dump_records() == other.dump_records()
