"""Indexes `weighted` and `weighted-median`: the mean or median of the sources that are fresh and near one another."""

import json
from collections.abc import Sequence
from itertools import accumulate

import attrs

from perpkit.model.ids import SourceId
from perpkit.model.price import IndexPrice, LeftOut, PriceState, Quote, SourceReading
from perpkit.ports.context import MarketContext
from perpkit.units import SCALE, SECOND_NS, Nanos, Ppb, Ticks, div_floor, div_half_even

_Weighed = tuple[Ticks, int]  # a price that is used, and what it weighs

MEDIAN_SOURCES_MIN = 3
"""With fewer fresh sources a median cannot tell who is wrong, and nobody is left out for deviating."""


@attrs.frozen(kw_only=True)
class WeightedIndexOptions:
    """When either index leaves a source out, and how many it needs.

    Units:
        `deviation_ppb` is the distance from the median of the fresh sources, as a share of that median.
    """

    stale_after_seconds: int = attrs.field(default=900, validator=attrs.validators.ge(0))
    deviation_ppb: Ppb = attrs.field(default=250_000_000, validator=attrs.validators.ge(0))
    sources_min: int = attrs.field(default=3, validator=attrs.validators.ge(1))


class WeightedIndex:
    """The mean of several venues, weighted by volume; the ones that are stale or far off are left out.

    A source is known from its first quote on. It is left out while its last quote is too old or, where at
    least three are fresh, too far from their median. Re-admission is automatic: its first quote that is
    fresh and near counts again, nobody has to let it back in.

    OK: every known source is used. DEGRADED: some are left out, and `sources_min` or more are used.
    FROZEN: fewer are used, and the price stays the last good one.

    Rounds:
        The mean half to even, to the tick.

    Source:
        The index rules of BitMEX of 2017 (15 minutes, 25 % from the median with three or more sources), which
        wanted a person to let a source back in.
    """

    def __init__(self, context: MarketContext, options: WeightedIndexOptions) -> None:
        self._market = context.market.id
        self._stale_ns = options.stale_after_seconds * SECOND_NS
        self._deviation_ppb = options.deviation_ppb
        self._sources_min = options.sources_min
        self._last: dict[SourceId, Quote] = {}
        self._price_ticks: Ticks = 0

    def update(self, quotes: Sequence[Quote], at_ns: Nanos, /) -> IndexPrice:
        """Take this market's quotes among `quotes`, and return the index with every known source's reading.

        The later of two quotes of one source stands. A quote from the future counts as made now, so that a
        source with a wrong clock still goes stale.
        """
        for quote in quotes:
            if quote.market == self._market:
                self._last[quote.source] = attrs.evolve(quote, at_ns=at_ns) if quote.at_ns > at_ns else quote
        readings = self._readings(at_ns)
        used = [reading for reading in readings if reading.left_out is LeftOut.USED]
        if len(used) < self._sources_min:
            state = PriceState.FROZEN
        else:
            state = PriceState.OK if len(used) == len(readings) else PriceState.DEGRADED
            self._price_ticks = self._average(_weighed(used))
        return IndexPrice(
            market=self._market, price_ticks=self._price_ticks, state=state, at_ns=at_ns, sources=readings
        )

    def dump(self) -> bytes:
        """Return the last good price and each source's last quote."""
        quotes = [self._last[source] for source in sorted(self._last)]
        state = {
            "price_ticks": self._price_ticks,
            "quotes": [[quote.source, quote.price_ticks, quote.weight, quote.at_ns] for quote in quotes],
        }
        return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()

    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        fields = json.loads(state)
        self._price_ticks = fields["price_ticks"]
        self._last = {
            source: Quote(market=self._market, source=source, price_ticks=price, weight=weight, at_ns=at_ns)
            for source, price, weight, at_ns in fields["quotes"]
        }

    def _average(self, prices: Sequence[_Weighed]) -> Ticks:
        return div_half_even(sum(price * weight for price, weight in prices), sum(weight for _, weight in prices))

    def _readings(self, at_ns: Nanos) -> tuple[SourceReading, ...]:
        quotes = [self._last[source] for source in sorted(self._last)]
        fresh = [quote.price_ticks for quote in quotes if at_ns - quote.at_ns <= self._stale_ns]
        doubled = _doubled_median(fresh) if len(fresh) >= MEDIAN_SOURCES_MIN else None
        return tuple(
            SourceReading(
                source=quote.source,
                price_ticks=quote.price_ticks,
                age_ns=at_ns - quote.at_ns,
                weight=quote.weight,
                left_out=self._judge(quote, at_ns, doubled),
            )
            for quote in quotes
        )

    def _judge(self, quote: Quote, at_ns: Nanos, doubled_median: Ticks | None) -> LeftOut:
        if at_ns - quote.at_ns > self._stale_ns:
            return LeftOut.STALE
        if doubled_median is None:
            return LeftOut.USED
        distance = abs(2 * quote.price_ticks - doubled_median)
        if distance * SCALE > self._deviation_ppb * doubled_median:
            return LeftOut.DEVIATES
        return LeftOut.USED


class WeightedMedianIndex(WeightedIndex):
    """The price with half of the weight at or below it and half at or above it; in all else as `weighted`.

    One source that is wrong by less than the deviation limit still moves a mean by its share: a fifth of the
    weight, 20 % off, by 4 %. A median stays among the prices of the others, however far off that source is,
    until half of the weight moves.

    Rounds:
        Where exactly half of the weight lies on either side, the mean of the two prices there, half to even,
        to the tick.

    Source:
        Hyperliquid's oracle: the weighted median of the spot prices of eight venues. There the median is the
        whole rule about outliers; here a source that is stale or far off is left out first.
    """

    def _average(self, prices: Sequence[_Weighed]) -> Ticks:
        rising = sorted(prices)
        return div_half_even(_half_way(rising) + _half_way(rising[::-1]), 2)


def _doubled_median(prices: Sequence[Ticks]) -> Ticks:
    # Twice the median: whole also where an even count puts it between two prices.
    ordered = sorted(prices)
    middle = div_floor(len(ordered), 2)
    return ordered[middle] + ordered[-1 - middle]


def _weighed(used: Sequence[SourceReading]) -> list[_Weighed]:
    # Where nobody has any weight, each counts the same.
    any_weight = any(reading.weight for reading in used)
    return [(reading.price_ticks, reading.weight if any_weight else 1) for reading in used]


def _half_way(prices: Sequence[_Weighed]) -> Ticks:
    # The first price with which half of the weight is reached.
    reached = list(accumulate(weight for _, weight in prices))
    return next(price for (price, _), so_far in zip(prices, reached, strict=True) if 2 * so_far >= reached[-1])
