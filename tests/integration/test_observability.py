"""What a venue tells of itself: figures to a sink, words to a logger, and nothing from inside the core."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from perpkit import Exchange, ExchangeConfig, HaltedError, Registry, Side, UnitsError, Venue
from perpkit.audit import state_digest
from perpkit.engine.compose import build_custody, build_journal
from perpkit.model.command import CancelOrder, HoldingsReported, IndexQuotes, PlaceOrder
from perpkit.model.event import LiquidationStarted
from perpkit.model.price import Quote
from perpkit.runtime.metrics import METRICS, Meter

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/observe.md"
SECOND = 10**9
ALICE, BOB = 7_000_000_001, 7_000_000_002


class Sums:
    """A sink that adds up counters, keeps the last of gauges, and lists what histograms get."""

    def __init__(self):
        self.counters, self.gauges, self.histograms, self.attributes = {}, {}, {}, set()

    def _key(self, name, attributes):
        self.attributes |= set(attributes.items())
        return (name.removeprefix("perpkit."), *attributes.values())

    def count(self, name, value, attributes, /):
        key = self._key(name, attributes)
        self.counters[key] = self.counters.get(key, 0) + value

    def gauge(self, name, value, attributes, /):
        self.gauges[self._key(name, attributes)] = value

    def record(self, name, value, attributes, /):
        self.histograms.setdefault(self._key(name, attributes), []).append(value)


class Place:
    """A venue with its clock, its vault, a meter and what the meter told; two accounts and a fund hold money."""

    def __init__(self, tables, directory, meter=True):
        self.config = ExchangeConfig.from_dict(tables)
        self.directory, self.registry = str(directory), Registry.builtin()
        self.vault = build_custody(self.config, self.registry)
        self.now_ns = SECOND
        self.sink = Sums()
        self.meter = Meter(self.config, self.sink) if meter else None
        self.open()

    def open(self):
        exchange = Exchange.of(self.config, self.registry)
        journal = build_journal(self.config, self.registry, exchange.manifest, self.directory)
        self.venue, _ = Venue.recover(exchange, self.vault, journal, clock=lambda: self.now_ns, meter=self.meter)

    def fund(self):
        for account in (ALICE, BOB):
            self.vault.receive(account, 1, 2_000)
        self.vault.receive_capital(1, 1, 500)
        self.venue.poll()

    def quote(self, price):
        quotes = [Quote(market=1, source=s, price_ticks=price, weight=1, at_ns=self.now_ns) for s in (1, 2, 3)]
        return self.venue.submit(IndexQuotes(quotes=tuple(quotes)))

    def order(self, account, side, size, price, **fields):
        order = PlaceOrder(account=account, market=1, side=side, size_lots=size, price_ticks=price, **fields)
        return self.venue.submit(order)

    def trade(self, size):
        self.order(ALICE, Side.SELL, size, 100)
        self.order(BOB, Side.BUY, size, 100)

    def pass_seconds(self, count):
        self.now_ns += count * SECOND


@pytest.fixture(params=["memory", "file", "sqlite"])
def place(request, make_tables, tmp_path):
    built = Place(make_tables(exchange={"journal": request.param}), tmp_path / "journal")
    built.fund()
    built.quote(100)
    return built


@pytest.fixture
def simple(make_tables, tmp_path):
    built = Place(make_tables(), tmp_path)
    built.fund()
    built.quote(100)
    return built


def commands(place):
    return {key[1:]: count for key, count in place.sink.counters.items() if key[0] == "commands"}


def test_every_command_is_counted_once(place):
    place.trade(10)
    place.order(BOB, Side.BUY, 500, 100)
    place.venue.submit_all([CancelOrder(account=BOB, market=1, order_id=99)] * 3)
    assert commands(place) == {
        ("DepositObserved", "accepted"): 2,
        ("CapitalObserved", "accepted"): 1,
        ("IndexQuotes", "accepted"): 1,
        ("PlaceOrder", "accepted"): 2,
        ("PlaceOrder", "insufficient-margin"): 1,
        ("CancelOrder", "unknown-order"): 3,
    }
    assert sum(commands(place).values()) == place.venue.exchange.sequence
    assert place.sink.histograms["journal.batch.size",] == [3, 1, 1, 1, 1, 3]
    for name in ("apply.duration", "journal.fsync.duration"):
        seconds = place.sink.histograms[name,]
        assert len(seconds) == 6
        assert all(0 <= each < 60 for each in seconds), name
    place.venue.close()
    assert not place.meter.faulty


def test_what_came_before_a_malformed_command_is_counted_too(simple):
    cancel = CancelOrder(account=BOB, market=1, order_id=99)
    before = dict(commands(simple))
    with pytest.raises(UnitsError):
        simple.venue.submit_all([cancel, CancelOrder(account=BOB, market=1, order_id=9.5), cancel])
    simple.venue.submit(cancel)
    assert commands(simple) == before | {("CancelOrder", "unknown-order"): 2}


def test_a_restart_counts_the_epoch_up_and_no_command_again(place):
    assert place.sink.gauges["epoch",] == 1
    place.trade(10)
    counted = dict(commands(place))
    place.venue.close()
    place.open()
    assert place.sink.gauges["epoch",] == 2
    assert place.venue.exchange.sequence == sum(counted.values())
    assert commands(place) == counted
    place.venue.close()


def test_a_crash_shows_in_liquidations_and_in_the_fund_and_in_no_gap(simple):
    started = []
    simple.venue.subscribe(
        lambda _, outcome: started.extend(e for e in outcome.events if isinstance(e, LiquidationStarted))
    )
    simple.trade(100)
    assert simple.sink.gauges["insurance.balance", "COIN", "1"] == 500
    simple.quote(84)  # the house takes 100 over at 80, which nobody bids for
    simple.order(ALICE, Side.BUY, 100, 84)
    simple.quote(84)  # now it sells them at 84
    simple.pass_seconds(1)
    simple.venue.tick()
    assert len(started) == 1
    assert simple.sink.counters["liquidations", "COIN"] == 1
    assert simple.sink.gauges["insurance.balance", "COIN", "1"] == 500 + 100 * (84 - 80)
    assert simple.sink.gauges["solvency.gap", "COIN", "ledger"] == 0
    assert simple.sink.gauges["solvency.gap", "COIN", "holdings"] == 0
    assert simple.sink.gauges["audit.ok",] == 1


def test_gauges_are_read_at_most_once_a_second(simple):
    def balance():
        return simple.sink.gauges["insurance.balance", "COIN", "1"]

    simple.vault.receive_capital(1, 1, 100)
    simple.venue.poll()
    assert balance() == 500
    simple.now_ns += SECOND - 1
    simple.venue.poll()
    assert balance() == 500
    simple.now_ns += 1
    simple.venue.poll()
    assert balance() == 600


def test_a_mark_ages_while_no_quotes_come(simple):
    simple.pass_seconds(5)
    simple.venue.tick()
    assert simple.sink.gauges["mark.age", "PERP-1"] == 5
    simple.quote(101)
    simple.pass_seconds(1)
    simple.venue.tick()
    assert simple.sink.gauges["mark.age", "PERP-1"] == 1


def test_a_mark_ages_while_its_sources_are_stale_though_time_is_told(simple):
    simple.pass_seconds(1)
    simple.venue.tick()
    simple.pass_seconds(1_000)
    simple.venue.submit(IndexQuotes())
    simple.pass_seconds(1_000)
    simple.venue.submit(IndexQuotes())
    assert simple.sink.gauges["mark.age", "PERP-1"] == 2_001


def test_no_mark_is_younger_than_now_when_the_clock_went_back_across_a_restart(simple):
    simple.pass_seconds(5)
    simple.quote(101)
    meter = Meter(simple.config, simple.sink)
    meter.read(simple.venue.exchange, SECOND)
    assert simple.sink.gauges["mark.age", "PERP-1"] == 0


def test_a_mark_that_never_was_has_no_age(make_tables, tmp_path):
    place = Place(make_tables(), tmp_path)
    place.fund()
    assert not [key for key in place.sink.gauges if key[0] == "mark.age"]


def test_money_missing_from_custody_shows_as_a_gap_until_somebody_answers_for_it(simple):
    simple.venue.submit(HoldingsReported(asset=1, holdings_units=4_495))
    assert simple.sink.gauges["solvency.gap", "COIN", "holdings"] == -5
    for _ in range(3):  # an audit of the books alone finds nothing, and does not make it good
        simple.pass_seconds(60)
        simple.venue.tick()
        assert simple.sink.gauges["audit.ok",] == 0


def test_a_halt_shows(simple, monkeypatch):
    def broken(*_):
        raise KeyError("as if an owner had failed inside a write")

    simple.venue.tick()
    monkeypatch.setattr(type(simple.venue.exchange.clearing), "place", broken)
    with pytest.raises(KeyError):
        simple.order(ALICE, Side.BUY, 1, 90)
    assert simple.sink.gauges["audit.ok",] == 1
    simple.pass_seconds(1)
    simple.venue.tick()
    assert simple.sink.gauges["audit.ok",] == 0
    with pytest.raises(HaltedError):
        simple.order(ALICE, Side.BUY, 1, 90)


def test_a_meter_changes_nothing(make_tables, tmp_path):
    digests = set()
    for meter in (True, False):
        place = Place(make_tables(), tmp_path / str(meter), meter)
        place.fund()
        place.quote(100)
        place.trade(50)
        place.pass_seconds(60)
        place.quote(80)
        digests.add(state_digest(place.venue.exchange))
    assert len(digests) == 1


def test_orders_are_answered_while_the_sink_fails(make_tables, tmp_path):
    place = Place(make_tables(), tmp_path)
    for name in ("count", "gauge", "record"):
        setattr(place.sink, name, None)
    place.fund()
    place.quote(100)
    assert place.order(ALICE, Side.SELL, 1, 100).rejected is None
    assert place.meter.faulty


def test_no_figure_names_an_account(simple):
    simple.trade(100)
    simple.pass_seconds(1)
    simple.quote(75)
    simple.venue.tick()
    known = {name for each in METRICS for name in each.attributes}
    assert {name for name, _ in simple.sink.attributes} == known
    for _, value in simple.sink.attributes:
        assert not {str(ALICE), str(BOB)} & set(re.findall(r"\d+", value))


# Logging


SHOW_LOGGERS = """
import logging, sys
import perpkit, perpkit.cli.main
assert logging.root.handlers == [], logging.root.handlers
assert logging.root.level == logging.WARNING
found = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == "perpkit"]
for each in found:
    assert each.level == logging.NOTSET and each.propagate and not each.disabled, each
    assert [type(handler) for handler in each.handlers] == [logging.NullHandler] * (each.name == "perpkit"), each
