"""Where figures go, and every figure there is: its name, kind, unit and attributes."""

from abc import abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import Protocol

import attrs

_SECONDS = tuple(step * 10**power for power in range(-5, 1) for step in (1.0, 2.5, 5.0))
_COUNTS = tuple(float(4**power) for power in range(9))


class Kind(Enum):
    """How values of one name go together."""

    COUNTER = "counter"
    """They are added up."""
    GAUGE = "gauge"
    """The last one stands."""
    HISTOGRAM = "histogram"
    """How many fell between which bounds."""


@attrs.frozen(kw_only=True)
class Metric:
    """One name. Every value of it has exactly these attributes, and never one that names an account.

    Units:
        `unit` is UCUM: seconds, or in braces what is counted. `bounds` are upper bounds of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    about: str


METRICS = (
    Metric(
        name="perpkit.commands",
        kind=Kind.COUNTER,
        unit="{command}",
        attributes=("type", "result"),
        about="Commands that became durable; the result is accepted, duplicate or the reason of the refusal",
    ),
    Metric(
        name="perpkit.apply.duration",
        kind=Kind.HISTOGRAM,
        unit="s",
        bounds=_SECONDS,
        about="How long the commands of one call took to apply",
    ),
    Metric(
        name="perpkit.journal.fsync.duration",
        kind=Kind.HISTOGRAM,
        unit="s",
        bounds=_SECONDS,
        about="How long one call waited until its commands were durable",
    ),
    Metric(
        name="perpkit.journal.batch.size",
        kind=Kind.HISTOGRAM,
        unit="{command}",
        bounds=_COUNTS,
        about="Commands that one call made durable together",
    ),
    Metric(
        name="perpkit.epoch", kind=Kind.GAUGE, unit="{epoch}", about="Which writer of the journal this is, counted up"
    ),
    Metric(
        name="perpkit.liquidations",
        kind=Kind.COUNTER,
        unit="{pool}",
        attributes=("asset",),
        about="Margin pools that were found below maintenance",
    ),
    Metric(
        name="perpkit.insurance.balance",
        kind=Kind.GAUGE,
        unit="{unit}",
        attributes=("asset", "fund"),
        about="What an insurance fund holds, in accounting units of the asset",
    ),
    Metric(
        name="perpkit.solvency.gap",
        kind=Kind.GAUGE,
        unit="{unit}",
        attributes=("asset", "check"),
        about="What is there less what should be, in accounting units of the asset: must be 0",
    ),
    Metric(
        name="perpkit.mark.age",
        kind=Kind.GAUGE,
        unit="s",
        attributes=("market",),
        about="How long ago the mark was last worked out from sources that could be trusted",
    ),
    Metric(
        name="perpkit.audit.ok",
        kind=Kind.GAUGE,
        unit="{audit}",
        about="1, or 0 while a breach of the books stands and after a halt",
    ),
)
"""Every name that a sink is given."""


class MetricsSink(Protocol):
    """Takes figures by the names of `METRICS`. May be called by several threads at once, and must not block.

    What it raises is logged once and otherwise ignored: the command that the figure is about is done.
    """

    @abstractmethod
    def count(self, name: str, value: int, attributes: Mapping[str, str], /) -> None:
        """Add to a counter."""
        ...

    @abstractmethod
    def gauge(self, name: str, value: float, attributes: Mapping[str, str], /) -> None:
        """Let a value stand."""
        ...

    @abstractmethod
    def record(self, name: str, value: float, attributes: Mapping[str, str], /) -> None:
        """Put a value into a histogram."""
        ...


class NullSink:
    """Forgets everything."""

    def count(self, _name: str, _value: int, _attributes: Mapping[str, str], /) -> None:
        """Forget it."""

    def gauge(self, _name: str, _value: float, _attributes: Mapping[str, str], /) -> None:
        """Forget it."""

    def record(self, _name: str, _value: float, _attributes: Mapping[str, str], /) -> None:
        """Forget it."""
