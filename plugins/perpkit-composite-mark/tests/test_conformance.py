"""The rules of the port, for composites that may and that may not look at the book."""

from perpkit_composite_mark.part import CompositeMark, CompositeMarkOptions

from perpkit.ports import MarketContext, MarkPrice
from perpkit.testing.conformance import MarkPriceConformance


class TestOfIndexAndFairBasis(MarkPriceConformance):
    def make(self, context: MarketContext) -> MarkPrice:
        return CompositeMark(context, CompositeMarkOptions())


class TestOwnBookFree(MarkPriceConformance):
    def make(self, context: MarketContext) -> MarkPrice:
        return CompositeMark(context, CompositeMarkOptions(of=["index", "index"]))
