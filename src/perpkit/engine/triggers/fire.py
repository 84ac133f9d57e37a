"""Phase 5: triggers that a price has reached fire, in the order in which the move passed them."""

import attrs

from perpkit.engine.core import Core, work_in
from perpkit.engine.triggers import links, pegs, rules
from perpkit.engine.waiting import Waiting
from perpkit.model.event import OrderTriggered
from perpkit.model.ids import AccountId, AssetId, MarketId
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.trigger import PriceSource
from perpkit.units import Ticks


def prices_came(core: Core) -> None:
    """New prices came: every market in which orders wait has to be looked at."""
    desk = core.desk
    desk.look.update(market for market, _, _ in desk.lines)
    desk.look.update(order.market for order in desk.ready.values())


def work(core: Core, budget: int) -> int:
    """Look at what has to be looked at, until nothing follows from it or the budget is spent; return the work done.

    What is left stays to be looked at, and fires only if the price still says so by then. Markets go in order of id,
    triggers before pegged orders.

    Cost:
        O(log of the triggers) a market, and what those reached and the trailing ones take.
    """
    desk, done = core.desk, 0
    links.watch(core)
    while desk.due and done < budget:
        if desk.look:
            market = min(desk.look)
            desk.look.discard(market)
            done += _look(core, market, budget - done)
        else:
            market = min(desk.repeg)
            desk.repeg.discard(market)
            done += pegs.reprice(core, market, budget - done)
        links.watch(core)
    return done


def _look(core: Core, market: MarketId, budget: int) -> int:
    """Let go live what is ready, then fire what mark, index and last reached; of each, rising before falling."""
    prices = {source: rules.usable_price(core, market, source) for source in PriceSource}
    _trail(core, market, prices)
    if core.market_states[market] is not MarketState.OPEN:
        return 0
    asset = core.config.markets[market].settlement
    locked = {each.pool[:2] for each in core.queue}
    done = _start_ready(core, market, locked, budget)
    reached = [
        order_id
        for source, price in prices.items()
        if price
        for rising in (True, False)
        for order_id in core.desk.crossed((market, source, rising), price)
    ]
    for order_id in reached:
        waiting = core.desk.waiting.get(order_id)
        # What fired before it may have taken it away, or moved the last price.
        price = rules.usable_price(core, market, waiting.trigger.price_source) if waiting else 0
        if waiting is None or not price or not waiting.reached(price) or (waiting.order.account, asset) in locked:
            continue
        if done >= budget:
            core.desk.look.add(market)
            break
        done += _fire(core, waiting, price)
        links.watch(core)
    return done


def _fire(core: Core, waiting: Waiting, price: Ticks) -> int:
    """Let a waiting order go live under its id; what it rivals goes first, so that it never stands in its way."""
    order, before = waiting.order, len(core.events)
    core.desk.remove(waiting)
    core.events.append(
        OrderTriggered(market=order.market, account=order.account, order_id=waiting.id, price_ticks=price)
    )
    links.took(core, waiting.id)
    if waiting.whole_position:
        size = abs(core.position_lots(order.account, order.market, order.position_id))
        most = size if order.is_market else core.config.markets[order.market].order_max_lots
        order = attrs.evolve(order, size_lots=min(size, most))
    rules.go_live(core, order, waiting.id)
    return 1 + work_in(core.events[before:])


def _start_ready(core: Core, market: MarketId, locked: set[tuple[AccountId, AssetId]], budget: int) -> int:
    """Place the orders whose turn has come, first come first."""
    desk, done = core.desk, 0
    asset = core.config.markets[market].settlement
    for order_id, order in list(desk.ready.items()):
        if order.market != market or order_id not in desk.ready or (order.account, asset) in locked:
            continue
        if done >= budget:
            desk.look.add(market)
            break
        before = len(core.events)
        del desk.ready[order_id]
        desk.release(order, order_id)
        rules.go_live(core, order, order_id)
        done += 1 + work_in(core.events[before:])
        links.watch(core)
    return done


def _trail(core: Core, market: MarketId, prices: dict[PriceSource, Ticks]) -> None:
    """Let trailing stops follow a price that moved in their favour."""
    desk = core.desk
    for waiting in [desk.waiting[each] for each in sorted(desk.trailing.get(market, ()))]:
        price, side = prices[waiting.trigger.price_source], waiting.order.side
        better = price > waiting.best_ticks if side is Side.SELL else price < waiting.best_ticks
        if not price or not better:
            continue
        waiting.best_ticks = price
        trigger_ticks = rules.trailing_trigger(waiting.trigger, side, price)
        if trigger_ticks == waiting.trigger_ticks:
            continue
        desk.move(waiting, trigger_ticks)
        core.events.append(rules.amended(waiting))
