"""Whether an order may come in: one function, which asks in the order of the `RejectReason` table."""

import attrs

from perpkit.model.command import PlaceOrder
from perpkit.model.event import Rejected
from perpkit.model.ids import OrderId
from perpkit.model.market import MarketState
from perpkit.model.order import MatchPlan, Order, Side, TimeInForce
from perpkit.model.position import worst_units
from perpkit.model.reject import RejectReason
from perpkit.reference.clearing.state import OpenOrder, Slot, State
from perpkit.reference.clearing.views import pool
from perpkit.units import SCALE, Lots, div_ceil


@attrs.frozen(kw_only=True)
class Admitted:
    """An order that may trade, what it sets aside, and what the book plans for it."""

    order: Order
    pending: OpenOrder
    plan: MatchPlan


def admit(
    state: State, command: PlaceOrder, order_id: OrderId, market_state: MarketState, locked: bool
) -> Admitted | Rejected:
    """Admit an order or say why not. Nothing changes either way.

    Rejects:
        In the order of `RejectReason`: market-state, account-locked, size-not-positive, size-above-maximum,
        price-out-of-bounds, flags-conflict, no-mark, too-many-orders, order-check, nothing-to-reduce,
        past-bankruptcy, would-cross, cannot-fill, position-limit, open-interest-limit, insufficient-margin.

    Rounds:
        What is set aside, up.

    Cost:
        One plan of the book and one reading of the account's pool.
    """
    refused = _refuse_form(state, command, market_state, locked)
    if refused:
        return refused
    order = _order(state, command, order_id)
    refused = _refuse_checks(state, order)
    if refused:
        return refused
    bounded = _bound(state, _cut(state, order), command.is_market)
    if isinstance(bounded, Rejected):
        return bounded
    order = bounded
    plan = state.context.books[order.market].plan(order)
    if command.post_only and plan.matches:
        return Rejected(reason=RejectReason.WOULD_CROSS)
    if order.time_in_force is TimeInForce.FOK and plan.cancel_lots:
        return Rejected(reason=RejectReason.CANNOT_FILL)
    pending = _price(state, order, command.client_order_id)
    if not command.reduce_only:
        refused = _refuse_margin(state, plan, pending)
        if refused:
            return refused
    return Admitted(order=order, pending=pending, plan=plan)


def _refuse_form(state: State, command: PlaceOrder, market_state: MarketState, locked: bool) -> Rejected | None:
    market = state.market(command.market)
    bounded = market.price_min_ticks <= command.price_ticks <= market.price_max_ticks
    immediate = command.is_market or command.time_in_force is not TimeInForce.GTC
    count = state.order_counts[command.account, command.market]
    post_only_market = market_state is MarketState.POST_ONLY
    if not market_state.accepts_orders or (post_only_market and not command.post_only):
        return Rejected(reason=RejectReason.MARKET_STATE)
    if locked and not command.reduce_only:
        return Rejected(reason=RejectReason.ACCOUNT_LOCKED)
    if command.size_lots <= 0:
        return Rejected(reason=RejectReason.SIZE_NOT_POSITIVE)
    if command.size_lots > market.order_max_lots:
        return Rejected(reason=RejectReason.SIZE_ABOVE_MAXIMUM)
    if not bounded and not (command.is_market and command.price_ticks == 0):
        return Rejected(reason=RejectReason.PRICE_OUT_OF_BOUNDS)
    if command.post_only and immediate:
        return Rejected(reason=RejectReason.FLAGS_CONFLICT)
    if state.marks[command.market].price_ticks == 0:
        return Rejected(reason=RejectReason.NO_MARK)
    if not immediate and count >= market.orders_max:
        return Rejected(reason=RejectReason.TOO_MANY_ORDERS)
    return None


