"""Guards of the deciders: margin, fees, order checks, liquidation, deleveraging."""

from collections.abc import Mapping, Sequence

from perpkit.engine.guard.base import Guard, same, whole
from perpkit.model.ids import AccountId, MarketId, PositionId
from perpkit.model.market import MarketSpec
from perpkit.model.position import Exposure, Need, Pool, SlotNeed, Thresholds
from perpkit.model.price import Mark
from perpkit.ports.context import ExchangeContext
from perpkit.ports.deleveraging import DeleveragingCase, DeleveragingPolicy, Share
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, LiquidationPolicy, Settled, Step, TakeOver
from perpkit.ports.margin import MarginModel
from perpkit.ports.trading import FeeSchedule, OrderCase, OrderCheck
from perpkit.units import SCALE, Lots, Ppb, Ticks, Units


class GuardedMargin:
    """A margin model whose needs and prices are possible ones."""

    def __init__(self, part: MarginModel, guard: Guard, context: ExchangeContext) -> None:
        self.part: MarginModel = part
        self._guard, self._markets = guard, context.markets

    def need(self, pool: Pool, marks: Mapping[MarketId, Mark], /) -> Need:
        """Ask; a need says something of every exposure, in their order, and is never negative."""
        need = self._guard.ask(self.part.need, pool, marks)
        self._guard.judge(
            need,
            f"a need of {len(pool.exposures)} positions",
            lambda: (
                type(need) is Need
                and whole(need.equity_units)
                and whole(need.initial_units, 0)
                and whole(need.maintenance_units, 0)
                and len(need.slots) == len(pool.exposures)
                and all(_speaks_of(slot, exposure) for slot, exposure in zip(need.slots, pool.exposures, strict=True))
            ),
        )
        return need

    def thresholds(
        self, pool: Pool, market: MarketId, position_id: PositionId, marks: Mapping[MarketId, Mark], /
    ) -> Thresholds:
        """Ask; a threshold is a listed price."""
        found = self._guard.ask(self.part.thresholds, pool, market, position_id, marks)
        self._guard.judge(
            found,
            "thresholds at listed prices",
            lambda: (
                type(found) is Thresholds
                and _listed_or_none(self._markets[market], found.liquidation_ticks)
                and _listed_or_none(self._markets[market], found.bankruptcy_ticks)
            ),
        )
        return found

    def closing_value(
        self, pool: Pool, market: MarketId, position_id: PositionId, size_lots: Lots, marks: Mapping[MarketId, Mark], /
    ) -> Units:
        """Ask."""
        value = self._guard.ask(self.part.closing_value, pool, market, position_id, size_lots, marks)
        self._guard.judge(value, "a closing value in accounting units", lambda: whole(value))
        return value

    def opening_margin(self, exposure: Exposure, opening_units: Units, marks: Mapping[MarketId, Mark], /) -> Units:
        """Ask; it is never negative."""
        margin = self._guard.ask(self.part.opening_margin, exposure, opening_units, marks)
        self._guard.judge(margin, "a margin of at least 0 accounting units", lambda: whole(margin, 0))
        return margin

    def initial_ppb(self, market: MarketId, /) -> Ppb:
        """Ask; a rate is at most 1."""
        rate = self._guard.ask(self.part.initial_ppb, market)
        self._guard.judge(rate, "a rate of 0 to 1, in parts per billion", lambda: whole(rate, 0, SCALE))
        return rate


def _speaks_of(slot: SlotNeed, exposure: Exposure) -> bool:
    isolated = exposure.isolated_units is not None
    return (
        type(slot) is SlotNeed
        and same(slot.market, exposure.market)
        and same(slot.position_id, exposure.position_id)
        and whole(slot.maintenance_units, 0)
        and (whole(slot.equity_units) if isolated else slot.equity_units is None)
    )


def _listed_or_none(market: MarketSpec, price: Ticks | None) -> bool:
    return price is None or whole(price, market.price_min_ticks, market.price_max_ticks)


