"""Custody: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.custody import Vault
from perpkit.model.command import DepositObserved, WithdrawalSent
from perpkit.plugin import NoOptions
from perpkit.testing.conformance import broken
from perpkit.testing.conformance.custody import DURABLE, RECEIVE, CustodyConformance


class TestVault(CustodyConformance):
    capabilities = frozenset({RECEIVE})

    def make(self, context):
        return Vault(context, NoOptions())


class WrittenDown(Vault):
    """Comes back from what it wrote down."""

    def written(self):
        return self._holdings, self._seen, self._sent

    @classmethod
    def read(cls, context, written):
        back = cls(context, NoOptions())
        back._holdings, back._seen, back._sent = written
        return back


class Later(WrittenDown):
    """Sends when the outside gets round to it, and keeps a fee; what it tells may come twice."""

    def __init__(self, context, options):
        super().__init__(context, options)
        self._due = {}

    def release(self, released, /):
        if released.withdrawal_id not in self._sent:
            self._due[released.withdrawal_id] = released

    def mine(self):
        for released in self._due.values():
            super().release(released)
            self._seen[-1] = attrs.evolve(self._seen[-1], network_fee_units=1)
        self._due = {}

    def observe(self, after, /):
        seen, cursor = super().observe(after)
        return [*seen, *seen[:1]], cursor


class TestCustodyThatTakesItsTimeAndComesBack(CustodyConformance):
    capabilities = frozenset({RECEIVE, DURABLE})

    def make(self, context):
        return Later(context, NoOptions())

    def settle(self, custody):
        custody.mine()

    def recovered(self, custody):
        return type(custody).read(self.context(), custody.written())


class HasSomethingFromTheStart(Vault):
    def __init__(self, context, options):
        super().__init__(context, options)
        self._holdings[2] = 1


class CreditsSomebodyElse(Vault):
    def observe(self, after, /):
        seen, cursor = super().observe(after)
        return [attrs.evolve(each, account=1) if isinstance(each, DepositObserved) else each for each in seen], cursor


class MixesAssets(Vault):
    def holdings(self, asset, /):
        return sum(self._holdings.values())


class CreditsTwice(Vault):
    def receive(self, account, asset, amount_units):
        super().receive(account, asset, amount_units)
        self._inflows += 1
        self._seen.append(attrs.evolve(self._seen[-1], deposit_id=self._inflows))


class NumbersByAmount(Vault):
    def receive(self, account, asset, amount_units):
        super().receive(account, asset, amount_units)
        self._seen[-1] = attrs.evolve(self._seen[-1], deposit_id=amount_units)


class LosesAnObservation(Vault):
    """Skips one when asked while nothing happens."""

    def observe(self, after, /):
        seen, cursor = super().observe(after)
        return seen, cursor if seen else cursor + 1


class AlwaysRepeatsTheLast(Vault):
    def observe(self, after, /):
        return tuple(self._seen[max(0, after - 1) :]), len(self._seen)


class ForgetsWhatItTold(Vault):
    def observe(self, after, /):
        seen, self._seen = self._seen, []
        return seen, after + len(seen)


class NumbersAnew(Vault):
    def observe(self, after, /):
        self._inflows += 100
        seen, cursor = super().observe(after)
        return [
            attrs.evolve(each, deposit_id=each.deposit_id + self._inflows)
            if isinstance(each, DepositObserved)
            else each
            for each in seen
        ], cursor


class SendsInSilence(Vault):
    def release(self, released, /):
        super().release(released)
        self._seen = [each for each in self._seen if not isinstance(each, WithdrawalSent)]


class PaysTheFeeOnTop(Vault):
    def release(self, released, /):
        super().release(released)
        self._seen[-1] = attrs.evolve(self._seen[-1], network_fee_units=2)
        self._holdings[released.asset] -= 2


class SendsTwice(Vault):
    def release(self, released, /):
        self._sent.clear()
        super().release(released)


class SendsOncePerAmount(Vault):
    def release(self, released, /):
        if released.amount_units not in self._sent:
            super().release(released)
            self._sent.add(released.amount_units)


class CountsWhatLeft(Vault):
    """Reports holdings as if the last withdrawal were still there."""

    _last = (0, 0)

    def release(self, released, /):
        super().release(released)
        self._last = (released.asset, released.amount_units)

    def holdings(self, asset, /):
        return super().holdings(asset) + (self._last[1] if self._last[0] == asset else 0)


class ForgetsWhatItSent(WrittenDown):
    def written(self):
        return self._holdings, self._seen, set()


class ForgetsWhatItSaw(WrittenDown):
    def written(self):
        return self._holdings, [], self._sent


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (HasSomethingFromTheStart, "CUSTODY-010"),
        (CreditsSomebodyElse, "CUSTODY-020"),
        (MixesAssets, "CUSTODY-020"),
        (CreditsTwice, "CUSTODY-030"),
        (NumbersByAmount, "CUSTODY-030"),
        (LosesAnObservation, "CUSTODY-040"),
        (AlwaysRepeatsTheLast, "CUSTODY-045"),
        (ForgetsWhatItTold, "CUSTODY-050"),
        (NumbersAnew, "CUSTODY-050"),
        (SendsInSilence, "CUSTODY-060"),
        (PaysTheFeeOnTop, "CUSTODY-060"),
        (SendsTwice, "CUSTODY-070"),
        (SendsOncePerAmount, "CUSTODY-070"),
        (CountsWhatLeft, "CUSTODY-080"),
        (ForgetsWhatItSent, "CUSTODY-090"),
        (ForgetsWhatItSaw, "CUSTODY-090"),
        (LosesAnObservation, "CUSTODY-200"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    class Suite(CustodyConformance):
        capabilities = frozenset({RECEIVE, DURABLE})

        def make(self, context):
            return faulty(context, NoOptions())

        def recovered(self, custody):
            return faulty.read(self.context(), custody.written())

    assert broken(Suite(), rule)
