"""The mirror's orders: in the book, waiting, or just coming in, from commands and events alone."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import attrs

from perpkit.model import event as events
from perpkit.model.cause import CancelReason
from perpkit.model.command import AmendOrder, CancelOrder, ClosePosition, ClosePositions, PlaceOrder, ReversePosition
from perpkit.model.form import immediate
from perpkit.model.ids import AccountId, MarketId, OrderId, PositionId, owner_of
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import HEDGE_LONG, HEDGE_SHORT, PositionMode
from perpkit.model.trigger import Relation, Trigger
from perpkit.units import HOUR_NS, Lots, Nanos, Ticks

Slot = tuple[AccountId, MarketId, PositionId]
Maker = PlaceOrder | ClosePosition | ReversePosition | ClosePositions
"""The commands that make orders."""

_SEQUENCE_BITS = 40
_FORCED: OrderId = 0
_DAY_NS = 24 * HOUR_NS
_ENDS_ON_ARRIVAL = (CancelReason.IMMEDIATE, CancelReason.WORK_LIMIT, CancelReason.SELF_TRADE, CancelReason.COST_CAP)


@attrs.define
class Live:
    """An order: what it was asked to be, what is left of it, and its limit, or while it waits its trigger.

    `rank` is its place in the order in which orders came to rest, `rested_lots` what it then was.
    """

    order: PlaceOrder
    reduces: bool
    left_lots: Lots
    price_ticks: Ticks
    rank: int = 0
    rested_lots: Lots = 0

    @property
    def slot(self) -> Slot:
        """The position that it is for."""
        return self.order.account, self.order.market, self.order.position_id

    @property
    def trigger(self) -> Trigger:
        """What it waits for."""
        assert self.order.trigger
        return self.order.trigger

    def reached(self, price_ticks: Ticks) -> bool:
        """Whether a price is at or beyond the trigger."""
        if self.trigger.rising(self.order.side):
            return price_ticks >= self.price_ticks
        return price_ticks <= self.price_ticks


class Orders:
    """Every order that anybody was told of. `sizes` are the positions as the mirror knows them."""

    def __init__(self, sizes: dict[Slot, Lots]) -> None:
        self._sizes = sizes
        self.resting: dict[OrderId, Live] = {}
        self.waiting: dict[OrderId, Live] = {}
        self.modes: dict[tuple[AccountId, MarketId], PositionMode] = {}
        self.switches: dict[AccountId, Nanos] = {}
        self._command: object = None
        self._made: dict[int, Maker] = {}
        self._arrived: dict[OrderId, Live] = {}
        self._fired: dict[OrderId, PlaceOrder] = {}
        self._took: dict[OrderId, None] = {}
        self._taker: Live | None = None
        self._ends: list[tuple[Nanos, OrderId]] = []
        self._ranks = 0

    def begin(self, command: object, sequence: int) -> None:
        """Know which command the events to come are of."""
        self._command = command
        if isinstance(command, Maker):
            self._made[sequence] = command

    def finish(self, now_ns: Nanos | None) -> None:
        """Hold everything against what must be so after a command; `now_ns` is its time where it was accepted."""
        open_lots = {order_id: each.left_lots for order_id, each in self._arrived.items() if each.left_lots}
        assert not open_lots, f"lots neither filled nor resting nor cancelled: {open_lots}"
        assert not self._fired, f"triggered, and neither accepted nor refused: {list(self._fired)}"
        self._arrived.clear()
        beaten: set[OrderId] = set()
        for order_id in self._took:
            if order_id not in beaten:
                beaten.update(self._rivals(order_id))
        assert not any(map(self._lives, beaten)), f"rivals of {list(self._took)} live on: {beaten}"
        self._took.clear()
        if now_ns is not None:
            assert not self.time_acts(now_ns), f"something lives past its end: {self._ends[:1]}, {self.switches}"

    def time_acts(self, now_ns: Nanos) -> bool:
        """Whether there is an order that ends, or a switch that acts, by some time."""
        while self._ends and not self._lives(self._ends[0][1]):
            heapq.heappop(self._ends)
        return bool(self._ends and self._ends[0][0] <= now_ns) or any(at <= now_ns for at in self.switches.values())

    def meant(self, named: CancelOrder | AmendOrder) -> Iterator[Live]:
        """Yield the orders that a command names; one with another trigger can only mean one that waits."""
        moves_trigger = isinstance(named, AmendOrder) and named.trigger_ticks
        for orders in (self.waiting,) if moves_trigger else (self.waiting, self.resting):
            for order_id, live in orders.items():
                if _names(named, order_id, live.order):
                    yield live

    def of(self, account: AccountId, market: MarketId) -> list[Live]:
        """Return an account's orders in the book of a market."""
        slot = (account, market)
        return [each for each in self.resting.values() if (each.order.account, each.order.market) == slot]

    def check_positions(self) -> None:
        """A stop for a whole position goes with the position."""
        for live in self.waiting.values():
            if live.order.close and not live.left_lots:
                assert self._sizes.get(live.slot, 0) * live.order.side < 0, f"a stop without a position: {live}"

    def accepted(self, event: events.OrderAccepted) -> PlaceOrder:
        """Let an order come in; return what it was asked to be."""
        order = self._fired.pop(event.order_id, None) or self._asked(event)
        assert (event.account, event.market, event.position_id) == (order.account, order.market, order.position_id)
        assert event.side is order.side, "an order changes its side"
        assert order.size_lots == 0 or event.size_lots <= order.size_lots, "an order grows on arrival"
        within = order.price_ticks == 0 or order.side * (order.price_ticks - event.price_ticks) >= 0
        assert within, "an order comes in beyond its limit"
        reduces = order.reduce_only or order.close or self._closes_hedge(order)
        self._arrived[event.order_id] = Live(order, reduces, event.size_lots, event.price_ticks)
        return order

    def rested(self, event: events.OrderRested) -> None:
        """Let what is left of an order stand in the book."""
        live = self._arrived.pop(event.order_id)
        assert not immediate(live.order), "an immediate order never rests"
        assert (live.left_lots, live.price_ticks) == (event.size_lots, event.price_ticks), "what rests is what is left"
        self._ranks += 1
        live.rank, live.rested_lots = self._ranks, event.size_lots
        self.resting[event.order_id] = live
        self._note_end(event.order_id, live.order)

    def waits(self, event: events.OrderWaits) -> None:
        """Let an order wait."""
        order = self._asked(event)
        assert order.trigger, "what waits has a trigger"
        asked = (order.trigger.kind, order.trigger.price_source)
        assert (event.trigger_kind, event.price_source) == asked, "an order waits for something else"
        self.waiting[event.order_id] = Live(order, False, event.size_lots, event.trigger_ticks)
        self._note_end(event.order_id, order)

    def triggered(self, event: events.OrderTriggered) -> Live:
        """Take an order that fires out of those that wait."""
        live = self.waiting.pop(event.order_id)
        assert live.reached(event.price_ticks), "an order fires before its price"
        self._fired[event.order_id] = attrs.evolve(live.order, size_lots=live.left_lots)
        self._took[event.order_id] = None
        return live

    def refused(self, event: events.OrderRefused) -> None:
        """Forget an order that fired in vain."""
        self._fired.pop(event.order_id, None)
        assert not self._lives(event.order_id), "what is refused does not live on"

    def amended(self, event: events.OrderAmended) -> None:
        """Change an order: where it waits, in its place, or as a new arrival."""
        if live := self.waiting.get(event.order_id):
            live.left_lots, live.price_ticks = event.size_lots, event.price_ticks
            if isinstance(self._command, AmendOrder) and _names(self._command, event.order_id, live.order):
                limit = self._command.price_ticks or live.order.price_ticks
                live.order = attrs.evolve(live.order, price_ticks=limit)
            return
        live = self.resting[event.order_id]
        if event.kept_place:
            assert event.price_ticks == live.price_ticks, "an order keeps its place at its price only"
            assert event.size_lots <= live.left_lots, "an order keeps its place when it shrinks only"
            live.left_lots = event.size_lots
        else:
            del self.resting[event.order_id]
            self._arrived[event.order_id] = Live(live.order, live.reduces, event.size_lots, event.price_ticks)

    def cancelled(self, event: events.OrderCancelled) -> None:
        """Take off what went away unfilled."""
        if waiting := self.waiting.pop(event.order_id, None):
            assert (event.size_lots, event.left_lots) == (waiting.left_lots, 0), "what waits goes whole"
            return
        resting = self.resting.get(event.order_id)
        live = resting or self._arrived.get(event.order_id)
        if live is None:
            assert event.order_id == _FORCED, "an unknown order was cancelled"
            return
        live.left_lots -= event.size_lots
        assert live.left_lots == event.left_lots, "what is left of a cancelled order"
        assert resting or event.reason in _ENDS_ON_ARRIVAL, f"an arriving order ends for {event.reason}"
        if resting and not event.left_lots:
            del self.resting[event.order_id]

    def filled(self, event: events.Filled) -> None:
        """Take off what filled; a taker's fill comes directly before its maker's."""
        if not event.maker:
            self._taker = self._arrived.get(event.order_id)
            if self._taker:
                self._taker_filled(event, self._taker)
            else:
                assert event.order_id == _FORCED, "an unknown order took"
            return
        maker = self.resting[event.order_id]
        assert event.price_ticks == maker.price_ticks, "a maker trades at its own price"
        if self._taker:
            self._check_self_trade(self._taker.order, maker.order)
        self._fill(event, maker)
        if not maker.left_lots:
            del self.resting[event.order_id]

    def switched(self, event: events.SwitchSet, *, asked: bool) -> None:
        """Set a switch; one that nobody asked to set has acted."""
        before = self.switches.pop(event.account, 0)
        if event.at_ns:
            self.switches[event.account] = event.at_ns
        elif not asked:
            assert before, "a switch acts that was not armed"
            mine = [each for each in (*self.resting.values(), *self.waiting.values()) if each.slot[0] == event.account]
            assert not mine, "a dead man's orders live on"

    def check_mode(self, event: events.PositionChanged) -> None:
        """Hold a position against how its owner's positions are told apart."""
        mode = self.modes.get((event.account, event.market), PositionMode.MULTI)
        if mode is PositionMode.HEDGE:
            sign = {HEDGE_LONG: 1, HEDGE_SHORT: -1}.get(event.position_id, 0)
            assert event.size_lots == 0 or event.size_lots * sign > 0, "a hedge id changed its side"
        elif mode is PositionMode.ONE_WAY:
            assert event.position_id == 0, "a second position in one-way mode"

    def _taker_filled(self, event: events.Filled, taker: Live) -> None:
        assert taker.order.side * (taker.price_ticks - event.price_ticks) >= 0, "a taker trades within its limit"
        assert not taker.order.post_only, "a post-only order never takes"
        self._fill(event, taker)

    def _fill(self, event: events.Filled, live: Live) -> None:
        assert event.size_lots * live.order.side > 0, "an order trades on its own side"
        live.left_lots -= abs(event.size_lots)
        assert live.left_lots >= 0, "an order trades no more than it offered"
        self._took[event.order_id] = None
        if live.reduces:
            size = self._sizes.get(live.slot, 0)
            assert size * event.size_lots < 0, "a reduce-only order met a position that it does not reduce"
            assert abs(event.size_lots) <= abs(size), "a reduce-only order closed more than there was"

    @staticmethod
    def _check_self_trade(taker: PlaceOrder, maker: PlaceOrder) -> None:
        if taker.self_trade is not SelfTrade.OFF:
            assert not is_own(taker, maker), "a trade with oneself that was to be prevented"

    def _rivals(self, order_id: OrderId) -> list[OrderId]:
        """Return the orders that go when one fills or fires; two may do so at once, and then the first one counts."""
        key, member = order_id & ((1 << _SEQUENCE_BITS) - 1), order_id >> _SEQUENCE_BITS
        parent = self._made.get(key)
        if not isinstance(parent, PlaceOrder):
            return []
        after = {n for n, each in enumerate(parent.attached, start=1) if each.relation is Relation.AFTER}
        others = [each for each in range(len(parent.attached) + 1) if each != member]
        return [key | each << _SEQUENCE_BITS for each in others if member in after or each not in after]

    def _lives(self, order_id: OrderId) -> bool:
        return order_id in self.resting or order_id in self.waiting

    def _closes_hedge(self, order: PlaceOrder) -> bool:
        if self.modes.get((order.account, order.market)) is not PositionMode.HEDGE:
            return False
        return order.position_id == (HEDGE_LONG if order.side is Side.SELL else HEDGE_SHORT)

    def _note_end(self, order_id: OrderId, order: PlaceOrder) -> None:
        if order.time_in_force is TimeInForce.GTD:
            heapq.heappush(self._ends, (order.expires_ns, order_id))
        elif order.time_in_force is TimeInForce.DAY:
            heapq.heappush(self._ends, (order.time_ns - order.time_ns % _DAY_NS + _DAY_NS, order_id))

    def _asked(self, event: events.OrderAccepted | events.OrderWaits) -> PlaceOrder:
        """Return what an order was asked to be: by a command, beside another order, or by one click."""
        made = self._made[event.order_id & ((1 << _SEQUENCE_BITS) - 1)]
        nth = event.order_id >> _SEQUENCE_BITS
        if isinstance(made, PlaceOrder):
            return _child(made, nth) if nth else made
        limit = 0 if isinstance(made, ClosePositions) else made.price_ticks
        return PlaceOrder(
            account=made.account,
            market=event.market,
            side=event.side,
            size_lots=event.size_lots,
            price_ticks=limit,
            is_market=limit == 0 or isinstance(made, ReversePosition),
            position_id=event.position_id,
            client_order_id=event.client_order_id,
            close=not isinstance(made, ReversePosition),
            time_ns=made.time_ns,
        )


def is_own(taker: PlaceOrder, maker: PlaceOrder) -> bool:
    """Whether both are one account's, or, where the taker asks by owner, one owner's."""
    if taker.self_trade_by_owner:
        return owner_of(taker.account) == owner_of(maker.account)
    return taker.account == maker.account


def _names(named: CancelOrder | AmendOrder, order_id: OrderId, order: PlaceOrder) -> bool:
    by_client = not named.order_id and 0 != named.client_order_id == order.client_order_id
    mine = (order.account, order.market) == (named.account, named.market)
    return mine and (by_client or named.order_id == order_id)


def _child(order: PlaceOrder, nth: int) -> PlaceOrder:
    attached = order.attached[nth - 1]
    return PlaceOrder(
        account=order.account,
        market=order.market,
        side=attached.side,
        size_lots=attached.size_lots,
        price_ticks=attached.price_ticks,
        is_market=attached.is_market,
        reduce_only=attached.reduce_only,
        position_id=order.position_id,
        client_order_id=attached.client_order_id,
        self_trade=order.self_trade,
        self_trade_by_owner=order.self_trade_by_owner,
        trigger=attached.trigger,
        time_ns=order.time_ns,
    )
