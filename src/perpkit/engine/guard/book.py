"""Guard of the book: what it proposes is held against its own resting orders before anything is settled."""

from collections.abc import Iterable, Iterator, Sequence

from perpkit.engine.guard.base import Guard
from perpkit.model.ids import OrderId
from perpkit.model.matching import match
from perpkit.model.order import Level, MatchPlan, Order, Side
from perpkit.ports.book import CERTIFIED, OrderBook
from perpkit.units import Lots, Ticks


class GuardedBook:
    """An order book whose plans are what price-time priority says about its own resting orders.

    Plans are checked, because only a plan can be refused; a book that fails in a write halts the exchange. Those of a
    book that is `CERTIFIED` were checked before it came here.
    """

    def __init__(self, part: OrderBook, guard: Guard, fills_max: int) -> None:
        self.part: OrderBook = part
        self._guard, self._fills_max = guard, fills_max
        # Not inherited: a subclass may plan otherwise.
        self._certified = vars(type(part)).get(CERTIFIED) is True

    def plan(self, taker: Order, /) -> MatchPlan:
        """Ask, and unless the book is certified match again over its own orders.

        Cost:
            O(makers met) more than the book's own, nothing more where it is certified.
        """
        plan = self._guard.ask(self.part.plan, taker)
        if self._certified:
            return plan
        due = match(taker, self.part.orders(taker.side.opposite), self._fills_max, 0)
        self._guard.judge(
            plan,
            "the first that rest on the other side, within the limit",
            lambda: type(plan) is MatchPlan and _says(plan, due),
        )
        return plan

    def commit(self, plan: MatchPlan, /) -> None:
        """Pass on."""
        self.part.commit(plan)

    def reduce(self, order_id: OrderId, by_lots: Lots, /) -> Lots:
        """Pass on."""
        return self.part.reduce(order_id, by_lots)

    def best(self, side: Side, /) -> Ticks | None:
        """Pass on."""
        return self.part.best(side)

    def levels(self, side: Side, count: int, /) -> Sequence[Level]:
        """Pass on."""
        return self.part.levels(side, count)

    def orders(self, side: Side, /) -> Iterator[Order]:
        """Pass on."""
        return self.part.orders(side)

    def load(self, orders: Iterable[Order], /) -> None:
        """Pass on."""
        self.part.load(orders)


def _says(plan: MatchPlan, due: MatchPlan) -> bool:
    """Whether a plan says what is due, in whole numbers; the version is the book's own."""
    return (
        plan.taker == due.taker
        and plan.matches == due.matches
        and _integers(plan) == _integers(due)
        and all(type(each) is int for each in _integers(plan))
        and all(type(met.prevented) is bool for met in plan.matches)
        and plan.cancel_reason is due.cancel_reason
    )


def _integers(plan: MatchPlan) -> list[int]:
    integers = [plan.rest_lots, plan.cancel_lots, plan.prevented_lots]
    for met in plan.matches:
        integers += (met.maker, met.maker_account, met.maker_position_id, met.price_ticks, met.size_lots)
    return integers
