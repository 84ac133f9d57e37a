"""Index and mark: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.model.price import LeftOut, PriceState
from perpkit.plugin import NoOptions
from perpkit.reference.index_weighted import WeightedIndex, WeightedIndexOptions, WeightedMedianIndex
from perpkit.reference.marks import FairBasisMark, IndexMark
from perpkit.testing.conformance import IndexPriceConformance, MarkPriceConformance, broken


class TestWeighted(IndexPriceConformance):
    def make(self, context):
        return WeightedIndex(context, WeightedIndexOptions())


class TestWeightedMedian(IndexPriceConformance):
    def make(self, context):
        return WeightedMedianIndex(context, WeightedIndexOptions())


class TestIndexMark(MarkPriceConformance):
    def make(self, context):
        return IndexMark(context, NoOptions())


class TestFairBasisMark(MarkPriceConformance):
    def make(self, context):
        return FairBasisMark(context, NoOptions())


class TakesAnyMarket(WeightedIndex):
    def update(self, quotes, at_ns, /):
        return super().update([attrs.evolve(quote, market=1) for quote in quotes], at_ns)


class RoundsAway(WeightedIndex):
    def update(self, quotes, at_ns, /):
        found = super().update(quotes, at_ns)
        return attrs.evolve(found, price_ticks=found.price_ticks + 1 if found.price_ticks else 0)


class StartsAtOne(WeightedIndex):
    def __init__(self, context, options):
        super().__init__(context, options)
        self._price_ticks = 1


class AlwaysOk(WeightedIndex):
    def update(self, quotes, at_ns, /):
        found = super().update(quotes, at_ns)
        state = PriceState.OK if found.state is PriceState.DEGRADED else found.state
        return attrs.evolve(found, state=state)


class NeverStale(WeightedIndex):
    def update(self, quotes, at_ns, /):
        self._last = {source: attrs.evolve(quote, at_ns=at_ns) for source, quote in self._last.items()}
        return super().update(quotes, at_ns)


class NeverForgives(WeightedIndex):
    """Once left out, always left out."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._banned = set()

    def _judge(self, quote, at_ns, doubled_median):
        judged = super()._judge(quote, at_ns, doubled_median)
        if judged is not LeftOut.USED:
            self._banned.add(quote.source)
        return LeftOut.DEVIATES if quote.source in self._banned and judged is LeftOut.USED else judged


class BelievesEverybody(WeightedIndex):
    def _judge(self, quote, at_ns, doubled_median):
        return super()._judge(quote, at_ns, None)


class BelievesTheFuture(WeightedIndex):
    def update(self, quotes, at_ns, /):
        found = super().update(quotes, at_ns)
        self._last.update({quote.source: quote for quote in quotes})
        return found


class ForgetsItsSources(WeightedIndex):
    def load(self, state, /):
        super().load(state)
        self._last.clear()


class OtherMarket(IndexMark):
    def update(self, inputs, /):
        return attrs.evolve(super().update(inputs), market=2)


class Unlisted(IndexMark):
    def update(self, inputs, /):
        found = super().update(inputs)
        return attrs.evolve(found, price_ticks=found.price_ticks + 950)


class NeverFrozen(IndexMark):
    def update(self, inputs, /):
        return attrs.evolve(super().update(inputs), state=PriceState.OK)


class ReadsTheOwnBook(IndexMark):
    def update(self, inputs, /):
        found = super().update(inputs)
        return attrs.evolve(found, price_ticks=inputs.bids[0].price_ticks) if inputs.bids else found


class StaysBehind(IndexMark):
    def update(self, inputs, /):
        found = super().update(inputs)
        self._first = getattr(self, "_first", found.price_ticks)
        return attrs.evolve(found, price_ticks=(found.price_ticks + self._first) // 2)


FAULTS = [
    (IndexPriceConformance, TakesAnyMarket, "INDEX-010"),
    (IndexPriceConformance, RoundsAway, "INDEX-020"),
    (IndexPriceConformance, StartsAtOne, "INDEX-030"),
    (IndexPriceConformance, RoundsAway, "INDEX-040"),
    (IndexPriceConformance, AlwaysOk, "INDEX-050"),
    (IndexPriceConformance, NeverStale, "INDEX-060"),
    (IndexPriceConformance, NeverForgives, "INDEX-070"),
    (IndexPriceConformance, BelievesEverybody, "INDEX-080"),
    (IndexPriceConformance, BelievesTheFuture, "INDEX-090"),
    (IndexPriceConformance, ForgetsItsSources, "INDEX-950"),
    (MarkPriceConformance, OtherMarket, "MARK-010"),
    (MarkPriceConformance, Unlisted, "MARK-020"),
    (MarkPriceConformance, NeverFrozen, "MARK-030"),
    (MarkPriceConformance, ReadsTheOwnBook, "MARK-040"),
    (MarkPriceConformance, StaysBehind, "MARK-050"),
]


@pytest.mark.parametrize(("suite", "faulty", "rule"), FAULTS)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(suite, faulty, rule):
    class Suite(suite):
        def make(self, context):
            return faulty(context, WeightedIndexOptions() if suite is IndexPriceConformance else NoOptions())

    assert broken(Suite(), rule)
