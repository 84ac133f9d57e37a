"""One run as a report wants it: its recording, and what only the caller knows about it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from perpkit.model.market import MarketSpec
from perpkit.runtime.recording import Point, Recording
from perpkit.units import MINUTE_NS, SECOND_NS, Lots, Nanos, Scale, Ticks, Units, div_floor, div_half_even

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@attrs.frozen(kw_only=True)
class RunSummary:
    """A run with a name.

    Units:
        `unit` is the accounting unit of the settlement asset `unit_name`; prices are in `price_name` and sizes in
        `size_name`. `reference_line` holds (stamp, price in ticks) of `reference_name`, to be drawn for comparison.
    """

    name: str
    recording: Recording
    market: MarketSpec
    unit: Scale
    unit_name: str
    fund_start_units: Units
    commands: int
    client_side_units: Units
    custody_side_units: Units
    deposits_units: Units
    state_digest: str
    source_names: Mapping[int, str]
    reference_line: Sequence[tuple[Nanos, Ticks]] = ()
    reference_name: str = "BitMEX"
    price_name: str = "USD"
    size_name: str = "USD"

    def money(self, units: Units) -> str:
        """Write an amount exactly, with its asset."""
        return f"{grouped(self.unit.format(units))} {self.unit_name}"

    def price(self, ticks: Ticks) -> str:
        """Write a price, or a difference of prices, exactly."""
        return f"{grouped(self.market.tick.format(ticks))} {self.price_name}"

    def size(self, lots: Lots) -> str:
        """Write a size exactly."""
        return f"{grouped(self.market.lot.format(lots))} {self.size_name}"

    def source(self, source: int) -> str:
        """Return the name of an index source."""
        return self.source_names.get(source, f"source {source}")

    def worst_gap(self) -> Point | None:
        """Return the point at which the last price was farthest from the index; None: it never left it."""
        return next((p for p in self.recording.points if p.at_ns == self.recording.gap_worst_ns), None)


def grouped(number: str) -> str:
    """Put commas between the thousands of decimal text.

    Example:
        >>> grouped("-1234567.50")
        '-1,234,567.50'
    """
    whole, dot, decimals = number.partition(".")
    return f"{'-' if whole.startswith('-') else ''}{abs(int(whole)):,}{dot}{decimals}"


def shortened(number: float) -> str:
    """Write a number with two or three digits and a suffix.

    Example:
        >>> shortened(1_234_567), shortened(-20_000), shortened(87)
        ('1.2M', '-20k', '87')
    """
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{suffix}" if abs(number) >= 10 * size else f"{number / size:.2g}{suffix}"
    return f"{number:.3g}"


def percent(part: int, whole: int) -> str:
    """Write `part` as a percentage of `whole`.

    Rounds:
        Half to even, at the second digit.

    Example:
        >>> percent(-1, 8)
        '-12.50 %'
    """
    return f"{Scale.of('0.01').format(div_half_even(part * 10_000, whole))} %"


def when(at_ns: Nanos) -> datetime:
    """Return a stamp as a date and time in UTC, without its part of a microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=div_floor(at_ns, 1000))


def stamp(at_ns: Nanos) -> str:
    """Write a stamp to the minute, or to the second if it is not a whole minute."""
    whole = div_floor(at_ns, MINUTE_NS) * MINUTE_NS == at_ns
    return when(at_ns).strftime("%Y-%m-%d %H:%M" if whole else "%Y-%m-%d %H:%M:%S")


def day(at_ns: Nanos) -> str:
    """Write the day of a stamp, such as 12 Mar, whatever the locale."""
    moment = when(at_ns)
    return f"{moment.day} {_MONTHS[moment.month - 1]}"


def duration(length_ns: Nanos) -> str:
    """Write a length of time.

    Example:
        >>> duration(65 * 60 * 10**9), duration(45 * 60 * 10**9), duration(90 * 10**9)
        ('1 h 05 min', '45 min', '1 min 30 s')
    """
    seconds = div_floor(length_ns, SECOND_NS)
    minutes, left = div_floor(seconds, 60), seconds - 60 * div_floor(seconds, 60)
    hours = div_floor(minutes, 60)
    if hours:
        return f"{hours} h {minutes - 60 * hours:02} min"
    if not minutes:
        return f"{left} s"
    return f"{minutes} min {left:02} s" if left else f"{minutes} min"
