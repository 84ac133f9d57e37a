"""Orders that came with another one, and what the events of a command mean to whatever waits.

An `EITHER` order is alive beside the one that it came with: the first fill or firing of one takes the others away. An
`AFTER` order waits for fills of that order and is of the size that filled; of several, again the first that fills or
fires takes the others away, and with them what is left of the order itself, which nothing would guard any longer.
"""

import attrs

from perpkit.engine.core import Core
from perpkit.engine.triggers import rules
from perpkit.engine.waiting import Family, family_of, member_id
from perpkit.model.cause import CancelReason
from perpkit.model.command import PlaceOrder
from perpkit.model.event import (
    Event,
    Filled,
    LiquidationEnded,
    MarketStateChanged,
    OrderAmended,
    OrderCancelled,
    OrderRefused,
    OrderRested,
    PositionChanged,
)
from perpkit.model.ids import OrderId
from perpkit.model.market import MarketState
from perpkit.model.trigger import PriceSource, Relation
from perpkit.units import Lots

_BOOK_CHANGES = (Filled, OrderRested, OrderCancelled, OrderAmended, MarketStateChanged)


def join(core: Core, order: PlaceOrder, order_id: OrderId) -> None:
    """Let the orders attached to one that just went in start, or wait for its fills.

    An `EITHER` order starts only where the order itself is still whole: else it has come too late.
    """
    numbered = list(enumerate(order.attached, start=1))
    family = Family(order, alive=[0], due=[n for n, each in numbered if each.relation is Relation.AFTER])
    core.desk.families[order_id] = family
    for member in family.due:
        core.desk.hold(order, member_id(order_id, member))
    if _is_alive(core, family, order_id):
        for member, each in numbered:
            filled = any(isinstance(e, Filled) and family_of(e.order_id)[0] == order_id for e in core.events)
            if each.relation is Relation.EITHER and not filled:
                _enter(core, order_id, member, each.size_lots)
    _forget_if_over(core, order_id)


def took(core: Core, order_id: OrderId) -> None:
    """An order filled or fired: those that it rivals go."""
    key, member = family_of(order_id)
    family = core.desk.families.get(key)
    if family is None or member not in family.alive:
        return
    after = family.comes_after(member)
    if after:
        for due in list(family.due):
            _drop_due(core, key, due)
    for other in list(family.alive):
        # Fills of the order itself take away none that wait for them.
        if other != member and (after or not family.comes_after(other)):
            family.alive.remove(other)
            holder = family.order.account, family.order.market
            rules.cancel_anywhere(core, *holder, member_id(key, other), CancelReason.LINKED)


def watch(core: Core) -> None:
    """Take in what the running command did so far, until nothing more follows from it.

    Cost:
        Constant for each event, and nearly nothing while no order waits, is pegged, ends or has others attached.
    """
    desk, events = core.desk, core.events
    if not desk:
        for event in events[core.watched :]:
            if type(event) is Filled:
                desk.last_ticks[event.market] = event.price_ticks
        core.watched = len(events)
    while core.watched < len(events):
        touched: dict[OrderId, None] = {}
        while core.watched < len(events):
            core.watched += 1
            _note(core, events[core.watched - 1], touched)
        for key in touched:
            _settle(core, key)


def _note(core: Core, event: Event, touched: dict[OrderId, None]) -> None:
    desk = core.desk
    match event:
        case Filled(market=market, order_id=order_id):
            desk.last_ticks[market] = event.price_ticks
            if any((market, PriceSource.LAST, rising) in desk.lines for rising in (True, False)):
                desk.look.add(market)
            key, member = family_of(order_id)
            if key in desk.families:
                touched[key] = None
                if member == 0:
                    desk.families[key].filled_lots += abs(event.size_lots)
                took(core, order_id)
            _forget_if_gone(core, order_id)
        case OrderCancelled(order_id=order_id) | OrderRefused(order_id=order_id):
            if (key := family_of(order_id)[0]) in desk.families:
                touched[key] = None
            _forget_if_gone(core, order_id)
        case PositionChanged():
            _follow_position(core, event)
        case MarketStateChanged(state=MarketState.OPEN, market=market):
            desk.look.add(market)
        case LiquidationEnded(asset=asset):
            markets = [market for market, spec in core.config.markets.items() if spec.settlement == asset]
            desk.look.update(markets)
            desk.repeg.update(market for market in markets if market in desk.pegs)
    if isinstance(event, _BOOK_CHANGES) and event.market in desk.pegs:
        desk.repeg.add(event.market)


