"""OpenTelemetry: needs its API only, and does nothing until the program sets up its SDK."""

from collections.abc import Mapping

from perpkit.runtime.metrics.sink import METRICS, Kind

try:
    from opentelemetry import metrics
except ImportError as _error:
    raise ImportError("OpenTelemetrySink needs opentelemetry-api: pip install perpkit[otel]") from _error


class OpenTelemetrySink:
    """Tells figures to OpenTelemetry, to the program's global meter provider where none is given.

    Example:
        >>> from perpkit.runtime.metrics.otel import OpenTelemetrySink
        >>> OpenTelemetrySink().count("perpkit.liquidations", 1, {"asset": "XBT"})
    """

    def __init__(self, provider: metrics.MeterProvider | None = None) -> None:
        meter = metrics.get_meter("perpkit", meter_provider=provider)
        self._counters = {
            each.name: meter.create_counter(each.name, each.unit, each.about)
            for each in METRICS
            if each.kind is Kind.COUNTER
        }
        self._gauges = {
            each.name: meter.create_gauge(each.name, each.unit, each.about)
            for each in METRICS
            if each.kind is Kind.GAUGE
        }
        self._histograms = {
            each.name: meter.create_histogram(
                each.name, each.unit, each.about, explicit_bucket_boundaries_advisory=each.bounds
            )
            for each in METRICS
            if each.kind is Kind.HISTOGRAM
        }

    def count(self, name: str, value: int, attributes: Mapping[str, str], /) -> None:
        """Add to a counter."""
        self._counters[name].add(value, attributes)

    def gauge(self, name: str, value: float, attributes: Mapping[str, str], /) -> None:
        """Let a value stand."""
        self._gauges[name].set(value, attributes)

    def record(self, name: str, value: float, attributes: Mapping[str, str], /) -> None:
        """Put a value into a histogram."""
        self._histograms[name].record(value, attributes)