class GuardedFees:
    """A fee schedule whose rates are within -1 and 1."""

    def __init__(self, part: FeeSchedule, guard: Guard) -> None:
        self.part: FeeSchedule = part
        self._guard = guard

    def rate_ppb(self, account: AccountId, maker: bool, /) -> Ppb:
        """Ask."""
        rate = self._guard.ask(self.part.rate_ppb, account, maker)
        self._guard.judge(rate, "a rate of -1 to 1, in parts per billion", lambda: whole(rate, -SCALE, SCALE))
        return rate


class GuardedCheck:
    """An order check that says True or False."""

    def __init__(self, part: OrderCheck, guard: Guard) -> None:
        self.part: OrderCheck = part
        self._guard = guard

    def admits(self, case: OrderCase, /) -> bool:
        """Ask."""
        admitted = self._guard.ask(self.part.admits, case)
        self._guard.judge(admitted, "True or False", lambda: type(admitted) is bool)
        return admitted


class GuardedLiquidation:
    """A liquidation policy whose steps stay within what the pool can bear."""

    def __init__(self, part: LiquidationPolicy, guard: Guard, context: ExchangeContext) -> None:
        self.part: LiquidationPolicy = part
        self._markets = context.markets
        self.guard = guard

    def next_step(self, case: Case, /) -> Step:
        """Ask; a close lies within the bankruptcy price, a take-over at it."""
        step = self.guard.ask(self.part.next_step, case)
        if isinstance(step, Settled):
            return step
        self.guard.judge(step, "a step", lambda: type(step) in (CancelOrders, CloseOnBook, TakeOver))
        if isinstance(step, CancelOrders):
            self.guard.judge(step, "a market to cancel in", lambda: whole(step.market) and step.market in self._markets)
            return step
        key = (step.market, step.position_id)
        self.guard.judge(
            step, "a step on a position of the case", lambda: all(map(whole, key)) and key in case.thresholds
        )
        exposure = next(e for e in case.pool.exposures if (e.market, e.position_id) == key)
        bound = self._bankruptcy_bound(exposure, case.thresholds[key])
        if isinstance(step, CloseOnBook):
            toward_gain = 1 if exposure.size_lots > 0 else -1
            self.guard.judge(
                step,
                f"a close of at most {exposure.size_lots} lots within {bound}",
                lambda: (
                    whole(step.size_lots, 1, abs(exposure.size_lots))
                    and whole(step.limit_ticks)
                    and (step.limit_ticks - bound) * toward_gain >= 0
                ),
            )
        else:
            # What holds nothing has no price; it is taken over for what it owes.
            self.guard.judge(
                step,
                f"a take-over at the bankruptcy price {bound}",
                lambda: whole(step.price_ticks) and (step.price_ticks == bound or not exposure.size_lots),
            )
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
        self.part: DeleveragingPolicy = part
        self._guard = guard

    def shares(self, case: DeleveragingCase, /) -> Sequence[Share]:
        """Ask; each winner at most once and within what it bears, in all no more than must be placed."""
        shares = self._guard.ask(self.part.shares, case)
        self._guard.judge(shares, "shares in a list or tuple", lambda: isinstance(shares, list | tuple))
        bearable = {(winner.account, winner.position_id): winner.bearable_lots for winner in case.winners}
        self._guard.judge(
            shares,
            "each winner at most once and within what it bears",
            lambda: all(_is_borne(share, bearable.pop((share.account, share.position_id), 0)) for share in shares),
        )
        placed = sum(share.size_lots for share in shares)
        self._guard.judge(shares, f"at most {case.size_lots} lots in all", lambda: placed <= case.size_lots)
        return shares


def _is_borne(share: Share, bearable_lots: Lots) -> bool:
    return (
        type(share) is Share
        and whole(share.account)
        and whole(share.position_id)
        and whole(share.size_lots, 1, bearable_lots)
    )
