"""Pegged orders: each stands behind the best price of its side that others show, and follows it."""

from collections import Counter

from perpkit.engine.core import Core, work_in
from perpkit.engine.triggers import rules
from perpkit.model import form
from perpkit.model.cause import CancelReason
from perpkit.model.command import AmendOrder
from perpkit.model.event import Rejected
from perpkit.model.ids import MarketId, OrderId
from perpkit.model.order import Side
from perpkit.model.reject import RejectReason
from perpkit.units import Ticks


def reprice(core: Core, market: MarketId, budget: int) -> int:
    """Bring the pegged orders of a market to where they belong, in order of acceptance; return the work done.

    Where nobody else shows a price of its side, an order stays where it is; also where it may not move now.

    Cost:
        O(pegged orders of the market).
    """
    done, pegs = 0, sorted(core.desk.pegs.get(market, ()))
    sides = {core.desk.live[order_id].side for order_id in pegs}
    best = {side: _best_of_others(core, market, side, pegs) for side in Side if side in sides}
    for order_id in pegs:
        if done >= budget:
            core.desk.repeg.add(market)
            break
        reference = best[core.desk.live[order_id].side]
        if reference is not None:
            done += _follow(core, order_id, reference)
    return done


def _best_of_others(core: Core, market: MarketId, side: Side, pegs: list[OrderId]) -> Ticks | None:
    """Return the best price of a side that an order shows which is not pegged itself."""
    clearing, own = core.parts.clearing, Counter[Ticks]()
    for order_id in pegs:
        order = core.desk.live[order_id]
        resting = clearing.order(market, order.account, order_id, 0)
        if order.side is side and resting and not order.hidden:
            own[resting.price_ticks] += 1
    levels = clearing.levels(market, side, len(own) + 1)
    return next((level.price_ticks for level in levels if level.orders > own[level.price_ticks]), None)


def _follow(core: Core, order_id: OrderId, reference: Ticks) -> int:
    order, clearing = core.desk.live[order_id], core.parts.clearing
    spec = core.config.markets[order.market]
    resting = clearing.order(order.market, order.account, order_id, 0)
    price = form.pegged_to(reference, order.side, order.peg_offset_ticks, order.price_ticks, spec)
    if resting is None or resting.price_ticks == price:
        return 0
    command = AmendOrder(
        account=order.account, market=order.market, order_id=order_id, price_ticks=price, time_ns=core.clock_ns
    )
    events = clearing.amend(command, *core.standing(order.account, order.market))
    if not isinstance(refused := events[0], Rejected):
        core.events += events
        return 1 + work_in(list(events))
    if refused.reason is not RejectReason.INSUFFICIENT_MARGIN:
        return 0
    rules.cancel_anywhere(core, order.account, order.market, order_id, CancelReason.UNAFFORDABLE)
    return 1
