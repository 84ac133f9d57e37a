"""Money that moves when a position is closed off the book, owes, or is paid for by another one of its pool."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from perpkit.engine.compose import compose
from perpkit.engine.config import ExchangeConfig
from perpkit.errors import InvariantError
from perpkit.model.cause import Cause
from perpkit.model.command import PlaceOrder, SetPositionTerms
from perpkit.model.event import Event, Filled, FundingSettled, PositionChanged
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT
from perpkit.model.ledger import Chart, Posting, house, isolated_margin, of_market, wallet, withdrawal
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.position import Closing, Exposure
from perpkit.model.price import Mark, PriceState
from perpkit.plugin import Registry
from perpkit.ports.clearing import Clearing

BUY, SELL = Side.BUY, Side.SELL
Make = Callable[..., dict[str, Any]]
ID = 3
"""A position id that is no market's id."""


class Desk:
    """A clearing in which accounts 1 to 4 have 10,000 each and a lot is worth its price; every mark is 100."""

    def __init__(self, tables: dict[str, Any]) -> None:
        config = ExchangeConfig.from_dict(tables)
        self.clearing: Clearing = compose(config, Registry.builtin()).clearing
        self.orders = 0
        for account in (1, 2, 3, 4):
            self.post(Posting(house(Chart.CUSTODY_HOT, 1), wallet(account, 1), 10_000))
        for market in config.markets:
            self.mark(100, market)

    def post(self, posting: Posting) -> None:
        self.clearing.post([posting])

    def mark(self, price: int, market: int = 1) -> None:
        self.clearing.set_mark(Mark(market=market, price_ticks=price, state=PriceState.OK, at_ns=0))

    def place(self, account: int, side: Side, size: int, price: int, market: int = 1, **more: Any) -> Sequence[Event]:
        self.orders += 1
        fields = {"account": account, "market": market, "side": side, "size_lots": size, "price_ticks": price, **more}
        return self.clearing.place(PlaceOrder(**fields), self.orders, MarketState.OPEN, False)

    def trade(
        self, size: int, price: int = 100, *, buyer: int = 1, seller: int = 2, market: int = 1, at: int = 0
    ) -> None:
        """Let the buyer, for its position id `at`, take what the seller offers."""
        self.place(seller, SELL, size, price, market)
        before = self.held(buyer, at, market).size_lots
        self.place(buyer, BUY, size, price, market, position_id=at)
        assert self.held(buyer, at, market).size_lots == before + size

    def isolate(self, leverage: int, account: int = 1, position_id: int = ID) -> None:
        command = SetPositionTerms(account=account, market=1, position_id=position_id, isolated=True, leverage=leverage)
        self.clearing.set_position_terms(command)

    def cross(self, price: int, changes: dict[tuple[int, int], int], cause: Cause = Cause.DELEVERAGING) -> None:
        closings = [Closing(account=a, position_id=p, change_lots=lots) for (a, p), lots in changes.items()]
        self.clearing.cross_off_book(1, price, closings, cause)

    def wallet(self, account: int = 1) -> int:
        return self.clearing.balance(wallet(account, 1))

    def margin(self, account: int = 1, position_id: int = ID) -> int:
        return self.clearing.balance(isolated_margin(account, 1, 1, position_id))

    def inventory(self, market: int = 1) -> int:
        return self.clearing.balance(of_market(Chart.INVENTORY, 1, market))

    def held(self, account: int = 1, position_id: int = ID, market: int = 1) -> Exposure:
        exposures = self.clearing.pool(account, 1).exposures
        flat = Exposure(market=market, position_id=position_id, size_lots=0, cost_units=0, gross_lots=0)
        return next((e for e in exposures if (e.market, e.position_id) == (market, position_id)), flat)

    def balanced(self, market: int = 1) -> bool:
        totals = self.clearing.totals(market)
        sides = self.clearing.conservation(1)
        return totals.size_lots == totals.costs_units + totals.ccp_units == 0 and sides == (40_000, 40_000)


