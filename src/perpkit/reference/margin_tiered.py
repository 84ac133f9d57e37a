"""Marginal brackets, isolated and cross: the reference margin model."""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from itertools import groupby

import attrs

from perpkit.errors import ConfigError
from perpkit.model.ids import MarketId, PositionId
from perpkit.model.market import Bracket, MarketSpec, bracket_index
from perpkit.model.position import Exposure, Need, Pool, SlotNeed, Thresholds, held_units, worst_units
from perpkit.model.price import Mark
from perpkit.ports.context import ExchangeContext
from perpkit.units import SCALE, Lots, Ppb, Ticks, Units, div_ceil, div_floor


class MaintenanceBasis(Enum):
    """Whether maintenance is on the value at the mark or on the value at entry."""

    MARK = "mark"
    ENTRY = "entry"


class ClosingFee(Enum):
    """Whether the fee of the closing trade is part of the requirement."""

    OUT = "out"
    IN = "in"


@attrs.frozen(kw_only=True)
class TieredOptions:
    """Conventions in which venues differ; the liquidation price depends on both."""

    maintenance_basis: MaintenanceBasis = MaintenanceBasis.MARK
    closing_fee: ClosingFee = ClosingFee.OUT


@attrs.frozen
class Rates:
    """Rates over brackets: requirement(v) = (v · rate - deduction) / SCALE in the bracket of v."""

    brackets: Sequence[Bracket]
    rates_ppb: Sequence[Ppb]
    deductions_scaled: Sequence[int]

    @classmethod
    def of(cls, brackets: Sequence[Bracket], rates_ppb: Sequence[Ppb]) -> "Rates":
        """Return marginal rates: the deductions are what makes the requirement continuous at every bracket edge.

        Source:
            Binance's maintenance amount: floor · (rate - rate before) + amount before.
        """
        deductions = [0]
        for index in range(1, len(brackets)):
            step = rates_ppb[index] - rates_ppb[index - 1]
            deductions.append(deductions[-1] + brackets[index - 1].up_to_units * step)
        return cls(brackets, rates_ppb, deductions)

    def requirement(self, value_units: Units) -> Units:
        """Return the requirement on a |value|.

        Rounds:
            Up.
        """
        index = bracket_index(self.brackets, value_units)
        return div_ceil(value_units * self.rates_ppb[index] - self.deductions_scaled[index], SCALE)