def withdraw(core: Core, order_id: OrderId) -> None:
    """Let an attached order that has not started never start. Nothing was said of it, so nothing is said now."""
    desk, (key, member) = core.desk, family_of(order_id)
    if order_id in desk.ready:
        desk.release(desk.ready.pop(order_id), order_id)
    else:
        _drop_due(core, key, member)
    if family := desk.families.get(key):
        family.alive = [each for each in family.alive if each != member]
        _forget_if_over(core, key)


def belongs_to(core: Core, order_id: OrderId) -> PlaceOrder:
    """Return an order that is not in the book or, where it has not started, the one that it came with."""
    desk = core.desk
    if order_id in desk.waiting:
        return desk.waiting[order_id].order
    return desk.ready.get(order_id) or desk.families[family_of(order_id)[0]].order


def _drop_due(core: Core, key: OrderId, member: int) -> None:
    family = core.desk.families[key]
    family.due.remove(member)
    core.desk.release(family.order, member_id(key, member))


def _forget_if_over(core: Core, key: OrderId) -> None:
    family = core.desk.families[key]
    if not family.due and len(family.alive) <= 1:
        del core.desk.families[key]


def _forget_if_gone(core: Core, order_id: OrderId) -> None:
    order = core.desk.live.get(order_id)
    if order and not rules.rests(core, order, order_id):
        core.desk.forget(order_id)


def _follow_position(core: Core, event: PositionChanged) -> None:
    """Take out the orders that would close a position that is gone, or has become one of the other side."""
    held = core.desk.held.get((event.account, event.market), {})
    for waiting in [core.desk.waiting[each] for each in sorted(held) if each in core.desk.waiting]:
        order = waiting.order
        if waiting.whole_position and order.position_id == event.position_id and order.side * event.size_lots >= 0:
            rules.cancel(core, waiting, CancelReason.NO_POSITION)


def _settle(core: Core, key: OrderId) -> None:
    """Tell a family how much of its order filled, and whether there is more to come."""
    family = core.desk.families[key]
    grown = family.filled_lots - family.told_lots
    if grown:
        family.told_lots = family.filled_lots
        for member in [each for each in family.alive if each and family.comes_after(each)]:
            _grow(core, family, key, member, grown)
        for member in [each for each in family.due if family.order.attached[each - 1].trigger]:
            _drop_due(core, key, member)
            _enter(core, key, member, _size(family, member))
    if not _is_alive(core, family, key):
        for member in list(family.due):
            _drop_due(core, key, member)
            if family.filled_lots:
                _make_ready(core, key, member)
    family.alive = [each for each in family.alive if _is_alive(core, family, member_id(key, each))]
    _forget_if_over(core, key)


def _size(family: Family, member: int) -> Lots:
    return min(family.order.attached[member - 1].size_lots or family.filled_lots, family.filled_lots)


def _grow(core: Core, family: Family, key: OrderId, member: int, lots: Lots) -> None:
    """Let a waiting order grow by what filled, up to the size it was given."""
    waiting = core.desk.waiting.get(member_id(key, member))
    most = family.order.attached[member - 1].size_lots or family.filled_lots
    if waiting is None or waiting.order.size_lots >= most:
        return
    size = min(most, waiting.order.size_lots + lots)
    waiting.order = attrs.evolve(waiting.order, size_lots=size)
    core.events.append(rules.amended(waiting))


def _enter(core: Core, key: OrderId, member: int, size_lots: Lots) -> None:
    """Let an attached order start to wait, or go live."""
    family, order_id = core.desk.families[key], member_id(key, member)
    order = _child(family, member, size_lots)
    if order.trigger:
        rules.start(core, order, order_id)
        # It may have been passed already, and then it fires.
        core.desk.look.add(order.market)
    elif not rules.go_live(core, order, order_id):
        return
    family.alive.append(member)


def _make_ready(core: Core, key: OrderId, member: int) -> None:
    family, order_id = core.desk.families[key], member_id(key, member)
    order = _child(family, member, _size(family, member))
    core.desk.ready[order_id] = order
    core.desk.hold(order, order_id)
    core.desk.look.add(order.market)
    family.alive.append(member)


def _child(family: Family, member: int, size_lots: Lots) -> PlaceOrder:
    order, each = family.order, family.order.attached[member - 1]
    return PlaceOrder(
        account=order.account,
        market=order.market,
        side=each.side,
        size_lots=size_lots,
        price_ticks=each.price_ticks,
        is_market=each.is_market,
        reduce_only=each.reduce_only,
        position_id=order.position_id,
        client_order_id=each.client_order_id,
        self_trade=order.self_trade,
        self_trade_by_owner=order.self_trade_by_owner,
        trigger=each.trigger,
        time_ns=order.time_ns,
    )


def _is_alive(core: Core, family: Family, order_id: OrderId) -> bool:
    desk = core.desk
    return order_id in desk.waiting or order_id in desk.ready or rules.rests(core, family.order, order_id)
