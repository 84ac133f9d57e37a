"""Resting orders: which of them funding makes too dear to fill, and what is found by which id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perpkit import Exchange, MarketState, Side
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import CancelOrder, PlaceOrder
from perpkit.model.event import OrderCancelled, OrderRested
from perpkit.model.position import Closing
from perpkit.units import SCALE

BUY, SELL = Side.BUY, Side.SELL
ID = 3


@pytest.fixture
def exchange(make_exchange: Callable[..., Exchange]) -> Exchange:
    """Two markets at 100 in which a lot is worth its price; accounts 1 to 3 have 10,000 each and account 4 has 120."""
    return make_exchange({}, {}, deposits={1: "10000", 2: "10000", 3: "10000", 4: "120"})


def place(exchange: Exchange, account: int, side: Side, size: int, price: int, market: int = 1, **more: Any) -> int:
    """Place an order and return its id."""
    outcome = exchange.place(account, f"PERP-{market}", side, size, price, **more)
    assert outcome.rejected is None
    return outcome.sequence


def opened(exchange: Exchange, size: int, account: int = 1, market: int = 1, isolated: bool = True) -> None:
    """Let an account be long of account 2 at 100 for position id 3; isolated, a margin of 10 a lot is its own."""
    if isolated:
        exchange.set_terms(account, f"PERP-{market}", position_id=ID, isolated=True, leverage=10)
    place(exchange, 2, SELL, size, 100, market)
    place(exchange, account, BUY, size, 100, market, position_id=ID)


def accrue(exchange: Exchange, market: int = 1) -> list[tuple[int, int, CancelReason]]:
    """Let longs owe one unit a lot; return (order, size, reason) of what that cancels."""
    events = exchange.clearing.accrue_funding(market, SCALE)
    return [(e.order_id, e.size_lots, e.reason) for e in events if isinstance(e, OrderCancelled)]


def test_funding_cancels_the_closes_that_an_isolated_margin_no_longer_bears(exchange: Exchange) -> None:
    opened(exchange, 10)
    beyond = [place(exchange, 1, SELL, size, 90, position_id=ID) for size in (4, 12)]
    place(exchange, 1, SELL, 10, 91, position_id=ID)
    place(exchange, 1, BUY, 1, 50, position_id=ID)
    reason = CancelReason.INSOLVENT
    assert accrue(exchange) == [(beyond[0], 4, reason), (beyond[1], 12, reason)]
    assert exchange.clearing.levels(1, SELL, 9)[0].price_ticks == 91
    assert exchange.clearing.levels(1, BUY, 9)[0].price_ticks == 50


def test_a_single_lot_is_looked_at_too(exchange: Exchange) -> None:
    opened(exchange, 1)
    order = place(exchange, 1, SELL, 1, 90, position_id=ID)
    assert accrue(exchange) == [(order, 1, CancelReason.INSOLVENT)]


def test_a_close_of_a_cross_position_stays_and_hides_no_isolated_one_behind_it(exchange: Exchange) -> None:
    opened(exchange, 10, account=4, isolated=False)
    opened(exchange, 10)
    place(exchange, 4, SELL, 10, 88, position_id=ID, reduce_only=True)
    place(exchange, 1, BUY, 1, 50)
    place(exchange, 1, BUY, 1, 50, market=2)
    order = place(exchange, 1, SELL, 10, 90, position_id=ID)
    assert accrue(exchange) == [(order, 10, CancelReason.INSOLVENT)]


def test_funding_of_one_market_leaves_the_closes_of_another(exchange: Exchange) -> None:
    opened(exchange, 10, market=2)
    order = place(exchange, 1, SELL, 10, 90, market=2, position_id=ID)
    assert accrue(exchange) == []
    assert accrue(exchange, market=2) == [(order, 10, CancelReason.INSOLVENT)]


def test_a_client_order_id_that_was_never_given_finds_nothing(exchange: Exchange) -> None:
    command = PlaceOrder(account=1, market=1, side=BUY, size_lots=2, price_ticks=90, client_order_id=7)
    exchange.clearing.place(command, 1, MarketState.OPEN, False)
    found = [exchange.clearing.order(market, 1, 0, number) for market, number in ((1, 7), (1, 8), (1, 0), (2, 7))]
    assert [each and each.id for each in found] == [1, None, None, None]
    found = [exchange.clearing.order(market, account, 1, 0) for market, account in ((1, 1), (1, 2), (2, 1))]
    assert [each and each.size_lots for each in found] == [2, None, None]


def test_all_orders_of_an_account_in_a_market_are_cancelled_the_oldest_first(exchange: Exchange) -> None:
    ids = [place(exchange, 1, BUY, 1 + at, 90, position_id=at) for at in (0, ID, 0)]
    place(exchange, 1, BUY, 9, 90, market=2)
    place(exchange, 3, BUY, 9, 90)
    events = exchange.clearing.cancel_all(1, 1, CancelReason.LOCKED)
    fields = {"market": 1, "account": 1, "left_lots": 0, "reason": CancelReason.LOCKED}
    assert list(events) == [
        OrderCancelled(order_id=order, size_lots=lots, **fields)  # type: ignore[arg-type]
        for order, lots in zip(ids, (1, 4, 1), strict=True)
    ]
    assert [order.size_lots for market in (1, 2) for order in exchange.clearing.orders(market, BUY)] == [9, 9]


def test_a_cancelled_order_says_in_full_what_it_was(exchange: Exchange) -> None:
    order = place(exchange, 1, SELL, 10, 110, market=2)
    place(exchange, 2, BUY, 4, 110, market=2)
    (event,) = exchange.clearing.cancel(CancelOrder(account=1, market=2, order_id=order), CancelReason.REQUESTED)
    assert event == OrderCancelled(
        market=2, account=1, order_id=order, size_lots=6, left_lots=0, reason=CancelReason.REQUESTED
    )
    outcome = exchange.place(3, "PERP-2", SELL, 5, 110)
    assert outcome.events[-1] == OrderRested(
        market=2, account=3, order_id=outcome.sequence, side=SELL, size_lots=5, price_ticks=110
    )


def test_an_order_that_is_gone_leaves_nothing_behind(exchange: Exchange) -> None:
    order = place(exchange, 1, BUY, 2, 90, position_id=ID, client_order_id=7)
    account = exchange.clearing._state.accounts[1]  # type: ignore[attr-defined]
    assert account.by_client_id == {(1, 7): order}
    exchange.cancel(1, "PERP-1", order)
    assert (account.by_client_id, account.orders) == ({}, {})


# Reduce-only.


def reducing(exchange: Exchange) -> list[int]:
    return [order.size_lots for order in exchange.clearing.orders(1, SELL) if order.reduce_only]


def test_closes_that_rest_leave_reduce_only_orders_nothing(exchange: Exchange) -> None:
    opened(exchange, 10)
    place(exchange, 1, SELL, 4, 120, position_id=ID, reduce_only=True)
    place(exchange, 1, SELL, 9, 110, position_id=ID)
    assert reducing(exchange) == [1]
    place(exchange, 1, SELL, 1, 110, position_id=ID)
    assert reducing(exchange) == []


def test_reduce_only_orders_go_with_the_position(exchange: Exchange) -> None:
    opened(exchange, 10)
    place(exchange, 1, SELL, 4, 120, position_id=ID, reduce_only=True)
    closings = [
        Closing(account=account, position_id=at, change_lots=lots) for account, at, lots in ((1, ID, -10), (2, 0, 10))
    ]
    exchange.clearing.cross_off_book(1, 100, closings, Cause.DELEVERAGING)
    assert reducing(exchange) == []


def test_reduce_only_orders_go_when_the_position_changes_sides(exchange: Exchange) -> None:
    opened(exchange, 10)
    place(exchange, 1, SELL, 4, 120, position_id=ID, reduce_only=True)
    place(exchange, 3, BUY, 15, 100)
    place(exchange, 1, SELL, 15, 100, position_id=ID)
    assert reducing(exchange) == []
    assert exchange.clearing.pool(1, 1).exposures[0].size_lots == -5
