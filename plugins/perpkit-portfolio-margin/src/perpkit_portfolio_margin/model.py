"""The margin model `portfolio`: the grid's answer, put into the terms of perpkit's margin port.

The port asks five things, and each is a question to the grid:

    need            Maintenance is the grid's need of the cross positions. The initial need is that of the book which
                    the worst of its orders would make of it, times a factor, and no less than chosen leverages ask.
    thresholds      The last listed price at which the equity still covers the need.
    closing_value   The value at the mark, less the position's share of the equity.
    opening_margin  What a position needs alone for each unit of |value|, times the factor.
    initial_ppb     The same rate, for the side that needs less.

The cross positions of a pool are one book, backed by its wallet. An isolated position is a book of its own, backed by
its own margin: nothing offsets it, and it offsets nothing.
"""

from collections.abc import Mapping, Sequence

import attrs

from perpkit.model.ids import MarketId, PositionId
from perpkit.model.position import Exposure, Need, Pool, SlotNeed, Thresholds, held_units, worst_units
from perpkit.model.price import Mark
from perpkit.ports import ExchangeContext
from perpkit.units import SCALE, Lots, Ppb, Ticks, Units, apportion, div_ceil, div_floor
from perpkit_portfolio_margin.grid import Grid


@attrs.frozen(kw_only=True)
class PortfolioOptions:
    """How far prices are thought to jump, and what is asked beyond that.

    Units:
        All in parts per billion. `shocks_ppb`: each is tried upward and downward. `floor_ppb`: the least need, as a
        share of the |values| of all positions. `initial_factor_ppb`: the initial need, as a multiple of maintenance.

    Raises:
        ValueError: a shock or the floor is not between 0 and 1, or the factor is below 1 or lifts one of them above 1.
    """

    shocks_ppb: tuple[Ppb, ...] = (40_000_000, 80_000_000, 120_000_000)
    floor_ppb: Ppb = 20_000_000
    initial_factor_ppb: Ppb = 1_300_000_000

    def __attrs_post_init__(self) -> None:
        if not self.shocks_ppb or not all(0 < rate < SCALE for rate in (*self.shocks_ppb, self.floor_ppb)):
            raise ValueError(
                f"expected shocks and a floor above 0 and below {SCALE}, was {self.shocks_ppb} and {self.floor_ppb}"
            )
        highest = max(*self.shocks_ppb, self.floor_ppb) * self.initial_factor_ppb
        if self.initial_factor_ppb < SCALE or highest > SCALE * SCALE:
            raise ValueError(
                f"expected an initial factor of at least {SCALE} with which no shock and no floor is above {SCALE}, "
                f"was {self.initial_factor_ppb}"
            )