assert "perpkit" in [each.name for each in found]
print([name for name in ("logging.config", "opentelemetry", "prometheus_client") if name in sys.modules])
"""


def test_importing_perpkit_sets_up_no_logging_and_imports_no_library_of_an_extra():
    ran = subprocess.run([sys.executable, "-c", SHOW_LOGGERS], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[]\n"


def logs(source):
    """Say whether a module imports `logging`, or asks for what does."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        if any(name.split(".")[0] in {"logging", "warnings"} for name in names):
            return True
    return False


@pytest.mark.parametrize("folder", ["units", "model", "ports", "reference", "engine"])
def test_nothing_is_logged_inside_apply(folder):
    files = sorted((ROOT / "src/perpkit" / folder).rglob("*.py"))
    assert files
    assert not [path.name for path in files if logs(path.read_text("utf-8"))]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import logging", True),
        ("import os, logging.handlers as h", True),
        ("def f():\n    from logging import getLogger", True),
        ("import warnings", True),
        ("from perpkit import logging_of_mine", False),
        ("x = 'import logging'", False),
    ],
)
def test_the_search_for_logging_finds_it(source, found):
    assert logs(source) is found


# The page


def rows(column):
    """Return the first two cells of each row of the page's table that starts with a column."""
    _, _, table = PAGE.read_text("utf-8").partition(f"| {column} |")
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines]


def test_the_page_lists_every_metric():
    assert [(name, kind, unit, attributes.replace("`", "")) for name, kind, unit, attributes, _ in rows("name")] == [
        (each.name, each.kind.value, each.unit, ", ".join(each.attributes)) for each in METRICS
    ]


def test_the_page_lists_every_logger():
    found = set()
    for path in (ROOT / "src/perpkit").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for name in re.findall(r"logging\.getLogger\((.+?)\)", path.read_text("utf-8")):
            found.add(module if name == "__name__" else name.strip('"'))
    assert [name for name, *_ in rows("logger")] == sorted(found - {"perpkit"})
