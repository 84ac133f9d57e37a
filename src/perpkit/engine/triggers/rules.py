"""What a trigger looks at, whether an order may wait for it, and how orders start to wait, go live and go away."""

import attrs

from perpkit.engine.core import Core
from perpkit.engine.waiting import Waiting, end_ns
from perpkit.model import form
from perpkit.model.cause import CancelReason
from perpkit.model.command import CancelOrder, PlaceOrder
from perpkit.model.event import OrderAmended, OrderCancelled, OrderRefused, OrderWaits, Rejected
from perpkit.model.ids import AccountId, MarketId, OrderId
from perpkit.model.order import Side
from perpkit.model.price import PriceState
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import PriceSource, Relation, Trigger
from perpkit.units import SCALE, Ticks, div_ceil, div_floor


def price_of(core: Core, market: MarketId, source: PriceSource) -> Ticks:
    """Return the price that triggers of a source look at; 0: there has been none yet."""
    if source is PriceSource.MARK:
        return core.parts.clearing.marks()[market].price_ticks
    if source is PriceSource.INDEX:
        return core.indexes[market].price_ticks if market in core.indexes else 0
    return core.desk.last_ticks.get(market, 0)


def usable_price(core: Core, market: MarketId, source: PriceSource) -> Ticks:
    """Return the price that a source's triggers may act on now, 0 when there is none.

    No trigger of a market acts while its mark is frozen. The last price counts only within the band round the mark.
    """
    mark, price = core.parts.clearing.marks()[market], price_of(core, market, source)
    if mark.state is PriceState.FROZEN:
        return 0
    if source is PriceSource.INDEX and price and core.indexes[market].state is PriceState.FROZEN:
        return 0
    band_ppb = core.config.markets[market].trigger_band_ppb
    if source is PriceSource.LAST and abs(price - mark.price_ticks) * SCALE > mark.price_ticks * band_ppb:
        return 0
    return price


def trailing_trigger(trigger: Trigger, side: Side, best_ticks: Ticks) -> Ticks:
    """Return where a trailing stop fires, given the best price seen. It may lie where no price is listed.

    Rounds:
        Away from the price, to the tick.
    """
    if trigger.trail_ticks:
        return best_ticks + side * trigger.trail_ticks
    if side is Side.SELL:
        return div_floor(best_ticks * (SCALE - trigger.trail_ppb), SCALE)
    return div_ceil(best_ticks * (SCALE + trigger.trail_ppb), SCALE)


def refuse(core: Core, order: PlaceOrder, *, new: bool = True, moved: bool = True) -> Rejected | None:
    """Refuse an order whose trigger, or that of an order attached to it, cannot be waited for.

    `new`: it is counted. `moved`: the direction of its triggers is looked at. Orders that come after its fills are
    looked at only then: where their trigger is passed by that time, they fire.

    Rejects:
        market-state, account-locked, size-not-positive, size-above-maximum, price-out-of-bounds, flags-conflict,
        position-mode, no-mark, no-reference-price, trigger-crossed, too-many-orders, nothing-to-reduce.
    """
    market = core.config.markets[order.market]
    if not core.market_states[order.market].accepts_orders:
        return Rejected(reason=RejectReason.MARKET_STATE)
    if core.locked(order.account, market.settlement) and not (order.reduce_only or order.close):
        return Rejected(reason=RejectReason.ACCOUNT_LOCKED)
    if reason := form.refuse(order, market):
        return Rejected(reason=reason)
    if not core.parts.clearing.position_mode(order.account, order.market).has(order.position_id):
        return Rejected(reason=RejectReason.POSITION_MODE)
    if price_of(core, order.market, PriceSource.MARK) == 0:
        return Rejected(reason=RejectReason.NO_MARK)
    beside = [each for each in order.attached if each.relation is Relation.EITHER]
    waits = [(order.trigger, order.side)] if order.trigger else []
    waits += [(each.trigger, each.side) for each in beside if each.trigger]
    if moved and (reason := _refuse_direction(core, order.market, waits)):
        return Rejected(reason=reason)
    held = core.desk.held.get((order.account, order.market), {})
    kept = sum(each.trigger is not None or each.relation is Relation.AFTER for each in order.attached)
    if new and len(held) + kept + (order.trigger is not None) > market.orders_max:
        return Rejected(reason=RejectReason.TOO_MANY_ORDERS)
    if order.size_lots == 0:
        size = core.position_lots(order.account, order.market, order.position_id)
        if order.side * size >= 0:
            return Rejected(reason=RejectReason.NOTHING_TO_REDUCE)
    return None


