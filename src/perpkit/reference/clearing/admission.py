"""Whether an order may come in: one function, which asks in the order of the `RejectReason` table."""

import attrs

from perpkit.model import form
from perpkit.model.command import PlaceOrder
from perpkit.model.event import Rejected
from perpkit.model.ids import OrderId
from perpkit.model.market import MarketState
from perpkit.model.order import MatchPlan, Order, Side, TimeInForce
from perpkit.model.position import Pool, worst_units
from perpkit.model.reject import RejectReason
from perpkit.ports.trading import OrderCase
from perpkit.reference.clearing.arrival import arriving, bound, cut, within_cost
from perpkit.reference.clearing.state import OpenOrder, State
from perpkit.reference.clearing.views import pool, reached_lots
from perpkit.units import SCALE, div_ceil


@attrs.frozen(kw_only=True)
class Admitted:
    """An order that may trade, what it sets aside, and what the book plans for it."""

    order: Order
    pending: OpenOrder
    plan: MatchPlan


def admit(
    state: State,
    command: PlaceOrder,
    order_id: OrderId,
    market_state: MarketState,
    locked: bool,
    replaced: OpenOrder | None = None,
) -> Admitted | Rejected:
    """Admit an order or say why not. Nothing changes either way. `replaced` is the resting order that it takes over.

    Rejects:
        In the order of `RejectReason`: what `fit` refuses, position-limit, open-interest-limit, insufficient-margin,
        other-position-at-risk.

    Cost:
        One plan of the book and one reading of the account's pool.
    """
    fitting = fit(state, command, order_id, market_state, locked, replaced)
    return fitting if isinstance(fitting, Rejected) else refuse_margin(state, fitting, replaced) or fitting


def fit(
    state: State,
    command: PlaceOrder,
    order_id: OrderId,
    market_state: MarketState,
    locked: bool,
    replaced: OpenOrder | None = None,
) -> Admitted | Rejected:
    """Return what an order would trade and set aside if its account can afford it, or say what else is in its way.

    Rounds:
        What is set aside, up.

    Rejects:
        In the order of `RejectReason`: market-state, account-locked, size-not-positive, size-above-maximum,
        price-out-of-bounds, flags-conflict, position-mode, no-mark, no-reference-price, too-many-orders, order-check,
        nothing-to-reduce, past-bankruptcy, would-cross, cannot-fill, cost-cap.

    Cost:
        One plan of the book.
    """
    refused = _refuse_form(state, command, market_state, locked)
    if refused:
        return refused
    order = arriving(state, command, order_id)
    if isinstance(order, Rejected):
        return order
    refused = _refuse_count(state, command, replaced) or _refuse_checks(state, order, replaced)
    if refused:
        return refused
    order = cut(state, order, beside_others=not command.close)
    order = bound(state, order, command.is_market)
    if isinstance(order, Rejected):
        return order
    plan = state.context.books[order.market].plan(order)
    if command.post_only and plan.matches:
        return Rejected(reason=RejectReason.WOULD_CROSS)
    kills = order.time_in_force is TimeInForce.FOK and plan.cancel_lots
    if kills or (command.market_to_limit and not plan.matches):
        return Rejected(reason=RejectReason.CANNOT_FILL)
    if command.value_limit_units:
        capped = within_cost(state, plan, command.value_limit_units)
        if isinstance(capped, Rejected):
            return capped
        plan = capped
    return Admitted(order=order, pending=_price(state, order, command), plan=plan)


def _refuse_form(state: State, command: PlaceOrder, market_state: MarketState, locked: bool) -> Rejected | None:
    market = state.market(command.market)
    post_only_market = market_state is MarketState.POST_ONLY
    if not market_state.accepts_orders or (post_only_market and not command.post_only):
        return Rejected(reason=RejectReason.MARKET_STATE)
    if locked and not (command.reduce_only or command.close):
        return Rejected(reason=RejectReason.ACCOUNT_LOCKED)
    if reason := form.refuse(command, market):
        return Rejected(reason=reason)
    mode = state.accounts[command.account].modes.get(command.market)
    if mode and not mode.has(command.position_id):
        return Rejected(reason=RejectReason.POSITION_MODE)
    if state.marks[command.market].price_ticks == 0:
        return Rejected(reason=RejectReason.NO_MARK)
    return None


