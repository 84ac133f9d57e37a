"""Integers with meaning: the names that signatures speak. The core holds nothing else."""

from typing import TypeAlias

Ticks: TypeAlias = int
"""A price, counted in the tick size of its market."""

Lots: TypeAlias = int
"""A size, counted in the lot size of its market; in a position, long is positive."""

Units: TypeAlias = int
"""Money, counted in the accounting unit of its asset."""

Ppb: TypeAlias = int
"""A ratio in parts per billion."""

Nanos: TypeAlias = int
"""UTC nanoseconds since 1970."""

SCALE = 1_000_000_000
"""Parts per billion in one; also the resolution of the cumulative funding index."""

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS
