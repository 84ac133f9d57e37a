"""Fees and order checks: what perpkit offers keeps every rule, and each of these faults breaks the rule about it."""

import pytest

from perpkit.model.ids import owner_of
from perpkit.model.order import Side
from perpkit.reference.fees import MakerTakerFees, MakerTakerOptions
from perpkit.reference.order_checks import (
    MaxOpenOrdersCheck,
    MaxOpenOrdersOptions,
    OpenInterestCapCheck,
    OpenInterestCapOptions,
    PositionLimitCheck,
    PositionLimitOptions,
    PriceBandCheck,
    PriceBandOptions,
)
from perpkit.testing.conformance import broken, rules_of
from perpkit.testing.conformance.trading import FeeConformance, OrderCheckConformance


class TestMakerTaker(FeeConformance):
    def make(self, context):
        return MakerTakerFees(context, MakerTakerOptions(maker="-0.025%"))


class TestPriceBand(OrderCheckConformance):
    def make(self, context):
        return PriceBandCheck(context, PriceBandOptions())


class TestPositionLimit(OrderCheckConformance):
    def make(self, context):
        return PositionLimitCheck(context, PositionLimitOptions(most="200"))


class TestOpenInterestCap(OrderCheckConformance):
    def make(self, context):
        return OpenInterestCapCheck(context, OpenInterestCapOptions(most="100"))


class TestMaxOpenOrders(OrderCheckConformance):
    def make(self, context):
        return MaxOpenOrdersCheck(context, MaxOpenOrdersOptions(most=100))


class FeesByOwner(MakerTakerFees):
    """Sound by other rules: some owners pay less, and are paid for waiting."""

    def rate_ppb(self, account, maker, /):
        favoured = owner_of(account) % 2
        return (-100_000 if favoured else 200_000) if maker else (150_000 if favoured else 500_000)


class SizeBounds:
    """Sound by other rules: nothing tiny and nothing huge, but who only reduces may always."""

    def __init__(self, context, options): ...

    def admits(self, case, /):
        return case.order.reduce_only or 5 <= case.order.size_lots <= 500


SOUND = [
    (suite, part, each.id)
    for suite, part in ((FeeConformance, FeesByOwner), (OrderCheckConformance, SizeBounds))
    for each in rules_of(suite)
    if int(each.id[-3:]) < 900
]


@pytest.mark.parametrize(("suite", "part", "rule"), SOUND)
def test_another_sound_part_keeps_the_rules_too(suite, part, rule):
    assert broken(suite_of(suite, part), rule) is None


class TakesItAll(MakerTakerFees):
    def rate_ppb(self, account, maker, /):
        return super().rate_ppb(account, maker) - (1_000_000_001 if maker else 0)


class Fractions(MakerTakerFees):
    def rate_ppb(self, account, maker, /):
        return super().rate_ppb(account, maker) / 2


class PaysForWashing(MakerTakerFees):
    def rate_ppb(self, account, maker, /):
        return -900_000 if maker else super().rate_ppb(account, maker)


class CheaperEachTime(MakerTakerFees):
    """Counts volume by itself: a replay that asks twice would pay less."""

    def rate_ppb(self, account, maker, /):
        self._taker_ppb = max(0, self._taker_ppb - 1_000)
        return super().rate_ppb(account, maker)


class SaysHowFar(PriceBandCheck):
    def admits(self, case, /):
        return case.order.price_ticks - case.mark.price_ticks


class NeedsABook(PriceBandCheck):
    """Cannot say anything before somebody quotes both sides."""

    def admits(self, case, /):
        return case.best_bid_ticks + case.best_ask_ticks > 0


class NobodyFirst(PriceBandCheck):
    def admits(self, case, /):
        return case.best_bid_ticks is not None and super().admits(case)


class OnlyBuys(PriceBandCheck):
    def admits(self, case, /):
        return case.order.side is Side.BUY


class EverySecondOrder(PriceBandCheck):
    def admits(self, case, /):
        return case.order.id % 2 == 1


class OnlyOnce(PriceBandCheck):
    """Refuses what it has seen before."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._seen = set()

    def admits(self, case, /):
        known = case.order.id in self._seen
        self._seen.add(case.order.id)
        return not known


@pytest.mark.parametrize(
    ("suite", "faulty", "rule"),
    [
        (FeeConformance, TakesItAll, "FEES-010"),
        (FeeConformance, Fractions, "FEES-010"),
        (FeeConformance, PaysForWashing, "FEES-020"),
        (FeeConformance, CheaperEachTime, "FEES-960"),
        (OrderCheckConformance, SaysHowFar, "CHECK-010"),
        (OrderCheckConformance, NeedsABook, "CHECK-010"),
        (OrderCheckConformance, NobodyFirst, "CHECK-020"),
        (OrderCheckConformance, OnlyBuys, "CHECK-020"),
        (OrderCheckConformance, EverySecondOrder, "CHECK-030"),
        (OrderCheckConformance, OnlyOnce, "CHECK-960"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(suite, faulty, rule):
    assert broken(suite_of(suite, faulty), rule)


def suite_of(suite, part):
    class Suite(suite):
        def make(self, context):
            return part(context, MakerTakerOptions() if suite is FeeConformance else PriceBandOptions())

    return Suite()
