"""Sinks and the meter on their own; what a whole venue tells is in integration/test_observability.py."""

import importlib
import logging
import sys
from unittest.mock import MagicMock, call

import pytest

from perpkit import ExchangeConfig, Outcome, RejectReason
from perpkit.model.command import CancelOrder, PlaceOrder
from perpkit.model.event import Duplicate, HoldingsCompared, LiquidationStarted, OrderRested, Rejected
from perpkit.model.order import Side
from perpkit.runtime.metrics import METRICS, Kind, Meter, NullSink

OF_KIND = {kind: [each for each in METRICS if each.kind is kind] for kind in Kind}
ORDER = PlaceOrder(account=7, market=1, side=Side.BUY, size_lots=1, price_ticks=1)
RESTED = OrderRested(market=1, account=7, order_id=1, side=Side.BUY, size_lots=1, price_ticks=1)


class Listing:
    """A sink that lists what it is told."""

    def __init__(self):
        self.told = []

    def count(self, *told):
        self.told.append(("count", *told))

    def gauge(self, *told):
        self.told.append(("gauge", *told))

    def record(self, *told):
        self.told.append(("record", *told))


@pytest.fixture
def config(make_tables):
    return ExchangeConfig.from_dict(make_tables())


def outcome(*events, sequence=1):
    return Outcome(sequence=sequence, events=events)


def test_names_and_units_are_what_dashboards_are_built_on():
    assert {each.name: (each.kind.value, each.unit) for each in METRICS} == {
        "perpkit.commands": ("counter", "{command}"),
        "perpkit.apply.duration": ("histogram", "s"),
        "perpkit.journal.fsync.duration": ("histogram", "s"),
        "perpkit.journal.batch.size": ("histogram", "{command}"),
        "perpkit.epoch": ("gauge", "{epoch}"),
        "perpkit.liquidations": ("counter", "{pool}"),
        "perpkit.insurance.balance": ("gauge", "{unit}"),
        "perpkit.solvency.gap": ("gauge", "{unit}"),
        "perpkit.mark.age": ("gauge", "s"),
        "perpkit.audit.ok": ("gauge", "{audit}"),
    }


def test_no_attribute_has_as_many_values_as_there_are_clients():
    assert {name for each in METRICS for name in each.attributes} == {
        "type", "result", "asset", "fund", "check", "market",
    }  # fmt: skip


def test_histograms_have_bounds_that_grow_and_others_have_none():
    for each in METRICS:
        assert bool(each.bounds) == (each.kind is Kind.HISTOGRAM), each.name
        assert list(each.bounds) == sorted(set(each.bounds)), each.name


def test_commands_are_counted_by_type_and_by_what_became_of_them(config):
    sink = Listing()
    refused = Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    Meter(config, sink).note(
        [
            (ORDER, outcome(RESTED)),
            (ORDER, outcome(RESTED, RESTED)),
            (ORDER, outcome(refused)),
            (ORDER, outcome(Duplicate(account=7, client_order_id=3, sequence=1))),
            (CancelOrder(account=7, market=1), outcome()),
        ]
    )
    assert sink.told == [
        ("count", "perpkit.commands", 2, {"type": "PlaceOrder", "result": "accepted"}),
        ("count", "perpkit.commands", 1, {"type": "PlaceOrder", "result": "insufficient-margin"}),
        ("count", "perpkit.commands", 1, {"type": "PlaceOrder", "result": "duplicate"}),
        ("count", "perpkit.commands", 1, {"type": "CancelOrder", "result": "accepted"}),
    ]


def test_a_refused_command_before_which_somebody_was_liquidated_counts_as_both(config):
    sink = Listing()
    started = LiquidationStarted(market=0, account=7, asset=1, position_id=0, equity_units=1, maintenance_units=2)
    Meter(config, sink).note([(ORDER, outcome(started, Rejected(reason=RejectReason.ACCOUNT_LOCKED)))])
    assert sink.told == [
        ("count", "perpkit.liquidations", 1, {"asset": "COIN"}),
        ("count", "perpkit.commands", 1, {"type": "PlaceOrder", "result": "account-locked"}),
    ]


def test_a_gap_to_custody_is_negative_when_custody_has_too_little(config):
    sink = Listing()
    compared = HoldingsCompared(asset=1, ledger_units=1_000, holdings_units=995)
    Meter(config, sink).note([(ORDER, outcome(compared))])
    assert ("gauge", "perpkit.solvency.gap", -5, {"asset": "COIN", "check": "holdings"}) in sink.told


def test_durations_are_told_for_calls_that_did_something(config):
    sink = Listing()
    meter = Meter(config, sink)
    meter.applied(0, 0.5)
    meter.durable(0, 0.5)
    assert sink.told == []
    meter.applied(3, 0.25)
    meter.durable(3, 0.5)
    assert sink.told == [
        ("record", "perpkit.apply.duration", 0.25, {}),
        ("record", "perpkit.journal.batch.size", 3, {}),
        ("record", "perpkit.journal.fsync.duration", 0.5, {}),
    ]


def test_a_sink_that_fails_harms_nobody_and_is_logged_once(config, caplog):
    class Failing(Listing):
        def record(self, *_):
            raise OSError("nobody listens")

    sink = Failing()
    meter = Meter(config, sink)
    assert not meter.faulty
    with caplog.at_level(logging.ERROR, logger="perpkit"):
        for _ in range(3):
            meter.applied(1, 0.5)
            meter.note([(ORDER, outcome())])
    assert meter.faulty
    assert [(each.name, each.levelname) for each in caplog.records] == [("perpkit.runtime.metrics.meter", "ERROR")]
    assert "nobody listens" in caplog.text
    assert len(sink.told) == 3, "what the sink can take, it still gets"


