"""Guards: every part that only answers stands behind one, so that no bad answer reaches a write."""

from perpkit.engine.guard.base import Guard
from perpkit.engine.guard.book import GuardedBook
from perpkit.engine.guard.deciders import (
    GuardedCheck,
    GuardedDeleveraging,
    GuardedFees,
    GuardedLiquidation,
    GuardedMargin,
)
from perpkit.engine.guard.folds import GuardedFunding, GuardedIndex, GuardedInsurance, GuardedMark

__all__ = [
    "Guard",
    "GuardedBook",
    "GuardedCheck",
    "GuardedDeleveraging",
    "GuardedFees",
    "GuardedFunding",
    "GuardedIndex",
    "GuardedInsurance",
    "GuardedLiquidation",
    "GuardedMargin",
    "GuardedMark",
]
