"""A part that fails over an order that waited: everything is as it was, the waiting orders too."""

import json
import types

import pytest

from perpkit import Exchange, PartFaultError, Registry, RejectReason, Side
from perpkit.model.command import NoteFault
from perpkit.model.order import TimeInForce
from perpkit.model.trigger import PriceSource, Trigger
from perpkit.plugin import ORDER_CHECKS, NoOptions, hookimpl
from perpkit.testing.builders import market_table, tables

BUY, SELL, PERP = Side.BUY, Side.SELL, "PERP-1"


class RefusesFour:
    def __init__(self, _context, _options): ...

    def admits(self, case, /):
        if case.order.account == 4:
            raise RuntimeError("no")
        return True


PLUGIN = types.ModuleType("raising")
PLUGIN.perpkit_order_checks = hookimpl(
    lambda: [ORDER_CHECKS.provider(name="refuses-four", build=RefusesFour, options=NoOptions, summary="-")]
)


def opened() -> Exchange:
    made = Exchange.of(tables(market_table(order_checks=["refuses-four"]), funding="none"), Registry.of(PLUGIN))
    for account in (1, 2, 4):
        made.deposit(account, "COIN", "100000")
    made.quote(PERP, "100", time_ns=1)
    return made


def state(exchange: Exchange) -> dict:
    found = json.loads(exchange.dump())
    return {key: value for key, value in found.items() if key not in ("sequence", "clock_ns", "price_faults")}


def test_prices_that_fire_an_order_which_a_part_fails_over_are_refused_and_it_waits_on():
    exchange = opened()
    healthy = exchange.place(1, PERP, SELL, 1, 90, trigger=Trigger(price_ticks=95)).sequence
    waits = exchange.place(4, PERP, SELL, 1, 90, trigger=Trigger(price_ticks=94)).sequence
    before = state(exchange)
    assert exchange.quote(PERP, "94", time_ns=2).rejected is RejectReason.PLUGIN_FAULT
    assert state(exchange) == before
    assert exchange.cancel(4, PERP, waits).rejected is None
    assert exchange.cancel(1, PERP, healthy).rejected is None


def test_a_trade_that_fires_an_order_which_a_part_fails_over_is_refused_whole():
    exchange = opened()
    exchange.place(1, PERP, BUY, 5, 100)
    exchange.place(2, PERP, SELL, 1, 100)
    exchange.place(4, PERP, SELL, 1, 90, trigger=Trigger(price_ticks=99, price_source=PriceSource.LAST))
    exchange.place(1, PERP, BUY, 5, 99)
    before = state(exchange)
    assert exchange.place(2, PERP, SELL, 6, 99).rejected is RejectReason.PLUGIN_FAULT
    assert state(exchange) == before


def test_an_order_whose_end_came_with_a_command_that_a_part_refused_ends_with_the_next_one():
    exchange = opened()
    flags = {"time_in_force": TimeInForce.GTD, "expires_ns": 50}
    exchange.place(1, PERP, SELL, 1, 90, trigger=Trigger(price_ticks=95), **flags)
    before, snapshot = state(exchange), exchange.dump()
    refused = exchange.place(4, PERP, BUY, 1, 100, time_ns=60)
    assert refused.rejected is RejectReason.PLUGIN_FAULT
    assert state(exchange) == before
    # A replay knows only that it was refused, and comes to the same.
    recovered = opened()
    recovered.load(snapshot)
    recovered.apply(NoteFault(part=refused.events[0].part, time_ns=60))
    assert recovered.dump() == exchange.dump()
    assert exchange.deposit(1, "COIN", "1", time_ns=60).events[0].order_id
    assert exchange.due_ns is None


def test_orders_that_can_neither_fire_nor_be_put_off_halt_the_exchange_in_the_end():
    exchange = opened()
    exchange.place(4, PERP, SELL, 1, 90, trigger=Trigger(price_ticks=94))
    for _ in range(10):
        assert exchange.quote(PERP, "94", time_ns=2).rejected is RejectReason.PLUGIN_FAULT
    with pytest.raises(PartFaultError, match="refuses-four"):
        exchange.quote(PERP, "94", time_ns=2)
    assert "refuses-four" in exchange.halted
