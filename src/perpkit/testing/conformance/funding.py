"""What a funding model has to keep."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.price import PricingInputs
from perpkit.plugin import FUNDING
from perpkit.ports import FundingModel, MarketContext
from perpkit.testing.builders import depth, index, mark, market_context
from perpkit.testing.conformance.base import FoldConformance, law, rule
from perpkit.units import HOUR_NS, SCALE, SECOND_NS, Lots, Nanos, Ppb, Ticks

START_NS, DAY_NS = 8 * HOUR_NS, 24 * HOUR_NS
CONTEXT = market_context()
INDEX_TICKS = 500
AFTER = st.integers(0, 60 * 365 * DAY_NS)
DEPTHS = st.lists(st.tuples(st.integers(10, 1_000), st.integers(1, 500)), max_size=1)
PREMIUMS = st.integers(-40, 40)


def inputs(at_ns: Nanos, bids: Sequence[tuple[Ticks, Lots]], asks: Sequence[tuple[Ticks, Lots]]) -> PricingInputs:
    """Return what the engine shows at a stamp: an index of 500, and a book."""
    shown = {"to_funding_ns": HOUR_NS, "interval_ns": 8 * HOUR_NS}
    found = index(INDEX_TICKS, at_ns=at_ns)
    return PricingInputs(index=found, at_ns=at_ns, bids=depth(*bids), asks=depth(*asks), **shown)


def sample(part: FundingModel, at_ns: Nanos, premium_ticks: Ticks) -> None:
    """Show a deep book and a mark, both so far above the index."""
    price = INDEX_TICKS + premium_ticks
    shown = inputs(at_ns, [(price - 1, 10_000)], [(price + 1, 10_000)])
    part.sample(shown, mark(price, at_ns=at_ns))


def interval(part: FundingModel, from_ns: Nanos, *premiums_ticks: Ticks) -> Nanos:
    """Sample the premiums in the last seconds of the interval that runs at a stamp; return when it ends."""
    end_ns = part.next_ns(from_ns) or from_ns + 8 * HOUR_NS
    for number, each in enumerate(premiums_ticks, start=1):
        sample(part, end_ns - (len(premiums_ticks) - number) * SECOND_NS, each)
    return end_ns


def closed(part: FundingModel, from_ns: Nanos, *premiums_ticks: Ticks) -> tuple[Nanos, Ppb]:
    """Sample an interval and end it; return when, and the rate."""
    end_ns = interval(part, from_ns, *premiums_ticks)
    return end_ns, part.close(end_ns)


class FundingConformance(FoldConformance[FundingModel, MarketContext]):
    """Premium samples to a rate at each stamp; see `perpkit.ports.prices`."""

    port = FUNDING
    code = "FUNDING"

    def context(self) -> MarketContext:
        """Return a linear market of ticks of 1."""
        return CONTEXT

    def exercise(self, part: FundingModel) -> list[object]:
        """Pay for a dear interval, a cheap one and an empty one, and look at the next while it runs."""
        answers: list[object] = [part.rate_ppb(), part.next_ns(START_NS), part.next_ns(START_NS + DAY_NS)]
        at_ns = START_NS
        for premiums in ((3, 9, 1), (-7, -2), ()):
            at_ns, rate = closed(part, at_ns, *premiums)
            answers.append(rate)
        sample(part, at_ns + SECOND_NS, 20)
        return [*answers, part.rate_ppb()]

    @rule(10, "a rate is whole, and from -1 to 1")
    @law
    @given(books=st.lists(st.tuples(DEPTHS, DEPTHS, st.integers(10, 1_000)), max_size=3))
    def test_bounds(self, books: list[tuple[list[tuple[Ticks, Lots]], list[tuple[Ticks, Lots]], Ticks]]) -> None:
        """However far off the book and the mark are, with a side or both empty, and without a sample."""
        part, at_ns = self.made(), START_NS
        for bids, asks, mark_ticks in books:
            at_ns += SECOND_NS
            part.sample(inputs(at_ns, bids, asks), mark(mark_ticks, at_ns=at_ns))
        end_ns = interval(part, at_ns)
        for rate in (part.rate_ppb(), part.close(end_ns), part.rate_ppb()):
            assert type(rate) is int
            assert -SCALE <= rate <= SCALE

    @rule(20, "the next stamp is strictly later")
    @law
    @given(after_ns=AFTER)
    def test_forward(self, after_ns: Nanos) -> None:
        """From a stamp too; None says that this market pays no funding."""
        part = self.made()
        for _ in range(3):
            stamp_ns = part.next_ns(after_ns)
            if stamp_ns is None:
                return
            assert type(stamp_ns) is int
            assert stamp_ns > after_ns
            after_ns = stamp_ns

    @rule(30, "the next stamp is the first: whoever asks later, and before it, is told the same")
    @law
    @given(after_ns=AFTER, part_of_gap=st.integers(0, 99))
    def test_first(self, after_ns: Nanos, part_of_gap: int) -> None:
        """No stamp is missed, however often or seldom prices come."""
        part = self.made()
        stamp_ns = part.next_ns(after_ns)
        if stamp_ns is not None:
            between_ns = after_ns + (stamp_ns - after_ns) * part_of_gap // 100
            assert part.next_ns(between_ns) == stamp_ns
            assert self.made().next_ns(stamp_ns - 1) == stamp_ns

    @rule(40, "asking for the rate and for the next stamp changes nothing")
    def test_reads(self) -> None:
        """They are asked at every price."""
        part = self.made()
        sample(part, START_NS, 9)
        before, rate = part.dump(), part.rate_ppb()
        assert (part.rate_ppb(), part.next_ns(START_NS)) == (rate, part.next_ns(START_NS))
        assert part.dump() == before

    @rule(50, "what is paid is the rate that stood")
    @law
    @given(premiums=st.lists(st.lists(PREMIUMS, min_size=1, max_size=2), min_size=1, max_size=3))
    def test_rate_that_stood(self, premiums: list[list[Ticks]]) -> None:
        """A trader who looks at the last price of an interval knows what it will cost."""
        part, at_ns = self.made(), START_NS
        for each in premiums:
            at_ns = interval(part, at_ns, *each)
            stood = part.rate_ppb()
            assert part.close(at_ns) == stood

    @rule(60, "an interval that is over does not count for ever")
    def test_starts_anew(self) -> None:
        """After three more that were the same for two markets, nobody can tell which of them it was once dear in."""
        rates = []
        for first in (40, -40):
            part = self.made()
            at_ns, _ = closed(part, START_NS, first, first, first)
            for _ in range(3):
                at_ns, rate = closed(part, at_ns, 1, 2)
            rates.append((rate, part.rate_ppb()))
        assert rates[0] == rates[1]

    @rule(70, "a higher premium never gives a lower rate")
    @law
    @given(premiums=st.lists(PREMIUMS, min_size=1, max_size=3), more=st.integers(1, 40))
    def test_direction(self, premiums: list[Ticks], more: Ticks) -> None:
        """So that whoever drives the price away from the index pays for it; a market above it never pays the longs."""
        rates = []
        for shift in (0, more):
            part, at_ns, paid = self.made(), START_NS, []
            for _ in range(2):
                at_ns, rate = closed(part, at_ns, *(each + shift for each in premiums))
                paid.append(rate)
            rates.append(paid)
        assert all(low <= high for low, high in zip(*rates, strict=True))
