"""What a subscriber knows who was told every event, and what it may rely on while they come in.

The mirror reads commands and events only. So it is a second opinion on positions, orders, funds and custody, and the
traffic that is sent next depends on nothing that a replay would not bring back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Outcome
from perpkit.model import event as events
from perpkit.model.cause import CancelReason, Cause, Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    CancelWithdrawal,
    Command,
    PlaceOrder,
    SetMarketState,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.ids import HOUSE, AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.market import MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.position import PoolKey
from perpkit.model.price import PriceState
from perpkit.model.reject import RejectReason
from perpkit.units import Lots, Ticks, Units

FORCED = (Cause.LIQUIDATION, Cause.TAKE_OVER, Cause.DELEVERAGING)

Slot = tuple[AccountId, MarketId, PositionId]


@attrs.define
class Resting:
    """An order that rests, and the command that brought it."""

    command: PlaceOrder
    price_ticks: Ticks
    left_lots: Lots


@attrs.define
class Held:
    """A withdrawal on its way."""

    account: AccountId
    asset: AssetId
    amount_units: Units
    released: bool = False


class Mirror:
    """Positions, orders, funds, custody and market states, from commands and events alone."""

    def __init__(self, config: ExchangeConfig) -> None:
        self._config = config
        self.sizes: dict[Slot, Lots] = {}
        self.orders: dict[OrderId, Resting] = {}
        self.custody_units: dict[AssetId, Units] = dict.fromkeys(config.assets, 0)
        self.fund_units: dict[AssetId, Units] = dict.fromkeys(config.assets, 0)
        self.states: dict[MarketId, MarketState] = dict.fromkeys(config.markets, MarketState.OPEN)
        self.marks: dict[MarketId, PriceState] = dict.fromkeys(config.markets, PriceState.FROZEN)
        self.withdrawals: dict[int, Held] = {}
        self.waiting: set[PoolKey] = set()
        self.deposits: set[int] = set()
        self.evidence = 0
        self.remembered: dict[AccountId, deque[tuple[PlaceOrder, int]]] = {}
        self._command: Command | None = None
        self._accepted: events.OrderAccepted | None = None
        self._open_lots: Lots = 0
        self._crossed: Counter[MarketId] = Counter()
        self._breached: set[tuple[AccountId, AssetId]] = set()
        self._holds: dict[RejectReason, Callable[[Any], bool]] = {
            RejectReason.UNKNOWN_ORDER: lambda command: not any(self._is_meant(command)),
            RejectReason.UNKNOWN_WITHDRAWAL: self._is_unknown_withdrawal,
            RejectReason.MARKET_STATE: self._is_closed,
            RejectReason.ACCOUNT_LOCKED: lambda command: any(key[0] == command.account for key in self.waiting),
            RejectReason.TOO_MANY_ORDERS: self._has_too_many_orders,
        }
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            events.Rejected: self._rejected,
            events.OrderAccepted: self._order_accepted,
            events.OrderRested: self._order_rested,
            events.OrderCancelled: self._order_cancelled,
            events.Filled: self._filled,
            events.PositionChanged: self._position_changed,
            events.DepositCredited: self._deposit_credited,
            events.WithdrawalHeld: self._withdrawal_held,
            events.WithdrawalReleased: self._withdrawal_released,
            events.WithdrawalReturned: self._withdrawal_returned,
            events.WithdrawalSettled: self._withdrawal_settled,
            events.MarkUpdated: self._mark_updated,
            events.MarketStateChanged: self._state_changed,
            events.FundingAccrued: self._funding_accrued,
            events.LiquidationStarted: self._liquidation_started,
            events.LiquidationEnded: self._liquidation_ended,
            events.FundMoved: self._fund_moved,
            events.AuditCompleted: self._audit_completed,
            events.BreachFound: self._breach_found,
            events.ExchangeResumed: self._exchange_resumed,
        }

    def take(self, command: Command, outcome: Outcome) -> None:
        """Learn from what a command did, and hold it against what is promised."""
        self._command, self._accepted = command, None
        self._breached.clear()
        for event in outcome.events:
            if handler := self._handlers.get(type(event)):
                handler(event)
        assert not any(self._crossed.values()), f"every fill has two sides: {self._crossed}"
        kept = [each for each in self.withdrawals.values() if (each.account, each.asset) in self._breached]
        assert all(each.released for each in kept), "a pool in breach gets back what it holds for withdrawal"
        if self._accepted:
            assert self._open_lots == 0, f"{self._open_lots} lots neither filled nor resting nor cancelled"
            self._remember(outcome.sequence)

    def _remember(self, sequence: int) -> None:
        command = self._command
        assert isinstance(command, PlaceOrder)
        if command.client_order_id:
            kept = self._config.limits.client_order_ids_kept
            self.remembered.setdefault(command.account, deque(maxlen=kept)).append((command, sequence))

    def _rejected(self, event: events.Rejected) -> None:
        holds = self._holds.get(event.reason)
        assert holds is None or holds(self._command), f"refused as {event.reason.text}, which is not so"

    def _is_meant(self, cancel: CancelOrder) -> Iterator[bool]:
        """Yield whether each order is the one that a cancel means."""
        for order_id, resting in self.orders.items():
            command = resting.command
            if (command.account, command.market) == (cancel.account, cancel.market):
                yield cancel.order_id == order_id or 0 != cancel.client_order_id == command.client_order_id

    def _is_unknown_withdrawal(self, command: ApproveWithdrawal | CancelWithdrawal | WithdrawalSent) -> bool:
        held = self.withdrawals.get(command.withdrawal_id)
        return held is None or held.released is not isinstance(command, WithdrawalSent)

    def _is_closed(self, command: PlaceOrder | SetPositionTerms | SetMarketState) -> bool:
        final = (MarketState.SETTLING, MarketState.SETTLED)
        asked = command.state if isinstance(command, SetMarketState) else None
        return self.states[command.market] is not MarketState.OPEN or asked in final

    def _has_too_many_orders(self, command: PlaceOrder) -> bool:
        mine = [order for order in self.orders.values() if order.command.account == command.account]
        count = sum(order.command.market == command.market for order in mine)
        return count >= self._config.markets[command.market].orders_max

    def _order_accepted(self, event: events.OrderAccepted) -> None:
        command = self._command
        assert isinstance(command, PlaceOrder)
        pool = (event.account, self._config.markets[event.market].settlement)
        assert command.reduce_only or pool not in {key[:2] for key in self.waiting}, "a pool in breach may only reduce"
        self._accepted, self._open_lots = event, event.size_lots

    def _order_rested(self, event: events.OrderRested) -> None:
        command = self._command
        assert isinstance(command, PlaceOrder)
        assert command.time_in_force is TimeInForce.GTC, "only good-till-cancelled orders rest"
        assert not command.is_market, "a market order never rests"
        self._open_lots -= event.size_lots
        self.orders[event.order_id] = Resting(command, event.price_ticks, event.size_lots)

    def _order_cancelled(self, event: events.OrderCancelled) -> None:
        resting = self.orders.get(event.order_id)
        if resting is None:
            assert event.reason in (CancelReason.IMMEDIATE, CancelReason.WORK_LIMIT), "an unknown order was cancelled"
            if self._accepted and event.order_id == self._accepted.order_id:
                self._open_lots -= event.size_lots
            return
        resting.left_lots -= event.size_lots
        assert resting.left_lots == event.left_lots, "what is left of a cancelled order"
        if not event.left_lots:
            del self.orders[event.order_id]

    def _filled(self, event: events.Filled) -> None:
        self._crossed[event.market] += event.size_lots
        if event.maker:
            self._maker_filled(event)
        elif self._accepted and event.order_id == self._accepted.order_id:
            self._taker_filled(event, self._accepted)

    def _maker_filled(self, event: events.Filled) -> None:
        resting = self.orders[event.order_id]
        assert event.price_ticks == resting.price_ticks, "a maker trades at its own price"
        assert event.size_lots * resting.command.side > 0, "a maker trades on its own side"
        resting.left_lots -= abs(event.size_lots)
        assert resting.left_lots >= 0, "a maker trades no more than it offered"
        if not resting.left_lots:
            del self.orders[event.order_id]
        if resting.command.reduce_only:
            self._only_reduces(event)

    def _taker_filled(self, event: events.Filled, accepted: events.OrderAccepted) -> None:
        command = self._command
        assert isinstance(command, PlaceOrder)
        assert accepted.side * (accepted.price_ticks - event.price_ticks) >= 0, "a taker trades within its limit"
        assert not command.post_only, "a post-only order never takes"
        self._open_lots -= abs(event.size_lots)
        if command.reduce_only:
            self._only_reduces(event)

    def _only_reduces(self, event: events.Filled) -> None:
        size = self.sizes.get((event.account, event.market, event.position_id), 0)
        assert size * event.size_lots < 0, "a reduce-only order met a position that it does not reduce"
        assert abs(event.size_lots) <= abs(size), "a reduce-only order closed more than there was"

    def _position_changed(self, event: events.PositionChanged) -> None:
        slot = (event.account, event.market, event.position_id)
        if event.cause in FORCED:
            assert self.states[event.market].runs, "law 5: the market was stopped"
            assert self.marks[event.market] is not PriceState.FROZEN, "law 5: the mark was frozen"
        if event.account == HOUSE:
            side = Side.BUY if event.position_id == 1 else Side.SELL
            assert event.position_id in (1, 2), "the house holds inventory only"
            assert event.size_lots * side >= 0, "long and short inventory are kept apart"
        if event.size_lots:
            self.sizes[slot] = event.size_lots
        else:
            self.sizes.pop(slot, None)

    def _deposit_credited(self, event: events.DepositCredited) -> None:
        assert event.deposit_id not in self.deposits, "a deposit is credited once"
        self.deposits.add(event.deposit_id)
        self.custody_units[event.asset] += event.amount_units + event.suspended_units

    def _withdrawal_held(self, event: events.WithdrawalHeld) -> None:
        self.withdrawals[event.withdrawal_id] = Held(event.account, event.asset, event.amount_units)

    def _withdrawal_released(self, event: events.WithdrawalReleased) -> None:
        held = self.withdrawals[event.withdrawal_id]
        assert not held.released, "a withdrawal is released once"
        held.released = True

    def _withdrawal_returned(self, event: events.WithdrawalReturned) -> None:
        held = self.withdrawals.pop(event.withdrawal_id)
        assert not held.released, "what was released cannot be recalled"

    def _withdrawal_settled(self, event: events.WithdrawalSettled) -> None:
        held = self.withdrawals.pop(event.withdrawal_id)
        assert held.released, "only what was released leaves"
        self.custody_units[event.asset] -= held.amount_units

    def _mark_updated(self, event: events.MarkUpdated) -> None:
        self.marks[event.market] = event.state

    def _state_changed(self, event: events.MarketStateChanged) -> None:
        self.states[event.market] = event.state

    def _funding_accrued(self, event: events.FundingAccrued) -> None:
        if event.per_lot_scaled:
            assert self.states[event.market].runs, "law 5: a stopped market pays no funding"
            assert self.marks[event.market] is not PriceState.FROZEN, "law 5: a frozen mark pays no funding"

    def _liquidation_started(self, event: events.LiquidationStarted) -> None:
        self.waiting.add((event.account, event.asset, event.market, event.position_id))
        if not event.market:
            self._breached.add((event.account, event.asset))

    def _liquidation_ended(self, event: events.LiquidationEnded) -> None:
        self.waiting.remove((event.account, event.asset, event.market, event.position_id))

    def _fund_moved(self, event: events.FundMoved) -> None:
        self.fund_units[event.asset] += event.amount_units
        assert self.fund_units[event.asset] == event.balance_units >= 0, "a fund is what moved in and out of it"

    def _audit_completed(self, event: events.AuditCompleted) -> None:
        assert event.breaches == 0, "the exchange's own audit does not agree"

    def _breach_found(self, event: events.BreachFound) -> None:
        assert event.law is Law.HOLDINGS, "only custody was made to say something false"
        self.evidence = event.evidence

    def _exchange_resumed(self, event: events.ExchangeResumed) -> None:
        assert event.evidence == self.evidence, "what was resumed is what stood"
        self.evidence = 0
