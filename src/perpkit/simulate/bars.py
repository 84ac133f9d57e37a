"""Bars of several exchanges from a file, and the minute quotes that they stand for."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import attrs

from perpkit.errors import ConfigError, UnitsError
from perpkit.model.market import MarketSpec
from perpkit.model.price import Quote
from perpkit.units import MINUTE_NS, SECOND_NS, Nanos, Ticks, div_half_even, exact

COLUMNS = ("ts", "exchange", "open", "high", "low", "close", "volume")
COMPARISON = "bitmex"
"""Rows of exchanges whose name starts so are a line to compare with, never an index source."""

_WEIGHT_STEPS = 10**8


@attrs.frozen(kw_only=True)
class Bar:
    """One exchange's prices in one stretch of time. A bar without volume gives no quote."""

    at_ns: Nanos
    exchange: str
    open: Fraction
    high: Fraction
    low: Fraction
    close: Fraction
    volume: Fraction


@attrs.frozen(kw_only=True)
class PricePath:
    """Bars in order of time, the sources by id, and the bars' common length."""

    bars: tuple[tuple[Bar, ...], ...]
    comparison: tuple[Bar, ...]
    sources: Mapping[int, str]
    length_ns: Nanos

    def cut(self, hours: int) -> "PricePath":
        """Return the first hours of the path."""
        end_ns = self.bars[0][0].at_ns + hours * 60 * MINUTE_NS
        return attrs.evolve(
            self,
            bars=tuple(group for group in self.bars if group[0].at_ns < end_ns),
            comparison=tuple(bar for bar in self.comparison if bar.at_ns < end_ns),
        )


def read_bars(files: Sequence[Path]) -> PricePath:
    """Read files with the columns `ts,exchange,open,high,low,close,volume`.

    Raises:
        ConfigError: with file, line and column, when a row cannot be used.
    """
    seen: dict[tuple[Nanos, str], Bar] = {}
    for file in files:
        for line, bar in _rows(file):
            if (bar.at_ns, bar.exchange) in seen:
                raise ConfigError(f"{file}, line {line}, column ts: {bar.exchange} was there at this time already")
            seen[bar.at_ns, bar.exchange] = bar
    return assemble(seen.values(), ", ".join(str(file) for file in files))


def assemble(bars: Iterable[Bar], where: str) -> PricePath:
    """Order bars into a path.

    Raises:
        ConfigError: there are fewer than two times, or no exchange that may be an index source.
    """
    ordered = sorted(bars, key=lambda bar: (bar.at_ns, bar.exchange))
    names = sorted({bar.exchange for bar in ordered if not bar.exchange.startswith(COMPARISON)})
    times = sorted({bar.at_ns for bar in ordered})
    if len(times) < 2 or not names:
        raise ConfigError(f"{where}: expected bars of at least two times and one index source, was {len(times)} times")
    length = min(later - earlier for earlier, later in pairwise(times))
    grouped = [tuple(b for b in ordered if b.at_ns == at_ns and b.exchange in names) for at_ns in times]
    return PricePath(
        bars=tuple(group for group in grouped if group),
        comparison=tuple(bar for bar in ordered if bar.exchange not in names),
        sources=dict(enumerate(names, start=1)),
        length_ns=length,
    )


def minute_quotes(path: PricePath, market: MarketSpec) -> Iterator[tuple[Nanos, tuple[Quote, ...]]]:
    """Yield every minute of a path with the quotes of all sources that trade.

    All exchanges of one bar take one order of high and low, the nearer extreme first: else the path itself would
    make false outliers. The legs open, extreme, extreme, close are equally long. A quote weighs its exchange's
    volume of the bar before, in the first bar its own.

    Rounds:
        Prices half to even to the tick.
    """
    ids = {name: source for source, name in path.sources.items()}
    volumes = {bar.exchange: bar.volume for bar in path.bars[0]}
    minutes = path.length_ns // MINUTE_NS
    for group in path.bars:
        trading = [bar for bar in group if bar.volume > 0]
        up = sum((Fraction(bar.high - bar.open, bar.open) for bar in trading), Fraction(0))
        down = sum((Fraction(bar.open - bar.low, bar.open) for bar in trading), Fraction(0))
        for minute in range(minutes):
            at_ns = group[0].at_ns + minute * MINUTE_NS
            quotes = tuple(
                Quote(
                    market=market.id,
                    source=ids[bar.exchange],
                    price_ticks=_ticks(market, _price(bar, up <= down, Fraction(3 * minute, minutes))),
                    weight=int(volumes.get(bar.exchange, Fraction(0)) * _WEIGHT_STEPS),
                    at_ns=at_ns,
                )
                for bar in trading
            )
            yield at_ns, quotes
        volumes |= {bar.exchange: bar.volume for bar in group}


