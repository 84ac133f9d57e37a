"""Price-time priority on sorted price levels, written to be read."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import attrs

from perpkit.errors import PluginError
from perpkit.model.ids import OrderId
from perpkit.model.matching import hidden_of, match, unmatched
from perpkit.model.order import Level, Match, MatchPlan, Order, Side
from perpkit.plugin import NoOptions
from perpkit.ports.context import MarketContext
from perpkit.units import Lots, Ticks


@attrs.define
class _Levels:
    """One side: its prices, and at each the orders by id, in the order in which they came.

    A price is kept with the sign that makes the best one the least: itself for sells, minus itself for buys.
    """

    keys: list[int] = attrs.field(factory=list[int])
    orders: dict[int, dict[OrderId, Order]] = attrs.field(factory=dict[int, dict[OrderId, Order]])

    def add(self, key: int, order: Order) -> None:
        level = self.orders.get(key)
        if level is None:
            insort(self.keys, key)
            self.orders[key] = {order.id: order}
        else:
            level[order.id] = order

    def drop(self, key: int, order_id: OrderId) -> None:
        level = self.orders[key]
        del level[order_id]
        if not level:
            del self.orders[key], self.keys[bisect_left(self.keys, key)]

    def __iter__(self) -> Iterator[Order]:
        for key in self.keys:
            yield from self.orders[key].values()


class PriceTimeBook:
    """The reference order book.

    A level is a dict: insertion order is time priority, and a cancel costs one deletion. An order that shrinks is
    replaced by a smaller one in its place.
    """

    certified = True  # its plans are made by the rules that others are checked by

    def __init__(self, context: MarketContext, _options: NoOptions) -> None:
        self._fills_max = context.limits.order_fills_max
        self._bids, self._asks = _Levels(), _Levels()
        self._orders: dict[OrderId, Order] = {}
        self._version = 0

    def plan(self, taker: Order, /) -> MatchPlan:
        """Walk the other side without touching it."""
        others = self._asks if taker.side > 0 else self._bids
        if not others.keys or others.keys[0] > taker.side * taker.price_ticks:
            return unmatched(taker, self._version)
        return match(taker, others, self._fills_max, self._version)

    def commit(self, plan: MatchPlan, /) -> None:
        """Apply a plan made at the book's present version."""
        if plan.version != self._version:
            raise PluginError(f"book: expected a plan of version {self._version}, was {plan.version}; plan again")
        self._version += 1
        if plan.matches:
            self._trade(plan.matches)
        taker, rests = plan.taker, plan.rest_lots
        if rests:
            self._rest(taker if rests == taker.size_lots else taker.with_left(rests, hidden_of(taker, rests)))

    def reduce(self, order_id: OrderId, by_lots: Lots, /) -> Lots:
        """Take lots off a resting order, what it hides first."""
        order = self._orders[order_id]
        self._version += 1
        left = order.size_lots - by_lots
        self._shrink(order, left, order.hidden_lots and max(0, order.hidden_lots - by_lots))
        return left

    def best(self, side: Side, /) -> Ticks | None:
        """Return the best price of a side."""
        keys = self._of(side).keys
        return -side * keys[0] if keys else None

    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        """Return the aggregated levels of a side, best first."""
        return tuple(islice(self._shown_levels(side), count))

    def orders(self, side: Side, /) -> Iterator[Order]:
        """Yield a side's orders in priority order."""
        return iter(self._of(side))

    def load(self, orders: Iterable[Order], /) -> None:
        """Start again with these orders."""
        self._version += 1
        self._bids, self._asks = _Levels(), _Levels()
        self._orders.clear()
        for order in orders:
            self._rest(order)

    def _of(self, side: Side) -> _Levels:
        return self._bids if side > 0 else self._asks

    def _shown_levels(self, side: Side) -> Iterator[Level]:
        levels = self._of(side)
        for key in levels.keys:
            shown = [lots for order in levels.orders[key].values() if (lots := order.size_lots - order.hidden_lots)]
            if shown:
                yield Level(price_ticks=-side * key, size_lots=sum(shown), orders=len(shown))

    def _trade(self, matches: Iterable[Match]) -> None:
        used_up: dict[OrderId, None] = {}
        for met in matches:
            order = self._orders[met.maker]
            left = order.size_lots - met.size_lots
            self._shrink(order, left, order.hidden_lots and min(order.hidden_lots, left))
            if order.display_lots and order.hidden_lots >= left:
                used_up[order.id] = None
        for order_id in used_up:
            if order_id in self._orders:
                self._show_anew(self._orders[order_id])

    def _rest(self, order: Order) -> None:
        self._orders[order.id] = order
        self._of(order.side).add(-order.side * order.price_ticks, order)

    def _show_anew(self, order: Order) -> None:
        """Show the next part of an iceberg, behind whoever waits at its price."""
        self._of(order.side).drop(-order.side * order.price_ticks, order.id)
        self._rest(order.with_left(order.size_lots, hidden_of(order, order.size_lots)))

    def _shrink(self, order: Order, left_lots: Lots, hidden_lots: Lots) -> None:
        levels, key = self._of(order.side), -order.side * order.price_ticks
        if left_lots:
            self._orders[order.id] = levels.orders[key][order.id] = order.with_left(left_lots, hidden_lots)
        else:
            del self._orders[order.id]
            levels.drop(key, order.id)
