"""The report says what the recordings hold, in little space, the same way every time, and asks nobody for anything."""

import random
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

from perpkit.errors import ConfigError
from perpkit.model.cause import Cause
from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.price import LeftOut, PriceState
from perpkit.report import (
    RunSummary,
    fund_svg,
    hero_svg,
    liquidations_svg,
    prices_svg,
    render_html,
    render_text,
    series,
    sources_svg,
    summary,
    write_report,
)
from perpkit.report.canvas import Span, short_path
from perpkit.report.html import absence_text
from perpkit.report.run import shortened
from perpkit.runtime.recording import Absence, ForcedClose, Point, Recording
from perpkit.units import MINUTE_NS, SECOND_NS, Scale

START_NS = 1_583_971_200 * SECOND_NS  # 2020-03-12 00:00 UTC
MARKET = MarketSpec(
    id=1,
    name="XBTUSD",
    kind=ContractKind.INVERSE,
    settlement=1,
    tick=Scale.of("0.5"),
    lot=Scale.of("1"),
    numerator=2 * 10**8,
    denominator=1,
    brackets=(Bracket(up_to_units=10**12, initial_ppb=10**7, maintenance_ppb=5 * 10**6),),
    price_min_ticks=1000,
    price_max_ticks=200_000,
    order_max_lots=10**6,
    open_interest_max_lots=10**8,
    orders_max=100,
    market_slippage_ppb=5 * 10**7,
    liquidation_fee_ppb=5 * 10**5,
)


def at(minute: int) -> int:
    return START_NS + minute * MINUTE_NS


def point(minute: int, index: int, mark: int, last: int, **changes: int) -> Point:
    whole = Point(
        at_ns=at(minute),
        index_ticks=index,
        mark_ticks=mark,
        mark_state=PriceState.OK,
        last_ticks=last,
        fund_units=20 * 10**8,
        reserved_units=0,
    )
    return attrs.evolve(whole, **changes)


def recording() -> Recording:
    """Three minutes: no price yet, a small gap, a large one below the index."""
    return Recording(
        market=1,
        points=[point(0, 0, 0, 0), point(1, 16_000, 16_010, 15_990), point(2, 10_000, 10_000, 9_000)],
        forced=[
            ForcedClose(at_ns=at(1), cause=Cause.LIQUIDATION, account=7, lots=3_000, price_ticks=9_000),
            ForcedClose(at_ns=at(2), cause=Cause.TAKE_OVER, account=7, lots=1_000, price_ticks=9_000),
            ForcedClose(at_ns=at(2), cause=Cause.DELEVERAGING, account=8, lots=-500, price_ticks=9_000),
        ],
        counts={"liquidated pools": 4, "LIQUIDATION": 11, "TAKE_OVER": 5, "DELEVERAGING": 1, "recalled": 2},
        volume_lots=1_234_567,
        fund_units=19 * 10**8,
        fund_drawn_units=10**8 + 1,
        reserved_worst_units=3 * 10**8,
        deleveraged_accounts={8, 9},
        gap_worst_ticks=1_000,
        gap_worst_ns=at(2),
    )


def run(name: str = "stepped", **changes: object) -> RunSummary:
    whole = RunSummary(
        name=name,
        recording=recording(),
        market=MARKET,
        unit=Scale.of("0.00000001"),
        unit_name="XBT",
        fund_start_units=20 * 10**8,
        commands=57_686,
        client_side_units=5 * 10**8,
        custody_side_units=5 * 10**8,
        deposits_units=5 * 10**8,
        state_digest="0123456789abcdef" * 4,
        source_names={1: "atlantic", 2: "boreal"},
    )
    return attrs.evolve(whole, **changes)