class TieredMargin:
    """Initial and maintenance need by marginal brackets.

    The brackets apply to the account's gross size in a market over all its position ids; the requirement is
    allotted to the ids by size, rounded up, so that splitting a position never lowers it.
    """

    def __init__(self, context: ExchangeContext, options: TieredOptions) -> None:
        self._markets = context.markets
        self._entry_basis = options.maintenance_basis is MaintenanceBasis.ENTRY
        self._closing_fee_ppb = {
            market: rate if options.closing_fee is ClosingFee.IN else 0 for market, rate in context.taker_ppb.items()
        }
        self._initial: dict[MarketId, Rates] = {}
        self._maintenance: dict[MarketId, Rates] = {}
        for market, spec in context.markets.items():
            initial = [bracket.initial_ppb for bracket in spec.brackets]
            maintenance = [bracket.maintenance_ppb for bracket in spec.brackets]
            if initial != sorted(initial) or maintenance != sorted(maintenance):
                raise ConfigError(
                    f"market {spec.name}: expected rates that rise with the brackets, was {spec.brackets}"
                )
            self._initial[market] = self._rates(spec.brackets, initial)
            self._maintenance[market] = self._rates(spec.brackets, maintenance)

    def initial_ppb(self, market: MarketId, /) -> Ppb:
        """Return the rate of the lowest bracket."""
        return self._initial[market].rates_ppb[0]

    def maintenance_rates(self, market: MarketId, /) -> Rates:
        """Return the maintenance table of a market, with its deductions."""
        return self._maintenance[market]

    def need(self, pool: Pool, marks: Mapping[MarketId, Mark], /) -> Need:
        """Sum over markets; each market's requirement is rounded once."""
        equity, initial, maintenance = pool.wallet_units, pool.reserved_units, 0
        slots: list[SlotNeed] = []
        for market, grouped in groupby(pool.exposures, key=lambda exposure: exposure.market):
            exposures = tuple(grouped)
            spec, price = self._markets[market], marks[market].price_ticks
            initial += self._market_initial(spec, exposures, price)
            costs = sum([abs(exposure.cost_units) for exposure in exposures])
            basis = costs if self._entry_basis else spec.requirement_base(exposures[0].gross_lots, price)
            required = self._maintenance[market].requirement(basis)
            for exposure in exposures:
                slot = self._slot(spec, exposure, price, required, costs)
                slots.append(slot)
                if slot.equity_units is None:
                    equity += _profit(spec, exposure, price)
                    maintenance += slot.maintenance_units
        return Need(equity_units=equity, initial_units=initial, maintenance_units=maintenance, slots=tuple(slots))

    def thresholds(
        self, pool: Pool, market: MarketId, position_id: PositionId, marks: Mapping[MarketId, Mark], /
    ) -> Thresholds:
        """Search the listed prices.

        The liquidation price is where the whole pool stops meeting its need while the other marks stand still: the
        first such price on the way to loss, or, from a mark at which it is in breach, the last on the way back. The
        bankruptcy price splits a cross pool's equity among its positions, so while a pool of several positions is
        healthy it may lie nearer than the liquidation price; once the pool is in breach it lies beyond.
        """
        spec, exposure = self._markets[market], _find(pool, market, position_id)
        if exposure.size_lots == 0:
            return Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)

        # Only this mark moves: what the pool has beyond its need in the other markets stays.
        here = attrs.evolve(pool, exposures=tuple([e for e in pool.exposures if e.market == market]))
        elsewhere = _spare(self.need(pool, marks)) - _spare(self.need(here, marks))

        @cache
        def healthy(price: Ticks) -> bool:
            need = self.need(here, {market: attrs.evolve(marks[market], price_ticks=price)})
            slot = next(s for s in need.slots if (s.market, s.position_id) == (market, position_id))
            if slot.equity_units is None:
                return _spare(need) + elsewhere >= 0
            return slot.equity_units >= slot.maintenance_units

        # Cross positions of one market move together, so the side that loses is the side of their sum. Where they
        # cancel each other, only the need moves, and the side that loses is the one on which it grows.
        size, at = exposure.size_lots, marks[market].price_ticks
        grows = _grows(spec, exposure.gross_lots)
        moving = size if exposure.isolated_units is not None else _cross_lots(pool, market) or grows
        edges, stands = _edges(spec, exposure.gross_lots, grows), healthy(at)

        def reached(price: Ticks) -> bool:
            if ((price - at) * moving >= 0) == stands:
                return stands
            # From one edge to the next the health turns once at most, so it tells enough to ask at the ends.
            way = [*(edge for edge in edges if min(at, price) < edge < max(at, price)), price]
            return (all if stands else any)(healthy(each) for each in way)

        worth = self._worth(pool, exposure, size, marks)
        costs = _market_costs(pool, market)
        return Thresholds(
            liquidation_ticks=spec.last_price(moving, reached),
            bankruptcy_ticks=spec.last_price(
                size, lambda price: spec.value(size, price) - self._closing_fee(spec, exposure, price, costs) >= worth
            ),
        )

    def closing_value(
        self, pool: Pool, market: MarketId, position_id: PositionId, size_lots: Lots, marks: Mapping[MarketId, Mark], /
    ) -> Units:
        """Return value at the mark less the position's share of the equity.

        Source:
            dYdX v4, bankruptcy price in quote quantums: -ΔNNV - TNC·|ΔMMR|/TMMR.
        """
        spec, exposure = self._markets[market], _find(pool, market, position_id)
        fee = self._closing_fee(spec, exposure, marks[market].price_ticks, _market_costs(pool, market))
        part = div_ceil(fee * abs(size_lots), abs(exposure.size_lots))
        return self._worth(pool, exposure, size_lots, marks) + part

    def _worth(self, pool: Pool, exposure: Exposure, size_lots: Lots, marks: Mapping[MarketId, Mark]) -> Units:
        """Value at the mark less the share of equity of a part of a position, the closing fee not looked at."""
        spec, price = self._markets[exposure.market], marks[exposure.market].price_ticks
        need = self.need(pool, marks)
        slot = next(s for s in need.slots if (s.market, s.position_id) == (exposure.market, exposure.position_id))
        if slot.equity_units is not None:
            equity, weight, weights = slot.equity_units, 1, 1
        else:
            cross = [s.maintenance_units for s in need.slots if s.equity_units is None]
            equity, weight, weights = need.equity_units, slot.maintenance_units, sum(cross)
            if weights == 0:
                # Without any maintenance need the share is equal.
                weight, weights = 1, sum(e.size_lots != 0 and e.isolated_units is None for e in pool.exposures)
        share = div_floor(equity * weight * abs(size_lots), weights * abs(exposure.size_lots))
        return spec.value(size_lots, price) - share

    def opening_margin(self, exposure: Exposure, opening_units: Units, marks: Mapping[MarketId, Mark], /) -> Units:
        """Return the order's part of the initial need, at least what the chosen leverage asks."""
        spec, price = self._markets[exposure.market], marks[exposure.market].price_ticks
        held = spec.requirement_base(exposure.gross_lots, price)
        margin = self._order_margin(spec, exposure, price, opening_units, held + opening_units)
        return self._with_fee(spec, opening_units, margin)

    def _rates(self, brackets: Sequence[Bracket], rates_ppb: Sequence[Ppb]) -> Rates:
        return Rates.of(brackets, rates_ppb)

    def _market_initial(self, spec: MarketSpec, exposures: Sequence[Exposure], price: Ticks) -> Units:
        worst = [worst_units(spec, exposure, price) for exposure in exposures]
        total = sum(worst)
        initial = 0
        for exposure, worst_of_it in zip(exposures, worst, strict=True):
            if exposure.isolated_units is None:
                initial += self._with_fee(spec, worst_of_it, self._initial_share(spec, exposure, worst_of_it, total))
            elif (units := worst_of_it - held_units(spec, exposure, price)) > 0:
                # What the position holds already has margin of its own; its orders will need more.
                initial += self._with_fee(spec, units, self._order_margin(spec, exposure, price, units, total))
        return initial

    def _order_margin(self, spec: MarketSpec, exposure: Exposure, price: Ticks, units: Units, total: Units) -> Units:
        """What an order on an isolated position takes from the wallet; `total` is what the account has after it.

        Its own part, and what the position itself will need more: else it could fill into a breach at the same mark.
        """
        held, gross = (spec.requirement_base(lots, price) for lots in (exposure.size_lots, exposure.gross_lots))
        before, after = (self._initial_share(spec, exposure, held, whole) for whole in (gross, total))
        return self._initial_share(spec, exposure, units, total) + max(0, after - before)

    def _initial_share(self, spec: MarketSpec, exposure: Exposure, units: Units, total_units: Units) -> Units:
        share = div_ceil(self._initial[spec.id].requirement(total_units) * units, max(total_units, 1))
        return max(share, div_ceil(units, exposure.leverage)) if exposure.leverage else share

    def _slot(
        self, spec: MarketSpec, exposure: Exposure, price: Ticks, required: Units, costs_units: Units
    ) -> SlotNeed:
        maintenance = div_ceil(required * abs(exposure.size_lots), max(exposure.gross_lots, 1))
        equity = None
        if exposure.isolated_units is not None:
            equity = exposure.isolated_units + _profit(spec, exposure, price)
        return SlotNeed(
            market=exposure.market,
            position_id=exposure.position_id,
            maintenance_units=maintenance + self._closing_fee(spec, exposure, price, costs_units),
            equity_units=equity,
        )

    def _closing_fee(self, spec: MarketSpec, exposure: Exposure, price: Ticks, costs_units: Units) -> Units:
        """What is reserved for the closing fee; `costs_units` is the account's gross cost in the market."""
        if not self._closing_fee_ppb[spec.id]:
            return 0
        if not self._entry_basis:
            return self._fee_on(spec, held_units(spec, exposure, price), 0)
        cost = abs(exposure.cost_units)
        return self._fee_on(spec, cost, self._initial_share(spec, exposure, cost, costs_units))

    def _with_fee(self, spec: MarketSpec, value_units: Units, initial_units: Units) -> Units:
        return initial_units + self._fee_on(spec, value_units, initial_units)

    def _fee_on(self, spec: MarketSpec, value_units: Units, initial_units: Units) -> Units:
        # On the entry basis the reserve is for the fee at the bankruptcy value, as BitMEX's position comm was.
        basis = value_units + initial_units if self._entry_basis else value_units
        return div_ceil(basis * self._closing_fee_ppb[spec.id], SCALE)