def comparison_line(path: PricePath, market: MarketSpec) -> list[tuple[Nanos, Ticks]]:
    """Return the comparison exchange's path, minute by minute."""
    minutes = path.length_ns // MINUTE_NS
    line = []
    for bar in path.comparison:
        high_first = bar.high - bar.open <= bar.open - bar.low
        for minute in range(minutes):
            price = _price(bar, high_first, Fraction(3 * minute, minutes))
            line.append((bar.at_ns + minute * MINUTE_NS, _ticks(market, price)))
    return line


def _price(bar: Bar, high_first: bool, leg: Fraction) -> Fraction:
    extremes = (bar.high, bar.low) if high_first else (bar.low, bar.high)
    corners = (bar.open, *extremes, bar.close)
    at = int(leg)
    return corners[at] + (corners[at + 1] - corners[at]) * (leg - at)


def _ticks(market: MarketSpec, price: Fraction) -> Ticks:
    steps = Fraction(price, market.tick.step)
    return div_half_even(steps.numerator, steps.denominator)


def _rows(file: Path) -> Iterator[tuple[int, Bar]]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines)
            header = tuple(next(rows, ()))
            if header != COLUMNS:
                raise ConfigError(f"{file}, line 1, column 1: expected {','.join(COLUMNS)}, was {','.join(header)}")
            for fields in rows:
                yield rows.line_num, _bar(file, rows.line_num, fields)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}: expected a readable CSV file, was {error}") from None


def _bar(file: Path, line: int, fields: Sequence[str]) -> Bar:
    if len(fields) != len(COLUMNS):
        column = min(len(fields), len(COLUMNS)) + 1
        raise ConfigError(f"{file}, line {line}, column {column}: expected {len(COLUMNS)} fields, was {len(fields)}")
    numbers = {name: _number(file, line, name, text) for name, text in zip(COLUMNS[2:], fields[2:], strict=True)}
    bar = Bar(at_ns=_stamp(file, line, fields[0]), exchange=fields[1], **numbers)
    if not fields[1]:
        raise ConfigError(f"{file}, line {line}, column exchange: expected a name, was nothing")
    for name in ("open", "high", "low", "close"):
        if numbers[name] <= 0:
            raise ConfigError(f"{file}, line {line}, column {name}: expected a positive price, was {fields[2:]}")
    if bar.volume < 0:
        raise ConfigError(f"{file}, line {line}, column volume: expected zero or more, was {fields[6]}")
    if bar.low > bar.high:
        raise ConfigError(f"{file}, line {line}, column low: expected at most the high, was {fields[4]} > {fields[3]}")
    return bar


def _number(file: Path, line: int, column: str, text: str) -> Fraction:
    try:
        return exact(text, column)
    except UnitsError as error:
        raise ConfigError(f"{file}, line {line}, column {column}: {str(error).partition(': ')[2]}") from None


def _stamp(file: Path, line: int, text: str) -> Nanos:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise ConfigError(f"{file}, line {line}, column ts: expected a time like 2020-03-12T00:00:00Z, was {text!r}")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    stamp_ns = (since.days * 86_400 + since.seconds) * SECOND_NS
    if since.microseconds or stamp_ns % MINUTE_NS:
        raise ConfigError(f"{file}, line {line}, column ts: expected a whole minute, was {text!r}")
    return stamp_ns
