"""What a deposit that its chain takes back does to the books, to the unit, and how that is mended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perpkit import Exchange, MarketState, RejectReason, Side
from perpkit.audit.witness import Witness
from perpkit.model.cause import CancelReason, Cause, Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    DepositReversed,
    RequestWithdrawal,
    ResumeExchange,
    SetMarketState,
    WithdrawalSent,
)
from perpkit.model.event import (
    BreachFound,
    DepositCredited,
    DepositReverted,
    Event,
    FundingSettled,
    FundMoved,
    OrderCancelled,
    WithdrawalReturned,
)
from perpkit.model.ledger import Chart, Posting, house, insurance, receivable, wallet, withdrawal
from perpkit.units import SCALE

R = RejectReason
NOW = 10
HOT = house(Chart.CUSTODY_HOT, 1)


class Books:
    """An exchange, and the second bookkeeper who hears all it tells."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.witness = exchange, Witness()
        for account, amount in ((1, 1_000), (2, 100_000)):
            self.told(DepositObserved(deposit_id=account, account=account, asset=1, amount_units=amount, time_ns=NOW))

    def told(self, command: Command) -> list[Event]:
        outcome = self.exchange.apply(command)
        assert outcome.rejected is None
        self.witness.note(outcome)
        return list(outcome.events)

    def trade(self, side: Side, lots: int, price: int, market: str = "PERP-1") -> None:
        """Let account 1 trade with account 2."""
        for account, own in ((2, Side.SELL if side is Side.BUY else Side.BUY), (1, side)):
            outcome = self.exchange.place(account, market, own, lots, price)
            assert outcome.rejected is None
            self.witness.note(outcome)

    def mark(self, price: int) -> None:
        self.witness.note(self.exchange.quote("PERP-1", price, time_ns=NOW))

    def withdraw(self, account: int, amount: int, number: int) -> None:
        self.told(request(account, amount, number))
        self.told(ApproveWithdrawal(withdrawal_id=number, time_ns=NOW))

    def reverse(self, number: int) -> list[Event]:
        return self.told(DepositReversed(deposit_id=number, time_ns=NOW))

    def balance(self, *accounts: object) -> list[int]:
        return [self.exchange.clearing.balance(each) for each in accounts]  # type: ignore[arg-type]

    def agree(self) -> bool:
        return not (self.exchange.audit()[1] or self.witness.complaints or self.witness.compare(self.exchange))


@pytest.fixture
def books(make_exchange: Callable[..., Exchange]) -> Books:
    """Account 1 has 1,000 by deposit 1, account 2 100,000 by deposit 2; the mark is 100."""
    return Books(make_exchange(deposits_max="110000"))


def request(account: int, amount: int, number: int) -> RequestWithdrawal:
    return RequestWithdrawal(withdrawal_id=number, account=account, asset=1, amount_units=amount, time_ns=NOW)


def reverted(number: int, amount: int, shortfall: int = 0, account: int = 1) -> DepositReverted:
    return DepositReverted(deposit_id=number, account=account, asset=1, amount_units=amount, shortfall_units=shortfall)


def test_it_leaves_the_wallet_and_custody_and_nothing_else_changes(books: Books) -> None:
    assert books.reverse(1) == [reverted(1, 1_000)]
    assert books.balance(wallet(1, 1), wallet(2, 1), HOT, receivable(1, 1)) == [0, 100_000, 100_000, 0]
    assert books.exchange.clearing.conservation(1) == (100_000, 100_000)
    assert books.exchange.market_states == {1: MarketState.OPEN}
    assert books.agree()


def test_it_is_taken_back_once_and_its_id_is_not_used_again(books: Books) -> None:
    books.reverse(1)
    again = DepositReversed(deposit_id=1, time_ns=NOW)
    assert books.exchange.apply(again).rejected is R.ID_REUSED
    deposit = DepositObserved(deposit_id=1, account=1, asset=1, amount_units=1_000, time_ns=NOW)
    assert books.exchange.apply(deposit).rejected is R.ID_REUSED
    assert books.exchange.apply(DepositReversed(deposit_id=99, time_ns=NOW)).rejected is R.UNKNOWN_DEPOSIT
    books.exchange.load(books.exchange.dump())
    assert books.exchange.apply(again).rejected is R.ID_REUSED
    assert books.balance(wallet(1, 1)) == [0]


