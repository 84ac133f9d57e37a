"""Funding stamps: the right nanosecond, whenever one asks."""

from datetime import UTC, datetime

import pytest

from perpkit.errors import ConfigError
from perpkit.reference.schedule import Schedule
from perpkit.units import HOUR_NS, MINUTE_NS, SECOND_NS

DAY_NS = 24 * HOUR_NS
EIGHT_HOURLY = "FREQ=DAILY;BYHOUR=4,12,20;BYMINUTE=0;BYSECOND=0"


def ns(text: str) -> int:
    """Read a UTC moment of whole seconds."""
    passed = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * SECOND_NS


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2020-03-12T00:00:00", "2020-03-12T04:00:00"),
        ("2020-03-12T04:00:00", "2020-03-12T12:00:00"),
        ("2020-03-12T19:59:59", "2020-03-12T20:00:00"),
        ("2020-03-12T20:00:00", "2020-03-13T04:00:00"),
        ("2020-02-28T20:00:00", "2020-02-29T04:00:00"),
        ("2019-12-31T20:00:00", "2020-01-01T04:00:00"),
    ],
)
def test_three_stamps_a_day_each_strictly_later_than_asked(after: str, expected: str) -> None:
    assert Schedule(EIGHT_HOURLY).next_ns(ns(after)) == ns(expected)


def test_a_nanosecond_decides() -> None:
    schedule, stamp = Schedule(EIGHT_HOURLY), ns("2020-03-12T12:00:00")
    assert schedule.next_ns(stamp - 1) == stamp
    assert schedule.next_ns(stamp) == stamp + 8 * HOUR_NS
    assert schedule.next_ns(stamp + 1) == stamp + 8 * HOUR_NS


def test_asking_in_any_order_gives_the_same_stamps() -> None:
    moments = [ns("2020-03-12T00:00:00") + step * 37 * MINUTE_NS for step in range(100)]
    one = Schedule(EIGHT_HOURLY)
    fresh = [Schedule(EIGHT_HOURLY).next_ns(moment) for moment in moments]
    assert [one.next_ns(moment) for moment in moments] == fresh
    assert [one.next_ns(moment) for moment in reversed(moments)] == fresh[::-1]


@pytest.mark.parametrize(
    ("rule", "step_ns"),
    [
        ("FREQ=HOURLY", HOUR_NS),
        ("FREQ=HOURLY;INTERVAL=8", 8 * HOUR_NS),
        ("FREQ=HOURLY;INTERVAL=5", 5 * HOUR_NS),
        ("FREQ=HOURLY;BYMINUTE=0,20,40", 20 * MINUTE_NS),
        ("FREQ=DAILY", DAY_NS),
        ("FREQ=DAILY;INTERVAL=3", 3 * DAY_NS),
        ("freq=daily;byday=th", 7 * DAY_NS),
    ],
)
def test_intervals_are_counted_from_1970_and_never_break(rule: str, step_ns: int) -> None:
    stamp = ns("2026-05-17T13:01:02")
    first = stamp - stamp % step_ns + step_ns
    found = []
    for _ in range(30):
        later = Schedule(rule).next_ns(stamp)
        assert later is not None
        found.append(later)
        stamp = later
    assert found == [first + count * step_ns for count in range(30)]


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "every day",
        "FREQ=WEEKLY",
        "FREQ=DAILY;COUNT=3",
        "FREQ=DAILY;UNTIL=20300101T000000Z",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;BYHOUR=25",
        "FREQ=HOURLY;BYHOUR=25",
        "FREQ=DAILY;TZID=Europe/Berlin",
        "DTSTART;TZID=Europe/Berlin:20200101T000000\nRRULE:FREQ=DAILY",
        "FREQ=DAILY;BYHOUR=4\nEXDATE:20200101T040000Z",
        "FREQ=DAILY;INTERVAL=700;BYDAY=FR",
    ],
)
def test_what_is_no_endless_daily_or_hourly_utc_rule_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match="expected a recurrence"):
        Schedule(rule)
