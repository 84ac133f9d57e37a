"""Parts of pictures that more than one picture shows."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from perpkit.model.cause import Cause
from perpkit.report import series
from perpkit.report.canvas import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILLION, Span
from perpkit.report.run import RunSummary, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAUSES = {
    Cause.LIQUIDATION: ("closed on the book", SKY),
    Cause.TAKE_OVER: ("taken over", ORANGE),
    Cause.DELEVERAGING: ("deleveraged", PURPLE),
}


def draw_prices(axes: "Axes", run: RunSummary, span: Span) -> None:
    """Draw the prices, the line for comparison under them, and grey where the mark was frozen."""
    index, mark, last = (series.price(run, span, price_of) for price_of in series.PRICES.values())
    lines = axes.plot(*index, color=INK, alpha=0.4, linewidth=3.2, label="index")
    lines += axes.plot(*mark, color=BLUE, linewidth=1.2, label="mark", zorder=2.4)
    lines += axes.plot(*last, color=VERMILLION, linewidth=0.9, label="last", zorder=2.3)
    if run.reference_line:
        style = (0, (4, 2))
        label = f"{run.reference_name}, for comparison"
        lines += axes.plot(*series.reference(run, span), color=INK, linewidth=0.7, linestyle=style, label=label)
    for start, end in series.frozen(run, span):
        axes.axvspan(start, end, color=MUTED, alpha=0.18, linewidth=0)
    axes.legend(handles=lines, ncols=4, loc="lower right", bbox_to_anchor=(1, 1.02))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.0f}")
    axes.set_ylabel(run.price_name)


def draw_gaps(axes: "Axes", run: RunSummary, span: Span) -> None:
    """Draw how far the last price and the mark were from the index, and name the worst."""
    for name, colour, width in (("last", VERMILLION, 0.9), ("mark", BLUE, 1.0)):
        axes.plot(*series.gap(run, span, series.PRICES[name]), color=colour, linewidth=width)
    axes.axhline(0, color=MUTED, linewidth=0.6)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:+.3g} %" if y else "0")
    axes.set_ylabel("gap to index")
    worst = run.worst_gap()
    if worst and worst.index_ticks and worst.last_ticks != worst.index_ticks:
        part = worst.last_ticks - worst.index_ticks
        x, left = span.x(worst.at_ns), span.x(worst.at_ns) > span.end / 2
        axes.annotate(
            f"last {percent(part, worst.index_ticks)}",
            (x, 100 * part / worst.index_ticks),
            xytext=(-7 if left else 7, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=VERMILLION,
        )


def draw_strip(axes: "Axes", run: RunSummary, span: Span) -> None:
    """Draw a stroke for every minute with a forced close, a row for each cause, and count the closes."""
    for row, (cause, (_, colour)) in enumerate(CAUSES.items()):
        axes.plot(*series.strokes(run, span, cause, row - 0.38, row + 0.38), color=colour, linewidth=1.1)
        count = f"{run.recording.counts[cause.name]:,}"
        axes.annotate(
            count, (1.006, row), xycoords=("axes fraction", "data"), va="center_baseline", color=MUTED, fontsize=10
        )
    axes.set_yticks(range(len(CAUSES)), [label for label, _ in CAUSES.values()], fontsize=10)
    axes.set_ylim(len(CAUSES) - 0.4, -0.6)
    axes.grid(visible=False)


def draw_fund(axes: "Axes", run: RunSummary, span: Span) -> None:
    """Draw the fund's balance, what it started with, and what of it was reserved."""
    balance = series.money(run, span, lambda point: point.fund_units)
    axes.plot(*balance, color=GREEN, linewidth=1.5, drawstyle="steps-post", label="balance")
    start = run.fund_start_units * float(run.unit.step)
    axes.axhline(start, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), label="at start")
    xs, ys = series.money(run, span, lambda point: point.reserved_units)
    axes.stairs(ys[:-1], xs, fill=True, color=ORANGE, alpha=0.45, linewidth=0, label="reserved")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}")


def side_by_side(figure: "Figure", runs: Sequence[RunSummary], *, height: int) -> "list[tuple[Axes, RunSummary]]":
    """Return one panel a run, with a common y axis and room for a legend and heads above."""
    row = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.09, right=0.985, top=1 - 78 / height, bottom=46 / height, wspace=0.13)
    return list(zip(row, runs, strict=True))


def head(axes: "Axes", title: str, below: str) -> None:
    """Write a panel's title and, under it, its result."""
    place = partial(axes.annotate, xy=(0, 1), xycoords="axes fraction", textcoords="offset points")
    place(title, xytext=(0, 25), fontweight="bold", fontsize=12)
    place(below, xytext=(0, 10), color=MUTED, fontsize=10)


def legend_above(figure: "Figure", axes: "Axes") -> None:
    """Explain the colours once for all panels, in the top left corner."""
    corner = (axes.get_position().x0, 0.985)
    figure.legend(*axes.get_legend_handles_labels(), ncols=3, loc="upper left", bbox_to_anchor=corner)
