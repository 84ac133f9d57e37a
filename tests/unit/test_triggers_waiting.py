"""What the engine remembers of waiting orders: in which order triggers are passed, and when something is due."""

import pytest

from perpkit.engine.triggers.rules import trailing_trigger
from perpkit.engine.waiting import Calendar, Desk, Waiting, end_ns, family_of, member_id
from perpkit.model.command import PlaceOrder
from perpkit.model.order import Side, TimeInForce
from perpkit.model.trigger import PriceSource, Trigger, TriggerKind
from perpkit.units import HOUR_NS

BUY, SELL = Side.BUY, Side.SELL
DAY_NS = 24 * HOUR_NS


def order(side: Side = SELL, trigger: Trigger | None = None, **more) -> PlaceOrder:
    return PlaceOrder(account=1, market=1, side=side, size_lots=1, price_ticks=100, trigger=trigger, **more)


def waiting(order_id: int, side: Side, price: int, kind: TriggerKind = TriggerKind.STOP) -> Waiting:
    return Waiting(order_id, order(side, Trigger(kind=kind, price_ticks=price)), price)


def desk_of(*orders: Waiting) -> Desk:
    desk = Desk()
    for each in orders:
        desk.add(each)
    return desk


def test_rising_triggers_are_passed_from_below_and_equals_by_acceptance():
    desk = desk_of(waiting(4, BUY, 105), waiting(1, BUY, 107), waiting(3, BUY, 103), waiting(2, BUY, 105))
    line = (1, PriceSource.MARK, True)
    assert desk.crossed(line, 106) == [3, 2, 4]
    assert desk.crossed(line, 103) == [3]
    assert desk.crossed(line, 102) == []


def test_falling_triggers_are_passed_from_above_and_equals_by_acceptance():
    desk = desk_of(waiting(4, SELL, 95), waiting(1, SELL, 93), waiting(3, SELL, 97), waiting(2, SELL, 95))
    line = (1, PriceSource.MARK, False)
    assert desk.crossed(line, 94) == [3, 2, 4]
    assert desk.crossed(line, 97) == [3]
    assert desk.crossed(line, 98) == []


@pytest.mark.parametrize(
    ("side", "kind", "rising"),
    [
        (BUY, TriggerKind.STOP, True),
        (SELL, TriggerKind.STOP, False),
        (BUY, TriggerKind.TAKE_PROFIT, False),
        (SELL, TriggerKind.TAKE_PROFIT, True),
    ],
)
def test_a_trigger_is_reached_at_its_price_and_beyond(side, kind, rising):
    each = waiting(1, side, 100, kind)
    assert each.rising is rising
    assert [each.reached(price) for price in (99, 100, 101)] == [not rising, True, rising]


def test_a_trigger_that_moved_is_passed_where_it_is_now():
    first, second = waiting(1, SELL, 90), waiting(2, SELL, 95)
    desk = desk_of(first, second)
    desk.move(first, 97)
    assert desk.crossed((1, PriceSource.MARK, False), 96) == [1]
    assert desk.crossed((1, PriceSource.MARK, False), 95) == [1, 2]


def test_what_is_removed_leaves_nothing():
    trigger = Trigger(trail_ticks=5)
    each = Waiting(1, order(trigger=trigger, time_in_force=TimeInForce.DAY), 95, 100)
    desk = desk_of(each)
    assert desk
    assert desk.first_ns == DAY_NS
    desk.remove(each)
    assert not desk
    assert [desk.lines, desk.trailing, desk.held, desk.ends.at_ns] == [{}] * 4
    assert desk.first_ns is None


@pytest.mark.parametrize(
    ("time_in_force", "placed_ns", "expires_ns", "expected"),
    [
        (TimeInForce.GTC, 5, 0, 0),
        (TimeInForce.GTD, 5, 77, 77),
        (TimeInForce.DAY, 0, 0, DAY_NS),
        (TimeInForce.DAY, DAY_NS - 1, 0, DAY_NS),
        (TimeInForce.DAY, DAY_NS, 0, 2 * DAY_NS),
    ],
)
def test_an_order_ends_at_its_date_or_at_the_next_midnight(time_in_force, placed_ns, expires_ns, expected):
    assert end_ns(order(time_in_force=time_in_force, time_ns=placed_ns, expires_ns=expires_ns)) == expected


@pytest.mark.parametrize(
    ("side", "trigger", "best", "expected"),
    [
        (SELL, Trigger(trail_ticks=7), 100, 93),
        (BUY, Trigger(trail_ticks=7), 100, 107),
        # A tenth of 101 is 10.1: 90.9 and 111.1, each a tick further from the price.
        (SELL, Trigger(trail_ppb=100_000_000), 101, 90),
        (BUY, Trigger(trail_ppb=100_000_000), 101, 112),
        (SELL, Trigger(trail_ppb=100_000_000), 100, 90),
        (BUY, Trigger(trail_ppb=100_000_000), 100, 110),
        # However small the rate, it is a tick at least.
        (SELL, Trigger(trail_ppb=1), 100, 99),
        (BUY, Trigger(trail_ppb=1), 100, 101),
    ],
)
def test_a_trailing_trigger_is_rounded_away_from_the_price(side, trigger, best, expected):
    assert trailing_trigger(trigger, side, best) == expected


def test_a_calendar_tells_what_has_passed_earliest_first_and_forgets_what_was_renewed():
    calendar = Calendar()
    for each, at_ns in ((7, 30), (8, 10), (9, 20), (7, 15)):
        calendar.set(each, at_ns)
    assert calendar.first_ns == 10
    assert calendar.passed(15) == [(10, 8), (15, 7)]
    calendar.drop(8)
    calendar.drop(8)
    assert calendar.passed(30) == [(15, 7), (20, 9)]


def test_an_attached_order_is_known_by_its_id_alone():
    assert family_of(member_id(12, 3)) == (12, 3)
    assert family_of(12) == (12, 0)