def long_run(name: str, seed: int) -> RunSummary:
    """Everything changes in every one of 2,160 minutes: the largest pictures that the demo can ask for."""
    noise = random.Random(seed)
    points, forced, reference = [], [], []
    for minute in range(2160):
        index = 16_000 - 4 * minute + noise.randrange(400)
        changes = {"fund_units": noise.randrange(20 * 10**8), "reserved_units": noise.randrange(20 * 10**8)}
        last = index + noise.randrange(-900, 900)
        points.append(point(minute, index, index + noise.randrange(-90, 90), last, **changes))
        reference.append((at(minute), index + noise.randrange(-900, 900)))
        forced += [
            ForcedClose(at_ns=at(minute), cause=cause, account=1, lots=noise.randrange(-9_000, 9_000), price_ticks=1)
            for cause in (Cause.LIQUIDATION, Cause.TAKE_OVER, Cause.DELEVERAGING)
        ]
    absences = [Absence(source=1, reason=LeftOut.DEVIATES, from_ns=at(n), to_ns=at(n + 1)) for n in range(0, 2160, 2)]
    recorded = Recording(market=1, points=points, forced=forced, absences=absences)
    return run(name, recording=recorded, reference_line=reference)


def cells(runs: Sequence[RunSummary]) -> dict[str, tuple[str, ...]]:
    return {row.label: row.values for row in summary(runs)}


def test_the_table_holds_what_was_recorded() -> None:
    table = cells([run(), run("takeover", recording=Recording(market=1))])
    assert table == {
        "run": ("stepped", "takeover"),
        "volume": ("1,234,567 USD", "0 USD"),
        "liquidated pools": ("4", "0"),
        "closes on the book": ("11", "0"),
        "take-overs": ("5", "0"),
        "worst gap, last to index": ("-500.0 USD (-10.00 %) 12 Mar 00:02", "none"),
        "worst gap, mark to index": ("5.0 USD (0.06 %) 12 Mar 00:01", "none"),
        "fund at start": ("20.00000000 XBT", "20.00000000 XBT"),
        "fund: paid out": ("1.00000001 XBT", "0.00000000 XBT"),
        "fund: received": ("0.00000000 XBT", "0.00000000 XBT"),
        "fund: most reserved": ("3.00000000 XBT", "0.00000000 XBT"),
        "fund at the end": ("19.00000000 XBT", "0.00000000 XBT"),
        "deleveraged accounts": ("2", "0"),
        "haircut": ("0.00000000 XBT", "0.00000000 XBT"),
        "overshoot": ("0.00000000 XBT", "0.00000000 XBT"),
        "socialised loss": ("0.00000000 XBT", "0.00000000 XBT"),
        "market settled": ("no", "no"),
        "withdrawals recalled": ("2", "0"),
        "deposited": ("5.00000000 XBT", "5.00000000 XBT"),
        "client side = custody side": ("exact: 5.00000000 XBT", "exact: 5.00000000 XBT"),
        "commands": ("57,686", "57,686"),
        "state digest": ("0123456789abcdef", "0123456789abcdef"),
    }


def test_books_that_do_not_balance_are_not_called_exact() -> None:
    broken = run(custody_side_units=5 * 10**8 - 1)
    assert cells([broken])["client side = custody side"] == ("BROKEN: 5.00000000 XBT is not 4.99999999 XBT",)


def test_no_runs_make_no_report() -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        summary([])


def test_text_columns_end_together() -> None:
    lines = render_text(summary([run(), run("takeover")])).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["run", "stepped", "takeover"]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (999.7, "1k"), (20_000, "20k"), (-1_250_000, "-1.2M"), (3e9, "3B")]
)
def test_short_numbers(number: float, text: str) -> None:
    assert shortened(number) == text


@pytest.mark.parametrize(
    ("absolute", "relative"),
    [
        ("M 10 20 \nL 10.04 35 \nL 12 35 \nL 12 35.01 \nz\n", "m10 20v15h2z"),
        ("M 1.26 0 \nL 0.76 -2 \nM 3 3 \nL 4 4 \n", "m1.3 0l-.5-2m2.2 5l1 1"),
        ("M 5 5 \nL 6 6 \nz\nM 6 5 \n", "m5 5l1 1zm1 0"),
        ("M 1.23 4 \nQ 1 2 3 4.56 \n", "M 1.2 4 Q 1 2 3 4.6"),
    ],
)
def test_paths_are_written_shorter_and_end_where_they_did(absolute: str, relative: str) -> None:
    assert short_path(absolute) == relative


