"""The full sweep finds what the running totals do not: each kind of finding, with both of its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from perpkit import Exchange, Side
from perpkit.engine import laws
from perpkit.engine.sweep import Finding, sweep
from perpkit.model.cause import Law
from perpkit.model.command import ApproveWithdrawal
from perpkit.model.event import AuditCompleted, FundingAccrued
from perpkit.model.ids import HOUSE
from perpkit.model.ledger import Chart, LedgerAccount, house, isolated_margin, wallet, withdrawal
from perpkit.model.market import MarketSpec
from perpkit.units import HOUR_NS

BUY, SELL = Side.BUY, Side.SELL
Make = Callable[..., Exchange]
HOURLY = {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}}


@pytest.fixture
def exchange(make_exchange: Make) -> Exchange:
    """Account 1 bought 10 at 100 from account 2 and bids for one more at 90; each of three has 1,000."""
    made = make_exchange({}, deposits={1: "1000", 2: "1000", 3: "1000"})
    made.place(2, "PERP-1", SELL, 10, 100)
    made.place(1, "PERP-1", BUY, 10, 100)
    made.place(1, "PERP-1", BUY, 1, 90)
    return made


def tamper(exchange: Exchange, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what clearing has in a dump and load it; its running sums of sizes and costs are in there as they were."""
    state = json.loads(exchange.dump())
    change(state["clearing"])
    exchange.load(json.dumps(state).encode())


def add_to_position(account: int, column: int, amount: int) -> Callable[[dict[str, Any]], None]:
    """Return a change of one position; columns: 3 size, 4 cost, 5 unpaid."""

    def change(clearing: dict[str, Any]) -> None:
        (row,) = [row for row in clearing["positions"] if row[0] == account]
        row[column] += amount

    return change


def balances(exchange: Exchange) -> dict[LedgerAccount, int]:
    """Return the ledger's own balances; what is changed in here does not reach its running sums."""
    return exchange.clearing._state.ledger._balances  # type: ignore[attr-defined,no-any-return]


def found(exchange: Exchange) -> list[Finding]:
    """Return what the sweep finds, after making sure that the totals find nothing."""
    laws.check(exchange._core)
    completed, findings = sweep(exchange._core)
    assert completed.breaches == len(findings)
    return findings


def conservation(expected: int, number: int) -> Finding:
    return Finding(law=Law.CONSERVATION, asset=1, expected=expected, found=number)


def zero_sum(expected: int, number: int) -> Finding:
    return Finding(law=Law.ZERO_SUM, market=1, expected=expected, found=number)


def test_sound_books_are_counted_and_nothing_is_found(exchange: Exchange) -> None:
    assert sweep(exchange._core) == (AuditCompleted(accounts=3, positions=2, orders=1, breaches=0), [])
    assert exchange.audit() == sweep(exchange._core)


def test_books_without_a_mark_or_anything_else_are_sound(make_exchange: Make) -> None:
    exchange = make_exchange({"kind": "inverse"}, price=None)
    assert sweep(exchange._core) == (AuditCompleted(accounts=0, positions=0, orders=0, breaches=0), [])


