"""Orders that come with another one: stop loss, take profit and brackets of what filled; one cancels the other."""

import pytest

from perpkit import Exchange, MarketState, RejectReason, Side
from perpkit.model.cause import CancelReason
from perpkit.model.command import SetMarketState
from perpkit.model.event import OrderAccepted, OrderAmended, OrderCancelled, OrderRefused, OrderTriggered, OrderWaits
from perpkit.model.order import TimeInForce
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind

BUY, SELL = Side.BUY, Side.SELL
LINKED, REQUESTED = CancelReason.LINKED, CancelReason.REQUESTED
PERP = "PERP-1"
RICH = {1: "100000", 2: "100000", 3: "100000", 9: "500000"}

STOP_LOSS = Attached(side=SELL, is_market=True, trigger=Trigger(price_ticks=95))
TAKE_PROFIT = Attached(side=SELL, price_ticks=110)


def either(side: Side, size: int, price: int, trigger: Trigger | None = None, **more) -> Attached:
    return Attached(
        relation=Relation.EITHER,
        side=side,
        size_lots=size,
        price_ticks=price,
        trigger=trigger,
        reduce_only=False,
        **more,
    )


def told(outcome, kind):
    return [event for event in outcome.events if isinstance(event, kind)]


def gone(outcome) -> list[tuple[int, CancelReason]]:
    return [(e.order_id, e.reason) for e in told(outcome, OrderCancelled) if e.left_lots == 0]


def waits(outcome) -> list[tuple[int, int]]:
    return [(e.order_id, e.size_lots) for e in told(outcome, OrderWaits)]


def accepted(outcome) -> list[tuple[int, int]]:
    return [(e.order_id, e.size_lots) for e in told(outcome, OrderAccepted)]


def nth(outcome, number: int) -> int:
    """Return the id of the nth order attached to the one that a command placed."""
    return outcome.sequence | number << 40


def size_of(exchange: Exchange, account: int) -> int:
    return sum(e.size_lots for e in exchange.clearing.pool(account, 1).exposures)


def move(exchange: Exchange, price: int):
    return exchange.quote(PERP, str(price), time_ns=exchange.clock_ns + 1)


def left(exchange: Exchange, account: int, order_id: int) -> int:
    order = exchange.clearing.order(1, account, order_id, 0)
    return order.size_lots if order else 0


def nothing_waits(exchange: Exchange) -> bool:
    return not exchange._core.desk


@pytest.fixture
def exchange(make_exchange) -> Exchange:
    """The mark is 100; nobody quotes but those who a test lets quote."""
    return make_exchange(deposits=RICH)


# After: stop loss and take profit of an order that opens.


def test_a_stop_attached_to_an_order_that_is_cancelled_unfilled_vanishes(exchange):
    """promises-008."""
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS,))
    assert waits(parent) == []
    assert gone(exchange.cancel(1, PERP, parent.sequence)) == [(parent.sequence, REQUESTED)]
    assert nothing_waits(exchange)
    assert told(move(exchange, 90), OrderTriggered) == []


def test_an_attached_stop_grows_with_what_fills(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS,))
    assert waits(exchange.place(2, PERP, SELL, 4, 98)) == [(nth(parent, 1), 4)]
    grown = told(exchange.place(2, PERP, SELL, 3, 98), OrderAmended)
    assert [(e.order_id, e.size_lots, e.price_ticks) for e in grown] == [(nth(parent, 1), 7, 95)]
    exchange.place(9, PERP, BUY, 50, 94)
    assert [e.order_id for e in told(move(exchange, 95), OrderTriggered)] == [nth(parent, 1)]
    assert size_of(exchange, 1) == 0


def test_an_attached_stop_does_not_outgrow_the_size_it_was_given(exchange):
    child = Attached(side=SELL, size_lots=5, is_market=True, trigger=Trigger(price_ticks=95))
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(child,))
    assert waits(exchange.place(2, PERP, SELL, 4, 98)) == [(nth(parent, 1), 4)]
    assert [e.size_lots for e in told(exchange.place(2, PERP, SELL, 3, 98), OrderAmended)] == [5]
    assert told(exchange.place(2, PERP, SELL, 3, 98), OrderAmended) == []


