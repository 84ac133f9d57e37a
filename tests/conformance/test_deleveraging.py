"""Deleveraging: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.plugin import NoOptions
from perpkit.ports.deleveraging import Share
from perpkit.reference.deleveraging_pro_rata import ProRataDeleveraging
from perpkit.reference.deleveraging_ranked import RankedDeleveraging
from perpkit.testing.conformance import broken, rules_of
from perpkit.testing.conformance.deleveraging import DeleveragingConformance


class TestRanked(DeleveragingConformance):
    def make(self, context):
        return RankedDeleveraging(context, NoOptions())


class TestProRata(DeleveragingConformance):
    def make(self, context):
        return ProRataDeleveraging(context, NoOptions())


class WaterFilling(RankedDeleveraging):
    """Sound by other rules: everybody gives up one lot, and again, as long as something is left to place."""

    def shares(self, case, /):
        bearable = {(each.account, each.position_id): each.bearable_lots for each in sorted(case.winners, key=_by_id)}
        given = dict.fromkeys(bearable, 0)
        left = min(case.size_lots, sum(bearable.values()))
        while left:
            for key, most in bearable.items():
                if left and given[key] < most:
                    given[key] += 1
                    left -= 1
        return tuple(
            Share(account=account, position_id=position_id, size_lots=lots)
            for (account, position_id), lots in given.items()
            if lots
        )


OWN_RULES = [each.id for each in rules_of(DeleveragingConformance) if each.id < "DELEVERAGING-900"]


@pytest.mark.parametrize("rule", OWN_RULES)
def test_another_sound_policy_keeps_the_rules_too(rule):
    assert broken(suite_of(WaterFilling), rule) is None


class NamesEverybody(RankedDeleveraging):
    def shares(self, case, /):
        named = {(each.account, each.position_id) for each in super().shares(case)}
        others = [each for each in case.winners if (each.account, each.position_id) not in named]
        return [*super().shares(case), *(_share(each, 0) for each in others)]


class FirstComeFirstServed(RankedDeleveraging):
    def shares(self, case, /):
        left, shares = case.size_lots, []
        for each in case.winners:
            if lots := min(left, each.bearable_lots):
                shares.append(_share(each, lots))
                left -= lots
        return shares


class TakesFromTheHouse(RankedDeleveraging):
    def shares(self, case, /):
        shares = super().shares(case)
        left = case.size_lots - sum(each.size_lots for each in shares)
        return [*shares, Share(account=0, position_id=1, size_lots=left)] if left else shares


class NamesTwice(RankedDeleveraging):
    def shares(self, case, /):
        halves = [_halves(each) for each in super().shares(case)]
        return [half for both in halves for half in both]


class IgnoresWhatIsBearable(RankedDeleveraging):
    def shares(self, case, /):
        return super().shares(
            attrs.evolve(case, winners=[attrs.evolve(each, bearable_lots=each.size_lots) for each in case.winners])
        )


class RoundsUp(RankedDeleveraging):
    """Shares pro rata, and rounds every share up."""

    def shares(self, case, /):
        whole = sum(each.bearable_lots for each in case.winners)
        winners = sorted(case.winners, key=_by_id)
        size = min(case.size_lots, whole)
        return [_share(each, -(-size * each.bearable_lots // whole)) for each in winners if each.bearable_lots]


class TakesFromOne(RankedDeleveraging):
    def shares(self, case, /):
        return super().shares(case)[:1]


class SparesWhoGave(RankedDeleveraging):
    """Never asks the same winner twice."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._gave = set()

    def shares(self, case, /):
        others = [each for each in case.winners if each.account not in self._gave]
        shares = super().shares(attrs.evolve(case, winners=others))
        self._gave |= {each.account for each in shares}
        return shares


def _by_id(winner):
    return winner.account, winner.position_id


def _share(winner, lots):
    return Share(account=winner.account, position_id=winner.position_id, size_lots=lots)


def _halves(share):
    half = share.size_lots // 2
    return [attrs.evolve(share, size_lots=lots) for lots in (half, share.size_lots - half) if lots]


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (NamesEverybody, "DELEVERAGING-010"),
        (TakesFromTheHouse, "DELEVERAGING-020"),
        (NamesTwice, "DELEVERAGING-020"),
        (IgnoresWhatIsBearable, "DELEVERAGING-030"),
        (RoundsUp, "DELEVERAGING-040"),
        (TakesFromOne, "DELEVERAGING-050"),
        (FirstComeFirstServed, "DELEVERAGING-060"),
        (SparesWhoGave, "DELEVERAGING-960"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    assert broken(suite_of(faulty), rule)


def suite_of(policy):
    class Suite(DeleveragingConformance):
        def make(self, context):
            return policy(context, NoOptions())

    return Suite()
