"""Phase 2 for traders: what placing, changing, closing and cancelling do themselves."""

from collections.abc import Sequence

import attrs

from perpkit.engine import triggers
from perpkit.engine.core import Core, Window
from perpkit.model.cause import CancelReason
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    ClosePosition,
    ClosePositions,
    PlaceOrder,
    ReversePosition,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.event import Duplicate, Event, Rejected
from perpkit.model.ids import AccountId, MarketId, PositionId
from perpkit.model.market import FINAL_STATES
from perpkit.model.order import Side, TimeInForce
from perpkit.model.position import PositionMode
from perpkit.model.preview import Preview, without_effect
from perpkit.model.records import STAMP_AT, STAMP_BYTES, pack
from perpkit.model.reject import RejectReason
from perpkit.units import SECOND_NS, Lots, Nanos, div_floor


def place(core: Core, command: PlaceOrder) -> Rejected | Duplicate | None:
    """Place an order once, however often it is sent with the same client order id."""
    return _once(core, command, command)


def close(core: Core, command: ClosePosition) -> Rejected | Duplicate | None:
    """Close a position with one order; the account's other orders that would close it make way."""
    held = core.position_lots(command.account, command.market, command.position_id)
    return _once(core, command, _closing(command, command.market, command.position_id, held))


def reverse(core: Core, command: ReversePosition) -> Rejected | Duplicate | None:
    """Send one immediate order of twice the size of a position."""
    held = core.position_lots(command.account, command.market, command.position_id)
    order = PlaceOrder(
        account=command.account,
        market=command.market,
        side=Side.SELL if held > 0 else Side.BUY,
        size_lots=2 * abs(held),
        price_ticks=command.price_ticks,
        is_market=True,
        position_id=command.position_id,
        client_order_id=command.client_order_id,
        time_ns=command.time_ns,
    )
    return _once(core, command, order)


def close_all(core: Core, command: ClosePositions) -> Rejected | None:
    """Close every position, each with an order of its own; one that is refused does not stop the others."""
    clearing, done = core.parts.clearing, 0
    for market in [command.market] if command.market else sorted(core.config.markets):
        asset = core.config.markets[market].settlement
        for held in clearing.pool(command.account, asset).exposures:
            if held.market != market or not held.size_lots:
                continue
            done += 1
            order, order_id = _closing(command, market, held.position_id, held.size_lots), core.order_id(done)
            triggers.go_live(core, order, order_id)
    return None if done else Rejected(reason=RejectReason.NOTHING_TO_REDUCE)


def amend(core: Core, command: AmendOrder) -> Rejected | None:
    """Change an order, in the book or waiting for its trigger."""
    if refused := _too_fast(core, command.account, command.time_ns):
        return refused
    if triggers.find(core, command):
        refused = triggers.amend(core, command)
    elif command.trigger_ticks:
        refused = Rejected(reason=RejectReason.UNKNOWN_ORDER)
    elif command.price_ticks and triggers.is_pegged(core, command):
        # Its price is not its owner's to choose: it would be taken back at once.
        refused = Rejected(reason=RejectReason.FLAGS_CONFLICT)
    else:
        standing = core.standing(command.account, command.market)
        refused = _take(core, core.parts.clearing.amend(command, *standing))
    if refused is None:
        _count(core, command.account, command.time_ns)
    return refused


def cancel(core: Core, command: CancelOrder) -> Rejected | None:
    """Take one order out."""
    if waiting := triggers.find(core, command):
        triggers.cancel(core, waiting, CancelReason.REQUESTED)
        return None
    return _take(core, core.parts.clearing.cancel(command, CancelReason.REQUESTED))


def cancel_many(core: Core, command: CancelOrders) -> None:
    """Take out an account's orders by market, side or position; none is no fault."""
    position_id = command.position_id if command.by_position else None
    for side, chosen in ((Side.BUY, command.buys), (Side.SELL, command.sells)):
        if chosen:
            markets = [command.market] if command.market else sorted(core.config.markets)
            cancel_all(core, command.account, markets, CancelReason.REQUESTED, side, position_id)


