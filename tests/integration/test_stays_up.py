"""Nothing that a client may do stops the exchange, makes money or leaves traces behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from perpkit import ConfigError, Exchange, Side
from perpkit.model.command import ApproveWithdrawal, IndexQuotes, PlaceOrder, WithdrawalSent
from perpkit.model.event import LossSocialized
from perpkit.model.price import Quote
from perpkit.units import HOUR_NS, MINUTE_NS

BUY, SELL = Side.BUY, Side.SELL
Make = Callable[..., Exchange]


def test_two_accounts_of_one_owner_take_out_no_more_than_they_put_in(make_exchange: Make) -> None:
    """The mark stands at 100. Account 1 sells its isolated long to account 2 at 60; its margin bears 10 a lot."""
    exchange = make_exchange({}, deposits={1: "1000", 2: "1000", 3: "1000"})
    exchange.capital("COIN", "5000")
    exchange.set_terms(1, "PERP-1", isolated=True, leverage=10)
    exchange.place(2, "PERP-1", SELL, 10, 100)
    exchange.place(1, "PERP-1", BUY, 10, 100)
    exchange.place(2, "PERP-1", BUY, 10, 60)
    exchange.place(1, "PERP-1", SELL, 10, 60)
    assert sum(exchange.clearing.need(account, 1).equity_units for account in (1, 2)) <= 2_000


def test_an_order_that_rests_cannot_outlive_the_margin_that_bounded_it(make_exchange: Make) -> None:
    """Long 10 at 100 with 100 may sell at 90. Then 10 of funding are due, and 91 is all that its margin bears."""
    hourly = {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "impact_notional_units": 10**6}
    rates = {"interest_ppb": 10_000_000, "clamp_ppb": 10_000_000, "cap_ppb": 10_000_000}
    funding = {"provider": "premium", "options": hourly | rates}
    exchange = make_exchange({"funding": funding}, deposits={1: "1000", 2: "1000"}, price=None)
    exchange.capital("COIN", "5000")
    exchange.quote("PERP-1", "100", time_ns=8 * HOUR_NS)
    exchange.set_terms(1, "PERP-1", isolated=True, leverage=10)
    exchange.place(2, "PERP-1", SELL, 10, 100)
    exchange.place(1, "PERP-1", BUY, 10, 100)
    assert exchange.place(1, "PERP-1", SELL, 10, 90).rejected is None
    exchange.quote("PERP-1", "100", time_ns=9 * HOUR_NS)
    exchange.place(2, "PERP-1", BUY, 10, 90)
    assert sum(exchange.clearing.need(account, 1).equity_units for account in (1, 2)) <= 2_000


def test_a_position_that_owes_and_holds_nothing_is_written_off(make_exchange: Make) -> None:
    exchange = make_exchange({}, deposits={1: "1000", 2: "1000"})
    exchange.capital("COIN", "5000")
    exchange.set_terms(1, "PERP-1", isolated=True, leverage=10)
    exchange.place(2, "PERP-1", SELL, 10, 100)
    exchange.place(1, "PERP-1", BUY, 10, 100)
    state = json.loads(exchange.dump())  # as if the position had been closed at 60
    state["clearing"]["ledger"] = [
        [2, 1, 1, 1, 0, 0] if row[0] == 2 else [*row[:5], row[5] + 400] if row[:3] == [1, 1, 2] else row
        for row in state["clearing"]["ledger"]
    ] + [[12, 1, 0, 1, 0, -300]]
    state["clearing"]["positions"] = [[1, 1, 0, 0, 0, 300, 0, 1, 10]]
    state["clearing"]["sums"] = [[1, 0, 300, 0, 0, 0, 0]]
    exchange.load(json.dumps(state).encode())
    exchange.quote("PERP-1", "101", time_ns=2)
    owing = [each for account in (1, 2) for each in exchange.clearing.pool(account, 1).exposures if each.unpaid_units]
    assert owing == []


def test_a_loss_is_shared_with_accounts_whose_equity_is_funding_that_is_due(make_exchange: Make) -> None:
    hourly = {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "interest_ppb": 3_000_000, "clamp_ppb": 5_000_000}
    inverse = {"kind": "inverse", "lot": "100", "price_min": "5", "order_max": "100000", "open_interest_max": "1000000"}
    exchange = make_exchange(
        {},
        inverse,
        unit="0.01",
        exchange={
            "fees": {"provider": "maker-taker", "options": {"maker": "-0.02%", "taker": "0.1%"}},
            "margin": {"provider": "tiered", "options": {"maintenance_basis": "entry", "closing_fee": "in"}},
            "funding": {"provider": "premium", "options": hourly | {"cap_ppb": 10_000_000}},
        },
        limits={"work_max": 1},
        deposits={1: "78", 2: "141", 3: "469", 4: "311"},
        price=None,
    )

    def quote(minutes: int, *prices: int) -> Any:
        at_ns = 8 * HOUR_NS + minutes * MINUTE_NS
        quotes = [
            Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=at_ns)
            for market, price in enumerate(prices, start=1)
            for source in range(3)
        ]
        return exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=at_ns))

    def place(minutes: int, account: int, market: int, side: Side, size: int, price: int, position_id: int = 0) -> None:
        outcome = exchange.apply(
            PlaceOrder(
                account=account,
                market=market,
                side=side,
                size_lots=size,
                price_ticks=price,
                position_id=position_id,
                time_ns=8 * HOUR_NS + minutes * MINUTE_NS,
            )
        )
        assert outcome.rejected is None

    quote(0, 100, 100)
    place(0, 4, 1, SELL, 11, 100)
    place(162, 4, 2, SELL, 17, 55)
    place(282, 3, 2, BUY, 20, 55, position_id=1)
    place(292, 3, 1, BUY, 6, 150)
    outcome = quote(302, 196, 45)
    assert any(isinstance(event, LossSocialized) for event in outcome.events)


def test_a_market_whose_number_no_record_can_hold_is_refused(make_exchange: Make) -> None:
    assert make_exchange({"id": (1 << 32) - 1}, deposits={1: "1000"}, price=None).market("PERP-1")
    with pytest.raises(ConfigError, match=r"PERP-1\.id"):
        make_exchange({"id": 1 << 32})


def test_money_that_came_and_went_leaves_no_position_behind(make_exchange: Make) -> None:
    exchange = make_exchange({}, deposits={1: "1000"})
    order = exchange.place(1, "PERP-1", BUY, 1, 99)
    exchange.withdraw(1, "COIN", "10", withdrawal_id=1)
    exchange.cancel(1, "PERP-1", order.sequence)
    assert json.loads(exchange.dump())["clearing"]["positions"] == []


def test_every_command_moves_the_queue(make_exchange: Make) -> None:
    exchange = make_exchange(
        {}, limits={"work_max": 1}, deposits={9: "100000"} | {each: str(1_000 + each) for each in (1, 2, 3)}
    )
    for account in (1, 2, 3):
        exchange.place(9, "PERP-1", SELL, 90, 100)
        exchange.place(account, "PERP-1", BUY, 90, 100)
    exchange.quote("PERP-1", "93", time_ns=10)

    def waiting() -> int:
        return len(json.loads(exchange.dump())["queue"])

    before = waiting()
    assert before > 0
    for price in range(50, 50 + 4 * before):
        exchange.place(9, "PERP-1", BUY, 1, price)
    assert waiting() == 0


def test_what_is_withdrawn_and_sent_is_gone_on_both_sides(make_exchange: Make) -> None:
    exchange = make_exchange({}, deposits={1: "1000", 2: "500"})
    exchange.withdraw(1, "COIN", "400", withdrawal_id=1)
    exchange.apply(ApproveWithdrawal(withdrawal_id=1, time_ns=exchange.clock_ns))
    exchange.apply(WithdrawalSent(withdrawal_id=1, network_fee_units=3, time_ns=exchange.clock_ns))
    assert exchange.clearing.conservation(1) == (1_100, 1_100)
