"""Adapters for requirements, liquidation and bankruptcy: the margin model is asked, without an exchange around it.

Ticks and units are fine where the case states none, so that a difference is perpkit's and not the grid's.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs

from perpkit.model.market import MarketSpec, bracket_index
from perpkit.model.order import Side
from perpkit.model.position import Exposure, Need, Pool, Thresholds
from perpkit.model.price import Mark, PriceState
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.reference.margin_step import StepMargin
from perpkit.reference.margin_tiered import ClosingFee, MaintenanceBasis, TieredMargin, TieredOptions
from perpkit.units import SCALE, ppb

OPEN = {"long": Side.BUY, "short": Side.SELL}
NO_LIMIT = "1000000000"
MARK_BASIS = TieredOptions(maintenance_basis=MaintenanceBasis.MARK, closing_fee=ClosingFee.OUT)
ENTRY_BASIS = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY, closing_fee=ClosingFee.OUT)
CONVENTIONS = {
    "Binance USDM": MARK_BASIS,
    "Bybit": ENTRY_BASIS,
    "Gate/OKX": TieredOptions(maintenance_basis=MaintenanceBasis.MARK, closing_fee=ClosingFee.IN),
    "Hyperliquid": MARK_BASIS,
}


def bounds(low: object, high: object, size: str) -> dict[str, Any]:
    """Return the bounds of a market as wide as the case needs it, and no wider: they limit how fine the unit may be."""
    limits = {"price_min": low, "price_max": high, "order_max": size, "open_interest_max": size}
    return {name: str(value) for name, value in limits.items()} | {"orders_max": 1}


def marks_at(prices: dict[MarketSpec, str]) -> dict[int, Mark]:
    return {
        spec.id: Mark(market=spec.id, price_ticks=spec.tick.parse(price), state=PriceState.OK, at_ns=0)
        for spec, price in prices.items()
    }


def model_of(
    *specs: MarketSpec,
    options: TieredOptions = MARK_BASIS,
    taker: str = "0",
    model: type[TieredMargin] = TieredMargin,
) -> TieredMargin:
    markets = {spec.id: spec for spec in specs}
    context = ExchangeContext(markets=markets, assets={}, limits=Limits(), taker_ppb=dict.fromkeys(markets, ppb(taker)))
    return model(context, options)


def held(spec: MarketSpec, lots: int, cost_units: int, **more: Any) -> Exposure:
    more = {"market": spec.id, "position_id": 0, "gross_lots": abs(lots), **more}
    return Exposure(size_lots=lots, cost_units=cost_units, **more)


def pool_of(*exposures: Exposure, wallet: int = 0) -> Pool:
    return Pool(account=1, asset=1, wallet_units=wallet, reserved_units=0, exposures=exposures)


# Requirements.


def margin_tiers(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "brackets" in inputs:
        return tiers(inputs, make)
    if "step" in inputs:
        return risk_limits(inputs, make)
    if "base_imf_ppm" in inputs:
        # Both bounds of open interest are zero, which leaves the base rate.
        assert inputs["oi_lower"] == inputs["oi_upper"] == "0"
        rate = str(Decimal(inputs["base_imf_ppm"]) / 1_000_000)
        table = [{"up_to": NO_LIMIT, "initial": rate, "maintenance": "0"}]
        need, _ = need_of_value(make, inputs["notional"], "1", table)
        return {"initial_margin": Fraction(need.initial_units)}
    rates = {"up_to": NO_LIMIT, "initial": "100%", "maintenance": inputs["mm"]}
    limits = bounds(1_000, 100_000, inputs["contracts"])
    spec = make.spec({"kind": "inverse", "tick": "0.01", "brackets": [rates], **limits}, unit="1e-12")
    need = need_of(spec, int(inputs["contracts"]), inputs["price"])
    return {"margin": need.maintenance_units * Fraction("1e-12")}


def tiers(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    floors, rates = zip(*inputs["brackets"], strict=True)
    tops = [*floors[1:], NO_LIMIT]
    table = [{"up_to": top, "initial": "100%", "maintenance": rate} for top, rate in zip(tops, rates, strict=True)]
    need, spec = need_of_value(make, inputs.get("notional", "1"), "1e-6", table)
    money, maintenance = Fraction("1e-6"), model_of(spec).maintenance_rates(1)
    amounts = [Fraction(deduction, SCALE) * money for deduction in maintenance.deductions_scaled]
    index = bracket_index(spec.brackets, abs(spec.value(1, spec.tick.parse(inputs.get("notional", "1")))))
    return {
        "amounts": amounts,
        "mmr": Fraction(maintenance.rates_ppb[index], SCALE),
        "amount": amounts[index],
        "maint_margin": need.maintenance_units * money,
    }


def risk_limits(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """Return the rates that the whole of a value is charged at.

    A value equal to a limit is in the next step, one equal to the top of a bracket in that bracket: the tops are one
    unit lower.
    """
    unit = "1e-8"
    base, step, initial, maintenance = (Decimal(inputs[name]) for name in ("base", "step", "base_im", "base_mm"))
    table = [
        {
            "up_to": str(base + steps * step - Decimal(unit)),
            "initial": str(initial + steps * maintenance),
            "maintenance": str(maintenance + steps * maintenance),
        }
        for steps in range(10)
    ]
    need, spec = need_of_value(make, inputs["value"], unit, table, StepMargin)
    value = spec.value(1, spec.tick.parse(inputs["value"]))
    return {"im": Fraction(need.initial_units, value), "mm": Fraction(need.maintenance_units, value)}


def need_of_value(
    make: Any, notional: str, unit: str, table: list[dict[str, str]], model: type[TieredMargin] = TieredMargin
) -> tuple[Need, MarketSpec]:
    """Return the need of one lot whose value is a notional."""
    spec = make.spec({"tick": unit, "brackets": table, **bounds(unit, 100_000_000, "1")}, unit=unit)
    return need_of(spec, 1, notional, model), spec


def need_of(spec: MarketSpec, lots: int, price: str, model: type[TieredMargin] = TieredMargin) -> Need:
    position = held(spec, lots, spec.value(lots, spec.tick.parse(price)))
    return model_of(spec, model=model).need(pool_of(position), marks_at({spec: price}))


# One isolated position.


@attrs.frozen
class Answer:
    """What the model says of a position; prices and money as the case writes them."""

    exposure: Exposure
    need: Need
    thresholds: Thresholds
    tick: Fraction
    money: Fraction

    def figures(self) -> dict[str, Fraction]:
        assert self.exposure.isolated_units is not None
        found = {
            "position_value": abs(self.exposure.cost_units) * self.money,
            "initial_margin": self.exposure.isolated_units * self.money,
            "maint_margin": self.need.slots[0].maintenance_units * self.money,
        }
        return found | self.prices()

    def prices(self, suffix: str = "") -> dict[str, Fraction]:
        liquidation, bankruptcy = self.thresholds.liquidation_ticks, self.thresholds.bankruptcy_ticks
        assert liquidation is not None
        assert bankruptcy is not None
        return {f"liq_price{suffix}": liquidation * self.tick, f"bankruptcy_price{suffix}": bankruptcy * self.tick}


def rates_of(inputs: dict[str, Any]) -> list[dict[str, str]]:
    """Return one bracket, and below it, where an amount is deducted, a free one as wide as deducts that amount."""
    rate, amount = Decimal(inputs["mmr"]), Decimal(inputs.get("maint_amount", "0"))
    top = {"up_to": NO_LIMIT, "initial": str(rate), "maintenance": str(rate)}
    return [{"up_to": str(amount / rate), "initial": "0", "maintenance": "0"}, top] if amount else [top]


def ask(model: TieredMargin, spec: MarketSpec, position: Exposure, mark: str, unit: str) -> Answer:
    pool, marks = pool_of(position), marks_at({spec: mark})
    thresholds = model.thresholds(pool, spec.id, 0, marks)
    return Answer(position, model.need(pool, marks), thresholds, spec.tick.step, Fraction(unit))


def opened(spec: MarketSpec, inputs: dict[str, Any], options: TieredOptions, unit: str) -> Exposure:
    """Return the position with its margin: what the case says, else what its leverage asks for."""
    entry, marks = spec.tick.parse(inputs["entry"]), marks_at({spec: inputs["entry"]})
    lots = OPEN[inputs["side"]] * spec.lot.parse(inputs.get("qty") or inputs["size"])
    flat = held(spec, 0, 0, isolated_units=0, leverage=int(inputs.get("leverage", "1")))
    cost = spec.value(lots, entry)
    # No margin of these cases has the closing fee in it, whatever the liquidation price has.
    model = model_of(spec, options=attrs.evolve(options, closing_fee=ClosingFee.OUT))
    margin = model.opening_margin(flat, abs(cost), marks)
    if "wallet" in inputs:
        margin = int(Fraction(inputs["wallet"]) / Fraction(unit))
    return held(spec, lots, cost, isolated_units=margin, leverage=flat.leverage)


def isolated_linear(inputs: dict[str, Any], options: TieredOptions, make: Any) -> Answer:
    unit = "1e-8" if "wallet" in inputs else "1e-12"
    limits = bounds("1e-10", Decimal(inputs["entry"]) * 4, inputs.get("qty") or inputs["size"])
    spec = make.spec({"tick": "1e-10", "lot": "0.001", "brackets": rates_of(inputs), **limits}, unit=unit)
    position = opened(spec, inputs, options, unit)
    return ask(
        model_of(spec, options=options, taker=inputs.get("taker_fee", "0")), spec, position, inputs["entry"], unit
    )


def liquidation_linear(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    options = next(options for venue, options in CONVENTIONS.items() if venue in case["formula"])
    if "positions" in inputs:
        return liquidation_in_cross(inputs, options, make)
    if "max_leverage" in inputs:
        # Maintenance is half of the initial margin at the highest leverage.
        inputs = {**inputs, "mmr": str(1 / (2 * Decimal(inputs["max_leverage"])))}
    return isolated_linear(inputs, options, make).figures()


def liquidation_inverse(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = {"mmr": "0.005", **case["inputs"], "qty": case["inputs"]["contracts"]}
    entry, unit = int(Decimal(inputs["entry"])), "1e-14"
    limits = bounds(entry // 2, entry * 2, inputs["qty"])
    market = {"kind": "inverse", "brackets": rates_of(inputs), **limits}
    fine, listed = (make.spec({**market, "tick": tick}, unit=unit) for tick in ("1e-8", inputs.get("tick", "0.5")))
    position = opened(fine, inputs, ENTRY_BASIS, unit)
    figures = ask(model_of(fine, options=ENTRY_BASIS), fine, position, inputs["entry"], unit).figures()
    # The same position on the listed prices: an average entry price need not be one of them.
    on_ticks = ask(model_of(listed, options=ENTRY_BASIS), listed, position, str(entry), unit)
    return figures | on_ticks.prices("_tick_rounded")


# Cross.


def liquidation_in_cross(inputs: dict[str, Any], options: TieredOptions, make: Any) -> dict[str, Any]:
    specs, positions, marks = {}, [], {}
    for number, (symbol, its) in enumerate(inputs["positions"].items(), start=1):
        market = {"tick": "0.0001", "lot": "0.001", "brackets": rates_of(its), **bounds("0.01", 100_000, its["qty"])}
        spec = specs[symbol] = make.spec(market, unit="1e-8", number=number)
        lots = OPEN[its["side"]] * spec.lot.parse(its["qty"])
        positions.append(held(spec, lots, spec.value(lots, spec.tick.parse(its["entry"]))))
        marks[spec] = its["mark"]
    pool = pool_of(*positions, wallet=int(Fraction(inputs["wallet"]) / Fraction("1e-8")))
    asked = specs[inputs["symbol"]]
    ticks = model_of(*specs.values(), options=options).thresholds(pool, asked.id, 0, marks_at(marks)).liquidation_ticks
    assert ticks is not None
    return {"liq_price": ticks * asked.tick.step}


def bankruptcy_cross(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "positions" not in inputs:
        return isolated_linear({"qty": "1", "mmr": "0", **inputs}, ENTRY_BASIS, make).figures()
    unit = inputs["quote_resolution"]
    rates = {"up_to": NO_LIMIT, "initial": inputs["imf"], "maintenance": inputs["mmf"]}
    market = {"lot": "1e-8", "brackets": [rates], **bounds(1, 100_000, "10")}
    specs = {s: make.spec(market, unit=unit, number=n) for n, s in enumerate(inputs["positions"], start=1)}
    # A quote balance below zero is what the positions cost; above zero it is the wallet.
    quote = int(Fraction(inputs["usdc"]) / Fraction(unit))
    positions = [
        held(spec, spec.lot.parse(inputs["positions"][symbol]), max(0, -quote) if symbol == inputs["close"] else 0)
        for symbol, spec in specs.items()
    ]
    closed = specs[inputs["close"]]
    marks = marks_at({spec: inputs["oracle"][symbol] for symbol, spec in specs.items()})
    pool = pool_of(*positions, wallet=max(0, quote))
    worth = model_of(*specs.values()).closing_value(pool, closed.id, 0, -closed.lot.parse(inputs["delta"]), marks)
    return {"bankruptcy_quote": worth * Fraction(unit)}


ADAPTERS = {
    "margin_tiers": margin_tiers,
    "liq_price_linear": liquidation_linear,
    "liq_bankr_inverse": liquidation_inverse,
    "bankruptcy_cross": bankruptcy_cross,
}