def test_a_stop_attached_to_an_order_that_fills_at_once_waits_at_once(exchange):
    exchange.place(2, PERP, SELL, 4, 99)
    exchange.place(3, PERP, SELL, 6, 100)
    parent = exchange.place(1, PERP, BUY, 10, 100, attached=(STOP_LOSS,))
    assert waits(parent) == [(nth(parent, 1), 10)]


def test_a_stop_whose_order_is_cancelled_after_a_part_filled_stays_for_that_part(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS,))
    exchange.place(2, PERP, SELL, 4, 98)
    assert gone(exchange.cancel(1, PERP, parent.sequence)) == [(parent.sequence, REQUESTED)]
    exchange.place(9, PERP, BUY, 50, 94)
    move(exchange, 95)
    assert size_of(exchange, 1) == 0
    assert nothing_waits(exchange)


def test_a_stop_that_is_passed_already_when_its_order_fills_fires_at_once(exchange):
    exchange.place(9, PERP, BUY, 50, 93)
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS,))
    move(exchange, 94)
    outcome = exchange.place(2, PERP, SELL, 10, 98)
    assert waits(outcome) == [(nth(parent, 1), 10)]
    assert [e.order_id for e in told(outcome, OrderTriggered)] == [nth(parent, 1)]
    assert size_of(exchange, 1) == 0


def test_a_limit_without_a_trigger_goes_live_when_its_order_is_filled_whole(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(TAKE_PROFIT,))
    assert accepted(exchange.place(2, PERP, SELL, 4, 98))[1:] == []
    assert accepted(exchange.place(2, PERP, SELL, 6, 98))[1:] == [(nth(parent, 1), 10)]
    assert left(exchange, 1, nth(parent, 1)) == 10


def test_it_goes_live_for_what_filled_when_the_rest_of_its_order_is_cancelled(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(TAKE_PROFIT,))
    exchange.place(2, PERP, SELL, 4, 98)
    assert accepted(exchange.cancel(1, PERP, parent.sequence)) == [(nth(parent, 1), 4)]


def test_it_goes_live_when_the_rest_of_its_order_has_come_to_its_end(exchange):
    end_ns = exchange.clock_ns + 100
    flags = {"time_in_force": TimeInForce.GTD, "expires_ns": end_ns}
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(TAKE_PROFIT,), **flags)
    exchange.place(2, PERP, SELL, 4, 98)
    assert accepted(exchange.deposit(3, "COIN", "1", time_ns=end_ns)) == [(nth(parent, 1), 4)]


def test_it_waits_for_a_market_that_does_not_take_orders(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(TAKE_PROFIT,))
    exchange.place(2, PERP, SELL, 4, 98)
    exchange.apply(SetMarketState(market=1, state=MarketState.CANCEL_ONLY, time_ns=exchange.clock_ns))
    assert accepted(exchange.cancel(1, PERP, parent.sequence)) == []
    opened = exchange.apply(SetMarketState(market=1, state=MarketState.OPEN, time_ns=exchange.clock_ns))
    assert accepted(opened) == [(nth(parent, 1), 4)]


def bracket(exchange: Exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS, TAKE_PROFIT))
    exchange.place(2, PERP, SELL, 10, 98)
    return parent


def test_of_a_bracket_the_first_part_fill_of_the_profit_takes_the_stop_away(exchange):
    parent = bracket(exchange)
    outcome = exchange.place(3, PERP, BUY, 2, 110)
    assert gone(outcome) == [(nth(parent, 1), LINKED)]
    assert left(exchange, 1, nth(parent, 2)) == 8
    assert nothing_waits(exchange)


def test_of_a_bracket_the_stop_takes_the_profit_away_before_it_closes(exchange):
    parent = bracket(exchange)
    exchange.place(9, PERP, BUY, 50, 94)
    outcome = move(exchange, 95)
    kinds = [type(e) for e in outcome.events if isinstance(e, OrderTriggered | OrderCancelled | OrderAccepted)]
    assert kinds[:3] == [OrderTriggered, OrderCancelled, OrderAccepted]
    assert gone(outcome) == [(nth(parent, 2), LINKED)]
    assert size_of(exchange, 1) == 0


