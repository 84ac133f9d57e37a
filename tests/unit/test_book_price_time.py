"""The reference book: price, then time; plans that change nothing; and a naive book beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.errors import PluginError
from perpkit.model.cause import CancelReason
from perpkit.model.market import MarketSpec
from perpkit.model.order import Level, Match, MatchPlan, Order, SelfTrade, Side, TimeInForce
from perpkit.plugin import NoOptions
from perpkit.ports.context import Limits, MarketContext
from perpkit.reference.book_price_time import PriceTimeBook

BUY, SELL = Side.BUY, Side.SELL
LIVES = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
Make = Callable[..., MarketSpec]


def book_of(spec: MarketSpec, fills_max: int = 1_000) -> PriceTimeBook:
    return PriceTimeBook(MarketContext(market=spec, limits=Limits(order_fills_max=fills_max)), NoOptions())


@pytest.fixture
def book(make_spec: Make) -> PriceTimeBook:
    """Sells of 5 at 101 (orders 1, 2) and 7 at 103 (3), buys of 4 at 99 (4) and 6 at 97 (5)."""
    made = book_of(make_spec())
    for number, side, size, price in [(1, SELL, 5, 101), (2, SELL, 5, 101), (3, SELL, 7, 103), (4, BUY, 4, 99)]:
        send(made, order(number, side, size, price))
    send(made, order(5, BUY, 6, 97))
    return made


def order(number: int, side: Side, size: int, price: int, **more: Any) -> Order:
    fields = {"account": 10 + number, "market": 1, "position_id": 0, **more}
    return Order(id=number, side=side, size_lots=size, price_ticks=price, **fields)


def send(book: PriceTimeBook, arriving: Order) -> MatchPlan:
    plan = book.plan(arriving)
    book.commit(plan)
    return plan


def met(plan: MatchPlan) -> list[tuple[int, int, int]]:
    return [(match.maker, match.price_ticks, match.size_lots) for match in plan.matches]


def everything(book: PriceTimeBook) -> tuple[Any, ...]:
    return (
        list(book.orders(BUY)),
        list(book.orders(SELL)),
        book.levels(BUY, 99),
        book.levels(SELL, 99),
        book.best(BUY),
        book.best(SELL),
    )


def test_an_order_that_does_not_cross_rests(book: PriceTimeBook) -> None:
    plan = send(book, order(6, BUY, 3, 100))
    assert (plan.matches, plan.rest_lots, plan.cancel_lots) == ((), 3, 0)
    assert book.best(BUY) == 100
    assert next(iter(book.orders(BUY))) == order(6, BUY, 3, 100)


def test_a_taker_fills_at_the_makers_prices_best_first_then_first_come(book: PriceTimeBook) -> None:
    plan = send(book, order(6, BUY, 12, 105))
    assert met(plan) == [(1, 101, 5), (2, 101, 5), (3, 103, 2)]
    assert (plan.rest_lots, plan.cancel_lots) == (0, 0)
    assert list(book.orders(SELL)) == [order(3, SELL, 5, 103)]


def test_a_taker_stops_at_its_limit_and_the_rest_waits_there(book: PriceTimeBook) -> None:
    plan = send(book, order(6, BUY, 12, 102))
    assert met(plan) == [(1, 101, 5), (2, 101, 5)]
    assert plan.rest_lots == 2
    assert (book.best(BUY), book.best(SELL)) == (102, 103)
    assert next(iter(book.orders(BUY))).size_lots == 2


def test_a_sell_takes_the_highest_bids_first(book: PriceTimeBook) -> None:
    assert met(send(book, order(6, SELL, 5, 1))) == [(4, 99, 4), (5, 97, 1)]


def test_a_match_names_the_maker_its_account_and_its_position(make_spec: Make) -> None:
    book = book_of(make_spec())
    send(book, order(1, SELL, 5, 101, position_id=3))
    assert send(book, order(2, BUY, 2, 101)).matches == (
        Match(maker=1, maker_account=11, maker_position_id=3, price_ticks=101, size_lots=2),
    )


def test_what_an_immediate_order_does_not_fill_is_cancelled(book: PriceTimeBook) -> None:
    plan = send(book, order(6, BUY, 12, 101, time_in_force=TimeInForce.IOC))
    assert (len(plan.matches), plan.rest_lots, plan.cancel_lots) == (2, 0, 2)
    assert plan.cancel_reason is CancelReason.IMMEDIATE
    assert book.best(BUY) == 99


def test_a_fill_or_kill_order_fills_whole_or_touches_nothing(book: PriceTimeBook) -> None:
    before = everything(book)
    plan = send(book, order(6, BUY, 11, 101, time_in_force=TimeInForce.FOK))
    assert (plan.matches, plan.rest_lots, plan.cancel_lots) == ((), 0, 11)
    assert everything(book) == before
    plan = send(book, order(7, BUY, 10, 101, time_in_force=TimeInForce.FOK))
    assert met(plan) == [(1, 101, 5), (2, 101, 5)]
    assert plan.cancel_lots == 0


@pytest.mark.parametrize("time_in_force", LIVES)
def test_an_order_meets_no_more_makers_than_the_work_limit(make_spec: Make, time_in_force: TimeInForce) -> None:
    book = book_of(make_spec(), fills_max=2)
    for number in (1, 2, 3):
        send(book, order(number, SELL, 1, 100))
    plan = send(book, order(4, BUY, 3, 100, time_in_force=time_in_force))
    killed = time_in_force is TimeInForce.FOK
    assert len(plan.matches) == (0 if killed else 2)
    assert (plan.rest_lots, plan.cancel_lots) == (0, 3 if killed else 1)
    assert plan.cancel_reason is CancelReason.WORK_LIMIT


def test_an_order_that_the_limit_just_lets_through_is_not_work_limited(make_spec: Make) -> None:
    book = book_of(make_spec(), fills_max=2)
    for number in (1, 2):
        send(book, order(number, SELL, 1, 100))
    plan = send(book, order(3, BUY, 3, 100))
    assert (len(plan.matches), plan.rest_lots, plan.cancel_lots) == (2, 1, 0)


def test_a_plan_changes_nothing(book: PriceTimeBook) -> None:
    before = everything(book)
    first = book.plan(order(6, BUY, 12, 105))
    assert book.plan(order(6, BUY, 12, 105)) == first
    assert everything(book) == before


@pytest.mark.parametrize("change", ["commit", "reduce", "load"])
def test_a_plan_is_refused_once_the_book_has_changed(book: PriceTimeBook, change: str) -> None:
    stale = book.plan(order(6, BUY, 1, 105))
    if change == "commit":
        send(book, order(7, BUY, 1, 90))
    elif change == "reduce":
        book.reduce(5, 1)
    else:
        book.load([])
    before = everything(book)
    with pytest.raises(PluginError, match="plan again"):
        book.commit(stale)
    assert everything(book) == before


def test_a_plan_is_applied_once(book: PriceTimeBook) -> None:
    plan = send(book, order(6, BUY, 1, 105))
    with pytest.raises(PluginError, match="plan again"):
        book.commit(plan)


def test_an_order_that_is_reduced_keeps_its_place(book: PriceTimeBook) -> None:
    assert book.reduce(1, 2) == 3
    assert met(book.plan(order(6, BUY, 4, 101))) == [(1, 101, 3), (2, 101, 1)]


def test_an_order_that_is_reduced_to_nothing_is_gone(book: PriceTimeBook) -> None:
    assert book.reduce(4, 4) == 0
    assert book.best(BUY) == 97
    with pytest.raises(KeyError):
        book.reduce(4, 1)


def test_a_maker_that_was_filled_is_gone(book: PriceTimeBook) -> None:
    send(book, order(6, BUY, 5, 101))
    with pytest.raises(KeyError):
        book.reduce(1, 1)


def test_levels_sum_what_rests_at_a_price(book: PriceTimeBook) -> None:
    assert book.levels(SELL, 2) == (
        Level(price_ticks=101, size_lots=10, orders=2),
        Level(price_ticks=103, size_lots=7, orders=1),
    )
    assert book.levels(BUY, 1) == (Level(price_ticks=99, size_lots=4, orders=1),)
    assert book.levels(BUY, 0) == ()


def test_an_empty_side_has_no_best_price(make_spec: Make) -> None:
    book = book_of(make_spec())
    assert (book.best(BUY), book.levels(SELL, 5), list(book.orders(BUY))) == (None, (), [])


def test_a_book_that_is_loaded_goes_on_as_the_one_it_came_from(make_spec: Make, book: PriceTimeBook) -> None:
    send(book, order(6, BUY, 3, 101))
    other = book_of(make_spec())
    send(other, order(9, BUY, 1, 50))
    other.load([*book.orders(BUY), *book.orders(SELL)])
    assert everything(other) == everything(book)
    assert met(other.plan(order(7, BUY, 20, 200))) == met(book.plan(order(7, BUY, 20, 200)))


def test_an_own_maker_that_is_gone_with_what_it_hides_is_no_work_any_more(make_spec: Make) -> None:
    book = book_of(make_spec(), fills_max=1)
    send(book, order(1, SELL, 5, 100, account=1, display_lots=2, hidden_lots=3))
    plan = send(book, order(2, BUY, 4, 100, account=1, self_trade=SelfTrade.CANCEL_MAKER))
    assert (len(plan.matches), plan.rest_lots, plan.cancel_lots) == (1, 4, 0)


# Beside a book that is too simple to be wrong: limit orders alone. The conformance suite has one for all the rest.


@attrs.define
class NaiveBook:
    """A list of orders as they came; every question walks it."""

    fills_max: int
    resting: list[Order] = attrs.field(factory=list)

    def side(self, side: Side) -> list[Order]:
        return sorted((o for o in self.resting if o.side is side), key=lambda o: -side * o.price_ticks)

    def send(self, taker: Order) -> tuple[list[tuple[int, int, int]], int, int]:
        met: list[tuple[int, int, int]] = []
        left = taker.size_lots
        crossing = [o for o in self.side(taker.side.opposite) if taker.side * (taker.price_ticks - o.price_ticks) >= 0]
        for maker in crossing[: self.fills_max]:
            size = min(left, maker.size_lots)
            if size:
                met.append((maker.id, maker.price_ticks, size))
            left -= size
        limited = left > 0 and len(crossing) > self.fills_max
        if taker.time_in_force is TimeInForce.FOK and left:
            return [], 0, taker.size_lots
        for number, _, size in met:
            self.reduce(number, size)
        if limited or taker.time_in_force is TimeInForce.IOC:
            return met, 0, left
        if left:
            self.resting.append(attrs.evolve(taker, size_lots=left))
        return met, left, 0

    def reduce(self, number: int, by_lots: int) -> None:
        at = next(i for i, each in enumerate(self.resting) if each.id == number)
        left = self.resting[at].size_lots - by_lots
        self.resting[at : at + 1] = [attrs.evolve(self.resting[at], size_lots=left)] if left else []


ARRIVALS = st.tuples(
    st.sampled_from(Side), st.integers(1, 9), st.integers(95, 105), st.sampled_from([*LIVES, TimeInForce.GTC])
)
STEPS = st.lists(ARRIVALS | st.tuples(st.integers(0, 99), st.integers(1, 9)), max_size=60)


@given(STEPS, st.sampled_from((1, 3, 1_000)))
def test_it_does_what_a_naive_book_does(make_spec: Make, steps: list[Any], fills_max: int) -> None:
    book, naive = book_of(make_spec(), fills_max), NaiveBook(fills_max)
    for number, step in enumerate(steps, start=1):
        if len(step) == 4:
            side, size, price, time_in_force = step
            arriving = order(number, side, size, price, time_in_force=time_in_force)
            plan = send(book, arriving)
            assert (met(plan), plan.rest_lots, plan.cancel_lots) == naive.send(arriving)
        elif naive.resting:
            chosen = naive.resting[step[0] % len(naive.resting)]
            by_lots = min(step[1], chosen.size_lots)
            assert book.reduce(chosen.id, by_lots) == chosen.size_lots - by_lots
            naive.reduce(chosen.id, by_lots)
        for side in Side:
            expected = naive.side(side)
            assert list(book.orders(side)) == expected
            assert book.best(side) == (expected[0].price_ticks if expected else None)
            prices = list(dict.fromkeys(each.price_ticks for each in expected))
            sizes = [[each.size_lots for each in expected if each.price_ticks == price] for price in prices]
            assert list(book.levels(side, 100)) == [
                Level(price_ticks=price, size_lots=sum(here), orders=len(here))
                for price, here in zip(prices, sizes, strict=True)
            ]
