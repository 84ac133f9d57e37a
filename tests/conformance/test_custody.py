"""Custody: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import attrs
import pytest

from perpkit.custody import Vault
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    DepositObserved,
    DepositReversed,
    WithdrawalSent,
)
from perpkit.model.event import WithdrawalReleased
from perpkit.plugin import NoOptions
from perpkit.testing.conformance import broken
from perpkit.testing.conformance.custody import (
    APPROVING,
    DURABLE,
    RECEIVE,
    RECOUNTING,
    REORGANISES,
    CustodyConformance,
)


class TestVault(CustodyConformance):
    capabilities = frozenset({RECEIVE})

    def make(self, context):
        return Vault(context, NoOptions())


class WrittenDown(Vault):
    """Comes back from what it wrote down."""

    def written(self):
        return dict(vars(self))

    @classmethod
    def read(cls, context, written):
        back = cls(context, NoOptions())
        vars(back).update(written)
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


class Office(WrittenDown):
    """Has people who decide, a chain that may go back, and counts twice. A withdrawal costs a network fee."""

    FEE = 3

    def __init__(self, context, options):
        super().__init__(context, options)
        self._asked, self._decided, self._amounts = {}, set(), {}

    def requested(self, held, /):
        if held.withdrawal_id not in self._decided:
            self._asked[held.withdrawal_id] = held

    def returned(self, returned, /):
        self._decide(returned.withdrawal_id)

    def agree(self):
        for withdrawal_id in list(self._asked):
            self._decide(withdrawal_id, ApproveWithdrawal(withdrawal_id=withdrawal_id))

    def refuse(self, withdrawal_id):
        self._decide(withdrawal_id, CancelWithdrawal(withdrawal_id=withdrawal_id))

    def _decide(self, withdrawal_id, *told):
        self._asked.pop(withdrawal_id, None)
        self._decided.add(withdrawal_id)
        self._seen += told

    def release(self, released, /):
        if released.withdrawal_id not in self._sent:
            self._amounts[released.withdrawal_id] = released.asset, released.amount_units
            super().release(released)
            self._seen[-1] = attrs.evolve(self._seen[-1], network_fee_units=self.FEE)

    def take_back(self):
        gone = [each.deposit_id for each in self._seen if isinstance(each, DepositReversed)]
        kept = [e for e in self._seen if isinstance(e, DepositObserved) and e.deposit_id not in gone]
        self._reverse(kept[-1])

    def _reverse(self, deposit):
        self._holdings[deposit.asset] -= deposit.amount_units
        self._seen.append(DepositReversed(deposit_id=deposit.deposit_id))

    def recount(self, asset, /):
        """From what was told alone."""
        amounts, total = {}, 0
        for each in self._seen:
            if isinstance(each, DepositObserved):
                amounts[each.deposit_id] = each.amount_units * (each.asset == asset)
                total += amounts[each.deposit_id]
            elif isinstance(each, DepositReversed):
                total -= amounts[each.deposit_id]
            elif isinstance(each, WithdrawalSent):
                of, amount = self._amounts[each.withdrawal_id]
                total -= amount * (of == asset)
        return total


class OfficeSuite(CustodyConformance):
    capabilities = frozenset({RECEIVE, DURABLE, APPROVING, RECOUNTING, REORGANISES})
    unit_units = 100_000
    faulty = Office

    def make(self, context):
        return self.faulty(context, NoOptions())

    def settle(self, custody):
        custody.agree()

    def refuse(self, custody, withdrawal_id):
        custody.refuse(withdrawal_id)

    def take_back(self, custody):
        custody.take_back()

    def recovered(self, custody):
        return self.faulty.read(self.context(), custody.written())


class TestCustodyWithPeopleAndAChain(OfficeSuite):
    pass


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
        return super().written() | {"_sent": set()}


class ForgetsWhatItSaw(WrittenDown):
    def written(self):
        return super().written() | {"_seen": []}


class AgreesInSilence(Office):
    def agree(self):
        self._asked = {}


class SendsWhatIsApproved(Office):
    def agree(self):
        for held in list(self._asked.values()):
            super().agree()
            self.release(WithdrawalReleased(**attrs.asdict(held)))


class DecidesAgain(Office):
    """Asks everybody once more; this time they say no."""

    def requested(self, held, /):
        if held.withdrawal_id in self._decided:
            self.refuse(held.withdrawal_id)
        super().requested(held)


class ForgetsWhatItDecided(Office):
    def written(self):
        return super().written() | {"_decided": set()}


class RefusesInSilence(Office):
    def refuse(self, withdrawal_id):
        self._decide(withdrawal_id)


class ApprovesWhatWasRefused(Office):
    def refuse(self, withdrawal_id):
        self._seen.append(CancelWithdrawal(withdrawal_id=withdrawal_id))


class ApprovesWhatWentBack(Office):
    def returned(self, returned, /):
        pass


class DropsAllThatWasAsked(Office):
    def returned(self, returned, /):
        super().returned(returned)
        self._decided |= {*self._asked, returned.withdrawal_id + 1}
        self._asked = {}


class SendsWhatWentBack(Office):
    def returned(self, returned, /):
        super().returned(returned)
        fields = attrs.asdict(returned) | {"destination": 7}
        del fields["recalled"]
        self.release(WithdrawalReleased(**fields))


class CountsFeesTwice(Office):
    def recount(self, asset, /):
        return super().recount(asset) - sum(isinstance(each, WithdrawalSent) for each in self._seen) * self.FEE


class CountsOneAsset(Office):
    def recount(self, asset, /):
        return super().recount(1)


class TakesBackInSilence(Office):
    def _reverse(self, deposit):
        super()._reverse(deposit)
        self._seen.pop()


class TakesBackAnother(Office):
    def _reverse(self, deposit):
        super()._reverse(next(each for each in self._seen if isinstance(each, DepositObserved)))


class StillHoldsWhatIsGone(Office):
    def _reverse(self, deposit):
        self._seen.append(DepositReversed(deposit_id=deposit.deposit_id))


class TakesBackForEver(Office):
    def observe(self, after, /):
        seen, cursor = super().observe(after)
        return [*seen, *(each for each in self._seen[:after] if isinstance(each, DepositReversed))], cursor


class CreditsTheSameIdAgain(Office):
    def _reverse(self, deposit):
        super()._reverse(deposit)
        self._inflows -= 1


class TellsTheReversalFirst(Office):
    def observe(self, after, /):
        seen, cursor = super().observe(after)
        return sorted(seen, key=lambda each: not isinstance(each, DepositReversed)), cursor


class TellsOfNoReversalLater(Office):
    """Leaves out of the whole story what it told only once."""

    def observe(self, after, /):
        seen, cursor = super().observe(after)
        return [each for each in seen if after or not isinstance(each, DepositReversed)], cursor


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (AgreesInSilence, "CUSTODY-100"),
        (SendsWhatIsApproved, "CUSTODY-100"),
        (DecidesAgain, "CUSTODY-110"),
        (ForgetsWhatItDecided, "CUSTODY-110"),
        (RefusesInSilence, "CUSTODY-120"),
        (ApprovesWhatWasRefused, "CUSTODY-120"),
        (ApprovesWhatWentBack, "CUSTODY-130"),
        (DropsAllThatWasAsked, "CUSTODY-130"),
        (SendsWhatWentBack, "CUSTODY-140"),
        (CountsFeesTwice, "CUSTODY-150"),
        (CountsOneAsset, "CUSTODY-150"),
        (TakesBackInSilence, "CUSTODY-160"),
        (TakesBackAnother, "CUSTODY-160"),
        (StillHoldsWhatIsGone, "CUSTODY-160"),
        (TakesBackForEver, "CUSTODY-160"),
        (CreditsTheSameIdAgain, "CUSTODY-170"),
        (TellsTheReversalFirst, "CUSTODY-190"),
        (TellsOfNoReversalLater, "CUSTODY-190"),
        (AgreesInSilence, "CUSTODY-200"),
        (CountsFeesTwice, "CUSTODY-200"),
    ],
)
def test_a_fault_of_people_or_a_chain_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    suite = OfficeSuite()
    suite.faulty = Office
    assert broken(suite, rule) is None, "without the fault the rule is kept"
    suite.faulty = faulty
    assert isinstance(broken(suite, rule), AssertionError)


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
