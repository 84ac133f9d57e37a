"""What an index and a mark have to keep."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.order import Level
from perpkit.model.price import IndexPrice, LeftOut, PriceState, PricingInputs
from perpkit.plugin import INDEX_PRICE, MARK_PRICE
from perpkit.ports import IndexPriceSource, MarketContext, MarkPrice
from perpkit.testing.builders import index, market_context, quotes
from perpkit.testing.conformance.base import FoldConformance, law, rule
from perpkit.testing.strategies import price_paths
from perpkit.units import HOUR_NS, MINUTE_NS, Ppb, Ticks

START_NS, DAY_NS = 8 * HOUR_NS, 24 * HOUR_NS
SOURCES = 5
DEPTHS = st.lists(st.tuples(st.integers(12, 900), st.integers(1, 500)), max_size=2)


class IndexPriceConformance(FoldConformance[IndexPriceSource, MarketContext]):
    """Quotes of many venues to one price with provenance; see `perpkit.ports.prices`."""

    port = INDEX_PRICE
    code = "INDEX"

    def context(self) -> MarketContext:
        """Return a linear market of ticks of 1."""
        return market_context()

    def exercise(self, part: IndexPriceSource) -> list[object]:
        """Agree, drift, differ, fall silent and come back."""
        return [
            part.update(quotes(100, 101, 99, 100, 100, at_ns=START_NS), START_NS),
            part.update(quotes(110, 112, at_ns=START_NS + MINUTE_NS), START_NS + MINUTE_NS),
            part.update(quotes(110, 900, 111, 109, 112, at_ns=START_NS + HOUR_NS), START_NS + HOUR_NS),
            part.update((), START_NS + DAY_NS),
            part.update(quotes(90, 91, 92, 90, 90, at_ns=START_NS + DAY_NS), START_NS + DAY_NS + MINUTE_NS),
        ]

    @rule(10, "an index is of its market, at the stamp it is asked for")
    def test_of_its_market(self) -> None:
        """Quotes of other markets do not count."""
        part = self.made()
        found = part.update(quotes(*[100] * SOURCES, at_ns=START_NS), START_NS)
        assert (found.market, found.at_ns) == (1, START_NS)
        foreign = quotes(*[500] * SOURCES, market=2, at_ns=START_NS)
        assert self.made().update((*quotes(*[100] * SOURCES, at_ns=START_NS), *foreign), START_NS) == found

    @rule(20, "sources that agree give their price, and the state is OK")
    def test_agreement(self) -> None:
        """Nobody is left out."""
        found = self.made().update(quotes(*[123] * SOURCES, at_ns=START_NS), START_NS)
        assert (found.price_ticks, found.state) == (123, PriceState.OK)
        assert [reading.left_out for reading in found.sources] == [LeftOut.USED] * SOURCES

    @rule(30, "before the first quote there is no price")
    def test_no_price(self) -> None:
        """That is said by a price of 0, FROZEN."""
        found = self.made().update((), START_NS)
        assert (found.price_ticks, found.state) == (0, PriceState.FROZEN)

    @rule(40, "an index lies between the sources that it uses")
    @law
    @given(prices=st.lists(st.integers(10, 1_000), min_size=1, max_size=7))
    def test_between_sources(self, prices: list[Ticks]) -> None:
        """Whenever it is not frozen."""
        found = self.made().update(quotes(*prices, at_ns=START_NS), START_NS)
        used = [reading.price_ticks for reading in found.sources if reading.left_out is LeftOut.USED]
        if found.state is not PriceState.FROZEN:
            assert min(used) <= found.price_ticks <= max(used)

    @rule(50, "OK uses all sources, DEGRADED leaves some out, and every source has one reading")
    @law
    @given(prices=st.lists(st.integers(10, 1_000), min_size=1, max_size=7))
    def test_states(self, prices: list[Ticks]) -> None:
        """Readings come in the order of the sources' numbers."""
        found = self.made().update(quotes(*prices, at_ns=START_NS), START_NS)
        left_out = [reading for reading in found.sources if reading.left_out is not LeftOut.USED]
        assert [reading.source for reading in found.sources] == list(range(1, len(prices) + 1))
        if found.state is PriceState.OK:
            assert not left_out
        if found.state is PriceState.DEGRADED:
            assert left_out

    @rule(60, "sources that fall silent freeze the index at its last good price")
    def test_silence(self) -> None:
        """A day without quotes is silence for anybody."""
        part = self.made()
        part.update(quotes(*[100] * SOURCES, at_ns=START_NS), START_NS)
        found = part.update((), START_NS + DAY_NS)
        assert (found.price_ticks, found.state) == (100, PriceState.FROZEN)
        assert {reading.left_out for reading in found.sources} == {LeftOut.STALE}

    @rule(70, "a source that speaks again counts again, without anybody's help")
    def test_readmission(self) -> None:
        """After silence, and after a price far off."""
        part = self.made()
        part.update(quotes(100, 100, 100, 100, 900, at_ns=START_NS), START_NS)
        part.update((), START_NS + DAY_NS)
        found = part.update(quotes(*[120] * SOURCES, at_ns=START_NS + DAY_NS), START_NS + DAY_NS)
        assert (found.price_ticks, found.state) == (120, PriceState.OK)

    @rule(80, "one source far off cannot move the index beyond the others")
    @law
    @given(others=st.lists(st.integers(98, 102), min_size=4, max_size=4), wrong=st.integers(10, 1_000))
    def test_one_liar(self, others: list[Ticks], wrong: Ticks) -> None:
        """Four of five stand within two of 100; the fifth says what it likes, and is worth ten ticks at most."""
        found = self.made().update(quotes(*others, wrong, at_ns=START_NS), START_NS)
        assert min(others) - 10 <= found.price_ticks <= max(others) + 10

    @rule(90, "a quote from the future grows stale as if it were made now")
    def test_clock_ahead(self) -> None:
        """A source with a wrong clock must not be fresh for ever."""
        part = self.made()
        part.update(quotes(*[100] * SOURCES, at_ns=START_NS + 30 * DAY_NS), START_NS)
        assert part.update((), START_NS + DAY_NS).state is PriceState.FROZEN