@pytest.fixture
def desk(make_tables: Make) -> Desk:
    """One market without fees."""
    return Desk(make_tables())


# Isolated margin off the book.


def test_deleveraging_gives_back_the_margin_of_what_it_closed_rounded_toward_the_position(desk: Desk) -> None:
    desk.isolate(leverage=5)
    desk.trade(10, 101, at=ID)
    assert (desk.wallet(), desk.margin()) == (9_798, 202)
    desk.cross(101, {(1, ID): -3, (2, 0): 3})
    assert (desk.wallet(), desk.margin()) == (9_798 + 60, 142)  # seven tenths of 202 are 141.4
    desk.cross(101, {(1, ID): -7, (2, 0): 7})
    assert (desk.wallet(), desk.margin()) == (10_000, 0)
    assert desk.balanced()


def test_what_deleveraging_wins_is_shared_as_the_margin_is(desk: Desk) -> None:
    desk.isolate(leverage=5)
    desk.trade(10, at=ID)
    desk.cross(110, {(2, 0): 4, (1, ID): -4})
    assert (desk.wallet(), desk.margin()) == (9_800 + 96, 144)  # of 200 and 40 won, four tenths


def test_with_a_take_over_the_margin_that_is_left_goes_to_the_house(desk: Desk) -> None:
    desk.isolate(leverage=5)
    desk.trade(10, at=ID)
    desk.cross(95, {(1, ID): -10, (HOUSE, INVENTORY_LONG): 10}, Cause.TAKE_OVER)
    assert (desk.wallet(), desk.margin(), desk.inventory()) == (9_800, 0, 150)
    assert desk.balanced()


@pytest.mark.parametrize(("side", "position_id"), [(1, INVENTORY_LONG), (-1, INVENTORY_SHORT)])
def test_the_debts_of_positions_taken_over_add_up_in_the_inventory(desk: Desk, side: int, position_id: int) -> None:
    for account in (1, 2):
        desk.isolate(leverage=10, account=account)
        desk.place(3, SELL if side > 0 else BUY, 10, 100)
        desk.place(account, BUY if side > 0 else SELL, 10, 100, position_id=ID)
    for account in (1, 2):  # each loses 150 and has 100
        changes = {(account, ID): -10 * side, (HOUSE, position_id): 10 * side}
        desk.cross(100 - 15 * side, changes, Cause.TAKE_OVER)
        assert desk.clearing.pool(account, 1).exposures == ()
    (taken,) = desk.clearing.pool(HOUSE, 1).exposures
    assert (taken.position_id, taken.size_lots, taken.unpaid_units) == (position_id, 20 * side, 100)
    assert desk.balanced()


def owing(desk: Desk, closed: int) -> None:
    """Let account 1 lose 20 a lot on its isolated long of 10 lots with 100 of margin."""
    desk.isolate(leverage=10)
    desk.trade(10, at=ID)
    desk.mark(80)
    desk.place(2, BUY, closed, 80)
    desk.clearing.close_on_book(1, 1, ID, closed, 80, 0, Cause.LIQUIDATION)
    assert (desk.margin(), desk.held().unpaid_units) == (0, 20 * closed - 100)


def test_a_debt_without_a_position_goes_to_the_long_inventory(desk: Desk) -> None:
    owing(desk, closed=10)
    desk.cross(80, {(1, ID): 0}, Cause.TAKE_OVER)
    (taken,) = desk.clearing.pool(HOUSE, 1).exposures
    assert (taken.position_id, taken.size_lots, taken.unpaid_units) == (INVENTORY_LONG, 0, 100)


def test_what_a_position_that_is_still_open_owes_stays_with_it(desk: Desk) -> None:
    owing(desk, closed=6)
    desk.cross(80, {(1, ID): -2, (2, 0): 2})
    assert desk.held().unpaid_units == 60
    assert desk.clearing.pool(HOUSE, 1).exposures == ()


