"""What every picture has in common: palette, time axis, and matplotlib's SVG made small, repeatable and themeable."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Self

import attrs

from perpkit.errors import ConfigError
from perpkit.report.run import RunSummary, day, when
from perpkit.units import MINUTE_NS, Nanos, div_ceil, div_floor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2328", "#5f6b76", "#dfe3e6", "#ffffff"
BLUE, VERMILLION, SKY, ORANGE, PURPLE, GREEN = "#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#cc79a7", "#009e73"
"""Okabe and Ito's colours, which people with any kind of colour vision can tell apart."""

THEME = {
    "ink": (INK, "#e8eaec"),
    "muted": (MUTED, "#a3acb5"),
    "grid": (GRID, "#363c42"),
    "paper": (PAPER, "#15181b"),
    "blue": (BLUE, "#58aee6"),
    "vermillion": (VERMILLION, "#f0813a"),
    "sky": (SKY, SKY),
    "orange": (ORANGE, ORANGE),
    "purple": (PURPLE, "#d68bb5"),
    "green": (GREEN, "#35c49b"),
}
"""Each colour on light and on dark paper, by the name of its CSS variable."""

WIDTH = 900
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "xtick.bottom": False,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.4,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
}
_TICK_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080)


@attrs.frozen
class Span:
    """The time that a report covers; x is in minutes since it began."""

    from_ns: Nanos
    to_ns: Nanos

    @classmethod
    def of(cls, runs: Sequence[RunSummary]) -> Self:
        """Return the time from the first point of any run to the last.

        Raises:
            ConfigError: no run has a point.
        """
        stamps = [point.at_ns for run in runs for point in run.recording.points]
        if not stamps:
            raise ConfigError("report: expected runs with at least one recorded point, was none; call Recording.point")
        return cls(min(stamps), max(*stamps, min(stamps) + MINUTE_NS))

    def x(self, at_ns: Nanos) -> float:
        """Return where a stamp lies on the time axis."""
        return (at_ns - self.from_ns) / MINUTE_NS

    @property
    def end(self) -> float:
        """Where the axis ends."""
        return self.x(self.to_ns)

    def step(self, most: int) -> int:
        """Return the smallest round number of minutes that divides the span into at most `most` parts."""
        return next((m for m in _TICK_MINUTES if self.end <= m * most), div_ceil(int(self.end), most))

    def label(self, axes: "Axes", most: int = 9) -> None:
        """Set the limits and the ticks of a time axis: hours in UTC, and the date where it changes."""
        step_ns = self.step(most) * MINUTE_NS
        date = ""
        stamps = range(div_ceil(self.from_ns, step_ns) * step_ns, self.to_ns + 1, step_ns)
        for at_ns in stamps:
            if day(at_ns) != date:
                date = day(at_ns)
                if self.x(at_ns) < 0.9 * self.end:  # the rest belongs to the name of the time zone
                    under_axis(axes, self.x(at_ns), date, "center")
        under_axis(axes, self.end, "UTC", "right")
        axes.set_xlim(0, self.end)
        axes.set_xticks([self.x(at_ns) for at_ns in stamps], [f"{when(at_ns):%H:%M}" for at_ns in stamps])

    def bins(self, most: int) -> tuple[int, list[float]]:
        """Return the width in minutes, and the edges, of bins that cover the span."""
        width = self.step(most)
        return width, [float(width * n) for n in range(div_floor(int(self.end), width) + 2)]


def under_axis(axes: "Axes", x: float, text: str, align: str) -> None:
    """Write a line of text below the labels of a time axis."""
    place = ("data", "axes fraction")
    axes.annotate(text, (x, 0), (0, -30), xycoords=place, textcoords="offset points", ha=align, color=MUTED)


def picture(
    name: str,
    height: int,
    draw: "Callable[[Figure], None]",
    *,
    title: str,
    description: str,
    themed: bool = True,
) -> str:
    """Return what `draw` puts on an empty figure, as an SVG element.

    `name` starts every id in it, so that pictures with different names may stand in one page. `themed` lets the
    page's CSS variables choose the colours; otherwise the picture brings its own paper.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("report: expected matplotlib for the pictures, found none; install perpkit[report]") from None
    target = io.StringIO()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has its own fonts
        mpl.rcdefaults()
        mpl.rcParams.update({**_STYLE, "svg.hashsalt": name, "figure.facecolor": "none" if themed else PAPER})
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        draw(figure)
        figure.savefig(target, format="svg", metadata={"Date": None})
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc" '
        'style="font-family:system-ui,Helvetica,Arial,sans-serif;stroke-linejoin:round">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return head + _tidy(target.getvalue(), themed=themed)


def _tidy(svg: str, *, themed: bool) -> str:
    body = re.sub(r"^.*?<svg[^>]*>", "", svg, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r'font-family: [^;"]*, sans-serif;? ?', "", body)
    body = re.sub(r'\bd="([^"]*)"', lambda match: f'd="{short_path(match[1])}"', body)
    body = re.sub(r'\b(x|y|width|height)="([\d.]+)"', lambda match: f'{match[1]}="{_rounded(match[2])}"', body)
    if themed:
        for name, (light, _) in THEME.items():
            body = body.replace(f": {light}", f": var(--{name},{light})")
    body = re.sub(r">\s+<", "><", body)
    while "<g></g>" in body or "<defs></defs>" in body:
        body = body.replace("<g></g>", "").replace("<defs></defs>", "")
    return body.strip()


def _rounded(number: str) -> str:
    return f"{float(number):.1f}".removesuffix(".0")


def short_path(absolute: str) -> str:
    """Rewrite a path of moves and straight lines: relative, in tenths of a unit, and without needless spaces."""
    steps = re.findall(r"([A-Za-z])([^A-Za-z]*)", absolute)
    if any(command not in "MLz" for command, _ in steps):
        return re.sub(r"-?\d+\.\d+", lambda match: _rounded(match[0]), " ".join(absolute.split()))
    parts = []
    at = start = (0, 0)
    for command, numbers in steps:
        if command == "z":
            parts.append("z")
            at = start
            continue
        to = tuple(round(float(number) * 10) for number in numbers.split())
        across, down = (_tenths(after - before) for before, after in zip(at, to, strict=True))
        if command == "M":
            parts.append(f"m{across}{down}")
            start = (to[0], to[1])
        elif across == " 0" and down != " 0":
            parts.append(f"v{down}")
        elif down == " 0" and across != " 0":
            parts.append(f"h{across}")
        elif across != " 0":
            parts.append(f"l{across}{down}")
        at = (to[0], to[1])
    return re.sub(r"([a-z]) ", r"\1", "".join(parts))


def _tenths(number: int) -> str:
    """Write a number of tenths, led by its minus sign or else by a space."""
    text = f"{abs(number) / 10:g}".removeprefix("0") or "0"
    return f"{'-' if number < 0 else ' '}{text}"
