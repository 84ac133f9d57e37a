"""Orders that wait for a price, as a trader would tell it: what fires, when, in which order, and what never does."""

import pytest

from perpkit import Exchange, MarketState, RejectReason, Side
from perpkit.model.cause import CancelReason
from perpkit.model.command import CancelAllAfter, IndexQuotes, SetMarketState
from perpkit.model.event import (
    LiquidationEnded,
    LiquidationStarted,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderRefused,
    OrderTriggered,
    OrderWaits,
    Rejected,
    SwitchSet,
)
from perpkit.model.order import TimeInForce
from perpkit.model.position import PositionMode
from perpkit.model.price import Quote
from perpkit.model.trigger import PriceSource, Trigger, TriggerKind
from perpkit.units import HOUR_NS, SECOND_NS

BUY, SELL = Side.BUY, Side.SELL
LAST, INDEX = PriceSource.LAST, PriceSource.INDEX
RICH = {1: "100000", 2: "100000", 3: "100000", 9: "500000"}
PERP = "PERP-1"


def stop(price: int = 0, **more) -> Trigger:
    return Trigger(price_ticks=price, **more)


def take_profit(price: int, **more) -> Trigger:
    return Trigger(kind=TriggerKind.TAKE_PROFIT, price_ticks=price, **more)


def told(outcome, kind):
    return [event for event in outcome.events if isinstance(event, kind)]


def fired(outcome) -> list[int]:
    return [event.order_id for event in told(outcome, OrderTriggered)]


def gone(outcome) -> list[tuple[int, CancelReason]]:
    return [(e.order_id, e.reason) for e in told(outcome, OrderCancelled) if e.left_lots == 0]


def size_of(exchange: Exchange, account: int, position_id: int = 0) -> int:
    exposures = exchange.clearing.pool(account, 1).exposures
    return sum(e.size_lots for e in exposures if (e.market, e.position_id) == (1, position_id))


def move(exchange: Exchange, price: int | str):
    return exchange.quote(PERP, str(price), time_ns=exchange.clock_ns + 1)


def quote_both(exchange: Exchange, price: int):
    at_ns = exchange.clock_ns + 1
    pairs = [(market, source) for market in (2, 1) for source in range(1, 6)]
    quotes = [Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=at_ns) for market, source in pairs]
    return exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=at_ns))


def trade(exchange: Exchange, price: int, size: int = 1, *, seller: int = 9, buyer: int = 3):
    exchange.place(seller, PERP, SELL, size, price)
    return exchange.place(buyer, PERP, BUY, size, price)


def freeze(exchange: Exchange) -> None:
    exchange.apply(IndexQuotes(time_ns=exchange.clock_ns + 1000 * SECOND_NS))


def reopened(exchange: Exchange, make_tables, **more) -> Exchange:
    """Return another exchange with the same state."""
    other = Exchange.of(make_tables(**more))
    other.load(exchange.dump())
    return other


@pytest.fixture
def exchange(make_exchange) -> Exchange:
    """Account 9 shows 50 to buy at 80 to 99 and 50 to sell at 101 to 120; the mark is 100."""
    made = make_exchange(deposits=RICH)
    for distance in (1, 5, 10, 20):
        made.place(9, PERP, BUY, 50, 100 - distance)
        made.place(9, PERP, SELL, 50, 100 + distance)
    return made


# Waiting.


def test_a_waiting_stop_reserves_nothing_and_tells_where_it_fires(exchange):
    before = exchange.clearing.pool(1, 1)
    placed = exchange.place(1, PERP, BUY, 10, trigger=stop(105), client_order_id=7)
    waits = told(placed, OrderWaits)[0]
    assert (waits.order_id, waits.trigger_ticks, waits.size_lots, waits.client_order_id) == (
        placed.sequence,
        105,
        10,
        7,
    )
    assert exchange.clearing.pool(1, 1) == before
    assert exchange.clearing.order(1, 1, placed.sequence, 0) is None


@pytest.mark.parametrize(
    ("side", "trigger", "crossing", "short_of"),
    [
        (BUY, stop(105), 105, 104),
        (SELL, stop(95), 95, 96),
        (BUY, take_profit(95), 94, 96),
        (SELL, take_profit(105), 106, 104),
    ],
)
def test_it_fires_at_or_beyond_its_price_and_not_before(exchange, side, trigger, crossing, short_of):
    placed = exchange.place(1, PERP, side, 10, 100 + side, trigger=trigger)
    assert fired(move(exchange, short_of)) == []
    outcome = move(exchange, crossing)
    assert fired(outcome) == [placed.sequence]
    assert told(outcome, OrderTriggered)[0].price_ticks == crossing
    assert size_of(exchange, 1) == side * 10


