"""What an order is when it arrives: its limit, what it hides, how much of it there is to do, what it may cost."""

import attrs

from perpkit.model import form
from perpkit.model.cause import CancelReason
from perpkit.model.command import PlaceOrder
from perpkit.model.event import Rejected
from perpkit.model.ids import OrderId
from perpkit.model.matching import hidden_of
from perpkit.model.order import MatchPlan, Order, SelfTrade, Side, TimeInForce
from perpkit.model.position import HEDGE_LONG, HEDGE_SHORT, PositionMode
from perpkit.model.reject import RejectReason
from perpkit.reference.clearing.state import Slot, State
from perpkit.reference.clearing.views import pool
from perpkit.units import Lots, Ticks, Units


def arriving(state: State, command: PlaceOrder, order_id: OrderId) -> Order | Rejected:
    """Return the order that a command asks for, with the limit it has at this moment.

    Rejects:
        no-reference-price.
    """
    price = _limit(state, command)
    if isinstance(price, Rejected):
        return price
    time_in_force = TimeInForce.GTC
    if command.time_in_force.immediate:
        time_in_force = command.time_in_force
    elif command.is_market:
        time_in_force = TimeInForce.IOC
    display = command.display_lots
    return Order(
        id=order_id,
        account=command.account,
        market=command.market,
        position_id=command.position_id,
        side=command.side,
        size_lots=command.size_lots,
        price_ticks=price,
        time_in_force=time_in_force,
        reduce_only=command.reduce_only or command.close or _closes_hedge(state, command),
        self_trade=command.self_trade,
        self_trade_by_owner=command.self_trade_by_owner,
        display_lots=display,
        hidden_lots=command.size_lots - min(display, command.size_lots) if command.hidden or display else 0,
    )


def _closes_hedge(state: State, command: PlaceOrder) -> bool:
    """Whether a position of this id, long or short for good, can only be closed by an order of this side."""
    if state.accounts[command.account].modes.get(command.market) is not PositionMode.HEDGE:
        return False
    return command.position_id == (HEDGE_LONG if command.side is Side.SELL else HEDGE_SHORT)


def _limit(state: State, command: PlaceOrder) -> Ticks | Rejected:
    book, spec, side = state.context.books[command.market], state.market(command.market), command.side
    worst = command.price_ticks or spec.slippage_bound(side, state.marks[command.market].price_ticks)
    if command.is_market:
        return worst
    if command.pegged:
        shown = book.levels(side, 1)
        if not shown:
            return Rejected(reason=RejectReason.NO_REFERENCE_PRICE)
        offset = command.peg_offset_ticks
        return form.pegged_to(shown[0].price_ticks, side, offset, command.price_ticks, spec)
    best = book.best(side.opposite) if command.slide or command.market_to_limit else None
    if best is None or side * (worst - best) < 0:
        return worst
    # What slides stands one tick behind whom it would have met, where such a price is listed.
    return best if command.market_to_limit else spec.within(best - side)


def cut(state: State, order: Order, *, beside_others: bool) -> Order:
    """Cut a reduce-only order to what there is to reduce, possibly nothing."""
    if not order.reduce_only:
        return order
    slot = (order.market, order.position_id)
    size = state.peek(order.account, slot).size_lots
    room = abs(size) if order.side * size < 0 else 0
    if beside_others and order.time_in_force is TimeInForce.GTC:
        room -= _resting_closes(state, order, slot)
    lots = max(0, min(order.size_lots, room))
    return attrs.evolve(order, size_lots=lots, hidden_lots=hidden_of(order, lots))


def _resting_closes(state: State, order: Order, slot: Slot) -> Lots:
    slot_orders = state.accounts[order.account].orders.get(slot)
    if slot_orders is None:
        return 0
    resting = slot_orders.orders.values()
    return sum(o.left_lots for o in resting if o.order.side is order.side and not o.order.reduce_only)


def bound(state: State, order: Order, is_market: bool) -> Order | Rejected:
    """Bound a close at its position's bankruptcy price: nobody else pays for a voluntary close.

    Plain orders of a cross pool need no bound, since they set their loss against the mark aside. A market order is
    tightened to the bankruptcy price; a limit beyond it is refused.

    Rejects:
        nothing-to-reduce, past-bankruptcy.
    """
    slot = (order.market, order.position_id)
    position = state.peek(order.account, slot)
    if order.reduce_only and order.size_lots == 0:
        return Rejected(reason=RejectReason.NOTHING_TO_REDUCE)
    reduces = order.side * position.size_lots < 0
    if not reduces or not (order.reduce_only or position.terms.isolated):
        return order
    market, margin = state.market(order.market), state.context.margin
    closing = -order.side * min(order.size_lots, abs(position.size_lots))
    whole = pool(state, order.account, market.settlement)
    least = margin.closing_value(whole, order.market, order.position_id, closing, state.marks)
    if market.value(closing, order.price_ticks) >= least:
        return order
    price = market.last_price(closing, lambda ticks: market.value(closing, ticks) >= least) if is_market else None
    if price is None:
        return Rejected(reason=RejectReason.PAST_BANKRUPTCY)
    return attrs.evolve(order, price_ticks=price)


def within_cost(state: State, plan: MatchPlan, limit_units: Units) -> MatchPlan | Rejected:
    """Return the plan of as much of an immediate order as its cost cap allows.

    A fill-or-kill order goes whole or not at all: a buy that costs more, or a sell that brings less, is refused.

    Rejects:
        cost-cap.
    """
    order, spec = plan.taker, state.market(plan.taker.market)
    spent, lots = 0, 0
    for match in plan.matches:
        if match.prevented:
            lots += match.size_lots if order.self_trade is SelfTrade.DECREMENT else 0
            continue
        value = abs(spec.value(match.size_lots, match.price_ticks))
        if order.side is Side.BUY and spent + value > limit_units:
            lots += min(match.size_lots, spec.lots_within(limit_units - spent, match.price_ticks))
            break
        spent, lots = spent + value, lots + match.size_lots
    else:
        brings_too_little = order.side is Side.SELL and spent < limit_units
        return Rejected(reason=RejectReason.COST_CAP) if brings_too_little else plan
    if order.time_in_force is TimeInForce.FOK or lots == 0:
        return Rejected(reason=RejectReason.COST_CAP)
    cheaper = state.context.books[order.market].plan(attrs.evolve(order, size_lots=lots))
    cancelled = order.size_lots - lots + cheaper.cancel_lots
    return attrs.evolve(cheaper, taker=order, cancel_lots=cancelled, cancel_reason=CancelReason.COST_CAP)
