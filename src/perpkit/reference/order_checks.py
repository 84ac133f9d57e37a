"""Order checks: no order far through the mark, none for too large a position, market or number of orders."""

import attrs

from perpkit.errors import ConfigError
from perpkit.model.order import Side
from perpkit.ports.context import MarketContext
from perpkit.ports.trading import OrderCase
from perpkit.units import SCALE, Lots, ppb


@attrs.frozen(kw_only=True)
class PriceBandOptions:
    """How far through the mark an order may reach, as text such as "10%"."""

    band: str = "10%"


class PriceBandCheck:
    """Against the classic slip of a finger: refuse a buy above mark·(1 + band) and a sell below mark·(1 − band).

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

    def admits(self, case: OrderCase, /) -> bool:
        """Say whether the limit is within the band; its edge belongs to it."""
        price, mark = case.order.price_ticks * SCALE, case.mark.price_ticks
        if case.order.side is Side.BUY:
            return price <= mark * (SCALE + self._band_ppb)
        return price >= mark * (SCALE - self._band_ppb)


@attrs.frozen(kw_only=True)
class PositionLimitOptions:
    """How much an account may hold on one side of a market, as text in units of size such as "10"."""

    most: str


class PositionLimitCheck:
    """Refuse an order by which its account could hold more than `most` on one side, all its positions together.

    Counted as if the order and all that rest on its side had filled, what they would close of the order's own position
    not counted. What only reduces comes in, however much is held.

    Raises:
        ConfigError: `most` is not positive.
        UnitsError: `most` is not a number, or not a whole number of lots.
    """

    def __init__(self, context: MarketContext, options: PositionLimitOptions) -> None:
        self._most_lots = _lots(context, options.most, "position-limit")

    def admits(self, case: OrderCase, /) -> bool:
        """Say whether the position that could come of it is within the limit."""
        order = case.order
        if order.side is Side.BUY:
            held, resting = case.long_lots, case.open_buy_lots
        else:
            held, resting = case.short_lots, case.open_sell_lots
        could_fill = resting + order.size_lots
        closes = min(max(0, -order.side * case.position_lots), could_fill)
        return order.reduce_only or held + could_fill - closes <= self._most_lots


@attrs.frozen(kw_only=True)
class OpenInterestCapOptions:
    """How much may be open in the market, as text in units of size such as "1000"."""

    most: str


class OpenInterestCapCheck:
    """Refuse an order that could bring the open interest of its market above `most`.

    Any order that is not reduce-only counts with its whole size. Unlike the market's own `open_interest_max`, which
    counts what trades at once, it keeps orders from resting as well.

    Raises:
        ConfigError: `most` is not positive.
        UnitsError: `most` is not a number, or not a whole number of lots.
    """

    def __init__(self, context: MarketContext, options: OpenInterestCapOptions) -> None:
        self._most_lots = _lots(context, options.most, "open-interest-cap")

    def admits(self, case: OrderCase, /) -> bool:
        """Say whether there is room for the whole order."""
        return case.order.reduce_only or case.open_interest_lots + case.order.size_lots <= self._most_lots


@attrs.frozen(kw_only=True)
class MaxOpenOrdersOptions:
    """How many orders of an account may rest in the market."""

    most: int


class MaxOpenOrdersCheck:
    """Refuse an order that could rest beside `most` others of its account; an immediate one comes in.

    Raises:
        ConfigError: `most` is not positive.
    """

    def __init__(self, _context: MarketContext, options: MaxOpenOrdersOptions) -> None:
        if options.most <= 0:
            raise ConfigError(f"max-open-orders: expected most above 0, was {options.most}")
        self._most = options.most

    def admits(self, case: OrderCase, /) -> bool:
        """Say whether one more may rest."""
        return case.order.time_in_force.immediate or case.open_orders < self._most


def _lots(context: MarketContext, most: str, check: str) -> Lots:
    lots = context.market.lot.parse(most, "most")
    if lots <= 0:
        raise ConfigError(f"{check}: expected most above 0, was {most}")
    return lots
