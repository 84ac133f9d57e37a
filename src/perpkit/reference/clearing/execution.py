"""What an admitted order does: trades as planned, and rests with what is left."""

import attrs

from perpkit.model.cause import CancelReason, Cause
from perpkit.model.event import OrderAccepted
from perpkit.model.order import Match, MatchPlan, Order
from perpkit.reference.clearing import orders, settlement
from perpkit.reference.clearing.admission import Admitted
from perpkit.reference.clearing.settlement import FillSide
from perpkit.reference.clearing.state import State


def place(state: State, admitted: Admitted, *, makes_way: bool) -> None:
    """Let an admitted order in; where it closes, the account's others of its side on the position make way."""
    order = admitted.order
    state.events.append(
        OrderAccepted(
            market=order.market,
            account=order.account,
            position_id=order.position_id,
            order_id=order.id,
            client_order_id=admitted.pending.client_order_id,
            side=order.side,
            size_lots=order.size_lots,
            price_ticks=order.price_ticks,
        )
    )
    if makes_way:
        reason, side = CancelReason.MADE_WAY, order.side
        orders.cancel_all(state, order.market, order.account, reason, side=side, position_id=order.position_id)
        admitted = renewed(state, admitted)
    execute_and_rest(state, admitted)


def renewed(state: State, admitted: Admitted) -> Admitted:
    """Return the same plan as of now: what went away on the order's own side changes nothing of it."""
    version = state.context.books[admitted.order.market].plan(admitted.order).version
    return attrs.evolve(admitted, plan=attrs.evolve(admitted.plan, version=version))


def execute_and_rest(state: State, admitted: Admitted) -> None:
    """Trade as planned, and rest with what is left."""
    order, plan = admitted.order, admitted.plan
    execute(state, plan, Cause.TRADE)
    if plan.rest_lots:
        gone = order.size_lots - plan.rest_lots
        if gone:
            admitted.pending.relieve(gone)
        orders.rest(state, admitted.pending)
    orders.trim_reduce_only(state, order.account, orders.slot_of(order))


def execute(state: State, plan: MatchPlan, cause: Cause) -> None:
    """Settle a plan match by match, and let the book follow."""
    taker = plan.taker
    for match in plan.matches:
        maker_slot = (taker.market, match.maker_position_id)
        left = orders.relieve(state, match.maker_account, maker_slot, match.maker, match.size_lots)
        if match.prevented:
            maker = attrs.evolve(taker, id=match.maker, account=match.maker_account)
            orders.tell_cancelled(state, maker, match.size_lots, left, CancelReason.SELF_TRADE)
        else:
            _settle(state, taker, match, cause)
    state.context.books[taker.market].commit(plan)
    for match in plan.matches:
        orders.trim_reduce_only(state, match.maker_account, (taker.market, match.maker_position_id))
    if plan.prevented_lots:
        left = plan.rest_lots + plan.cancel_lots
        orders.tell_cancelled(state, taker, plan.prevented_lots, left, CancelReason.SELF_TRADE)
    if plan.cancel_lots:
        orders.tell_cancelled(state, taker, plan.cancel_lots, 0, plan.cancel_reason)


def _settle(state: State, taker: Order, match: Match, cause: Cause) -> None:
    lots = taker.side * match.size_lots
    value = state.market(taker.market).value(lots, match.price_ticks)
    side = FillSide(
        account=taker.account,
        slot=orders.slot_of(taker),
        lots=lots,
        value_units=value,
        price_ticks=match.price_ticks,
        order_id=taker.id,
        maker=False,
        cause=cause,
    )
    settlement.settle_side(state, side)
    settlement.settle_side(
        state,
        attrs.evolve(
            side,
            account=match.maker_account,
            slot=(taker.market, match.maker_position_id),
            lots=-lots,
            value_units=-value,
            order_id=match.maker,
            maker=True,
            cause=Cause.TRADE,
        ),
    )
