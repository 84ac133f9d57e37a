"""The conformance kit: one class a port, with only `make` to write, that says what a part has to keep.

A rule has a number that is never used again for something else; `docs/reference/conformance.md` lists them all.
"""

import pkgutil
from typing import Any

import pytest

from perpkit.errors import ConfigError
from perpkit.plugin import Port

# Before the modules are imported: without it a failure in somebody else's test run says nothing but "assert False".
pytest.register_assert_rewrite(*(f"{__name__}.{each.name}" for each in pkgutil.iter_modules(__path__)))

from perpkit.testing.conformance.base import (  # noqa: E402
    Conformance,
    FoldConformance,
    OutsideConformance,
    Rule,
    broken,
    rule,
    rules_of,
)
from perpkit.testing.conformance.book import OrderBookConformance  # noqa: E402
from perpkit.testing.conformance.clearing import ClearingConformance  # noqa: E402
from perpkit.testing.conformance.custody import CustodyConformance  # noqa: E402
from perpkit.testing.conformance.decider import DeciderConformance  # noqa: E402
from perpkit.testing.conformance.deleveraging import DeleveragingConformance  # noqa: E402
from perpkit.testing.conformance.funding import FundingConformance  # noqa: E402
from perpkit.testing.conformance.insurance import InsuranceConformance  # noqa: E402
from perpkit.testing.conformance.journal import JournalConformance  # noqa: E402
from perpkit.testing.conformance.liquidation import LiquidationConformance  # noqa: E402
from perpkit.testing.conformance.margin import MarginConformance  # noqa: E402
from perpkit.testing.conformance.prices import IndexPriceConformance, MarkPriceConformance  # noqa: E402
from perpkit.testing.conformance.trading import FeeConformance, OrderCheckConformance  # noqa: E402

SUITES: tuple[type[Conformance[Any, Any]], ...] = (
    OrderBookConformance,
    MarginConformance,
    MarkPriceConformance,
    IndexPriceConformance,
    FundingConformance,
    FeeConformance,
    OrderCheckConformance,
    LiquidationConformance,
    DeleveragingConformance,
    InsuranceConformance,
    CustodyConformance,
    JournalConformance,
    ClearingConformance,
)
"""The suite of every port."""

__all__ = [
    "SUITES",
    "ClearingConformance",
    "Conformance",
    "CustodyConformance",
    "DeciderConformance",
    "DeleveragingConformance",
    "FeeConformance",
    "FoldConformance",
    "FundingConformance",
    "IndexPriceConformance",
    "InsuranceConformance",
    "JournalConformance",
    "LiquidationConformance",
    "MarginConformance",
    "MarkPriceConformance",
    "OrderBookConformance",
    "OrderCheckConformance",
    "OutsideConformance",
    "Rule",
    "broken",
    "rule",
    "rules_of",
    "suite_of",
]


def suite_of(port: Port[Any, Any]) -> type[Conformance[Any, Any]]:
    """Return the suite of a port.

    Raises:
        ConfigError: there is none for it.
    """
    found = next((suite for suite in SUITES if suite.port is port), None)
    if found is None:
        raise ConfigError(f"conformance: expected a port of {', '.join(s.port.key for s in SUITES)}, was {port.key}")
    return found