def test_what_waited_in_suspense_leaves_suspense_and_makes_room_under_the_limit(books: Books) -> None:
    books.told(DepositObserved(deposit_id=3, account=1, asset=1, amount_units=9_500, time_ns=NOW))
    assert books.balance(wallet(1, 1), house(Chart.SUSPENSE, 1)) == [10_000, 500]
    assert books.reverse(3) == [reverted(3, 9_500)]
    assert books.balance(wallet(1, 1), house(Chart.SUSPENSE, 1), HOT) == [1_000, 0, 101_000]
    (credited,) = books.told(DepositObserved(deposit_id=4, account=1, asset=1, amount_units=9_000, time_ns=NOW))
    assert credited == DepositCredited(deposit_id=4, account=1, asset=1, amount_units=9_000, suspended_units=0)
    assert books.agree()


def test_money_of_nobody_leaves_suspense(books: Books) -> None:
    books.told(DepositObserved(deposit_id=3, account=0, asset=1, amount_units=70, time_ns=NOW))
    assert books.reverse(3) == [reverted(3, 70, account=0)]
    assert books.balance(house(Chart.SUSPENSE, 1), HOT) == [0, 101_000]
    assert books.agree()


def test_capital_leaves_its_fund(books: Books) -> None:
    books.told(CapitalObserved(deposit_id=3, fund=1, asset=1, amount_units=300, time_ns=NOW))
    moved = FundMoved(fund=1, asset=1, market=0, amount_units=-300, balance_units=0, cause=Cause.CAPITAL)
    assert books.reverse(3) == [reverted(3, 300, account=0), moved]
    assert books.balance(insurance(1, 1), HOT) == [0, 101_000]
    assert books.agree()


def test_what_a_fund_has_spent_of_it_the_operator_owes_and_pays_first(books: Books) -> None:
    books.told(CapitalObserved(deposit_id=3, fund=1, asset=1, amount_units=300, time_ns=NOW))
    books.exchange.clearing.post([Posting(insurance(1, 1), house(Chart.FEES, 1), 120)])  # as if for a loss
    told, _, found, *_ = books.reverse(3)
    assert told == reverted(3, 300, 120, account=0)
    assert isinstance(found, BreachFound)
    assert books.balance(insurance(1, 1), receivable(0, 1)) == [0, -120]
    credited, moved = books.told(CapitalObserved(deposit_id=4, fund=1, asset=1, amount_units=200, time_ns=NOW))
    assert credited == DepositCredited(
        deposit_id=4, account=0, asset=1, amount_units=200, suspended_units=0, repaid_units=120
    )
    assert moved == FundMoved(fund=1, asset=1, market=0, amount_units=80, balance_units=80, cause=Cause.CAPITAL)


def lost(books: Books) -> list[Event]:
    """Let account 1 lose 500 of its 1,000 to account 2, and its chain take the 1,000 back."""
    books.trade(Side.BUY, 50, 100)
    books.mark(90)
    books.trade(Side.SELL, 50, 90)
    return books.reverse(1)


def test_what_was_lost_is_owed_and_halts_every_market_with_the_number(books: Books) -> None:
    told, found, *_ = lost(books)
    assert told == reverted(1, 1_000, 500)
    assert isinstance(found, BreachFound)
    assert (found.law, found.asset, found.expected, found.found) == (Law.NO_DEBT, 1, 0, -500)
    assert found.evidence == books.exchange.evidence != 0
    assert books.exchange.market_states == {1: MarketState.HALTED}
    assert books.balance(wallet(1, 1), wallet(2, 1), receivable(1, 1), HOT) == [0, 100_500, -500, 100_000]
    assert books.exchange.clearing.conservation(1) == (100_000, 100_000)
    (finding,) = books.exchange.audit()[1]  # nothing but the debt is wrong, and every audit says so until it is paid
    assert (finding.law, finding.expected, finding.found) == (Law.NO_DEBT, 0, -500)
    assert not books.witness.complaints + books.witness.compare(books.exchange)


