"""The runs side by side, in words and numbers."""

from collections.abc import Callable, Iterable, Sequence

import attrs

from perpkit.errors import ConfigError
from perpkit.report.run import RunSummary, day, grouped, percent, when
from perpkit.runtime.recording import Point
from perpkit.units import Ticks


@attrs.frozen
class Row:
    """One line of the comparison: what it is, its value in each run, and what it means."""

    label: str
    values: tuple[str, ...]
    meaning: str = ""


def summary(runs: Sequence[RunSummary]) -> list[Row]:
    """Return the comparison; its first row holds the names of the runs.

    Raises:
        ConfigError: there are no runs.
    """
    if not runs:
        raise ConfigError("report: expected at least one run, was none")
    columns: list[tuple[str, Callable[[RunSummary], str], str]] = [
        ("run", lambda run: run.name, ""),
        *_TRADING,
        *_FUND,
        *_LAST_RESORTS,
        *_BOOKS,
    ]
    return [Row(label, tuple(value(run) for run in runs), meaning) for label, value, meaning in columns]


def render_text(rows: Sequence[Row]) -> str:
    """Return the comparison as lines of plain text with aligned columns.

    Example:
        >>> print(render_text([Row("run", ("stepped", "takeover")), Row("take-overs", ("3", "12"))]))
        run         stepped  takeover
        ----------  -------  --------
        take-overs        3        12
    """
    lines = [(row.label, *row.values) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def _count(name: str) -> Callable[[RunSummary], str]:
    return lambda run: f"{run.recording.counts[name]:,}"


def _gap(run: RunSummary, point: Point | None, price_ticks: Ticks) -> str:
    if point is None or price_ticks == point.index_ticks:
        return "none"
    gap = price_ticks - point.index_ticks
    return f"{run.price(gap)} ({percent(gap, point.index_ticks)}) {day(point.at_ns)} {when(point.at_ns):%H:%M}"


def _last_gap(run: RunSummary) -> str:
    point = run.worst_gap()
    return _gap(run, point, point.last_ticks if point else 0)


def _mark_gap(run: RunSummary) -> str:
    both: Iterable[Point] = (p for p in run.recording.points if p.mark_ticks and p.index_ticks)
    point = max(both, key=lambda p: abs(p.mark_ticks - p.index_ticks), default=None)
    return _gap(run, point, point.mark_ticks if point else 0)


def _conservation(run: RunSummary) -> str:
    if run.client_side_units == run.custody_side_units:
        return f"exact: {run.money(run.client_side_units)}"
    return f"BROKEN: {run.money(run.client_side_units)} is not {run.money(run.custody_side_units)}"


_TRADING: list[tuple[str, Callable[[RunSummary], str], str]] = [
    ("volume", lambda run: run.size(run.recording.volume_lots), "each trade counted once"),
    ("liquidated pools", _count("liquidated pools"), "margin pools found below maintenance"),
    ("closes on the book", _count("LIQUIDATION"), "fills of liquidated positions"),
    ("take-overs", _count("TAKE_OVER"), "positions that the house received"),
    ("worst gap, last to index", _last_gap, "own book against outside venues, UTC"),
    ("worst gap, mark to index", _mark_gap, "the mark decides who is liquidated"),
]
_FUND: list[tuple[str, Callable[[RunSummary], str], str]] = [
    ("fund at start", lambda run: run.money(run.fund_start_units), "the operator's capital"),
    ("fund: paid out", lambda run: run.money(run.recording.fund_drawn_units), "for losses beyond margin"),
    (
        "fund: received",
        lambda run: run.money(run.recording.fund_received_units),
        "gains on what was taken over, margin left over, liquidation fees",
    ),
    (
        "fund: most reserved",
        lambda run: run.money(run.recording.reserved_worst_units),
        "behind what the house had taken over",
    ),
    ("fund at the end", lambda run: run.money(run.recording.fund_units), ""),
]
_LAST_RESORTS: list[tuple[str, Callable[[RunSummary], str], str]] = [
    (
        "deleveraged accounts",
        lambda run: f"{len(run.recording.deleveraged_accounts):,}",
        "winners closed against the house",
    ),
    ("haircut", lambda run: run.money(run.recording.haircut_units), "what that cost them, against the mark"),
    (
        "overshoot",
        lambda run: run.money(run.recording.overshoot_units),
        "haircut beyond what the fund lacked",
    ),
    ("socialised loss", lambda run: run.money(run.recording.socialized_units), "losses that nobody else could pay"),
    ("market settled", lambda run: "yes" if run.recording.settled else "no", "closed for good, at the mark"),
    ("withdrawals recalled", _count("recalled"), "waiting when their account fell into breach"),
]
_BOOKS: list[tuple[str, Callable[[RunSummary], str], str]] = [
    ("deposited", lambda run: run.money(run.deposits_units), "by traders, makers and the operator"),
    ("client side = custody side", _conservation, "what is owed, and what custody holds"),
    ("commands", lambda run: grouped(str(run.commands)), ""),
    ("state digest", lambda run: run.state_digest[:16], "the same commands, the same digest"),
]