def test_a_stop_limit_rests_under_the_id_it_waited_with(exchange):
    placed = exchange.place(1, PERP, BUY, 10, 100, trigger=stop(105), client_order_id=7)
    outcome = move(exchange, 105)
    assert told(outcome, OrderAccepted)[0].order_id == placed.sequence
    assert exchange.clearing.order(1, 1, placed.sequence, 0).price_ticks == 100
    assert exchange.cancel(1, PERP, client_order_id=7).rejected is None


def test_an_opening_stop_that_cannot_be_afforded_is_refused_when_it_fires_and_is_gone(exchange):
    exchange.deposit(4, "COIN", "10")
    placed = exchange.place(4, PERP, BUY, 100, trigger=stop(105))
    outcome = move(exchange, 105)
    assert [(e.order_id, e.reason) for e in told(outcome, OrderRefused)] == [
        (placed.sequence, RejectReason.INSUFFICIENT_MARGIN)
    ]
    assert not told(outcome, Rejected)
    assert exchange.cancel(4, PERP, placed.sequence).rejected is RejectReason.UNKNOWN_ORDER


@pytest.mark.parametrize(
    ("side", "trigger"),
    [(BUY, stop(100)), (BUY, stop(99)), (SELL, stop(100)), (SELL, stop(101)), (BUY, take_profit(100))],
)
def test_a_trigger_on_the_wrong_side_of_the_price_is_refused_and_changes_nothing(exchange, content, side, trigger):
    before = content(exchange)
    assert exchange.place(1, PERP, side, 10, trigger=trigger).rejected is RejectReason.TRIGGER_CROSSED
    assert content(exchange) == before


def test_refusals_of_waiting_orders_come_in_the_order_of_the_table(make_exchange):
    exchange = make_exchange({"orders_max": 2}, deposits=RICH, price=None)

    def refused(size=1, price=None, trigger=None):
        return exchange.place(1, PERP, SELL, size, price, trigger=trigger or stop(100, price_source=LAST)).rejected

    assert refused() is RejectReason.NO_MARK
    move(exchange, 100)
    assert refused() is RejectReason.NO_REFERENCE_PRICE
    trade(exchange, 100)
    assert refused() is RejectReason.TRIGGER_CROSSED
    for _ in range(2):
        assert refused(trigger=stop(90)) is None
    assert refused(trigger=stop(90)) is RejectReason.TOO_MANY_ORDERS
    assert refused(trigger=stop(100, trail_ticks=1)) is RejectReason.FLAGS_CONFLICT
    assert refused(price=20_000) is RejectReason.PRICE_OUT_OF_BOUNDS
    assert refused(trigger=stop(20_000)) is RejectReason.PRICE_OUT_OF_BOUNDS
    assert refused(size=2_000) is RejectReason.SIZE_ABOVE_MAXIMUM
    assert refused(size=0) is RejectReason.SIZE_NOT_POSITIVE
    exchange.apply(SetMarketState(market=1, state=MarketState.CANCEL_ONLY, time_ns=exchange.clock_ns))
    assert refused(size=0) is RejectReason.MARKET_STATE


def test_triggers_fire_in_the_order_in_which_the_move_passes_them_then_by_acceptance(exchange):
    falling = [exchange.place(1, PERP, SELL, 1, trigger=stop(at)).sequence for at in (90, 94, 92, 94)]
    rising = [exchange.place(2, PERP, BUY, 1, trigger=stop(at)).sequence for at in (110, 106, 108, 106)]
    assert fired(move(exchange, 90)) == [falling[1], falling[3], falling[2], falling[0]]
    assert fired(move(exchange, 110)) == [rising[1], rising[3], rising[2], rising[0]]


def test_markets_fire_in_order_of_their_ids(make_exchange):
    exchange = make_exchange({}, {}, deposits=RICH)
    second = exchange.place(1, "PERP-2", SELL, 1, 50, trigger=stop(90)).sequence
    first = exchange.place(1, "PERP-1", SELL, 1, 50, trigger=stop(90)).sequence
    outcome = quote_both(exchange, 90)
    assert fired(outcome) == [first, second]


# Which price.


def test_a_stop_on_the_last_price_looks_at_trades_of_the_own_book_only(exchange):
    trade(exchange, 100)
    placed = exchange.place(1, PERP, SELL, 1, trigger=stop(97, price_source=LAST))
    assert fired(move(exchange, 96)) == []
    assert fired(exchange.place(2, PERP, SELL, 60)) == [placed.sequence]


def test_a_stop_on_the_index_looks_at_the_index(exchange):
    placed = exchange.place(1, PERP, SELL, 1, trigger=stop(97, price_source=INDEX))
    assert fired(move(exchange, 97)) == [placed.sequence]


