"""What the engine remembers of orders that wait outside the book, and of live ones that it has yet to do something to.

Values and the indexes over them; `perpkit.engine.triggers` is what acts on them.
"""

from typing import TypeAlias, TypeVar

import attrs
from sortedcontainers import SortedList

from perpkit.model.command import PlaceOrder
from perpkit.model.ids import AccountId, MarketId, OrderId
from perpkit.model.order import TimeInForce
from perpkit.model.trigger import PriceSource, Relation, Trigger
from perpkit.units import HOUR_NS, Lots, Nanos, Ticks, div_floor

SEQUENCE_BITS = 40
"""An order's id is the sequence of the command that made it; above these bits, which of several it is."""

Holder: TypeAlias = tuple[AccountId, MarketId]
Line: TypeAlias = tuple[MarketId, PriceSource, bool]
"""Triggers of one market that look at one price and (True) fire when it rises."""

DAY_NS = 24 * HOUR_NS

_Key = TypeVar("_Key", MarketId, Holder)


@attrs.define
class Waiting:
    """An order that waits for its trigger. A trailing one has the best price seen, and moves with it."""

    id: OrderId
    order: PlaceOrder
    trigger_ticks: Ticks
    best_ticks: Ticks = 0

    @property
    def trigger(self) -> Trigger:
        """What it waits for."""
        assert self.order.trigger is not None
        return self.order.trigger

    @property
    def whole_position(self) -> bool:
        """Whether it closes whatever the position has become."""
        return self.order.close and self.order.size_lots == 0

    @property
    def rising(self) -> bool:
        """Whether it fires when the price rises."""
        return self.trigger.rising(self.order.side)

    @property
    def line(self) -> Line:
        """What it is kept in order with."""
        return self.order.market, self.trigger.price_source, self.rising

    @property
    def rank(self) -> tuple[Ticks, OrderId]:
        """Where it stands there: in the order in which a move passes the triggers, then by acceptance."""
        return (self.trigger_ticks if self.rising else -self.trigger_ticks), self.id

    def reached(self, price_ticks: Ticks) -> bool:
        """Whether a price is at or beyond the trigger."""
        return price_ticks >= self.trigger_ticks if self.rising else price_ticks <= self.trigger_ticks


@attrs.define
class Family:
    """An order and those that came with it. Member 0 is the order itself, n its nth attached order.

    `alive` are those in the book, waiting, or on their way in; `due` those that wait for the order to fill.
    `told_lots` is how much of what filled of the order the others know of.
    """

    order: PlaceOrder
    alive: list[int]
    due: list[int]
    filled_lots: Lots = 0
    told_lots: Lots = 0

    def comes_after(self, member: int) -> bool:
        """Whether a member waits for the order's fills."""
        return member > 0 and self.order.attached[member - 1].relation is Relation.AFTER


class Calendar:
    """Ids, by the time at which something is to be done for them."""

    def __init__(self) -> None:
        self.at_ns: dict[int, Nanos] = {}
        self._line: SortedList[tuple[Nanos, int]] = SortedList()

    def set(self, each: int, at_ns: Nanos) -> None:
        """Note or renew a time."""
        self.drop(each)
        self.at_ns[each] = at_ns
        self._line.add((at_ns, each))

    def drop(self, each: int) -> None:
        """Forget an id, where it is known."""
        if each in self.at_ns:
            self._line.remove((self.at_ns.pop(each), each))

    @property
    def first_ns(self) -> Nanos | None:
        """The earliest time."""
        return self._line[0][0] if self._line else None

    def passed(self, now_ns: Nanos) -> list[tuple[Nanos, int]]:
        """Return what is due by now, earliest first."""
        return list(self._line[: self._line.bisect_left((now_ns + 1, 0))])