@pytest.mark.parametrize(("amount", "repaid"), [(400, 400), (500, 500), (700, 500)])
def test_a_later_deposit_pays_what_is_owed_first(books: Books, amount: int, repaid: int) -> None:
    lost(books)
    (credited,) = books.told(DepositObserved(deposit_id=9, account=1, asset=1, amount_units=amount, time_ns=NOW))
    assert credited == DepositCredited(
        deposit_id=9, account=1, asset=1, amount_units=amount, suspended_units=0, repaid_units=repaid
    )
    assert books.balance(wallet(1, 1), receivable(1, 1)) == [amount - repaid, repaid - 500]
    assert books.agree() is (repaid == 500)
    resume = ResumeExchange(evidence=books.exchange.evidence, operator=1, second_operator=2, time_ns=NOW)
    books.told(resume)
    assert books.exchange.market_states == {1: MarketState.CANCEL_ONLY}


def test_a_deposit_that_paid_for_another_can_be_taken_back_as_well(books: Books) -> None:
    lost(books)
    books.told(DepositObserved(deposit_id=9, account=1, asset=1, amount_units=700, time_ns=NOW))
    told, *_ = books.reverse(9)
    assert told == reverted(9, 700, 500)
    assert books.balance(wallet(1, 1), receivable(1, 1)) == [0, -500]


@pytest.mark.parametrize(
    ("lots", "free", "reason"),
    [(0, 20, R.INSUFFICIENT_BALANCE), (1, 10, R.INSUFFICIENT_MARGIN), (-1, 5, R.MARGIN_UNDER_STRESS)],
    ids=["nothing else", "an order that needs 10", "a position that needs 15 when the price moves by 10 %"],
)
def test_who_owes_takes_out_no_more_than_what_is_above_it(
    make_exchange: Callable[..., Exchange], lots: int, free: int, reason: RejectReason
) -> None:
    """The margin of its isolated position stays with it, and when that comes back 480 of the 500 are owed."""
    books = Books(make_exchange({"withdrawal_stress": "10%"}, {}))
    exchange = books.exchange
    assert exchange.set_terms(1, "PERP-2", isolated=True, leverage=10).rejected is None
    books.trade(Side.BUY, 50, 100, "PERP-2")
    told, *_ = books.reverse(1)
    assert told == reverted(1, 1_000, 500)
    books.told(ResumeExchange(evidence=exchange.evidence, operator=1, second_operator=2, time_ns=NOW))
    for market in (1, 2):
        books.told(SetMarketState(market=market, state=MarketState.OPEN, time_ns=NOW))
    books.trade(Side.SELL, 50, 100, "PERP-2")
    books.told(DepositObserved(deposit_id=9, account=1, asset=1, amount_units=20, time_ns=NOW))
    assert books.balance(wallet(1, 1), receivable(1, 1)) == [500, -480]
    if lots > 0:
        exchange.place(1, "PERP-1", Side.BUY, 1, 100)
    if lots < 0:
        books.trade(Side.BUY, 1, 100)
    assert exchange.apply(request(1, free + 1, 5)).rejected is reason
    assert exchange.apply(request(1, free, 5)).rejected is None


def test_unrealised_profit_pays_before_anything_is_owed(books: Books) -> None:
    """The wallet has 100 left and the position a profit of 1,000."""
    books.trade(Side.BUY, 50, 100)
    books.mark(120)
    books.withdraw(1, 900, 5)
    books.told(WithdrawalSent(withdrawal_id=5, time_ns=NOW))
    assert [e for e in books.reverse(1) if isinstance(e, DepositReverted)] == [reverted(1, 1_000)]
    assert books.balance(wallet(1, 1), receivable(1, 1)) == [100, 0]
    assert books.agree()


def test_what_an_open_position_has_lost_stays_for_its_counterparty(books: Books) -> None:
    """Of the 1,000 in the wallet 500 are lost at the mark: taken, the fund would have to pay them to account 2."""
    books.trade(Side.BUY, 50, 100)
    books.mark(90)
    (told,) = [each for each in books.reverse(1) if isinstance(each, DepositReverted)]
    assert told == reverted(1, 1_000, 500)
    assert books.balance(wallet(1, 1), receivable(1, 1)) == [500, -500]


def test_an_account_that_is_worth_less_than_nothing_gives_nothing(books: Books) -> None:
    """Nobody is liquidated while the market is halted."""
    books.trade(Side.BUY, 50, 100)
    books.told(SetMarketState(market=1, state=MarketState.HALTED, time_ns=NOW))
    books.mark(79)
    (told,) = [each for each in books.reverse(1) if isinstance(each, DepositReverted)]
    assert told == reverted(1, 1_000, 1_000)
    assert books.balance(wallet(1, 1), receivable(1, 1)) == [1_000, -1_000]