class PortfolioMargin:
    """Margin by the worst scenario of the whole pool. Beyond the port it shows the scenarios: `scenario_losses`."""

    def __init__(self, context: ExchangeContext, options: PortfolioOptions) -> None:
        self._markets = context.markets
        self._factor_ppb = options.initial_factor_ppb
        shocks = {sign * shock for shock in options.shocks_ppb for sign in (-1, 1)}
        self._grid = Grid(markets=context.markets, shocks_ppb=tuple(sorted(shocks)), floor_ppb=options.floor_ppb)

    def scenario_losses(self, pool: Pool, marks: Mapping[MarketId, Mark], /) -> Mapping[Ppb, Units]:
        """Return what the cross positions of a pool lose under each shock, gains negative: the capability `portfolio`.

        Rounds:
            Up, once for each market and shock.
        """
        return self._grid.losses(_cross(pool), marks)

    def need(self, pool: Pool, marks: Mapping[MarketId, Mark], /) -> Need:
        """Ask the grid once for the pool, and once for each position alone.

        Rounds:
            The need up, once for each market and shock. It is allotted to the cross positions in proportion to what
            each would need alone; the parts sum to it exactly.

        Cost:
            O(positions · shocks).
        """
        cross = _cross(pool)
        maintenance = self._grid.need(cross, marks)
        alone = [self._grid.need([exposure], marks) for exposure in pool.exposures]
        weights = [units for exposure, units in zip(pool.exposures, alone, strict=True) if not _is_isolated(exposure)]
        shares = iter(apportion(maintenance, weights) if maintenance else weights)
        slots: list[SlotNeed] = []
        for exposure, units in zip(pool.exposures, alone, strict=True):
            isolated = exposure.isolated_units
            slots.append(
                SlotNeed(
                    market=exposure.market,
                    position_id=exposure.position_id,
                    maintenance_units=next(shares) if isolated is None else units,
                    equity_units=None if isolated is None else self._equity(isolated, [exposure], marks),
                )
            )
        return Need(
            equity_units=self._equity(pool.wallet_units, cross, marks),
            initial_units=pool.reserved_units + self._initial(pool, marks),
            maintenance_units=maintenance,
            slots=tuple(slots),
        )

    def thresholds(
        self, pool: Pool, market: MarketId, position_id: PositionId, marks: Mapping[MarketId, Mark], /
    ) -> Thresholds:
        """Search the listed prices while the other marks stand still.

        That is what the port asks for, and the question that a hedged book has to answer: its two prices need not move
        together. So the liquidation price of a hedge lies nearer than the price to which *all* its markets could
        fall; that of two positions on the same side lies farther.
        """
        spec, exposure = self._markets[market], _find(pool, market, position_id)
        if exposure.size_lots == 0:
            return Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)

        isolated = exposure.isolated_units
        backing, book = (pool.wallet_units, _cross(pool)) if isolated is None else (isolated, [exposure])

        def spare(price: Ticks) -> Units:
            moved = {**marks, market: attrs.evolve(marks[market], price_ticks=price)}
            return self._equity(backing, book, moved) - self._grid.need(book, moved)

        # Loss lies where less is left over: for ids that nearly cancel each other, even where the smaller one gains.
        at, size = marks[market].price_ticks, exposure.size_lots
        toward = spare(spec.price_max_ticks) - spare(spec.price_min_ticks) or size
        # A pool has most to spare somewhere and less on either side: from a mark at which it stands, one side counts.
        stands = spare(at) >= 0
        worth = self.closing_value(pool, market, position_id, size, marks)
        return Thresholds(
            liquidation_ticks=spec.last_price(
                toward, lambda price: (stands and (price - at) * toward >= 0) or spare(price) >= 0
            ),
            bankruptcy_ticks=spec.last_price(size, lambda price: spec.value(size, price) >= worth),
        )

    def closing_value(
        self, pool: Pool, market: MarketId, position_id: PositionId, size_lots: Lots, marks: Mapping[MarketId, Mark], /
    ) -> Units:
        """Return value at the mark less the position's share of the equity, which is its share of the need.

        Both legs of a hedge have a share: each was part of what had to be backed.
        """
        exposure = _find(pool, market, position_id)
        need = self.need(pool, marks)
        slot = next(slot for slot in need.slots if (slot.market, slot.position_id) == (market, position_id))
        if slot.equity_units is not None:
            equity, weight, weights = slot.equity_units, 1, 1
        else:
            # Lots that round to no value at all need nothing, and close at the mark.
            equity, weight, weights = need.equity_units, slot.maintenance_units, max(need.maintenance_units, 1)
        share = div_floor(equity * weight * abs(size_lots), weights * abs(exposure.size_lots))
        return self._markets[market].value(size_lots, marks[market].price_ticks) - share

    def opening_margin(self, exposure: Exposure, opening_units: Units, _marks: Mapping[MarketId, Mark], /) -> Units:
        """Return the rate of the side that needs more: which side an order opens is not said."""
        rate = div_ceil(max(self._grid.rates_ppb(exposure.market)) * self._factor_ppb, SCALE)
        margin = div_ceil(opening_units * rate, SCALE)
        return max(margin, div_ceil(opening_units, exposure.leverage)) if exposure.leverage else margin

    def initial_ppb(self, market: MarketId, /) -> Ppb:
        """Return the rate of the side that needs less; in a linear market both need the same.

        A hedge needs less still, but leverage is chosen for a position, which must be able to stand alone.
        """
        return div_ceil(min(self._grid.rates_ppb(market)) * self._factor_ppb, SCALE)

    def _initial(self, pool: Pool, marks: Mapping[MarketId, Mark]) -> Units:
        """What the pool needs so that any of its orders may fill, in any order."""
        chosen = isolated = 0
        for exposure in pool.exposures:
            spec, price = self._markets[exposure.market], marks[exposure.market].price_ticks
            worst = worst_units(spec, exposure, price)
            if _is_isolated(exposure):
                # What the position holds already has margin of its own; its orders will need more.
                more = max(0, worst - held_units(spec, exposure, price))
                isolated += self.opening_margin(exposure, more, marks)
            elif exposure.leverage:
                chosen += div_ceil(worst, exposure.leverage)
        scenario = self._grid.need(_cross(pool), marks, orders=True)
        return max(div_ceil(scenario * self._factor_ppb, SCALE), chosen) + isolated

    def _equity(self, backing_units: Units, book: Sequence[Exposure], marks: Mapping[MarketId, Mark]) -> Units:
        """What backs a book and its unrealised profit, less what it owes."""
        equity = backing_units
        for exposure in book:
            worth = self._markets[exposure.market].value(exposure.size_lots, marks[exposure.market].price_ticks)
            equity += worth - exposure.cost_units - exposure.unpaid_units - exposure.funding_due_units
        return equity


def _is_isolated(exposure: Exposure) -> bool:
    return exposure.isolated_units is not None


def _cross(pool: Pool) -> list[Exposure]:
    return [exposure for exposure in pool.exposures if not _is_isolated(exposure)]


def _find(pool: Pool, market: MarketId, position_id: PositionId) -> Exposure:
    return next(e for e in pool.exposures if (e.market, e.position_id) == (market, position_id))
