"""Rows of the page on features that no other test shows in a whole exchange."""

from __future__ import annotations

import pytest

from perpkit import RejectReason, Side, TimeInForce, account_id
from perpkit.model.event import OrderAmended
from perpkit.model.order import SelfTrade
from perpkit.model.position import PositionMode

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK


@pytest.fixture
def book(exchange):
    """Account 3 sells 5 at 101 and 5 at 102, and buys 5 at 99 and 5 at 98: orders 6 to 9. The next order is 10."""
    for side, price in ((SELL, 101), (SELL, 102), (BUY, 99), (BUY, 98)):
        assert exchange.place(3, "COIN", side, 5, price).rejected is None
    return exchange


def sizes(exchange, account=1):
    return {e.position_id: e.size_lots for e in exchange.clearing.pool(account, 1).exposures if e.size_lots}


def taken(outcome):
    return [(fill.price_ticks, abs(fill.size_lots)) for fill in outcome.fills if not fill.maker]


def resting(exchange, order_id, account=1):
    order = exchange.clearing.order(1, account, order_id, 0)
    return None if order is None else (order.size_lots, order.price_ticks)


@pytest.mark.parametrize(
    ("terms", "fills", "rests"),
    [
        ({"price": 101}, [(101, 5)], (2, 101)),
        ({}, [(101, 5), (102, 2)], None),
        ({"market_to_limit": True}, [(101, 5)], (2, 101)),
        ({"price": 101, "time_in_force": IOC}, [(101, 5)], None),
        ({"price": 102, "time_in_force": FOK}, [(101, 5), (102, 2)], None),
    ],
    ids=["limit", "market", "market-to-limit", "ioc", "fok"],
)
def test_each_time_in_force_fills_what_it_may_and_rests_what_it_may(book, terms, fills, rests):
    assert taken(book.place(1, "COIN", BUY, 7, **terms)) == fills
    assert resting(book, book.sequence) == rests


def test_a_fill_or_kill_order_that_the_book_cannot_fill_is_refused(book):
    assert book.place(1, "COIN", BUY, 7, 101, time_in_force=FOK).rejected is RejectReason.CANNOT_FILL


def test_an_iceberg_shows_a_part_at_a_time_and_gets_behind_with_each(book):
    book.place(1, "COIN", BUY, 5, 100, display=2)
    book.place(2, "COIN", BUY, 3, 100)
    assert [level.size_lots for level in book.clearing.levels(1, BUY, 1)] == [2 + 3]
    makers = [(fill.account, fill.size_lots) for fill in book.place(3, "COIN", SELL, 4, 100).fills if fill.maker]
    assert makers == [(1, 2), (2, 2)]
    makers = [(fill.account, fill.size_lots) for fill in book.place(3, "COIN", SELL, 3, 100).fills if fill.maker]
    assert makers == [(2, 1), (1, 2)]


def test_a_hidden_order_is_not_shown_and_comes_after_what_is(book):
    book.place(1, "COIN", BUY, 3, 99, hidden=True)
    assert [level.size_lots for level in book.clearing.levels(1, BUY, 1)] == [5]
    makers = [(fill.account, fill.size_lots) for fill in book.place(2, "COIN", SELL, 6, 99).fills if fill.maker]
    assert makers == [(3, 5), (1, 1)]


@pytest.mark.parametrize(
    ("mode", "maker_left", "taker_left", "fills"),
    [
        (SelfTrade.OFF, None, (2, 100), [(100, 3)]),
        (SelfTrade.CANCEL_TAKER, (3, 100), None, []),
        (SelfTrade.CANCEL_MAKER, None, (5, 100), []),
        (SelfTrade.CANCEL_BOTH, None, None, []),
        (SelfTrade.DECREMENT, None, (2, 100), []),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("by_owner", [False, True], ids=["account", "owner"])
def test_nobody_trades_with_themselves_in_the_way_they_chose(book, mode, by_owner, maker_left, taker_left, fills):
    other = account_id(1, 1) if by_owner else 1
    book.deposit(other, "USD", "2000")
    book.place(other, "COIN", SELL, 3, 100)
    outcome = book.place(1, "COIN", BUY, 5, 100, self_trade=mode, self_trade_by_owner=by_owner)
    assert taken(outcome) == fills
    assert resting(book, 11, other) == maker_left
    assert resting(book, 12) == taker_left


def test_two_owners_trade_whatever_they_asked_to_prevent(book):
    book.place(2, "COIN", SELL, 3, 100)
    asked = {"self_trade": SelfTrade.CANCEL_BOTH, "self_trade_by_owner": True}
    assert taken(book.place(1, "COIN", BUY, 3, 100, **asked)) == [(100, 3)]


def test_an_amend_keeps_the_place_of_a_smaller_order_and_leaves_a_refused_one_alone(book):
    book.place(1, "COIN", BUY, 5, 100, post_only=True)
    book.place(2, "COIN", BUY, 5, 100)
    for change, kept in (({"size": 3}, True), ({"price": 101}, None)):
        amended = [e.kept_place for e in book.amend(1, "COIN", 10, **change).events if isinstance(e, OrderAmended)]
        assert amended == ([] if kept is None else [kept])
    makers = [(fill.account, fill.size_lots) for fill in book.place(3, "COIN", SELL, 4, 100).fills if fill.maker]
    assert makers == [(1, 3), (2, 1)]


def test_an_amend_to_a_larger_size_goes_to_the_back(book):
    book.place(1, "COIN", BUY, 3, 100)
    book.place(2, "COIN", BUY, 5, 100)
    book.amend(1, "COIN", 10, size=4)
    makers = [(fill.account, fill.size_lots) for fill in book.place(3, "COIN", SELL, 6, 100).fills if fill.maker]
    assert makers == [(2, 5), (1, 1)]


def test_one_way_mode_has_one_position_that_nets(book):
    assert book.set_mode(1, "COIN", PositionMode.ONE_WAY).rejected is None
    book.place(1, "COIN", BUY, 3, 101)
    book.place(1, "COIN", SELL, 5, 99)
    assert sizes(book) == {0: -2}
    assert book.place(1, "COIN", BUY, 1, 102, position_id=1).rejected is RejectReason.POSITION_MODE
