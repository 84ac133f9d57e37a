"""When something recurs: a rule in UTC, compiled to the next nanosecond."""

from datetime import UTC, datetime, timedelta

from dateutil.rrule import rrulestr

from perpkit.errors import ConfigError
from perpkit.units import HOUR_NS, SECOND_NS, Nanos, div_floor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_NS = {"DAILY": 24 * HOUR_NS, "HOURLY": HOUR_NS}


class Schedule:
    """The stamps of one daily or hourly recurrence rule (RFC 5545, as python-dateutil reads it).

    Everything is counted from midnight of 1970-01-01 UTC, `INTERVAL` too, so the stamps do not depend on
    when one asks. A time-zone name is refused: the rules behind such names change, and a replay must not.

    Raises:
        ConfigError: not such a rule, or one that ends or never begins.

    Example:
        >>> Schedule("FREQ=DAILY;BYHOUR=4,12,20").next_ns(0) == 4 * HOUR_NS
        True
    """

    def __init__(self, rule: str) -> None:
        self._rule = rule.upper()
        try:
            self._period_ns = _period_ns(self._rule)
            first = self._find(0)
        except (TypeError, ValueError) as error:  # python-dateutil raises either
            raise ConfigError(
                f"schedule: expected a recurrence such as FREQ=DAILY;BYHOUR=4,12,20, was {rule!r}: {error}"
            ) from None
        if first is None:
            raise ConfigError(f"schedule: expected a recurrence that occurs at some time, was {rule!r}")
        self._gap = (0, first)

    def next_ns(self, after_ns: Nanos) -> Nanos | None:
        """Return the first stamp strictly later than `after_ns`, None past the last year of the calendar.

        Cost:
            Constant while no stamp lies between this call and the one before.
        """
        start, end = self._gap
        if start <= after_ns < end:
            return end
        found = self._find(after_ns)
        if found is not None:
            self._gap = (after_ns, found)
        return found

    def _find(self, after_ns: Nanos) -> Nanos | None:
        # The search begins a whole number of intervals after 1970, not in 1970: that keeps it short.
        begin_ns = div_floor(after_ns, self._period_ns) * self._period_ns
        found = rrulestr(self._rule, dtstart=_moment(begin_ns)).after(_moment(after_ns))
        if found is None:
            return None
        passed = found - _EPOCH
        return passed.days * 24 * HOUR_NS + passed.seconds * SECOND_NS


def _moment(at_ns: Nanos) -> datetime:
    return _EPOCH + timedelta(seconds=div_floor(at_ns, SECOND_NS))


def _period_ns(rule: str) -> Nanos:
    if ":" in rule:
        raise ValueError("it must be one rule, without a start of its own")
    fields = dict(part.split("=") for part in rule.split(";"))
    unit_ns = _UNIT_NS.get(fields.get("FREQ", ""))
    interval = int(fields.get("INTERVAL", "1"))
    if unit_ns is None or interval < 1 or "COUNT" in fields or "UNTIL" in fields:
        raise ValueError("it must be DAILY or HOURLY, with INTERVAL 1 or more and neither COUNT nor UNTIL")
    return interval * unit_ns