@pytest.mark.parametrize(
    ("side", "at", "last", "fires"),
    [
        # price_protection-005, -006, -008 and its mirror image: a stop on the last price, guarded at 5 % of the mark.
        (SELL, 9800, 9790, True),
        (SELL, 9800, 9400, False),
        (BUY, 10200, 10210, True),
        (BUY, 10200, 10600, False),
        # The edge itself counts.
        (SELL, 9800, 9500, True),
        (SELL, 9800, 9499, False),
        (BUY, 10200, 10500, True),
        (BUY, 10200, 10501, False),
    ],
)
def test_a_last_price_far_from_the_mark_fires_nothing(make_exchange, side, at, last, fires):
    brackets = [{"up_to": "1000000000", "initial": "10%", "maintenance": "5%"}]
    market = {"price_max": "20000", "brackets": brackets, "order_checks": []}
    rich = dict.fromkeys(RICH, "50000000")
    exchange = make_exchange(market, deposits=rich, price="10000", deposits_max="1000000000")
    trade(exchange, 10_000)
    placed = exchange.place(1, PERP, side, 1, at, trigger=stop(at, price_source=LAST))
    assert fired(trade(exchange, last)) == ([placed.sequence] if fires else [])


def test_a_stop_that_the_band_held_back_fires_once_the_mark_has_followed(exchange):
    trade(exchange, 100)
    placed = exchange.place(1, PERP, SELL, 1, trigger=stop(97, price_source=LAST))
    assert fired(exchange.place(2, PERP, SELL, 110, 90)) == []  # the last trade is at 90
    assert fired(move(exchange, 94)) == [placed.sequence]


# Trailing stops.


def test_a_trailing_sell_follows_the_best_price_and_never_goes_back(exchange):
    placed = exchange.place(1, PERP, SELL, 1, trigger=stop(trail_ticks=5))
    assert told(placed, OrderWaits)[0].trigger_ticks == 95
    moved = [[e.price_ticks for e in told(move(exchange, at), OrderAmended)] for at in (103, 101, 104)]
    assert moved == [[98], [], [99]]
    assert fired(move(exchange, 100)) == []
    assert fired(move(exchange, 99)) == [placed.sequence]


def test_a_trailing_buy_follows_the_price_down(exchange):
    placed = exchange.place(1, PERP, BUY, 1, trigger=stop(trail_ticks=5))
    move(exchange, 92)
    assert fired(move(exchange, 96)) == []
    assert fired(move(exchange, 97)) == [placed.sequence]


@pytest.mark.parametrize(("side", "first", "best", "then"), [(SELL, 96, 111, 107), (BUY, 104, 87, 90)])
def test_a_trailing_rate_is_of_the_best_price_and_rounds_away_from_it(exchange, side, first, best, then):
    # 3.3 %: 96.7 down, 103.3 up; 111 less 3.663 is 107.337, 87 and 2.871 is 89.871.
    placed = exchange.place(1, PERP, side, 1, trigger=stop(trail_ppb=33_000_000))
    assert told(placed, OrderWaits)[0].trigger_ticks == first
    assert [e.price_ticks for e in told(move(exchange, best), OrderAmended)] == [then]


def test_a_trailing_stop_does_not_follow_a_last_price_that_the_band_keeps_out(exchange):
    trade(exchange, 100)
    exchange.place(1, PERP, SELL, 1, trigger=stop(trail_ticks=5, price_source=LAST))
    assert not told(exchange.place(2, PERP, BUY, 110, 110), OrderAmended)


# What may not fire.


def test_nothing_fires_while_the_mark_is_frozen_and_what_then_still_holds_does_later(exchange):
    trade(exchange, 100)
    on_last = exchange.place(1, PERP, SELL, 1, trigger=stop(99, price_source=LAST))
    exchange.place(1, PERP, SELL, 1, trigger=stop(95))
    freeze(exchange)
    assert fired(exchange.place(2, PERP, SELL, 1)) == []
    assert fired(move(exchange, 99)) == [on_last.sequence]


def test_nothing_fires_in_a_halted_market_and_after_it_the_price_of_that_moment_decides(exchange):
    passed = exchange.place(1, PERP, SELL, 1, trigger=stop(95))
    still = exchange.place(1, PERP, SELL, 1, trigger=stop(98))
    exchange.apply(SetMarketState(market=1, state=MarketState.HALTED, time_ns=exchange.clock_ns))
    assert fired(move(exchange, 90)) == []
    assert fired(move(exchange, 97)) == []
    opened = exchange.apply(SetMarketState(market=1, state=MarketState.OPEN, time_ns=exchange.clock_ns))
    assert fired(opened) == [still.sequence]
    assert exchange.cancel(1, PERP, passed.sequence).rejected is None