def _profit(spec: MarketSpec, exposure: Exposure, price: Ticks) -> Units:
    """What a position adds to equity: unrealised profit less what it owes."""
    worth = spec.value(exposure.size_lots, price) - exposure.cost_units
    return worth - exposure.unpaid_units - exposure.funding_due_units


def _spare(need: Need) -> Units:
    return need.equity_units - need.maintenance_units


def _find(pool: Pool, market: MarketId, position_id: PositionId) -> Exposure:
    return next(e for e in pool.exposures if (e.market, e.position_id) == (market, position_id))


def _cross_lots(pool: Pool, market: MarketId) -> Lots:
    return sum(e.size_lots for e in pool.exposures if e.market == market and e.isolated_units is None)


def _grows(spec: MarketSpec, gross_lots: Lots) -> int:
    """Return above 0 where |values| grow as the price falls, as for a long that loses; below 0 where as it rises."""
    lowest, highest = (spec.requirement_base(gross_lots, p) for p in (spec.price_min_ticks, spec.price_max_ticks))
    return 1 if lowest > highest else -1


def _edges(spec: MarketSpec, gross_lots: Lots, grows: int) -> list[Ticks]:
    """Return the listed prices on both sides of each edge between two brackets, for an account's size in a market."""

    def last_within(top: Units) -> Ticks | None:
        return spec.last_price(grows, lambda price: spec.requirement_base(gross_lots, price) <= top)

    lasts = [last_within(bracket.up_to_units) for bracket in spec.brackets[:-1]]
    return [price for last in lasts if last is not None for price in (last, spec.within(last - grows))]


def _market_costs(pool: Pool, market: MarketId) -> Units:
    return sum(abs(e.cost_units) for e in pool.exposures if e.market == market)
