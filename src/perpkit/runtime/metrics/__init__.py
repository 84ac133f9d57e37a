"""Metrics of a venue. `otel` and `prometheus` are imported by whoever wants them, each with a library of its own."""

from perpkit.runtime.metrics.meter import Meter
from perpkit.runtime.metrics.sink import METRICS, Kind, Metric, MetricsSink, NullSink

__all__ = ["METRICS", "Kind", "Meter", "Metric", "MetricsSink", "NullSink"]
