"""Clearing: what perpkit offers keeps every rule, and each of these faults breaks the rule that is about it."""

import json

import attrs
import pytest

from perpkit.errors import InvariantError
from perpkit.model.cause import Cause
from perpkit.model.event import Filled, PositionChanged, Rejected
from perpkit.model.ids import HOUSE, INVENTORY_LONG
from perpkit.model.ledger import Chart, Posting, house, isolated_margin, of_market
from perpkit.model.position import Closing, PositionMode
from perpkit.model.reject import RejectReason
from perpkit.plugin import NoOptions
from perpkit.ports import MarketContext
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.reference.clearing import ReferenceClearing
from perpkit.testing.conformance import broken
from perpkit.testing.conformance.clearing import ClearingConformance


class TestReference(ClearingConformance):
    def make(self, context):
        return ReferenceClearing(context, NoOptions())


class KnowsEverybody(ReferenceClearing):
    def has_account(self, account, /):
        return True


class KeepsAUnitOfEveryPosting(ReferenceClearing):
    def post(self, postings, /):
        skim = house(Chart.FEES, 1)
        for posting in postings:
            super().post([posting])
            if posting.credit.chart is Chart.WITHDRAWAL:
                super().post([Posting(posting.credit, skim, 1)])
        return []


class IgnoresWhatCannotBe(ReferenceClearing):
    def post(self, postings, /):
        try:
            return super().post(postings)
        except InvariantError:
            return []


class PricesOfTheTaker(PriceTimeBook):
    def plan(self, taker, /):
        plan = super().plan(taker)
        return attrs.evolve(
            plan, matches=tuple(attrs.evolve(met, price_ticks=taker.price_ticks) for met in plan.matches)
        )


class TradesAtTheTakersPrice(ReferenceClearing):
    def __init__(self, context, options):
        limits, markets = context.exchange.limits, context.exchange.markets.values()
        books = {each.id: PricesOfTheTaker(MarketContext(market=each, limits=limits), options) for each in markets}
        super().__init__(attrs.evolve(context, books=books), options)


class TellsAnotherProfit(ReferenceClearing):
    def place(self, command, order_id, state, locked, /):
        return [
            attrs.evolve(each, realized_units=each.realized_units + 1) if isinstance(each, PositionChanged) else each
            for each in super().place(command, order_id, state, locked)
        ]


class ProfitsEarly(ReferenceClearing):
    """Relieves the cost of the first part of a position rounded down."""

    def place(self, command, order_id, state, locked, /):
        events = list(super().place(command, order_id, state, locked))
        for index, each in enumerate(events):
            if isinstance(each, PositionChanged) and each.size_lots and each.realized_units:
                position = self._state.position(each.account, (each.market, each.position_id))
                position.cost_units += 1
                events[index] = attrs.evolve(each, realized_units=each.realized_units + 1)
        return events


class TradesForFree(ReferenceClearing):
    def __init__(self, context, options):
        class Free:
            def rate_ppb(self, account, maker, /):
                return 0

        super().__init__(attrs.evolve(context, fees=dict.fromkeys(context.fees, Free())), options)


class ShowsOrdersToAnybody(ReferenceClearing):
    def order(self, market, account, order_id, client_order_id, /):
        found = (
            super(ShowsOrdersToAnybody, self).order(market, each, order_id, client_order_id) for each in self.accounts()
        )
        return next((order for order in found if order), None)


class KeepsWhatACancelFreed(ReferenceClearing):
    def cancel(self, command, reason, /):
        before = self.need(command.account, 1).initial_units
        events = super().cancel(command, reason)
        self._kept = before - super().need(command.account, 1).initial_units
        return events

    def need(self, account, asset, /):
        need = super().need(account, asset)
        return attrs.evolve(need, initial_units=need.initial_units + getattr(self, "_kept", 0))


class LooksAtTheSizeFirst(ReferenceClearing):
    def place(self, command, order_id, state, locked, /):
        if command.size_lots <= 0:
            return [Rejected(reason=RejectReason.SIZE_NOT_POSITIVE)]
        return super().place(command, order_id, state, locked)


class ChangesOnARefusal(ReferenceClearing):
    def place(self, command, order_id, state, locked, /):
        events = super().place(command, order_id, state, locked)
        if isinstance(events[0], Rejected):
            self._state.sums[command.market].funding_index_scaled += 1
        return events


class CountsRefusals(ReferenceClearing):
    def cancel(self, command, reason, /):
        self._version += 1
        return super().cancel(command, reason)


class CountsNoMarks(ReferenceClearing):
    def set_mark(self, mark, /):
        super().set_mark(mark)
        self._version -= 1