def test_funding_that_is_due_is_settled_before_anything_is_taken(books: Books) -> None:
    """The wallet has 950 left, and 50 lots are owed 2 each."""
    books.trade(Side.BUY, 50, 100)
    books.withdraw(1, 50, 5)
    books.told(WithdrawalSent(withdrawal_id=5, time_ns=NOW))
    books.exchange.clearing.accrue_funding(1, -2 * SCALE)
    settled, told = books.reverse(1)
    assert settled == FundingSettled(market=1, account=1, position_id=0, amount_units=-100)
    assert told == reverted(1, 1_000)
    assert books.balance(wallet(1, 1)) == [50]


def test_what_its_account_holds_for_withdrawal_comes_back_first(books: Books) -> None:
    books.told(request(1, 600, 5))
    assert books.reverse(1) == [
        WithdrawalReturned(withdrawal_id=5, account=1, asset=1, amount_units=600, recalled=True),
        reverted(1, 1_000),
    ]
    assert books.exchange.held() == ()
    assert books.agree()


@pytest.mark.parametrize(("lots", "stays"), [(40, True), (41, False)])
def test_orders_that_are_not_backed_any_more_are_cancelled(books: Books, lots: int, stays: bool) -> None:
    """An order of n lots at 100 needs 10 n; 400 are left."""
    books.told(DepositObserved(deposit_id=3, account=1, asset=1, amount_units=400, time_ns=NOW))
    order = books.exchange.place(1, "PERP-1", Side.BUY, lots, 100)
    told, *cancelled = books.reverse(1)
    assert told == reverted(1, 1_000)
    gone = {"market": 1, "account": 1, "order_id": order.sequence, "size_lots": lots, "left_lots": 0}
    assert cancelled == ([] if stays else [OrderCancelled(**gone, reason=CancelReason.UNAFFORDABLE)])
    assert len(books.exchange.clearing.orders(1, Side.BUY)) == stays


def test_money_on_its_way_out_that_was_never_there_shows_in_custody(books: Books) -> None:
    """All 101,000 are released when 1,000 turn out not to have come: custody is asked for more than it has."""
    books.withdraw(1, 1_000, 5)
    books.withdraw(2, 100_000, 6)
    told, *_ = books.reverse(1)
    assert told == reverted(1, 1_000, 1_000)
    in_flight = house(Chart.CUSTODY_IN_FLIGHT, 1)
    assert books.balance(HOT, in_flight, receivable(1, 1)) == [-1_000, 101_000, -1_000]
    assert books.exchange.clearing.conservation(1) == (100_000, 100_000)
    assert [(each.law, each.found) for each in books.exchange.audit()[1]] == [(Law.NO_DEBT, -1_000)] * 2


def test_nothing_is_released_that_a_reversed_deposit_left_custody_without(books: Books) -> None:
    """Account 1 has taken its 1,000 out. What backs account 2 is 1,000 short; it gets all but those."""
    books.withdraw(1, 1_000, 5)
    books.told(WithdrawalSent(withdrawal_id=5, time_ns=NOW))
    books.told(request(2, 100_000, 6))
    books.reverse(1)
    books.told(ResumeExchange(evidence=books.exchange.evidence, operator=1, second_operator=2, time_ns=NOW))
    assert books.told(ApproveWithdrawal(withdrawal_id=6, time_ns=NOW)) == [
        WithdrawalReturned(withdrawal_id=6, account=2, asset=1, amount_units=100_000, recalled=True)
    ]
    books.withdraw(2, 99_000, 7)
    assert books.balance(HOT, withdrawal(7, 1), wallet(2, 1)) == [0, 99_000, 1_000]


def test_the_same_log_leads_to_the_same_state_from_a_snapshot_in_between(books: Books) -> None:
    books.told(request(1, 600, 5))
    other = type(books.exchange)(books.exchange._core.parts, books.exchange._core.config)
    state = books.exchange.dump()
    books.reverse(1)
    after = books.exchange.dump()
    other.load(state)
    other.apply(DepositReversed(deposit_id=1, time_ns=NOW))
    assert other.dump() == after
