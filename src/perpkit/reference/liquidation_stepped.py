"""Liquidation `stepped`: close on the book bracket by bracket, give only the rest to the house."""

from perpkit.model.market import MarketSpec, bracket_index
from perpkit.model.position import Exposure
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, Settled, Step
from perpkit.reference.liquidation_takeover import has_orders, last_solvent_price, neediest, take_over
from perpkit.units import Lots


class SteppedLiquidation:
    """For each position: cancel the pool's orders in its market, reduce on the book, and then take it over.

    Each reduction brings the account's size in the market down to the next lower bracket, bounded at the
    bankruptcy price, and the need is judged again after it. A position in the lowest bracket, and one for
    which the book had nothing within the bound, is taken over whole.

    Source:
        BitMEX's staged liquidation. It differs in that a reduction is immediate-or-cancel, not fill-or-
        kill, so what the book can take is used, and in that the orders go before the bracket is looked at.
    """

    def __init__(self, context: ExchangeContext, _options: NoOptions) -> None:
        self._markets = context.markets

    def next_step(self, case: Case, /) -> Step:
        """Return the next cancellation, close or take-over; settled when nothing is left to touch."""
        exposure = neediest(case)
        if exposure is None:
            return Settled()
        if has_orders(case, exposure):
            return CancelOrders(market=exposure.market)
        market = self._markets[exposure.market]
        size_lots = 0 if case.stalled else _excess_lots(case, exposure, market)
        if not size_lots:
            return take_over(case, exposure, market)
        return CloseOnBook(
            market=exposure.market,
            position_id=exposure.position_id,
            size_lots=size_lots,
            limit_ticks=last_solvent_price(case, exposure, market),
        )


def _excess_lots(case: Case, exposure: Exposure, market: MarketSpec) -> Lots:
    # What must close to reach the next lower bracket; 0 in the lowest one.
    mark_ticks = case.marks[exposure.market].price_ticks
    bracket = bracket_index(market.brackets, market.requirement_base(exposure.gross_lots, mark_ticks))
    if not bracket:
        return 0
    kept_lots = market.lots_required_within(market.brackets[bracket - 1].up_to_units, mark_ticks)
    return min(max(exposure.gross_lots - kept_lots, 1), abs(exposure.size_lots))