def _refuse_direction(core: Core, market: MarketId, waits: list[tuple[Trigger, Side]]) -> RejectReason | None:
    if any(price_of(core, market, trigger.price_source) == 0 for trigger, _ in waits):
        return RejectReason.NO_REFERENCE_PRICE
    for trigger, side in waits:
        price = price_of(core, market, trigger.price_source)
        passed = price - trigger.price_ticks if trigger.rising(side) else trigger.price_ticks - price
        if not trigger.trails and passed >= 0:
            return RejectReason.TRIGGER_CROSSED
    return None


def start(core: Core, order: PlaceOrder, order_id: OrderId) -> None:
    """Let an order wait, from the price that stands."""
    waiting = Waiting(order_id, order, order.trigger.price_ticks if order.trigger else 0)
    trigger = waiting.trigger
    if trigger.trails:
        waiting.best_ticks = price_of(core, order.market, trigger.price_source)
        waiting.trigger_ticks = trailing_trigger(trigger, order.side, waiting.best_ticks)
    core.desk.add(waiting)
    core.events.append(
        OrderWaits(
            market=order.market,
            account=order.account,
            position_id=order.position_id,
            order_id=order_id,
            client_order_id=order.client_order_id,
            side=order.side,
            size_lots=order.size_lots,
            trigger_ticks=waiting.trigger_ticks,
            trigger_kind=trigger.kind,
            price_source=trigger.price_source,
        )
    )


def go_live(core: Core, order: PlaceOrder, order_id: OrderId) -> bool:
    """Place an order that a command caused; tell where it is refused, and return whether it was let in."""
    bare = attrs.evolve(order, trigger=None, attached=())
    events = core.parts.clearing.place(bare, order_id, *core.standing(order.account, order.market))
    if events and isinstance(refused := events[0], Rejected):
        core.events.append(
            OrderRefused(
                market=order.market,
                account=order.account,
                order_id=order_id,
                reason=refused.reason,
                check=refused.check,
            )
        )
        return False
    core.events += events
    keep(core, order, order_id)
    return True


def keep(core: Core, order: PlaceOrder, order_id: OrderId) -> None:
    """Note a live order that ends by itself or follows a price, where it rests."""
    if (order.pegged or end_ns(order)) and rests(core, order, order_id):
        core.desk.follow(order, order_id)


def rests(core: Core, order: PlaceOrder, order_id: OrderId) -> bool:
    """Whether an order is in the book."""
    return core.parts.clearing.order(order.market, order.account, order_id, 0) is not None


def amended(waiting: Waiting) -> OrderAmended:
    """Return the event that a waiting order is another one now; its price is where it fires."""
    return OrderAmended(
        market=waiting.order.market,
        account=waiting.order.account,
        order_id=waiting.id,
        size_lots=waiting.order.size_lots,
        price_ticks=waiting.trigger_ticks,
        kept_place=True,
    )


def cancel(core: Core, waiting: Waiting, reason: CancelReason) -> None:
    """Take a waiting order out, and say so."""
    order = waiting.order
    core.desk.remove(waiting)
    core.events.append(
        OrderCancelled(
            market=order.market,
            account=order.account,
            order_id=waiting.id,
            size_lots=order.size_lots,
            left_lots=0,
            reason=reason,
        )
    )


def cancel_anywhere(core: Core, account: AccountId, market: MarketId, order_id: OrderId, reason: CancelReason) -> None:
    """Take an order out where it is: waiting, in the book, or gone already."""
    if order_id in core.desk.waiting:
        cancel(core, core.desk.waiting[order_id], reason)
    elif order_id in core.desk.ready:
        core.desk.release(core.desk.ready.pop(order_id), order_id)
    else:
        command = CancelOrder(account=account, market=market, order_id=order_id)
        events = core.parts.clearing.cancel(command, reason)
        if not isinstance(events[0], Rejected):
            core.events += events