def test_a_position_that_owes_keeps_its_margin_when_it_is_reduced(desk: Desk) -> None:
    owing(desk, closed=6)
    desk.trade(10, 80, buyer=1, seller=3, at=ID)
    assert desk.margin() == 80
    desk.cross(80, {(1, ID): -1, (2, 0): 1})  # of the cost of 1,200 over 14 lots, 86 are relieved: 6 are lost
    assert (desk.wallet(), desk.margin(), desk.held().unpaid_units) == (10_000 - 100 - 80, 74, 20)


def test_a_margin_of_one_unit_is_not_given_back_before_the_position_is_closed(desk: Desk) -> None:
    desk.mark(1)
    desk.isolate(leverage=10)
    desk.trade(10, 1, at=ID)
    assert desk.margin() == 1
    desk.cross(1, {(1, ID): -1, (2, 0): 1})
    assert desk.margin() == 1


def test_adding_one_lot_to_one_lot_adds_its_margin(desk: Desk) -> None:
    desk.isolate(leverage=10)
    desk.trade(1, at=ID)
    desk.trade(1, at=ID)
    assert (desk.wallet(), desk.margin()) == (9_980, 20)


def test_adding_to_a_position_pays_the_rate_of_the_bracket_that_it_reaches(desk: Desk) -> None:
    desk.isolate(leverage=0)
    desk.trade(100, at=ID)
    assert desk.margin() == 1_000
    desk.trade(100, at=ID, seller=3)
    assert desk.margin() == 3_000  # all that 20,000 need


# What a fill tells, and what rounding leaves.


def test_a_fill_tells_both_sides_in_full(make_tables: Make) -> None:
    fees = {"provider": "maker-taker", "options": {"maker": "-1%", "taker": "2%"}}
    desk = Desk(make_tables({}, {}, exchange={"fees": fees}))
    desk.place(2, SELL, 10, 101, market=2, position_id=ID)
    events = desk.place(1, BUY, 4, 105, market=2, position_id=7)
    fields: dict[str, Any] = {"market": 2, "price_ticks": 101, "cause": Cause.TRADE}
    assert [event for event in events if isinstance(event, Filled)] == [
        Filled(account=1, position_id=7, order_id=2, size_lots=4, fee_units=9, maker=False, **fields),
        Filled(account=2, position_id=ID, order_id=1, size_lots=-4, fee_units=-4, maker=True, **fields),
    ]
    changed: dict[str, Any] = {"market": 2, "unpaid_units": 0, "realized_units": 0, "cause": Cause.TRADE}
    assert [event for event in events if isinstance(event, PositionChanged)] == [
        PositionChanged(account=1, position_id=7, size_lots=4, cost_units=404, **changed),
        PositionChanged(account=2, position_id=ID, size_lots=-4, cost_units=-404, **changed),
    ]


def test_a_profit_and_a_loss_of_one_unit_are_booked(desk: Desk) -> None:
    desk.trade(1)
    desk.trade(1, 101, buyer=2, seller=1)
    assert (desk.wallet(1), desk.wallet(2)) == (10_001, 9_999)


def test_who_takes_what_rounding_left_over_realises_it_and_keeps_nothing(make_tables: Make) -> None:
    """At half a unit a lot, 1 and 1 are worth 50 each at 101, so account 3 closes 2 for 100 and not for 101."""
    desk = Desk(make_tables({"lot": "0.5"}))
    desk.mark(101)
    for account in (1, 2):
        desk.trade(1, 101, buyer=account, seller=3)
    desk.cross(101, {(1, 0): -1, (2, 0): -1, (3, 0): 2}, Cause.SETTLEMENT)
    totals = desk.clearing.totals(1)
    assert (totals.costs_units, totals.ccp_units, totals.open_interest_lots) == (0, 0, 0)
    assert [desk.wallet(account) for account in (1, 2, 3)] == [10_000, 10_000, 10_000]