def _order(state: State, command: PlaceOrder, order_id: OrderId) -> Order:
    price, time_in_force = command.price_ticks, command.time_in_force
    if command.is_market:
        mark = state.marks[command.market].price_ticks
        price = price or state.market(command.market).slippage_bound(command.side, mark)
        time_in_force = TimeInForce.FOK if time_in_force is TimeInForce.FOK else TimeInForce.IOC
    return Order(
        id=order_id,
        account=command.account,
        market=command.market,
        position_id=command.position_id,
        side=command.side,
        size_lots=command.size_lots,
        price_ticks=price,
        time_in_force=time_in_force,
        reduce_only=command.reduce_only,
    )


def _refuse_checks(state: State, order: Order) -> Rejected | None:
    book, mark = state.context.books[order.market], state.marks[order.market]
    best_bid, best_ask = book.best(Side.BUY), book.best(Side.SELL)
    for index, check in enumerate(state.context.order_checks[order.market]):
        if not check.admits(order, mark, best_bid, best_ask):
            return Rejected(reason=RejectReason.ORDER_CHECK, check=index)
    return None


def _cut(state: State, order: Order) -> Order:
    """Cut a reduce-only order to what there is to reduce, possibly nothing."""
    if not order.reduce_only:
        return order
    slot = (order.market, order.position_id)
    size = state.peek(order.account, slot).size_lots
    room = abs(size) if order.side * size < 0 else 0
    if order.time_in_force is TimeInForce.GTC:
        room -= _resting_closes(state, order, slot)
    return attrs.evolve(order, size_lots=max(0, min(order.size_lots, room)))


def _bound(state: State, order: Order, is_market: bool) -> Order | Rejected:
    """Bound a close at its position's bankruptcy price: nobody else pays for a voluntary close.

    Plain orders of a cross pool need no bound, since they set their loss against the mark aside. A market order is
    tightened to the bankruptcy price; a limit beyond it is refused.
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


def _resting_closes(state: State, order: Order, slot: Slot) -> Lots:
    slot_orders = state.accounts[order.account].orders.get(slot)
    if slot_orders is None:
        return 0
    resting = slot_orders.orders.values()
    return sum(o.left_lots for o in resting if o.order.side is order.side and not o.order.reduce_only)


def _price(state: State, order: Order, client_order_id: int) -> OpenOrder:
    """Say what an order sets aside: |value|, taker fee, and loss against the mark if it filled at its limit.

    An order that crosses may fill anywhere from the best opposite price to its limit, and the greater |value| of
    the two may be at either end. A reduce-only order sets nothing aside.
    """
    value = reserve = 0
    if not order.reduce_only:
        market = state.market(order.market)
        signed = order.side * order.size_lots
        at_limit = market.value(signed, order.price_ticks)
        value = abs(at_limit)
        best = state.context.books[order.market].best(order.side.opposite)
        if best is not None and order.side * (order.price_ticks - best) >= 0:
            value = max(value, abs(market.value(signed, best)))
        rate = max(0, state.context.fees[order.market].rate_ppb(order.account, False))
        loss = at_limit - market.value(signed, state.marks[order.market].price_ticks)
        reserve = div_ceil(value * rate, SCALE) + max(0, loss)
    return OpenOrder(
        order=order,
        client_order_id=client_order_id,
        left_lots=order.size_lots,
        value_units=value,
        reserve_units=reserve,
    )


def _refuse_margin(state: State, plan: MatchPlan, pending: OpenOrder) -> Rejected | None:
    order = plan.taker
    market, mark = state.market(order.market), state.marks[order.market].price_ticks
    after = pool(state, order.account, market.settlement, pending=pending)
    worst = sum(worst_units(market, e, mark) for e in after.exposures if e.market == order.market)
    if worst > market.brackets[-1].up_to_units:
        return Rejected(reason=RejectReason.POSITION_LIMIT)
    # Only a taker's fills can raise open interest, so counting them keeps the bound hard.
    matched = sum(match.size_lots for match in plan.matches)
    if state.sums[order.market].open_interest_lots + matched > market.open_interest_max_lots:
        return Rejected(reason=RejectReason.OPEN_INTEREST_LIMIT)
    need = state.context.margin.need(after, state.marks)
    if need.equity_units < need.initial_units:
        return Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    return None
