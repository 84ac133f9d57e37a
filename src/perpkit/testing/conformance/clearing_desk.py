"""Drives a clearing as an exchange does: orders get their numbers, accounts their money, and every write is legal."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    CancelOrder,
    Command,
    IndexQuotes,
    PlaceOrder,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.event import Event, Filled, PositionChanged
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT, AccountId, MarketId, OrderId, PositionId
from perpkit.model.ledger import Chart, Posting, house, insurance, wallet, withdrawal
from perpkit.model.market import MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.position import Closing, Exposure, PositionMode
from perpkit.model.preview import Preview
from perpkit.model.reject import RejectReason
from perpkit.plugin import CLEARING, NoOptions, Provider, Registry, hookimpl
from perpkit.ports import Clearing, ClearingContext
from perpkit.testing.builders import config, mark, market_table
from perpkit.testing.strategies import FIRST_NS, quotes_of
from perpkit.units import SCALE, Lots, Ticks, Units

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK, GTC = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC
LITTLE = (1_000, 2_000, 10_000)
"""What accounts have in laws: so little that orders are refused and losses cannot be paid."""
CRASH: list[Command] = [IndexQuotes(quotes=quotes_of({1: 80, 2: 100}, FIRST_NS), time_ns=FIRST_NS)]
"""What account 1 of `exchanges` does not survive."""

Write: TypeAlias = tuple[str, dict[str, Any]]
"""A method of `Desk`, and what to give it."""


class Desk:
    """A clearing whose accounts 1, 2, … have money, whose fund has 50,000, and whose markets have the mark 100."""

    def __init__(self, clearing: Clearing, deposits: Sequence[Units] = (10_000, 10_000, 10_000)) -> None:
        self.clearing = clearing
        self.orders: OrderId = 0
        self.withdrawals: int = 0
        for account, amount in enumerate(deposits, start=1):
            self.deposit(account, amount)
        clearing.post([Posting(house(Chart.CUSTODY_HOT, 1), insurance(1, 1), 50_000)])
        for market in clearing.marks():
            self.mark(100, market)

    def do(self, write: Write) -> Sequence[Event]:
        """Do one of `clearing_writes.writes`."""
        name, keys = write
        events: Sequence[Event] = getattr(self, name)(**keys) or ()
        return events

    def wallet(self, account: AccountId) -> Units:
        """Return the cash of an account."""
        return self.clearing.balance(wallet(account, 1))

    def held(self, account: AccountId, market: MarketId = 1, position_id: PositionId = 0) -> Exposure | None:
        """Return a position with its orders."""
        exposures = self.clearing.pool(account, 1).exposures
        return next((each for each in exposures if (each.market, each.position_id) == (market, position_id)), None)

    def position(self, account: AccountId, market: MarketId = 1, position_id: PositionId = 0) -> tuple[Lots, Units]:
        """Return (size, cost)."""
        held = self.held(account, market, position_id)
        return (held.size_lots, held.cost_units) if held else (0, 0)

    def deposit(self, account: AccountId, amount: Units) -> Sequence[Event]:
        """Let money come in."""
        return self.clearing.post([Posting(house(Chart.CUSTODY_HOT, 1), wallet(account, 1), amount)])

    def withdraw(self, account: AccountId, amount: Units) -> Sequence[Event]:
        """Hold money, as much as there is, for a withdrawal."""
        self.withdrawals += 1
        amount = min(amount, self.wallet(account))
        posting = Posting(wallet(account, 1), withdrawal(self.withdrawals, 1), amount)
        return self.clearing.post([posting]) if amount else ()

    def mark(self, price: Ticks, market: MarketId = 1) -> None:
        """Let a mark stand."""
        self.clearing.set_mark(mark(price, market=market))

    def place(
        self,
        account: AccountId,
        side: Side,
        size: Lots,
        price: Ticks,
        market: MarketId = 1,
        *,
        state: MarketState = MarketState.OPEN,
        locked: bool = False,
        **more: Any,
    ) -> Sequence[Event]:
        """Place an order under the next number; its client knows it by ten times that."""
        self.orders += 1
        return self.clearing.place(self._order(account, side, size, price, market, more), self.orders, state, locked)

    def preview(
        self,
        account: AccountId,
        side: Side,
        size: Lots,
        price: Ticks,
        market: MarketId = 1,
        *,
        state: MarketState = MarketState.OPEN,
        locked: bool = False,
        **more: Any,
    ) -> Preview:
        """Ask what `place` would do if it came next."""
        self.orders += 1
        command = self._order(account, side, size, price, market, more)
        self.orders -= 1
        return self.clearing.preview(command, self.orders + 1, state, locked)

    def _order(
        self, account: AccountId, side: Side, size: Lots, price: Ticks, market: MarketId, more: dict[str, Any]
    ) -> PlaceOrder:
        return PlaceOrder(
            account=account,
            market=market,
            side=side,
            size_lots=size,
            price_ticks=price,
            client_order_id=10 * self.orders,
            **more,
        )

    def trade(
        self, buyer: AccountId, seller: AccountId, size: Lots, price: Ticks, market: MarketId = 1
    ) -> Sequence[Event]:
        """Let a resting order of the seller be taken by the buyer; return what the taking told."""
        self.place(seller, SELL, size, price, market)
        return self.place(buyer, BUY, size, price, market)

    def cancel(self, account: AccountId, order_id: OrderId, market: MarketId = 1) -> Sequence[Event]:
        """Cancel an order."""
        command = CancelOrder(account=account, market=market, order_id=order_id)
        return self.clearing.cancel(command, CancelReason.REQUESTED)

    def amend(
        self, account: AccountId, order_id: OrderId, market: MarketId = 1, *, size: Lots = 0, price: Ticks = 0
    ) -> Sequence[Event]:
        """Change an order."""
        command = AmendOrder(account=account, market=market, order_id=order_id, size_lots=size, price_ticks=price)
        return self.clearing.amend(command, MarketState.OPEN, False)

    def cancel_all(
        self,
        market: MarketId,
        account: AccountId | None,
        side: Side | None = None,
        position_id: PositionId | None = None,
    ) -> Sequence[Event]:
        """Cancel an account's orders, or everybody's; or those of one side, of one position."""
        return self.clearing.cancel_all(market, account, CancelReason.LOCKED, side, position_id)

    def fund(self, per_lot_scaled: int, market: MarketId = 1) -> Sequence[Event]:
        """Let funding accrue."""
        return self.clearing.accrue_funding(market, per_lot_scaled)

    def settle(self, account: AccountId) -> Sequence[Event]:
        """Book the funding of an account's cross positions."""
        return self.clearing.settle_funding((account, 1, 0, 0))

    def isolate(self, account: AccountId, leverage: int, market: MarketId = 1) -> Sequence[Event]:
        """Ask for a margin of its own."""
        terms = SetPositionTerms(account=account, market=market, isolated=True, leverage=leverage)
        return self.clearing.set_position_terms(terms)

    def set_mode(self, account: AccountId, mode: PositionMode, market: MarketId = 1) -> Sequence[Event]:
        """Ask that positions be told apart in another way."""
        return self.clearing.set_position_mode(SetPositionMode(account=account, market=market, mode=mode))

    def adjust(self, account: AccountId, amount: Units, market: MarketId = 1) -> Sequence[Event]:
        """Move margin to an isolated position, or back."""
        return self.clearing.adjust_margin(AdjustMargin(account=account, market=market, amount_units=amount))

    def close(self, account: AccountId, limit: Ticks, market: MarketId = 1) -> Sequence[Event]:
        """Close a position on the book, as a liquidation does."""
        size, _ = self.position(account, market)
        if not size:
            return ()
        self.orders += 1
        return self.clearing.close_on_book(account, market, 0, abs(size), limit, self.orders, Cause.LIQUIDATION)

    def take_over(self, account: AccountId, price: Ticks, market: MarketId = 1) -> Sequence[Event]:
        """Let the house have a position, and what it owes."""
        held = self.held(account, market)
        if held is None or not (held.size_lots or held.unpaid_units):
            return ()
        self.clearing.cancel_all(market, account, CancelReason.LIQUIDATION)
        inventory = INVENTORY_LONG if held.size_lots >= 0 else INVENTORY_SHORT
        closings = (
            Closing(account=account, position_id=0, change_lots=-held.size_lots),
            Closing(account=HOUSE, position_id=inventory, change_lots=held.size_lots),
        )
        return self.clearing.cross_off_book(market, price, closings, Cause.TAKE_OVER)

    def deleverage(self, price: Ticks, market: MarketId = 1) -> Sequence[Event]:
        """Close inventory against the first winner, as far as that one can bear it."""
        stock = [each for each in self.clearing.pool(HOUSE, 1).exposures if each.market == market and each.size_lots]
        for held in stock:
            side = BUY if held.size_lots > 0 else SELL
            for winner in self.clearing.winners(market, side.opposite, price)[:1]:
                change = side * min(abs(held.size_lots), winner.bearable_lots)
                closings = (
                    Closing(account=HOUSE, position_id=held.position_id, change_lots=-change),
                    Closing(account=winner.account, position_id=winner.position_id, change_lots=change),
                )
                return self.clearing.cross_off_book(market, price, closings, Cause.DELEVERAGING) if change else ()
        return ()

    def unwind(self, account: AccountId, moved_to: Ticks, price: Ticks, market: MarketId = 1) -> Sequence[Event]:
        """Let the price run away, the house have a position, and the first winner close it."""
        self.mark(moved_to, market)
        return [*self.take_over(account, price, market), *self.deleverage(price, market)]


