"""Marks: `index` is the index itself, `fair-basis` adds what funding will move until it is paid."""

from perpkit.model.price import Mark, PricingInputs
from perpkit.plugin import NoOptions
from perpkit.ports.context import MarketContext
from perpkit.units import SCALE, div_half_even


class IndexMark:
    """The index is the mark, so no trade here can move it."""

    own_book_free = True

    def __init__(self, _context: MarketContext, _options: NoOptions) -> None: ...

    def update(self, inputs: PricingInputs, /) -> Mark:
        """Return the price and the state of the index."""
        index = inputs.index
        return Mark(market=index.market, price_ticks=index.price_ticks, state=index.state, at_ns=inputs.at_ns)

    def dump(self) -> bytes:
        """Return the empty state."""
        return b"{}"

    def load(self, _state: bytes, /) -> None:
        """Take the empty state."""


class FairBasisMark:
    """index · (1 + funding rate · time to funding / funding interval), within the listed prices.

    Not own-book-free: the own book enters through the funding rate, which has a cap.

    Rounds:
        Half to even, to the tick.

    Source:
        BitMEX's fair price marking for perpetual contracts.
    """

    own_book_free = False

    def __init__(self, context: MarketContext, _options: NoOptions) -> None:
        self._market = context.market

    def update(self, inputs: PricingInputs, /) -> Mark:
        """Return the fair price, in the state of the index; the index itself where there is no interval."""
        index = inputs.index
        price = index.price_ticks
        if price and inputs.interval_ns:  # a price of 0 means that there has been none yet
            whole = SCALE * inputs.interval_ns
            basis = inputs.funding_ppb * inputs.to_funding_ns
            price = self._market.within(div_half_even(price * (whole + basis), whole))
        return Mark(market=index.market, price_ticks=price, state=index.state, at_ns=inputs.at_ns)

    def dump(self) -> bytes:
        """Return the empty state."""
        return b"{}"

    def load(self, _state: bytes, /) -> None:
        """Take the empty state."""