@pytest.mark.parametrize("state", [MarketState.POST_ONLY, MarketState.CANCEL_ONLY])
def test_nothing_fires_in_a_market_that_does_not_trade_freely(exchange, state):
    exchange.place(1, PERP, SELL, 1, trigger=stop(95))
    exchange.apply(SetMarketState(market=1, state=state, time_ns=exchange.clock_ns))
    assert fired(move(exchange, 90)) == []


def test_the_stops_of_a_pool_in_breach_do_not_fire_and_liquidation_closes_it_instead(make_exchange):
    exchange = make_exchange(deposits={4: "1000", 9: "500000"})
    exchange.place(9, PERP, SELL, 100, 100)
    exchange.place(4, PERP, BUY, 100, 100)
    exchange.place(9, PERP, BUY, 500, 93)
    stopped = exchange.place(4, PERP, SELL, 0, trigger=stop(95), close=True)
    outcome = move(exchange, 93)
    assert told(outcome, LiquidationStarted)
    assert fired(outcome) == []
    assert (stopped.sequence, CancelReason.NO_POSITION) in gone(outcome)
    assert exchange.audit()[1] == []


def test_the_stop_of_a_pool_that_liquidation_cured_is_looked_at_again_at_once(make_exchange):
    exchange = make_exchange(deposits={4: "2000", 9: "500000"})
    exchange.place(9, PERP, SELL, 150, 100)
    exchange.place(4, PERP, BUY, 150, 100)
    exchange.place(9, PERP, BUY, 500, 92)
    stopped = exchange.place(4, PERP, SELL, 0, 90, trigger=stop(95), close=True)
    outcome = move(exchange, 92)
    seen = [type(e) for e in outcome.events if isinstance(e, LiquidationStarted | LiquidationEnded | OrderTriggered)]
    assert seen == [LiquidationStarted, LiquidationEnded, OrderTriggered]
    assert fired(outcome) == [stopped.sequence]
    assert size_of(exchange, 4) == 0
    assert exchange.audit()[1] == []


# Changing and cancelling.


def test_a_waiting_order_can_be_changed_and_keeps_its_rank(exchange):
    first = exchange.place(1, PERP, SELL, 1, trigger=stop(92)).sequence
    second = exchange.place(1, PERP, SELL, 1, trigger=stop(95)).sequence
    amended = told(exchange.amend(1, PERP, first, size=3, trigger=95), OrderAmended)[0]
    assert (amended.size_lots, amended.price_ticks, amended.kept_place) == (3, 95, True)
    assert fired(move(exchange, 95)) == [first, second]
    assert size_of(exchange, 1) == -4


def test_a_change_that_cannot_be_is_refused_and_changes_nothing(exchange, content):
    fixed = exchange.place(1, PERP, SELL, 1, trigger=stop(92)).sequence
    trailing = exchange.place(1, PERP, SELL, 1, trigger=stop(trail_ticks=5)).sequence
    before = content(exchange)
    assert exchange.amend(1, PERP, fixed, trigger=100).rejected is RejectReason.TRIGGER_CROSSED
    assert exchange.amend(1, PERP, fixed, trigger=20_000).rejected is RejectReason.PRICE_OUT_OF_BOUNDS
    assert exchange.amend(1, PERP, fixed, size=2_000).rejected is RejectReason.SIZE_ABOVE_MAXIMUM
    assert exchange.amend(1, PERP, trailing, trigger=90).rejected is RejectReason.FLAGS_CONFLICT
    assert exchange.amend(2, PERP, fixed, size=2).rejected is RejectReason.UNKNOWN_ORDER
    assert content(exchange) == before


def test_a_waiting_order_is_cancelled_by_either_id(exchange):
    by_id = exchange.place(1, PERP, SELL, 1, trigger=stop(95))
    by_client = exchange.place(1, PERP, SELL, 1, trigger=stop(95), client_order_id=5)
    assert gone(exchange.cancel(1, PERP, by_id.sequence)) == [(by_id.sequence, CancelReason.REQUESTED)]
    assert gone(exchange.cancel(1, PERP, client_order_id=5)) == [(by_client.sequence, CancelReason.REQUESTED)]
    assert fired(move(exchange, 90)) == []


def test_cancelling_all_takes_waiting_orders_of_the_chosen_side_and_position(exchange):
    sell = exchange.place(1, PERP, SELL, 1, trigger=stop(95)).sequence
    other = exchange.place(1, PERP, SELL, 1, trigger=stop(95), position_id=4).sequence
    buy = exchange.place(1, PERP, BUY, 1, trigger=stop(105)).sequence
    assert [each for each, _ in gone(exchange.cancel_all(1, side=SELL, position_id=0))] == [sell]
    assert [each for each, _ in gone(exchange.cancel_all(1))] == [buy, other]