class LetsReduceOnlyOpen(ReferenceClearing):
    def place(self, command, order_id, state, locked, /):
        return super().place(attrs.evolve(command, reduce_only=False), order_id, state, locked)


class ClosesAtAnyPrice(ReferenceClearing):
    def close_on_book(self, account, market, position_id, size_lots, _limit, order_id, cause, /):
        return super().close_on_book(account, market, position_id, size_lots, 10, order_id, cause)


class TakesTheDifference(ReferenceClearing):
    """Lets the house stand in where the changes do not sum to zero."""

    def cross_off_book(self, market, price_ticks, closings, cause, /):
        missing = -sum(closing.change_lots for closing in closings)
        rest = [Closing(account=HOUSE, position_id=INVENTORY_LONG, change_lots=missing)] if missing else []
        return super().cross_off_book(market, price_ticks, [*closings, *rest], cause)


class ForgivesTheDebt(ReferenceClearing):
    def cross_off_book(self, market, price_ticks, closings, cause, /):
        events = super().cross_off_book(market, price_ticks, closings, cause)
        self._state.position(HOUSE, (market, INVENTORY_LONG)).unpaid_units = 0
        return events


class EmptiesTheFundingAccount(ReferenceClearing):
    def settle_funding(self, pool, /):
        events = super().settle_funding(pool)
        funding = of_market(Chart.FUNDING, 1, 1)
        self._state.ledger.move(funding, house(Chart.FEES, 1), self.balance(funding) % 2)
        return events


class SharesEveryMargin(ReferenceClearing):
    def set_position_terms(self, command, /):
        return super().set_position_terms(attrs.evolve(command, isolated=False))


class TellsTheWorstLast(ReferenceClearing):
    def breached(self, stopped, /):
        return list(reversed(super().breached(stopped)))


class NeverStops(ReferenceClearing):
    def breached(self, stopped, /):
        return super().breached(frozenset())


class TakesEverybodyForAWinner(ReferenceClearing):
    def winners(self, market, against, price_ticks, /):
        both = (super(TakesEverybodyForAWinner, self).winners(market, side, price_ticks) for side in (1, -1))
        return [winner for side in both for winner in side]


class LeaksAUnit(ReferenceClearing):
    def place(self, command, order_id, state, locked, /):
        events = super().place(command, order_id, state, locked)
        self._state.ledger._custody_side[1] -= any(isinstance(each, Filled) for each in events)
        return events


class LosesThePlace(ReferenceClearing):
    """Takes every amended order out, and puts it back behind the others."""

    def amend(self, command, state, locked, /):
        events = super().amend(command, state, locked)
        self._behind(command, state, locked)
        return events

    def _behind(self, command, state, locked):
        rests = self.order(command.market, command.account, command.order_id, 0)
        for price in (rests.price_ticks - 1, rests.price_ticks) if rests else ():
            super().amend(attrs.evolve(command, size_lots=0, price_ticks=price), state, locked)


class LosesThePlaceOfWhatItRefuses(LosesThePlace):
    def amend(self, command, state, locked, /):
        events = ReferenceClearing.amend(self, command, state, locked)
        if isinstance(events[0], Rejected):
            self._behind(command, state, locked)
        return events


class TradesOnlyWhatIsNew(ReferenceClearing):
    """Lets an amended order rest where it crosses."""

    def amend(self, command, state, locked, /):
        events = super().amend(command, state, locked)
        return [each for each in events if not isinstance(each, Filled)]


class KeepsWhatAnAmendmentFreed(ReferenceClearing):
    def amend(self, command, state, locked, /):
        before = self.pool(command.account, 1).reserved_units
        events = super().amend(command, state, locked)
        freed = before - self.pool(command.account, 1).reserved_units
        for slot_orders in self._state.accounts[command.account].orders.values():
            slot_orders.reserve_units += max(0, freed)
        return events


class ChargesForMovingMargin(ReferenceClearing):
    def adjust_margin(self, command, /):
        events = super().adjust_margin(command)
        if not isinstance(events[0], Rejected):
            paid = isolated_margin(command.account, 1, command.market, command.position_id)
            self._state.ledger.move(paid, house(Chart.FEES, 1), 1)
        return events


class PreviewsTheBestPriceOnly(ReferenceClearing):
    def preview(self, command, order_id, state, locked, /):
        said = super().preview(command, order_id, state, locked)
        return attrs.evolve(said, fills=said.fills[:1])


class PreviewsThePositionAsItIs(ReferenceClearing):
    def preview(self, command, order_id, state, locked, /):
        said = super().preview(command, order_id, state, locked)
        return attrs.evolve(said, after=said.before)


class PlacesWhatItPreviews(ReferenceClearing):
    def preview(self, command, order_id, state, locked, /):
        said = super().preview(command, order_id, state, locked)
        self.place(command, order_id, state, locked)
        return said


