"""Integers with meaning, exact conversion at the edge, and the one place that divides."""

from perpkit.units.kinds import HOUR_NS, MINUTE_NS, SCALE, SECOND_NS, Lots, Nanos, Ppb, Ticks, Units
from perpkit.units.rounding import apportion, div_ceil, div_floor, div_half_even, divides
from perpkit.units.scale import Scale, exact, integer, ppb

__all__ = [
    "HOUR_NS",
    "MINUTE_NS",
    "SCALE",
    "SECOND_NS",
    "Lots",
    "Nanos",
    "Ppb",
    "Scale",
    "Ticks",
    "Units",
    "apportion",
    "div_ceil",
    "div_floor",
    "div_half_even",
    "divides",
    "exact",
    "integer",
    "ppb",
]
