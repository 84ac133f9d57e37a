"""What is just within each limit comes in; how a close is bounded, cut and priced; what an order sets aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perpkit import Exchange, MarketState, RejectReason, Side, TimeInForce
from perpkit.model.command import PlaceOrder, SetMarketState
from perpkit.model.event import Filled, OrderAccepted, Rejected

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK
R = RejectReason
Make = Callable[..., Exchange]


def told(
    exchange: Exchange, account: int, side: Side, size: int, price: int = 0, **more: Any
) -> RejectReason | tuple[int, int]:
    """Place an order; return why not, or with which size and price it was accepted."""
    fields = {"account": account, "market": 1, "side": side, "size_lots": size, "price_ticks": price, **more}
    outcome = exchange.apply(PlaceOrder(**fields, time_ns=exchange.clock_ns))
    for event in outcome.events:
        if isinstance(event, Rejected):
            return event.reason
        if isinstance(event, OrderAccepted):
            return event.size_lots, event.price_ticks
    raise AssertionError(outcome)


@pytest.fixture
def exchange(make_exchange: Make) -> Exchange:
    """The mark is 100; 3 orders an account, 650 lots an order, 104 of open interest, 60 % of slippage."""
    market = {"orders_max": 3, "order_max": "650", "open_interest_max": "104", "market_slippage": "60%"}
    return make_exchange(market, {}, deposits={1: "3000", 2: "5000", 3: "5000", 5: "100", 6: "50000"})


# At the limit and one past it.


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"side": BUY, "size": 1, "price": 1}, None),
        ({"side": BUY, "size": 1, "price": 0}, R.PRICE_OUT_OF_BOUNDS),
        ({"side": SELL, "size": 1, "price": 10_000}, None),
        ({"side": SELL, "size": 1, "price": 10_001}, R.PRICE_OUT_OF_BOUNDS),
        ({"side": BUY, "size": 1, "price": 1, "is_market": True}, None),
        ({"side": SELL, "size": 1, "price": 10_000, "is_market": True}, None),
        ({"side": SELL, "size": 1, "price": 10_001, "is_market": True}, R.PRICE_OUT_OF_BOUNDS),
        ({"side": BUY, "size": 650, "price": 10}, None),
        ({"side": BUY, "size": 651, "price": 10}, R.SIZE_ABOVE_MAXIMUM),
        ({"side": BUY, "size": 1, "price": 99, "post_only": True}, None),
        ({"side": BUY, "size": 1, "price": 99, "post_only": True, "time_in_force": IOC}, R.FLAGS_CONFLICT),
        ({"side": BUY, "size": 1, "post_only": True, "is_market": True}, R.FLAGS_CONFLICT),
        ({"side": BUY, "size": 10, "price": 100, "account": 5}, None),
        ({"side": BUY, "size": 11, "price": 100, "account": 5}, R.INSUFFICIENT_MARGIN),
    ],
)
def test_an_order_is_refused_one_past_the_limit_and_not_at_it(
    exchange: Exchange, order: dict[str, Any], reason: RejectReason | None
) -> None:
    answer = told(exchange, **{"account": 6} | order)
    assert answer == (reason or answer)
    assert isinstance(answer, RejectReason) is (reason is not None)


def test_orders_are_counted_by_account_and_market_and_only_where_they_may_rest(exchange: Exchange) -> None:
    for price in (90, 91, 92):
        assert told(exchange, 6, BUY, 1, price) == (1, price)
    assert told(exchange, 6, BUY, 1, 93) is R.TOO_MANY_ORDERS
    assert told(exchange, 6, BUY, 1, 93, time_in_force=IOC) == (1, 93)
    assert told(exchange, 6, BUY, 1, 93, is_market=True) == (1, 93)
    assert told(exchange, 3, BUY, 1, 93) == (1, 93)
    assert exchange.place(6, "PERP-2", BUY, 1, 100, time_ns=exchange.clock_ns).rejected is None
    exchange.cancel(6, "PERP-1", exchange.clearing.orders(1, BUY)[-1].id)
    assert told(exchange, 6, BUY, 1, 94) == (1, 94)
    assert told(exchange, 6, BUY, 1, 95) is R.TOO_MANY_ORDERS


def test_the_last_bracket_holds_what_is_open_and_what_may_open(exchange: Exchange) -> None:
    assert told(exchange, 6, BUY, 600, 100) == (600, 100)
    assert told(exchange, 6, BUY, 401, 100) is R.POSITION_LIMIT
    assert told(exchange, 6, BUY, 400, 100) == (400, 100)
    assert told(exchange, 6, SELL, 1, 101) == (1, 101)  # the other side may not fill at the same time


def test_of_several_brackets_the_last_one_ends_what_a_position_may_be(make_exchange: Make) -> None:
    brackets = [{"up_to": top, "initial": "10%", "maintenance": "5%"} for top in ("1000", "2000", "3000")]
    exchange = make_exchange({"brackets": brackets}, deposits={6: "50000"})
    assert told(exchange, 6, BUY, 31, 100) is R.POSITION_LIMIT
    assert told(exchange, 6, BUY, 30, 100) == (30, 100)


def test_open_interest_may_reach_its_limit(exchange: Exchange) -> None:
    assert told(exchange, 2, SELL, 100, 100) == (100, 100)
    assert told(exchange, 1, BUY, 100, 100) == (100, 100)
    assert told(exchange, 2, SELL, 5, 101) == (5, 101)
    assert told(exchange, 6, BUY, 5, 101) is R.OPEN_INTEREST_LIMIT
    assert told(exchange, 6, BUY, 4, 101) == (4, 101)


def test_in_a_post_only_market_what_may_not_take_comes_in(exchange: Exchange) -> None:
    exchange.apply(SetMarketState(market=1, state=MarketState.POST_ONLY, time_ns=exchange.clock_ns))
    assert told(exchange, 6, BUY, 1, 99) is R.MARKET_STATE
    assert told(exchange, 6, BUY, 1, 99, post_only=True) == (1, 99)


def test_fill_or_kill_needs_all_of_it_within_its_limit(exchange: Exchange) -> None:
    told(exchange, 2, SELL, 4, 101)
    assert told(exchange, 6, BUY, 5, 101, time_in_force=FOK) is R.CANNOT_FILL
    assert told(exchange, 6, BUY, 5, 0, is_market=True, time_in_force=FOK) is R.CANNOT_FILL
    assert told(exchange, 6, BUY, 5, 0, is_market=True) == (5, 160)
    told(exchange, 2, SELL, 4, 101)
    assert told(exchange, 6, BUY, 4, 101, time_in_force=FOK) == (4, 101)
    told(exchange, 2, SELL, 4, 101)
    assert told(exchange, 6, BUY, 4, 101, post_only=True) is R.WOULD_CROSS
    assert told(exchange, 6, BUY, 4, 100, post_only=True) == (4, 100)


# Closes.


def long(exchange: Exchange, isolated: bool, position_id: int = 0) -> None:
    """Let account 1 be long 10 at 100; isolated, with 100 of margin, it is bankrupt at 90."""
    if isolated:
        exchange.set_terms(1, "PERP-1", position_id=position_id, isolated=True, leverage=10)
    told(exchange, 2, SELL, 10, 100)
    told(exchange, 1, BUY, 10, 100, position_id=position_id)


@pytest.mark.parametrize("reduce_only", [False, True])
def test_a_close_of_an_isolated_position_ends_at_its_bankruptcy_price(exchange: Exchange, reduce_only: bool) -> None:
    long(exchange, isolated=True, position_id=3)
    more = {"position_id": 3, "reduce_only": reduce_only}
    assert told(exchange, 1, SELL, 10, 89, **more) is R.PAST_BANKRUPTCY
    assert told(exchange, 1, SELL, 4, 89, **more) is R.PAST_BANKRUPTCY
    assert told(exchange, 1, SELL, 10, is_market=True, **more) == (10, 90)
    assert told(exchange, 1, SELL, 10, 70, is_market=True, **more) == (10, 90)
    assert told(exchange, 1, SELL, 10, 95, is_market=True, **more) == (10, 95)
    assert told(exchange, 1, SELL, 10, 90, **more) == (10, 90)


def test_of_an_order_that_turns_a_position_only_the_close_is_bounded(exchange: Exchange) -> None:
    long(exchange, isolated=True)
    assert told(exchange, 1, SELL, 15, 89) is R.PAST_BANKRUPTCY
    assert told(exchange, 1, SELL, 15, 90) == (15, 90)


def test_what_adds_and_what_is_cross_needs_no_bound(exchange: Exchange) -> None:
    long(exchange, isolated=True)
    assert told(exchange, 1, BUY, 10, is_market=True) == (10, 160)
    told(exchange, 3, SELL, 10, 100)
    told(exchange, 6, BUY, 10, 100)
    assert told(exchange, 6, SELL, 10, 50) == (10, 50)
    assert told(exchange, 6, SELL, 10, is_market=True, reduce_only=True) == (10, 40)


def test_a_reduce_only_order_of_a_cross_position_is_bounded_by_the_pool(exchange: Exchange) -> None:
    told(exchange, 2, SELL, 10, 100)
    told(exchange, 5, BUY, 10, 100)  # with 100 bankrupt at 90
    assert told(exchange, 5, SELL, 10, 89, reduce_only=True) is R.PAST_BANKRUPTCY
    assert told(exchange, 5, SELL, 10, 90, reduce_only=True) == (10, 90)


def test_a_reduce_only_order_that_rests_leaves_room_for_the_closes_before_it(exchange: Exchange) -> None:
    long(exchange, isolated=False)
    told(exchange, 1, SELL, 6, 130)
    told(exchange, 1, BUY, 5, 80)
    assert told(exchange, 1, SELL, 15, 120, reduce_only=True, time_in_force=IOC) == (10, 120)
    assert told(exchange, 1, SELL, 15, 120, reduce_only=True) == (4, 120)


def test_a_reduce_only_order_gives_way_to_another_and_never_adds(exchange: Exchange) -> None:
    long(exchange, isolated=False)
    assert told(exchange, 1, SELL, 15, 120, reduce_only=True) == (10, 120)
    assert told(exchange, 1, SELL, 3, 110, reduce_only=True) == (3, 110)
    assert [order.size_lots for order in exchange.clearing.orders(1, SELL)] == [3, 7]
    assert told(exchange, 1, BUY, 1, 80, reduce_only=True) is R.NOTHING_TO_REDUCE


def test_a_reduce_only_order_is_asked_for_no_margin(exchange: Exchange) -> None:
    told(exchange, 2, SELL, 10, 100)
    told(exchange, 5, BUY, 10, 100)
    assert told(exchange, 5, SELL, 10, 95, reduce_only=True) == (10, 95)
    assert told(exchange, 5, SELL, 1, 95) is R.INSUFFICIENT_MARGIN


# What is set aside.


def reserved(exchange: Exchange, account: int) -> tuple[int, int, int]:
    pool = exchange.clearing.pool(account, 1)
    buys = sum(exposure.open_buy_units for exposure in pool.exposures)
    return pool.reserved_units, buys, sum(exposure.open_sell_units for exposure in pool.exposures)


def test_an_order_that_crosses_is_priced_at_the_end_that_is_worth_more(make_exchange: Make) -> None:
    """A lot of the inverse market is worth 10,000 / p: more at the best offer of 80 than at the limit of 125."""
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": "1%"}}
    inverse = {"kind": "inverse", "lot": "100", "fees": fees, "order_max": "100000", "open_interest_max": "100000"}
    exchange = make_exchange(inverse, unit="0.01", deposits={1: "300", 2: "300"})
    told(exchange, 2, SELL, 1, 80)
    # 125 for one lot at 80; bought at 125 it would be worth -80 and at the mark -100: a loss of 20.
    assert told(exchange, 1, BUY, 3, 125) == (3, 125)
    assert reserved(exchange, 1) == (42, 250, 0)  # 375 · 1 % = 3.75, so 4, and 60 of loss; a third of 64 is freed as 22


def test_a_seller_that_crosses_is_priced_at_the_bid_it_may_meet(make_exchange: Make) -> None:
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": "1%"}}
    exchange = make_exchange({"fees": fees}, deposits={1: "3000", 2: "3000"})
    told(exchange, 2, BUY, 1, 110)
    assert told(exchange, 1, SELL, 3, 90) == (3, 90)
    assert reserved(exchange, 1) == (22, 0, 220)  # 330 · 1 % = 3.3, so 4, and 30 of loss; a third of 34 is freed as 12


def test_what_does_not_cross_is_priced_at_its_limit(exchange: Exchange) -> None:
    told(exchange, 2, SELL, 1, 120)
    told(exchange, 6, BUY, 2, 110)
    assert reserved(exchange, 6) == (20, 220, 0)
    for size, price in ((1, 120), (2, 130)):
        told(exchange, 6, SELL, size, price)
    assert reserved(exchange, 6) == (20, 220, 380)


def test_a_fee_below_zero_sets_nothing_aside(make_exchange: Make) -> None:
    fees = {"provider": "maker-taker", "options": {"maker": "1%", "taker": "-1%"}}
    exchange = make_exchange({"fees": fees}, deposits={1: "3000"})
    told(exchange, 1, BUY, 5, 90)
    assert reserved(exchange, 1) == (0, 450, 0)


def test_fills_say_which_side_waited(exchange: Exchange) -> None:
    told(exchange, 2, SELL, 1, 100)
    outcome = exchange.place(6, "PERP-1", BUY, 1, 100)
    assert [(fill.account, fill.maker) for fill in outcome.events if isinstance(fill, Filled)] == [
        (6, False),
        (2, True),
    ]
