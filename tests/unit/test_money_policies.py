"""Corners of the policies and of the laws: the smallest stake, a debt without a position, one total that is off."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import pytest

from perpkit import Exchange, Side
from perpkit.engine import laws
from perpkit.engine.sweep import sweep
from perpkit.errors import InvariantError
from perpkit.model.market import MarketSpec
from perpkit.model.order import Level
from perpkit.model.position import Breach, Exposure, Need, Pool, Winner
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext, Limits, MarketContext
from perpkit.ports.deleveraging import DeleveragingCase
from perpkit.ports.liquidation import Case
from perpkit.reference.deleveraging_ranked import RankedDeleveraging
from perpkit.reference.funding import NoFunding, impact_price
from perpkit.reference.insurance_pool import PoolInsurance
from perpkit.reference.liquidation_takeover import last_solvent_price

CONTEXT = ExchangeContext(markets={}, assets={}, limits=Limits(), taker_ppb={})


def test_every_level_on_the_way_counts_toward_the_impact_price(make_spec: Callable[..., MarketSpec]) -> None:
    asks = [Level(price_ticks=price, size_lots=size, orders=1) for price, size in ((100, 2), (150, 2), (250, 8))]
    assert impact_price(make_spec(), asks, 1_000) == Fraction(1_000, 6)
    assert impact_price(make_spec(), asks, 1_500) == Fraction(1_500, 8)


def test_a_stake_of_one_unit_is_ranked_like_any_other() -> None:
    policy = RankedDeleveraging(CONTEXT, NoOptions())
    fields = {"position_id": 0, "size_lots": 5, "value_units": 1, "bearable_lots": 5}
    least = Winner(account=1, profit_units=1, cost_units=1, equity_units=1, **fields)
    better = Winner(account=2, profit_units=6, cost_units=2, equity_units=1, **fields)
    case = DeleveragingCase(market=1, size_lots=7, price_ticks=9, severity_units=1, winners=(least, better))
    assert [(share.account, share.size_lots) for share in policy.shares(case)] == [(2, 5), (1, 2)]


def test_a_sweep_counts_every_order_and_every_position_but_not_one_for_the_other(
    make_exchange: Callable[..., Exchange],
) -> None:
    exchange = make_exchange({}, {}, deposits={1: "1000", 2: "1000", 3: "1000"})
    exchange.place(2, "PERP-1", Side.SELL, 1, 100)
    exchange.place(1, "PERP-1", Side.BUY, 1, 100)
    for market, price in ((1, 90), (1, 91), (2, 90)):
        exchange.place(3, f"PERP-{market}", Side.BUY, 1, price)
    completed, findings = sweep(exchange._core)
    assert (completed.positions, completed.orders, findings) == (2, 3, [])


@pytest.mark.parametrize(("size", "price"), [(1, 1), (-1, 10_000), (0, 10_000)])
def test_what_no_listed_price_bankrupts_is_taken_over_at_the_worst_one(
    make_spec: Callable[..., MarketSpec], size: int, price: int
) -> None:
    exposure = Exposure(market=1, position_id=0, size_lots=size, cost_units=0, gross_lots=1, unpaid_units=5)
    case = Case(
        breach=Breach(account=7, asset=1, equity_units=-5, maintenance_units=0),
        pool=Pool(account=7, asset=1, wallet_units=0, reserved_units=0, exposures=(exposure,)),
        need=Need(equity_units=-5, initial_units=0, maintenance_units=0, slots=()),
        thresholds={},
        marks={},
        steps_done=0,
        stalled=False,
    )
    assert last_solvent_price(case, exposure, make_spec()) == price


def test_parts_that_remember_nothing_say_so_in_json(make_spec: Callable[..., MarketSpec]) -> None:
    funding = NoFunding(MarketContext(market=make_spec(), limits=Limits()), NoOptions())
    assert json.loads(PoolInsurance(CONTEXT, NoOptions()).dump()) == json.loads(funding.dump()) == {}


@pytest.mark.parametrize("total", ["size_lots", "costs_units"])
def test_one_total_that_is_off_is_enough_to_halt(make_exchange: Callable[..., Exchange], total: str) -> None:
    exchange = make_exchange({}, {}, deposits={1: "1000"})
    laws.check(exchange._core)
    setattr(exchange.clearing._state.sums[2], total, 1)  # type: ignore[attr-defined]
    with pytest.raises(InvariantError, match="law 2, market 2"):
        laws.check(exchange._core)
