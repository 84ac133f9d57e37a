"""Order book: who trades with whom, at what price. An owner: it alone holds the resting orders of one market."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from perpkit.model.ids import OrderId
from perpkit.model.order import Level, MatchPlan, Order, Side
from perpkit.units import Lots, Ticks


class OrderBook(Protocol):
    """Price-time priority over limit orders. Provisional.

    A book proposes with `plan`, which changes nothing, and applies with `commit`. Two books of the same name give
    the same plans and the same `orders` for the same calls.
    """

    @abstractmethod
    def plan(self, taker: Order, /) -> MatchPlan:
        """Say what would happen if `taker` arrived now.

        Called by clearing, before admission is final. Must not change anything observable.

        Fills are at each maker's price, best price first, then first come first served, until the taker is filled,
        its limit is passed, or `order_fills_max` makers were met (then the rest is cancelled, `work_limited`).

        Cost:
            O(makers met), and O(log levels) for each level passed.
        """
        ...

    @abstractmethod
    def commit(self, plan: MatchPlan, /) -> None:
        """Apply a plan: shrink or remove its makers, and rest what the plan says rests.

        Raises:
            PluginError: the book changed since the plan was made.

        Cost:
            O(makers), and O(log levels) for each level that appears or empties.
        """
        ...

    @abstractmethod
    def reduce(self, order_id: OrderId, by_lots: Lots, /) -> Lots:
        """Take `by_lots` off a resting order, keeping its place; at its whole size it goes. Return what is left.

        Raises:
            KeyError: no such order rests here.

        Cost:
            O(1), and O(log levels) when a level empties.
        """
        ...

    @abstractmethod
    def best(self, side: Side, /) -> Ticks | None:
        """Return the best price on a side, None when it is empty."""
        ...

    @abstractmethod
    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        """Return up to `count` price levels, best first."""
        ...

    @abstractmethod
    def orders(self, side: Side, /) -> Iterator[Order]:
        """Yield the resting orders of a side in priority order: what plans are checked against, and the digest.

        Cost:
            O(1) an order that is asked for.
        """
        ...

    @abstractmethod
    def load(self, orders: Iterable[Order], /) -> None:
        """Replace the content by these orders, each side given in priority order."""
        ...
