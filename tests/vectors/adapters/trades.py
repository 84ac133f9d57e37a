"""Adapters for `pnl` and `entry_price`: account 1 of an exchange takes what account 2 offers.

Ticks and units are fine where the case states none, so that a difference is perpkit's and not the grid's.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from perpkit.engine.exchange import Outcome
from perpkit.model.event import FundingSettled, PositionChanged
from perpkit.model.order import Side
from perpkit.model.position import Need, Pool, held_units
from perpkit.units import HOUR_NS

OPEN = {"long": Side.BUY, "short": Side.SELL}
FILL = {"buy": Side.BUY, "sell": Side.SELL}


class Desk:
    """An exchange with one market, wide enough for the prices and sizes of the case."""

    def __init__(
        self, make: Any, inputs: dict[str, Any], *, unit: str, tick: str, taker: str = "0", **more: Any
    ) -> None:
        fills = inputs.get("fills", [])
        prices = [Decimal(inputs[name]) for name in ("entry", "exit", "price", "mark") if name in inputs]
        prices += [Decimal(fill[-1]) for fill in fills]
        size = sum(Decimal(fill[-2]) for fill in fills) or Decimal(inputs.get("contracts") or inputs["qty"])
        market = {
            "kind": inputs["contract"],
            "multiplier": inputs.get("contract_value", inputs.get("multiplier", "1")),
            "tick": tick,
            "lot": "0.001" if inputs["contract"] == "linear" else "1",
            "price_min": str(int(min(prices) / 2)),
            "price_max": str(int(max(prices) * 2)),
            "order_max": str(size),
            "open_interest_max": str(2 * size),
            "orders_max": 1,
            "brackets": [{"up_to": "1000000", "initial": inputs.get("im", "100%"), "maintenance": "0"}],
            **more,
        }
        fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": taker}}
        deposits = {1: "100000", 2: "100000"}
        self.exchange = make.exchange(market, unit=unit, exchange={"fees": fees}, deposits=deposits, price=None)
        self.spec = self.exchange.market("PERP-1")
        self.money = self.exchange.asset("COIN").unit.step

    def mark(self, price: str, hours: int = 1) -> None:
        self.exchange.quote("PERP-1", price, time_ns=hours * HOUR_NS)

    def trade(self, side: Side, size: str, price: str) -> Outcome:
        """Let account 1 trade with account 2 at a price."""
        made = self.exchange.place(2, "PERP-1", side.opposite, size, price)
        taken = self.exchange.place(1, "PERP-1", side, size, price)
        assert made.rejected is None, made
        assert len(taken.fills) == 2, taken
        return taken

    def realized(self, outcome: Outcome) -> Fraction:
        changes = [e for e in outcome.events if isinstance(e, PositionChanged) and e.account == 1]
        return sum(e.realized_units for e in changes) * self.money

    def fee(self, outcome: Outcome) -> Fraction:
        return outcome.fills[0].fee_units * self.money

    @property
    def pool(self) -> Pool:
        return self.exchange.clearing.pool(1, 1)

    @property
    def need(self) -> Need:
        return self.exchange.clearing.need(1, 1)

    @property
    def wallet(self) -> Fraction:
        return self.pool.wallet_units * self.money

    def average(self) -> Fraction:
        """Return the price at which the whole position would have cost what its fills cost."""
        held = self.pool.exposures[0]
        price = self.spec.last_price(held.size_lots, lambda p: self.spec.value(held.size_lots, p) >= held.cost_units)
        assert price is not None
        return price * self.spec.tick.step


def pnl(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "position_pnl" in inputs:
        return closed_pnl(inputs, make)
    taker = inputs.get("taker", inputs.get("fee", "0"))
    desk = Desk(make, inputs, unit="1e-12", tick="1e-12", taker=taker)
    if "fills" in inputs:
        return {"after_each": list(netting(desk, inputs["fills"]))}
    size = inputs.get("contracts") or inputs["qty"]
    price = inputs.get("price") or inputs.get("mark") or inputs["entry"]
    desk.mark(price)
    side = OPEN[inputs.get("side", "long")]
    opened = desk.trade(side, size, price)
    if "exit" in inputs:
        profit = desk.realized(desk.trade(side.opposite, size, inputs["exit"]))
        return {"pnl": profit, "pnl_xbt": profit}
    held = held_units(desk.spec, desk.pool.exposures[0], desk.spec.tick.parse(price)) * desk.money
    initial = desk.need.initial_units * desk.money
    return {"fee": desk.fee(opened), "notional": held, "value_xbt": held, "initial_margin_xbt": initial}


def netting(desk: Desk, fills: list[list[str]]) -> Iterator[dict[str, Fraction]]:
    desk.mark(fills[0][-1])
    before = desk.wallet
    for side, size, price in fills:
        desk.trade(FILL[side], size, price)
        lots = desk.pool.exposures[0].size_lots
        yield {"qty": lots * desk.spec.lot.step, "avg": desk.average(), "realized": desk.wallet - before}


def closed_pnl(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """The case states sums only; a short of 0.4 from 6000 to 5000 at a fee of 0.055 % has them."""
    trade = {"contract": "linear", "qty": "0.4", "entry": "6000", "exit": "5000"}
    options = {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "interest_ppb": -875_000, "clamp_ppb": 875_000}
    funding = {"provider": "premium", "options": options}
    desk = Desk(make, trade, unit="0.01", tick="1", taker="0.055%", funding=funding)
    before = desk.wallet
    desk.mark("6000")
    opened = desk.trade(Side.SELL, "0.4", "6000")
    desk.mark("6000", hours=2)
    closed = desk.trade(Side.BUY, "0.4", "5000")
    paid = [e.amount_units * desk.money for e in closed.events if isinstance(e, FundingSettled) and e.account == 1]
    parts = [desk.realized(closed), desk.fee(opened), desk.fee(closed), *paid]
    stated = [Fraction(inputs[name]) for name in ("position_pnl", "open_fee", "close_fee", "funding_paid")]
    assert parts == stated
    return {"closed_pnl": desk.wallet - before}


def entry_price(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    fills = inputs.get("fills") or [[inputs["contracts"], inputs["entry"]]]
    desk = Desk(make, inputs, unit="1e-8", tick="0.001")
    desk.mark(fills[0][-1])
    for size, price in fills:
        desk.trade(OPEN[inputs.get("side", "long")], size, price)
    answer = {"avg_entry": desk.average(), "value_btc": abs(desk.pool.exposures[0].cost_units) * desk.money}
    if "price" in inputs:
        desk.mark(inputs["price"], hours=2)
        answer["pnl"] = desk.need.equity_units * desk.money - desk.wallet
    return answer


ADAPTERS = {"pnl": pnl, "entry_price": entry_price}
