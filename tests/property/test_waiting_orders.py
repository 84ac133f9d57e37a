"""Whatever traders ask for: books balance, what may fire does, a restored exchange goes on alike, all is tidy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit.engine.exchange import Exchange
from perpkit.engine.triggers import rules
from perpkit.model.command import (
    AmendOrder,
    CancelAllAfter,
    CancelOrders,
    ClosePosition,
    Command,
    IndexQuotes,
    PlaceOrder,
    ReversePosition,
    SetMarketState,
)
from perpkit.model.market import MarketState
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.price import Quote
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind

ACCOUNTS = (1, 2, 3)
prices = st.integers(94, 106)
sides = st.sampled_from(Side)
triggers = st.one_of(
    st.builds(
        Trigger, kind=st.sampled_from(TriggerKind), price_source=st.sampled_from(PriceSource), price_ticks=prices
    ),
    st.builds(Trigger, price_source=st.sampled_from(PriceSource), trail_ticks=st.integers(1, 5)),
)
attached = st.builds(
    Attached,
    relation=st.sampled_from(Relation),
    side=sides,
    size_lots=st.integers(0, 5),
    price_ticks=prices,
    reduce_only=st.booleans(),
    trigger=st.none() | triggers,
)
accounts = st.sampled_from(ACCOUNTS)
orders = st.builds(
    PlaceOrder,
    account=accounts,
    market=st.just(1),
    side=sides,
    size_lots=st.sampled_from([1, 3, 5, 40]),
    price_ticks=prices,
    reduce_only=st.booleans(),
    self_trade=st.sampled_from(SelfTrade),
    trigger=st.none() | triggers,
    attached=st.just(()) | st.lists(attached, min_size=1, max_size=3).map(tuple),
)
whole = st.builds(
    PlaceOrder,
    account=accounts,
    market=st.just(1),
    side=sides,
    size_lots=st.just(0),
    price_ticks=prices,
    close=st.just(True),
    trigger=triggers,
)
pegged = st.builds(
    PlaceOrder,
    account=accounts,
    market=st.just(1),
    side=sides,
    size_lots=st.just(2),
    pegged=st.just(True),
    hidden=st.booleans(),
    peg_offset_ticks=st.integers(0, 3),
)
dated = st.builds(
    PlaceOrder,
    account=accounts,
    market=st.just(1),
    side=sides,
    size_lots=st.just(2),
    price_ticks=prices,
    time_in_force=st.just(TimeInForce.GTD),
    expires_ns=st.integers(1, 60),
    trigger=st.none() | triggers,
)
quotes = st.integers(85, 115).map(
    lambda price: IndexQuotes(
        quotes=tuple(Quote(market=1, source=each, price_ticks=price, weight=1, at_ns=0) for each in range(1, 6))
    )
)
states = st.sampled_from([MarketState.OPEN, MarketState.OPEN, MarketState.POST_ONLY, MarketState.HALTED])
others = st.one_of(
    st.builds(
        AmendOrder,
        account=accounts,
        market=st.just(1),
        order_id=st.integers(4, 30),
        size_lots=st.integers(0, 6),
        price_ticks=st.just(0) | prices,
        trigger_ticks=st.just(0) | prices,
    ),
    st.builds(CancelOrders, account=accounts, buys=st.booleans(), sells=st.booleans()),
    st.builds(CancelAllAfter, account=accounts, after_ns=st.integers(0, 20)),
    st.builds(ClosePosition, account=accounts, market=st.just(1)),
    st.builds(ReversePosition, account=accounts, market=st.just(1)),
    st.builds(SetMarketState, market=st.just(1), state=states),
)
commands = st.tuples(st.one_of(orders, orders, whole, pegged, dated, quotes, quotes, others), st.integers(0, 4))


def stamped(command: Command, now_ns: int) -> Command:
    changes: dict[str, Any] = {"time_ns": now_ns}
    if isinstance(command, IndexQuotes):
        changes["quotes"] = tuple(attrs.evolve(quote, at_ns=now_ns) for quote in command.quotes)
    return attrs.evolve(command, **changes)


def nothing_that_may_fire_waits(exchange: Exchange) -> bool:
    core = exchange._core
    return not any(
        (price := rules.usable_price(core, 1, waiting.trigger.price_source))
        and waiting.reached(price)
        and not core.locked(waiting.order.account, 1)
        for waiting in core.desk.waiting.values()
        if core.market_states[1] is MarketState.OPEN
    )


@settings(max_examples=60)
@given(
    steps=st.lists(commands, min_size=10, max_size=60), cut=st.integers(0, 30), work_max=st.sampled_from([2, 10_000])
)
def test_waiting_orders_of_every_kind_keep_their_promises(
    make_exchange: Callable[..., Exchange],
    make_tables: Callable[..., dict[str, Any]],
    steps: list[tuple[Command, int]],
    cut: int,
    work_max: int,
) -> None:
    market, limits = {"orders_max": 12}, {"work_max": work_max}
    exchange = make_exchange(market, deposits={1: "300", 2: "3000", 3: "100000"}, limits=limits)
    twin = None
    for index, (asked, later_ns) in enumerate(steps):
        if index == cut:
            twin = Exchange.of(make_tables(market, limits=limits))
            twin.load(exchange.dump())
            assert twin.dump() == exchange.dump()
        command = stamped(asked, exchange.clock_ns + later_ns)
        outcome = exchange.apply(command)
        if twin:
            assert twin.apply(command) == outcome
        assert exchange._core.behind or nothing_that_may_fire_waits(exchange)
    if twin:
        assert twin.dump() == exchange.dump()
    assert exchange.audit()[1] == []
    for account in ACCOUNTS:
        exchange.cancel_all(account)
        exchange.cancel_all_after(account, 0)
    for account in (*ACCOUNTS, *ACCOUNTS):
        exchange.cancel_all(account)
    desk = exchange._core.desk
    assert not desk
    assert [desk.lines, desk.held, desk.pegs, desk.trailing, desk.ends.at_ns] == [{}] * 5
