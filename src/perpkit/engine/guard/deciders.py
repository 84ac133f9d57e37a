"""Guards of the deciders: margin, fees, order checks, liquidation, deleveraging."""

from collections.abc import Mapping, Sequence

from perpkit.engine.guard.base import Guard, whole
from perpkit.model.ids import AccountId, MarketId, PositionId
from perpkit.model.market import MarketSpec
from perpkit.model.order import Order
from perpkit.model.position import Exposure, Need, Pool, SlotNeed, Thresholds, Winner
from perpkit.model.price import Mark
from perpkit.ports.context import ExchangeContext
from perpkit.ports.deleveraging import DeleveragingCase, DeleveragingPolicy, Share
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, LiquidationPolicy, Settled, Step, TakeOver
from perpkit.ports.margin import MarginModel
from perpkit.ports.trading import FeeSchedule, OrderCheck
from perpkit.units import SCALE, Lots, Ppb, Ticks, Units


class GuardedMargin:
    """A margin model whose needs and prices are possible ones."""

    def __init__(self, part: MarginModel, guard: Guard, context: ExchangeContext) -> None:
        self.part, self._guard, self._markets = part, guard, context.markets

    def need(self, pool: Pool, marks: Mapping[MarketId, Mark], /) -> Need:
        """Ask; a need says something of every exposure, in their order, and is never negative."""
        need = self._guard.ask(self.part.need, pool, marks)
        sound = (
            type(need) is Need
            and whole(need.equity_units)
            and whole(need.initial_units, 0)
            and whole(need.maintenance_units, 0)
            and len(need.slots) == len(pool.exposures)
            and all(_speaks_of(slot, exposure) for slot, exposure in zip(need.slots, pool.exposures, strict=True))
        )
        if not sound:
            raise self._guard.unexpected(f"a need of {len(pool.exposures)} positions", need)
        return need

    def thresholds(
        self, pool: Pool, market: MarketId, position_id: PositionId, marks: Mapping[MarketId, Mark], /
    ) -> Thresholds:
        """Ask; a threshold is a listed price."""
        found = self._guard.ask(self.part.thresholds, pool, market, position_id, marks)
        sound = (
            type(found) is Thresholds
            and _listed_or_none(self._markets[market], found.liquidation_ticks)
            and _listed_or_none(self._markets[market], found.bankruptcy_ticks)
        )
        if not sound:
            raise self._guard.unexpected("thresholds at listed prices", found)
        return found

    def closing_value(
        self, pool: Pool, market: MarketId, position_id: PositionId, size_lots: Lots, marks: Mapping[MarketId, Mark], /
    ) -> Units:
        """Ask."""
        value = self._guard.ask(self.part.closing_value, pool, market, position_id, size_lots, marks)
        if not whole(value):
            raise self._guard.unexpected("a closing value in accounting units", value)
        return value

    def opening_margin(self, exposure: Exposure, opening_units: Units, marks: Mapping[MarketId, Mark], /) -> Units:
        """Ask; it is never negative."""
        margin = self._guard.ask(self.part.opening_margin, exposure, opening_units, marks)
        if not whole(margin, 0):
            raise self._guard.unexpected("a margin of at least 0 accounting units", margin)
        return margin

    def initial_ppb(self, market: MarketId, /) -> Ppb:
        """Ask; a rate is at most 1."""
        rate = self._guard.ask(self.part.initial_ppb, market)
        if not whole(rate, 0, SCALE):
            raise self._guard.unexpected("a rate of 0 to 1, in parts per billion", rate)
        return rate


def _speaks_of(slot: SlotNeed, exposure: Exposure) -> bool:
    isolated = exposure.isolated_units is not None
    return (
        type(slot) is SlotNeed
        and (slot.market, slot.position_id) == (exposure.market, exposure.position_id)
        and whole(slot.maintenance_units, 0)
        and (whole(slot.equity_units) if isolated else slot.equity_units is None)
    )


def _listed_or_none(market: MarketSpec, price: Ticks | None) -> bool:
    return price is None or whole(price, market.price_min_ticks, market.price_max_ticks)


