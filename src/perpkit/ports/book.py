"""Order book: who trades with whom, at what price. An owner: it alone holds the resting orders of one market."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from perpkit.model.ids import AccountId, OrderId, PositionId
from perpkit.model.order import Level, MatchPlan, Order, Side
from perpkit.model.records import Buffer
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

        Fills are at each maker's price, best price first, what is shown before what is hidden, then first come first
        served, until the taker is filled, its limit is passed, or `order_fills_max` makers were met (then the rest is
        cancelled). Where the taker asks for self-trade prevention, its own makers are met without a trade.
        `perpkit.model.matching` has the rules.

        Cost:
            O(makers met), and O(log levels) for each level passed.
        """
        ...

    @abstractmethod
    def commit(self, plan: MatchPlan, /) -> None:
        """Apply a plan: shrink or remove its makers, and rest what the plan says rests.

        An iceberg whose shown part was used up shows its next part, behind the others at its price, in the order in
        which they were used up.

        Raises:
            PluginError: the book changed since the plan was made.

        Cost:
            O(makers), and O(log levels) for each level that appears or empties.
        """
        ...

    @abstractmethod
    def reduce(self, order_id: OrderId, by_lots: Lots, /) -> Lots:
        """Take `by_lots` off a resting order, keeping its place; at its whole size it goes. Return what is left.

        What it hides goes first.

        Raises:
            KeyError: no such order rests here.

        Cost:
            O(1), and O(log levels) when a level empties.
        """
        ...

    @abstractmethod
    def best(self, side: Side, /) -> Ticks | None:
        """Return the best price on a side, None when it is empty: what an arriving order would meet, shown or not."""
        ...

    @abstractmethod
    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        """Return up to `count` price levels of what is shown, best first."""
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


CERTIFIED = "certified"
"""What a book's class says of itself, `certified = True` in its own body, when its plans are to be taken as they are.

Any other book is matched again in Python, by `perpkit.model.matching` over its own resting orders, before a plan of it
is settled. Whoever certifies a book has done that beforehand: random orders with every flag, and not one plan that is
not the reference's to the bit. A wrong plan would be settled, and be found only by the sums over all accounts. A book
that raises is still refused and named. A subclass is not certified by what it inherits: it may plan otherwise.
"""

FUSED = "fused"
"""The capability of a book that is a `FusedBook`."""

Fill: TypeAlias = tuple[OrderId, AccountId, PositionId, Ticks, Lots, bool]
"""A `Match`, field by field: maker, its account and position id, price, size, and whether it was prevented."""

Placed: TypeAlias = tuple[Lots, Lots, Lots, int, tuple[Fill, ...]]
"""What became of an order: lots that rest, are cancelled, were prevented; the `CancelReason` as a number; matches."""


class FusedBook(OrderBook, Protocol):
    """A book that plans and commits in one call. The capability `fused`.

    Each of these does exactly what `plan` and `commit`, or `reduce`, would do one after another.
    """

    @abstractmethod
    def place(
        self,
        order_id: OrderId,
        account: AccountId,
        side: int,
        size_lots: Lots,
        price_ticks: Ticks,
        flags: int = ...,
        position_id: PositionId = ...,
        display_lots: Lots = ...,
        hidden_lots: Lots = ...,
        /,
    ) -> Placed:
        """Let an order arrive.

        Returns what rests, is cancelled and was prevented, the `CancelReason` as a number, and a tuple of matches:
        maker, its account and position id, price, size, and whether it was prevented. `side` is the value of a
        `Side`; `flags` those of a `PlaceOrder` record, without them good till cancelled.

        Units:
            As in `Order`, whose fields these are.

        Raises:
            PluginError: a number is out of range, or the id is that of an order that rests; nothing has changed.

        Cost:
            As `plan` and `commit`.
        """
        ...

    @abstractmethod
    def cancel(self, order_id: OrderId, /) -> Lots:
        """Take a resting order out; return how much was left of it.

        Raises:
            KeyError: no such order rests here.

        Cost:
            O(1), and O(log levels) when a level empties.
        """
        ...

    @abstractmethod
    def apply(self, commands: Buffer, /) -> bytes:
        """Do what a run of records says, one after another; return what came of each as records.

        A command that cannot be done is answered by a refusal. How a run is cut changes nothing.

        Raises:
            ValueError: the bytes end inside a record; nothing has been done.

        Cost:
            As `plan` and `commit` for each.
        """
        ...

    @abstractmethod
    def dump_records(self) -> bytes:
        """Return every resting order as a record, the buy side first, each side in priority order.

        Cost:
            O(orders).
        """
        ...

    @abstractmethod
    def load_records(self, records: Buffer, /) -> None:
        """Replace the content by these orders, each side given in priority order.

        Raises:
            PluginError: one of them cannot rest; nothing has changed.
            ValueError: the bytes end inside a record.

        Cost:
            O(orders), and O(log levels) for each level.
        """
        ...

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """How much memory it has asked for; what no order and no price has used yet, the system has not given."""
        ...
