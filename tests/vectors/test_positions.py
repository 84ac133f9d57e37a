"""Positions that real venues reported, to the unit: a BitMEX position object and ten isolated ones of Hyperliquid."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from perpkit.engine.exchange import Exchange
from perpkit.model.market import MarketSpec
from perpkit.model.order import Side
from perpkit.model.position import Exposure, Pool
from perpkit.model.price import Mark, PriceState
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.reference.margin_tiered import MaintenanceBasis, TieredMargin, TieredOptions
from perpkit.units import Scale, ppb

# BitMEX.


@pytest.fixture(scope="module")
def reported(data: Path) -> dict[str, Any]:
    text = (data / "positions" / "bitmex_xbtusd_short_2018-08-27.json").read_text("utf-8")
    return json.loads(text, parse_float=Decimal)


@pytest.fixture
def bitmex(make_exchange: Callable[..., Exchange], reported: dict[str, Any]) -> Exchange:
    """BitMEX's rules of 2018 for XBTUSD, and account 1 short as reported. The ticks are those of its mark prices."""
    position = reported["partial"]
    rates = {"up_to": "200", "initial": "1%", "maintenance": str(position["maintMarginReq"])}
    market = {
        "kind": "inverse",
        "value_rounding": "unit",
        "tick": "0.01",
        "price_min": "1000",
        "price_max": "100000",
        "order_max": "10000",
        "open_interest_max": "100000",
        "brackets": [rates],
    }
    convention = {"maintenance_basis": "entry", "closing_fee": "in"}
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": str(position["commission"])}}
    exchange = make_exchange(
        market,
        unit="0.00000001",
        exchange={"margin": {"provider": "tiered", "options": convention}, "fees": fees},
        deposits={1: "1", 2: "1"},
        price=str(position["avgEntryPrice"]),
    )
    exchange.set_terms(1, "PERP-1", isolated=True, leverage=position["leverage"])
    entry, size = position["avgEntryPrice"], -position["currentQty"]
    exchange.place(2, "PERP-1", Side.BUY, size, entry)
    assert exchange.place(1, "PERP-1", Side.SELL, size, entry).fills
    return exchange


def held(exchange: Exchange) -> Exposure:
    return exchange.clearing.pool(1, 1).exposures[0]


def test_a_bitmex_position_costs_what_bitmex_said(bitmex: Exchange, reported: dict[str, Any]) -> None:
    assert held(bitmex).size_lots == reported["partial"]["currentQty"]
    assert held(bitmex).cost_units == reported["partial"]["posCost"]


def test_its_margin_is_the_initial_margin_and_the_closing_fee(bitmex: Exchange, reported: dict[str, Any]) -> None:
    position, spec = reported["partial"], bitmex.market("PERP-1")
    assert held(bitmex).isolated_units == position["posMargin"]
    markets = {spec.id: spec}
    taker = {spec.id: ppb(position["commission"])}
    context = ExchangeContext(markets=markets, assets={}, limits=Limits(), taker_ppb=taker)
    without_fee = TieredMargin(context, TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY))
    flat = Exposure(market=1, position_id=0, size_lots=0, cost_units=0, gross_lots=0, leverage=position["leverage"])
    initial = without_fee.opening_margin(flat, position["posCost"], bitmex.clearing.marks())
    assert initial == position["posInit"]
    assert position["posMargin"] - initial == position["posComm"]


def test_its_maintenance_is_what_bitmex_said_at_every_mark(bitmex: Exchange, reported: dict[str, Any]) -> None:
    for price in ("6726.8", "6725.56", "6800"):
        bitmex.quote("PERP-1", price)
        assert bitmex.clearing.need(1, 1).slots[0].maintenance_units == reported["partial"]["posMaint"]


def test_every_mark_value_and_equity_is_met_to_the_satoshi(bitmex: Exchange, reported: dict[str, Any]) -> None:
    with_value = [message for message in (reported["partial"], *reported["updates"]) if "markValue" in message]
    assert len(with_value) == 3
    for message in with_value:
        bitmex.quote("PERP-1", str(message["markPrice"]))
        worth = bitmex.market("PERP-1").value(held(bitmex).size_lots, bitmex.clearing.marks()[1].price_ticks)
        assert worth == message["markValue"]
        assert worth - held(bitmex).cost_units == message["unrealisedPnl"]
        assert bitmex.clearing.need(1, 1).slots[0].equity_units == message["maintMargin"]


def test_it_is_liquidated_and_bankrupt_within_a_tick_of_the_printed_prices(
    bitmex: Exchange, reported: dict[str, Any]
) -> None:
    """BitMEX rounded the value of a contract up before it inverted it, so its prices may be one tick of 0.5 nearer."""
    bitmex.quote("PERP-1", "6726.8")
    found, tick = bitmex.clearing.thresholds(1, 1, 0), bitmex.market("PERP-1").tick.step
    assert found.liquidation_ticks is not None
    assert found.bankruptcy_ticks is not None
    for ticks, name in ((found.liquidation_ticks, "liquidationPrice"), (found.bankruptcy_ticks, "bankruptPrice")):
        assert 0 <= ticks * tick - Fraction(reported["partial"][name]) <= Fraction(1, 2)


# Hyperliquid.


def test_hyperliquid_positions_are_liquidated_where_hyperliquid_said(
    data: Path, make_spec: Callable[..., MarketSpec]
) -> None:
    with (data / "positions" / "hyperliquid_isolated_10.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        ours, theirs = hyperliquid(row, make_spec), Fraction(row["liquidation_price"])
        assert abs(ours - theirs) <= Fraction("3.5e-5") * theirs, row


def hyperliquid(row: dict[str, str], make_spec: Callable[..., MarketSpec]) -> Fraction:
    """Return the liquidation price of an isolated position whose margin is given."""
    maintenance = str(1 / (2 * Decimal(row["max_leverage"])))
    market = {
        "tick": "1e-8",
        "lot": "0.00001",
        "price_min": "1e-8",
        "price_max": str(4 * Decimal(row["entry_price"])),
        "order_max": row["contracts"],
        "open_interest_max": row["contracts"],
        "orders_max": 1,
        "brackets": [{"up_to": "1000000", "initial": "100%", "maintenance": maintenance}],
    }
    spec = make_spec(market, unit="1e-10")
    entry = spec.tick.parse(row["entry_price"])
    lots = {"long": 1, "short": -1}[row["side"]] * spec.lot.parse(row["contracts"])
    position = Exposure(
        market=1,
        position_id=0,
        size_lots=lots,
        cost_units=spec.value(lots, entry),
        gross_lots=abs(lots),
        isolated_units=Scale.of("1e-10").parse(row["collateral"]),
    )
    context = ExchangeContext(markets={1: spec}, assets={}, limits=Limits(), taker_ppb={1: 0})
    pool = Pool(account=1, asset=1, wallet_units=0, reserved_units=0, exposures=(position,))
    marks = {1: Mark(market=1, price_ticks=entry, state=PriceState.OK, at_ns=0)}
    ticks = TieredMargin(context, TieredOptions()).thresholds(pool, 1, 0, marks).liquidation_ticks
    assert ticks is not None
    return ticks * spec.tick.step