def _refuse_count(state: State, command: PlaceOrder, replaced: OpenOrder | None) -> Rejected | None:
    others = state.order_counts[command.account, command.market] - (replaced is not None)
    if not form.immediate(command) and others >= state.market(command.market).orders_max:
        return Rejected(reason=RejectReason.TOO_MANY_ORDERS)
    return None


def _refuse_checks(state: State, order: Order, replaced: OpenOrder | None) -> Rejected | None:
    checks = state.context.order_checks[order.market]
    if not checks:
        return None
    book, account = state.context.books[order.market], state.accounts[order.account]
    sizes = [position.size_lots for slot, position in account.positions.items() if slot[0] == order.market]
    resting = [
        each
        for slot, its in account.orders.items()
        for each in its.orders.values()
        if slot[0] == order.market and each is not replaced
    ]
    case = OrderCase(
        order=order,
        mark=state.marks[order.market],
        best_bid_ticks=book.best(Side.BUY),
        best_ask_ticks=book.best(Side.SELL),
        position_lots=state.peek(order.account, (order.market, order.position_id)).size_lots,
        long_lots=sum(size for size in sizes if size > 0),
        short_lots=-sum(size for size in sizes if size < 0),
        open_buy_lots=sum(each.left_lots for each in resting if each.order.side is Side.BUY),
        open_sell_lots=sum(each.left_lots for each in resting if each.order.side is Side.SELL),
        open_orders=len(resting),
        open_interest_lots=state.sums[order.market].open_interest_lots,
    )
    for index, check in enumerate(checks):
        if not check.admits(case):
            return Rejected(reason=RejectReason.ORDER_CHECK, check=index)
    return None


def _price(state: State, order: Order, command: PlaceOrder) -> OpenOrder:
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
        client_order_id=command.client_order_id,
        left_lots=order.size_lots,
        value_units=value,
        reserve_units=reserve,
        post_only=command.post_only,
    )


def refuse_margin(state: State, fitting: Admitted, replaced: OpenOrder | None = None) -> Rejected | None:
    """Say why an account cannot bear an order; what only reduces it can always bear.

    Rejects:
        position-limit, open-interest-limit, insufficient-margin, other-position-at-risk.

    Cost:
        One reading of the account's pool, two where it has isolated positions under other ids.
    """
    order, plan, pending = fitting.order, fitting.plan, fitting.pending
    if order.reduce_only:
        return None
    market, mark = state.market(order.market), state.marks[order.market].price_ticks
    after = pool(state, order.account, market.settlement, pending=pending, replaced=replaced)
    worst = sum(worst_units(market, e, mark) for e in after.exposures if e.market == order.market)
    if worst > market.brackets[-1].up_to_units:
        return Rejected(reason=RejectReason.POSITION_LIMIT)
    # Only a taker's fills can raise open interest, so counting them keeps the bound hard.
    matched = sum(match.size_lots for match in plan.matches if not match.prevented)
    if state.sums[order.market].open_interest_lots + matched > market.open_interest_max_lots:
        return Rejected(reason=RejectReason.OPEN_INTEREST_LIMIT)
    need = state.context.margin.need(after, state.marks)
    if need.equity_units < need.initial_units:
        return Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    if _endangers(state, after, pending, replaced):
        return Rejected(reason=RejectReason.OTHER_POSITION_AT_RISK)
    return None


def _endangers(state: State, after: Pool, pending: OpenOrder, replaced: OpenOrder | None) -> bool:
    """Whether an isolated position under another id would be in breach once all orders filled.

    Brackets are the account's in the market, so what opens under one id may raise what the others need.
    """
    account, market, own = pending.order.account, pending.order.market, pending.order.position_id
    others = [
        e for e in after.exposures if e.market == market and e.position_id != own and e.isolated_units is not None
    ]
    if not any(each.size_lots for each in others):
        return False
    gross_lots = reached_lots(state, account, market, pending, replaced)
    if gross_lots <= reached_lots(state, account, market):
        return False
    exposures = [attrs.evolve(e, gross_lots=gross_lots) if e.market == market else e for e in after.exposures]
    need = state.context.margin.need(attrs.evolve(after, exposures=tuple(exposures)), state.marks)
    return any(
        slot.market == market and slot.position_id != own and slot.equity_units < slot.maintenance_units
        for slot in need.slots
        if slot.equity_units is not None
    )
