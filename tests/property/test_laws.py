"""The laws over random command streams: several markets of each kind, cross and isolated, several position ids."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpkit.engine.exchange import Exchange
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    Command,
    DepositObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
)
from perpkit.model.event import LossSocialized
from perpkit.model.ids import HOUSE
from perpkit.model.market import MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import PriceState, Quote
from perpkit.units import HOUR_NS, MINUTE_NS

ACCOUNTS = (1, 2, 3, 4)
BRACKETS = [
    {"up_to": "20", "initial": "5%", "maintenance": "2%"},
    {"up_to": "60", "initial": "10%", "maintenance": "4%"},
    {"up_to": "10000", "initial": "20%", "maintenance": "10%"},
]


def tables(liquidation: str) -> dict[str, Any]:
    """Three markets on one asset: linear, inverse with rounding by unit, quanto; prices around 100 ticks."""
    market = {
        "settlement": "COIN",
        "tick": "1",
        "price_min": "10",
        "price_max": "1000",
        "order_max": "1000",
        "open_interest_max": "100000",
        "brackets": BRACKETS,
        "liquidation_fee": "0.5%",
    }
    by_unit, fair = {"value_rounding": "unit"}, {"mark_price": "fair-basis"}
    hourly = {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}}
    return {
        "exchange": {"liquidation": liquidation, "funding": hourly, "mark_price": "index"},
        "assets": {"COIN": {"id": 1, "unit": "0.001", "deposits_max": "1000000"}},
        "markets": {
            "LINEAR": {**market, "id": 1, "kind": "linear", "lot": "0.01"},
            "INVERSE": {**market, "id": 2, "kind": "inverse", "lot": "100", "order_max": "100000"} | by_unit,
            "QUANTO": {**market, "id": 3, "kind": "quanto", "lot": "1", "multiplier": "0.007"} | fair,
        },
    }  # fmt: skip


def order(account: int, market: int, side: Side, size: int, price: int, now: int, **fields: Any) -> PlaceOrder:
    return PlaceOrder(
        account=account, market=market, side=side, size_lots=size, price_ticks=price, time_ns=now, **fields
    )


@st.composite
def streams(draw: st.DrawFn, resting: bool = True) -> list[Command]:
    """Draw a stream: prices move and jump, accounts trade near them with each other, deposit and withdraw.

    Without `resting`, every order that is left over is cancelled at once.
    """
    commands: list[Command] = []
    now, prices = HOUR_NS * 8, {1: 100, 2: 100, 3: 100}
    kinds = ["quote"] * 4 + ["trade"] * 5 + (["place"] * 3 + ["cancel"] if resting else []) + ["withdraw", "deposit"]
    for step in range(1, draw(st.integers(8, 60))):
        kind, market = draw(st.sampled_from(kinds)), draw(st.sampled_from((1, 1, 2, 3)))
        account, size = draw(st.sampled_from(ACCOUNTS)), draw(st.integers(1, 60))
        position_id, side = draw(st.sampled_from((0, 0, 0, 1))), draw(st.sampled_from(Side))
        price = prices[market] + draw(st.integers(-3, 3))
        if kind == "quote":
            now += draw(st.sampled_from((MINUTE_NS, 10 * MINUTE_NS, HOUR_NS)))
            percent = draw(st.one_of(st.integers(-5, 5), st.integers(-40, 50)))
            prices[market] = max(12, min(900, prices[market] + prices[market] * percent // 100))
            sources = draw(st.sampled_from((3, 3, 3, 3, 2)))
            quotes = [
                Quote(market=each, source=source, price_ticks=ticks, weight=1, at_ns=now)
                for each, ticks in prices.items()
                for source in range(sources if each == market else 3)
            ]
            commands.append(IndexQuotes(quotes=tuple(quotes), time_ns=now))
        elif kind == "trade":
            other = ACCOUNTS[ACCOUNTS.index(account) - draw(st.integers(1, 3))]
            maker = order(account, market, side, size, price, now, position_id=position_id, client_order_id=step)
            commands += [maker, order(other, market, side.opposite, size, price, now, client_order_id=100 + step)]
            if not resting:
                commands.append(CancelOrder(account=account, market=market, client_order_id=step, time_ns=now))
                commands.append(CancelOrder(account=other, market=market, client_order_id=100 + step, time_ns=now))
        elif kind == "place":
            flags = draw(st.sampled_from(({}, {}, {"reduce_only": True}, {"is_market": True})))
            flags["time_in_force"] = draw(st.sampled_from((TimeInForce.GTC, TimeInForce.GTC, *TimeInForce)))
            flags["position_id"] = position_id
            commands.append(order(account, market, side, size, price, now, client_order_id=step, **flags))
        elif kind == "cancel":
            client_order_id = draw(st.integers(1, 60))
            commands.append(CancelOrder(account=account, market=market, client_order_id=client_order_id, time_ns=now))
        elif kind == "withdraw":
            amount = draw(st.integers(1, 8_000))
            commands.append(
                RequestWithdrawal(withdrawal_id=step, account=account, asset=1, amount_units=amount, time_ns=now)
            )
            if draw(st.booleans()):
                commands.append(ApproveWithdrawal(withdrawal_id=step, time_ns=now))
        else:
            amount = draw(st.integers(1, 5_000))
            commands.append(
                DepositObserved(deposit_id=step, account=account, asset=1, amount_units=amount, time_ns=now)
            )
    return commands


def opened(liquidation: str, fund: str, isolated: bool = False) -> Exchange:
    exchange = Exchange.of(tables(liquidation))
    for account in ACCOUNTS:
        exchange.deposit(account, "COIN", "8")
    if fund != "0":
        exchange.capital("COIN", fund)
    for name in ("LINEAR", "INVERSE", "QUANTO"):
        exchange.quote(name, "100", time_ns=HOUR_NS * 8)
        # Half of the accounts trade on isolated margin; the rest share one pool over all markets.
        for account in ACCOUNTS if isolated else ACCOUNTS[:2]:
            for position_id in (0, 1):
                exchange.set_terms(account, name, isolated=True, leverage=account, position_id=position_id)
    return exchange


def content(exchange: Exchange) -> dict[str, Any]:
    """Return the state without the sequence and the clock, which a refused command may move."""
    state: dict[str, Any] = json.loads(exchange.dump())
    del state["sequence"], state["clock_ns"]
    return state


def positions(exchange: Exchange) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (account, market, size, cost, unpaid) of every position, from the state alone."""
    for account, market, _, size, cost, unpaid, *_ in content(exchange)["clearing"]["positions"]:
        yield account, market, size, cost, unpaid


