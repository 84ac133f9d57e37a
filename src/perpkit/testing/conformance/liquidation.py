"""What a liquidation policy has to keep."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.ids import MarketId, PositionId
from perpkit.model.position import Breach, Exposure, Pool
from perpkit.plugin import LIQUIDATION
from perpkit.ports import ExchangeContext, LiquidationPolicy
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, Settled, Step, TakeOver
from perpkit.reference.margin_tiered import TieredMargin, TieredOptions
from perpkit.testing.builders import exchange_context, exposure, market_table, marks, pool
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.decider import DeciderConformance
from perpkit.units import Lots, Ticks, Units

MARKET: dict[str, Any] = {
    "price_min": "80",
    "price_max": "125",
    "brackets": [
        {"up_to": str(top), "initial": f"{2 * percent}%", "maintenance": f"{percent}%"}
        for top, percent in ((1_000, 2), (2_000, 4), (4_000, 8))
    ],
}
CONTEXT = exchange_context(market_table("linear", id=1, **MARKET), market_table("inverse", id=2, **MARKET))
MODEL = TieredMargin(CONTEXT, TieredOptions())
AT_100 = marks(100, 100)
FIRST = (1, 0)
STEPS_MAX = 500
"""Who closes lot by lot, each at a second try, comes to an end before: no pool has half as many lots."""


@attrs.frozen(kw_only=True)
class Broke:
    """A pool in breach: lots by market and position id, the first with `orders`, and equity in percent of maintenance.

    The book takes `takes` percent of one close after another, and begins anew.
    """

    lots: Mapping[tuple[MarketId, PositionId], Lots]
    orders: int = 0
    isolated: bool = False
    equity_percent: int = 50
    owed_units: Units = 0
    takes: Sequence[int] = (100,)


SIZES = st.integers(1, 60) | st.integers(-60, -1)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "orders": st.integers(0, 2),
    "equity_percent": st.integers(-60, 99),
    "takes": st.lists(st.sampled_from((0, 30, 100)), min_size=1, max_size=2),
}
BROKE = st.builds(
    Broke,
    lots=st.fixed_dictionaries({FIRST: SIZES}, optional={(1, 1): SIZES, (2, 0): SIZES}),
    **COMMON,
) | st.builds(Broke, lots=st.fixed_dictionaries({FIRST: SIZES}), isolated=st.just(True), **COMMON)

KNOWN = [
    Broke(lots=lots, orders=orders, isolated=isolated, takes=(takes,), equity_percent=equity_percent)
    for lots, isolated in (
        ({FIRST: 2}, False),
        ({FIRST: -55}, True),
        ({FIRST: 35, (1, 1): -20}, False),
        ({FIRST: 10, (2, 0): 60}, False),
    )
    for takes, orders in ((0, 1), (30, 0), (100, 2))
    for equity_percent in (50, -50)
]
"""Pools of one and of several positions, solvent and not, before an empty, a thin and a deep book."""


class Workout:
    """A pool while it is liquidated, in the place of the engine: prices stand still, money is settled at once.

    The first position has all the debts and, when isolated, all the money. Beside them stands a healthy isolated
    position that is nobody's business.
    """

    def __init__(self, drawn: Broke) -> None:
        self.lots: dict[tuple[MarketId, PositionId], Lots] = dict(sorted(drawn.lots.items()))
        self.orders: int = drawn.orders
        self.isolated: bool = drawn.isolated
        self.takes: Sequence[int] = drawn.takes
        self.money_units: Units = 0
        self.unpaid_units: Units = drawn.owed_units
        self.steps: int = 0
        self.stalled: bool = False
        need = MODEL.need(self.pool(), AT_100)
        maintenance = need.slots[0].maintenance_units if self.isolated else need.maintenance_units
        equity = maintenance * drawn.equity_percent // 100
        self.money_units += max(0, equity)
        self.unpaid_units += max(0, -equity)

    def pool(self) -> Pool:
        """Return the pool as a value."""
        exposures = [self._exposure(market, position_id, size) for (market, position_id), size in self.lots.items()]
        aside = exposure(3, _worth(2, 3), market=2, position_id=9, gross_lots=self._gross(2), isolated_units=5_000)
        return pool(0 if self.isolated else self.money_units, *exposures, aside)

    def case(self) -> Case | None:
        """Describe the pool as the engine does; None when it is healthy or there is nothing left to touch."""
        whole = self.pool()
        need = MODEL.need(whole, AT_100)
        touchable = tuple(e for e in whole.exposures[:-1] if e.size_lots or e.unpaid_units)
        equity, maintenance = need.equity_units, need.maintenance_units
        if self.isolated:
            equity, maintenance = need.slots[0].equity_units or 0, need.slots[0].maintenance_units
        if not touchable or equity >= maintenance:
            return None
        market, position_id = FIRST if self.isolated else (0, 0)
        return Case(
            breach=Breach(
                account=1,
                asset=1,
                market=market,
                position_id=position_id,
                equity_units=equity,
                maintenance_units=maintenance,
            ),
            pool=attrs.evolve(whole, exposures=touchable),
            need=need,
            thresholds={
                (e.market, e.position_id): MODEL.thresholds(whole, e.market, e.position_id, AT_100) for e in touchable
            },
            marks=AT_100,
            steps_done=self.steps,
            stalled=self.stalled,
        )

    def take(self, step: Step) -> bool:
        """Do a step; say whether it changed anything."""
        self.steps += 1
        self.stalled = False
        if isinstance(step, Settled):
            return False
        if isinstance(step, CancelOrders):
            found = self.orders > 0 and step.market == FIRST[0]
            self.orders = 0 if found else self.orders
            return found
        key = (step.market, step.position_id)
        if isinstance(step, TakeOver):
            self._close(key, self.lots[key], step.price_ticks)
            return True
        lots = step.size_lots * self.takes[self.steps % len(self.takes)] // 100
        self.stalled = not lots
        self._close(key, lots if self.lots[key] > 0 else -lots, step.limit_ticks)
        return not self.stalled

    def _close(self, key: tuple[MarketId, PositionId], lots: Lots, price_ticks: Ticks) -> None:
        """Pay what closing signed lots at a price costs against the mark; what is flat hands over its debt."""
        gained = CONTEXT.markets[key[0]].value(lots, price_ticks) - _worth(key[0], lots)
        self.money_units = max(0, self.money_units + gained)
        self.lots[key] -= lots
        if not self.lots[FIRST]:
            self.unpaid_units = 0

    def _exposure(self, market: MarketId, position_id: PositionId, size_lots: Lots) -> Exposure:
        first = (market, position_id) == FIRST
        return exposure(
            size_lots,
            _worth(market, size_lots),
            market=market,
            position_id=position_id,
            gross_lots=self._gross(market),
            unpaid_units=self.unpaid_units if first else 0,
            open_orders=self.orders if first else 0,
            isolated_units=self.money_units if first and self.isolated else None,
        )

    def _gross(self, market: MarketId) -> Lots:
        return sum(abs(lots) for key, lots in self.lots.items() if key[0] == market) + (3 if market == 2 else 0)


def _worth(market: MarketId, lots: Lots) -> Units:
    return CONTEXT.markets[market].value(lots, AT_100[market].price_ticks)


class LiquidationConformance(DeciderConformance[LiquidationPolicy, ExchangeContext]):
    """What to do next with a pool below maintenance; see `perpkit.ports.liquidation`."""

    port = LIQUIDATION
    code = "LIQUIDATION"

    def context(self) -> ExchangeContext:
        """Return a linear and an inverse market of three brackets."""
        return CONTEXT

    def exercise(self, part: LiquidationPolicy) -> list[object]:
        """Liquidate the known pools."""
        return [[step for _, step, _ in worked(part, each)[0]] for each in KNOWN]

    def known_steps(self) -> list[tuple[Case, Step, bool]]:
        """Return all that happens to the known pools."""
        part = self.made()
        return [each for drawn in KNOWN for each in worked(part, drawn)[0]]

    @rule(10, "a step is one of the port's, on an order or a position that is shown")
    def test_steps(self) -> None:
        """Not on one that is only in the need: it is healthy, frozen or in a market that does not run."""
        for case, step, _ in self.known_steps():
            assert type(step) in (CancelOrders, CloseOnBook, TakeOver, Settled)
            if isinstance(step, CancelOrders):
                assert step.market in CONTEXT.markets
            elif not isinstance(step, Settled):
                assert (step.market, step.position_id) in case.thresholds

    @rule(20, "a close is of at least one lot, and of at most the position")
    @law
    @given(drawn=BROKE)
    def test_never_grows(self, drawn: Broke) -> None:
        """Liquidation never grows a position, nor turns it around."""
        for case, step, _ in worked(self.made(), drawn)[0]:
            if isinstance(step, CloseOnBook):
                assert type(step.size_lots) is int
                assert 1 <= step.size_lots <= abs(_position(case, step).size_lots)

    @rule(30, "no close goes beyond the bankruptcy price, and a take-over is at it")
    @law
    @given(drawn=BROKE)
    def test_never_past_bankruptcy(self, drawn: Broke) -> None:
        """Where no listed price bankrupts a position, the last one toward loss stands for it."""
        for case, step, _ in worked(self.made(), drawn)[0]:
            if isinstance(step, CloseOnBook | TakeOver):
                each = _position(case, step)
                spec, long = CONTEXT.markets[each.market], each.size_lots > 0
                bound = case.thresholds[each.market, each.position_id].bankruptcy_ticks
                if bound is None:
                    bound = spec.price_min_ticks if long else spec.price_max_ticks
                price = step.limit_ticks if isinstance(step, CloseOnBook) else step.price_ticks
                assert type(price) is int
                assert price == bound or (isinstance(step, CloseOnBook) and (price > bound) == long)

    @rule(40, "after a close that found nobody comes something else than another")
    def test_stalled(self) -> None:
        """The case says so; a book that had nothing within the bound has nothing yet."""
        for case, step, changed in self.known_steps():
            if case.stalled:
                assert changed or not isinstance(step, CloseOnBook)

    @rule(50, "a cancel finds orders")
    def test_cancels(self) -> None:
        """A step that changes nothing is refused, and the exchange would ask for ever."""
        for _, step, changed in self.known_steps():
            assert changed or not isinstance(step, CancelOrders)

    @rule(60, "a pool that holds or owes something is not given up")
    def test_not_given_up(self) -> None:
        """While it is in breach."""
        assert not any(isinstance(step, Settled) for _, step, _ in self.known_steps())

    @rule(70, "a debt without a position is taken over")
    def test_debt(self) -> None:
        """There is nothing to close; at any price."""
        steps, left = worked(self.made(), Broke(lots={FIRST: 0}, owed_units=40))
        assert [type(step) for _, step, _ in steps] == [TakeOver]
        assert left is None

    @rule(80, "asked again and again, it comes to an end")
    @law
    @given(drawn=BROKE)
    def test_ends(self, drawn: Broke) -> None:
        """Whatever the book takes: the pool is healthy, or nothing is left of it."""
        _, left = worked(self.made(), drawn)
        assert left is None


def worked(part: LiquidationPolicy, drawn: Broke) -> tuple[list[tuple[Case, Step, bool]], Case | None]:
    """Ask for one step after another; return (shown, answered, whether it changed anything), and what is left at last.

    As in the engine, a first close that finds nobody is no fault; anything else without effect is the last step.
    """
    workout = Workout(drawn)
    found: list[tuple[Case, Step, bool]] = []
    while (case := workout.case()) is not None and len(found) < STEPS_MAX:
        step = part.next_step(case)
        found.append((case, step, workout.take(step)))
        if not found[-1][2] and (case.stalled or not workout.stalled):
            break
    return found, case


def _position(case: Case, step: CloseOnBook | TakeOver) -> Exposure:
    return next(e for e in case.pool.exposures if (e.market, e.position_id) == (step.market, step.position_id))
