"""What tests of several folders share: markets, margin models and exchanges, built through the public configuration.

The numbers are small and round, so that a test can be checked by hand: one lot of the default market at price p is
worth p units, fees and funding are zero, brackets are 10 % / 5 % up to 10,000 units and 20 % / 10 % up to 100,000.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import settings

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.model.market import MarketSpec

# A busy machine is no defect: the time of one example says nothing. A gate must say the same of the same code twice,
# so it draws the same examples each time; everybody else's runs go on looking for new ones.
settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tests")

BRACKETS = [
    {"up_to": "10000", "initial": "10%", "maintenance": "5%"},
    {"up_to": "100000", "initial": "20%", "maintenance": "10%"},
]
MARKET = {
    "kind": "linear",
    "settlement": "COIN",
    "tick": "1",
    "lot": "1",
    "price_min": "1",
    "price_max": "10000",
    "order_max": "1000",
    "open_interest_max": "10000",
    "brackets": BRACKETS,
}


def tables_of(
    *markets: Mapping[str, Any],
    unit: str = "1",
    exchange: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    deposits_max: str = "1000000",
) -> dict[str, Any]:
    """Return an exchange's configuration: one asset, COIN, and markets PERP-1, PERP-2, … that differ as said."""
    free = {"provider": "maker-taker", "options": {"maker": "0", "taker": "0"}}
    return {
        "exchange": {"fees": free, "funding": "none", **(exchange or {})},
        "limits": dict(limits or {}),
        "assets": {"COIN": {"id": 1, "unit": unit, "deposits_max": deposits_max}},
        "markets": {f"PERP-{i}": {**MARKET, "id": i, **each} for i, each in enumerate(markets or [{}], start=1)},
    }


def spec_of(market: Mapping[str, Any] | None = None, *, unit: str = "1", number: int = 1) -> MarketSpec:
    """Return the rules of one market; `number` becomes its id."""
    tables = tables_of({**(market or {}), "id": number}, unit=unit, deposits_max="1")
    return ExchangeConfig.from_dict(tables).markets[number]


def exchange_of(
    *markets: Mapping[str, Any], deposits: Mapping[int, str] | None = None, price: str | None = "100", **more: Any
) -> Exchange:
    """Return an exchange whose accounts hold `deposits` and whose markets all have the mark `price`."""
    exchange = Exchange.of(tables_of(*markets, **more))
    for account, amount in (deposits or {}).items():
        exchange.deposit(account, "COIN", amount)
    if price is not None:
        for number in range(1, max(len(markets), 1) + 1):
            exchange.quote(f"PERP-{number}", price, time_ns=number)
    return exchange


def state_of(exchange: Exchange) -> bytes:
    """Return the whole state but the sequence and the clock, which a refused command may move."""
    state: dict[str, Any] = json.loads(exchange.dump())
    del state["sequence"], state["clock_ns"]
    return json.dumps(state, sort_keys=True).encode()


# Session-wide, because Hypothesis refuses fixtures that it would have to make anew for every example.


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., dict[str, Any]]:
    """Return `tables_of`."""
    return tables_of


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., MarketSpec]:
    """Return `spec_of`."""
    return spec_of


@pytest.fixture(scope="session")
def make_exchange() -> Callable[..., Exchange]:
    """Return `exchange_of`."""
    return exchange_of


@pytest.fixture(scope="session")
def content() -> Callable[[Exchange], bytes]:
    """Return `state_of`."""
    return state_of