def test_the_position_mode_cannot_change_while_an_order_waits(exchange):
    exchange.place(1, PERP, SELL, 1, trigger=stop(95))
    assert exchange.set_mode(1, PERP, PositionMode.HEDGE).rejected is RejectReason.TERMS_IN_USE
    exchange.cancel_all(1)
    assert exchange.set_mode(1, PERP, PositionMode.HEDGE).rejected is None


def test_a_market_that_settles_takes_its_waiting_orders_with_it(make_exchange):
    """Account 2 wins in one market and loses as much in the other: nobody can bear the loss of account 1."""
    exchange = make_exchange({}, {}, deposits={1: "2000", 2: "2000", 3: "20000"})
    for market, seller, buyer in (("PERP-1", 2, 1), ("PERP-2", 3, 2)):
        exchange.place(seller, market, SELL, 100, 100)
        exchange.place(buyer, market, BUY, 100, 100)
    waits = exchange.place(3, "PERP-1", BUY, 1, trigger=stop(500)).sequence
    elsewhere = exchange.place(3, "PERP-2", BUY, 1, trigger=stop(500)).sequence
    outcome = quote_both(exchange, 50)
    assert exchange.market_states == {1: MarketState.SETTLED, 2: MarketState.OPEN}
    assert (waits, CancelReason.SETTLEMENT) in gone(outcome)
    assert exchange.cancel(3, "PERP-2", elsewhere).rejected is None
    assert exchange.audit()[1] == []


# The whole position.


def test_a_stop_of_the_whole_position_closes_whatever_it_has_become(exchange):
    exchange.place(1, PERP, BUY, 10)
    placed = exchange.place(1, PERP, SELL, 0, trigger=stop(95), close=True)
    exchange.place(1, PERP, BUY, 20)
    assert fired(move(exchange, 95)) == [placed.sequence]
    assert size_of(exchange, 1) == 0


def test_a_stop_of_the_whole_position_closes_one_that_is_larger_than_any_order_may_be(make_exchange):
    exchange = make_exchange({"order_max": 12}, deposits=RICH)
    move(exchange, 100)
    exchange.place(9, PERP, BUY, 12, 94, position_id=1)
    exchange.place(9, PERP, BUY, 12, 94, position_id=2)
    for _ in range(2):
        exchange.place(9, PERP, SELL, 10, 100)
        exchange.place(1, PERP, BUY, 10, 100)
    placed = exchange.place(1, PERP, SELL, 0, trigger=stop(95), close=True)
    assert fired(move(exchange, 95)) == [placed.sequence]
    assert size_of(exchange, 1) == 0


def test_a_stop_of_the_whole_position_goes_when_the_position_is_gone(exchange):
    exchange.place(1, PERP, BUY, 10)
    placed = exchange.place(1, PERP, SELL, 0, trigger=stop(95), close=True)
    assert gone(exchange.place(1, PERP, SELL, 4, trigger=None)) == []
    assert (placed.sequence, CancelReason.NO_POSITION) in gone(exchange.close(1, PERP))


def test_a_stop_of_the_whole_position_goes_when_the_position_changes_sides(exchange):
    exchange.place(1, PERP, BUY, 10)
    placed = exchange.place(1, PERP, SELL, 0, trigger=take_profit(110), close=True)
    other = exchange.place(1, PERP, BUY, 5, position_id=3)
    assert gone(other) == []
    assert (placed.sequence, CancelReason.NO_POSITION) in gone(exchange.reverse(1, PERP))


def test_a_stop_of_the_whole_position_needs_a_position_that_it_would_close(exchange):
    assert exchange.place(1, PERP, SELL, 0, trigger=stop(95), close=True).rejected is RejectReason.NOTHING_TO_REDUCE
    exchange.place(1, PERP, BUY, 10)
    assert exchange.place(1, PERP, BUY, 0, trigger=stop(105), close=True).rejected is RejectReason.NOTHING_TO_REDUCE


def test_a_close_on_trigger_makes_its_way_by_cancelling_what_stands_on_its_side(exchange):
    exchange.place(1, PERP, BUY, 10)
    resting = exchange.place(1, PERP, SELL, 10, 115)
    exchange.place(1, PERP, SELL, 0, trigger=stop(95), close=True)
    assert (resting.sequence, CancelReason.MADE_WAY) in gone(move(exchange, 95))
    assert size_of(exchange, 1) == 0


# Ends.


def test_an_order_good_till_a_date_ends_then_in_the_book_and_waiting(exchange):
    end_ns = exchange.clock_ns + 100
    flags = {"time_in_force": TimeInForce.GTD, "expires_ns": end_ns}
    live = exchange.place(1, PERP, BUY, 1, 50, **flags).sequence
    waits = exchange.place(1, PERP, SELL, 1, trigger=stop(95), **flags).sequence
    assert exchange.due_ns == end_ns
    assert gone(exchange.deposit(1, "COIN", "1", time_ns=end_ns - 1)) == []
    ended = exchange.deposit(1, "COIN", "1", time_ns=end_ns)
    assert gone(ended) == [(live, CancelReason.EXPIRED), (waits, CancelReason.EXPIRED)]
    assert exchange.due_ns is None


