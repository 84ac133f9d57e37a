"""The rules of the port, for composites that may and that may not look at the book."""

from perpkit.ports import MarketContext, MarkPrice
from perpkit.testing.conformance import MarkPriceConformance
from perpkit_composite_mark.part import CompositeMark, CompositeMarkOptions


class TestOfIndexAndFairBasis(MarkPriceConformance):
    def make(self, context: MarketContext) -> MarkPrice:
        return CompositeMark(context, CompositeMarkOptions())


class TestOwnBookFree(MarkPriceConformance):
    def make(self, context: MarketContext) -> MarkPrice:
        return CompositeMark(context, CompositeMarkOptions(of=["index", "index"]))
