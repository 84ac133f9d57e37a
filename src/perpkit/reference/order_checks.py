"""Order check `price-band`: refuses what would trade far from the mark, the classic slip of a finger."""

import attrs

from perpkit.errors import ConfigError
from perpkit.model.order import Order, Side
from perpkit.model.price import Mark
from perpkit.ports.context import MarketContext
from perpkit.units import SCALE, Ticks, ppb


@attrs.frozen(kw_only=True)
class PriceBandOptions:
    """How far through the mark an order may reach, as text such as "10%"."""

    band: str = "10%"


class PriceBandCheck:
    """Refuse a buy above mark·(1 + band) and a sell below mark·(1 − band).

    An order that waits far on its own side of the mark harms nobody and is admitted. Market orders count at
    their bound, so a band narrower than the market's slippage bound refuses them.

    Raises:
        ConfigError: the band is negative.
        UnitsError: the band is not a number, or finer than one part per billion.
    """

    def __init__(self, _context: MarketContext, options: PriceBandOptions) -> None:
        self._band_ppb = ppb(options.band, "band")
        if self._band_ppb < 0:
            raise ConfigError(f"price-band: expected a band of zero or more, was {options.band}")

    def admits(self, order: Order, mark: Mark, _best_bid: Ticks | None, _best_ask: Ticks | None, /) -> bool:
        """Say whether the limit is within the band; its edge belongs to it."""
        price = order.price_ticks * SCALE
        if order.side is Side.BUY:
            return price <= mark.price_ticks * (SCALE + self._band_ppb)
        return price >= mark.price_ticks * (SCALE - self._band_ppb)
