"""Changing a resting order in place."""

import attrs

from perpkit.model.command import AmendOrder, PlaceOrder
from perpkit.model.event import OrderAmended, Rejected
from perpkit.model.market import MarketState
from perpkit.model.reject import RejectReason
from perpkit.reference.clearing import execution, orders
from perpkit.reference.clearing.admission import Admitted, admit
from perpkit.reference.clearing.state import OpenOrder, State
from perpkit.units import Lots, Ticks


@attrs.frozen(kw_only=True)
class Amendment:
    """What becomes of a resting order: `left_lots` at `price_ticks`; admitted anew where it loses its place."""

    found: OpenOrder
    left_lots: Lots
    price_ticks: Ticks
    anew: Admitted | None


def amendment(state: State, command: AmendOrder, market_state: MarketState, locked: bool) -> Amendment | Rejected:
    """Say what an amendment would do, or why it is refused. Nothing changes either way.

    Rejects:
        unknown-order; size-not-positive where no more would be left than has gone already; then as a new order.
    """
    found = orders.find(state, command.market, command.account, command.order_id, command.client_order_id)
    if found is None:
        return Rejected(reason=RejectReason.UNKNOWN_ORDER)
    order = found.order
    gone = order.size_lots - found.left_lots
    left = (command.size_lots or order.size_lots) - gone
    price = command.price_ticks or order.price_ticks
    if left <= 0:
        return Rejected(reason=RejectReason.SIZE_NOT_POSITIVE)
    if price == order.price_ticks and left <= found.left_lots:
        return Amendment(found=found, left_lots=left, price_ticks=price, anew=None)
    admitted = admit(state, _as_command(found, left, price), order.id, market_state, locked, replaced=found)
    if isinstance(admitted, Rejected):
        return admitted
    return Amendment(found=found, left_lots=admitted.order.size_lots, price_ticks=price, anew=admitted)


def amend(state: State, amendment: Amendment) -> None:
    """Do it: a smaller order keeps its place, any other leaves the queue and arrives again."""
    found = amendment.found
    order, gone = found.order, found.order.size_lots - found.left_lots
    less = found.left_lots - amendment.left_lots
    kept = amendment.anew is None
    state.events.append(
        OrderAmended(
            market=order.market,
            account=order.account,
            order_id=order.id,
            size_lots=amendment.left_lots,
            price_ticks=amendment.price_ticks,
            kept_place=kept,
        )
    )
    if amendment.anew is None:
        if less:
            state.context.books[order.market].reduce(order.id, less)
            orders.relieve(state, order.account, orders.slot_of(order), order.id, less)
            found.order = attrs.evolve(order, size_lots=order.size_lots - less)
        return
    state.context.books[order.market].reduce(order.id, found.left_lots)
    orders.relieve(state, order.account, orders.slot_of(order), order.id, found.left_lots)
    execution.execute_and_rest(state, execution.renewed(state, amendment.anew))
    again = orders.find(state, order.market, order.account, order.id, 0)
    if again:
        # Its whole size goes on counting what had gone before.
        again.order = attrs.evolve(again.order, size_lots=again.order.size_lots + gone)


def _as_command(found: OpenOrder, left_lots: Lots, price_ticks: Ticks) -> PlaceOrder:
    """Return the command that would place what is left of an order anew."""
    order = found.order
    return PlaceOrder(
        account=order.account,
        market=order.market,
        side=order.side,
        size_lots=left_lots,
        price_ticks=price_ticks,
        post_only=found.post_only,
        reduce_only=order.reduce_only,
        position_id=order.position_id,
        client_order_id=found.client_order_id,
        hidden=order.hidden_lots > 0 and not order.display_lots,
        self_trade=order.self_trade,
        self_trade_by_owner=order.self_trade_by_owner,
        display_lots=order.display_lots,
    )
