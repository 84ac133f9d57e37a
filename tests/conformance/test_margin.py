"""Margin: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.reference.margin_step import StepMargin
from perpkit.reference.margin_tiered import ClosingFee, MaintenanceBasis, TieredMargin, TieredOptions
from perpkit.testing.conformance import broken, rules_of
from perpkit.testing.conformance.margin import MarginConformance

AT_ENTRY = TieredOptions(maintenance_basis=MaintenanceBasis.ENTRY, closing_fee=ClosingFee.IN)


class TestTiered(MarginConformance):
    def make(self, context):
        return TieredMargin(context, TieredOptions())


class TestStep(MarginConformance):
    def make(self, context):
        return StepMargin(context, TieredOptions())


class TestStepAtEntry(MarginConformance):
    def make(self, context):
        return StepMargin(context, AT_ENTRY)


class StepsWithOffsets(StepMargin):
    """Sound by other rules: in a cross pool what is long covers half of the need of what is short, and the reverse."""

    def __init__(self, context, _options):
        super().__init__(context, AT_ENTRY)

    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        sides = {True: 0, False: 0}
        for each, slot in zip(pool.exposures, need.slots, strict=True):
            if each.isolated_units is None:
                sides[each.size_lots > 0] += slot.maintenance_units
        return attrs.evolve(need, maintenance_units=need.maintenance_units - min(sides.values()) // 2)


OWN_RULES = [each.id for each in rules_of(MarginConformance) if each.id < "MARGIN-900"]


@pytest.mark.parametrize("rule", OWN_RULES)
def test_another_sound_model_keeps_the_rules_too(rule):
    assert broken(suite_of(StepsWithOffsets), rule) is None


class LeavesOutTheFlat(TieredMargin):
    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        held = [slot for slot, each in zip(need.slots, pool.exposures, strict=True) if each.size_lots]
        return attrs.evolve(need, slots=tuple(held))


class ForgetsReservations(TieredMargin):
    def need(self, pool, marks, /):
        return super().need(attrs.evolve(pool, reserved_units=0), marks)


class PromisesTooLittle(TieredMargin):
    def initial_ppb(self, market, /):
        return 2 * super().initial_ppb(market)


class LeverageLowers(TieredMargin):
    def _initial_share(self, spec, exposure, units, total_units):
        share = super()._initial_share(spec, exposure, units, total_units)
        return units // exposure.leverage if exposure.leverage else share


class OrdersOffset(TieredMargin):
    """Lets sells count against buys that have not filled, and the reverse."""

    def need(self, pool, marks, /):
        return super().need(_each(pool, self.netted), marks)

    @staticmethod
    def netted(exposure):
        net = exposure.open_buy_units - exposure.open_sell_units
        return {"open_buy_units": max(0, net), "open_sell_units": max(0, -net)}


class PaysWhatIsDue(TieredMargin):
    def need(self, pool, marks, /):
        return super().need(_each(pool, lambda e: {"funding_due_units": -e.funding_due_units}), marks)


class SpendsIsolatedMargin(TieredMargin):
    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        own = sum(slot.equity_units or 0 for slot in need.slots)
        return attrs.evolve(need, equity_units=need.equity_units + own)


class DiscountsSize(TieredMargin):
    """Charges the wholesale rate on everything, so that a larger position may need less."""

    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        units = need.maintenance_units
        return attrs.evolve(need, maintenance_units=units if units < 5_000 else units // 3)


class BracketsById(TieredMargin):
    """Looks at each position as if it were the only one of its market."""

    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        alone = [attrs.evolve(pool, exposures=(_alone(each),)) for each in pool.exposures]
        slots = tuple(super(BracketsById, self).need(each, marks).slots[0] for each in alone)
        return attrs.evolve(need, slots=slots)


class NeverLetsStay(TieredMargin):
    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        return attrs.evolve(need, maintenance_units=3 * need.maintenance_units)


class LiquidatesLate(TieredMargin):
    def thresholds(self, pool, market, position_id, marks, /):
        found = super().thresholds(pool, market, position_id, marks)
        return attrs.evolve(found, liquidation_ticks=found.bankruptcy_ticks)


class BankruptLate(TieredMargin):
    def thresholds(self, pool, market, position_id, marks, /):
        found = super().thresholds(pool, market, position_id, marks)
        size = _find(pool, market, position_id).size_lots
        if found.bankruptcy_ticks is None:
            return found
        return attrs.evolve(found, bankruptcy_ticks=found.bankruptcy_ticks - (1 if size > 0 else -1))


class BankruptFirst(TieredMargin):
    def thresholds(self, pool, market, position_id, marks, /):
        found = super().thresholds(pool, market, position_id, marks)
        return attrs.evolve(found, liquidation_ticks=found.bankruptcy_ticks, bankruptcy_ticks=found.liquidation_ticks)


class SharesTwice(TieredMargin):
    """Lets every cross position of a pool lose the whole equity."""

    def closing_value(self, pool, market, position_id, size_lots, marks, /):
        if _find(pool, market, position_id).isolated_units is not None:
            return super().closing_value(pool, market, position_id, size_lots, marks)
        worth = self._markets[market].value(size_lots, marks[market].price_ticks)
        return worth - self.need(pool, marks).equity_units


class KeepsSomeBack(TieredMargin):
    def closing_value(self, *asked):
        return super().closing_value(*asked) + 1


class RoundsPartsDown(TieredMargin):
    def closing_value(self, pool, market, position_id, size_lots, marks, /):
        value = super().closing_value(pool, market, position_id, size_lots, marks)
        return value if size_lots == _find(pool, market, position_id).size_lots else value - 1


class OpensForATenth(TieredMargin):
    def opening_margin(self, exposure, opening_units, marks, /):
        return super().opening_margin(exposure, opening_units, marks) // 10


class FlatCanBeLiquidated(TieredMargin):
    def thresholds(self, pool, market, position_id, marks, /):
        found = super().thresholds(pool, market, position_id, marks)
        return attrs.evolve(found, liquidation_ticks=found.liquidation_ticks or 10)


class Remembers(TieredMargin):
    """Never asks for more than the least that it has asked for."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._lowest = 1_000_000

    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        self._lowest = min(self._lowest, need.initial_units)
        return attrs.evolve(need, initial_units=self._lowest)