# A wallet that is short.


@pytest.fixture
def two(make_tables: Make) -> Desk:
    """Two markets without fees."""
    return Desk(make_tables({}, {}))


def withdraw(desk: Desk, amount: int, account: int = 1) -> None:
    desk.post(Posting(wallet(account, 1), withdrawal(1, 1), amount))


def costs(desk: Desk, *slots: tuple[int, int]) -> list[int]:
    """Return the costs of account 1's positions, given as (market, position id)."""
    return [desk.held(1, position_id, market).cost_units for market, position_id in slots]


def test_profits_become_cash_the_largest_first_and_no_more_than_is_wanted(two: Desk) -> None:
    for market, price in ((1, 130), (2, 150)):
        two.trade(10, market=market)
        two.mark(price, market)
    withdraw(two, 10_400)
    assert (two.wallet(), costs(two, (1, 0), (2, 0))) == (100, [1_000, 1_500])
    withdraw(two, 100)
    assert (two.wallet(), costs(two, (1, 0), (2, 0))) == (0, [1_000, 1_500])
    withdraw(two, 1)
    assert (two.wallet(), costs(two, (1, 0), (2, 0))) == (299, [1_300, 1_500])
    assert two.balanced(1)
    assert two.balanced(2)


def test_equal_profits_become_cash_by_market_then_position_id(two: Desk) -> None:
    slots = [(2, 0), (1, 7), (1, 5)]
    for market, position_id in slots:
        two.trade(10, market=market, at=position_id)
    for market in (1, 2):
        two.mark(110, market)
    withdraw(two, 10_001)
    assert costs(two, *slots) == [1_000, 1_000, 1_100]
    withdraw(two, 100)
    assert costs(two, *slots) == [1_000, 1_100, 1_100]
    withdraw(two, 100)
    assert costs(two, *slots) == [1_100, 1_100, 1_100]


def test_only_profits_of_positions_that_share_the_wallet_become_cash(two: Desk) -> None:
    two.isolate(leverage=5)
    two.trade(10, at=ID)
    two.trade(10, buyer=2, seller=1, market=2)
    for market in (1, 2):
        two.mark(120, market)
    with pytest.raises(InvariantError, match="law 3"):
        withdraw(two, 9_801)
    assert costs(two, (1, ID), (2, 0)) == [1_000, -1_000]


def in_debt(desk: Desk, market: int = 1) -> None:
    """Let account 1, with 50 in its wallet, lose 150 on five of ten lots; the mark is 70 then."""
    desk.trade(10, market=market)
    withdraw(desk, desk.wallet() - 50)
    desk.mark(70, market)
    desk.place(2, BUY, 5, 70, market)
    desk.clearing.close_on_book(1, market, 0, 5, 70, 0, Cause.LIQUIDATION)
    assert (desk.wallet(), desk.held(1, 0, market).unpaid_units) == (0, 100)


def test_an_isolated_loss_turns_no_profit_of_its_owner_into_cash(two: Desk) -> None:
    two.isolate(leverage=10)
    two.trade(10, at=ID)
    two.trade(10, market=2, seller=3)
    two.mark(120, 2)
    two.place(2, BUY, 10, 80)
    two.clearing.close_on_book(1, 1, ID, 10, 80, 0, Cause.LIQUIDATION)
    assert (two.wallet(), two.held().unpaid_units, costs(two, (2, 0))) == (9_900, 100, [1_000])


def test_a_profit_that_becomes_cash_first_pays_what_its_own_position_owes(two: Desk) -> None:
    two.trade(10, market=2, seller=3)
    in_debt(two)
    two.mark(130)
    two.mark(115, 2)
    withdraw(two, 200)
    # 5 lots with a cost of 500 are worth 650: 100 pay the debt, 50 and the other market's 150 are cash.
    assert (two.held(1, 0).unpaid_units, two.held(1, 0).cost_units, two.wallet()) == (0, 650, 0)
    assert two.held(1, 0, 2).cost_units == 1_150
    assert two.balanced(1)
    assert two.balanced(2)


