"""Guard of the book: what it proposes is held against its own resting orders before anything is settled."""

from collections.abc import Iterable, Iterator, Sequence

from perpkit.engine.guard.base import Guard, whole
from perpkit.model.ids import OrderId
from perpkit.model.order import Level, Match, MatchPlan, Order, Side, TimeInForce
from perpkit.ports.book import OrderBook
from perpkit.units import Lots, Ticks


class GuardedBook:
    """An order book whose plans keep price and time priority, the taker's limit and the size.

    Plans are checked, because only a plan can be refused; a book that fails in a write halts the exchange.
    """

    def __init__(self, part: OrderBook, guard: Guard) -> None:
        self.part, self._guard = part, guard

    def plan(self, taker: Order, /) -> MatchPlan:
        """Ask; the makers are the first that rest on the other side, each within the taker's limit.

        Cost:
            O(makers met) more than the book's own.
        """
        plan = self._guard.ask(self.part.plan, taker)
        if not (type(plan) is MatchPlan and plan.taker == taker):
            raise self._guard.unexpected(f"a plan for {taker}", plan)
        resting = iter(self.part.orders(taker.side.opposite))
        for match in plan.matches:
            order = next(resting, None)
            if order is None or not _crosses(taker, order) or not _is_with(match, order):
                raise self._guard.unexpected(f"a match with {order}, which is first", match)
        following = next(resting, None)
        self._check_sizes(plan, may_stop=following is None or not _crosses(taker, following))
        return plan

    def _check_sizes(self, plan: MatchPlan, *, may_stop: bool) -> None:
        """What fills, rests and goes away is the taker; only the last maker keeps something."""
        taker = plan.taker
        filled = sum(match.size_lots for match in plan.matches)
        kills = taker.time_in_force is TimeInForce.FOK
        sound = (
            whole(plan.rest_lots, 0)
            and whole(plan.cancel_lots, 0)
            and filled + plan.rest_lots + plan.cancel_lots == taker.size_lots
            and not any(match.maker_left_lots for match in plan.matches[:-1])
            and (filled == taker.size_lots or may_stop or kills or plan.work_limited)
            and (plan.rest_lots == 0 or taker.time_in_force is TimeInForce.GTC)
            and (plan.cancel_lots in (0, taker.size_lots) or not kills)
        )
        if not sound:
            raise self._guard.unexpected(f"{taker.size_lots} lots filled, resting or cancelled", plan)

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


def _crosses(taker: Order, maker: Order) -> bool:
    return taker.side * (taker.price_ticks - maker.price_ticks) >= 0


def _is_with(match: Match, order: Order) -> bool:
    """Whether a match is with this resting order, at its price, for no more than it has."""
    return (
        (match.maker, match.maker_account, match.maker_position_id, match.price_ticks)
        == (order.id, order.account, order.position_id, order.price_ticks)
        and whole(match.size_lots, 1, order.size_lots)
        and match.maker_left_lots == order.size_lots - match.size_lots
    )
