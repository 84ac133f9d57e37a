"""A part that fails while liquidations wait: nothing is done twice, and it cannot go on for ever."""

import types

import pytest

from perpkit import Exchange, PartFaultError, Registry, RejectReason, Side
from perpkit.model.command import NoteFault, PlaceOrder
from perpkit.plugin import LIQUIDATION, ORDER_CHECKS, NoOptions, hookimpl
from perpkit.reference.liquidation_takeover import TakeOverLiquidation
from perpkit.testing.builders import market_table, tables


class Refuses:
    def __init__(self, _context, _options): ...

    def admits(self, case, /):
        if case.order.account == 9:
            raise RuntimeError("no")
        return True


class Sick(TakeOverLiquidation):
    def next_step(self, case, /):
        if case.pool.account == 2:
            raise RuntimeError("no")
        return super().next_step(case)


PLUGIN = types.ModuleType("raising")
PLUGIN.perpkit_order_checks = hookimpl(
    lambda: [ORDER_CHECKS.provider(name="refuses", build=Refuses, options=NoOptions, summary="-")]
)
PLUGIN.perpkit_liquidations = hookimpl(
    lambda: [LIQUIDATION.provider(name="sick", build=Sick, options=NoOptions, summary="-")]
)


def opened(liquidation: str) -> Exchange:
    chosen = tables(market_table(order_checks=["refuses"]), liquidation=liquidation, funding="none")
    return Exchange.of({**chosen, "limits": {"work_max": 1}}, Registry.of(PLUGIN))


def crashed(liquidation: str) -> Exchange:
    """Three accounts long 50 at 100 on 1,000 each, and a mark of 79; one step of work leaves some waiting."""
    made = opened(liquidation)
    for account, amount in {1: "1000", 2: "1000", 3: "1000", 8: "100000", 9: "100000"}.items():
        made.deposit(account, "COIN", amount)
    made.capital("COIN", "100000")
    made.quote("PERP-1", "100", time_ns=1)
    for account in (1, 2, 3):
        made.place(8, "PERP-1", Side.SELL, 50, 100)
        made.place(account, "PERP-1", Side.BUY, 50, 100)
    made.quote("PERP-1", "79", time_ns=2)
    return made


def test_a_refusal_that_is_replayed_leads_to_the_state_that_it_left():
    live = crashed("takeover")
    snapshot = live.dump()
    order = PlaceOrder(account=9, market=1, side=Side.BUY, size_lots=1, price_ticks=79, time_ns=2)
    refused = live.apply(order).events[0]
    recovered = opened("takeover")
    recovered.load(snapshot)
    recovered.apply(NoteFault(part=refused.part, time_ns=2))
    assert recovered.dump() == live.dump()


def test_a_policy_that_fails_for_a_pool_that_waits_halts_the_exchange_in_the_end():
    live = crashed("sick")
    for _ in range(10):
        assert live.deposit(8, "COIN", "5").rejected is RejectReason.PLUGIN_FAULT
    with pytest.raises(PartFaultError, match="sick"):
        live.deposit(8, "COIN", "5")
    assert "sick" in live.halted
