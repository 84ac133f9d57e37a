"""Three accounts, two markets, tiny sizes, so that everything meets everything; the books counted after each step."""

from collections import Counter
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from perpkit.audit import Witness
from perpkit.engine.exchange import Exchange, Outcome
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
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ReversePosition,
    SetMarketState,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.event import OrderWaits
from perpkit.model.ids import AccountId, MarketId, OrderId, PositionId, account_id
from perpkit.model.market import MarketState
from perpkit.model.order import Order, SelfTrade, Side, TimeInForce
from perpkit.model.position import HEDGE_LONG, HEDGE_SHORT, PositionMode
from perpkit.model.price import Quote
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind
from perpkit.units import HOUR_NS, MINUTE_NS, SCALE, SECOND_NS, Lots, Nanos, Ticks

ACCOUNTS = (1, 2, account_id(1, number=1))
MARKETS = LINEAR, INVERSE = 1, 2
ISOLATED = {"account": 2, "position_id": 1}
DAY_NS = 24 * HOUR_NS
FIRST_NS = 22 * HOUR_NS

MARKET = {
    "settlement": "COIN",
    "tick": "1",
    "price_min": "10",
    "price_max": "500",
    "orders_max": 6,
    "order_max": "40",
    "open_interest_max": "60",
    "market_slippage": "3%",
    "trigger_band": "4%",
    "liquidation_fee": "0.5%",
    "fees": {"provider": "maker-taker", "options": {"maker": "-0.01%", "taker": "0.05%"}},
    "funding": {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}},
    "brackets": [
        {"up_to": "8", "initial": "5%", "maintenance": "2.5%"},
        {"up_to": "80", "initial": "10%", "maintenance": "5%"},
    ],
}
TABLES: dict[str, Any] = {
    "limits": {"orders_per_second": 4, "orders_burst": 20, "client_order_ids_kept": 8},
    "assets": {"COIN": {"id": 1, "unit": "0.001", "deposits_max": "1000"}},
    "markets": {
        "LINEAR": {**MARKET, "id": LINEAR, "kind": "linear", "lot": "1", "multiplier": "0.01"},
        "INVERSE": {**MARKET, "id": INVERSE, "kind": "inverse", "lot": "1", "multiplier": "100"},
    },
}

accounts = st.sampled_from(ACCOUNTS)
markets = st.sampled_from((LINEAR, LINEAR, INVERSE))
position_ids = st.sampled_from((0, 0, 1, 2))
sides = st.sampled_from(Side)
lots = st.integers(1, 6)
prices = st.integers(95, 105)
picks = st.integers(0, 12)
lives_ns = st.sampled_from((SECOND_NS, MINUTE_NS, HOUR_NS))