def check_books(exchange: Exchange) -> None:
    """Laws 1 to 3 by a full scan, against the running sums that the engine checks itself."""
    state = content(exchange)
    ledger: Sequence[Sequence[int]] = state["clearing"]["ledger"]
    custody = sum(row[-1] for row in ledger if row[0] >= 13)
    clients = sum(row[-1] for row in ledger if row[0] < 13)
    assert clients == custody == dict(map(tuple, state["deposits_units"]))[1], "law 1"
    assert all(row[-1] >= 0 for row in ledger if row[0] not in (11, 12)), "law 3"
    for market in (1, 2, 3):
        mine = [each for each in positions(exchange) if each[1] == market]
        ccp = sum(row[-1] for row in ledger if row[0] == 12 and row[3] == market)
        assert sum(each[2] for each in mine) == 0, "law 2: sizes"
        assert sum(each[3] + each[4] for each in mine) + ccp == 0, "law 2: costs"
        price = exchange.clearing.marks()[market].price_ticks
        spec = next(m for m in (exchange.market(n) for n in ("LINEAR", "INVERSE", "QUANTO")) if m.id == market)
        worth = sum(spec.value(each[2], price) for each in mine)
        assert abs(worth) <= (0 if market == 2 else len(mine)), "law 2: values at one mark"


def check_inventory(exchange: Exchange) -> None:
    """Law 3 at an accepted mark: what each market's inventory would lose, long and short together, the fund may pay."""
    clearing, stopped = exchange.clearing, exchange.market_states
    fund = sum(row[-1] for row in content(exchange)["clearing"]["ledger"] if row[0] == 4)
    gains = {1: 0, 2: 0, 3: 0}
    for exposure in clearing.pool(HOUSE, 1).exposures:
        mark = clearing.marks()[exposure.market]
        if mark.state is PriceState.FROZEN or stopped[exposure.market] is not MarketState.OPEN:
            continue
        name = ("LINEAR", "INVERSE", "QUANTO")[exposure.market - 1]
        worth = exchange.market(name).value(exposure.size_lots, mark.price_ticks)
        gains[exposure.market] += worth - exposure.cost_units - exposure.unpaid_units - exposure.funding_due_units
    assert sum(max(0, -gain) for gain in gains.values()) <= fund, "law 3: inventory"


@pytest.mark.parametrize("liquidation", ["stepped", "takeover"])
@pytest.mark.parametrize("fund", ["0", "0.05", "1000"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stream=streams())
def test_the_books_balance_after_every_command(liquidation: str, fund: str, stream: list[Command]) -> None:
    exchange = opened(liquidation, fund)
    for command in stream:
        before = content(exchange)
        outcome = exchange.apply(command)
        check_books(exchange)
        if outcome.rejected is not None:
            assert content(exchange) == before, "a refused command changed something"
        if isinstance(command, IndexQuotes):
            check_inventory(exchange)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stream=streams(), cut=st.integers(0, 60))
def test_a_snapshot_continues_exactly_where_it_was_taken(stream: list[Command], cut: int) -> None:
    exchange = opened("stepped", "0.05")
    other = Exchange.of(tables("stepped"))
    for index, command in enumerate(stream):
        if index == min(cut, len(stream) - 1):
            other.load(exchange.dump())
            assert other.dump() == exchange.dump()
        outcome = exchange.apply(command)
        if index >= min(cut, len(stream) - 1):
            assert other.apply(command) == outcome
    assert other.dump() == exchange.dump()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stream=streams(resting=False))
def test_an_isolated_position_takes_no_more_than_its_margin(stream: list[Command]) -> None:
    """Law 6: prices, funding, liquidation and deleveraging never lower the wallet behind an isolated position."""
    exchange = opened("stepped", "1000", isolated=True)
    for command in stream:
        wallets = [exchange.clearing.pool(account, 1).wallet_units for account in ACCOUNTS]
        outcome = exchange.apply(command)
        if isinstance(command, IndexQuotes) and not any(isinstance(e, LossSocialized) for e in outcome.events):
            after = [exchange.clearing.pool(account, 1).wallet_units for account in ACCOUNTS]
            assert all(new >= old for new, old in zip(after, wallets, strict=True)), "law 6"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stream=streams())
def test_client_money_moves_only_with_an_event_that_names_the_account(stream: list[Command]) -> None:
    """Law 11: a wallet falls by own fills, funding, liquidation, deleveraging, withdrawal or a named loss only."""
    exchange = opened("stepped", "0.05")
    for command in stream:
        wallets = {account: exchange.clearing.pool(account, 1).wallet_units for account in ACCOUNTS}
        outcome = exchange.apply(command)
        named = {getattr(event, "account", HOUSE) for event in outcome.events}
        for account in ACCOUNTS:
            if exchange.clearing.pool(account, 1).wallet_units < wallets[account]:
                assert account in named, "law 11"