@pytest.mark.parametrize(
    ("reason", "minutes", "text"),
    [
        (LeftOut.STALE, (1695, 1740), "as stale from 2020-03-13 04:15 to 05:00 UTC"),
        (LeftOut.DEVIATES, (60, 1500), "because it deviated from 2020-03-12 01:00 to 2020-03-13 01:00 UTC"),
        (LeftOut.STALE, (60, None), "as stale from 2020-03-12 01:00 UTC to the end"),
    ],
)
def test_absences_in_words(reason: LeftOut, minutes: tuple[int, int | None], text: str) -> None:
    start, end = minutes
    absence = Absence(source=2, reason=reason, from_ns=at(start), to_ns=at(end) if end else 0)
    assert absence_text(run(), absence) == f"boreal was left out {text}"


def test_longs_and_shorts_are_told_apart_and_binned() -> None:
    one, edges = run(), [0.0, 1.0, 2.0]
    span = Span.of([one])
    assert series.forced(one, span, Cause.LIQUIDATION, edges) == ([0, 3_000], [0, 0])
    assert series.forced(one, span, Cause.DELEVERAGING, edges) == ([0, 0], [0, 500])


def test_lines_in_the_units_that_people_read() -> None:
    one = run(reference_line=[(at(-1), 4), (at(1), 16_000), (at(3), 4)])
    span = Span.of([one])
    assert series.price(one, span, series.PRICES["last"]) == ([1, 2], [7_995, 4_500])
    assert series.reference(one, span) == ([1], [8_000])
    assert series.gap(one, span, series.PRICES["last"])[1] == pytest.approx([-0.0625, -10])
    assert series.money(one, span, lambda each: each.fund_units) == ([0, 2], [20, 20])


def test_a_thinned_line_keeps_its_extremes() -> None:
    one = long_run("stepped", 1)
    xs, ys = series.price(one, Span.of([one]), series.PRICES["last"])
    seen = [each.last_ticks / 2 for each in one.recording.points]
    assert len(xs) < len(seen) * 2 / 3
    assert xs == sorted(xs)
    assert (min(ys), max(ys)) == (min(seen), max(seen))


def test_frozen_stretches_are_joined() -> None:
    states = [PriceState.FROZEN if n in {2, 3, 5} else PriceState.OK for n in range(7)]
    points = [point(n, 100, 100, 100, mark_state=state) for n, state in enumerate(states)]
    one = run(recording=Recording(market=1, points=points))
    assert series.frozen(one, Span.of([one])) == [(2, 4), (5, 6)]