def test_a_loss_is_paid_from_the_profit_of_another_position_before_anything_is_owed(two: Desk) -> None:
    two.trade(10, market=2, seller=3)
    withdraw(two, 9_950)
    two.mark(120, 2)
    two.trade(10)
    two.mark(70)
    two.place(2, BUY, 10, 70)
    two.clearing.close_on_book(1, 1, 0, 10, 70, 0, Cause.LIQUIDATION)
    # 300 lost; 50 in the wallet and 200 of profit pay all but 50.
    assert (two.wallet(), two.held(1, 0).unpaid_units, two.held(1, 0, 2).cost_units) == (0, 50, 1_200)
    assert two.balanced(1)
    assert two.balanced(2)


def deposit(desk: Desk, amount: int, account: int = 1) -> None:
    desk.post(Posting(house(Chart.CUSTODY_HOT, 1), wallet(account, 1), amount))


def test_fresh_money_first_pays_what_is_owed_and_then_stays(desk: Desk) -> None:
    in_debt(desk)
    deposit(desk, 30)
    assert (desk.wallet(), desk.held(1, 0).unpaid_units) == (0, 70)
    deposit(desk, 100)
    assert (desk.wallet(), desk.held(1, 0).unpaid_units) == (30, 0)
    totals = desk.clearing.totals(1)
    assert totals.costs_units + totals.ccp_units == 0


def test_a_flat_position_is_forgotten_once_it_owes_nothing(desk: Desk) -> None:
    in_debt(desk)
    desk.place(2, BUY, 5, 70)
    desk.clearing.close_on_book(1, 1, 0, 5, 70, 0, Cause.LIQUIDATION)
    assert (desk.held(1, 0).size_lots, desk.held(1, 0).unpaid_units) == (0, 250)
    deposit(desk, 251)
    assert (desk.wallet(), desk.clearing.pool(1, 1).exposures) == (1, ())
    assert [row for row in json.loads(desk.clearing.dump())["positions"] if row[0] == 1] == []


def test_debts_are_paid_by_market(two: Desk) -> None:
    two.trade(10, market=2, seller=3)
    in_debt(two)
    two.mark(70, 2)
    two.place(3, BUY, 5, 70, 2)
    two.clearing.close_on_book(1, 2, 0, 5, 70, 0, Cause.LIQUIDATION)
    assert [two.held(1, 0, market).unpaid_units for market in (1, 2)] == [100, 150]
    deposit(two, 120)
    assert [two.held(1, 0, market).unpaid_units for market in (1, 2)] == [0, 130]
    deposit(two, 140)
    assert (two.held(1, 0, 2).unpaid_units, two.wallet()) == (0, 10)


def test_the_wallet_does_not_pay_what_an_isolated_position_owes(desk: Desk) -> None:
    owing(desk, closed=6)
    deposit(desk, 5)
    assert (desk.wallet(), desk.held().unpaid_units) == (9_905, 20)


# Funding.


def fund(desk: Desk, millionths: int) -> None:
    """Let longs owe this many millionths of a unit a lot."""
    desk.clearing.accrue_funding(1, millionths * 1_000)


def funding(desk: Desk) -> tuple[int, int, int]:
    """Return what the funding account holds, what is due in billionths, and how often it was settled."""
    totals = desk.clearing.totals(1)
    return totals.funding_paid_units, totals.funding_base_scaled, totals.funding_settlements


def settle(desk: Desk, account: int) -> list[tuple[int, int, int]]:
    events = desk.clearing.settle_funding((account, 1, 0, 0))
    return [(e.market, e.position_id, e.amount_units) for e in events if isinstance(e, FundingSettled)]


