"""One page that holds everything: it asks nobody for anything and runs no script."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from perpkit.model.price import LeftOut
from perpkit.report.canvas import THEME
from perpkit.report.pictures import fund_svg, liquidations_svg, prices_svg, sources_svg
from perpkit.report.run import RunSummary, stamp
from perpkit.report.table import Row, summary
from perpkit.runtime.recording import Absence

_ABSENCES_MOST = 100
_REASONS = {LeftOut.STALE: "as stale", LeftOut.DEVIATES: "because it deviated"}

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
:root { $light }
@media (prefers-color-scheme: dark) { :root { $dark } }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .5rem; }
ul { padding-left: 1.25rem; }
figure { margin: 0 0 1.5rem; }
figcaption, .meaning, .notes { color: var(--muted); font-size: .9rem; }
.scroll { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem .35rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--grid); }
th:first-child { text-align: left; font-weight: 500; }
td { white-space: nowrap; }
@media (max-width: 45rem) {
  table { font-size: .8rem; } td { white-space: normal; } th:first-child { min-width: 8rem; } }
td:last-child, thead th:last-child { padding-right: 0; }
.meaning { display: block; font-weight: 400; font-size: .8rem; line-height: 1.3; }
code { font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$introduction</p>
$notes
<h2>Side by side</h2>
$table
<h2>Prices</h2>
$prices
<h2>Positions closed by force</h2>
$liquidations
<h2>The insurance fund</h2>
$fund
<h2>Where the index came from</h2>
$sources
<h2>Run it again</h2>
$again
</body>
</html>
""")


def write_report(
    path: Path,
    runs: Sequence[RunSummary],
    *,
    title: str,
    notes: Sequence[str],
    command: str = "perpkit demo",
) -> None:
    """Write the report on some runs as one HTML file: the same prices and traders, liquidated in different ways.

    Raises:
        ConfigError: there are no runs, none of them has a point, or matplotlib is not installed.
    """
    path.write_text(render_html(runs, title=title, notes=notes, command=command), encoding="utf-8", newline="\n")


def render_html(runs: Sequence[RunSummary], *, title: str, notes: Sequence[str], command: str = "perpkit demo") -> str:
    """Return the report on some runs as a page; the same runs give the same text, to the byte.

    Raises:
        ConfigError: there are no runs, none of them has a point, or matplotlib is not installed.
    """
    rows = summary(runs)
    groups = _same_absences(runs)
    return _PAGE.substitute(
        title=escape(title),
        light=_variables(0),
        dark=_variables(1),
        introduction=escape(_introduction(runs)),
        notes=_list(notes, "notes"),
        table=_table(rows),
        prices=_prices(runs),
        liquidations=_figure(liquidations_svg(runs), _LOOK["liquidations"]),
        fund=_figure(fund_svg(runs), _LOOK["fund"]),
        sources="".join(
            _sources(run, f"sources-{n}", names if len(groups) > 1 else "") for n, (names, run) in enumerate(groups, 1)
        ),
        again=_again(runs, command),
    )


_LOOK = {
    "prices": "Look for the hours in which the last price leaves the index: the book of the exchange has run thin, "
    "while the mark, which decides who is liquidated, stays with the venues outside.",
    "liquidations": "Compare what was closed on the book, where an owner keeps what is left, with what the house took "
    "over, and with the winners on the other side who were deleveraged for it.",
    "fund": "Where the reserve reaches the balance, the fund may promise no more, and deleveraging begins.",
    "sources": "A source that stands still, or runs away from the others, is left out before it can move the index.",
}


def _introduction(runs: Sequence[RunSummary]) -> str:
    exchange = "A whole exchange, put together from perpkit's parts, went through the hours below"
    if len(runs) == 1:
        return f"{exchange}, as the run {runs[0].name}. Every number follows from its commands alone."
    times = "twice" if len(runs) == 2 else f"{len(runs)} times"
    names = f"{', '.join(run.name for run in runs[:-1])} and {runs[-1].name}"
    return (
        f"{exchange} {times}; the runs are called {names}. Prices, traders and seed are the same each time and only "
        "the way to liquidate differs, so whatever differs below is its doing."
    )