def test_a_day_order_ends_at_the_next_midnight_utc(exchange):
    day_ns = 24 * HOUR_NS
    order = exchange.place(1, PERP, BUY, 1, 50, time_in_force=TimeInForce.DAY, time_ns=5 * day_ns + 7)
    assert exchange.due_ns == 6 * day_ns
    assert gone(exchange.cancel_all_after(2, 0, time_ns=6 * day_ns - 1)) == []
    assert gone(exchange.cancel_all_after(2, 0, time_ns=6 * day_ns)) == [(order.sequence, CancelReason.EXPIRED)]


def test_an_order_does_not_trade_with_what_comes_at_its_end(exchange):
    end_ns = exchange.clock_ns + 100
    exchange.place(1, PERP, BUY, 1, 100, time_in_force=TimeInForce.GTD, expires_ns=end_ns)
    exchange.place(2, PERP, SELL, 1, 100, time_ns=end_ns)
    assert size_of(exchange, 1) == size_of(exchange, 2) == 0


def test_an_order_ends_before_a_command_that_is_refused_but_not_before_one_of_an_unknown_account(exchange):
    end_ns = exchange.clock_ns + 100
    order = exchange.place(1, PERP, BUY, 1, 50, time_in_force=TimeInForce.GTD, expires_ns=end_ns)
    assert gone(exchange.place(77, PERP, BUY, 1, 50, time_ns=end_ns)) == []
    refused = exchange.place(2, PERP, BUY, 2_000, 50, time_ns=end_ns)
    assert refused.rejected is RejectReason.SIZE_ABOVE_MAXIMUM
    assert gone(refused) == [(order.sequence, CancelReason.EXPIRED)]
    assert exchange.clock_ns == end_ns


def test_a_stop_that_fired_keeps_its_end_and_so_does_an_amended_order(exchange):
    end_ns = exchange.clock_ns + 100
    flags = {"time_in_force": TimeInForce.GTD, "expires_ns": end_ns}
    stopped = exchange.place(1, PERP, BUY, 1, 90, trigger=stop(105), **flags).sequence
    amended = exchange.place(1, PERP, BUY, 1, 50, **flags).sequence
    move(exchange, 105)
    exchange.amend(1, PERP, amended, price=51)
    ended = exchange.cancel_all_after(2, 0, time_ns=end_ns)
    assert gone(ended) == [(stopped, CancelReason.EXPIRED), (amended, CancelReason.EXPIRED)]


def test_orders_that_are_gone_leave_nothing_behind(exchange):
    flags = {"time_in_force": TimeInForce.DAY}
    for price in (100, 101):
        exchange.place(1, PERP, BUY, 1, price, **flags)
    exchange.place(1, PERP, BUY, 1, trigger=stop(105), **flags)
    exchange.place(1, PERP, BUY, 1, pegged=True)
    exchange.cancel_all(1)
    desk = exchange._core.desk
    assert not desk
    assert exchange.due_ns is None
    assert [desk.lines, desk.held, desk.pegs, desk.trailing, desk.ends.at_ns] == [{}] * 5


# The dead man's switch.


def test_the_switch_cancels_everything_everywhere_when_it_is_not_renewed(make_exchange):
    exchange = make_exchange({}, {}, deposits=RICH)
    live = exchange.place(1, "PERP-1", BUY, 1, 50).sequence
    waits = exchange.place(1, "PERP-2", SELL, 1, trigger=stop(95)).sequence
    others = exchange.place(2, "PERP-1", BUY, 1, 50).sequence
    start_ns = exchange.clock_ns
    armed = exchange.cancel_all_after(1, 100)
    assert told(armed, SwitchSet) == [SwitchSet(account=1, at_ns=start_ns + 100)]
    exchange.cancel_all_after(1, 100, time_ns=start_ns + 50)
    assert exchange.due_ns == start_ns + 150
    assert gone(exchange.deposit(2, "COIN", "1", time_ns=start_ns + 149)) == []
    went = exchange.deposit(2, "COIN", "1", time_ns=start_ns + 150)
    assert gone(went) == [(live, CancelReason.SWITCH), (waits, CancelReason.SWITCH)]
    assert told(went, SwitchSet) == [SwitchSet(account=1, at_ns=0)]
    assert exchange.clearing.order(1, 2, others, 0) is not None
    assert exchange.due_ns is None