class Reader(HTMLParser):
    """Keeps what a browser would act upon."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "action", "data", "srcset"}:
                self.links.append(value or "")


@pytest.fixture(scope="module")
def page() -> str:
    pytest.importorskip("matplotlib")
    return render_html([long_run("stepped", 1), long_run("takeover", 2)], title="T", notes=["N"])


def test_the_page_is_small_and_stands_alone(page: str) -> None:
    assert len(page.encode()) < 1_000_000
    read = Reader(page)
    assert not read.tags & {"script", "iframe", "img", "object", "embed", "foreignobject"}
    assert [link for link in read.links if not link.startswith("#")] == ["data:,"]
    assert not re.search(r"@import|url\((?!#)", page)
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "").replace("http-equiv", "")
    assert len(read.ids) == len(set(read.ids))


def test_every_picture_is_small_named_and_well_formed(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 5
    for svg in pictures:
        assert len(svg) < 120_000
        root = ET.fromstring(svg)
        title, description = root[0], root[1]
        assert title.tag.endswith("title")
        assert description.tag.endswith("desc")
        assert title.text
        assert description.text
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


def test_references_inside_the_pictures_lead_somewhere(page: str) -> None:
    assert set(re.findall(r"url\(#(\w[^)]*)\)", page)) <= set(Reader(page).ids)


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "report.html"
    write_report(path, [run(), run("takeover")], title="T", notes=["N"])
    assert path.read_bytes() == render_html([run(), run("takeover")], title="T", notes=["N"]).encode()


def test_long_lists_of_absences_end(page: str) -> None:
    assert "and 980 times more" in page


def test_everything_from_outside_is_escaped() -> None:
    pytest.importorskip("matplotlib")
    evil = "<b>&$x$</b>"
    absences = [Absence(source=1, reason=LeftOut.STALE, from_ns=at(1))]
    one = run(
        evil,
        recording=attrs.evolve(recording(), absences=absences),
        source_names={1: evil},
        unit_name=evil,
        price_name=evil,
        size_name=evil,
        reference_name=evil,
        reference_line=[(at(1), 16_000), (at(2), 10_000)],
        state_digest=evil,
    )
    text = render_html([one], title=evil, notes=[evil], command=evil)
    assert evil not in text
    assert "b" not in Reader(text).tags
    assert text.count("&lt;b&gt;&amp;$x$&lt;/b&gt;") > 20


def test_digests_stand_in_full(page: str) -> None:
    assert page.count("0123456789abcdef" * 4) == 2


def test_sources_that_differ_between_runs_are_drawn_for_each() -> None:
    pytest.importorskip("matplotlib")
    absences = [Absence(source=1, reason=LeftOut.STALE, from_ns=at(1), to_ns=at(2))]
    other = run("takeover", recording=attrs.evolve(recording(), absences=absences))
    text = render_html([run(), other, run("third")], title="T", notes=[])
    assert "<h3>stepped, third</h3>" in text
    assert "<h3>takeover</h3>" in text
    assert "No source was ever left out" in text


def test_pictures_say_in_words_what_they_show() -> None:
    pytest.importorskip("matplotlib")
    one = run()
    assert "farthest from it at 2020-03-12 00:02 UTC: -10.00 %" in prices_svg(one)
    assert "stepped: closed on the book 3k, taken over 1k, deleveraged 500 USD." in liquidations_svg([one])
    assert "20 XBT at start, 19 at the end, at most 3 reserved" in fund_svg([one])
    assert "atlantic: used throughout. boreal: used throughout." in sources_svg(one)


def test_a_frozen_mark_is_shaded() -> None:
    pytest.importorskip("matplotlib")
    points = [point(n, 100, 100, 100, mark_state=PriceState.FROZEN if 3 < n < 6 else PriceState.OK) for n in range(9)]
    shaded = prices_svg(run(recording=Recording(market=1, points=points)))
    assert "opacity: 0.18" in shaded
    assert "opacity: 0.18" not in prices_svg(run())


def test_the_hero_shows_stepped_on_its_own_paper() -> None:
    pytest.importorskip("matplotlib")
    svg = hero_svg([long_run("takeover", 2), run("stepped")], title="Crash")
    assert "var(" not in svg
    assert "fill: #ffffff" in svg
    assert '<title id="hero-title">Crash</title>' in svg
    assert "taken over 1k" in svg
    ET.fromstring(svg)


def test_a_run_in_which_nothing_happened_can_be_drawn() -> None:
    pytest.importorskip("matplotlib")
    quiet = run(recording=Recording(market=1, points=[point(0, 0, 0, 0)]), fund_start_units=0)
    text = render_html([quiet], title="T", notes=[])
    assert "There was no index price." in text


def test_no_points_are_refused() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ConfigError, match="recorded point"):
        prices_svg(run(recording=Recording(market=1)))


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=re.escape("perpkit[report]")):
        fund_svg([run()])
    assert render_text(summary([run()]))
