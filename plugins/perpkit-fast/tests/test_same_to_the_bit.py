"""The fast book and the reference say the same of random commands, whichever way the fast one is asked.

PERPKIT_FAST_COMMANDS says how many commands in all; 300,000 unless told.
"""

import os
import random
from typing import Any

import attrs
import pytest

from perpkit.model.ids import account_id
from perpkit.model.order import MatchPlan, Order, SelfTrade, Side, TimeInForce
from perpkit.plugin import NoOptions
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.testing.builders import market_context
from perpkit_fast import FastBook
from perpkit_fast import records as r

COMMANDS = int(os.environ.get("PERPKIT_FAST_COMMANDS", "300000"))
ROUND = 2_500
BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
ACCOUNTS = (1, 2, 3, account_id(1, number=1), account_id(2, number=5))


@attrs.frozen
class World:
    """How orders fall: how far round the price, how many of them anywhere at all, and what one may meet."""

    spread_ticks: int
    anywhere: float
    fills_max: int


WORLDS = (World(2, 0, 1000), World(4, 0, 3), World(12, 0, 1), World(60, 0.02, 1000), World(9, 0.5, 1000))


def random_order(draw: random.Random, number: int, world: World) -> Order:
    """Draw an order of any flags; now and then far away, where no window reaches."""
    size, shape, far = draw.randint(1, 30), draw.random(), draw.random() < world.anywhere
    display = draw.randint(1, size) if shape < 0.25 else 0
    hidden = size - display if shape < 0.35 else 0
    return Order(
        id=number * 7919 % 1_000_003 << 20 | number,
        account=draw.choice(ACCOUNTS),
        market=1,
        position_id=draw.randint(0, 3),
        side=draw.choice((BUY, SELL)),
        size_lots=size,
        price_ticks=draw.getrandbits(draw.randint(1, 61)) + 1
        if far
        else 1000 + round(draw.gauss(0, world.spread_ticks)),
        time_in_force=draw.choice((GTC, GTC, GTC, GTC, IOC, FOK, TimeInForce.GTD, TimeInForce.DAY)),
        reduce_only=draw.random() < 0.2,
        self_trade=draw.choice((SelfTrade.OFF, *SelfTrade)),
        self_trade_by_owner=draw.random() < 0.4,
        display_lots=display,
        hidden_lots=hidden,
    )


class Books:
    """One reference, and a fast book for each way in: all are told the same."""

    def __init__(self, world: World) -> None:
        self.context = market_context(limits={"order_fills_max": world.fills_max})
        self.reference = PriceTimeBook(self.context, NoOptions())
        self.objects, self.integers, self.records = (FastBook(self.context) for _ in range(3))
        self.left: dict[int, int] = {}
        self.waiting: list[bytes] = []
        self.due: list[Any] = []

    def place(self, order: Order, *, plan_again: bool) -> None:
        plan = self.reference.plan(order)
        mine = self.objects.plan(order)
        assert mine == plan
        self.reference.commit(plan)
        self.objects.commit(plan if plan_again else mine)
        flags = r.flags_of(
            time_in_force=order.time_in_force,
            reduce_only=order.reduce_only,
            self_trade=order.self_trade,
            self_trade_by_owner=order.self_trade_by_owner,
        )
        placed = self.integers.place(
            order.id,
            order.account,
            order.side,
            order.size_lots,
            order.price_ticks,
            flags,
            order.position_id,
            order.display_lots,
            order.hidden_lots,
        )
        fills = tuple(attrs.astuple(match) for match in plan.matches)
        assert placed == (plan.rest_lots, plan.cancel_lots, plan.prevented_lots, int(plan.cancel_reason), fills)
        self.waiting.append(r.pack_place(order))
        self.due.append(plan)
        self._follow(order, plan)

    def _follow(self, order: Order, plan: MatchPlan) -> None:
        for match in plan.matches:
            self.left[match.maker] -= match.size_lots
            if not self.left[match.maker]:
                del self.left[match.maker]
        if plan.rest_lots:
            self.left[order.id] = plan.rest_lots

    def reduce(self, order_id: int, lots: int) -> None:
        left = self.reference.reduce(order_id, lots)
        assert self.objects.reduce(order_id, lots) == left
        if left:
            assert self.integers.reduce(order_id, lots) == left
            self.waiting.append(r.pack_reduce(1, order_id, lots))
            self.left[order_id] = left
        else:
            assert self.integers.cancel(order_id) == lots
            self.waiting.append(r.pack_cancel(1, order_id))
            del self.left[order_id]
        self.due.append((order_id, lots, left))

    def reduce_unknown(self, order_id: int) -> None:
        for call in (self.reference.reduce, self.objects.reduce, self.integers.reduce):
            with pytest.raises(KeyError):
                call(order_id, 1)
        self.waiting.append(r.pack_cancel(1, order_id))
        self.due.append(r.Refused(order_id=order_id, reason=r.Refusal.UNKNOWN_ORDER, kind=r.Kind.CANCEL))

    def run_waiting(self) -> None:
        commands = b"".join(self.waiting)
        said = list(r.unpack_answers(commands, self.records.apply(commands)))
        assert [
            (each.order_id, each.size_lots, each.left_lots) if isinstance(each, r.Reduced) else each for each in said
        ] == self.due
        self.waiting.clear()
        self.due.clear()

    def compare(self) -> None:
        self.run_waiting()
        for side in (BUY, SELL):
            content = list(self.reference.orders(side))
            levels = tuple(self.reference.levels(side, 1_000_000))
            for book in (self.objects, self.integers, self.records):
                assert list(book.orders(side)) == content
                assert book.levels(side, 1_000_000) == levels
                assert book.levels(side, 2) == levels[:2]
                assert book.best(side) == self.reference.best(side)

    def reload(self) -> None:
        """Let every book go on from another one's dump."""
        self.run_waiting()
        dump = [*self.reference.orders(BUY), *self.reference.orders(SELL)]
        assert list(r.unpack_orders(self.integers.dump_records())) == dump
        self.reference.load(dump)
        self.objects.load_records(self.records.dump_records())
        self.integers.load(dump)
        self.records.load(r.unpack_orders(self.objects.dump_records()))


