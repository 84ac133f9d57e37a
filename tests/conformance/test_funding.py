"""Funding: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import json

import pytest

from perpkit.plugin import NoOptions
from perpkit.reference.funding import (
    HourlyFunding,
    HourlyFundingOptions,
    NoFunding,
    PremiumFunding,
    PremiumFundingOptions,
)
from perpkit.testing.conformance import broken, rules_of
from perpkit.testing.conformance.funding import FundingConformance
from perpkit.units import HOUR_NS, SCALE


class TestPremium(FundingConformance):
    def make(self, context):
        return PremiumFunding(context, PremiumFundingOptions())


class TestHourly(FundingConformance):
    def make(self, context):
        return HourlyFunding(context, HourlyFundingOptions())


class TestNone(FundingConformance):
    def make(self, context):
        return NoFunding(context, NoOptions())


class OneIntervalLater:
    """Sound by other rules: every hour, the greatest premium of the mark in the hour before."""

    def __init__(self, context, options):
        self._now = self._next = 0

    def sample(self, inputs, mark, /):
        premium = (mark.price_ticks - inputs.index.price_ticks) * SCALE // inputs.index.price_ticks
        self._next = max(self._next, min(max(premium, -SCALE), SCALE))

    def rate_ppb(self):
        return self._now

    def next_ns(self, after_ns, /):
        return (after_ns // HOUR_NS + 1) * HOUR_NS

    def close(self, at_ns, /):
        rate, self._now, self._next = self._now, self._next, 0
        return rate

    def dump(self):
        return json.dumps([self._now, self._next]).encode()

    def load(self, state, /):
        self._now, self._next = json.loads(state)


OWN_RULES = [each.id for each in rules_of(FundingConformance)]


@pytest.mark.parametrize("rule", [each for each in OWN_RULES if each < "FUNDING-900" or each == "FUNDING-950"])
def test_another_sound_model_keeps_the_rules_too(rule):
    assert broken(suite_of(OneIntervalLater), rule) is None


class NoCap(PremiumFunding):
    def rate_ppb(self):
        return 1_000 * super().rate_ppb()


class StandsStill(PremiumFunding):
    def next_ns(self, after_ns, /):
        return super().next_ns(after_ns - 1)


class EightHoursFromNow(PremiumFunding):
    def next_ns(self, after_ns, /):
        return after_ns + 8 * HOUR_NS


class CountsItsReaders(PremiumFunding):
    def rate_ppb(self):
        rate = super().rate_ppb()
        self._samples += 1
        return rate


class PaysInHalves(PremiumFunding):
    def close(self, at_ns, /):
        return super().close(at_ns) // 2


class NeverStartsAnew(PremiumFunding):
    def close(self, at_ns, /):
        return self.rate_ppb()


class PaysWhoDrivesItAway(PremiumFunding):
    def rate_ppb(self):
        return -super().rate_ppb()


class ForgetsItsSamples(PremiumFunding):
    def load(self, state, /):
        self._sum_ppb = self._samples = 0


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (NoCap, "FUNDING-010"),
        (StandsStill, "FUNDING-020"),
        (EightHoursFromNow, "FUNDING-030"),
        (CountsItsReaders, "FUNDING-040"),
        (PaysInHalves, "FUNDING-050"),
        (NeverStartsAnew, "FUNDING-060"),
        (PaysWhoDrivesItAway, "FUNDING-070"),
        (ForgetsItsSamples, "FUNDING-950"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    assert broken(suite_of(faulty), rule)


def suite_of(model):
    class Suite(FundingConformance):
        def make(self, context):
            return model(context, PremiumFundingOptions())

    return Suite()
