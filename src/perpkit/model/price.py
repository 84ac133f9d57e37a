"""Prices from outside: quotes, the index with its provenance, and the mark."""

from enum import IntEnum

import attrs

from perpkit.model.ids import MarketId, SourceId
from perpkit.model.order import Level
from perpkit.units import Nanos, Ppb, Ticks


class PriceState(IntEnum):
    """Whether a price may be acted on: all sources used, some left out, or too few to trust."""

    OK = 1
    DEGRADED = 2
    FROZEN = 3


class LeftOut(IntEnum):
    """Why an index source was not used."""

    USED = 0
    STALE = 1
    DEVIATES = 2


@attrs.frozen(kw_only=True)
class Quote:
    """One source's price for one market, with the weight that its volume gives it."""

    market: MarketId
    source: SourceId
    price_ticks: Ticks
    weight: int
    at_ns: Nanos


@attrs.frozen(kw_only=True)
class SourceReading:
    """What the index thought of one source at one moment."""

    source: SourceId
    price_ticks: Ticks
    age_ns: Nanos
    weight: int
    left_out: LeftOut


@attrs.frozen(kw_only=True)
class IndexPrice:
    """The index and where it came from. `price_ticks` 0: there has been none yet."""

    market: MarketId
    price_ticks: Ticks
    state: PriceState
    at_ns: Nanos
    sources: tuple[SourceReading, ...] = ()


@attrs.frozen(kw_only=True)
class Mark:
    """The price that values positions and triggers liquidation. `price_ticks` 0: there has been none yet."""

    market: MarketId
    price_ticks: Ticks
    state: PriceState
    at_ns: Nanos


@attrs.frozen(kw_only=True)
class PricingInputs:
    """What a mark or a funding model may look at. An own-book-free mark is given no depth and no funding."""

    index: IndexPrice
    at_ns: Nanos
    funding_ppb: Ppb = 0
    to_funding_ns: Nanos = 0
    interval_ns: Nanos = 0
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