def rounds() -> list[Any]:
    return [pytest.param(number, id=f"round {number}") for number in range(max(1, -(-COMMANDS // ROUND)))]


@pytest.mark.parametrize("number", rounds())
def test_every_way_in_says_what_the_reference_says(number: int) -> None:
    draw = random.Random(number)
    world = WORLDS[number % len(WORLDS)]
    books = Books(world)
    for step in range(min(ROUND, COMMANDS)):
        kind = draw.random()
        if kind < 0.3 and books.left:
            order_id = draw.choice(list(books.left)) if len(books.left) < 50 else next(iter(books.left))
            left = books.left[order_id]
            books.reduce(order_id, left if draw.random() < 0.6 else draw.randint(1, left))
        elif kind < 0.32:
            books.reduce_unknown(draw.getrandbits(40))
        else:
            books.place(random_order(draw, step + 1, world), plan_again=draw.random() < 0.3)
        if draw.random() < 0.05:
            books.run_waiting()
        if step % 50 == 0:
            books.compare()
        if step % 400 == 399:
            books.reload()
    books.compare()


def test_levels_far_from_each_other_come_in_the_order_of_their_prices() -> None:
    """Far more of them than one row holds, anywhere in 61 bits; then they go, in any order."""
    draw = random.Random(5)
    book = FastBook(market_context())
    prices = {draw.getrandbits(draw.randint(20, 61)) + 1: number for number in range(1, 6_001)}
    for price, number in prices.items():
        book.place(number, 1, BUY, 1, price)
    going = list(prices)
    draw.shuffle(going)
    while going:
        assert [order.price_ticks for order in book.orders(BUY)] == sorted(going, reverse=True)
        assert book.best(BUY) == max(going)
        for price in going[:1_000]:
            assert book.cancel(prices[price]) == 1
        del going[:1_000]
    assert book.best(BUY) is None


def test_a_market_that_wanders_off_keeps_its_order() -> None:
    """A thousand times the width of the window, with orders left behind."""
    context = market_context()
    book, reference = FastBook(context), PriceTimeBook(context, NoOptions())
    template = Order(id=0, account=1, market=1, position_id=0, side=SELL, size_lots=3, price_ticks=1)
    for number in range(1, 3_000):
        price = 1 + number * 100_000
        for order in (
            attrs.evolve(template, id=2 * number, price_ticks=price + number % 5),
            attrs.evolve(template, id=2 * number + 1, price_ticks=price - 10, side=BUY, size_lots=2),
        ):
            plan = reference.plan(order)
            assert book.plan(order) == plan
            reference.commit(plan)
            book.commit(plan)
    assert list(book.orders(SELL)) == list(reference.orders(SELL))
    assert list(book.orders(BUY)) == list(reference.orders(BUY))
