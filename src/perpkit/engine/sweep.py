"""The full sweep: count everything again from single positions, balances and orders, and compare."""

from collections.abc import Iterator

import attrs

from perpkit.engine.core import Core
from perpkit.model.cause import Law
from perpkit.model.event import AuditCompleted
from perpkit.model.ids import HOUSE, AssetId, MarketId
from perpkit.model.ledger import CUSTODY_SIDE, Chart, house, insurance, of_market, receivable, withdrawal
from perpkit.model.market import ValueRounding
from perpkit.model.order import Order, Side
from perpkit.model.position import Exposure, Pool
from perpkit.units import Units

_ONCE_AN_ASSET = (Chart.FEES, Chart.DUST, Chart.SUSPENSE, Chart.CONVERSION)
_ONCE_A_MARKET = (Chart.INVENTORY, Chart.FUNDING, Chart.CCP)


@attrs.frozen(kw_only=True)
class Finding:
    """A place where the books do not agree; `market` and `asset` are 0 where it is not about one."""

    law: Law
    market: MarketId = 0
    asset: AssetId = 0
    expected: int
    found: int


def sweep(core: Core) -> tuple[AuditCompleted, list[Finding]]:
    """Check laws 1 to 3 by counting; nothing that clearing keeps as a running sum is trusted.

    Cost:
        O(accounts + positions + resting orders).
    """
    clearing, findings = core.parts.clearing, list[Finding]()
    accounts = clearing.accounts()
    exposures: dict[MarketId, list[Exposure]] = {market: [] for market in core.config.markets}
    for asset in core.config.assets:
        pools = [clearing.pool(account, asset) for account in (HOUSE, *accounts)]
        findings += _conservation(core, asset, pools)
        for pool in pools:
            for exposure in pool.exposures:
                exposures[exposure.market].append(exposure)
    orders = 0
    for market, held in exposures.items():
        findings += _zero_sum(core, market, held)
        resting = [order for side in Side for order in clearing.orders(market, side)]
        orders += len(resting)
        findings += _reservations(core, market, held, resting)
    positions = sum(_is_open(each) for held in exposures.values() for each in held)
    completed = AuditCompleted(accounts=len(accounts), positions=positions, orders=orders, breaches=len(findings))
    return completed, findings


def _conservation(core: Core, asset: AssetId, pools: list[Pool]) -> Iterator[Finding]:
    """Law 1, and law 3 on the way: every balance once, against what came in and did not go out."""
    clearing = core.parts.clearing
    own: list[Units] = [pool.wallet_units for pool in pools]
    own += [each.isolated_units for pool in pools for each in pool.exposures if each.isolated_units is not None]
    released = 0
    for withdrawal_id, held in core.withdrawals.items():
        if held.asset == asset:
            waits = clearing.balance(withdrawal(withdrawal_id, asset))
            released += held.amount_units if held.released else 0
            own.append(waits)
            if waits != held.amount_units:
                yield Finding(law=Law.CONSERVATION, asset=asset, expected=held.amount_units, found=waits)
    in_flight = clearing.balance(house(Chart.CUSTODY_IN_FLIGHT, asset))
    if in_flight != released:
        yield Finding(law=Law.CONSERVATION, asset=asset, expected=released, found=in_flight)
    own += [clearing.balance(insurance(fund, asset)) for fund in core.parts.insurance.funds()]
    own += [clearing.balance(receivable(pool.account, asset)) for pool in pools]
    own += [clearing.balance(house(chart, asset)) for chart in _ONCE_AN_ASSET]
    custody = [clearing.balance(house(chart, asset)) for chart in sorted(CUSTODY_SIDE)]
    yield from (
        Finding(law=Law.NO_DEBT, asset=asset, expected=0, found=amount) for amount in (*own, *custody) if amount < 0
    )
    own += [
        clearing.balance(of_market(chart, asset, market))
        for market, spec in core.config.markets.items()
        if spec.settlement == asset
        for chart in _ONCE_A_MARKET
    ]
    deposited = core.deposits_units.get(asset, 0)
    for side in (own, custody):
        if sum(side) != deposited:
            yield Finding(law=Law.CONSERVATION, asset=asset, expected=deposited, found=sum(side))


def _zero_sum(core: Core, market: MarketId, held: list[Exposure]) -> Iterator[Finding]:
    """Law 2: sizes, costs, funding, and what all positions are worth at one mark."""
    clearing, spec, totals = core.parts.clearing, core.config.markets[market], core.parts.clearing.totals(market)
    ccp = clearing.balance(of_market(Chart.CCP, spec.settlement, market))
    # Every settlement left less than one unit behind, and so would settling each position now.
    funding = clearing.balance(of_market(Chart.FUNDING, spec.settlement, market))
    funding += sum(each.funding_due_units for each in held)
    residue = min(max(0, funding), totals.funding_settlements + len(held))
    mark = clearing.marks()[market].price_ticks
    worth = sum(spec.value(each.size_lots, mark) for each in held) if mark else 0
    roundings = 0 if spec.value_rounding is ValueRounding.UNIT else sum(map(_is_open, held))
    for expected, found in (
        (0, sum(each.size_lots for each in held)),
        (0, sum(each.cost_units + each.unpaid_units for each in held) + ccp),
        (residue, funding),
        (totals.open_interest_lots, sum(max(each.size_lots, 0) for each in held)),
        (0, worth if abs(worth) > roundings else 0),
    ):
        if found != expected:
            yield Finding(law=Law.ZERO_SUM, market=market, expected=expected, found=found)


def _reservations(core: Core, market: MarketId, held: list[Exposure], resting: list[Order]) -> Iterator[Finding]:
    """What rests in the book is what clearing sets money aside for, order by order, and no order more."""
    known = 0
    for order in resting:
        found = core.parts.clearing.order(market, order.account, order.id, 0)
        known += found is not None
        lots = found.size_lots if found else 0
        if lots != order.size_lots:
            yield Finding(law=Law.RESERVATIONS, market=market, expected=order.size_lots, found=lots)
    reserving = sum(exposure.open_orders for exposure in held)
    if reserving != known:
        yield Finding(law=Law.RESERVATIONS, market=market, expected=known, found=reserving)


def _is_open(exposure: Exposure) -> bool:
    """Whether this is a position, or one that still owes; not only orders."""
    return exposure.size_lots != 0 or exposure.unpaid_units != 0