def filled(events: Iterable[Event]) -> list[tuple[int, int, int, bool]]:
    """Return (account, signed size, price, maker) of every side of a trade."""
    return [(e.account, e.size_lots, e.price_ticks, e.maker) for e in events if isinstance(e, Filled)]


def realized(events: Iterable[Event], account: int) -> Units:
    """Return what changes of an account's positions brought."""
    return sum(e.realized_units for e in events if isinstance(e, PositionChanged) and e.account == account)


def content(clearing: Clearing) -> list[object]:
    """Return what can be read."""
    markets = clearing.marks()
    seen: list[object] = [clearing.accounts(), dict(markets), clearing.conservation(1), clearing.breached(frozenset())]
    for account in (*clearing.accounts(), HOUSE):
        seen += [clearing.pool(account, 1), clearing.need(account, 1), clearing.stressed_need(account, 1)]
        seen += [clearing.position_mode(account, market) for market in markets]
    for market, stands in markets.items():
        seen += [clearing.totals(market), list(clearing.holders(market))]
        for side in Side:
            resting = list(clearing.orders(market, side))
            seen += [resting, list(clearing.levels(market, side, 3))]
            seen += [clearing.order(market, order.account, order.id, 0) for order in resting]
            seen += [clearing.order(market, order.account, 0, 10 * order.id) for order in resting]
            seen += [list(clearing.winners(market, side, stands.price_ticks))]
    return seen