@st.composite
def triggers(draw: st.DrawFn) -> Trigger:
    kind, source = draw(st.sampled_from(TriggerKind)), draw(st.sampled_from(PriceSource))
    trail = draw(st.sampled_from(("", "", "trail_ticks", "trail_ppb")))
    if trail and kind is TriggerKind.STOP:
        amount = draw(st.integers(1, 4)) * (SCALE // 100 if trail == "trail_ppb" else 1)
        return Trigger(kind=kind, price_source=source, **{trail: amount})
    return Trigger(kind=kind, price_source=source, price_ticks=draw(prices))


@st.composite
def attachments(draw: st.DrawFn) -> tuple[Attached, ...]:
    return tuple(
        Attached(
            relation=draw(st.sampled_from(Relation)),
            side=draw(sides),
            size_lots=draw(st.integers(0, 4)),
            price_ticks=draw(prices),
            is_market=draw(st.booleans()),
            reduce_only=draw(st.booleans()),
            trigger=draw(st.one_of(st.none(), triggers())),
        )
        for _ in range(draw(st.integers(1, 3)))
    )


AT_ONCE = st.sampled_from((TimeInForce.IOC, TimeInForce.FOK))
KINDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "limit": st.just({}),
    "market": st.fixed_dictionaries({"is_market": st.just(True), "price_ticks": st.sampled_from((0, 98, 102))}),
    "at once": st.fixed_dictionaries({"time_in_force": AT_ONCE}),
    "capped": st.fixed_dictionaries({"time_in_force": AT_ONCE, "value_limit_units": st.integers(1, 6_000)}),
    "post-only": st.fixed_dictionaries({"post_only": st.just(True), "slide": st.booleans()}),
    "iceberg": st.fixed_dictionaries({"display_lots": st.integers(1, 3)}),
    "hidden": st.just({"hidden": True}),
    "pegged": st.fixed_dictionaries({"pegged": st.just(True), "peg_offset_ticks": st.integers(0, 2)}),
    "to limit": st.just({"market_to_limit": True}),
    "day": st.just({"time_in_force": TimeInForce.DAY}),
    "until": st.fixed_dictionaries(
        {"time_in_force": st.just(TimeInForce.GTD), "expires_ns": lives_ns.map(lambda ns: FIRST_NS + ns)}
    ),
    "stop": st.fixed_dictionaries({"trigger": triggers(), "is_market": st.booleans()}),
    "whole position": st.fixed_dictionaries({"trigger": triggers(), "close": st.just(True), "size_lots": st.just(0)}),
    "linked": st.fixed_dictionaries({"attached": attachments()}),
    "all at odds": st.fixed_dictionaries({"pegged": st.booleans(), "hidden": st.booleans(), "attached": attachments()}),
}


@st.composite
def orders(draw: st.DrawFn) -> PlaceOrder:
    """Draw an order of any kind, that closes, only reduces or does neither."""
    terms: dict[str, Any] = {"price_ticks": draw(prices), "size_lots": draw(lots)}
    if ends := draw(st.sampled_from(("", "", "", "", "", "reduce_only", "close"))):
        terms[ends] = True
    terms |= draw(
        st.sampled_from(("limit", "limit", "stop", "stop", "linked", "until", "day", *KINDS)).flatmap(KINDS.__getitem__)
    )
    return PlaceOrder(
        account=draw(accounts),
        market=draw(markets),
        side=draw(sides),
        position_id=draw(position_ids),
        self_trade=draw(st.sampled_from((SelfTrade.OFF, *SelfTrade))),
        self_trade_by_owner=draw(st.booleans()),
        client_order_id=draw(st.sampled_from((0, 0, 0, 0, 0, 0, 1, 2))),
        **terms,
    )


of_account = {"account": accounts}
of_market = {**of_account, "market": markets}
of_position = {**of_market, "position_id": position_ids}
some_prices = st.one_of(prices, prices, prices, st.sampled_from((70, 88, 115, 140)))
states = st.sampled_from((*[MarketState.OPEN] * 5, MarketState.POST_ONLY, MarketState.CANCEL_ONLY, MarketState.HALTED))
any_market = st.sampled_from((0, *MARKETS))
other_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(ClosePosition, **of_position, size_lots=st.integers(0, 3), price_ticks=st.sampled_from((0, 100))),
    st.builds(ReversePosition, **of_position, price_ticks=st.sampled_from((0, 98, 102))),
    st.builds(ClosePositions, **of_account, market=any_market),
    st.builds(CancelOrders, **of_account, market=any_market, buys=st.booleans(), by_position=st.booleans()),
    st.builds(SetPositionTerms, **of_position, isolated=st.booleans(), leverage=st.sampled_from((0, 2, 10, 20))),
    st.builds(SetPositionMode, **of_market, mode=st.sampled_from(PositionMode)),
    st.builds(AdjustMargin, **of_position, amount_units=st.integers(-1_500, 1_500)),
    st.builds(
        AdjustMargin,
        **{name: st.just(value) for name, value in ISOLATED.items()},
        market=markets,
        amount_units=st.integers(-200, 500),
    ),
    st.builds(SetMarketState, market=markets, state=states),
    st.builds(CancelAllAfter, **of_account, after_ns=st.sampled_from((0, SECOND_NS, MINUTE_NS))),
)