def test_the_payer_of_funding_pays_a_fraction_more_and_the_receiver_gets_a_fraction_less(desk: Desk) -> None:
    desk.trade(3)
    fund(desk, 500_000)
    assert settle(desk, 1) == [(1, 0, 2)]  # 1.5
    assert funding(desk) == (2, 1_500_000_000, 1)
    assert settle(desk, 2) == [(1, 0, -1)]
    assert funding(desk) == (1, 0, 2)
    assert (desk.wallet(1), desk.wallet(2)) == (9_998, 10_001)
    assert settle(desk, 1) == settle(desk, 2) == []
    assert funding(desk) == (1, 0, 2)
    fund(desk, 300_000)
    assert settle(desk, 1) == [(1, 0, 1)]  # 0.9
    assert funding(desk) == (2, 900_000_000, 3)
    assert desk.wallet(1) == 9_997


def test_funding_below_a_unit_is_settled_all_the_same(desk: Desk) -> None:
    desk.trade(3)
    fund(desk, 100_000)
    assert settle(desk, 2) == []  # a receiver of 0.3 gets nothing
    assert funding(desk) == (0, -300_000_000, 1)


def test_a_trade_first_settles_the_funding_of_both_sides(desk: Desk) -> None:
    desk.trade(4)
    fund(desk, -2_000_000)
    desk.trade(4, buyer=2, seller=1)
    assert (desk.wallet(1), desk.wallet(2)) == (10_008, 9_992)
    assert funding(desk) == (0, 0, 2)


def test_a_position_opened_after_funding_accrued_owes_none_of_it(desk: Desk) -> None:
    fund(desk, 2_000_000)
    desk.trade(4)
    fund(desk, 1_000_000)
    assert desk.clearing.totals(1).funding_index_scaled == 3_000_000_000
    assert settle(desk, 1) == [(1, 0, 4)]
    assert settle(desk, 2) == [(1, 0, -4)]
    assert funding(desk) == (0, 0, 2)


def test_funding_that_a_margin_cannot_pay_is_owed_and_reaches_the_receiver_whole(desk: Desk) -> None:
    desk.isolate(leverage=10)
    desk.trade(10, at=ID)
    fund(desk, 13_000_000)
    desk.clearing.settle_funding((1, 1, 1, ID))
    assert (desk.margin(), desk.held().unpaid_units, funding(desk)[0]) == (0, 30, 130)
    assert settle(desk, 2) == [(1, 0, -130)]
    assert desk.balanced()


def test_funding_received_first_pays_what_the_position_owes(desk: Desk) -> None:
    owing(desk, closed=6)
    fund(desk, -7_000_000)
    desk.clearing.settle_funding((1, 1, 1, ID))
    assert (desk.margin(), desk.held().unpaid_units) == (8, 0)
    settle(desk, 2)
    assert funding(desk)[0] == 0
    assert desk.balanced()


# Fees.


@pytest.fixture
def taxed(make_tables: Make) -> Desk:
    """Takers pay 2 %, makers get 1.5 % back, and a liquidation costs 3 %."""
    fees = {"provider": "maker-taker", "options": {"maker": "-1.5%", "taker": "2%"}}
    return Desk(make_tables({"liquidation_fee": "3%"}, exchange={"fees": fees}))


def fees(desk: Desk) -> int:
    return desk.clearing.balance(house(Chart.FEES, 1))


def test_a_fee_takes_at_most_what_is_left_of_an_isolated_margin(taxed: Desk) -> None:
    taxed.isolate(leverage=10)
    taxed.trade(10, at=ID)
    assert (taxed.wallet(), taxed.margin(), fees(taxed)) == (9_880, 100, 5)
    taxed.mark(91)
    taxed.place(3, BUY, 10, 91)
    taxed.clearing.close_on_book(1, 1, ID, 10, 91, 0, Cause.LIQUIDATION)
    # Of 100, 90 are lost; of a fee of 18.2 the 10 that are left are paid, and nothing of the fee for liquidation.
    assert (taxed.wallet(), taxed.margin(), taxed.inventory()) == (9_880, 0, 0)
    assert fees(taxed) == 5 + 10 - 13  # the maker's rebate of 13.65
    assert taxed.wallet(3) == 10_013


