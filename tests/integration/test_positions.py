"""What a trader relies on: positions side by side, one click to close or to turn, and nothing that ruins its owner.

One lot at price p is worth p units; there are no fees, and brackets are 10 % / 5 % up to 10,000 units. `Exchange.apply`
holds every command to the laws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from perpkit import Exchange, MarketState, RejectReason, Side, TimeInForce
from perpkit.model.cause import CancelReason
from perpkit.model.command import ApproveWithdrawal, SetMarketState
from perpkit.model.event import (
    LiquidationStarted,
    OrderAccepted,
    OrderCancelled,
    OrderRefused,
    OrderRested,
    PositionChanged,
)
from perpkit.model.ledger import isolated_margin, wallet
from perpkit.model.position import Exposure, PositionMode
from perpkit.units import SECOND_NS

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK
R = RejectReason
TRADER, MAKER = 1, 9
Make = Callable[..., Exchange]


@pytest.fixture
def exchange(make_exchange: Make) -> Exchange:
    """Two markets at 100; the trader and a market maker have 50,000 each."""
    return make_exchange({"market_slippage": "20%"}, {}, deposits={TRADER: "50000", MAKER: "50000"})


def offer(exchange: Exchange, side: Side, *levels: tuple[int, int], market: str = "PERP-1") -> None:
    """Let the market maker stand in the book with these (price, size)."""
    for price, size in levels:
        assert exchange.place(MAKER, market, side, size, price, position_id=77).rejected is None


def trade(exchange: Exchange, size: int, price: int, market: str = "PERP-1", **terms: Any) -> None:
    """Let the trader buy, or with a negative size sell, at a price."""
    side = BUY if size > 0 else SELL
    offer(exchange, side.opposite, (price, abs(size)), market=market)
    outcome = exchange.place(TRADER, market, side, abs(size), price, **terms)
    assert sum(fill.size_lots for fill in outcome.fills if not fill.maker) == size, outcome.rejected


def held(exchange: Exchange, position_id: int = 0, market: int = 1) -> Exposure | None:
    exposures = exchange.clearing.pool(TRADER, 1).exposures
    return next((each for each in exposures if (each.market, each.position_id) == (market, position_id)), None)


def position(exchange: Exchange, position_id: int = 0, market: int = 1) -> tuple[int, int]:
    """Return (size, cost) of a position of the trader."""
    found = held(exchange, position_id, market)
    return (found.size_lots, found.cost_units) if found else (0, 0)


def resting(exchange: Exchange, account: int = TRADER) -> list[tuple[int, int, int, int]]:
    """Return (market, position id, signed size, price) of an account's orders in the book."""
    return [
        (market, order.position_id, side * order.size_lots, order.price_ticks)
        for market in exchange.clearing.marks()
        for side in Side
        for order in exchange.clearing.orders(market, side)
        if order.account == account
    ]


def realized(events: Iterable[object]) -> int:
    return sum(e.realized_units for e in events if isinstance(e, PositionChanged) and e.account == TRADER)


def cancelled(events: Iterable[object]) -> list[tuple[int, CancelReason]]:
    """Return (size, reason) of what went away unfilled."""
    return [(each.size_lots, each.reason) for each in events if isinstance(each, OrderCancelled)]


# Positions side by side.


def test_several_positions_on_each_side_each_have_leverage_margin_and_liquidation_price_of_their_own(
    exchange: Exchange,
) -> None:
    for position_id, size, leverage, margin, liquidation in (
        (1, 10, 10, 100, 95),
        (2, 10, 5, 200, 85),
        (3, -10, 2, 500, 142),
        (4, -10, 10, 100, 104),
    ):
        exchange.set_terms(TRADER, "PERP-1", position_id=position_id, isolated=True, leverage=leverage)
        trade(exchange, size, 100, position_id=position_id)
        found = held(exchange, position_id)
        assert found is not None
        assert (found.size_lots, found.isolated_units, found.leverage) == (size, margin, leverage)
        assert exchange.clearing.thresholds(TRADER, 1, position_id).liquidation_ticks == liquidation
    trade(exchange, 10, 100, position_id=5)
    shared = held(exchange, 5)
    assert shared is not None
    assert (shared.size_lots, shared.isolated_units) == (10, None)

    outcome = exchange.quote("PERP-1", "94", time_ns=10)
    assert [each.position_id for each in outcome.events if isinstance(each, LiquidationStarted)] == [1]
    assert [position(exchange, each)[0] for each in (1, 2, 3, 4, 5)] == [0, 10, -10, -10, 10]


