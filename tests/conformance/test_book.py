"""The order book: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import runpy
from itertools import groupby
from pathlib import Path

import attrs
import pytest

from perpkit.model.matching import hidden_of, match
from perpkit.model.order import Level, MatchPlan, SelfTrade, TimeInForce
from perpkit.plugin import NoOptions
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.testing.conformance import OrderBookConformance, broken, rules_of

FlatBook = runpy.run_path(str(Path(__file__).parents[1] / "plugin" / "acme_parts.py"))["FlatBook"]


class TestPriceTime(OrderBookConformance):
    def make(self, context):
        return PriceTimeBook(context, NoOptions())


class TestFlat(OrderBookConformance):
    """A stranger's book, which says the same in another way."""

    def make(self, context):
        return FlatBook(context, NoOptions())


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
            order = self._orders[met.maker]
            self._shrink(order, order.size_lots - met.size_lots, 0)
        return plan


class TakesStalePlans(PriceTimeBook):
    def commit(self, plan: MatchPlan, /):
        super().commit(attrs.evolve(plan, version=self._version))


class LosesItsPlace(PriceTimeBook):
    def reduce(self, order_id, by_lots, /):
        left = super().reduce(order_id, by_lots)
        if left:
            order = self._orders[order_id]
            level = self._of(order.side).orders[-order.side * order.price_ticks]
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
            self._rest(order)


class HiddenInTurn(PriceTimeBook):
    def plan(self, taker, /):
        makers = [attrs.evolve(each, hidden_lots=0) for each in self.orders(taker.side.opposite)]
        return match(taker, makers, self._fills_max, self._version)


class KeepsItsPlace(PriceTimeBook):
    def _show_anew(self, order):
        self._shrink(order, order.size_lots, hidden_of(order, order.size_lots))


class HidesWhatIsLeft(PriceTimeBook):
    def reduce(self, order_id, by_lots, /):
        order, self._version = self._orders[order_id], self._version + 1
        left = order.size_lots - by_lots
        self._shrink(order, left, min(order.hidden_lots, left))
        return left


class ShowsWhatIsHidden(PriceTimeBook):
    def _shown_levels(self, side):
        for price, found in groupby(self.orders(side), lambda each: each.price_ticks):
            sizes = [each.size_lots for each in found]
            yield Level(price_ticks=price, size_lots=sum(sizes), orders=len(sizes))


class BestOfWhatIsShown(PriceTimeBook):
    def best(self, side, /):
        shown = self.levels(side, 1)
        return shown[0].price_ticks if shown else None


class AsIf(PriceTimeBook):
    """Plans as if the taker had asked for something else."""

    def plan(self, taker, /):
        return attrs.evolve(super().plan(attrs.evolve(taker, **self.instead(taker))), taker=taker)


class PreventsUnasked(AsIf):
    def instead(self, taker):
        return {"self_trade": SelfTrade.CANCEL_MAKER} if taker.self_trade_by_owner and not taker.self_trade else {}


class StopsForNothing(AsIf):
    def instead(self, taker):
        return {"self_trade": SelfTrade.CANCEL_MAKER} if taker.self_trade is SelfTrade.CANCEL_TAKER else {}


class StopsAtNothing(AsIf):
    def instead(self, taker):
        return {"self_trade": SelfTrade.CANCEL_MAKER} if taker.self_trade is SelfTrade.CANCEL_BOTH else {}


class KnowsNoOwner(AsIf):
    def instead(self, taker):
        return {"self_trade_by_owner": False} if taker.self_trade else {}


class LeavesTheHiddenPart(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(taker)
        if taker.self_trade is not SelfTrade.CANCEL_MAKER:
            return plan
        makers = {each.id: each for each in self.orders(taker.side.opposite)}
        less = [
            attrs.evolve(met, size_lots=met.size_lots - makers[met.maker].hidden_lots * met.prevented)
            for met in plan.matches
        ]
        return attrs.evolve(plan, matches=tuple(less))


class DecrementsTheMakerOnly(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(taker)
        return attrs.evolve(plan, rest_lots=plan.rest_lots + plan.prevented_lots, prevented_lots=0)


class FillsByDecrement(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(taker)
        whole = super().plan(attrs.evolve(taker, time_in_force=TimeInForce.IOC))
        decrements = taker.time_in_force is TimeInForce.FOK and taker.self_trade is SelfTrade.DECREMENT
        return attrs.evolve(whole, taker=taker) if decrements and not whole.cancel_lots else plan


class LoadsAllInTheOpen(PriceTimeBook):
    def load(self, orders, /):
        super().load([attrs.evolve(each, hidden_lots=0) for each in orders])


LAWS = {"BOOK-150", "BOOK-200", "BOOK-300"}
EXAMPLES = [rule.id for rule in rules_of(OrderBookConformance) if rule.id not in LAWS and rule.id < "BOOK-900"]


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
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    class Suite(OrderBookConformance):
        def make(self, context):
            return faulty(context, NoOptions())

    assert isinstance(broken(Suite(), rule), AssertionError | pytest.fail.Exception)


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (HiddenInTurn, "BOOK-160"),
        (KeepsItsPlace, "BOOK-170"),
        (HidesWhatIsLeft, "BOOK-180"),
        (ShowsWhatIsHidden, "BOOK-190"),
        (BestOfWhatIsShown, "BOOK-190"),
        (PreventsUnasked, "BOOK-210"),
        (StopsForNothing, "BOOK-220"),
        (LeavesTheHiddenPart, "BOOK-230"),
        (StopsAtNothing, "BOOK-240"),
        (DecrementsTheMakerOnly, "BOOK-250"),
        (KnowsNoOwner, "BOOK-260"),
        (FillsByDecrement, "BOOK-270"),
        (LoadsAllInTheOpen, "BOOK-280"),
    ],
)
def test_a_fault_in_what_hides_or_prevents_is_caught_by_its_rule_alone(faulty, rule):
    class Suite(OrderBookConformance):
        def make(self, context):
            return faulty(context, NoOptions())

    assert [each for each in EXAMPLES if broken(Suite(), each)] == [rule]