def test_a_switch_and_the_ends_of_its_orders_come_in_the_order_of_their_times(exchange):
    start_ns = exchange.clock_ns

    def placed(after_ns: int) -> int:
        flags = {"time_in_force": TimeInForce.GTD, "expires_ns": start_ns + after_ns}
        return exchange.place(1, PERP, SELL, 1, trigger=stop(95), **flags).sequence

    before, at_once, later = placed(5), placed(10), placed(15)
    live = exchange.place(1, PERP, BUY, 1, 50, time_in_force=TimeInForce.GTD, expires_ns=start_ns + 20).sequence
    exchange.cancel_all_after(1, 10)
    assert gone(exchange.deposit(2, "COIN", "1", time_ns=start_ns + 30)) == [
        (before, CancelReason.EXPIRED),
        (at_once, CancelReason.EXPIRED),
        (later, CancelReason.SWITCH),
        (live, CancelReason.SWITCH),
    ]
    assert exchange.due_ns is None


def test_a_switch_that_is_disarmed_does_nothing(exchange):
    order = exchange.place(1, PERP, BUY, 1, 50)
    exchange.cancel_all_after(1, 100)
    assert told(exchange.cancel_all_after(1, 0), SwitchSet)[0].at_ns == 0
    assert gone(exchange.deposit(2, "COIN", "1", time_ns=exchange.clock_ns + 1_000)) == []
    assert exchange.clearing.order(1, 1, order.sequence, 0) is not None


def test_a_switch_cannot_be_set_into_the_past(exchange):
    refused = exchange.apply(CancelAllAfter(account=1, after_ns=-1, time_ns=exchange.clock_ns))
    assert refused.rejected is RejectReason.FLAGS_CONFLICT


# Pegged orders.


def at(exchange: Exchange, account: int, order_id: int) -> int:
    return exchange.clearing.order(1, account, order_id, 0).price_ticks


def test_a_pegged_order_follows_the_best_price_of_its_side_at_its_distance(exchange):
    pegged = exchange.place(1, PERP, BUY, 1, pegged=True, peg_offset="2").sequence
    assert at(exchange, 1, pegged) == 97
    better = exchange.place(2, PERP, BUY, 1, 100).sequence
    assert at(exchange, 1, pegged) == 98
    exchange.cancel(2, PERP, better)
    assert at(exchange, 1, pegged) == 97


def test_a_pegged_order_never_goes_beyond_its_own_limit(exchange):
    pegged = exchange.place(1, PERP, SELL, 1, 103, pegged=True).sequence
    assert at(exchange, 1, pegged) == 103
    exchange.cancel_all(9, side=SELL)
    resting = exchange.place(2, PERP, SELL, 1, 106).sequence
    assert at(exchange, 1, pegged) == 106
    exchange.cancel(2, PERP, resting)
    exchange.place(2, PERP, SELL, 1, 101)
    assert at(exchange, 1, pegged) == 103


def test_pegged_orders_do_not_follow_each_other_and_stay_when_nobody_else_is_there(exchange):
    first = exchange.place(1, PERP, BUY, 1, pegged=True, peg_offset="1").sequence
    second = exchange.place(2, PERP, BUY, 1, pegged=True).sequence
    assert (at(exchange, 1, first), at(exchange, 2, second)) == (98, 99)
    exchange.cancel_all(9, side=BUY)
    assert (at(exchange, 1, first), at(exchange, 2, second)) == (98, 99)
    exchange.place(9, PERP, BUY, 1, 90)
    assert (at(exchange, 1, first), at(exchange, 2, second)) == (89, 90)


def test_a_pegged_order_that_moves_may_meet_a_hidden_one(exchange):
    pegged = exchange.place(1, PERP, BUY, 3, pegged=True).sequence
    exchange.place(2, PERP, SELL, 2, 100, hidden=True)
    outcome = exchange.place(3, PERP, BUY, 1, 99)
    assert outcome.fills == ()
    exchange.cancel_all(9, side=SELL)
    outcome = exchange.place(3, PERP, BUY, 2, 100)
    assert [(fill.account, fill.size_lots) for fill in outcome.fills] == [(3, 2), (2, -2)]
    exchange.place(2, PERP, SELL, 2, 101, hidden=True)
    outcome = exchange.place(3, PERP, BUY, 3, 101)
    assert [(fill.account, fill.size_lots) for fill in outcome.fills] == [(3, 2), (2, -2)]
    assert at(exchange, 1, pegged) == 101
    exchange.place(2, PERP, SELL, 2, 103, hidden=True)
    follower = exchange.place(1, PERP, BUY, 2, 110, pegged=True, peg_offset="0").sequence
    assert at(exchange, 1, follower) == 101