def test_closing_one_of_several_positions_leaves_the_others_as_they_were_bought(exchange: Exchange) -> None:
    trade(exchange, 10, 100, position_id=1)
    trade(exchange, 5, 110, position_id=2)
    offer(exchange, BUY, (108, 5))
    outcome = exchange.close(TRADER, "PERP-1", position_id=2)
    assert realized(outcome.events) == -10
    assert (position(exchange, 1), position(exchange, 2)) == ((10, 1_000), (0, 0))


def test_the_same_trades_on_one_position_id_make_one_position(exchange: Exchange) -> None:
    exchange.set_mode(TRADER, "PERP-1", PositionMode.ONE_WAY)
    trade(exchange, 10, 100)
    trade(exchange, 5, 110)
    assert position(exchange) == (15, 1_550)


def test_in_hedge_mode_a_sale_of_the_long_never_opens_a_short(exchange: Exchange) -> None:
    exchange.set_mode(TRADER, "PERP-1", PositionMode.HEDGE)
    trade(exchange, 10, 100, position_id=1)
    offer(exchange, BUY, (100, 40))
    outcome = exchange.place(TRADER, "PERP-1", SELL, 25, 100, position_id=1)
    assert [fill.size_lots for fill in outcome.fills if not fill.maker] == [-10]
    assert (position(exchange, 1), resting(exchange)) == ((0, 0), [])
    assert exchange.place(TRADER, "PERP-1", SELL, 25, 100, position_id=2).rejected is None
    assert position(exchange, 2) == (-25, -2_500)


def test_in_hedge_mode_what_rests_to_close_shrinks_with_the_position(exchange: Exchange) -> None:
    exchange.set_mode(TRADER, "PERP-1", PositionMode.HEDGE)
    trade(exchange, 10, 100, position_id=1)
    exchange.place(TRADER, "PERP-1", SELL, 10, 105, position_id=1)
    trade(exchange, -6, 100, position_id=1)
    assert resting(exchange) == [(1, 1, -4, 105)]


def test_a_position_mode_changes_while_nothing_is_held_and_nothing_rests_in_that_market(exchange: Exchange) -> None:
    exchange.place(TRADER, "PERP-2", BUY, 1, 90)
    trade(exchange, 10, 100)
    assert exchange.set_mode(TRADER, "PERP-1", PositionMode.HEDGE).rejected is R.TERMS_IN_USE
    offer(exchange, BUY, (100, 10))
    exchange.close(TRADER, "PERP-1")
    assert exchange.set_mode(TRADER, "PERP-1", PositionMode.HEDGE).rejected is None
    assert exchange.clearing.position_mode(TRADER, 1) is PositionMode.HEDGE
    assert exchange.clearing.position_mode(TRADER, 2) is PositionMode.MULTI
    assert exchange.set_mode(TRADER, "PERP-1", PositionMode.MULTI).rejected is None
    assert exchange.place(TRADER, "PERP-1", BUY, 1, 90, position_id=12_345).rejected is None


def test_an_order_that_would_bring_another_position_with_margin_of_its_own_into_breach_is_refused(
    make_exchange: Make,
) -> None:
    """100 lots need 500 and have 1,000; 150 need 2,300, of which 1,534 is for the 100."""
    brackets = [
        {"up_to": "10000", "initial": "10%", "maintenance": "5%"},
        {"up_to": "90000", "initial": "40%", "maintenance": "36%"},
    ]
    exchange = make_exchange({"brackets": brackets}, deposits={TRADER: "50000", MAKER: "50000"})
    exchange.set_terms(TRADER, "PERP-1", position_id=1, isolated=True)
    trade(exchange, 100, 100, position_id=1)
    offer(exchange, SELL, (100, 50))
    refused = exchange.place(TRADER, "PERP-1", BUY, 50, 100, position_id=2)
    assert refused.rejected is R.OTHER_POSITION_AT_RISK
    assert "liquidated" in exchange.preview(TRADER, "PERP-1", BUY, 50, 100, position_id=2).explain()
    assert exchange.adjust_margin(TRADER, "PERP-1", 600, position_id=1).rejected is None
    assert exchange.place(TRADER, "PERP-1", BUY, 50, 100, position_id=2).rejected is None
    assert not [each for each in exchange.quote("PERP-1", 100).events if isinstance(each, LiquidationStarted)]


