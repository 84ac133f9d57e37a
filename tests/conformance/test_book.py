"""The order book: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.model.matching import match
from perpkit.model.order import MatchPlan, TimeInForce
from perpkit.plugin import NoOptions
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.testing.conformance import OrderBookConformance, broken


class TestPriceTime(OrderBookConformance):
    def make(self, context):
        return PriceTimeBook(context, NoOptions())


class LastComeFirstServed(PriceTimeBook):
    def plan(self, taker, /):
        latest = reversed(list(self.orders(taker.side.opposite)))
        makers = sorted(latest, key=lambda each: taker.side * each.price_ticks)
        return match(taker, makers, self._fills_max, self._version)


class WorstPriceFirst(PriceTimeBook):
    def plan(self, taker, /):
        makers = sorted(self.orders(taker.side.opposite), key=lambda each: -taker.side * each.price_ticks)
        return match(taker, makers, self._fills_max, self._version)


class TakersPrice(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(taker)
        worse = [attrs.evolve(match, price_ticks=taker.price_ticks) for match in plan.matches]
        return attrs.evolve(plan, matches=tuple(worse))


class BeyondTheLimit(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(attrs.evolve(taker, price_ticks=taker.price_ticks + taker.side))
        return attrs.evolve(plan, taker=taker)


class ImmediateOrdersRest(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(taker)
        if taker.time_in_force is TimeInForce.IOC:
            plan = attrs.evolve(plan, rest_lots=plan.cancel_lots, cancel_lots=0)
        return plan


class KillsInPart(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(attrs.evolve(taker, time_in_force=TimeInForce.IOC))
        return attrs.evolve(plan, taker=taker)


class NeverStops(PriceTimeBook):
    def __init__(self, context, options):
        super().__init__(context, options)
        self._fills_max = 10**9


class PlansAndForgets(PriceTimeBook):
    """Takes the makers out while it only plans."""

    def plan(self, taker, /):
        plan = super().plan(taker)
        for met in plan.matches[1:]:
            self._shrink(self._orders[met.maker], met.size_lots)
        return plan


class TakesStalePlans(PriceTimeBook):
    def commit(self, plan: MatchPlan, /):
        super().commit(attrs.evolve(plan, version=self._version))


class LosesItsPlace(PriceTimeBook):
    def reduce(self, order_id, by_lots, /):
        left = super().reduce(order_id, by_lots)
        if left:
            order = self._orders[order_id].order
            level = self._levels[order.side][-order.side * order.price_ticks]
            level[order_id] = level.pop(order_id)
        return left


class ForgivesAnUnknownOrder(PriceTimeBook):
    def reduce(self, order_id, by_lots, /):
        return super().reduce(order_id, by_lots) if order_id in self._orders else 0


class CountsFilledLots(PriceTimeBook):
    def levels(self, side, count, /):
        levels = super().levels(side, count)
        return tuple(attrs.evolve(level, size_lots=level.size_lots + 1) for level in levels)


class KeepsWhatWasThere(PriceTimeBook):
    def load(self, orders, /):
        for order in orders:
            self._rest(order, order.size_lots)


class DrawsLots(PriceTimeBook):
    """Serves a price level in an order of its own, which differs from run to run."""

    def plan(self, taker, /):
        makers = sorted(self.orders(taker.side.opposite), key=lambda each: hash(str(each.id)))
        return match(taker, makers, self._fills_max, self._version)


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (TakersPrice, "BOOK-020"),
        (WorstPriceFirst, "BOOK-030"),
        (LastComeFirstServed, "BOOK-040"),
        (BeyondTheLimit, "BOOK-050"),
        (ImmediateOrdersRest, "BOOK-060"),
        (KillsInPart, "BOOK-070"),
        (NeverStops, "BOOK-080"),
        (PlansAndForgets, "BOOK-090"),
        (TakesStalePlans, "BOOK-100"),
        (LosesItsPlace, "BOOK-110"),
        (ForgivesAnUnknownOrder, "BOOK-120"),
        (CountsFilledLots, "BOOK-130"),
        (KeepsWhatWasThere, "BOOK-140"),
        (DrawsLots, "BOOK-930"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    class Suite(OrderBookConformance):
        def make(self, context):
            return faulty(context, NoOptions())

    assert broken(Suite(), rule)