def refusals(desk: Desk) -> Iterator[tuple[RejectReason, Sequence[Event]]]:
    """Ask for one impossible thing after another: all that can be wrong with an order, put right one by one."""
    desk.trade(1, 2, 10, 100)
    desk.place(2, SELL, 10, 103)
    order: dict[str, Any] = {"size": 0, "price": 9, "state": MarketState.HALTED, "locked": True}
    order |= {"post_only": True, "time_in_force": IOC}
    for reason, put_right in (
        (RejectReason.MARKET_STATE, {}),
        (RejectReason.ACCOUNT_LOCKED, {"state": MarketState.OPEN}),
        (RejectReason.SIZE_NOT_POSITIVE, {"locked": False}),
        (RejectReason.SIZE_ABOVE_MAXIMUM, {"size": 10_001}),
        (RejectReason.PRICE_OUT_OF_BOUNDS, {"size": 9_000}),
        (RejectReason.FLAGS_CONFLICT, {"price": 121}),
        (RejectReason.ORDER_CHECK, {"time_in_force": GTC}),
        (RejectReason.NOTHING_TO_REDUCE, {"price": 103, "reduce_only": True}),
        (RejectReason.WOULD_CROSS, {"reduce_only": False}),
        (RejectReason.CANNOT_FILL, {"post_only": False, "time_in_force": FOK}),
        (RejectReason.INSUFFICIENT_MARGIN, {"time_in_force": GTC}),
    ):
        order |= put_right
        yield reason, desk.place(1, BUY, **order)
    yield RejectReason.UNKNOWN_ORDER, desk.cancel(1, 2)
    yield RejectReason.UNKNOWN_ORDER, desk.amend(1, 3, size=5)
    yield RejectReason.SIZE_NOT_POSITIVE, desk.amend(2, 3, size=-5)
    yield RejectReason.PRICE_OUT_OF_BOUNDS, desk.amend(2, 3, price=9)
    yield RejectReason.INSUFFICIENT_MARGIN, desk.amend(2, 3, size=9_000)
    yield RejectReason.TERMS_IN_USE, desk.set_mode(1, PositionMode.HEDGE)
    yield RejectReason.NOT_ISOLATED, desk.adjust(1, 10)
    yield RejectReason.TERMS_IN_USE, desk.isolate(1, leverage=99)
    yield RejectReason.LEVERAGE_TOO_HIGH, desk.isolate(3, leverage=99)


