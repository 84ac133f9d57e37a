"""Resting orders as clearing sees them: what they reserve, and who may still have them."""

from perpkit.model.cause import CancelReason
from perpkit.model.event import OrderCancelled, OrderRested
from perpkit.model.ids import AccountId, MarketId, OrderId, PositionId
from perpkit.model.order import Order, Side
from perpkit.reference.clearing.state import OpenOrder, Slot, SlotOrders, State
from perpkit.reference.clearing.views import pool
from perpkit.units import Lots


def slot_of(order: Order) -> Slot:
    """Return the slot that an order trades for."""
    return order.market, order.position_id


def find(
    state: State, market: MarketId, account: AccountId, order_id: OrderId, client_order_id: int
) -> OpenOrder | None:
    """Return an account's resting order by the exchange's id or, where that is 0, by the client's."""
    has = state.accounts[account]
    wanted = order_id or has.by_client_id.get((market, client_order_id), 0)
    for (its_market, _), slot_orders in has.orders.items():
        if its_market == market and wanted in slot_orders.orders:
            return slot_orders.orders[wanted]
    return None


def rest(state: State, open_order: OpenOrder) -> None:
    """Count a resting order in."""
    order = open_order.order
    has = state.accounts[order.account]
    has.orders.setdefault(slot_of(order), SlotOrders()).add(open_order)
    state.order_counts[order.account, order.market] += 1
    if open_order.client_order_id:
        has.by_client_id[order.market, open_order.client_order_id] = order.id
    state.events.append(
        OrderRested(
            market=order.market,
            account=order.account,
            order_id=order.id,
            side=order.side,
            size_lots=open_order.left_lots,
            price_ticks=order.price_ticks,
        )
    )


def relieve(state: State, account: AccountId, slot: Slot, order_id: OrderId, lots: Lots) -> Lots:
    """Free what `lots` of a resting order reserved; forget the order when nothing of it is left. Return what is."""
    has = state.accounts[account]
    slot_orders = has.orders[slot]
    open_order = slot_orders.orders[order_id]
    value, reserve = open_order.relieve(lots)
    slot_orders.count(open_order.order.side, -value, -reserve)
    if open_order.left_lots:
        return open_order.left_lots
    slot_orders.add(open_order, -1)
    if not slot_orders.orders:
        del has.orders[slot]
    state.order_counts[account, slot[0]] -= 1
    if open_order.client_order_id:
        has.by_client_id.pop((slot[0], open_order.client_order_id), None)
    return 0


def shrink(state: State, order: Order, lots: Lots, reason: CancelReason) -> None:
    """Take lots off a resting order, in the book and in what it reserves."""
    state.context.books[order.market].reduce(order.id, lots)
    left = relieve(state, order.account, slot_of(order), order.id, lots)
    tell_cancelled(state, order, lots, left, reason)


def tell_cancelled(state: State, order: Order, lots: Lots, left_lots: Lots, reason: CancelReason) -> None:
    """Tell that lots of an order went away unfilled."""
    state.events.append(
        OrderCancelled(
            market=order.market,
            account=order.account,
            order_id=order.id,
            size_lots=lots,
            left_lots=left_lots,
            reason=reason,
        )
    )


def cancel_all(
    state: State,
    market: MarketId,
    account: AccountId,
    reason: CancelReason,
    *,
    side: Side | None = None,
    position_id: PositionId | None = None,
) -> None:
    """Take out every order of an account in a market, oldest first; or those of one side, of one position."""
    resting = [
        open_order
        for slot, slot_orders in state.accounts[account].orders.items()
        if slot[0] == market and position_id in (None, slot[1])
        for open_order in slot_orders.orders.values()
        if side in (None, open_order.order.side)
    ]
    for open_order in sorted(resting, key=lambda each: each.order.id):
        shrink(state, open_order.order, open_order.left_lots, reason)


def cancel_insolvent(state: State, market: MarketId) -> None:
    """Take out the resting closes of isolated positions that would now fill beyond the bankruptcy price.

    They were within it when they came in, and only funding moves it afterwards.
    """
    spec, margin = state.market(market), state.context.margin
    for account in list(state.client_accounts()):
        for slot, slot_orders in list(state.accounts[account].orders.items()):
            position = state.peek(account, slot)
            if slot[0] != market or not position.terms.isolated or not position.size_lots:
                continue
            whole = pool(state, account, spec.settlement)
            for each in sorted(slot_orders.orders.values(), key=lambda one: one.order.id):
                lots = min(each.left_lots, abs(position.size_lots))
                closing = -each.order.side * lots
                if closing * position.size_lots > 0:
                    least = margin.closing_value(whole, market, slot[1], closing, state.marks)
                    if spec.value(closing, each.order.price_ticks) < least:
                        shrink(state, each.order, each.left_lots, CancelReason.INSOLVENT)


def trim_reduce_only(state: State, account: AccountId, slot: Slot) -> None:
    """Keep reduce-only orders within what is left to reduce, giving up the least aggressive first.

    What other orders of the same side would close counts first, so that no fill of a reduce-only order can ever
    open a position, whatever order the fills come in.
    """
    slot_orders = state.accounts[account].orders.get(slot)
    if slot_orders is None or not any(each.order.reduce_only for each in slot_orders.orders.values()):
        return
    size = state.peek(account, slot).size_lots
    closing = [each for each in slot_orders.orders.values() if each.order.side * size < 0]
    room = max(0, abs(size) - sum(each.left_lots for each in closing if not each.order.reduce_only))
    reducing = [each for each in slot_orders.orders.values() if each.order.reduce_only]
    for each in sorted(reducing, key=lambda one: (-one.order.side * one.order.price_ticks, one.order.id)):
        keep = min(each.left_lots, room) if each in closing else 0
        room -= keep
        if keep < each.left_lots:
            shrink(state, each.order, each.left_lots - keep, CancelReason.REDUCE_ONLY)