def test_when_an_attached_stop_fires_what_is_left_of_its_order_goes_as_nothing_would_guard_it(exchange):
    exchange.place(9, PERP, BUY, 50, 94)
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS, TAKE_PROFIT))
    exchange.place(2, PERP, SELL, 4, 98)
    outcome = move(exchange, 95)
    assert gone(outcome)[0] == (parent.sequence, LINKED)
    assert [each for each, _ in accepted(outcome)] == [nth(parent, 1)]
    assert size_of(exchange, 1) == 0
    assert nothing_waits(exchange)


def test_cancelling_one_of_a_bracket_by_hand_leaves_the_other(exchange):
    parent = bracket(exchange)
    assert gone(exchange.cancel(1, PERP, nth(parent, 2))) == [(nth(parent, 2), REQUESTED)]
    exchange.place(9, PERP, BUY, 50, 94)
    assert [e.order_id for e in told(move(exchange, 95), OrderTriggered)] == [nth(parent, 1)]


def test_the_stop_of_an_order_that_waits_itself_waits_for_its_fills(exchange):
    exchange.place(9, PERP, SELL, 4, 105)
    child = Attached(side=SELL, is_market=True, trigger=Trigger(price_ticks=102))
    parent = exchange.place(1, PERP, BUY, 10, 105, trigger=Trigger(price_ticks=104), attached=(child,))
    assert waits(parent) == [(parent.sequence, 10)]
    fired = move(exchange, 104)
    assert waits(fired) == [(nth(parent, 1), 4)]
    assert [e.size_lots for e in told(exchange.place(2, PERP, SELL, 6, 105), OrderAmended)] == [10]


def test_what_is_attached_to_a_waiting_order_vanishes_with_it(exchange):
    parent = exchange.place(1, PERP, BUY, 10, trigger=Trigger(price_ticks=104), attached=(STOP_LOSS, TAKE_PROFIT))
    assert [each for each, _ in gone(exchange.cancel(1, PERP, parent.sequence))] == [parent.sequence]
    assert nothing_waits(exchange)


def test_what_is_attached_to_a_waiting_order_that_is_refused_when_it_fires_vanishes(exchange):
    exchange.deposit(4, "COIN", "10")
    parent = exchange.place(4, PERP, BUY, 10, trigger=Trigger(price_ticks=104), attached=(STOP_LOSS,))
    outcome = move(exchange, 104)
    assert [e.order_id for e in told(outcome, OrderRefused)] == [parent.sequence]
    assert nothing_waits(exchange)


def test_cancelling_all_starts_nothing(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(TAKE_PROFIT,))
    exchange.place(2, PERP, SELL, 4, 98)
    outcome = exchange.cancel_all(1)
    assert gone(outcome) == [(parent.sequence, REQUESTED)]
    assert accepted(outcome) == []
    assert nothing_waits(exchange)


def test_cancelling_all_sells_leaves_the_stop_that_a_resting_buy_has_yet_to_start(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS,))
    exchange.cancel_all(1, side=SELL)
    assert waits(exchange.place(2, PERP, SELL, 4, 98)) == [(nth(parent, 1), 4)]


@pytest.mark.parametrize("side", [BUY, SELL])
def test_cancelling_all_of_a_side_takes_what_has_not_started_with_its_order(exchange, side):
    child = Attached(side=side.opposite, price_ticks=100 + 5 * side)
    parent = exchange.place(1, PERP, side, 10, 100 - side, attached=(child,))
    exchange.place(2, PERP, side.opposite, 4, 100 - side)
    outcome = exchange.cancel_all(1, side=side)
    assert gone(outcome) == [(parent.sequence, REQUESTED)]
    assert accepted(outcome) == []
    assert nothing_waits(exchange)


def test_the_dead_mans_switch_starts_nothing(exchange):
    exchange.place(1, PERP, BUY, 10, 98, attached=(TAKE_PROFIT, STOP_LOSS))
    exchange.place(2, PERP, SELL, 4, 98)
    exchange.cancel_all_after(1, 10)
    outcome = exchange.deposit(3, "COIN", "1", time_ns=exchange.clock_ns + 10)
    assert {reason for _, reason in gone(outcome)} == {CancelReason.SWITCH}
    assert accepted(outcome) == []
    assert nothing_waits(exchange)


