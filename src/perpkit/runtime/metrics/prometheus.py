"""Prometheus: the same figures in a registry, under names as Prometheus writes them."""

from collections.abc import Mapping
from typing import TypeVar

from perpkit.runtime.metrics.sink import METRICS, Kind, Metric

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as _error:
    raise ImportError("PrometheusSink needs prometheus-client: pip install perpkit[prometheus]") from _error

_T = TypeVar("_T", Counter, Gauge, Histogram)


class PrometheusSink:
    """Keeps figures in a registry, the process's own where none is given; serving it is up to the program.

    Underscores stand for dots; what is in seconds ends in `_seconds`, a counter in `_total`.

    Raises:
        ValueError: the registry has a sink already.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> from perpkit.runtime.metrics.prometheus import PrometheusSink
        >>> registry = CollectorRegistry()
        >>> PrometheusSink(registry).count("perpkit.liquidations", 1, {"asset": "XBT"})
        >>> registry.get_sample_value("perpkit_liquidations_total", {"asset": "XBT"})
        1.0
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for each in METRICS:
            name, labels = _name(each), each.attributes
            match each.kind:
                case Kind.COUNTER:
                    self._counters[each.name] = Counter(name, each.about, labels, registry=registry)
                case Kind.GAUGE:
                    self._gauges[each.name] = Gauge(name, each.about, labels, registry=registry)
                case Kind.HISTOGRAM:
                    self._histograms[each.name] = Histogram(
                        name, each.about, labels, registry=registry, buckets=each.bounds
                    )

    def count(self, name: str, value: int, attributes: Mapping[str, str], /) -> None:
        """Add to a counter."""
        _of(self._counters[name], attributes).inc(value)

    def gauge(self, name: str, value: float, attributes: Mapping[str, str], /) -> None:
        """Let a value stand."""
        _of(self._gauges[name], attributes).set(value)

    def record(self, name: str, value: float, attributes: Mapping[str, str], /) -> None:
        """Put a value into a histogram."""
        _of(self._histograms[name], attributes).observe(value)


def _name(metric: Metric) -> str:
    # A counter's `_total` is added by the library.
    return metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")


def _of(metric: _T, attributes: Mapping[str, str]) -> _T:
    return metric.labels(**attributes) if attributes else metric