class MarkPriceConformance(FoldConformance[MarkPrice, MarketContext]):
    """The price that values positions and liquidates; see `perpkit.ports.prices`."""

    port = MARK_PRICE
    code = "MARK"

    def context(self) -> MarketContext:
        """Return a linear market of ticks of 1."""
        return market_context()

    def exercise(self, part: MarkPrice) -> list[object]:
        """Follow an index up, down, frozen and back, with a book and funding where they may be looked at."""
        path = [(100, PriceState.OK), (130, PriceState.DEGRADED), (130, PriceState.FROZEN), (90, PriceState.OK)]
        indexes = [index(price, at_ns=START_NS + n * MINUTE_NS, state=state) for n, (price, state) in enumerate(path)]
        return [part.update(self.inputs(each, own_book=not part.own_book_free)) for each in indexes]

    def inputs(
        self,
        index_price: IndexPrice,
        *,
        own_book: bool = False,
        bids: Sequence[tuple[Ticks, int]] = ((99, 10),),
        asks: Sequence[tuple[Ticks, int]] = ((101, 10),),
        funding_ppb: Ppb = 100_000,
    ) -> PricingInputs:
        """Return what the engine would show; without `own_book`, nothing that trading here can move."""
        if not own_book:
            return PricingInputs(index=index_price, at_ns=index_price.at_ns)
        return PricingInputs(
            index=index_price,
            at_ns=index_price.at_ns,
            funding_ppb=funding_ppb,
            to_funding_ns=4 * HOUR_NS,
            interval_ns=8 * HOUR_NS,
            bids=tuple(Level(price_ticks=price, size_lots=lots, orders=1) for price, lots in bids),
            asks=tuple(Level(price_ticks=price, size_lots=lots, orders=1) for price, lots in asks),
        )

    @rule(10, "a mark is of its market, at the stamp it is asked for")
    def test_of_its_market(self) -> None:
        """The engine refuses another."""
        part = self.made()
        found = part.update(self.inputs(index(100, at_ns=START_NS), own_book=not part.own_book_free))
        assert (found.market, found.at_ns) == (1, START_NS)

    @rule(20, "a mark is a listed price")
    @law
    @given(path=price_paths(length_max=5), bids=DEPTHS, asks=DEPTHS, funding_ppb=st.integers(-(10**9), 10**9))
    def test_listed(
        self, path: list[Ticks], bids: list[tuple[Ticks, int]], asks: list[tuple[Ticks, int]], funding_ppb: Ppb
    ) -> None:
        """Wherever the index goes, whatever the book and the funding rate say."""
        part, spec = self.made(), self.context().market
        for n, price in enumerate(path):
            given_index = index(price, at_ns=START_NS + n * MINUTE_NS)
            own_book = not part.own_book_free
            shown = self.inputs(given_index, own_book=own_book, bids=bids, asks=asks, funding_ppb=funding_ppb)
            assert spec.price_min_ticks <= part.update(shown).price_ticks <= spec.price_max_ticks

    @rule(30, "a mark is never surer than its index")
    @law
    @given(states=st.lists(st.sampled_from(PriceState), min_size=1, max_size=10))
    def test_state(self, states: list[PriceState]) -> None:
        """FROZEN above all: while it is, nothing may be liquidated."""
        part = self.made()
        for n, state in enumerate(states):
            given_index = index(100, at_ns=START_NS + n * MINUTE_NS, state=state)
            assert part.update(self.inputs(given_index, own_book=not part.own_book_free)).state >= state

    @rule(40, "a mark that is own-book-free does not look at the book, nor at what the book moves")
    @law
    @given(path=price_paths(length_max=5), bids=DEPTHS, asks=DEPTHS, funding_ppb=st.integers(-(10**9), 10**9))
    def test_own_book_free(
        self, path: list[Ticks], bids: list[tuple[Ticks, int]], asks: list[tuple[Ticks, int]], funding_ppb: Ppb
    ) -> None:
        """Shown a book all the same, it says the same as without."""
        part, other = self.made(), self.made()
        if part.own_book_free is not True:
            pytest.skip("says that it looks at the own book")
        for n, price in enumerate(path):
            given_index = index(price, at_ns=START_NS + n * MINUTE_NS)
            tempted = self.inputs(given_index, own_book=True, bids=bids, asks=asks, funding_ppb=funding_ppb)
            assert part.update(tempted).price_ticks == other.update(self.inputs(given_index)).price_ticks

    @rule(50, "when nothing moves for a day, the mark is the index")
    @law
    @given(first=st.integers(12, 900), then=st.integers(12, 900))
    def test_settles(self, first: Ticks, then: Ticks) -> None:
        """To the tick beside it, wherever it came from, without funding and without a book."""
        part = self.made()
        part.update(self.inputs(index(first, at_ns=START_NS)))
        at_ns = START_NS
        while at_ns < START_NS + DAY_NS:
            at_ns += 10 * MINUTE_NS
            found = part.update(self.inputs(index(then, at_ns=at_ns)))
        assert abs(found.price_ticks - then) <= 1
