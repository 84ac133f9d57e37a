"""What happens to a market and its prices."""

import attrs

from perpkit.model.ids import MarketId
from perpkit.model.market import MarketState
from perpkit.model.price import PriceState, SourceReading
from perpkit.units import Nanos, Ppb, Ticks


@attrs.frozen(kw_only=True)
class IndexUpdated:
    """The index moved or changed state; each source's price, age, weight and why it was left out."""

    market: MarketId
    price_ticks: Ticks
    state: PriceState
    sources: tuple[SourceReading, ...]


@attrs.frozen(kw_only=True)
class MarkUpdated:
    """The mark moved or changed state."""

    market: MarketId
    price_ticks: Ticks
    state: PriceState


@attrs.frozen(kw_only=True)
class FundingAccrued:
    """A funding stamp: positive, longs pay shorts. `per_lot_scaled` is in billionths of an accounting unit."""

    market: MarketId
    rate_ppb: Ppb
    per_lot_scaled: int
    next_ns: Nanos


@attrs.frozen(kw_only=True)
class MarketStateChanged:
    """A market accepts something else from now on."""

    market: MarketId
    state: MarketState
