"""Price-time priority on sorted price levels, written to be read."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import attrs
from sortedcontainers import SortedDict

from perpkit.errors import PluginError
from perpkit.model.ids import OrderId
from perpkit.model.matching import hidden_of, match
from perpkit.model.order import Level, Match, MatchPlan, Order, Side
from perpkit.plugin import NoOptions
from perpkit.ports.context import MarketContext
from perpkit.units import Lots, Ticks

Levels: TypeAlias = "SortedDict[int, dict[OrderId, Order]]"


class PriceTimeBook:
    """The reference order book.

    A level is a dict from order id to order: insertion order is time priority, and a cancel costs one deletion.
    Levels are keyed by price on the sell side and by minus the price on the buy side, so that on both sides the
    first key is the best price. An order that shrinks is replaced by a smaller one in its place.
    """

    def __init__(self, context: MarketContext, _options: NoOptions) -> None:
        self._fills_max = context.limits.order_fills_max
        self._bids: Levels = SortedDict()
        self._asks: Levels = SortedDict()
        self._orders: dict[OrderId, Order] = {}
        self._version = 0

    def plan(self, taker: Order, /) -> MatchPlan:
        """Walk the other side without touching it."""
        levels = self._asks if taker.side > 0 else self._bids
        meets = levels and levels.peekitem(0)[0] <= taker.side * taker.price_ticks
        return match(taker, _orders(levels) if meets else (), self._fills_max, self._version)

    def commit(self, plan: MatchPlan, /) -> None:
        """Apply a plan made at the book's present version."""
        if plan.version != self._version:
            raise PluginError(f"book: expected a plan of version {self._version}, was {plan.version}; plan again")
        self._version += 1
        if plan.matches:
            self._trade(plan.matches)
        if plan.rest_lots:
            self._rest(_now(plan.taker, plan.rest_lots, hidden_of(plan.taker, plan.rest_lots)))

    def reduce(self, order_id: OrderId, by_lots: Lots, /) -> Lots:
        """Take lots off a resting order, what it hides first."""
        order = self._orders[order_id]
        self._version += 1
        left = order.size_lots - by_lots
        self._shrink(order, left, max(0, order.hidden_lots - by_lots))
        return left

    def best(self, side: Side, /) -> Ticks | None:
        """Return the best price of a side."""
        levels = self._of(side)
        return -side * levels.peekitem(0)[0] if levels else None

    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        """Return the aggregated levels of a side, best first."""
        return tuple(islice(self._shown_levels(side), count))

    def orders(self, side: Side, /) -> Iterator[Order]:
        """Yield a side's orders in priority order."""
        return _orders(self._of(side))

    def load(self, orders: Iterable[Order], /) -> None:
        """Start again with these orders."""
        self._version += 1
        for content in (self._orders, self._bids, self._asks):
            content.clear()
        for order in orders:
            self._rest(order)

    def _of(self, side: Side) -> Levels:
        return self._bids if side > 0 else self._asks

    def _shown_levels(self, side: Side) -> Iterator[Level]:
        for key, level in self._of(side).items():
            shown = [lots for order in level.values() if (lots := order.size_lots - order.hidden_lots)]
            if shown:
                yield Level(price_ticks=-side * key, size_lots=sum(shown), orders=len(shown))

    def _trade(self, matches: Iterable[Match]) -> None:
        used_up: dict[OrderId, None] = {}
        for met in matches:
            order = self._orders[met.maker]
            left = order.size_lots - met.size_lots
            self._shrink(order, left, min(order.hidden_lots, left))
            if order.display_lots and order.hidden_lots >= left:
                used_up[order.id] = None
        for order_id in used_up:
            if order_id in self._orders:
                self._show_anew(self._orders[order_id])

    def _rest(self, order: Order) -> None:
        self._orders[order.id] = order
        levels, key = self._of(order.side), -order.side * order.price_ticks
        if key in levels:
            levels[key][order.id] = order
        else:
            levels[key] = {order.id: order}

    def _show_anew(self, order: Order) -> None:
        """Show the next part of an iceberg, behind whoever waits at its price."""
        level = self._of(order.side)[-order.side * order.price_ticks]
        del level[order.id]
        self._rest(_now(order, order.size_lots, hidden_of(order, order.size_lots)))

    def _shrink(self, order: Order, left_lots: Lots, hidden_lots: Lots) -> None:
        levels, key = self._of(order.side), -order.side * order.price_ticks
        level = levels[key]
        if left_lots:
            self._orders[order.id] = level[order.id] = _now(order, left_lots, hidden_lots)
            return
        del self._orders[order.id], level[order.id]
        if not level:
            del levels[key]


def _orders(levels: Levels) -> Iterator[Order]:
    for key in levels:
        yield from levels[key].values()


def _now(order: Order, left_lots: Lots, hidden_lots: Lots) -> Order:
    """Return an order with what is left of it."""
    if order.size_lots == left_lots and order.hidden_lots == hidden_lots:
        return order
    return attrs.evolve(order, size_lots=left_lots, hidden_lots=hidden_lots)