class GuardedFees:
    """A fee schedule whose rates are within -1 and 1."""

    def __init__(self, part: FeeSchedule, guard: Guard) -> None:
        self.part, self._guard = part, guard

    def rate_ppb(self, account: AccountId, maker: bool, /) -> Ppb:
        """Ask."""
        rate = self._guard.ask(self.part.rate_ppb, account, maker)
        if not whole(rate, -SCALE, SCALE):
            raise self._guard.unexpected("a rate of -1 to 1, in parts per billion", rate)
        return rate


class GuardedCheck:
    """An order check that says True or False."""

    def __init__(self, part: OrderCheck, guard: Guard) -> None:
        self.part, self._guard = part, guard

    def admits(self, order: Order, mark: Mark, best_bid: Ticks | None, best_ask: Ticks | None, /) -> bool:
        """Ask."""
        admitted = self._guard.ask(self.part.admits, order, mark, best_bid, best_ask)
        if type(admitted) is not bool:
            raise self._guard.unexpected("True or False", admitted)
        return admitted


class GuardedLiquidation:
    """A liquidation policy whose steps stay within what the pool can bear."""

    def __init__(self, part: LiquidationPolicy, guard: Guard, context: ExchangeContext) -> None:
        self.part, self._markets = part, context.markets
        self.guard = guard

    def next_step(self, case: Case, /) -> Step:
        """Ask; a close lies within the bankruptcy price, a take-over at it."""
        step = self.guard.ask(self.part.next_step, case)
        if isinstance(step, Settled):
            return step
        if type(step) not in (CancelOrders, CloseOnBook, TakeOver):
            raise self.guard.unexpected("a step", step)
        if isinstance(step, CancelOrders):
            if step.market not in self._markets:
                raise self.guard.unexpected("a market to cancel in", step)
            return step
        exposure = next(
            (e for e in case.pool.exposures if (e.market, e.position_id) == (step.market, step.position_id)), None
        )
        if exposure is None:
            raise self.guard.fault(f"expected a step on one of {sorted(case.thresholds)}, was {step!r}")
        bound = self._bankruptcy_bound(exposure, case.thresholds[step.market, step.position_id])
        if isinstance(step, CloseOnBook):
            toward_gain = 1 if exposure.size_lots > 0 else -1
            sound = (
                whole(step.size_lots, 1, abs(exposure.size_lots))
                and whole(step.limit_ticks)
                and (step.limit_ticks - bound) * toward_gain >= 0
            )
            if not sound:
                raise self.guard.unexpected(f"a close of at most {exposure.size_lots} lots within {bound}", step)
        else:
            # What holds nothing has no price; it is taken over for what it owes.
            sound = whole(step.price_ticks) and (step.price_ticks == bound or not exposure.size_lots)
            if not sound:
                raise self.guard.unexpected(f"a take-over at the bankruptcy price {bound}", step)
        return step

    def _bankruptcy_bound(self, exposure: Exposure, thresholds: Thresholds) -> Ticks:
        """Return the bankruptcy price, or the last listed price toward loss when it cannot be passed."""
        market = self._markets[exposure.market]
        if thresholds.bankruptcy_ticks is not None:
            return thresholds.bankruptcy_ticks
        return market.price_min_ticks if exposure.size_lots >= 0 else market.price_max_ticks


class GuardedDeleveraging:
    """A deleveraging policy that takes from each winner no more than it bears."""

    def __init__(self, part: DeleveragingPolicy, guard: Guard) -> None:
        self.part, self._guard = part, guard

    def shares(self, case: DeleveragingCase, /) -> Sequence[Share]:
        """Ask; each winner at most once and within what it bears, in all no more than must be placed."""
        shares = self._guard.ask(self.part.shares, case)
        if not isinstance(shares, list | tuple):
            raise self._guard.unexpected("shares in a list or tuple", shares)
        bearable: dict[tuple[AccountId, PositionId], Winner] = {(w.account, w.position_id): w for w in case.winners}
        for share in shares:
            if type(share) is not Share:
                raise self._guard.unexpected("shares", shares)
            winner = bearable.pop((share.account, share.position_id), None)
            sound = winner is not None and whole(share.size_lots, 1, winner.bearable_lots)
            if not sound:
                raise self._guard.unexpected("each winner at most once and within what it bears", share)
        placed = sum(share.size_lots for share in shares)
        if not (placed <= case.size_lots):
            raise self._guard.unexpected(f"at most {case.size_lots} lots in all", shares)
        return shares
