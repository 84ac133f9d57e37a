"""Adapter for `price_protection`: how far a market order reaches, which limits pass, and when a last price counts."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from typing import Any

from perpkit.engine.exchange import Exchange
from perpkit.model.event import OrderAccepted, OrderTriggered
from perpkit.model.order import Side
from perpkit.model.trigger import PriceSource, Trigger, TriggerKind
from perpkit.units import MINUTE_NS

SIDES = {"buy": Side.BUY, "sell": Side.SELL}


def venue(
    make: Any, mark: str, *, tick: str = "0.01", exchange: dict[str, Any] | None = None, **market: Any
) -> Exchange:
    """Return an exchange whose market has a mark, and accounts 1, 2 and 3 with money."""
    limits = {"price_min": "1", "price_max": "20000", "tick": tick, **market}
    rich = dict.fromkeys((1, 2, 3), "100000")
    made: Exchange = make.exchange(limits, unit="0.01", deposits=rich, price=mark, exchange=exchange)
    return made


def price_protection(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "stop" in inputs:
        return stop(inputs, make)
    return reach(inputs, make) if "best_bid" in inputs else band(inputs, make)


def reach(inputs: dict[str, str], make: Any) -> dict[str, Any]:
    """The bound of a market order is the limit it is accepted with."""
    exchange = venue(make, inputs["mark"], tick="0.5", market_slippage=inputs["pct"])
    exchange.place(2, "PERP-1", Side.BUY, 1, inputs["best_bid"])
    exchange.place(2, "PERP-1", Side.SELL, 1, inputs["best_ask"])
    done = exchange.place(1, "PERP-1", SIDES[inputs["side"]], 1)
    (accepted,) = (each for each in done.events if isinstance(each, OrderAccepted))
    return {"max_impact_price": accepted.price_ticks * exchange.market("PERP-1").tick.step}


def band(inputs: dict[str, str], make: Any) -> dict[str, Any]:
    """The last prices at which a buy and a sell are let in."""
    check = {"provider": "price-band", "options": {"band": inputs["pct"]}}
    exchange = venue(make, inputs["reference"], exchange={"order_checks": [check]})
    spec = exchange.market("PERP-1")
    ticks = range(spec.price_min_ticks, 2 * spec.tick.parse(inputs["reference"]))

    def refused(side: Side, price_ticks: int) -> bool:
        return exchange.preview(1, "PERP-1", side, 1, price_ticks * Decimal("0.01")).refused is not None

    highest = ticks[bisect_left(ticks, True, key=lambda price: refused(Side.BUY, price)) - 1]
    lowest = ticks[bisect_left(ticks, True, key=lambda price: not refused(Side.SELL, price))]
    return {"lower": lowest * spec.tick.step, "upper": highest * spec.tick.step}


def stop(inputs: dict[str, str], make: Any) -> dict[str, Any]:
    """Account 1 waits at the stop; the others trade at the mark and then at the last price of the case."""
    exchange, side = venue(make, inputs["mark"], tick="1", trigger_band=inputs["band"]), SIDES[inputs["side"]]

    def trade(price: str) -> list[Any]:
        exchange.place(2, "PERP-1", Side.SELL, 1, price)
        done = exchange.place(3, "PERP-1", Side.BUY, 1, price)
        assert done.fills
        return [*done.events, *exchange.quote("PERP-1", inputs["mark"], time_ns=exchange.clock_ns + MINUTE_NS).events]

    trade(inputs["mark"])
    trigger = Trigger(kind=TriggerKind.STOP, price_source=PriceSource.LAST, price_ticks=int(inputs["stop"]))
    assert exchange.place(1, "PERP-1", side, 1, trigger=trigger).rejected is None
    return {"triggers": any(isinstance(each, OrderTriggered) for each in trade(inputs["last"]))}


ADAPTERS = {"price_protection": price_protection}
