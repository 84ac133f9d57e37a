"""What a run of the peers says: a table, a picture, and both of them in the documentation."""

import json
import math
import os
import platform
import re
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from perpkit.report.canvas import BLUE, INK, MUTED, SKY, VERMILLION, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
HEAD = (
    "| order book | Python | messages/s of CPU | × reference | messages/s | memory, MiB | right? | how it is called |\n"
    "|---|---|---:|---:|---:|---:|---|---|"
)


class Verdict(IntEnum):
    """Whether what came of the stream was right, best first."""

    RIGHT = 0
    PARTLY = 1
    WRONG = 2
    FAILED = 3


COLOURS = {
    Verdict.RIGHT: (BLUE, "right"),
    Verdict.PARTLY: (SKY, "right in what it says; it does not report trades"),
    Verdict.WRONG: (VERMILLION, "wrong"),
}


@attrs.frozen(kw_only=True)
class Row:
    """One book: medians, and whether it was right."""

    adapter: str
    name: str
    calls: str
    own: bool
    messages: int
    verdict: Verdict = Verdict.FAILED
    said: str = ""
    python: str = ""
    cpu_s: float = 0
    cpu_s_of_rounds: Sequence[float] = ()
    wall_s: float = 0
    memory_mib: int = 0

    @property
    def cpu_rate(self) -> float:
        """Messages in a second of CPU time, 0 where there is no figure."""
        return self.messages / self.cpu_s if self.cpu_s else 0


@attrs.frozen(kw_only=True)
class Report:
    """A whole run."""

    rows: Sequence[Row]
    reference: str
    machine: str
    messages: int
    rounds: int

    def label(self, row: Row) -> str:
        """Return the name of a book, and that it did not get the whole stream."""
        return row.name if row.messages == self.messages else f"{row.name}, first {row.messages:,}"

    def ratio(self, row: Row) -> float:
        """Return how many times as fast as the reference book it is, 0 where there is no figure."""
        reference = next(each.cpu_rate for each in self.rows if each.adapter == self.reference)
        return row.cpu_rate / reference if reference else 0

    def conditions(self) -> str:
        """Say what was run, and where."""
        times = "one round" if self.rounds == 1 else f"medians of {self.rounds} rounds"
        return f"{self.messages:,} messages, {times}, on {self.machine}."

    def table(self) -> str:
        """Return the rows as Markdown."""
        return "\n".join([HEAD, *(self._line(row) for row in self.rows)])

    def _line(self, row: Row) -> str:
        name = f"**{self.label(row)}**" if row.own else self.label(row)
        figures = ["–"] * 5
        if row.cpu_s:
            rates = [shortened(row.cpu_rate), f"{figure(self.ratio(row))}", shortened(row.messages / row.wall_s)]
            figures = [row.python, *rates, f"{row.memory_mib:,}"]
        return f"| {' | '.join([name, *figures, row.said.replace('|', '/'), row.calls])} |"

    def json(self) -> str:
        """Return every figure."""
        rows = [
            {**attrs.asdict(row), "verdict": row.verdict.name.lower(), "ratio": self.ratio(row)} for row in self.rows
        ]
        return json.dumps({"machine": self.machine, "messages": self.messages, "rows": rows}, indent=2) + "\n"

    def svg(self) -> str:
        """Draw a bar for each book that has a figure."""
        shown = [row for row in self.rows if row.cpu_s][::-1]
        height = 110 + 25 * len(shown)
        low = 10 ** math.floor(math.log10(min(row.cpu_rate for row in shown)))

        def draw(figure: "Figure") -> None:
            from matplotlib.patches import Patch

            axes = figure.subplots()
            figure.subplots_adjust(left=0.29, right=0.94, top=1 - 62 / height, bottom=42 / height)
            axes.set_xscale("log")
            for place, row in enumerate(shown):
                axes.barh(place, row.cpu_rate - low, left=low, height=0.66, color=COLOURS[row.verdict][0])
                axes.annotate(
                    shortened(row.cpu_rate), (row.cpu_rate, place), (5, 0), textcoords="offset points", va="center",
                    color=MUTED, fontsize=10,
                )  # fmt: skip
            axes.set_yticks(range(len(shown)), [self.label(row) for row in shown])
            for text, row in zip(axes.get_yticklabels(), shown, strict=True):
                text.set(color=INK, fontweight="bold" if row.own else "normal", fontsize=10.5)
            axes.set_xlim(low, max(row.cpu_rate for row in shown) * 2.2)
            axes.set_ylim(-0.6, len(shown) - 0.4)
            axes.grid(visible=False, axis="y")
            axes.grid(visible=True, axis="x")
            axes.minorticks_off()
            axes.xaxis.set_major_formatter(lambda x, _: shortened(x))
            axes.set_xlabel("messages in a second of CPU time")
            figure.text(0.02, 1 - 24 / height, TITLE, fontsize=15, fontweight="bold", va="center")
            legend = [
                Patch(color=COLOURS[each][0], label=COLOURS[each][1]) for each in sorted({r.verdict for r in shown})
            ]
            figure.legend(handles=legend, ncols=3, loc="center left", bbox_to_anchor=(0.02, 1 - 48 / height))

        words = [f"{self.label(row)}: {shortened(row.cpu_rate)}, {COLOURS[row.verdict][1]}." for row in shown[::-1]]
        return picture("peers", height, draw, title=TITLE, description=" ".join(words), themed=False)

    def write_docs(self, docs: Path) -> None:
        """Put the table between its marks, and the picture beside the others."""
        page = docs / "explanation" / "performance.md"
        content = f"{BEGIN}\n{self.conditions()}\n\n{self.table()}\n{END}"
        text, marks = re.subn(f"{BEGIN}.*?{END}", lambda _: content, page.read_text("utf-8"), flags=re.DOTALL)
        if marks != 1:
            raise ValueError(f"{page}: expected one {BEGIN} with its {END}, found {marks}")
        page.write_text(text, "utf-8")
        (docs / "images" / "peers.svg").write_text(self.svg() + "\n", "utf-8")


TITLE = "Order books, called from Python, on the same messages"


def figure(number: float) -> str:
    """Return a number with as many digits as a measurement of this kind bears."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def shortened(number: float) -> str:
    """Return a rate in millions or thousands."""
    if number >= 999_500:
        return f"{number / 1e6:.3g} M"
    return f"{number / 1e3:.3g} k" if number >= 1_000 else f"{number:.3g}"


def machine() -> str:
    """Say on what this runs."""
    try:
        known = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except FileNotFoundError:
        known = None
    processor = known[1] if known else platform.machine()
    release = ".".join(platform.release().split(".")[:2])
    return f"{processor}, {os.cpu_count()} cores, {platform.system()} {release}"