class ChargesTheEmpty(TieredMargin):
    def need(self, pool, marks, /):
        need = super().need(pool, marks)
        return attrs.evolve(need, maintenance_units=max(1, need.maintenance_units))


def _find(pool, market, position_id):
    return next(each for each in pool.exposures if (each.market, each.position_id) == (market, position_id))


def _alone(exposure):
    return attrs.evolve(exposure, gross_lots=abs(exposure.size_lots))


def _each(pool, change):
    exposures = tuple(attrs.evolve(each, **change(each)) for each in pool.exposures)
    return attrs.evolve(pool, exposures=exposures)


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (LeavesOutTheFlat, "MARGIN-010"),
        (ChargesTheEmpty, "MARGIN-020"),
        (ForgetsReservations, "MARGIN-030"),
        (PromisesTooLittle, "MARGIN-040"),
        (LeverageLowers, "MARGIN-050"),
        (OrdersOffset, "MARGIN-060"),
        (FlatCanBeLiquidated, "MARGIN-070"),
        (PaysWhatIsDue, "MARGIN-200"),
        (SpendsIsolatedMargin, "MARGIN-210"),
        (DiscountsSize, "MARGIN-220"),
        (BracketsById, "MARGIN-230"),
        (NeverLetsStay, "MARGIN-240"),
        (LiquidatesLate, "MARGIN-250"),
        (BankruptLate, "MARGIN-260"),
        (BankruptFirst, "MARGIN-270"),
        (SharesTwice, "MARGIN-280"),
        (KeepsSomeBack, "MARGIN-290"),
        (RoundsPartsDown, "MARGIN-300"),
        (OpensForATenth, "MARGIN-310"),
        (Remembers, "MARGIN-960"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    assert broken(suite_of(faulty), rule)


def suite_of(model):
    class Suite(MarginConformance):
        def make(self, context):
            return model(context, TieredOptions())

    return Suite()