def _variables(theme: int) -> str:
    return " ".join(f"--{name}: {colours[theme]};" for name, colours in THEME.items())


def _list(items: Iterable[str], kind: str) -> str:
    lines = "".join(f"<li>{escape(item)}</li>\n" for item in items)
    return f'<ul class="{kind}">\n{lines}</ul>' if lines else ""


def _table(rows: Sequence[Row]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in rows[0].values)
    lines = []
    for row in rows[1:]:
        meaning = f'<span class="meaning">{escape(row.meaning)}</span>' if row.meaning else ""
        cells = "".join(f"<td>{escape(value)}</td>" for value in row.values)
        lines.append(f'<tr><th scope="row">{escape(row.label)}{meaning}</th>{cells}</tr>\n')
    head = f"<thead><tr><th></th>{names}</tr></thead>"
    return _scroll("figures side by side", f"<table>{head}\n<tbody>\n{''.join(lines)}</tbody></table>")


def _figure(svg: str, caption: str) -> str:
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{_scroll('picture', svg)}{text}</figure>\n"


def _scroll(label: str, content: str) -> str:
    """Let something wide be moved aside on a narrow screen, by keyboard too."""
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">{content}</div>'


def _same_absences(runs: Sequence[RunSummary]) -> list[tuple[str, RunSummary]]:
    """Return the names of the runs whose index had the same sources throughout, with one run of each such group."""
    groups: list[list[RunSummary]] = []
    for run in runs:
        same = next((group for group in groups if group[0].recording.absences == run.recording.absences), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    return [(", ".join(run.name for run in group), group[0]) for group in groups]


def _prices(runs: Sequence[RunSummary]) -> str:
    """Return a picture for each run; what to look at is said once, under the last."""
    svgs = [
        prices_svg(run, beside=[other for other in runs if other is not run], name=f"prices-{number}")
        for number, run in enumerate(runs, 1)
    ]
    return "".join(_figure(svg, "") for svg in svgs[:-1]) + _figure(svgs[-1], _LOOK["prices"])


def _sources(run: RunSummary, name: str, heading: str) -> str:
    absences = run.recording.absences
    lines = [absence_text(run, absence) for absence in absences[:_ABSENCES_MOST]]
    if len(absences) > _ABSENCES_MOST:
        lines.append(f"and {len(absences) - _ABSENCES_MOST:,} times more")
    above = f"<h3>{escape(heading)}</h3>\n" if heading else ""
    below = _list(lines, "absences") or "<p>No source was ever left out.</p>"
    return f"{above}{_figure(sources_svg(run, name=name), _LOOK['sources'])}{below}\n"


def absence_text(run: RunSummary, absence: Absence) -> str:
    """Say which source was left out, why, and from when to when."""
    start, end = stamp(absence.from_ns), stamp(absence.to_ns)
    if not absence.to_ns:
        end = "the end"
    elif end.split()[0] == start.split()[0]:
        end = f"{end.split()[1]} UTC"
    else:
        end = f"{end} UTC"
    start = start if absence.to_ns else f"{start} UTC"
    return f"{run.source(absence.source)} was left out {_REASONS[absence.reason]} from {start} to {end}"


def _again(runs: Sequence[RunSummary], command: str) -> str:
    digests = "".join(
        f"<li>{escape(run.name)}: {run.commands:,} commands, <code>{escape(run.state_digest)}</code></li>\n"
        for run in runs
    )
    return (
        f"<p><code>{escape(command)}</code> gives the same report again. An exchange is a function of its commands: "
        "whoever replays them must arrive at these digests of its whole state. A digest that differs means that the "
        f"code, the configuration or the prices differ.</p>\n<ul>\n{digests}</ul>"
    )
