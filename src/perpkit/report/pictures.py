"""The pictures of a report, one function each, as SVG elements."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perpkit.model.price import LeftOut
from perpkit.report import series
from perpkit.report.canvas import GREEN, MUTED, VERMILLION, Span, picture
from perpkit.report.panels import (
    CAUSES,
    draw_fund,
    draw_gaps,
    draw_prices,
    draw_strip,
    head,
    legend_above,
    side_by_side,
)
from perpkit.report.run import RunSummary, duration, percent, shortened, stamp
from perpkit.runtime.recording import Absence
from perpkit.units import MINUTE_NS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REASONS = {LeftOut.STALE: ("stale", MUTED), LeftOut.DEVIATES: ("deviates", VERMILLION)}
HERO_TITLE = "The crash of 12-13 March 2020 on a perpkit exchange"


def prices_svg(run: RunSummary, *, beside: Sequence[RunSummary] = (), name: str = "prices") -> str:
    """Draw one run's index, mark and last price, how far they were apart, and every forced close.

    The axes are those of all the runs `beside`, so that their pictures can be compared.

    Raises:
        ConfigError: there are no points, or matplotlib is not installed.
    """
    runs = [run, *beside]
    span = Span.of(runs)

    def draw(figure: "Figure") -> None:
        top, gap, strip = figure.subplots(3, 1, height_ratios=[3.4, 1.2, 0.8], sharex=True)
        figure.subplots_adjust(left=0.125, right=0.955, top=0.925, bottom=0.09, hspace=0.14)
        draw_prices(top, run, span)
        top.set_ylim(*series.price_limits(runs, span))
        top.set_title(run.name, loc="left", fontweight="bold")
        draw_gaps(gap, run, span)
        gap.set_ylim(*series.gap_limits(runs, span))
        draw_strip(strip, run, span)
        span.label(strip, 12)
        figure.align_ylabels([top, gap])

    return picture(name, 460, draw, title=f"Prices: {run.name}", description=describe_prices(run))


def liquidations_svg(runs: Sequence[RunSummary], *, name: str = "liquidations") -> str:
    """Draw how much was closed by force, when and how: longs above the line, shorts below.

    Raises:
        ConfigError: there are no points, or matplotlib is not installed.
    """
    span = Span.of(runs)
    width, edges = span.bins(80)
    height = 330

    def draw(figure: "Figure") -> None:
        panels = side_by_side(figure, runs, height=height)
        for axes, run in panels:
            above = below = [0.0] * (len(edges) - 1)
            for cause, (label, colour) in CAUSES.items():
                longs, shorts = series.forced(run, span, cause, edges)
                tops = [a + b for a, b in zip(above, longs, strict=True)]
                bottoms = [a - b for a, b in zip(below, shorts, strict=True)]
                axes.stairs(tops, edges, baseline=above, fill=True, color=colour, label=label)
                axes.stairs(below, edges, baseline=bottoms, fill=True, color=colour)
                above, below = tops, bottoms
            axes.axhline(0, color=MUTED, linewidth=0.8)
            axes.use_sticky_edges = False
            axes.margins(y=0.1)
            axes.yaxis.set_major_formatter(lambda y, _: shortened(abs(y)))
            span.label(axes, 7)
            head(axes, run.name, forced_text(run))
            for text, y, align in (("longs", 0.985, "top"), ("shorts", 0.015, "bottom")):
                axes.text(0.008, y, text, transform=axes.transAxes, va=align, color=MUTED, fontsize=10)
        first = panels[0][0]
        first.set_ylabel(f"{runs[0].size_name} per {duration(width * MINUTE_NS)}")
        legend_above(figure, first)

    description = " ".join(f"{run.name}: {forced_text(run)}." for run in runs)
    return picture(name, height, draw, title="Positions closed by force", description=description)


def fund_svg(runs: Sequence[RunSummary], *, name: str = "fund") -> str:
    """Draw the insurance fund's balance and what of it was reserved.

    Raises:
        ConfigError: there are no points, or matplotlib is not installed.
    """
    span = Span.of(runs)
    height = 290

    def draw(figure: "Figure") -> None:
        panels = side_by_side(figure, runs, height=height)
        for axes, run in panels:
            draw_fund(axes, run, span)
            span.label(axes, 7)
            head(axes, run.name, fund_text(run))
        first = panels[0][0]
        first.set_ylim(0, series.fund_limit(runs))
        first.set_ylabel(runs[0].unit_name)
        legend_above(figure, first)

    description = " ".join(f"{run.name}: {fund_text(run)}." for run in runs)
    return picture(name, height, draw, title="The insurance fund", description=description)


def sources_svg(run: RunSummary, *, name: str = "sources") -> str:
    """Draw when each index source was left out, and why.

    Raises:
        ConfigError: there are no points, or matplotlib is not installed.
    """
    span = Span.of([run])
    absences: dict[int, list[Absence]] = {source: [] for source in sorted(run.source_names)}
    for absence in run.recording.absences:
        absences.setdefault(absence.source, []).append(absence)
    height = 84 + 26 * max(len(absences), 1)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        figure.subplots_adjust(left=0.125, right=0.785, top=1 - 34 / height, bottom=42 / height)
        for row, away in enumerate(absences.values()):
            axes.plot([0, span.end], [row, row], color=GREEN, linewidth=1.2)
            for reason, (_, colour) in REASONS.items():
                axes.plot(*series.bars(away, reason, span, row), color=colour, linewidth=11, solid_capstyle="butt")
            text, place = away_text(away, span), ("axes fraction", "data")
            axes.annotate(text, (1.015, row), xycoords=place, va="center_baseline", color=MUTED, fontsize=10)
        axes.set_yticks(range(len(absences)), [run.source(source) for source in absences])
        axes.set_ylim(len(absences) - 0.4, -0.6)
        axes.grid(visible=False)
        span.label(axes)
        for label, colour, width in [("used", GREEN, 1.2), *((text, shade, 7.0) for text, shade in REASONS.values())]:
            axes.plot([], [], color=colour, linewidth=width, label=label, solid_capstyle="butt")
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1.03))

    description = " ".join(f"{run.source(source)}: {away_text(away, span)}." for source, away in absences.items())
    return picture(name, height, draw, title="Index sources left out", description=description)


def hero_svg(runs: Sequence[RunSummary], *, title: str = HERO_TITLE) -> str:
    """Draw one compact picture for a front page: the run named `stepped`, or else the first; on its own paper.

    Raises:
        ConfigError: there are no points, or matplotlib is not installed.
    """
    span = Span.of(runs)
    run = next((each for each in runs if each.name == "stepped"), runs[0])

    def draw(figure: "Figure") -> None:
        top, strip, fund = figure.subplots(3, 1, height_ratios=[3.2, 0.8, 1.4], sharex=True)
        figure.subplots_adjust(left=0.125, right=0.955, top=0.87, bottom=0.105, hspace=0.14)
        figure.text(0.02, 0.94, title, fontsize=15, fontweight="bold")
        figure.text(0.02, 0.892, f"{run.name}: {forced_text(run)}", fontsize=10, color=MUTED)
        draw_prices(top, run, span)
        draw_strip(strip, run, span)
        draw_fund(fund, run, span)
        fund.set_ylim(0, series.fund_limit([run]) * 1.35)
        fund.locator_params(axis="y", nbins=4)
        fund.set_ylabel(f"fund, {run.unit_name}")
        fund.legend(ncols=3, loc="upper left", bbox_to_anchor=(0.008, 1))
        span.label(fund, 12)
        figure.align_ylabels([top, fund])

    return picture("hero", 420, draw, title=title, description=describe_prices(run), themed=False)


def describe_prices(run: RunSummary) -> str:
    """Say in words what a picture of the prices shows."""
    quoted = [point for point in run.recording.points if point.index_ticks]
    if not quoted:
        return "There was no index price."
    lowest = min(quoted, key=lambda point: point.index_ticks)
    text = (
        f"The index goes from {run.price(quoted[0].index_ticks)} to {run.price(quoted[-1].index_ticks)}; "
        f"its lowest is {run.price(lowest.index_ticks)} at {stamp(lowest.at_ns)} UTC."
    )
    worst = run.worst_gap()
    if worst and worst.index_ticks:
        gap = percent(worst.last_ticks - worst.index_ticks, worst.index_ticks)
        text += f" The last price is farthest from it at {stamp(worst.at_ns)} UTC: {gap}."
    return f"{text} {forced_text(run)}."


def forced_text(run: RunSummary) -> str:
    """Say how much was closed by force, by cause."""
    sizes = dict.fromkeys(CAUSES, 0)
    for close in run.recording.forced:
        sizes[close.cause] += abs(close.lots)
    step = float(run.market.lot.step)
    parts = (f"{label} {shortened(sizes[cause] * step)}" for cause, (label, _) in CAUSES.items())
    return f"{', '.join(parts)} {run.size_name}"


def fund_text(run: RunSummary) -> str:
    """Say what became of the fund."""
    step, recording = float(run.unit.step), run.recording
    start, end, most = (n * step for n in (run.fund_start_units, recording.fund_units, recording.reserved_worst_units))
    return f"{start:,.4g} {run.unit_name} at start, {end:,.4g} at the end, at most {most:,.4g} reserved"


def away_text(absences: Sequence[Absence], span: Span) -> str:
    """Say how long a source was left out, by reason."""
    parts = []
    for reason, (label, _) in REASONS.items():
        length_ns = sum(series.until(each, span) - each.from_ns for each in absences if each.reason is reason)
        if length_ns:
            parts.append(f"{label} {duration(length_ns)}")
    return ", ".join(parts) or "used throughout"