def test_a_meter_without_a_sink_tells_nobody(config):
    meter = Meter(config)
    meter.applied(1, 0.5)
    meter.durable(1, 0.5)
    meter.note([(ORDER, outcome(RESTED))])
    assert not meter.faulty


def tell_everything(sink):
    """Tell each metric a value once, under made-up attributes."""
    for each in METRICS:
        attributes = {name: f"some {name}" for name in each.attributes}
        match each.kind:
            case Kind.COUNTER:
                sink.count(each.name, 2, attributes)
            case Kind.GAUGE:
                sink.gauge(each.name, -2.5, attributes)
            case Kind.HISTOGRAM:
                sink.record(each.name, 3, attributes)


def test_the_null_sink_takes_everything():
    tell_everything(NullSink())


class TestPrometheus:
    @pytest.fixture
    def client(self):
        return pytest.importorskip("prometheus_client")

    @pytest.fixture
    def sink_of(self, client):
        from perpkit.runtime.metrics.prometheus import PrometheusSink

        return PrometheusSink

    def test_names_are_as_prometheus_writes_them(self, client, sink_of):
        registry = client.CollectorRegistry()
        tell_everything(sink_of(registry))
        lines = client.generate_latest(registry).decode().splitlines()
        assert [line.split()[2:] for line in lines if line.startswith("# TYPE") and "_created" not in line] == [
            ["perpkit_commands_total", "counter"],
            ["perpkit_apply_duration_seconds", "histogram"],
            ["perpkit_journal_fsync_duration_seconds", "histogram"],
            ["perpkit_journal_batch_size", "histogram"],
            ["perpkit_epoch", "gauge"],
            ["perpkit_liquidations_total", "counter"],
            ["perpkit_insurance_balance", "gauge"],
            ["perpkit_solvency_gap", "gauge"],
            ["perpkit_mark_age_seconds", "gauge"],
            ["perpkit_audit_ok", "gauge"],
        ]
        helps = {line.split()[2]: line.split(maxsplit=3)[3] for line in lines if line.startswith("# HELP")}
        assert {each.about for each in METRICS} <= set(helps.values())

    def test_values_arrive_under_their_labels(self, client, sink_of):
        registry = client.CollectorRegistry()
        sink = sink_of(registry)
        for _ in range(2):
            tell_everything(sink)
        value = registry.get_sample_value
        assert value("perpkit_commands_total", {"type": "some type", "result": "some result"}) == 4
        assert value("perpkit_liquidations_total", {"asset": "some asset"}) == 4
        assert value("perpkit_epoch") == -2.5
        assert value("perpkit_solvency_gap", {"asset": "some asset", "check": "some check"}) == -2.5
        assert value("perpkit_journal_batch_size_bucket", {"le": "1.0"}) == 0
        assert value("perpkit_journal_batch_size_bucket", {"le": "4.0"}) == 2
        assert value("perpkit_apply_duration_seconds_sum") == 6

    def test_two_exchanges_in_one_process_take_two_registries(self, client, sink_of):
        one, other = client.CollectorRegistry(), client.CollectorRegistry()
        sink_of(one).count("perpkit.liquidations", 1, {"asset": "COIN"})
        sink_of(other)
        assert other.get_sample_value("perpkit_liquidations_total", {"asset": "COIN"}) is None
        with pytest.raises(ValueError, match="Duplicated"):
            sink_of(one)


class TestOpenTelemetry:
    @pytest.fixture
    def sink_of(self):
        pytest.importorskip("opentelemetry.metrics")
        from perpkit.runtime.metrics.otel import OpenTelemetrySink

        return OpenTelemetrySink

    def test_without_an_sdk_nothing_happens(self, sink_of):
        assert "opentelemetry.sdk" not in sys.modules
        tell_everything(sink_of())

    def test_instruments_have_the_names_and_units_and_get_the_values(self, sink_of):
        from opentelemetry.metrics import Meter as Api
        from opentelemetry.metrics import MeterProvider

        provider, api = MagicMock(spec=MeterProvider), MagicMock(spec=Api)
        provider.get_meter.return_value = api
        tell_everything(sink_of(provider))
        assert provider.get_meter.call_args.args[0] == "perpkit"
        made = {Kind.COUNTER: api.create_counter, Kind.GAUGE: api.create_gauge, Kind.HISTOGRAM: api.create_histogram}
        for kind, create in made.items():
            assert [each.args for each in create.call_args_list] == [(m.name, m.unit, m.about) for m in OF_KIND[kind]]
        bounds = [each.kwargs["explicit_bucket_boundaries_advisory"] for each in api.create_histogram.call_args_list]
        assert bounds == [each.bounds for each in OF_KIND[Kind.HISTOGRAM]]
        assert api.create_counter.return_value.add.call_args_list == [
            call(2, {"type": "some type", "result": "some result"}),
            call(2, {"asset": "some asset"}),
        ]
        assert call(-2.5, {"market": "some market"}) in api.create_gauge.return_value.set.call_args_list
        assert api.create_histogram.return_value.record.call_args_list == [call(3, {})] * 3


@pytest.mark.parametrize(("module", "library"), [("otel", "opentelemetry"), ("prometheus", "prometheus_client")])
def test_a_missing_library_is_named_with_what_to_install(module, library, monkeypatch):
    name = f"perpkit.runtime.metrics.{module}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"pip install perpkit\[{module}\]"):
        importlib.import_module(name)