# Either: one cancels the other.


def test_of_two_orders_the_first_part_fill_of_one_takes_the_other_away(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(either(SELL, 10, 102),))
    assert accepted(parent) == [(parent.sequence, 10), (nth(parent, 1), 10)]
    assert gone(exchange.place(2, PERP, BUY, 3, 102)) == [(parent.sequence, LINKED)]
    assert left(exchange, 1, nth(parent, 1)) == 7
    assert nothing_waits(exchange)


def test_a_fill_of_the_order_itself_takes_all_beside_it_away(exchange):
    beside = (either(SELL, 10, 102), either(BUY, 5, 106, Trigger(price_ticks=105)))
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=beside)
    outcome = exchange.place(2, PERP, SELL, 1, 98)
    assert gone(outcome) == [(nth(parent, 1), LINKED), (nth(parent, 2), LINKED)]
    assert left(exchange, 1, parent.sequence) == 9


def test_of_two_stops_the_one_that_fires_takes_the_other_away(exchange):
    up, down = Trigger(price_ticks=105), Trigger(price_ticks=95)
    parent = exchange.place(1, PERP, BUY, 10, 105, trigger=up, attached=(either(SELL, 10, 95, down),))
    assert waits(parent) == [(parent.sequence, 10), (nth(parent, 1), 10)]
    outcome = move(exchange, 95)
    assert [e.order_id for e in told(outcome, OrderTriggered)] == [nth(parent, 1)]
    assert gone(outcome) == [(parent.sequence, LINKED)]
    assert left(exchange, 1, nth(parent, 1)) == 10


def test_cancelling_one_of_two_by_hand_leaves_the_other(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(either(SELL, 10, 102),))
    assert gone(exchange.cancel(1, PERP, parent.sequence)) == [(parent.sequence, REQUESTED)]
    assert left(exchange, 1, nth(parent, 1)) == 10
    assert nothing_waits(exchange)


def test_an_order_that_fills_at_once_never_lets_the_other_in(exchange):
    exchange.place(2, PERP, SELL, 1, 98)
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(either(SELL, 10, 102),))
    assert accepted(parent) == [(parent.sequence, 10)]
    assert left(exchange, 1, parent.sequence) == 9


def test_an_order_beside_another_that_fills_at_once_takes_it_away(exchange):
    exchange.place(2, PERP, BUY, 1, 101)
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(either(SELL, 10, 101), either(SELL, 10, 103)))
    assert accepted(parent) == [(parent.sequence, 10), (nth(parent, 1), 10)]
    assert gone(parent) == [(parent.sequence, LINKED)]


def test_where_one_order_sweeps_both_what_filled_is_guarded_all_the_same(exchange):
    attached = (either(BUY, 5, 99), STOP_LOSS)
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=attached)
    outcome = exchange.place(2, PERP, SELL, 9, 98)
    assert gone(outcome) == [(parent.sequence, LINKED)]
    assert size_of(exchange, 1) == 9
    assert waits(outcome) == [(nth(parent, 2), 4)]


def test_a_trigger_on_the_wrong_side_beside_an_order_refuses_all_of_it(exchange, content):
    before = content(exchange)
    beside = (either(SELL, 10, 95, Trigger(price_ticks=101)),)
    assert exchange.place(1, PERP, BUY, 10, 98, attached=beside).rejected is RejectReason.TRIGGER_CROSSED
    last = (either(SELL, 10, 95, Trigger(price_ticks=95, price_source=PriceSource.LAST)),)
    assert exchange.place(1, PERP, BUY, 10, 98, attached=last).rejected is RejectReason.NO_REFERENCE_PRICE
    assert content(exchange) == before


def test_a_live_order_that_clearing_refuses_beside_another_is_told_and_the_other_stays(exchange):
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(either(SELL, 1_000, 102),))
    assert [(e.order_id, e.reason) for e in told(parent, OrderRefused)] == [
        (nth(parent, 1), RejectReason.POSITION_LIMIT)
    ]
    assert left(exchange, 1, parent.sequence) == 10
    assert nothing_waits(exchange)


