"""Adapter for `promises`: what a trader was promised to get with one click. Account 1 trades, 2 is the market."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import HoldingsReported, RunAudit
from perpkit.model.event import HoldingsCompared, OrderAccepted, OrderTriggered, OrderWaits, PositionChanged
from perpkit.model.ledger import wallet
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.position import PositionMode
from perpkit.model.trigger import Attached, Trigger

OPEN = {"long": Side.BUY, "short": Side.SELL}
SIDES = {"buy": Side.BUY, "sell": Side.SELL}


class Click:
    """An exchange where one lot at price p is worth p units."""

    def __init__(self, make: Any, mark: str) -> None:
        self.exchange: Exchange = make.exchange(deposits={1: "100000", 2: "100000"}, price=mark)

    def trade(self, side: Side, size: str, price: str, position_id: int = 0) -> None:
        self.offer(side.opposite, size, price)
        assert self.exchange.place(1, "PERP-1", side, size, price, position_id=position_id).fills

    def offer(self, side: Side, size: str, price: str) -> None:
        assert self.exchange.place(2, "PERP-1", side, size, price).rejected is None

    def positions(self) -> dict[int, dict[str, Any]]:
        """Return the positions of account 1 by id."""
        return {
            held.position_id: {
                "side": "long" if held.size_lots > 0 else "short",
                "qty": abs(held.size_lots),
                "entry": Fraction(held.cost_units, held.size_lots),
            }
            for held in self.exchange.clearing.pool(1, 1).exposures
            if held.size_lots
        }


def realized(outcome: Outcome) -> int:
    changes = [e for e in outcome.events if isinstance(e, PositionChanged) and e.account == 1]
    return sum(change.realized_units for change in changes)


def promises(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "accounts" in inputs:
        return reconciled(inputs, make)
    if "positions" in inputs:
        return one_of_two(inputs, make)
    if "fills" in inputs:
        return netted(inputs, make)
    return vanishing(inputs["parent"], make) if "parent" in inputs else clicked(inputs, make)


def clicked(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    held = inputs["position"]
    click = Click(make, held["entry"])
    click.trade(OPEN[held["side"]], held["qty"], held["entry"])
    for side, name in ((Side.BUY, "bids"), (Side.SELL, "asks")):
        for price, size in inputs["book"].get(name, []):
            click.offer(side, size, price)
    for order in inputs.get("open_orders", []):
        terms = {"reduce_only": order["reduce_only"]}
        assert (
            click.exchange.place(1, "PERP-1", SIDES[order["side"]], order["qty"], order["price"], **terms).rejected
            is None
        )
    done = {"reverse": click.exchange.reverse, "close": click.exchange.close}[inputs["action"]](1, "PERP-1")
    rests = [each for side in Side for each in click.exchange.clearing.orders(1, side) if each.account == 1]
    accepted = [e for e in done.events if isinstance(e, OrderAccepted)]
    left = click.positions().get(0)
    return {"position": left, "realized": realized(done), "orders": len(accepted), "open_orders": rests}


def one_of_two(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    names = dict(enumerate(inputs["positions"], start=1))
    closed = inputs["close"]
    click = Click(make, closed["price"])
    for position_id, name in names.items():
        click.trade(Side.BUY, inputs["positions"][name]["qty"], inputs["positions"][name]["entry"], position_id)
    (chosen,) = (position_id for position_id, name in names.items() if name == closed["pos"])
    click.offer(Side.BUY, "100", closed["price"])
    done = click.exchange.close(1, "PERP-1", position_id=chosen)
    left = {names[position_id]: held for position_id, held in click.positions().items()}
    assert closed["pos"] not in left
    return {"realized": realized(done), "positions": left}


def netted(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    click = Click(make, inputs["fills"][0][-1])
    assert click.exchange.set_mode(1, "PERP-1", PositionMode.ONE_WAY).rejected is None
    for side, size, price in inputs["fills"]:
        click.trade(SIDES[side], size, price)
    (held,) = click.positions().values()
    return {"qty": held["qty"], "avg_entry": held["entry"]}


def vanishing(parent: dict[str, str], make: Any) -> dict[str, Any]:
    """Orders that wait forbid another position mode; and the mark falls through where the stop was."""
    click = Click(make, parent["price"])
    stop = Attached(side=Side.SELL, is_market=True, trigger=Trigger(price_ticks=int(parent["stop_loss"])))
    place = click.exchange.place
    placed = place(1, "PERP-1", SIDES[parent["side"]], parent["qty"], parent["price"], attached=(stop,))
    done = [placed, click.exchange.cancel(1, "PERP-1", placed.sequence)]
    gone = click.exchange.set_mode(1, "PERP-1", PositionMode.HEDGE).rejected is None
    done.append(click.exchange.quote("PERP-1", int(parent["stop_loss"]) - 1, time_ns=10))
    waited = any(isinstance(e, OrderWaits | OrderTriggered) for outcome in done for e in outcome.events)
    return {"stop": None if gone and not waited else stop}


def reconciled(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """The wallets are changed behind the exchange's back; the sum still is what custody reports."""
    chain = int(inputs["chain"])
    exchange: Any = make.exchange(deposits={1: str(chain - 1), 2: "1"})
    balances = exchange.clearing._state.ledger._balances
    for account, (_, balance) in enumerate(inputs["accounts"], start=1):
        balances[wallet(account, 1)] = int(balance)
    reported = exchange.apply(HoldingsReported(asset=1, holdings_units=chain, time_ns=exchange.clock_ns))
    (compared,) = (each for each in reported.events if isinstance(each, HoldingsCompared))
    assert compared.ledger_units == compared.holdings_units == chain
    assert exchange.market_states[1] is MarketState.OPEN
    exchange.apply(RunAudit(time_ns=exchange.clock_ns))
    return {"state": "halted" if exchange.market_states[1] is MarketState.HALTED else "open"}


ADAPTERS = {"promises": promises}