def check_sums(clearing: Clearing, market: int) -> None:
    """Count a market again from its positions, and hold its running sums to the laws."""
    totals = clearing.totals(market)
    accounts = (*clearing.accounts(), HOUSE)
    held = [e for account in accounts for e in clearing.pool(account, 1).exposures if e.market == market]
    assert sum(each.size_lots for each in held) == totals.size_lots == 0
    assert sum(each.cost_units + each.unpaid_units for each in held) == totals.costs_units == -totals.ccp_units
    assert sum(max(0, each.size_lots) for each in held) == totals.open_interest_lots
    residue = SCALE * totals.funding_paid_units - totals.funding_base_scaled
    assert 0 <= residue <= SCALE * totals.funding_settlements


def offered(make: Callable[[ClearingContext], Clearing]) -> Registry:
    """Return perpkit's own parts, and beside them a clearing by the name of `candidate`."""

    class Plugin:
        @hookimpl
        def perpkit_clearings(self) -> Iterable[Provider[Clearing]]:
            """Offer the clearing."""

            def build(context: ClearingContext, _: NoOptions) -> Clearing:
                return make(context)

            return [CLEARING.provider(name="candidate", build=build, options=NoOptions, summary="to be judged")]

    return Registry.of(Plugin())


def exchanges(registry: Registry) -> tuple[Exchange, Exchange]:
    """Return two exchanges alike but for their clearing, the candidate and the reference.

    Accounts have money, markets a price, and account 1 is as long as account 2 is short: as much as they can bear.
    """
    mine, model = (Exchange.of(each, registry) for each in _configs())
    for exchange in (mine, model):
        for account in (1, 2, 3, 4):
            exchange.deposit(account, "COIN", 2_000)
        for name in ("PERP-1", "PERP-2"):
            exchange.quote(name, 100, time_ns=1)
        exchange.place(2, "PERP-1", SELL, 200, 100)
        exchange.place(1, "PERP-1", BUY, 200, 100)
    return mine, model


@cache
def _configs() -> tuple[ExchangeConfig, ExchangeConfig]:
    markets = market_table(), market_table("inverse", id=2)
    return config(*markets, clearing="candidate"), config(*markets)