def test_a_fee_of_one_unit_is_not_taken_from_a_margin_of_none(make_tables: Make) -> None:
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": "0.1%"}}
    desk = Desk(make_tables(exchange={"fees": fees}))
    desk.isolate(leverage=10)
    desk.trade(10, at=ID)
    desk.place(3, BUY, 10, 90)
    desk.clearing.close_on_book(1, 1, ID, 10, 90, 0, Cause.LIQUIDATION)
    assert (desk.margin(), desk.wallet()) == (0, 10_000 - 1 - 100)


def test_a_rebate_is_at_most_what_fees_have_come_in(taxed: Desk) -> None:
    taxed.isolate(leverage=10)
    taxed.trade(10, at=ID)
    taxed.mark(90)
    taxed.place(3, BUY, 10, 90)
    taxed.clearing.close_on_book(1, 1, ID, 10, 90, 0, Cause.LIQUIDATION)
    assert (taxed.wallet(3), fees(taxed)) == (10_005, 0)  # of 13.5


def test_a_liquidation_on_the_book_pays_its_fee_into_the_inventory_and_keeps_the_margin_it_has(taxed: Desk) -> None:
    taxed.isolate(leverage=2)
    taxed.trade(11, at=ID)
    assert taxed.margin() == 550
    taxed.mark(95)
    taxed.place(3, BUY, 5, 95)
    taxed.clearing.close_on_book(1, 1, ID, 5, 95, 0, Cause.LIQUIDATION)
    # 25 lost, 9.5 for the trade, 14.25 for the liquidation; none of it is given back while the position lives.
    assert (taxed.margin(), taxed.inventory()) == (550 - 25 - 10 - 15, 15)
    taxed.place(3, BUY, 6, 95)
    taxed.clearing.close_on_book(1, 1, ID, 6, 95, 0, Cause.LIQUIDATION)
    assert (taxed.margin(), taxed.inventory()) == (0, 15 + 18)
    assert taxed.wallet() == 10_000 - 22 - 25 - 30 - 10 - 12 - 15 - 18


def test_only_the_liquidated_side_pays_for_a_liquidation(taxed: Desk) -> None:
    taxed.trade(10)
    taxed.place(3, BUY, 10, 95)
    taxed.clearing.close_on_book(1, 1, 0, 10, 95, 0, Cause.LIQUIDATION)
    assert (taxed.wallet(1), taxed.inventory()) == (10_000 - 20 - 50 - 19 - 29, 29)
    assert taxed.wallet(3) == 10_000 + 14


def test_the_house_trades_free(taxed: Desk) -> None:
    taxed.trade(30)
    taxed.cross(90, {(1, 0): -30, (HOUSE, INVENTORY_LONG): 30}, Cause.TAKE_OVER)
    assert fees(taxed) == 60 - 45
    taxed.place(3, BUY, 10, 92)
    events = taxed.clearing.close_on_book(HOUSE, 1, INVENTORY_LONG, 10, 92, 0, Cause.INVENTORY)
    assert [event.fee_units for event in events if isinstance(event, Filled)] == [0, -13]
    assert (taxed.inventory(), fees(taxed)) == (20, 15 - 13)


def test_a_flip_pays_its_fee_and_its_new_margin_from_the_wallet(taxed: Desk) -> None:
    taxed.isolate(leverage=10)
    taxed.trade(10, at=ID)
    taxed.place(3, BUY, 15, 100)
    taxed.place(1, SELL, 15, 100, position_id=ID)
    assert (taxed.wallet(), taxed.margin()) == (10_000 - 20 - 30 - 50, 50)
