"""What price-time priority says about an order and the orders that rest on the other side: the rules in one place."""

from collections.abc import Iterable, Iterator

from perpkit.model.cause import CancelReason
from perpkit.model.ids import OrderId, owner_of
from perpkit.model.order import Match, MatchPlan, Order, SelfTrade, TimeInForce
from perpkit.units import Lots

# Looking a member up on its class costs ten times as much in Python 3.11, and every order is asked.
_GTC, _FOK, _IMMEDIATE = TimeInForce.GTC, TimeInForce.FOK, CancelReason.IMMEDIATE


def match(taker: Order, makers: Iterable[Order], fills_max: int, version: int) -> MatchPlan:
    """Return the plan for a taker. `makers` are the other side in priority order, each with the size it has left.

    Fills are at each maker's price, until the taker is filled, its limit is passed, or `fills_max` makers were met:
    then the rest is cancelled. A fill-or-kill order that cannot fill whole matches nothing. At one price, what is
    shown goes before what is hidden.

    Cost:
        O(makers met).
    """
    left, prevented, reason = taker.size_lots, 0, _IMMEDIATE
    sign, limit, prevents = taker.side, taker.price_ticks, taker.self_trade > 0
    matches: list[Match] = []
    gone: set[OrderId] = set()
    for maker, lots in _parts(makers):
        if left == 0 or sign * (limit - maker.price_ticks) < 0:
            break
        if maker.id in gone:
            continue
        if len(matches) == fills_max:
            reason = CancelReason.WORK_LIMIT
            break
        size, own = min(left, lots), prevents and is_own(taker, maker)
        if own and taker.self_trade is SelfTrade.CANCEL_TAKER:
            reason = CancelReason.SELF_TRADE
            break
        if own and taker.self_trade is SelfTrade.DECREMENT:
            prevented += size
        elif own:
            # All of the maker goes, what it hides as well; its hidden part is still to come.
            gone.add(maker.id)
        matches.append(
            Match(
                maker.id,
                maker.account,
                maker.position_id,
                maker.price_ticks,
                maker.size_lots if maker.id in gone else size,
                own,
            )
        )
        if maker.id not in gone:
            left -= size
        elif taker.self_trade is SelfTrade.CANCEL_BOTH:
            reason = CancelReason.SELF_TRADE
            break
    if taker.time_in_force is _FOK and (left or prevented):
        matches, left, prevented = [], taker.size_lots, 0
    rests = left if taker.time_in_force is _GTC and reason is _IMMEDIATE else 0
    return MatchPlan(taker, version, tuple(matches), rests, left - rests, prevented, reason)


def unmatched(taker: Order, version: int) -> MatchPlan:
    """Return the plan for a taker that meets nobody within its limit: the same as `match` without makers, and faster.

    Cost:
        Constant.
    """
    rests = taker.size_lots if taker.time_in_force is _GTC else 0
    return MatchPlan(taker, version, (), rests, taker.size_lots - rests)


def is_own(taker: Order, maker: Order) -> bool:
    """Whether both are one account's, or, where the taker asks by owner, one owner's."""
    if taker.self_trade_by_owner:
        return owner_of(taker.account) == owner_of(maker.account)
    return taker.account == maker.account


def hidden_of(order: Order, left_lots: Lots) -> Lots:
    """Return how much of `left_lots` an order hides when it shows itself anew."""
    return left_lots - min(order.display_lots, left_lots) if order.hidden_lots else 0


def _parts(orders: Iterable[Order]) -> Iterator[tuple[Order, Lots]]:
    """Yield each order with what is shown of it, and behind everything shown at its price what is hidden."""
    behind: list[Order] = []
    for order in orders:
        if behind and behind[0].price_ticks != order.price_ticks:
            yield from [(each, each.hidden_lots) for each in behind]
            behind.clear()
        if order.hidden_lots:
            behind.append(order)
        if order.size_lots > order.hidden_lots:
            yield order, order.size_lots - order.hidden_lots
    yield from [(each, each.hidden_lots) for each in behind]
