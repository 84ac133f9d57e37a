"""What can be said of an order by looking at it alone: size, price and whether its terms go together."""

from perpkit.model.command import PlaceOrder
from perpkit.model.market import MarketSpec
from perpkit.model.order import Side, TimeInForce
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import Attached, Relation, Trigger, TriggerKind
from perpkit.units import SCALE, Ticks


def refuse(order: PlaceOrder, market: MarketSpec) -> RejectReason | None:
    """Return why an order cannot be one of this market, whoever sends it and whenever; None when it can.

    Rejects:
        size-not-positive, size-above-maximum, price-out-of-bounds, flags-conflict.
    """
    whole_position = order.close and order.trigger is not None and order.size_lots == 0
    if order.size_lots <= 0 and not whole_position:
        return RejectReason.SIZE_NOT_POSITIVE
    # What closes at the market is cut to its position and never rests, so that nobody is stuck in a large one.
    closes_now = order.close and order.is_market
    if order.size_lots > market.order_max_lots and not closes_now:
        return RejectReason.SIZE_ABOVE_MAXIMUM
    if not (_listed(market, order.price_ticks) or (_may_lack_price(order) and order.price_ticks == 0)):
        return RejectReason.PRICE_OUT_OF_BOUNDS
    if _conflicts(order):
        return RejectReason.FLAGS_CONFLICT
    for trigger in (order.trigger, *(each.trigger for each in order.attached)):
        if trigger and not trigger.trails and not _listed(market, trigger.price_ticks):
            return RejectReason.PRICE_OUT_OF_BOUNDS
    for each in order.attached:
        if each.size_lots > market.order_max_lots:
            return RejectReason.SIZE_ABOVE_MAXIMUM
        if not (_listed(market, each.price_ticks) or (each.is_market and each.price_ticks == 0)):
            return RejectReason.PRICE_OUT_OF_BOUNDS
    return None


def immediate(order: PlaceOrder) -> bool:
    """Whether nothing of the order ever rests."""
    return order.is_market or order.time_in_force.immediate


def pegged_to(best_ticks: Ticks, side: Side, offset_ticks: Ticks, limit_ticks: Ticks, market: MarketSpec) -> Ticks:
    """Return where an order stands that follows the best shown price of its side; limit 0: wherever that is."""
    price = market.within(best_ticks - side * offset_ticks)
    return limit_ticks if limit_ticks and side * (price - limit_ticks) > 0 else price


def _listed(market: MarketSpec, price_ticks: int) -> bool:
    return market.price_min_ticks <= price_ticks <= market.price_max_ticks


def _may_lack_price(order: PlaceOrder) -> bool:
    return order.is_market or order.market_to_limit or order.pegged


def _conflicts(order: PlaceOrder) -> bool:
    at_once = immediate(order)
    fill_or_kill = order.time_in_force is TimeInForce.FOK
    takes = at_once or order.market_to_limit
    return (
        (order.post_only and takes)
        or (order.slide and not order.post_only)
        or (order.market_to_limit and (at_once or order.pegged))
        or (order.pegged and (at_once or order.trigger is not None))
        or order.peg_offset_ticks < 0
        or (order.peg_offset_ticks > 0 and not order.pegged)
        or ((order.hidden or order.display_lots != 0) and at_once)
        or (order.hidden and order.display_lots != 0)
        or order.display_lots < 0
        or (order.value_limit_units != 0 and not at_once)
        or order.value_limit_units < 0
        or (order.value_limit_units > 0 and order.side is Side.SELL and not fill_or_kill)
        or (order.expires_ns != 0) != (order.time_in_force is TimeInForce.GTD)
        or (order.trigger is not None and _is_odd(order.trigger))
        or any(_is_odd_attached(each) for each in order.attached)
        or _repeats_a_name(order)
    )


def _repeats_a_name(order: PlaceOrder) -> bool:
    names = [order.client_order_id, *(each.client_order_id for each in order.attached)]
    given = [name for name in names if name]
    return len(set(given)) < len(given)


def _is_odd(trigger: Trigger) -> bool:
    """Whether a trigger fires at two prices, at none, or trails where only a stop can."""
    ways = (trigger.price_ticks != 0, trigger.trail_ticks != 0, trigger.trail_ppb != 0)
    return (
        sum(ways) != 1
        or trigger.trail_ticks < 0
        or not 0 <= trigger.trail_ppb < SCALE
        or (trigger.trails and trigger.kind is not TriggerKind.STOP)
    )


def _is_odd_attached(each: Attached) -> bool:
    return (
        each.size_lots < 0
        or (each.relation is Relation.EITHER and each.size_lots == 0)
        or (each.trigger is not None and _is_odd(each.trigger))
    )