def test_money_is_found_wherever_the_books_may_keep_it(make_exchange: Make) -> None:
    """Withdrawals on both sides, suspense, a fund, fees, isolated margin, funding half settled, inventory."""
    fees = {"provider": "maker-taker", "options": {"maker": "0", "taker": "1%"}}
    market = {"fees": fees, "liquidation_fee": "1%", "funding": HOURLY}
    exchange = make_exchange(market, market, unit="0.01", deposits_max="10000", price=None)
    for account in (1, 2, 3):
        exchange.deposit(account, "COIN", "2000")
    exchange.capital("COIN", "3000")
    exchange.deposit(4, "COIN", "2000")
    exchange.set_terms(3, "PERP-2", isolated=True, leverage=5)
    for number in (1, 2):
        exchange.quote(f"PERP-{number}", "100", time_ns=HOUR_NS - 1)
        exchange.place(2, f"PERP-{number}", SELL, 30, 100)
    exchange.place(1, "PERP-1", BUY, 30, 100)
    exchange.place(3, "PERP-2", BUY, 17, 100)
    for withdrawal_id in (1, 2):
        assert exchange.withdraw(4, "COIN", "100", withdrawal_id=withdrawal_id).rejected is None
    exchange.apply(ApproveWithdrawal(withdrawal_id=1, time_ns=exchange.clock_ns))
    stamp = exchange.quote("PERP-1", "100", time_ns=HOUR_NS)
    assert [event.rate_ppb for event in stamp.events if isinstance(event, FundingAccrued)] == [100_000] * 2
    assert exchange.withdraw(2, "COIN", "1", withdrawal_id=3).rejected is None
    exchange.quote("PERP-1", "35", time_ns=HOUR_NS + 1)
    # What inventory realises goes to the fund at once; nothing writes to the other four yet.
    unused = {Chart.INVENTORY, Chart.DUST, Chart.CONVERSION, Chart.RECEIVABLE, Chart.CUSTODY_COLD}
    assert {account.chart for account, amount in balances(exchange).items() if amount} == set(Chart) - unused
    assert [each.size_lots for each in exchange.clearing.pool(HOUSE, 1).exposures] == [30]
    assert found(exchange) == []


@pytest.mark.parametrize(
    "nowhere",
    [
        withdrawal(99, 1),
        isolated_margin(1, 1, 1, 7),
        wallet(99, 1),
        LedgerAccount(Chart.INSURANCE, 1, 99),
        LedgerAccount(Chart.CCP, 1, 0, 99),
    ],
    ids=["a withdrawal", "a margin", "an account", "a fund", "a market"],
)
def test_money_that_belongs_to_nothing_there_is_is_missing(exchange: Exchange, nowhere: LedgerAccount) -> None:
    def move_five(clearing: dict[str, Any]) -> None:
        (row,) = [row for row in clearing["ledger"] if row[:3] == [Chart.WALLET, 1, 1]]
        row[-1] -= 5
        clearing["ledger"].append([*nowhere, 5])

    tamper(exchange, move_five)
    assert found(exchange) == [conservation(3_000, 2_995)]


@pytest.mark.parametrize("account", [wallet(1, 1), house(Chart.CUSTODY_HOT, 1)], ids=["client side", "custody side"])
def test_a_balance_that_lost_a_unit_is_found_on_either_side(exchange: Exchange, account: LedgerAccount) -> None:
    balances(exchange)[account] -= 1
    assert found(exchange) == [conservation(3_000, 2_999)]


def test_a_balance_that_lost_a_unit_to_another_side_is_found_twice(exchange: Exchange) -> None:
    balances(exchange)[wallet(1, 1)] += 1
    balances(exchange)[house(Chart.CUSTODY_HOT, 1)] -= 1
    assert found(exchange) == [conservation(3_000, 3_001), conservation(3_000, 2_999)]


@pytest.mark.parametrize(
    ("poor", "rich"),
    [
        (wallet(1, 1), wallet(2, 1)),
        (house(Chart.FEES, 1), wallet(2, 1)),
        (house(Chart.CUSTODY_HOT, 1), house(Chart.CUSTODY_COLD, 1)),
    ],
    ids=["a wallet", "a house account", "custody"],
)
def test_a_debt_is_found_though_all_of_it_adds_up(exchange: Exchange, poor: LedgerAccount, rich: LedgerAccount) -> None:
    owed = balances(exchange).get(poor, 0) + 7
    balances(exchange)[poor] = -7
    balances(exchange)[rich] = balances(exchange).get(rich, 0) + owed
    assert found(exchange) == [Finding(law=Law.NO_DEBT, asset=1, expected=0, found=-7)]


