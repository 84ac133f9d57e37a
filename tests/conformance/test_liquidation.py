"""Liquidation: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.plugin import NoOptions
from perpkit.ports.liquidation import CancelOrders, CloseOnBook, Settled, TakeOver
from perpkit.reference.liquidation_stepped import SteppedLiquidation
from perpkit.reference.liquidation_takeover import TakeOverLiquidation, last_solvent_price, take_over
from perpkit.testing.conformance import broken, rules_of
from perpkit.testing.conformance.liquidation import LiquidationConformance


class TestStepped(LiquidationConformance):
    def make(self, context):
        return SteppedLiquidation(context, NoOptions())


class TestTakeOver(LiquidationConformance):
    def make(self, context):
        return TakeOverLiquidation(context, NoOptions())


class LotByLot(SteppedLiquidation):
    """Sound by other rules: the last position first, a third of it at a time, orders stay."""

    def next_step(self, case, /):
        exposure = case.pool.exposures[-1]
        market = self._markets[exposure.market]
        if case.stalled or not exposure.size_lots:
            return take_over(case, exposure, market)
        return CloseOnBook(
            market=exposure.market,
            position_id=exposure.position_id,
            size_lots=-(-abs(exposure.size_lots) // 3),
            limit_ticks=last_solvent_price(case, exposure, market),
        )


OWN_RULES = [each.id for each in rules_of(LiquidationConformance) if each.id < "LIQUIDATION-900"]


@pytest.mark.parametrize("rule", OWN_RULES)
def test_another_sound_policy_keeps_the_rules_too(rule):
    assert broken(suite_of(LotByLot), rule) is None


class TakesWhatNeedsMost(TakeOverLiquidation):
    """Looks at every need, also of what it was not shown."""

    def next_step(self, case, /):
        slot = max(case.need.slots, key=lambda slot: slot.maintenance_units)
        return TakeOver(market=slot.market, position_id=slot.position_id, price_ticks=50)


class TurnsAround(SteppedLiquidation):
    def next_step(self, case, /):
        step = super().next_step(case)
        return attrs.evolve(step, size_lots=2 * step.size_lots + 40) if isinstance(step, CloseOnBook) else step


class OneTickTooFar(SteppedLiquidation):
    def next_step(self, case, /):
        step = super().next_step(case)
        if not isinstance(step, CloseOnBook):
            return step
        toward_loss = -1 if case.pool.exposures[0].size_lots > 0 else 1
        return attrs.evolve(step, limit_ticks=step.limit_ticks + toward_loss)


class TakesAtTheMark(TakeOverLiquidation):
    def next_step(self, case, /):
        step = super().next_step(case)
        return (
            attrs.evolve(step, price_ticks=case.marks[step.market].price_ticks) if isinstance(step, TakeOver) else step
        )


class NeverTakesOver(SteppedLiquidation):
    def next_step(self, case, /):
        return super().next_step(attrs.evolve(case, stalled=False))


class CancelsForEver(TakeOverLiquidation):
    def next_step(self, case, /):
        return CancelOrders(market=1)


class GivesUp(SteppedLiquidation):
    def next_step(self, case, /):
        return Settled() if case.steps_done > 1 else super().next_step(case)


class ForgetsDebts(TakeOverLiquidation):
    def next_step(self, case, /):
        held = tuple(each for each in case.pool.exposures if each.size_lots)
        return super().next_step(attrs.evolve(case, pool=attrs.evolve(case.pool, exposures=held)))


class Postpones(TakeOverLiquidation):
    """Puts off what it has to do for as long as it is asked."""

    def next_step(self, case, /):
        exposure = case.pool.exposures[0]
        price = last_solvent_price(case, exposure, self._markets[exposure.market])
        return CloseOnBook(market=exposure.market, position_id=exposure.position_id, size_lots=1, limit_ticks=price)


class LosesPatience(SteppedLiquidation):
    """Works on the book as long as it has not been asked often."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._asked = 0

    def next_step(self, case, /):
        self._asked += 1
        return super().next_step(attrs.evolve(case, stalled=self._asked > 20))


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (TakesWhatNeedsMost, "LIQUIDATION-010"),
        (TurnsAround, "LIQUIDATION-020"),
        (OneTickTooFar, "LIQUIDATION-030"),
        (TakesAtTheMark, "LIQUIDATION-030"),
        (NeverTakesOver, "LIQUIDATION-040"),
        (CancelsForEver, "LIQUIDATION-050"),
        (GivesUp, "LIQUIDATION-060"),
        (ForgetsDebts, "LIQUIDATION-070"),
        (Postpones, "LIQUIDATION-080"),
        (LosesPatience, "LIQUIDATION-960"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    assert broken(suite_of(faulty), rule)


def suite_of(policy):
    class Suite(LiquidationConformance):
        def make(self, context):
            return policy(context, NoOptions())

    return Suite()