# One click.


def test_one_click_closes_all_at_the_market_and_takes_away_what_rested_to_close(exchange: Exchange) -> None:
    trade(exchange, -5, 100)
    exchange.place(TRADER, "PERP-1", BUY, 5, 90, reduce_only=True)
    offer(exchange, SELL, (98, 10))
    outcome = exchange.close(TRADER, "PERP-1")
    assert realized(outcome.events) == 10
    assert (position(exchange), resting(exchange)) == ((0, 0), [])
    assert cancelled(outcome.events) == [(5, CancelReason.MADE_WAY)]


def test_one_click_closes_a_part(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    offer(exchange, BUY, (99, 50))
    exchange.close(TRADER, "PERP-1", 4)
    assert position(exchange) == (6, 600)


def test_one_click_closes_no_more_than_there_is(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    offer(exchange, BUY, (99, 50))
    exchange.close(TRADER, "PERP-1", 40)
    assert (position(exchange), resting(exchange)) == ((0, 0), [])


def test_one_click_closes_a_position_that_is_larger_than_any_order_may_be(make_exchange: Make) -> None:
    exchange = make_exchange({"order_max": 6}, {"order_max": 6}, deposits={TRADER: "50000", MAKER: "50000"})
    for market in ("PERP-1", "PERP-2", "PERP-1", "PERP-2"):
        trade(exchange, 5, 100, market=market)
    for market in ("PERP-1", "PERP-2"):
        offer(exchange, BUY, (100, 5), (99, 5), market=market)
    assert exchange.close(TRADER, "PERP-1", price=99).rejected is R.SIZE_ABOVE_MAXIMUM
    assert exchange.close(TRADER, "PERP-1").rejected is None
    assert exchange.close_all(TRADER).rejected is None
    assert [position(exchange), position(exchange, market=2)] == [(0, 0), (0, 0)]


def test_one_click_closes_at_a_limit_and_waits_for_the_rest(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    exchange.place(TRADER, "PERP-1", BUY, 3, 90)
    exchange.place(TRADER, "PERP-1", SELL, 10, 120)
    offer(exchange, BUY, (101, 4))
    exchange.close(TRADER, "PERP-1", price=101)
    assert position(exchange) == (6, 600)
    assert resting(exchange) == [(1, 0, 3, 90), (1, 0, -6, 101)]


def test_a_close_is_never_starved_by_the_orders_of_its_own_account(make_exchange: Make) -> None:
    exchange = make_exchange({"orders_max": 3}, {}, deposits={TRADER: "1000", MAKER: "50000"})
    trade(exchange, 50, 100)
    for price in (103, 104, 105):
        assert exchange.place(TRADER, "PERP-1", SELL, 16, price).rejected is None
    assert exchange.place(TRADER, "PERP-1", SELL, 50, 99).rejected is R.TOO_MANY_ORDERS
    offer(exchange, BUY, (99, 50))
    outcome = exchange.close(TRADER, "PERP-1")
    assert cancelled(outcome.events) == [(16, CancelReason.MADE_WAY)] * 3
    assert (position(exchange), resting(exchange)) == ((0, 0), [])


def test_a_close_leaves_orders_of_other_positions_and_of_the_other_side(exchange: Exchange) -> None:
    trade(exchange, 10, 100, position_id=1)
    exchange.place(TRADER, "PERP-1", SELL, 10, 120, position_id=2)
    exchange.place(TRADER, "PERP-1", BUY, 10, 80, position_id=1)
    exchange.place(TRADER, "PERP-2", SELL, 10, 120, position_id=1)
    before = resting(exchange)
    offer(exchange, BUY, (100, 10))
    exchange.close(TRADER, "PERP-1", position_id=1)
    assert (position(exchange, 1), resting(exchange)) == ((0, 0), before)


def test_one_click_turns_a_position_with_one_order(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    offer(exchange, BUY, (105, 25))
    outcome = exchange.reverse(TRADER, "PERP-1")
    assert sum(isinstance(each, OrderAccepted) for each in outcome.events) == 1
    assert realized(outcome.events) == 50
    assert position(exchange) == (-10, -1_050)


def test_a_reverse_that_fills_in_part_leaves_what_it_reached_and_nothing_pending(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    offer(exchange, BUY, (105, 14))
    exchange.reverse(TRADER, "PERP-1")
    assert (position(exchange), resting(exchange)) == ((-4, -420), [])


def test_a_reverse_that_fills_less_than_the_position_is_a_smaller_position(exchange: Exchange) -> None:
    trade(exchange, -10, 100)
    offer(exchange, SELL, (95, 7), (97, 50))
    exchange.reverse(TRADER, "PERP-1", 96)
    assert (position(exchange), resting(exchange)) == ((-3, -300), [])


def test_a_reverse_that_cannot_be_paid_for_changes_nothing(
    make_exchange: Make, content: Callable[[Exchange], bytes]
) -> None:
    exchange = make_exchange({"market_slippage": "20%"}, {}, deposits={TRADER: "1000", MAKER: "50000"})
    trade(exchange, 90, 100)
    offer(exchange, BUY, (94, 200))
    before = content(exchange)
    assert exchange.reverse(TRADER, "PERP-1").rejected is R.INSUFFICIENT_MARGIN
    assert content(exchange) == before


def test_one_click_closes_every_position(exchange: Exchange) -> None:
    trade(exchange, 10, 100, position_id=1)
    trade(exchange, -5, 100, position_id=2)
    trade(exchange, 7, 100, market="PERP-2")
    for market in ("PERP-1", "PERP-2"):
        offer(exchange, BUY, (99, 20), market=market)
        offer(exchange, SELL, (101, 20), market=market)
    assert exchange.close_all(TRADER, "PERP-1").rejected is None
    assert [position(exchange, 1), position(exchange, 2), position(exchange, market=2)] == [(0, 0), (0, 0), (7, 700)]
    assert exchange.close_all(TRADER).rejected is None
    assert held(exchange, market=2) is None
    assert exchange.close_all(TRADER).rejected is R.NOTHING_TO_REDUCE


def test_a_position_that_cannot_be_closed_does_not_keep_the_others_open(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    trade(exchange, 7, 100, market="PERP-2")
    offer(exchange, BUY, (99, 20), market="PERP-2")
    exchange.apply(SetMarketState(market=1, state=MarketState.HALTED, time_ns=exchange.clock_ns))
    outcome = exchange.close_all(TRADER)
    refused = [(each.market, each.reason) for each in outcome.events if isinstance(each, OrderRefused)]
    assert refused == [(1, R.MARKET_STATE)]
    assert (position(exchange), position(exchange, market=2)) == ((10, 1_000), (0, 0))


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({}, []),
        ({"market": "PERP-1"}, [(2, 0, 4, 90), (2, 1, -5, 110)]),
        ({"side": BUY}, [(1, 0, -2, 110), (2, 1, -5, 110)]),
        ({"side": SELL, "market": "PERP-2"}, [(1, 0, 1, 90), (1, 1, 3, 90), (1, 0, -2, 110), (2, 0, 4, 90)]),
        ({"position_id": 0}, [(1, 1, 3, 90), (2, 1, -5, 110)]),
        ({"position_id": 1, "side": BUY}, [(1, 0, 1, 90), (1, 0, -2, 110), (2, 0, 4, 90), (2, 1, -5, 110)]),
    ],
)
def test_all_orders_are_cancelled_by_market_side_and_position(
    exchange: Exchange, asked: dict[str, Any], left: list[tuple[int, int, int, int]]
) -> None:
    offer(exchange, BUY, (80, 1))
    exchange.place(TRADER, "PERP-1", BUY, 1, 90)
    exchange.place(TRADER, "PERP-1", SELL, 2, 110)
    exchange.place(TRADER, "PERP-1", BUY, 3, 90, position_id=1)
    exchange.place(TRADER, "PERP-2", BUY, 4, 90)
    exchange.place(TRADER, "PERP-2", SELL, 5, 110, position_id=1)
    assert exchange.cancel_all(TRADER, **asked).rejected is None
    assert sorted(resting(exchange)) == sorted(left)
    assert resting(exchange, MAKER) == [(1, 77, 1, 80)]


# Margin and leverage of an open position.


def isolated(exchange: Exchange, leverage: int = 10) -> None:
    """The trader is long 10 at 100, with a margin of its own."""
    exchange.set_terms(TRADER, "PERP-1", isolated=True, leverage=leverage)
    trade(exchange, 10, 100)


def test_margin_that_is_added_moves_the_liquidation_price_away_and_comes_back_whole(exchange: Exchange) -> None:
    isolated(exchange)
    margin, cash = isolated_margin(TRADER, 1, 1, 0), wallet(TRADER, 1)
    prices = []
    for amount in (0, 150, -150):
        assert amount == 0 or exchange.adjust_margin(TRADER, "PERP-1", amount).rejected is None
        prices.append(exchange.clearing.thresholds(TRADER, 1, 0).liquidation_ticks)
        assert exchange.clearing.balance(margin) + exchange.clearing.balance(cash) == 50_000
    assert prices == [95, 79, 95]
    assert exchange.adjust_margin(TRADER, "PERP-1", -1).rejected is R.INSUFFICIENT_MARGIN


def test_margin_is_not_taken_where_a_small_move_would_then_liquidate(make_exchange: Make) -> None:
    exchange = make_exchange({"withdrawal_stress": "6%"}, deposits={TRADER: "50000", MAKER: "50000"})
    isolated(exchange)
    exchange.adjust_margin(TRADER, "PERP-1", 50)
    # At 94 the position has lost 60 and needs 47: 107 have to stay.
    assert exchange.adjust_margin(TRADER, "PERP-1", -44).rejected is R.MARGIN_UNDER_STRESS
    assert exchange.adjust_margin(TRADER, "PERP-1", -43).rejected is None
    outcome = exchange.quote("PERP-1", "94", time_ns=10)
    assert not any(isinstance(each, LiquidationStarted) for each in outcome.events)


def test_leverage_of_an_open_position_falls_as_far_as_its_margin_allows(exchange: Exchange) -> None:
    isolated(exchange)
    assert exchange.set_terms(TRADER, "PERP-1", isolated=True, leverage=5).rejected is R.INSUFFICIENT_MARGIN
    exchange.adjust_margin(TRADER, "PERP-1", 100)
    assert exchange.set_terms(TRADER, "PERP-1", isolated=True, leverage=5).rejected is None
    assert exchange.adjust_margin(TRADER, "PERP-1", -1).rejected is R.INSUFFICIENT_MARGIN
    assert exchange.set_terms(TRADER, "PERP-1", isolated=True, leverage=10).rejected is None
    assert exchange.adjust_margin(TRADER, "PERP-1", -1).rejected is None
    assert exchange.set_terms(TRADER, "PERP-1", isolated=False, leverage=10).rejected is R.TERMS_IN_USE


def test_leverage_of_an_open_cross_position_changes_what_the_pool_needs(exchange: Exchange) -> None:
    trade(exchange, 10, 100)
    assert exchange.clearing.need(TRADER, 1).initial_units == 100
    assert exchange.set_terms(TRADER, "PERP-1", leverage=4).rejected is None
    assert exchange.clearing.need(TRADER, 1).initial_units == 250


def test_profit_is_not_withdrawn_where_that_would_force_the_owners_own_liquidation(make_exchange: Make) -> None:
    exchange = make_exchange({"withdrawal_stress": "10%"}, deposits={TRADER: "1000", MAKER: "50000"})
    trade(exchange, 80, 100)
    exchange.quote("PERP-1", "120", time_ns=10)
    # Worth 2,600, of which 960 are the initial need; at 108 worth 1,640, of which 432 have to stay.
    assert exchange.withdraw(TRADER, "COIN", 1_641, withdrawal_id=1).rejected is R.INSUFFICIENT_MARGIN
    assert exchange.withdraw(TRADER, "COIN", 1_209, withdrawal_id=1).rejected is R.MARGIN_UNDER_STRESS
    assert exchange.withdraw(TRADER, "COIN", 1_208, withdrawal_id=1).rejected is None
    exchange.apply(ApproveWithdrawal(withdrawal_id=1, time_ns=10))
    starts = [
        any(isinstance(each, LiquidationStarted) for each in exchange.quote("PERP-1", price, time_ns=at_ns).events)
        for at_ns, price in ((20, "108"), (30, "107"))
    ]
    assert starts == [False, True]


# What an account may have in all.


def limited(make_exchange: Make, **most: str | int) -> Exchange:
    checks = [{"provider": name.replace("_", "-"), "options": {"most": each}} for name, each in most.items()]
    market = {"order_checks": checks, "market_slippage": "20%"}
    return make_exchange(market, deposits={TRADER: "50000", MAKER: "50000"})


def test_a_position_at_its_limit_may_be_closed_and_turned_and_not_grow(make_exchange: Make) -> None:
    exchange = limited(make_exchange, position_limit="10")
    trade(exchange, 10, 100, position_id=1)
    for position_id in (1, 2):
        assert exchange.place(TRADER, "PERP-1", BUY, 1, 90, position_id=position_id).rejected is R.ORDER_CHECK
    for maker in (11, 12):
        exchange.deposit(maker, "COIN", "50000")
        exchange.place(maker, "PERP-1", BUY, 10, 99)
    assert exchange.reverse(TRADER, "PERP-1", position_id=1).rejected is None
    assert position(exchange, 1) == (-10, -990)
    exchange.place(11, "PERP-1", SELL, 10, 99)
    assert exchange.close(TRADER, "PERP-1", position_id=1).rejected is None
    assert position(exchange, 1) == (0, 0)


def test_an_order_that_is_amended_counts_once_in_the_limits_of_its_account(make_exchange: Make) -> None:
    exchange = limited(make_exchange, position_limit="10", max_open_orders=1)
    order_id = exchange.place(TRADER, "PERP-1", BUY, 9, 90).sequence
    assert exchange.place(TRADER, "PERP-1", SELL, 1, 120).rejected is R.ORDER_CHECK
    assert exchange.amend(TRADER, "PERP-1", order_id, size=10, price=91).rejected is None
    assert exchange.amend(TRADER, "PERP-1", order_id, size=11).rejected is R.ORDER_CHECK
    assert resting(exchange) == [(1, 0, 10, 91)]


def test_no_order_brings_open_interest_above_the_cap_and_everybody_may_leave(make_exchange: Make) -> None:
    exchange = limited(make_exchange, open_interest_cap="10")
    trade(exchange, 9, 100)
    assert exchange.place(TRADER, "PERP-1", BUY, 2, 100).rejected is R.ORDER_CHECK
    assert exchange.place(MAKER, "PERP-1", BUY, 9, 100, position_id=77, reduce_only=True).rejected is None
    assert exchange.close(TRADER, "PERP-1").rejected is None
    assert exchange.clearing.totals(1).open_interest_lots == 0


# How orders come in.


def test_orders_come_at_a_rate_in_log_time_and_cancels_always(make_exchange: Make) -> None:
    limits = {"orders_per_second": 2, "orders_burst": 3}
    exchange = make_exchange({}, limits=limits, deposits={TRADER: "50000", MAKER: "50000"})

    def place(at_ns: int) -> RejectReason | None:
        return exchange.place(TRADER, "PERP-1", BUY, 1, 90, time_ns=at_ns).rejected

    half = SECOND_NS // 2
    assert [place(half) for _ in range(5)] == [None, None, None, R.RATE_LIMITED, R.RATE_LIMITED]
    assert exchange.amend(TRADER, "PERP-1", exchange.sequence - 4, price=91).rejected is R.RATE_LIMITED
    assert exchange.cancel(TRADER, "PERP-1", exchange.sequence - 4).rejected is None
    assert exchange.cancel_all(TRADER).rejected is None
    assert exchange.place(MAKER, "PERP-1", BUY, 1, 90).rejected is None
    assert [place(2 * half - 1), place(2 * half), place(2 * half)] == [R.RATE_LIMITED, None, R.RATE_LIMITED]
    assert [place(10 * half) for _ in range(4)] == [None, None, None, R.RATE_LIMITED]


def test_a_capped_purchase_spends_no_more_than_its_cap(exchange: Exchange) -> None:
    offer(exchange, SELL, (100, 10), (101, 10))
    for too_little in (99, 1_505):
        assert exchange.place(TRADER, "PERP-1", BUY, 16, 110, time_in_force=FOK, value_limit=too_little).rejected is (
            R.COST_CAP
        )
    outcome = exchange.place(TRADER, "PERP-1", BUY, 20, 110, time_in_force=IOC, value_limit=1_604)
    assert position(exchange) == (15, 1_505)
    assert cancelled(outcome.events) == [(5, CancelReason.COST_CAP)]
    assert exchange.place(TRADER, "PERP-1", BUY, 5, 110, time_in_force=FOK, value_limit=505).rejected is None
    assert position(exchange) == (20, 2_010)


def test_a_capped_purchase_of_an_inverse_contract_buys_the_more_the_dearer_the_coin(make_exchange: Make) -> None:
    inverse = {"kind": "inverse", "multiplier": "10000", "market_slippage": "50%"}
    exchange = make_exchange(inverse, deposits={TRADER: "50000", MAKER: "50000"})
    offer(exchange, SELL, (100, 10), (125, 10))
    # A lot is worth 10,000 / price: 100 at 100, 80 at 125.
    outcome = exchange.place(TRADER, "PERP-1", BUY, 20, 125, time_in_force=IOC, value_limit=1_479)
    assert position(exchange) == (15, -1_400)
    assert cancelled(outcome.events) == [(5, CancelReason.COST_CAP)]
    assert exchange.place(TRADER, "PERP-1", BUY, 5, 125, time_in_force=FOK, value_limit=399).rejected is R.COST_CAP
    assert exchange.place(TRADER, "PERP-1", BUY, 5, 125, time_in_force=FOK, value_limit=400).rejected is None


def test_a_sale_that_must_bring_so_much_is_done_whole_or_not_at_all(exchange: Exchange) -> None:
    offer(exchange, BUY, (100, 10), (99, 10))
    for wanted, refused in ((1_496, R.COST_CAP), (1_495, None)):
        outcome = exchange.place(TRADER, "PERP-1", SELL, 15, 90, time_in_force=FOK, value_limit=wanted)
        assert outcome.rejected is refused
    assert position(exchange) == (-15, -1_495)


def test_market_to_limit_takes_the_best_price_and_rests_there_with_what_is_left(exchange: Exchange) -> None:
    offer(exchange, SELL, (100, 4), (102, 5))
    outcome = exchange.place(TRADER, "PERP-1", BUY, 10, market_to_limit=True)
    assert [(each.price_ticks, each.size_lots) for each in outcome.fills if not each.maker] == [(100, 4)]
    assert resting(exchange) == [(1, 0, 6, 100)]


def test_a_post_only_order_that_may_slide_stands_just_behind_whom_it_would_have_met(exchange: Exchange) -> None:
    offer(exchange, SELL, (101, 5))
    offer(exchange, BUY, (97, 5))
    assert exchange.place(TRADER, "PERP-1", BUY, 5, 103, post_only=True).rejected is R.WOULD_CROSS
    outcome = exchange.place(TRADER, "PERP-1", BUY, 5, 103, post_only=True, slide=True)
    assert [each.price_ticks for each in outcome.events if isinstance(each, OrderRested)] == [100]
    exchange.cancel_all(TRADER)
    exchange.place(TRADER, "PERP-1", SELL, 5, 90, post_only=True, slide=True)
    exchange.place(TRADER, "PERP-1", BUY, 5, 96, post_only=True, slide=True)
    assert resting(exchange) == [(1, 0, 5, 96), (1, 0, -5, 98)]


def test_a_market_order_never_trades_past_the_bankruptcy_price_of_its_account(exchange: Exchange) -> None:
    isolated(exchange)
    assert exchange.clearing.thresholds(TRADER, 1, 0).bankruptcy_ticks == 90
    offer(exchange, BUY, (90, 4), (89, 50))
    for sale in (
        lambda: exchange.place(TRADER, "PERP-1", SELL, 10),
        lambda: exchange.close(TRADER, "PERP-1"),
    ):
        outcome = sale()
        assert all(fill.price_ticks >= 90 for fill in outcome.fills)
        assert position(exchange) == (6, 600)


def test_a_market_order_that_opens_is_refused_where_its_worst_price_could_not_be_paid_for(
    make_exchange: Make,
) -> None:
    exchange = make_exchange({"market_slippage": "20%"}, deposits={TRADER: "100", MAKER: "50000"})
    offer(exchange, SELL, (119, 10))
    # Three lots at 119 need 36 of margin, and lose 57 against the mark; a fourth would bring that to 124.
    assert exchange.place(TRADER, "PERP-1", BUY, 4).rejected is R.INSUFFICIENT_MARGIN
    assert exchange.place(TRADER, "PERP-1", BUY, 3).rejected is None
