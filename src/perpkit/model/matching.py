"""What price-time priority says about an order and the orders that rest on the other side: the rules in one place."""

from collections.abc import Iterable

from perpkit.model.order import Match, MatchPlan, Order, TimeInForce


def match(taker: Order, makers: Iterable[Order], fills_max: int, version: int) -> MatchPlan:
    """Return the plan for a taker. `makers` are the other side in priority order, each with the size it has left.

    Fills are at each maker's price, until the taker is filled, its limit is passed, or `fills_max` makers were met:
    then the rest is cancelled. A fill-or-kill order that cannot fill whole matches nothing.

    Cost:
        O(makers met).
    """
    left, limited = taker.size_lots, False
    matches: list[Match] = []
    for maker in makers:
        if left == 0 or taker.side * (taker.price_ticks - maker.price_ticks) < 0:
            break
        if len(matches) == fills_max:
            limited = True
            break
        size = min(left, maker.size_lots)
        left -= size
        matches.append(
            Match(
                maker=maker.id,
                maker_account=maker.account,
                maker_position_id=maker.position_id,
                price_ticks=maker.price_ticks,
                size_lots=size,
                maker_left_lots=maker.size_lots - size,
            )
        )
    if left and taker.time_in_force is TimeInForce.FOK:
        matches, left = [], taker.size_lots
    rests = left if taker.time_in_force is TimeInForce.GTC and not limited else 0
    return MatchPlan(
        taker=taker,
        version=version,
        matches=tuple(matches),
        rest_lots=rests,
        cancel_lots=left - rests,
        work_limited=limited,
    )