def cancel_all(
    core: Core,
    account: AccountId,
    markets: list[MarketId],
    reason: CancelReason,
    side: Side | None = None,
    position_id: PositionId | None = None,
) -> None:
    """Take out an account's orders in some markets, in the book and waiting."""
    for market in markets:
        triggers.cancel_all(core, account, market, reason, side, position_id)
        core.events += core.parts.clearing.cancel_all(market, account, reason, side, position_id)


def set_terms(core: Core, command: SetPositionTerms) -> Rejected | None:
    """Choose margin mode and leverage."""
    if core.market_states[command.market] in FINAL_STATES:
        return Rejected(reason=RejectReason.MARKET_STATE)
    return _take(core, core.parts.clearing.set_position_terms(command))


def set_mode(core: Core, command: SetPositionMode) -> Rejected | None:
    """Choose how positions are told apart; orders that wait are orders too."""
    if core.market_states[command.market] in FINAL_STATES:
        return Rejected(reason=RejectReason.MARKET_STATE)
    if triggers.waits_for(core, command.account, command.market):
        return Rejected(reason=RejectReason.TERMS_IN_USE)
    return _take(core, core.parts.clearing.set_position_mode(command))


def adjust_margin(core: Core, command: AdjustMargin) -> Rejected | None:
    """Move margin to or from an isolated position; a pool that waits for liquidation moves nothing out."""
    if core.market_states[command.market] in FINAL_STATES:
        return Rejected(reason=RejectReason.MARKET_STATE)
    if core.locked(command.account, core.config.markets[command.market].settlement):
        return Rejected(reason=RejectReason.ACCOUNT_LOCKED)
    return _take(core, core.parts.clearing.adjust_margin(command))


def preview(core: Core, command: PlaceOrder, refused: Rejected | None = None) -> Preview:
    """Return what an order would do now, one with a trigger as if it fired now; with the names that people know."""
    spec, fired = core.config.markets[command.market], attrs.evolve(command, trigger=None)
    if command.trigger and command.close and not command.size_lots:
        held = core.position_lots(command.account, command.market, command.position_id)
        fired = attrs.evolve(fired, size_lots=max(0, -command.side * held))
    found = core.parts.clearing.preview(fired, core.sequence + 1, *core.standing(command.account, command.market))
    answer = refused or _refuse_early(core, command, command)
    if answer is None and (command.trigger or command.attached):
        answer = triggers.refuse(core, command)
    if isinstance(answer, Rejected):
        found = without_effect(found, refused=answer.reason)
    elif answer:
        found = without_effect(found, duplicate_of=answer.sequence)
    asset, checks = core.config.assets[spec.settlement], core.config.order_checks(spec.id)
    return attrs.evolve(
        found,
        order=command,
        asset=asset.name,
        unit=asset.unit,
        check_name=checks[found.check].provider if found.check >= 0 else "",
    )


def _refuse_early(
    core: Core, command: PlaceOrder | ClosePosition | ReversePosition, order: PlaceOrder
) -> Rejected | Duplicate | None:
    """Return why an order does not get as far as clearing; a duplicate was done before. Nothing changes."""
    window = core.windows.get(command.account)
    seen = window.seen if window else {}
    known = seen.get(command.client_order_id)
    if known and known[0] != _content(command):
        return Rejected(reason=RejectReason.CLIENT_ORDER_ID_REUSED)
    if known:
        return Duplicate(account=command.account, client_order_id=command.client_order_id, sequence=known[1])
    if any(each.client_order_id in seen for each in order.attached):
        return Rejected(reason=RejectReason.CLIENT_ORDER_ID_REUSED)
    return _refuse(core, command, order)


def _once(
    core: Core, command: PlaceOrder | ClosePosition | ReversePosition, order: PlaceOrder
) -> Rejected | Duplicate | None:
    """Place an order for a command, unless the command was done before."""
    answer = _refuse_early(core, command, order) or _enter(core, order)
    if answer is None:
        _count(core, command.account, command.time_ns)
        for name in (command.client_order_id, *(each.client_order_id for each in order.attached)):
            if name:
                _remember(core, command, name)
    return answer