@pytest.mark.parametrize(
    ("account", "findings"),
    [(1, [zero_sum(0, 1), zero_sum(10, 11), zero_sum(0, 100)]), (2, [zero_sum(0, 1), zero_sum(0, 100)])],
    ids=["a long that grew", "a short that shrank"],
)
def test_a_size_that_nobody_is_against_is_found(exchange: Exchange, account: int, findings: list[Finding]) -> None:
    tamper(exchange, add_to_position(account, 3, 1))
    assert found(exchange) == findings


@pytest.mark.parametrize("column", [4, 5], ids=["cost", "unpaid"])
def test_a_cost_that_nobody_has_is_found(exchange: Exchange, column: int) -> None:
    tamper(exchange, add_to_position(2, column, 3))
    assert found(exchange) == [zero_sum(0, 3)]


def test_an_open_interest_that_is_not_that_of_the_positions_is_found(exchange: Exchange) -> None:
    tamper(exchange, add_to_position(1, 3, 1))
    tamper(exchange, add_to_position(2, 3, -1))
    assert found(exchange) == [zero_sum(10, 11)]


@pytest.mark.parametrize(
    ("rounding", "more", "worth"), [("fill", 2, 0), ("fill", 3, 3), ("fill", -3, -3), ("unit", 1, 1)]
)
def test_positions_are_worth_nothing_together_but_for_a_unit_each_of_rounding(
    make_exchange: Make, monkeypatch: pytest.MonkeyPatch, rounding: str, more: int, worth: int
) -> None:
    exchange = make_exchange({"value_rounding": rounding}, deposits={1: "1000", 2: "1000"})
    exchange.place(2, "PERP-1", SELL, 10, 100)
    exchange.place(1, "PERP-1", BUY, 10, 100)
    monkeypatch.setattr(MarketSpec, "value", lambda _, size, price: size * price + more * (size > 0))
    assert found(exchange) == [zero_sum(0, worth)] * (worth != 0)


def test_an_order_that_only_the_book_lost_still_reserves(exchange: Exchange) -> None:
    (order,) = exchange.clearing.orders(1, BUY)
    exchange.clearing._books[1].reduce(order.id, 1)  # type: ignore[attr-defined]
    assert found(exchange) == [Finding(law=Law.RESERVATIONS, market=1, expected=0, found=1)]


def test_an_order_in_the_book_that_reserves_nothing_is_found(exchange: Exchange) -> None:
    exchange.clearing._state.accounts[1].orders.clear()  # type: ignore[attr-defined]
    assert found(exchange) == [Finding(law=Law.RESERVATIONS, market=1, expected=1, found=0)]


def test_a_finding_names_its_market_and_its_asset(make_exchange: Make) -> None:
    exchange = make_exchange({}, {}, deposits={1: "1000", 2: "1000"})
    for number in (1, 2):
        exchange.place(2, f"PERP-{number}", SELL, 10, 100)
        exchange.place(1, f"PERP-{number}", BUY, 10, 100)

    def change(clearing: dict[str, Any]) -> None:
        clearing["positions"][1][4] += 1

    tamper(exchange, change)
    balances(exchange)[wallet(1, 1)] -= 1
    assert found(exchange) == [
        conservation(2_000, 1_999),
        Finding(law=Law.ZERO_SUM, market=2, expected=0, found=1),
    ]


def test_funding_that_nobody_paid_is_found(make_exchange):
    exchange = make_exchange({"funding": HOURLY}, deposits={1: "1000", 2: "1000"}, price=None)
    exchange.quote("PERP-1", "100", time_ns=HOUR_NS - 1)
    exchange.place(2, "PERP-1", SELL, 10, 100)
    exchange.place(1, "PERP-1", BUY, 10, 100)
    exchange.quote("PERP-1", "100", time_ns=HOUR_NS)

    def change(clearing):
        clearing["positions"][1][6] -= 50 * 10**9  # the short's funding index: 500 more are due to it

    tamper(exchange, change)
    assert [each.law for each in found(exchange)] == [Law.ZERO_SUM]