class PreviewsNoProfit(ReferenceClearing):
    def preview(self, command, order_id, state, locked, /):
        return attrs.evolve(super().preview(command, order_id, state, locked), realized_units=0)


class CancelsBothSides(ReferenceClearing):
    def cancel_all(self, market, account, reason, side=None, position_id=None, /):
        return super().cancel_all(market, account, reason, None, position_id)


class CancelsEveryPosition(ReferenceClearing):
    def cancel_all(self, market, account, reason, side=None, position_id=None, /):
        return super().cancel_all(market, account, reason, side)


class ForgetsTheMode(ReferenceClearing):
    def set_position_mode(self, command, /):
        return super().set_position_mode(attrs.evolve(command, mode=PositionMode.MULTI))


class KnowsNoStress(ReferenceClearing):
    def stressed_need(self, account, asset, /):
        return super().need(account, asset)


class MiscountsATakeOver(ReferenceClearing):
    def cross_off_book(self, market, price_ticks, closings, cause, /):
        events = super().cross_off_book(market, price_ticks, closings, cause)
        if cause is Cause.TAKE_OVER:
            self._state.sums[market].open_interest_lots += 1
        return events


class ForgetsAnOrder(ReferenceClearing):
    def dump(self):
        saved = json.loads(super().dump())
        return json.dumps(saved | {"orders": saved["orders"][1:]}).encode()


class ForgetsTheClientsNumbers(ReferenceClearing):
    def load(self, state, /):
        super().load(state)
        for account in self._state.accounts.values():
            account.by_client_id.clear()


class TellsTheMakerFirst(ReferenceClearing):
    def place(self, command, order_id, state, locked, /):
        accepted, *rest = super().place(command, order_id, state, locked)
        return [accepted, *rest[2:4], *rest[:2], *rest[4:]]


@pytest.mark.parametrize(
    ("faulty", "rule"),
    [
        (KnowsEverybody, "CLEARING-010"),
        (KeepsAUnitOfEveryPosting, "CLEARING-020"),
        (IgnoresWhatCannotBe, "CLEARING-030"),
        (TradesAtTheTakersPrice, "CLEARING-040"),
        (TellsAnotherProfit, "CLEARING-050"),
        (ProfitsEarly, "CLEARING-060"),
        (TellsAnotherProfit, "CLEARING-070"),
        (TradesForFree, "CLEARING-080"),
        (ShowsOrdersToAnybody, "CLEARING-090"),
        (KeepsWhatACancelFreed, "CLEARING-100"),
        (LooksAtTheSizeFirst, "CLEARING-110"),
        (ChangesOnARefusal, "CLEARING-120"),
        (CountsRefusals, "CLEARING-120"),
        (CountsNoMarks, "CLEARING-130"),
        (LetsReduceOnlyOpen, "CLEARING-140"),
        (ClosesAtAnyPrice, "CLEARING-150"),
        (TakesTheDifference, "CLEARING-160"),
        (ForgivesTheDebt, "CLEARING-170"),
        (EmptiesTheFundingAccount, "CLEARING-180"),
        (SharesEveryMargin, "CLEARING-190"),
        (TellsTheWorstLast, "CLEARING-200"),
        (NeverStops, "CLEARING-200"),
        (TakesEverybodyForAWinner, "CLEARING-210"),
        (LosesThePlace, "CLEARING-220"),
        (TradesOnlyWhatIsNew, "CLEARING-222"),
        (LosesThePlaceOfWhatItRefuses, "CLEARING-230"),
        (KeepsWhatAnAmendmentFreed, "CLEARING-240"),
        (ChargesForMovingMargin, "CLEARING-250"),
        (PreviewsThePositionAsItIs, "CLEARING-260"),
        (PlacesWhatItPreviews, "CLEARING-260"),
        (PreviewsTheBestPriceOnly, "CLEARING-262"),
        (PreviewsNoProfit, "CLEARING-262"),
        (CancelsBothSides, "CLEARING-270"),
        (CancelsEveryPosition, "CLEARING-270"),
        (ForgetsTheMode, "CLEARING-280"),
        (KnowsNoStress, "CLEARING-290"),
        (LeaksAUnit, "CLEARING-300"),
        (ForgetsAnOrder, "CLEARING-310"),
        (ForgetsTheClientsNumbers, "CLEARING-310"),
        (TellsTheMakerFirst, "CLEARING-320"),
        (MiscountsATakeOver, "CLEARING-330"),
    ],
)
def test_a_fault_is_caught_by_the_rule_that_is_about_it(faulty, rule):
    class Suite(ClearingConformance):
        def make(self, context):
            return faulty(context, NoOptions())

    assert broken(Suite(), rule)