@attrs.define(eq=False)
class Desk:
    """All of it, in the indexes that it is asked by.

    `last_ticks` is the price of the last trade on each book. `ready` are orders to be placed, first come first.
    `look` and `repeg` are the markets whose triggers and whose pegged orders have to be looked at.
    """

    waiting: dict[OrderId, Waiting] = attrs.field(factory=dict[OrderId, Waiting])
    live: dict[OrderId, PlaceOrder] = attrs.field(factory=dict[OrderId, PlaceOrder])
    families: dict[OrderId, Family] = attrs.field(factory=dict[OrderId, Family])
    ready: dict[OrderId, PlaceOrder] = attrs.field(factory=dict[OrderId, PlaceOrder])
    switches: Calendar = attrs.field(factory=Calendar)
    last_ticks: dict[MarketId, Ticks] = attrs.field(factory=dict[MarketId, Ticks])
    look: set[MarketId] = attrs.field(factory=set[MarketId])
    repeg: set[MarketId] = attrs.field(factory=set[MarketId])
    # What can be made from the above.
    ends: Calendar = attrs.field(factory=Calendar)
    lines: dict[Line, "SortedList[tuple[Ticks, OrderId]]"] = attrs.field(
        factory=dict[Line, "SortedList[tuple[Ticks, OrderId]]"]
    )
    trailing: dict[MarketId, dict[OrderId, None]] = attrs.field(factory=dict[MarketId, dict[OrderId, None]])
    pegs: dict[MarketId, dict[OrderId, None]] = attrs.field(factory=dict[MarketId, dict[OrderId, None]])
    held: dict[Holder, dict[OrderId, None]] = attrs.field(factory=dict[Holder, dict[OrderId, None]])

    def __bool__(self) -> bool:
        """Whether there is anything to watch for."""
        return bool(self.waiting or self.live or self.families or self.ready or self.switches.at_ns)

    @property
    def due(self) -> bool:
        """Whether something may have to be done before anything new happens."""
        return bool(self.look or self.repeg)

    @property
    def first_ns(self) -> Nanos | None:
        """The earliest end of an order, or time of a switch."""
        if not (self.ends.at_ns or self.switches.at_ns):
            return None
        return min((at for at in (self.ends.first_ns, self.switches.first_ns) if at is not None), default=None)

    def add(self, waiting: Waiting) -> None:
        """Let an order wait."""
        order, market = waiting.order, waiting.order.market
        self.waiting[waiting.id] = waiting
        self.lines.setdefault(waiting.line, SortedList()).add(waiting.rank)
        if waiting.trigger.trails:
            self.trailing.setdefault(market, {})[waiting.id] = None
        self.hold(order, waiting.id)
        self.note_end(order, waiting.id)

    def remove(self, waiting: Waiting) -> None:
        """Forget an order that waits."""
        del self.waiting[waiting.id]
        self._unline(waiting)
        if waiting.trigger.trails:
            _drop(self.trailing, waiting.order.market, waiting.id)
        self.release(waiting.order, waiting.id)
        self.ends.drop(waiting.id)

    def move(self, waiting: Waiting, trigger_ticks: Ticks) -> None:
        """Let an order fire at another price from now on."""
        self._unline(waiting)
        waiting.trigger_ticks = trigger_ticks
        self.lines.setdefault(waiting.line, SortedList()).add(waiting.rank)

    def crossed(self, line: Line, price_ticks: Ticks) -> list[OrderId]:
        """Return which triggers a price has reached, in the order in which a move passes them.

        Cost:
            O(log of the triggers, and those reached).
        """
        ranks = self.lines.get(line)
        if ranks is None:
            return []
        limit = price_ticks if line[2] else -price_ticks
        return [order_id for _, order_id in ranks[: ranks.bisect_left((limit + 1, 0))]]

    def hold(self, order: PlaceOrder, order_id: OrderId) -> None:
        """Count an order of an account that is not in the book, or not yet."""
        self.held.setdefault((order.account, order.market), {})[order_id] = None

    def release(self, order: PlaceOrder, order_id: OrderId) -> None:
        """Count it no longer."""
        _drop(self.held, (order.account, order.market), order_id)

    def follow(self, order: PlaceOrder, order_id: OrderId) -> None:
        """Note a live order that is to end, or to be kept at a distance."""
        self.live[order_id] = order
        self.note_end(order, order_id)
        if order.pegged:
            self.pegs.setdefault(order.market, {})[order_id] = None

    def forget(self, order_id: OrderId) -> None:
        """Forget a live order."""
        order = self.live.pop(order_id)
        self.ends.drop(order_id)
        if order.pegged:
            _drop(self.pegs, order.market, order_id)

    def note_end(self, order: PlaceOrder, order_id: OrderId) -> None:
        """Note when an order ends, if it does."""
        if at_ns := end_ns(order):
            self.ends.set(order_id, at_ns)

    def _unline(self, waiting: Waiting) -> None:
        ranks = self.lines[waiting.line]
        ranks.remove(waiting.rank)
        if not ranks:
            del self.lines[waiting.line]


def end_ns(order: PlaceOrder) -> Nanos:
    """Return when an order ends, 0 when it does not: a day's at the midnight after it was placed.

    Rounds:
        Up to the midnight; an order of midnight has the whole day.
    """
    if order.time_in_force is TimeInForce.DAY:
        return (div_floor(order.time_ns, DAY_NS) + 1) * DAY_NS
    return order.expires_ns


def member_id(family: OrderId, member: int) -> OrderId:
    """Return the id of a member of a family."""
    return family | member << SEQUENCE_BITS


def family_of(order_id: OrderId) -> tuple[OrderId, int]:
    """Return the family that an order would be in, and which member it would be."""
    return order_id & ((1 << SEQUENCE_BITS) - 1), order_id >> SEQUENCE_BITS


def _drop(index: dict[_Key, dict[OrderId, None]], key: _Key, order_id: OrderId) -> None:
    del index[key][order_id]
    if not index[key]:
        del index[key]
