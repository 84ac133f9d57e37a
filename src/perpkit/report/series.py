"""Recordings as coordinates: x in minutes since the span began, y in the unit that people read."""

from collections.abc import Callable, Iterable, Sequence
from math import nan
from typing import TypeAlias

from perpkit.model.cause import Cause
from perpkit.model.price import LeftOut, PriceState
from perpkit.report.canvas import WIDTH, Span
from perpkit.report.run import RunSummary
from perpkit.runtime.recording import Absence, Point
from perpkit.units import Nanos, Ticks, Units

Coordinates: TypeAlias = tuple[list[float], list[float]]
PriceOf: TypeAlias = Callable[[Point], Ticks]

PRICES: dict[str, PriceOf] = {
    "index": lambda point: point.index_ticks,
    "mark": lambda point: point.mark_ticks,
    "last": lambda point: point.last_ticks,
}

_COLUMNS = 640
"""Dots of a line nearer to one another than this part of a picture's width cannot be told apart."""


def price(run: RunSummary, span: Span, price_of: PriceOf) -> Coordinates:
    """Return one price of every point; no dot where there was none yet."""
    return _priced(run, span, ((point.at_ns, price_of(point)) for point in run.recording.points))


def reference(run: RunSummary, span: Span) -> Coordinates:
    """Return the line that is drawn for comparison, as far as it lies within the span."""
    return _priced(run, span, (each for each in run.reference_line if span.from_ns <= each[0] <= span.to_ns))


def gap(run: RunSummary, span: Span, price_of: PriceOf) -> Coordinates:
    """Return how far a price is from the index, in percent of the index."""
    both = (point for point in run.recording.points if price_of(point) and point.index_ticks)
    return _thinned([(span.x(p.at_ns), 100 * (price_of(p) / p.index_ticks - 1)) for p in both], span)


def money(run: RunSummary, span: Span, units_of: Callable[[Point], Units]) -> Coordinates:
    """Return an amount at the points where it changes, and at the last: a line of steps needs no others."""
    points = run.recording.points
    kept = [
        point
        for point, before in zip(points, [None, *points[:-1]], strict=True)
        if before is None or units_of(point) != units_of(before) or point is points[-1]
    ]
    return [span.x(point.at_ns) for point in kept], [units_of(point) * float(run.unit.step) for point in kept]


def price_limits(runs: Sequence[RunSummary], span: Span) -> tuple[float, float]:
    """Return the least and the greatest price in any of the runs, with some room."""
    return _limits(
        [price(run, span, price_of) for run in runs for price_of in PRICES.values()]
        + [reference(run, span) for run in runs]
    )


def gap_limits(runs: Sequence[RunSummary], span: Span) -> tuple[float, float]:
    """Return the least and the greatest gap to the index in any of the runs, with some room."""
    return _limits([gap(run, span, PRICES[name]) for run in runs for name in ("mark", "last")])


def fund_limit(runs: Sequence[RunSummary]) -> float:
    """Return the greatest balance or reserve in any of the runs, with some room."""
    seen = [max(p.fund_units, p.reserved_units) * float(run.unit.step) for run in runs for p in run.recording.points]
    return max(*seen, *(run.fund_start_units * float(run.unit.step) for run in runs)) * 1.08 or 1.0


def frozen(run: RunSummary, span: Span) -> list[tuple[float, float]]:
    """Return from where to where the mark was frozen after it had once been there."""
    found: list[tuple[float, float]] = []
    points = [point for point in run.recording.points if point.mark_ticks]
    for point, after in zip(points, [*points[1:], *points[-1:]], strict=True):
        if point.mark_state is PriceState.FROZEN:
            start, end = span.x(point.at_ns), span.x(after.at_ns)
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, end))
    return found


def forced(run: RunSummary, span: Span, cause: Cause, edges: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the size of the longs and of the shorts that lost it for a cause, in bins of equal width."""
    longs, shorts = [0.0] * (len(edges) - 1), [0.0] * (len(edges) - 1)
    for close in run.recording.forced:
        if close.cause is cause:
            place = int((span.x(close.at_ns) - edges[0]) / (edges[1] - edges[0]))
            sizes = longs if close.lots > 0 else shorts
            sizes[min(max(place, 0), len(sizes) - 1)] += abs(close.lots) * float(run.market.lot.step)
    return longs, shorts


def strokes(run: RunSummary, span: Span, cause: Cause, low: float, high: float) -> Coordinates:
    """Return an upright stroke wherever something was closed for this cause, as one line with gaps."""
    closes = [close for close in run.recording.forced if close.cause is cause]
    columns = {_column(span.x(close.at_ns), span): span.x(close.at_ns) for close in closes}
    return [x for at in columns.values() for x in (at, at, nan)], [low, high, nan] * len(columns)


def bars(absences: Iterable[Absence], reason: LeftOut, span: Span, y: float) -> Coordinates:
    """Return the absences for one reason as one line with gaps; one too short to be seen is drawn longer."""
    shortest = span.end * 1.5 / WIDTH
    drawn: list[tuple[float, float]] = []
    for absence in absences:
        if absence.reason is reason:
            start = span.x(absence.from_ns)
            end = max(span.x(until(absence, span)), start + shortest)
            if drawn and start <= drawn[-1][1]:
                start = drawn.pop()[0]
            drawn.append((start, end))
    return [x for start, end in drawn for x in (start, end, nan)], [y, y, nan] * len(drawn)


def until(absence: Absence, span: Span) -> Nanos:
    """Return when an absence ended, or the end of the span."""
    return absence.to_ns or span.to_ns


def _priced(run: RunSummary, span: Span, line: Iterable[tuple[Nanos, Ticks]]) -> Coordinates:
    step = float(run.market.tick.step)
    return _thinned([(span.x(at_ns), ticks * step) for at_ns, ticks in line if ticks], span)


def _thinned(line: Sequence[tuple[float, float]], span: Span) -> Coordinates:
    """Keep the highest and the lowest of the dots that would fall on one another."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for dot in line:
        columns.setdefault(_column(dot[0], span), []).append(dot)
    kept = [
        dot
        for dots in columns.values()
        for dot in sorted({min(dots, key=lambda each: each[1]), max(dots, key=lambda each: each[1])})
    ]
    return [x for x, _ in kept], [y for _, y in kept]


def _column(x: float, span: Span) -> int:
    return int(x * _COLUMNS / span.end)


def _limits(lines: Iterable[Coordinates]) -> tuple[float, float]:
    seen = [y for _, ys in lines for y in ys] or [0.0]
    room = (max(seen) - min(seen)) * 0.06 or 1.0
    return min(seen) - room, max(seen) + room