def test_a_pegged_order_that_can_no_longer_be_afforded_where_it_belongs_is_cancelled(exchange):
    exchange.deposit(4, "COIN", "100")
    pegged = exchange.place(4, PERP, BUY, 10, pegged=True)
    assert pegged.rejected is None
    better = exchange.place(2, PERP, BUY, 1, 100)
    assert at(exchange, 4, pegged.sequence) == 100
    exchange.cancel(2, PERP, better.sequence)
    exchange.cancel_all(9, side=SELL)
    dearer = exchange.place(2, PERP, BUY, 1, 119)
    assert (pegged.sequence, CancelReason.UNAFFORDABLE) in gone(dearer)


# A burst.


def burst(make_exchange, **limits) -> tuple[Exchange, list[int]]:
    """Twenty stops on the last price, each of whose fills brings the next one closer."""
    made = make_exchange({"trigger_band": "100%"}, deposits=RICH, limits=limits)
    for price in range(60, 100):
        made.place(9, PERP, BUY, 1, price)
    trade(made, 100)
    stops = [made.place(1, PERP, SELL, 1, 60, trigger=stop(at, price_source=LAST)).sequence for at in range(99, 79, -1)]
    return made, stops


def test_stops_set_each_other_off_in_one_command(make_exchange):
    exchange, stops = burst(make_exchange)
    assert fired(exchange.place(2, PERP, SELL, 1)) == stops
    assert size_of(exchange, 1) == -20


def test_what_a_burst_leaves_is_finished_by_later_commands_of_any_kind(make_exchange, make_tables):
    exchange, stops = burst(make_exchange, work_max=4)
    seen = fired(exchange.place(2, PERP, SELL, 1))
    assert 0 < len(seen) < len(stops)
    other = Exchange.of(make_tables({"trigger_band": "100%"}, limits={"work_max": 4}))
    for _ in stops:
        other.load(exchange.dump())
        outcome = exchange.deposit(3, "COIN", "1", deposit_id=1_000 + exchange.sequence)
        again = other.deposit(3, "COIN", "1", deposit_id=1_000 + other.sequence)
        assert again == outcome
        assert other.dump() == exchange.dump()
        seen += fired(outcome)
    assert seen == stops
    assert size_of(exchange, 1) == -20
    assert exchange.audit()[1] == []


def test_a_command_of_an_unknown_account_does_none_of_the_work_that_was_left(make_exchange, content):
    exchange, _ = burst(make_exchange, work_max=4)
    exchange.place(2, PERP, SELL, 1)
    before = content(exchange)
    assert exchange.place(77, PERP, SELL, 1).rejected is RejectReason.UNKNOWN_ACCOUNT
    assert content(exchange) == before


def test_a_restored_exchange_goes_on_as_the_first_one_does(exchange, make_tables):
    trade(exchange, 100)
    exchange.place(1, PERP, BUY, 10)
    exchange.place(1, PERP, SELL, 0, trigger=stop(95), close=True)
    exchange.place(2, PERP, SELL, 3, trigger=stop(trail_ticks=4))
    exchange.place(2, PERP, SELL, 3, trigger=stop(97, price_source=LAST))
    exchange.place(3, PERP, BUY, 3, pegged=True, peg_offset="1")
    exchange.place(3, PERP, BUY, 3, 90, time_in_force=TimeInForce.DAY)
    exchange.cancel_all_after(3, HOUR_NS)
    other = reopened(exchange, make_tables)
    assert other.dump() == exchange.dump()
    for price in (103, 101, 98, 94, 104):
        assert move(other, price).events == move(exchange, price).events
    end_ns = exchange.clock_ns + 24 * HOUR_NS
    assert other.deposit(1, "COIN", "1", time_ns=end_ns) == exchange.deposit(1, "COIN", "1", time_ns=end_ns)
    assert other.dump() == exchange.dump()
    assert exchange.audit()[1] == []


def test_the_price_of_a_pegged_order_is_not_its_owners_to_change(exchange):
    pegged = exchange.place(1, PERP, BUY, 2, pegged=True, client_order_id=4)
    standing = at(exchange, 1, pegged.sequence)
    for named in ({"order_id": pegged.sequence}, {"client_order_id": 4}):
        assert exchange.amend(1, PERP, price="95", **named).rejected is RejectReason.FLAGS_CONFLICT
    assert exchange.amend(1, PERP, pegged.sequence, size="1").rejected is None
    assert at(exchange, 1, pegged.sequence) == standing


def test_an_order_that_waits_is_refused_at_once_where_its_position_cannot_be(exchange):
    exchange.set_mode(1, PERP, PositionMode.HEDGE)
    waiting = {"is_market": True, "trigger": Trigger(price_ticks=105)}
    assert exchange.place(1, PERP, BUY, 5, **waiting).rejected is RejectReason.POSITION_MODE
    assert exchange.place(1, PERP, BUY, 5, position_id=1, **waiting).rejected is None