class TradingMachine(RuleBasedStateMachine):
    """An exchange, and now and then a twin that was loaded from its dump and must do the same from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = Exchange.of(TABLES)
        self.twin: Exchange | None = None
        self.witness = Witness()
        self.now_ns: Nanos = FIRST_NS
        self.placed: dict[OrderId, PlaceOrder] = {}
        self.withdrawals = 0

    @initialize(stakes=st.tuples(*[st.integers(2_000, 30_000)] * len(ACCOUNTS)), fund=st.integers(0, 20_000))
    def money_and_prices(self, stakes: tuple[int, ...], fund: int) -> None:
        for number, (account, amount) in enumerate(zip(ACCOUNTS, stakes, strict=True), start=1):
            self.do(DepositObserved(deposit_id=number, account=account, asset=1, amount_units=amount))
        self.do(CapitalObserved(deposit_id=len(ACCOUNTS) + 1, fund=1, asset=1, amount_units=fund))
        for market in MARKETS:
            self.do(SetPositionTerms(**ISOLATED, market=market, isolated=True, leverage=5))
        self.quote(100, 100)

    def do(self, command: Any) -> Outcome:
        """Apply a command, to the twin as well."""
        stamped = attrs.evolve(command, time_ns=self.now_ns)
        outcome = self.exchange.apply(stamped)
        if self.twin:
            assert self.twin.apply(stamped) == outcome
        self.witness.note(outcome)
        return outcome

    def quote(self, *prices_ticks: Ticks) -> None:
        quotes = [
            Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=self.now_ns)
            for market, price in zip(MARKETS, prices_ticks, strict=True)
            for source in (1, 2, 3)
        ]
        self.do(IndexQuotes(quotes=tuple(quotes)))

    def known(self, pick: int) -> dict[str, int]:
        """Name one of the orders that were placed, or one that came with it; 0 is the latest."""
        sequence = list(self.placed)[-1 - pick % len(self.placed)]
        order = self.placed[sequence]
        return {"account": order.account, "market": order.market, "order_id": sequence | (pick % 3 // 2) << 40}

    def resting(self) -> list[Order]:
        return [each for market in MARKETS for side in Side for each in self.exchange.clearing.orders(market, side)]

    @rule(several=st.lists(orders(), min_size=1, max_size=6))
    def place_several(self, several: list[PlaceOrder]) -> None:
        for order in several:
            self.place(order)

    def place(self, order: PlaceOrder) -> None:
        need = self.exchange.clearing.need(order.account, 1)
        outcome = self.do(order)
        if outcome.rejected is None:
            self.placed[outcome.sequence] = attrs.evolve(order, time_ns=self.now_ns)
        if [*map(type, outcome.events)] == [OrderWaits]:
            assert self.exchange.clearing.need(order.account, 1) == need, "an order that waits reserved something"

    @rule(several=st.lists(orders(), min_size=1, max_size=6))
    def trade(self, several: list[PlaceOrder]) -> None:
        """Two meet each time, so that there are positions."""
        for order in several:
            bare = attrs.evolve(
                PlaceOrder(account=order.account, market=order.market, side=order.side, size_lots=5, price_ticks=100),
                position_id=order.position_id,
            )
            other = ACCOUNTS[ACCOUNTS.index(order.account) - 1]
            self.place(attrs.evolve(bare, account=other, side=order.side.opposite))
            self.place(bare)
            self.place(order)

    @rule(order=orders())
    def preview(self, order: PlaceOrder) -> None:
        before = self.exchange.dump()
        said = self.exchange.preview_order(attrs.evolve(order, time_ns=self.now_ns))
        assert said.explain()
        assert self.exchange.dump() == before

    @rule(
        pick=picks, size=st.integers(0, 8), price=st.one_of(st.just(0), prices), trigger=st.sampled_from((0, 97, 103))
    )
    def amend(self, pick: int, size: Lots, price: Ticks, trigger: Ticks) -> None:
        if self.placed:
            named = self.known(pick)
            self.do(AmendOrder(size_lots=size, price_ticks=price, trigger_ticks=trigger, **named))

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        if self.placed:
            self.do(CancelOrder(**self.known(pick)))

    @rule(several=st.lists(other_commands, min_size=1, max_size=4))
    def ask(self, several: list[Command]) -> None:
        for command in several:
            self.do(command)

    @rule(price=some_prices, other=some_prices, passes_ns=st.sampled_from((0, SECOND_NS, MINUTE_NS, HOUR_NS)))
    def prices_move(self, price: Ticks, other: Ticks, passes_ns: Nanos) -> None:
        """The operator opens what was closed, where it is not over."""
        self.now_ns += passes_ns
        self.quote(price, other)
        for market, state in self.exchange.market_states.items():
            if state is not MarketState.OPEN:
                self.do(SetMarketState(market=market, state=MarketState.OPEN))

    @rule(passes_ns=st.sampled_from((SECOND_NS // 4, 10 * SECOND_NS)))
    def time_passes(self, passes_ns: Nanos) -> None:
        self.now_ns += passes_ns

    @rule(account=accounts, amount=st.integers(1, 4_000), leaves=st.booleans())
    def withdraw(self, account: AccountId, amount: int, leaves: bool) -> None:
        self.withdrawals += 1
        asked = self.do(
            RequestWithdrawal(withdrawal_id=self.withdrawals, account=account, asset=1, amount_units=amount)
        )
        if asked.rejected is None:
            held = self.withdrawals
            self.do(ApproveWithdrawal(withdrawal_id=held) if leaves else CancelWithdrawal(withdrawal_id=held))

    @rule()
    def recover(self) -> None:
        """What a dump holds is all that there is."""
        state = self.exchange.dump()
        if self.twin:
            assert self.twin.dump() == state
        self.twin = Exchange.of(TABLES)
        self.twin.load(state)
        assert self.twin.dump() == state

    @invariant()
    def the_books_agree(self) -> None:
        _, findings = self.exchange.audit()
        assert not findings
        assert not self.witness.complaints
        assert not self.witness.compare(self.exchange)

    @invariant()
    def positions_are_told_apart(self) -> None:
        clearing = self.exchange.clearing
        for account in clearing.accounts():
            for held in clearing.pool(account, 1).exposures:
                mode, size = clearing.position_mode(account, held.market), held.size_lots
                if mode is PositionMode.ONE_WAY:
                    assert held.position_id == 0
                if mode is PositionMode.HEDGE:
                    assert size >= 0 if held.position_id == HEDGE_LONG else size <= 0
                    assert held.position_id in (HEDGE_LONG, HEDGE_SHORT)

    @invariant()
    def what_only_reduces_cannot_open(self) -> None:
        pools = {account: self.exchange.clearing.pool(account, 1) for account in self.exchange.clearing.accounts()}
        sizes = {
            (account, held.market, held.position_id): held.size_lots
            for account, pool in pools.items()
            for held in pool.exposures
        }
        closing: Counter[tuple[AccountId, MarketId, PositionId]] = Counter()
        for order in self.resting():
            slot = (order.account, order.market, order.position_id)
            if order.reduce_only:
                assert order.side * sizes[slot] < 0
                closing[slot] += order.size_lots
        for slot, closing_lots in closing.items():
            assert closing_lots <= abs(sizes[slot])

    @invariant()
    def nothing_lives_past_its_end(self) -> None:
        for order in self.resting():
            if placed := self.placed.get(order.id):
                midnight = DAY_NS if placed.time_in_force is TimeInForce.DAY and placed.time_ns < DAY_NS else 0
                ends_ns = placed.expires_ns or midnight
                assert not ends_ns or self.exchange.clock_ns < ends_ns


TestTrading = TradingMachine.TestCase
TestTrading.settings = settings(max_examples=100, stateful_step_count=40)
