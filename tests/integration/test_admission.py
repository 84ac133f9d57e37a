"""Every refusal: its reason, that it changed nothing, and which reason is given when two apply."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from perpkit import Exchange, MarketState, RejectReason, Side, TimeInForce, UnitsError
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    ApproveWithdrawal,
    CancelAllAfter,
    CancelOrder,
    CancelOrders,
    CancelWithdrawal,
    CapitalObserved,
    ClosePosition,
    ClosePositions,
    Command,
    DepositObserved,
    DepositReversed,
    HoldingsReported,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
    ReversePosition,
    SetMarketState,
    SetPositionMode,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.event import Duplicate, Rejected
from perpkit.model.position import PositionMode
from perpkit.model.price import Quote

BUY, SELL = Side.BUY, Side.SELL
NOW = 1_000
Prepare = Callable[[Exchange], object]


@pytest.fixture
def exchange(make_exchange: Callable[..., Exchange]) -> Exchange:
    """Account 1 is long 100 at 100 with 3,000, account 2 short; account 3 offers 5 at 101, account 4 bids 5 at 85.

    Account 5 has nothing but 100, account 6 nothing but 50,000. Market 2 has no mark. Eight orders may come at once.
    """
    band = {"provider": "price-band", "options": {"band": "50%"}}
    made = make_exchange(
        {
            "order_checks": [band],
            "orders_max": 3,
            "open_interest_max": "104",
            "order_max": "650",
            "withdrawal_stress": "6%",
        },
        {},
        limits={"orders_per_second": 1_000, "orders_burst": 8},
        deposits={1: "3000", 2: "5000", 3: "5000", 4: "5000", 5: "100", 6: "50000"},
        price=None,
    )
    made.quote("PERP-1", "100", time_ns=NOW)
    made.place(2, "PERP-1", SELL, 100, 100)
    made.place(1, "PERP-1", BUY, 100, 100)
    made.place(3, "PERP-1", SELL, 5, 101)
    made.place(4, "PERP-1", BUY, 5, 85)
    return made


def order(account: int = 6, **changes: Any) -> PlaceOrder:
    fields = {"account": account, "market": 1, "side": BUY, "size_lots": 1, "price_ticks": 99, "time_ns": NOW}
    return PlaceOrder(**(fields | changes))


def quotes(price: int, source: int = 1, market: int = 1) -> IndexQuotes:
    quote = Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=NOW)
    return IndexQuotes(quotes=(quote,), time_ns=NOW)


def nothing(_exchange: Exchange) -> None:
    """The exchange as it stands."""


def market_is(state: MarketState) -> Prepare:
    return lambda exchange: exchange.apply(SetMarketState(market=1, state=state, time_ns=NOW))


def settled(exchange: Exchange) -> None:
    """Only the last resort settles a market; here it is written into the state."""
    state = json.loads(exchange.dump())
    state["market_states"][0][1] = int(MarketState.SETTLED)
    exchange.load(json.dumps(state).encode())


def three_orders(exchange: Exchange) -> None:
    for price in (90, 91, 92):
        exchange.apply(order(price_ticks=price))


def six_hundred(exchange: Exchange) -> None:
    exchange.apply(order(size_lots=600, price_ticks=100))


def eight_orders(exchange: Exchange) -> None:
    for _ in range(8):
        exchange.apply(order(time_in_force=TimeInForce.IOC))


def mode_is(mode: PositionMode, market: int = 1) -> Prepare:
    return lambda exchange: exchange.apply(SetPositionMode(account=6, market=market, mode=mode, time_ns=NOW))


def no_offer(exchange: Exchange) -> None:
    exchange.apply(CancelOrder(account=3, market=1, order_id=10, time_ns=NOW))


def isolated(exchange: Exchange) -> None:
    """Account 6 is long 4 at 101 with a margin of 41 of its own, and 10 more."""
    exchange.apply(SetPositionTerms(account=6, market=1, isolated=True, time_ns=NOW))
    exchange.apply(order(size_lots=4, price_ticks=101))
    exchange.apply(AdjustMargin(account=6, market=1, amount_units=10, time_ns=NOW))


def thin(exchange: Exchange) -> None:
    """Account 6 is long 4 at 101 with a margin of 41 of its own, worth 37 at the mark, and bids for 20 under id 1."""
    exchange.apply(SetPositionTerms(account=6, market=1, isolated=True, time_ns=NOW))
    exchange.apply(order(size_lots=4, price_ticks=101))
    exchange.apply(order(size_lots=20, position_id=1))


def client_order(exchange: Exchange) -> None:
    exchange.apply(order(client_order_id=7))


def reused_and_too_fast(exchange: Exchange) -> None:
    client_order(exchange)
    eight_orders(exchange)


def withdrawal(exchange: Exchange) -> None:
    exchange.withdraw(6, "COIN", 10, withdrawal_id=1)


def released(exchange: Exchange) -> None:
    withdrawal(exchange)
    exchange.apply(ApproveWithdrawal(withdrawal_id=1, time_ns=NOW))


def sent(exchange: Exchange) -> None:
    released(exchange)
    exchange.apply(WithdrawalSent(withdrawal_id=1, time_ns=NOW))


def breached(exchange: Exchange) -> None:
    exchange.apply(HoldingsReported(asset=1, holdings_units=0, time_ns=NOW))


def case(reason: RejectReason, name: str, command: Command, prepare: Prepare = nothing) -> Any:
    return pytest.param(reason, command, prepare, id=f"{reason.text}: {name}")


R = RejectReason
TRIED_ELSEWHERE = {
    R.ACCOUNT_LOCKED,  # below
    R.OVERLOADED,  # test_overload
    R.OPERATORS_NOT_DISTINCT,  # test_audit
    R.PLUGIN_FAULT,  # test_plugin_faults
    R.TRIGGER_CROSSED,  # test_triggers
}
CASES = [
    case(R.BREACH_STANDS, "state", SetMarketState(market=1, state=MarketState.OPEN, time_ns=NOW), breached),
    case(R.NO_SUCH_BREACH, "none stands", ResumeExchange(evidence=7, operator=1, second_operator=2, time_ns=NOW)),
    case(
        R.AMOUNT_ABOVE_MAXIMUM,
        "deposit",
        DepositObserved(deposit_id=99, account=1, asset=1, amount_units=(1 << 62) - 1, time_ns=NOW),
    ),
    case(R.EARLIER_STAMP, "order", order(time_ns=NOW - 1)),
    case(R.EARLIER_STAMP, "quotes", attrs.evolve(quotes(100), time_ns=NOW - 1)),
    case(R.UNKNOWN_MARKET, "order", order(market=3)),
    case(R.UNKNOWN_MARKET, "cancel", CancelOrder(account=1, market=0, order_id=1, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "amendment", AmendOrder(account=1, market=3, order_id=1, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "close", ClosePosition(account=1, market=0, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "reverse", ReversePosition(account=1, market=0, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "close all", ClosePositions(account=1, market=3, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "cancel all", CancelOrders(account=1, market=3, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "margin", AdjustMargin(account=1, market=0, amount_units=1, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "mode", SetPositionMode(account=1, market=0, mode=PositionMode.HEDGE, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "terms", SetPositionTerms(account=1, market=-1, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "state", SetMarketState(market=3, state=MarketState.OPEN, time_ns=NOW)),
    case(R.UNKNOWN_MARKET, "quotes", quotes(100, market=3)),
    case(R.UNKNOWN_ASSET, "deposit", DepositObserved(deposit_id=1, account=1, asset=2, amount_units=1, time_ns=NOW)),
    case(R.UNKNOWN_ASSET, "capital", CapitalObserved(deposit_id=1, fund=1, asset=2, amount_units=1, time_ns=NOW)),
    case(
        R.UNKNOWN_ASSET,
        "withdrawal",
        RequestWithdrawal(withdrawal_id=1, account=1, asset=2, amount_units=1, time_ns=NOW),
    ),
    case(R.UNKNOWN_ASSET, "holdings", HoldingsReported(asset=2, holdings_units=1, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "order", order(account=99)),
    case(R.UNKNOWN_ACCOUNT, "the house", order(account=0)),
    case(R.UNKNOWN_ACCOUNT, "cancel", CancelOrder(account=99, market=1, order_id=1, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "amendment", AmendOrder(account=99, market=1, order_id=1, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "cancel all", CancelOrders(account=99, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "close", ClosePosition(account=99, market=1, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "reverse", ReversePosition(account=99, market=1, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "close all", ClosePositions(account=99, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "margin", AdjustMargin(account=99, market=1, amount_units=1, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "mode", SetPositionMode(account=99, market=1, mode=PositionMode.HEDGE, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "switch", CancelAllAfter(account=99, after_ns=5, time_ns=NOW)),
    case(R.UNKNOWN_ACCOUNT, "terms", SetPositionTerms(account=99, market=1, time_ns=NOW)),
    case(
        R.UNKNOWN_ACCOUNT,
        "withdrawal",
        RequestWithdrawal(withdrawal_id=1, account=99, asset=1, amount_units=1, time_ns=NOW),
    ),
    case(R.UNKNOWN_ORDER, "never placed", CancelOrder(account=3, market=1, order_id=99, time_ns=NOW)),
    case(R.UNKNOWN_ORDER, "another's", CancelOrder(account=1, market=1, order_id=10, time_ns=NOW)),
    case(R.UNKNOWN_ORDER, "no id", CancelOrder(account=3, market=1, time_ns=NOW)),
    case(R.UNKNOWN_ORDER, "in another market", CancelOrder(account=3, market=2, order_id=10, time_ns=NOW)),
    case(R.UNKNOWN_ORDER, "another's, amended", AmendOrder(account=1, market=1, order_id=10, size_lots=1, time_ns=NOW)),
    case(
        R.UNKNOWN_ORDER,
        "the trigger of one in the book",
        AmendOrder(account=3, market=1, order_id=10, trigger_ticks=90, time_ns=NOW),
    ),
    case(R.UNKNOWN_WITHDRAWAL, "approve", ApproveWithdrawal(withdrawal_id=1, time_ns=NOW)),
    case(R.UNKNOWN_WITHDRAWAL, "cancel", CancelWithdrawal(withdrawal_id=1, time_ns=NOW)),
    case(R.UNKNOWN_WITHDRAWAL, "approve twice", ApproveWithdrawal(withdrawal_id=1, time_ns=NOW), released),
    case(R.UNKNOWN_WITHDRAWAL, "cancel after release", CancelWithdrawal(withdrawal_id=1, time_ns=NOW), released),
    case(R.UNKNOWN_WITHDRAWAL, "sent before release", WithdrawalSent(withdrawal_id=1, time_ns=NOW), withdrawal),
    case(R.UNKNOWN_WITHDRAWAL, "sent twice", WithdrawalSent(withdrawal_id=1, time_ns=NOW), sent),
    case(R.CLIENT_ORDER_ID_REUSED, "other content", order(client_order_id=7, size_lots=2), client_order),
    case(
        R.ID_REUSED,
        "deposit",
        DepositObserved(deposit_id=5, account=2, asset=1, amount_units=9, time_ns=NOW),
        lambda exchange: exchange.deposit(1, "COIN", 1, deposit_id=5),
    ),
    case(
        R.ID_REUSED,
        "capital with a deposit's id",
        CapitalObserved(deposit_id=5, fund=1, asset=1, amount_units=9, time_ns=NOW),
        lambda exchange: exchange.deposit(1, "COIN", 1, deposit_id=5),
    ),
    case(R.UNKNOWN_DEPOSIT, "never credited", DepositReversed(deposit_id=1, time_ns=NOW)),
    case(
        R.ID_REUSED,
        "reversed twice",
        DepositReversed(deposit_id=5, time_ns=NOW),
        lambda exchange: [
            exchange.deposit(1, "COIN", 1, deposit_id=5),
            exchange.apply(DepositReversed(deposit_id=5, time_ns=NOW)),
        ],
    ),
    case(
        R.ID_REUSED,
        "withdrawal",
        RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=1, time_ns=NOW),
        withdrawal,
    ),
    case(
        R.ID_REUSED,
        "withdrawal that is long gone",
        RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=1, time_ns=NOW),
        sent,
    ),
    case(R.RATE_LIMITED, "a ninth order", order(), eight_orders),
    case(
        R.RATE_LIMITED,
        "an amendment",
        AmendOrder(account=3, market=1, order_id=10, size_lots=4, time_ns=NOW),
        lambda exchange: [exchange.apply(order(account=3, time_in_force=TimeInForce.IOC)) for _ in range(7)],
    ),
    case(R.MARKET_STATE, "order in cancel-only", order(), market_is(MarketState.CANCEL_ONLY)),
    case(R.MARKET_STATE, "order while halted", order(), market_is(MarketState.HALTED)),
    case(R.MARKET_STATE, "taker in post-only", order(), market_is(MarketState.POST_ONLY)),
    case(R.MARKET_STATE, "order in settled", order(), settled),
    case(
        R.MARKET_STATE, "open what is settled", SetMarketState(market=1, state=MarketState.OPEN, time_ns=NOW), settled
    ),
    case(R.MARKET_STATE, "terms in settled", SetPositionTerms(account=6, market=1, leverage=2, time_ns=NOW), settled),
    case(
        R.MARKET_STATE,
        "amendment while halted",
        AmendOrder(account=3, market=1, order_id=10, price_ticks=102, time_ns=NOW),
        market_is(MarketState.HALTED),
    ),
    case(
        R.MARKET_STATE,
        "close while halted",
        ClosePosition(account=1, market=1, time_ns=NOW),
        market_is(MarketState.HALTED),
    ),
    case(R.MARKET_STATE, "margin in settled", AdjustMargin(account=6, market=1, amount_units=1, time_ns=NOW), settled),
    case(
        R.MARKET_STATE,
        "mode in settled",
        SetPositionMode(account=6, market=1, mode=PositionMode.HEDGE, time_ns=NOW),
        settled,
    ),
    case(R.MARKET_STATE, "settle by hand", SetMarketState(market=1, state=MarketState.SETTLED, time_ns=NOW)),
    case(R.SIZE_NOT_POSITIVE, "zero", order(size_lots=0)),
    case(R.SIZE_NOT_POSITIVE, "negative", order(size_lots=-1)),
    case(
        R.SIZE_NOT_POSITIVE,
        "an amendment to less than nothing",
        AmendOrder(account=3, market=1, order_id=10, size_lots=-1, time_ns=NOW),
    ),
    case(
        R.SIZE_NOT_POSITIVE, "close of less than nothing", ClosePosition(account=1, market=1, size_lots=-1, time_ns=NOW)
    ),
    case(R.SIZE_ABOVE_MAXIMUM, "order", order(size_lots=651)),
    case(
        R.AMOUNT_NOT_POSITIVE,
        "deposit",
        DepositObserved(deposit_id=1, account=1, asset=1, amount_units=0, time_ns=NOW),
    ),
    case(
        R.AMOUNT_NOT_POSITIVE,
        "capital",
        CapitalObserved(deposit_id=1, fund=1, asset=1, amount_units=-1, time_ns=NOW),
    ),
    case(
        R.AMOUNT_NOT_POSITIVE,
        "withdrawal",
        RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=-1, time_ns=NOW),
    ),
    case(
        R.AMOUNT_NOT_POSITIVE,
        "a network fee above the amount",
        WithdrawalSent(withdrawal_id=1, network_fee_units=11, time_ns=NOW),
        released,
    ),
    case(R.AMOUNT_NOT_POSITIVE, "no margin", AdjustMargin(account=6, market=1, amount_units=0, time_ns=NOW), isolated),
    case(R.PRICE_OUT_OF_BOUNDS, "zero for a limit order", order(price_ticks=0)),
    case(R.PRICE_OUT_OF_BOUNDS, "above the highest", order(side=SELL, price_ticks=10_001)),
    case(R.PRICE_OUT_OF_BOUNDS, "the bound of a market order", order(is_market=True, price_ticks=-1)),
    case(R.PRICE_OUT_OF_BOUNDS, "quotes", quotes(0)),
    case(R.FLAGS_CONFLICT, "post-only and immediate", order(post_only=True, time_in_force=TimeInForce.IOC)),
    case(R.FLAGS_CONFLICT, "post-only and fill-or-kill", order(post_only=True, time_in_force=TimeInForce.FOK)),
    case(R.FLAGS_CONFLICT, "a market order that is post-only", order(is_market=True, post_only=True)),
    case(
        R.FLAGS_CONFLICT,
        "good till a date that is past",
        order(time_in_force=TimeInForce.GTD, expires_ns=NOW),
    ),
    case(R.POSITION_MODE, "one-way has id 0 only", order(position_id=1), mode_is(PositionMode.ONE_WAY)),
    case(R.POSITION_MODE, "hedge has no id 0", order(), mode_is(PositionMode.HEDGE)),
    case(R.POSITION_MODE, "hedge has no id 3", order(position_id=3), mode_is(PositionMode.HEDGE)),
    case(
        R.POSITION_MODE,
        "a long of hedge mode is never reversed",
        ReversePosition(account=6, market=1, position_id=1, time_ns=NOW),
        lambda exchange: (mode_is(PositionMode.HEDGE)(exchange), exchange.apply(order(position_id=1, price_ticks=101))),
    ),
    case(R.NO_MARK, "order", order(market=2)),
    case(R.NO_REFERENCE_PRICE, "pegged to nobody", order(side=SELL, price_ticks=0, pegged=True), no_offer),
    case(R.TOO_MANY_ORDERS, "a fourth", order(), three_orders),
    case(R.ORDER_CHECK, "far through the mark", order(price_ticks=151)),
    case(R.NOTHING_TO_REDUCE, "flat", order(reduce_only=True)),
    case(R.NOTHING_TO_REDUCE, "the side that adds", order(account=1, reduce_only=True)),
    case(R.NOTHING_TO_REDUCE, "another position id", order(account=1, side=SELL, position_id=1, reduce_only=True)),
    case(
        R.NOTHING_TO_REDUCE,
        "all of it is closed by an order that rests",
        order(account=1, side=SELL, price_ticks=120, reduce_only=True),
        lambda exchange: exchange.apply(order(account=1, side=SELL, size_lots=100, price_ticks=110)),
    ),
    case(R.NOTHING_TO_REDUCE, "close when flat", ClosePosition(account=6, market=1, time_ns=NOW)),
    case(R.NOTHING_TO_REDUCE, "reverse when flat", ReversePosition(account=6, market=1, time_ns=NOW)),
    case(R.NOTHING_TO_REDUCE, "close all when flat", ClosePositions(account=6, time_ns=NOW)),
    case(
        R.PAST_BANKRUPTCY,
        "long 100 with 3,000",
        order(account=1, side=SELL, price_ticks=69, size_lots=99, reduce_only=True),
    ),
    case(R.WOULD_CROSS, "post-only at the best offer", order(post_only=True, price_ticks=101)),
    case(
        R.WOULD_CROSS,
        "a post-only order amended to the best offer",
        AmendOrder(account=6, market=1, client_order_id=7, price_ticks=101, time_ns=NOW),
        lambda exchange: exchange.apply(order(client_order_id=7, post_only=True)),
    ),
    case(
        R.CANNOT_FILL,
        "market-to-limit that nobody meets",
        order(side=SELL, price_ticks=0, market_to_limit=True),
        lambda exchange: exchange.apply(CancelOrder(account=4, market=1, order_id=11, time_ns=NOW)),
    ),
    case(R.CANNOT_FILL, "fill-or-kill", order(size_lots=6, price_ticks=101, time_in_force=TimeInForce.FOK)),
    case(
        R.CANNOT_FILL,
        "a market order that is fill-or-kill",
        order(size_lots=6, price_ticks=0, is_market=True, time_in_force=TimeInForce.FOK),
    ),
    case(
        R.COST_CAP,
        "not one lot",
        order(price_ticks=101, time_in_force=TimeInForce.IOC, value_limit_units=100),
    ),
    case(
        R.COST_CAP,
        "a purchase that must be whole",
        order(size_lots=2, price_ticks=101, time_in_force=TimeInForce.FOK, value_limit_units=201),
    ),
    case(
        R.COST_CAP,
        "a sale that brings too little",
        order(side=SELL, size_lots=5, price_ticks=85, time_in_force=TimeInForce.FOK, value_limit_units=426),
    ),
    case(
        R.POSITION_LIMIT,
        "the top of the last bracket",
        order(size_lots=450, price_ticks=100),
        six_hundred,
    ),
    case(R.OPEN_INTEREST_LIMIT, "100 are open", order(size_lots=5, price_ticks=101)),
    case(R.TERMS_IN_USE, "a position", SetPositionTerms(account=1, market=1, isolated=True, time_ns=NOW)),
    case(R.TERMS_IN_USE, "an order", SetPositionTerms(account=3, market=1, isolated=True, time_ns=NOW)),
    case(
        R.TERMS_IN_USE,
        "another mode, with a position",
        SetPositionMode(account=1, market=1, mode=PositionMode.HEDGE, time_ns=NOW),
    ),
    case(
        R.TERMS_IN_USE,
        "another mode, with an order",
        SetPositionMode(account=3, market=1, mode=PositionMode.ONE_WAY, time_ns=NOW),
    ),
    case(R.NOT_ISOLATED, "a cross position", AdjustMargin(account=1, market=1, amount_units=10, time_ns=NOW)),
    case(
        R.NOT_ISOLATED,
        "no position",
        AdjustMargin(account=6, market=1, amount_units=10, time_ns=NOW),
        lambda exchange: exchange.apply(SetPositionTerms(account=6, market=1, isolated=True, time_ns=NOW)),
    ),
    case(R.LEVERAGE_TOO_HIGH, "above 10", SetPositionTerms(account=6, market=1, leverage=11, time_ns=NOW)),
    case(R.LEVERAGE_TOO_HIGH, "negative", SetPositionTerms(account=6, market=1, leverage=-1, time_ns=NOW)),
    case(
        R.INSUFFICIENT_BALANCE,
        "withdrawal",
        RequestWithdrawal(withdrawal_id=1, account=5, asset=1, amount_units=101, time_ns=NOW),
    ),
    case(
        R.INSUFFICIENT_BALANCE,
        "more margin than the pool has",
        AdjustMargin(account=6, market=1, amount_units=49_950, time_ns=NOW),
        isolated,
    ),
    case(
        R.INSUFFICIENT_BALANCE,
        "more than the margin there is",
        AdjustMargin(account=6, market=1, amount_units=-52, time_ns=NOW),
        isolated,
    ),
    case(
        R.INSUFFICIENT_MARGIN,
        "margin below the initial",
        AdjustMargin(account=6, market=1, amount_units=-12, time_ns=NOW),
        isolated,
    ),
    case(
        R.INSUFFICIENT_MARGIN,
        "leverage that the position cannot bear",
        SetPositionTerms(account=1, market=1, leverage=2, time_ns=NOW),
    ),
    case(R.INSUFFICIENT_MARGIN, "101 needed of 100", order(account=5, side=SELL, size_lots=10, price_ticks=101)),
    case(
        R.INSUFFICIENT_MARGIN,
        "withdrawal",
        RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=2_001, time_ns=NOW),
    ),
    case(R.OTHER_POSITION_AT_RISK, "67,400 need 6,240, of which 38 for 4", order(size_lots=650, position_id=1), thin),
    case(
        R.MARGIN_UNDER_STRESS,
        "withdrawal: at 94 there would be 469 where 470 are needed",
        RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=1_931, time_ns=NOW),
    ),
    case(
        R.MARGIN_UNDER_STRESS,
        "margin: at 94 there would be 18 where 19 are needed",
        AdjustMargin(account=6, market=1, amount_units=-5, time_ns=NOW),
        isolated,
    ),
]


@pytest.mark.parametrize(("reason", "command", "prepare"), CASES)
def test_a_refusal_gives_its_reason_and_changes_nothing(
    exchange: Exchange,
    content: Callable[[Exchange], bytes],
    reason: RejectReason,
    command: Command,
    prepare: Prepare,
) -> None:
    prepare(exchange)
    before, clock_ns = content(exchange), exchange.clock_ns
    outcome = exchange.apply(command)
    assert [event for event in outcome.events if isinstance(event, Rejected)] == list(outcome.events)
    assert outcome.rejected is reason
    assert content(exchange) == before
    assert exchange.clock_ns == clock_ns


def test_every_reason_that_can_be_given_is_tried() -> None:
    assert {param.values[0] for param in CASES} | TRIED_ELSEWHERE == set(RejectReason)


def test_the_check_that_refused_is_named(make_exchange: Callable[..., Exchange]) -> None:
    bands = [{"provider": "price-band", "options": {"band": band}} for band in ("50%", "10%")]
    made = make_exchange({"order_checks": bands}, deposits={6: "50000"})
    outcomes = [made.place(6, "PERP-1", BUY, 1, price) for price in (110, 111, 151)]
    refusals = [[event.check for event in each.events if isinstance(event, Rejected)] for each in outcomes]
    assert refusals == [[], [1], [0]]


# What is just within a limit comes in: the refusals above are not too eager.


@pytest.mark.parametrize(
    ("command", "prepare"),
    [
        (order(size_lots=400, price_ticks=100), six_hundred),
        (order(price_ticks=150), nothing),
        (order(price_ticks=92, time_in_force=TimeInForce.IOC), three_orders),
        (order(account=5, size_lots=10, price_ticks=100), nothing),
        (order(size_lots=4, price_ticks=101, time_in_force=TimeInForce.FOK), nothing),
        (order(post_only=True, price_ticks=100), nothing),
        (order(post_only=True), market_is(MarketState.POST_ONLY)),
        (order(account=1, side=SELL, price_ticks=70, size_lots=99, reduce_only=True), nothing),
        (SetPositionTerms(account=6, market=1, leverage=10, time_ns=NOW), nothing),
        (RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=1_930, time_ns=NOW), nothing),
        (AdjustMargin(account=6, market=1, amount_units=-4, time_ns=NOW), isolated),
        (AdjustMargin(account=6, market=1, amount_units=49_949, time_ns=NOW), isolated),
        (SetPositionTerms(account=1, market=1, leverage=4, time_ns=NOW), nothing),
        (order(price_ticks=101, time_in_force=TimeInForce.IOC, value_limit_units=101), nothing),
        (
            order(side=SELL, size_lots=4, price_ticks=85, time_in_force=TimeInForce.FOK, value_limit_units=340),
            nothing,
        ),
        (order(time_ns=NOW + 1_000_000), eight_orders),
        (CancelOrders(account=6, time_ns=NOW), eight_orders),
        (order(position_id=2, side=SELL), mode_is(PositionMode.HEDGE)),
        (AmendOrder(account=3, market=1, order_id=10, size_lots=4, time_ns=NOW), market_is(MarketState.HALTED)),
        (CancelOrder(account=4, market=1, order_id=11, time_ns=NOW), market_is(MarketState.HALTED)),
    ],
)
def test_what_is_just_within_the_limits_comes_in(exchange: Exchange, command: Command, prepare: Prepare) -> None:
    prepare(exchange)
    assert exchange.apply(command).rejected is None


# Two reasons at once.


@pytest.mark.parametrize(
    ("first", "second", "command", "prepare"),
    [
        (R.EARLIER_STAMP, R.UNKNOWN_MARKET, order(market=9, time_ns=1), nothing),
        (R.UNKNOWN_MARKET, R.UNKNOWN_ACCOUNT, order(account=99, market=9), nothing),
        (
            R.UNKNOWN_ASSET,
            R.UNKNOWN_ACCOUNT,
            RequestWithdrawal(withdrawal_id=1, account=99, asset=9, amount_units=1, time_ns=NOW),
            nothing,
        ),
        (R.UNKNOWN_ACCOUNT, R.SIZE_NOT_POSITIVE, order(account=99, size_lots=0), nothing),
        (R.UNKNOWN_ORDER, R.MARKET_STATE, CancelOrder(account=1, market=1, order_id=99, time_ns=NOW), settled),
        (
            R.MARKET_STATE,
            R.LEVERAGE_TOO_HIGH,
            SetPositionTerms(account=6, market=1, leverage=11, time_ns=NOW),
            settled,
        ),
        (R.CLIENT_ORDER_ID_REUSED, R.SIZE_NOT_POSITIVE, order(client_order_id=7, size_lots=0), client_order),
        (
            R.ID_REUSED,
            R.AMOUNT_NOT_POSITIVE,
            RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=0, time_ns=NOW),
            withdrawal,
        ),
        (R.CLIENT_ORDER_ID_REUSED, R.RATE_LIMITED, order(client_order_id=7, size_lots=2), reused_and_too_fast),
        (R.RATE_LIMITED, R.SIZE_NOT_POSITIVE, order(size_lots=0), eight_orders),
        (R.MARKET_STATE, R.SIZE_NOT_POSITIVE, order(size_lots=0), market_is(MarketState.HALTED)),
        (R.SIZE_NOT_POSITIVE, R.PRICE_OUT_OF_BOUNDS, order(size_lots=0, price_ticks=0), nothing),
        (R.SIZE_ABOVE_MAXIMUM, R.PRICE_OUT_OF_BOUNDS, order(size_lots=651, price_ticks=0), nothing),
        (
            R.PRICE_OUT_OF_BOUNDS,
            R.FLAGS_CONFLICT,
            order(price_ticks=0, post_only=True, time_in_force=TimeInForce.IOC),
            nothing,
        ),
        (R.FLAGS_CONFLICT, R.NO_MARK, order(market=2, post_only=True, time_in_force=TimeInForce.IOC), nothing),
        (
            R.FLAGS_CONFLICT,
            R.POSITION_MODE,
            order(post_only=True, time_in_force=TimeInForce.IOC),
            mode_is(PositionMode.HEDGE),
        ),
        (R.POSITION_MODE, R.NO_MARK, order(market=2), mode_is(PositionMode.HEDGE, market=2)),
        (R.NO_MARK, R.NO_REFERENCE_PRICE, order(market=2, pegged=True), nothing),
        (
            R.NO_REFERENCE_PRICE,
            R.TOO_MANY_ORDERS,
            order(side=SELL, price_ticks=0, pegged=True),
            lambda exchange: (three_orders(exchange), no_offer(exchange)),
        ),
        (
            R.MARKET_STATE,
            R.FLAGS_CONFLICT,
            order(time_in_force=TimeInForce.GTD, expires_ns=NOW),
            market_is(MarketState.HALTED),
        ),
        (
            R.MARKET_STATE,
            R.NOTHING_TO_REDUCE,
            ClosePosition(account=6, market=1, time_ns=NOW),
            market_is(MarketState.HALTED),
        ),
        (
            R.MARKET_STATE,
            R.NOTHING_TO_REDUCE,
            ReversePosition(account=6, market=1, time_ns=NOW),
            market_is(MarketState.HALTED),
        ),
        (
            R.MARKET_STATE,
            R.POSITION_MODE,
            ReversePosition(account=6, market=1, position_id=1, time_ns=NOW),
            lambda exchange: (
                mode_is(PositionMode.HEDGE)(exchange),
                exchange.apply(order(position_id=1, price_ticks=101)),
                market_is(MarketState.HALTED)(exchange),
            ),
        ),
        (R.NO_MARK, R.NOTHING_TO_REDUCE, order(market=2, reduce_only=True), nothing),
        (R.TOO_MANY_ORDERS, R.ORDER_CHECK, order(price_ticks=151), three_orders),
        (R.ORDER_CHECK, R.NOTHING_TO_REDUCE, order(price_ticks=151, reduce_only=True), nothing),
        (R.NOTHING_TO_REDUCE, R.WOULD_CROSS, order(price_ticks=101, reduce_only=True, post_only=True), nothing),
        (
            R.PAST_BANKRUPTCY,
            R.WOULD_CROSS,
            order(account=1, side=SELL, size_lots=99, price_ticks=69, reduce_only=True, post_only=True),
            nothing,
        ),
        (
            R.WOULD_CROSS,
            R.INSUFFICIENT_MARGIN,
            order(account=5, size_lots=50, price_ticks=101, post_only=True),
            nothing,
        ),
        (
            R.CANNOT_FILL,
            R.INSUFFICIENT_MARGIN,
            order(account=5, size_lots=50, price_ticks=101, time_in_force=TimeInForce.FOK),
            nothing,
        ),
        (
            R.CANNOT_FILL,
            R.COST_CAP,
            order(size_lots=6, price_ticks=101, time_in_force=TimeInForce.FOK, value_limit_units=1),
            nothing,
        ),
        (
            R.COST_CAP,
            R.OPEN_INTEREST_LIMIT,
            order(size_lots=5, price_ticks=101, time_in_force=TimeInForce.FOK, value_limit_units=504),
            nothing,
        ),
        (
            R.AMOUNT_NOT_POSITIVE,
            R.NOT_ISOLATED,
            AdjustMargin(account=1, market=1, amount_units=0, time_ns=NOW),
            nothing,
        ),
        (
            R.LEVERAGE_TOO_HIGH,
            R.INSUFFICIENT_MARGIN,
            SetPositionTerms(account=1, market=1, leverage=11, time_ns=NOW),
            nothing,
        ),
        (
            R.INSUFFICIENT_BALANCE,
            R.MARGIN_UNDER_STRESS,
            AdjustMargin(account=6, market=1, amount_units=-52, time_ns=NOW),
            isolated,
        ),
        (
            R.INSUFFICIENT_MARGIN,
            R.MARGIN_UNDER_STRESS,
            AdjustMargin(account=6, market=1, amount_units=-12, time_ns=NOW),
            isolated,
        ),
        (
            R.POSITION_LIMIT,
            R.OPEN_INTEREST_LIMIT,
            order(size_lots=450, price_ticks=101),
            six_hundred,
        ),
        (R.OPEN_INTEREST_LIMIT, R.INSUFFICIENT_MARGIN, order(account=5, size_lots=50, price_ticks=101), nothing),
        (
            R.TERMS_IN_USE,
            R.LEVERAGE_TOO_HIGH,
            SetPositionTerms(account=1, market=1, isolated=True, leverage=11, time_ns=NOW),
            nothing,
        ),
        (
            R.INSUFFICIENT_BALANCE,
            R.INSUFFICIENT_MARGIN,
            RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=3_001, time_ns=NOW),
            nothing,
        ),
    ],
    ids=lambda value: value.text if isinstance(value, RejectReason) else "",
)
def test_of_two_reasons_the_one_that_stands_first_is_given(
    exchange: Exchange, first: RejectReason, second: RejectReason, command: Command, prepare: Prepare
) -> None:
    assert first < second
    prepare(exchange)
    assert exchange.apply(command).rejected is first


# Accounts that wait for their liquidation.


@pytest.fixture
def waiting(make_exchange: Callable[..., Exchange]) -> Exchange:
    """Accounts 1 to 4 are in breach, each less than the one before; a command may do the work for one step only."""
    made = make_exchange(
        {}, limits={"work_max": 1}, deposits={9: "100000"} | {each: str(1_000 + each) for each in (1, 2, 3, 4)}
    )
    for account in (1, 2, 3, 4):
        made.place(9, "PERP-1", SELL, 90, 100)
        made.place(account, "PERP-1", BUY, 90, 100)
    assert made.quote("PERP-1", "93", time_ns=NOW).rejected is None
    return made


@pytest.mark.parametrize(
    "command",
    [
        order(account=4),
        order(account=4, size_lots=0),
        RequestWithdrawal(withdrawal_id=1, account=4, asset=1, amount_units=1, time_ns=NOW),
        RequestWithdrawal(withdrawal_id=1, account=4, asset=1, amount_units=0, time_ns=NOW),
    ],
    ids=["order", "order that is also empty", "withdrawal", "withdrawal that is also empty"],
)
def test_an_account_that_waits_for_its_liquidation_is_locked(waiting: Exchange, command: Command) -> None:
    before = waiting.clearing.pool(4, 1)
    outcome = waiting.apply(command)
    assert outcome.rejected is R.ACCOUNT_LOCKED
    assert waiting.clearing.pool(4, 1) == before


def test_an_account_that_waits_may_still_reduce(waiting: Exchange) -> None:
    assert waiting.apply(order(account=4, side=SELL, price_ticks=93, size_lots=5, reduce_only=True)).rejected is None


# The same order again.


def test_the_same_content_under_the_same_client_order_id_is_done_once(
    exchange: Exchange, content: Callable[[Exchange], bytes]
) -> None:
    first = exchange.apply(order(client_order_id=7))
    before = content(exchange)
    again = exchange.apply(order(client_order_id=7, time_ns=NOW + 5))
    assert again.events == (Duplicate(account=6, client_order_id=7, sequence=first.sequence),)
    assert content(exchange) == before


def test_an_order_that_was_refused_does_not_use_up_its_client_order_id(exchange: Exchange) -> None:
    assert exchange.apply(order(account=5, client_order_id=7, size_lots=50)).rejected is R.INSUFFICIENT_MARGIN
    assert exchange.apply(order(account=5, client_order_id=7, size_lots=5)).rejected is None


# Wrong types.

WRONG = [1.0, True, None, "1", float("nan"), 2**62, -(2**62)]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("field", ["account", "market", "size_lots", "price_ticks", "position_id", "time_ns"])
def test_a_number_of_the_wrong_type_raises_and_changes_nothing(exchange: Exchange, field: str, wrong: object) -> None:
    before = exchange.dump()
    with pytest.raises(UnitsError, match=f"PlaceOrder.{field}: expected"):
        exchange.apply(order(**{field: wrong}))
    assert exchange.dump() == before
    assert exchange.apply(order()).rejected is None


@pytest.mark.parametrize(
    "command",
    [
        order(side=1),
        order(side=MarketState.OPEN),
        order(time_in_force=1),
        order(is_market=0),
        order(post_only=1),
        order(reduce_only=None),
        SetMarketState(market=1, state=1, time_ns=NOW),  # type: ignore[arg-type]
        quotes(100.0),  # type: ignore[arg-type]
        quotes(100, source="1"),  # type: ignore[arg-type]
        IndexQuotes(quotes=(1,), time_ns=NOW),  # type: ignore[arg-type]
        IndexQuotes(quotes=None, time_ns=NOW),  # type: ignore[arg-type]
        IndexQuotes(quotes=[], time_ns=NOW),  # type: ignore[arg-type]
        "buy",
        None,
        Rejected(reason=R.NO_MARK),
    ],
    ids=str,
)
def test_anything_else_of_the_wrong_type_raises_and_changes_nothing(exchange: Exchange, command: Any) -> None:
    before = exchange.dump()
    with pytest.raises(UnitsError, match="expected"):
        exchange.apply(command)
    assert exchange.dump() == before
    assert exchange.apply(order()).rejected is None


@pytest.mark.parametrize("size", ["0.5", 0.5, "nan", "", None, True], ids=repr)
def test_text_that_is_no_whole_number_of_lots_raises_and_changes_nothing(exchange: Exchange, size: object) -> None:
    before = exchange.dump()
    with pytest.raises(UnitsError, match="size: expected"):
        exchange.place(6, "PERP-1", BUY, size, 99)
    with pytest.raises(UnitsError, match="market: expected one of PERP-1, PERP-2, was 'PERP'"):
        exchange.place(6, "PERP", BUY, 1, 99)
    assert exchange.dump() == before