def _content(command: PlaceOrder | ClosePosition | ReversePosition) -> bytes:
    """Return what a client must send again for it to be the same: everything but the stamp."""
    record = pack(command)
    return record[:STAMP_AT] + record[STAMP_AT + STAMP_BYTES :]


def _refuse(core: Core, command: PlaceOrder | ClosePosition | ReversePosition, order: PlaceOrder) -> Rejected | None:
    if refused := _too_fast(core, order.account, order.time_ns):
        return refused
    clearing, reason = core.parts.clearing, None
    if isinstance(command, PlaceOrder):
        if order.time_in_force is TimeInForce.GTD and order.expires_ns <= order.time_ns:
            reason = RejectReason.FLAGS_CONFLICT
    elif not order.size_lots:
        reason, order = RejectReason.NOTHING_TO_REDUCE, attrs.evolve(order, size_lots=1)
    elif isinstance(command, ReversePosition):
        hedged = clearing.position_mode(order.account, order.market) is PositionMode.HEDGE
        reason = RejectReason.POSITION_MODE if hedged else None
    if reason is None:
        return None
    # Of several reasons the first of the table is given, and clearing may know one that stands before.
    before = clearing.preview(order, core.sequence, *core.standing(order.account, order.market)).refused
    return Rejected(reason=min(reason, before or reason))


def _enter(core: Core, order: PlaceOrder) -> Rejected | None:
    """Let an order wait for its trigger, or go live."""
    if order.trigger:
        return triggers.wait(core, order)
    if order.attached and (refused := triggers.refuse(core, order)):
        return refused
    refused = _take(core, core.parts.clearing.place(order, core.sequence, *core.standing(order.account, order.market)))
    if refused is None:
        triggers.follow(core, order, core.sequence)
    return refused


def _closing(
    command: ClosePosition | ClosePositions, market: MarketId, position_id: PositionId, held: Lots
) -> PlaceOrder:
    one = command if isinstance(command, ClosePosition) else None
    price = one.price_ticks if one else 0
    return PlaceOrder(
        account=command.account,
        market=market,
        side=Side.SELL if held > 0 else Side.BUY,
        size_lots=(one.size_lots if one else 0) or abs(held),
        price_ticks=price,
        is_market=price == 0,
        position_id=position_id,
        client_order_id=one.client_order_id if one else 0,
        close=True,
        time_ns=command.time_ns,
    )


def _remember(core: Core, command: PlaceOrder | ClosePosition | ReversePosition, client_order_id: int) -> None:
    seen = core.windows.setdefault(command.account, Window()).seen
    seen[client_order_id] = (_content(command), core.sequence)
    if len(seen) > core.config.limits.client_order_ids_kept:
        del seen[next(iter(seen))]


def _too_fast(core: Core, account: AccountId, time_ns: Nanos) -> Rejected | None:
    """Refuse what comes faster than the rate allows, in the time of the log.

    An account's next turn moves one interval on with every order, and may lie up to a burst of them ahead.
    """
    limits = core.config.limits
    if not limits.orders_per_second:
        return None
    ahead_ns = core.next_turn_ns.get(account, 0) - time_ns
    interval_ns = div_floor(SECOND_NS, limits.orders_per_second)
    return Rejected(reason=RejectReason.RATE_LIMITED) if ahead_ns > (limits.orders_burst - 1) * interval_ns else None


def _count(core: Core, account: AccountId, time_ns: Nanos) -> None:
    limits = core.config.limits
    if limits.orders_per_second:
        turn_ns = max(core.next_turn_ns.get(account, 0), time_ns)
        core.next_turn_ns[account] = turn_ns + div_floor(SECOND_NS, limits.orders_per_second)


def _take(core: Core, events: Sequence[Event]) -> Rejected | None:
    """Collect the events of a write, or return its refusal."""
    if events and isinstance(events[0], Rejected):
        return events[0]
    core.events += events
    return None
