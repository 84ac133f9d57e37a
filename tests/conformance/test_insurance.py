"""Insurance: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import json

import attrs
import pytest

from perpkit.plugin import NoOptions
from perpkit.ports.insurance import FundMove
from perpkit.reference.insurance_pool import POOL, PoolInsurance
from perpkit.reference.insurance_protection import ProtectionInsurance, ProtectionOptions
from perpkit.testing.conformance import broken, rules_of
from perpkit.testing.conformance.insurance import InsuranceConformance
from perpkit.units import HOUR_NS


class TestPool(InsuranceConformance):
    def make(self, context):
        return PoolInsurance(context, NoOptions())


class TestProtection(InsuranceConformance):
    def make(self, context):
        return ProtectionInsurance(context, ProtectionOptions())


class TestProtectionWithACap(InsuranceConformance):
    """Market 1 meets its cap within the exercise, and is paid again a day later."""

    def make(self, context):
        return ProtectionInsurance(context, ProtectionOptions(window_cap_units=100))


class DailyAllowance:
    """Sound by other rules: a sub-fund a market, each of which pays at most 600 units in 24 hours."""

    def __init__(self, context, options):
        self._paid = []

    def funds(self):
        return [1, 2]

    def payable(self, loss, balances, /):
        recent = sum(units for fund, at_ns, units in self._paid if self._counts(loss, fund, at_ns))
        return min(loss.amount_units, balances[loss.market], max(0, 600 - recent))

    def draw(self, loss, balances, /):
        units = self.payable(loss, balances)
        if not units:
            return []
        self._paid.append((loss.market, loss.at_ns, units))
        return [FundMove(fund=loss.market, amount_units=units)]

    def receive(self, inflow, /):
        if inflow.market:
            return [FundMove(fund=inflow.market, amount_units=inflow.amount_units)]
        half = inflow.amount_units // 2
        moves = (FundMove(fund=1, amount_units=half), FundMove(fund=2, amount_units=inflow.amount_units - half))
        return [move for move in moves if move.amount_units]

    def dump(self):
        return json.dumps(self._paid).encode()

    def load(self, state, /):
        self._paid = [tuple(each) for each in json.loads(state)]

    def _counts(self, loss, fund, at_ns):
        return fund == loss.market and at_ns > loss.at_ns - 24 * HOUR_NS


OWN_RULES = [each.id for each in rules_of(InsuranceConformance)]


@pytest.mark.parametrize("rule", [each for each in OWN_RULES if each < "INSURANCE-900" or each == "INSURANCE-950"])
def test_another_sound_fund_keeps_the_rules_too(rule):
    assert broken(suite_of(DailyAllowance), rule) is None


class SameFundTwice(PoolInsurance):
    def funds(self):
        return (POOL, POOL)


class PromisesTheLoss(PoolInsurance):
    def payable(self, loss, balances, /):
        return loss.amount_units


class PaysOnCredit(PoolInsurance):
    """Goes below zero."""

    def draw(self, loss, balances, /):
        return (FundMove(fund=POOL, amount_units=loss.amount_units),)


class PaysTooMuch(PoolInsurance):
    def draw(self, loss, balances, /):
        return (FundMove(fund=POOL, amount_units=balances[POOL]),) if balances[POOL] else ()


class KeepsTheOddUnit(PoolInsurance):
    def receive(self, inflow, /):
        amount = inflow.amount_units - inflow.amount_units % 2
        return (FundMove(fund=POOL, amount_units=amount),) if amount else ()


class NamesAnUnknownFund(PoolInsurance):
    def receive(self, inflow, /):
        return (FundMove(fund=7, amount_units=inflow.amount_units),)


class PromisesMoreThanItPays(PoolInsurance):
    def draw(self, loss, balances, /):
        return super().draw(attrs.evolve(loss, amount_units=loss.amount_units // 2), balances)


class BooksPromises(DailyAllowance):
    """Counts against the day what it was only asked about."""

    def payable(self, loss, balances, /):
        units = super().payable(loss, balances)
        self._paid.append((loss.market, loss.at_ns, units))
        return units


class SmallLossesOnly(PoolInsurance):
    def payable(self, loss, balances, /):
        return super().payable(loss, balances) if loss.amount_units <= 500 else 0


class AlwaysMoves(PoolInsurance):
    def draw(self, loss, balances, /):
        return (FundMove(fund=POOL, amount_units=self.payable(loss, balances)),)


class ForgetsTheDay(DailyAllowance):
    def load(self, state, /):
        self._paid = []


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (SameFundTwice, "INSURANCE-010"),
        (PromisesTheLoss, "INSURANCE-020"),
        (PaysOnCredit, "INSURANCE-030"),
        (PaysTooMuch, "INSURANCE-030"),
        (KeepsTheOddUnit, "INSURANCE-040"),
        (NamesAnUnknownFund, "INSURANCE-040"),
        (PromisesMoreThanItPays, "INSURANCE-050"),
        (BooksPromises, "INSURANCE-060"),
        (SmallLossesOnly, "INSURANCE-070"),
        (AlwaysMoves, "INSURANCE-080"),
        (ForgetsTheDay, "INSURANCE-950"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    assert broken(suite_of(faulty), rule)


def suite_of(fund):
    class Suite(InsuranceConformance):
        def make(self, context):
            return fund(context, NoOptions())

    return Suite()
