"""The rules of the port, for the book as the port sees it, and for one that is driven by records beneath."""

from perpkit.model.order import MatchPlan, Order
from perpkit.ports import MarketContext, OrderBook
from perpkit.testing.conformance import OrderBookConformance
from perpkit_fast import FastBook


class Reloaded:
    """A fast book that is dumped and loaded as records after every change: a dump says all there is."""

    def __init__(self, context: MarketContext) -> None:
        self._book = FastBook(context)

    def __getattr__(self, name: str) -> object:
        return getattr(self._book, name)

    def commit(self, plan: MatchPlan, /) -> None:
        self._book.commit(plan)
        self._book.load_records(self._book.dump_records())

    def load(self, orders: list[Order], /) -> None:
        self._book.load(orders)
        self._book.load_records(self._book.dump_records())


class TestFastBook(OrderBookConformance):
    capabilities = frozenset({"fused"})

    def make(self, context: MarketContext) -> OrderBook:
        return FastBook(context)


class TestReloaded(OrderBookConformance):
    def make(self, context: MarketContext) -> OrderBook:
        return Reloaded(context)