def test_attached_orders_count_among_those_that_wait(make_exchange):
    exchange = make_exchange({"orders_max": 2}, deposits=RICH)
    exchange.place(1, PERP, BUY, 1, 98, attached=(STOP_LOSS,))
    both = (STOP_LOSS, TAKE_PROFIT)
    assert exchange.place(1, PERP, BUY, 1, 98, attached=both).rejected is RejectReason.TOO_MANY_ORDERS
    assert exchange.place(1, PERP, BUY, 1, 98, attached=(STOP_LOSS,)).rejected is None


def test_a_trailing_stop_that_is_attached_starts_from_the_price_at_the_first_fill(exchange):
    child = Attached(side=SELL, is_market=True, trigger=Trigger(trail_ticks=4))
    exchange.place(1, PERP, BUY, 10, 98, attached=(child,))
    move(exchange, 103)
    assert [e.trigger_ticks for e in told(exchange.place(2, PERP, SELL, 4, 98), OrderWaits)] == [99]


def test_take_profit_triggers_can_be_attached_as_well(exchange):
    child = Attached(
        side=SELL, price_ticks=105, trigger=Trigger(kind=TriggerKind.TAKE_PROFIT, price_ticks=105), client_order_id=77
    )
    parent = exchange.place(1, PERP, BUY, 10, 98, attached=(child,))
    exchange.place(2, PERP, SELL, 10, 98)
    move(exchange, 105)
    assert exchange.clearing.order(1, 1, 0, 77).id == nth(parent, 1)


# All of it at once.


def test_a_restored_exchange_finishes_what_was_begun(exchange, make_tables):
    exchange.place(9, PERP, BUY, 50, 94)
    exchange.place(1, PERP, BUY, 10, 98, attached=(STOP_LOSS, TAKE_PROFIT))
    exchange.place(3, PERP, BUY, 10, 97, attached=(either(SELL, 10, 112),))
    exchange.place(2, PERP, SELL, 4, 98)
    other = Exchange.of(make_tables())
    other.load(exchange.dump())
    assert other.dump() == exchange.dump()
    steps = [
        lambda each: each.place(2, PERP, SELL, 6, 98),
        lambda each: each.place(2, PERP, SELL, 1, 97),
        lambda each: each.place(2, PERP, BUY, 3, 110),
        lambda each: move(each, 95),
        lambda each: each.cancel_all(1),
    ]
    for step in steps:
        assert step(other) == step(exchange)
        assert other.dump() == exchange.dump()
    assert exchange.audit()[1] == []


def test_what_many_fills_start_is_finished_by_later_commands(make_exchange):
    exchange = make_exchange(deposits=RICH, limits={"work_max": 4})
    parents = [exchange.place(1, PERP, BUY, 1, 98, attached=(TAKE_PROFIT,)) for _ in range(20)]
    seen = accepted(exchange.place(2, PERP, SELL, 20, 98))[1:]
    assert 0 < len(seen) < 20
    for _ in range(20):
        seen += accepted(exchange.deposit(3, "COIN", "1"))
    assert seen == [(nth(parent, 1), 1) for parent in parents]
    assert nothing_waits(exchange)


# Names: an attached order's own client order id is as much a name as any.


def test_an_attached_order_takes_no_name_that_another_order_has(exchange, content):
    exchange.place(1, PERP, BUY, 1, 90, client_order_id=5)
    before = content(exchange)
    named = either(SELL, 1, 105, client_order_id=5)
    assert exchange.place(1, PERP, BUY, 1, 91, attached=(named,)).rejected is RejectReason.CLIENT_ORDER_ID_REUSED
    assert content(exchange) == before
    beside = either(SELL, 1, 105, client_order_id=6)
    assert exchange.place(1, PERP, BUY, 1, 91, attached=(beside,)).rejected is None
    assert exchange.place(1, PERP, BUY, 1, 92, client_order_id=6).rejected is RejectReason.CLIENT_ORDER_ID_REUSED


def test_orders_of_one_command_have_different_names(exchange):
    named = either(SELL, 1, 105, client_order_id=5)
    refused = exchange.place(1, PERP, BUY, 1, 91, client_order_id=5, attached=(named,)).rejected
    assert refused is RejectReason.FLAGS_CONFLICT
