"""Liquidation `takeover`: the house takes positions over whole, the largest need first, past the book."""

from perpkit.model.market import MarketSpec
from perpkit.model.position import Exposure
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext
from perpkit.ports.liquidation import CancelOrders, Case, Settled, Step, TakeOver
from perpkit.units import Ticks


class TakeOverLiquidation:
    """For each position: cancel the pool's orders in its market, then take it over at its bankruptcy price.

    A flat position with losses that the pool could not pay is taken over too: the debt goes with it.
    """

    def __init__(self, context: ExchangeContext, _options: NoOptions) -> None:
        self._markets = context.markets

    def next_step(self, case: Case, /) -> Step:
        """Return the next cancellation or take-over; settled when nothing is left to touch."""
        exposure = neediest(case)
        if exposure is None:
            return Settled()
        if has_orders(case, exposure):
            return CancelOrders(market=exposure.market)
        return take_over(case, exposure, self._markets[exposure.market])


def neediest(case: Case) -> Exposure | None:
    """Return the position or debt with the largest maintenance need; ties by market, then position id."""
    maintenance = {(slot.market, slot.position_id): slot.maintenance_units for slot in case.need.slots}

    def order(exposure: Exposure) -> tuple[int, int, int]:
        key = (exposure.market, exposure.position_id)
        return -maintenance.get(key, 0), *key

    held = [exposure for exposure in case.pool.exposures if exposure.size_lots or exposure.unpaid_units]
    return min(held, key=order, default=None)


def has_orders(case: Case, exposure: Exposure) -> bool:
    """Say whether orders rest on any of the pool's positions in a position's market."""
    return any(other.open_orders for other in case.pool.exposures if other.market == exposure.market)


def last_solvent_price(case: Case, exposure: Exposure, market: MarketSpec) -> Ticks:
    """Return a position's bankruptcy price; the worst listed price where none bankrupts it."""
    thresholds = case.thresholds.get((exposure.market, exposure.position_id))
    if thresholds is not None and thresholds.bankruptcy_ticks is not None:
        return thresholds.bankruptcy_ticks
    return market.price_min_ticks if exposure.size_lots > 0 else market.price_max_ticks


def take_over(case: Case, exposure: Exposure, market: MarketSpec) -> TakeOver:
    """Return the step that gives a position to the house."""
    return TakeOver(
        market=exposure.market,
        position_id=exposure.position_id,
        price_ticks=last_solvent_price(case, exposure, market),
    )
