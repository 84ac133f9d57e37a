"""Price-time priority on sorted price levels, written to be read."""

from collections.abc import Iterable, Iterator, Sequence

import attrs
from sortedcontainers import SortedDict

from perpkit.errors import PluginError
from perpkit.model.ids import OrderId
from perpkit.model.matching import match
from perpkit.model.order import Level, MatchPlan, Order, Side
from perpkit.plugin import NoOptions
from perpkit.ports.context import MarketContext
from perpkit.units import Lots, Ticks


@attrs.define(eq=False)
class _Resting:
    """An order in the book and what is left of it."""

    order: Order
    left_lots: Lots


class PriceTimeBook:
    """The reference order book.

    A level is a dict from order id to order: insertion order is time priority, and a cancel costs one deletion.
    Levels are keyed by price on the sell side and by minus the price on the buy side, so that on both sides the
    first key is the best price.
    """

    def __init__(self, context: MarketContext, _options: NoOptions) -> None:
        self._fills_max = context.limits.order_fills_max
        self._levels: dict[Side, SortedDict[int, dict[OrderId, _Resting]]] = {
            Side.BUY: SortedDict(),
            Side.SELL: SortedDict(),
        }
        self._orders: dict[OrderId, _Resting] = {}
        self._version = 0

    def plan(self, taker: Order, /) -> MatchPlan:
        """Walk the other side without touching it."""
        return match(taker, self.orders(taker.side.opposite), self._fills_max, self._version)

    def commit(self, plan: MatchPlan, /) -> None:
        """Apply a plan made at the book's present version."""
        if plan.version != self._version:
            raise PluginError(f"book: expected a plan of version {self._version}, was {plan.version}; plan again")
        self._version += 1
        for met in plan.matches:
            self._shrink(self._orders[met.maker], met.size_lots)
        if plan.rest_lots:
            self._rest(plan.taker, plan.rest_lots)

    def reduce(self, order_id: OrderId, by_lots: Lots, /) -> Lots:
        """Take lots off a resting order."""
        resting = self._orders[order_id]
        self._version += 1
        self._shrink(resting, by_lots)
        return resting.left_lots

    def best(self, side: Side, /) -> Ticks | None:
        """Return the best price of a side."""
        levels = self._levels[side]
        return -side * levels.peekitem(0)[0] if levels else None

    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        """Return the aggregated levels of a side, best first."""
        return tuple(
            Level(
                price_ticks=-side * key,
                size_lots=sum(resting.left_lots for resting in level.values()),
                orders=len(level),
            )
            for key, level in self._levels[side].items()[:count]
        )

    def orders(self, side: Side, /) -> Iterator[Order]:
        """Yield a side's orders in priority order."""
        for level in self._levels[side].values():
            for resting in level.values():
                yield attrs.evolve(resting.order, size_lots=resting.left_lots)

    def load(self, orders: Iterable[Order], /) -> None:
        """Start again with these orders."""
        self._version += 1
        self._orders.clear()
        for levels in self._levels.values():
            levels.clear()
        for order in orders:
            self._rest(order, order.size_lots)

    def _rest(self, order: Order, left_lots: Lots) -> None:
        resting = _Resting(order, left_lots)
        self._orders[order.id] = resting
        self._levels[order.side].setdefault(-order.side * order.price_ticks, {})[order.id] = resting

    def _shrink(self, resting: _Resting, by_lots: Lots) -> None:
        resting.left_lots -= by_lots
        if resting.left_lots:
            return
        order = resting.order
        del self._orders[order.id]
        levels = self._levels[order.side]
        key = -order.side * order.price_ticks
        del levels[key][order.id]
        if not levels[key]:
            del levels[key]
