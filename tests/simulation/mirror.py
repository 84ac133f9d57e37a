"""What a subscriber knows who was told every event, and what it may rely on while they come in.

The mirror reads commands and events only. So it is a second opinion on positions, orders, funds and custody, and the
traffic that is sent next depends on nothing that a replay would not bring back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Outcome
from perpkit.model import event as events
from perpkit.model.cause import Cause, Law
from perpkit.model.command import (
    AmendOrder,
    ApproveWithdrawal,
    CancelAllAfter,
    CancelWithdrawal,
    ClosePosition,
    Command,
    PlaceOrder,
    ReversePosition,
    SetMarketState,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.ids import HOUSE, AccountId, AssetId, FundId, MarketId
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.position import PoolKey, PositionMode
from perpkit.model.price import PriceState
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import PriceSource
from perpkit.units import Lots, Ticks, Units

from .orders import Orders, Slot

Once = PlaceOrder | ClosePosition | ReversePosition
"""What is done once, however often it is sent under one client order id."""

FORCED = (Cause.LIQUIDATION, Cause.TAKE_OVER, Cause.DELEVERAGING)


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
        self.orders = Orders(self.sizes)
        self.isolated: set[Slot] = set()
        self.prices: dict[tuple[MarketId, PriceSource], Ticks] = {}
        self.custody_units: dict[AssetId, Units] = dict.fromkeys(config.assets, 0)
        self.fund_units: Counter[tuple[FundId, AssetId]] = Counter()
        self.states: dict[MarketId, MarketState] = dict.fromkeys(config.markets, MarketState.OPEN)
        self.marks: dict[MarketId, PriceState] = dict.fromkeys(config.markets, PriceState.FROZEN)
        self.withdrawals: dict[int, Held] = {}
        self.queue: set[PoolKey] = set()
        self.deposits: dict[int, None] = {}
        self.reverted: set[int] = set()
        self.owed_units: Counter[tuple[AccountId, AssetId]] = Counter()
        self.accounts: set[AccountId] = set()
        self.evidence = 0
        self.remembered: dict[AccountId, dict[int, tuple[Once, int]]] = {}
        self._command: Command | None = None
        self._crossed: Counter[MarketId] = Counter()
        self._breached: set[tuple[AccountId, AssetId]] = set()
        self._holds: dict[RejectReason, Callable[[Any], bool]] = {
            RejectReason.UNKNOWN_ORDER: lambda command: not any(self.orders.meant(command)),
            RejectReason.UNKNOWN_WITHDRAWAL: self._is_unknown_withdrawal,
            RejectReason.MARKET_STATE: self._is_closed,
            RejectReason.ACCOUNT_LOCKED: lambda command: any(key[0] == command.account for key in self.queue),
            RejectReason.POSITION_MODE: lambda command: (command.account, command.market) in self.orders.modes,
            RejectReason.RATE_LIMITED: lambda _: self._config.limits.orders_per_second > 0,
            RejectReason.TOO_MANY_ORDERS: self._has_too_many_orders,
        }
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            events.Rejected: self._rejected,
            events.OrderAccepted: self._order_accepted,
            events.OrderRested: self.orders.rested,
            events.OrderAmended: self.orders.amended,
            events.OrderCancelled: self.orders.cancelled,
            events.OrderWaits: self.orders.waits,
            events.OrderTriggered: self._order_triggered,
            events.OrderRefused: self.orders.refused,
            events.SwitchSet: self._switch_set,
            events.PositionModeSet: self._mode_set,
            events.TermsSet: self._terms_set,
            events.Filled: self._filled,
            events.PositionChanged: self._position_changed,
            events.DepositCredited: self._deposit_credited,
            events.DepositReverted: self._deposit_reverted,
            events.WithdrawalHeld: self._withdrawal_held,
            events.WithdrawalReleased: self._withdrawal_released,
            events.WithdrawalReturned: self._withdrawal_returned,
            events.WithdrawalSettled: self._withdrawal_settled,
            events.IndexUpdated: self._index_updated,
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
        self._command = command
        self._breached.clear()
        self.orders.begin(command, outcome.sequence)
        for event in outcome.events:
            if handler := self._handlers.get(type(event)):
                handler(event)
        assert not any(self._crossed.values()), f"every fill has two sides: {self._crossed}"
        kept = [each for each in self.withdrawals.values() if (each.account, each.asset) in self._breached]
        assert all(each.released for each in kept), "a pool in breach gets back what it holds for withdrawal"
        accepted = outcome.rejected is None
        self.orders.finish(command.time_ns if accepted else None)
        done = accepted and not any(isinstance(each, events.Duplicate) for each in outcome.events)
        if done and isinstance(command, Once):
            self._remember(command, outcome.sequence)

    def _remember(self, command: Once, sequence: int) -> None:
        """Keep its ids, those of the orders that came with it as well, as long as the exchange does."""
        window = self.remembered.setdefault(command.account, {})
        attached = command.attached if isinstance(command, PlaceOrder) else ()
        for name in (command.client_order_id, *(each.client_order_id for each in attached)):
            if name:
                window[name] = (command, sequence)
                if len(window) > self._config.limits.client_order_ids_kept:
                    del window[next(iter(window))]

    def again(self) -> list[tuple[Once, int]]:
        """Return the commands that would be duplicates, and what they are duplicates of."""
        return [
            known
            for window in self.remembered.values()
            for name, known in window.items()
            if known[0].client_order_id == name
        ]

    def _rejected(self, event: events.Rejected) -> None:
        holds = self._holds.get(event.reason)
        assert holds is None or holds(self._command), f"refused as {event.reason.text}, which is not so"

    def _is_unknown_withdrawal(self, command: ApproveWithdrawal | CancelWithdrawal | WithdrawalSent) -> bool:
        held = self.withdrawals.get(command.withdrawal_id)
        return held is None or held.released is not isinstance(command, WithdrawalSent)

    def _is_closed(self, command: PlaceOrder | SetPositionTerms | SetMarketState) -> bool:
        final = (MarketState.SETTLING, MarketState.SETTLED)
        asked = command.state if isinstance(command, SetMarketState) else None
        return self.states[command.market] is not MarketState.OPEN or asked in final

    def _has_too_many_orders(self, command: PlaceOrder | AmendOrder | ClosePosition) -> bool:
        if isinstance(command, PlaceOrder) and (command.trigger or command.attached):
            return True  # nobody is told of the orders that wait for fills, and they count
        others = len(self.orders.of(command.account, command.market)) - isinstance(command, AmendOrder)
        return others >= self._config.markets[command.market].orders_max

    def _pool_waits(self, account: AccountId, market: MarketId) -> bool:
        pool = (account, self._config.markets[market].settlement)
        return any(key[:2] == pool for key in self.queue)

    def _order_accepted(self, event: events.OrderAccepted) -> None:
        order = self.orders.accepted(event)
        may_come = order.reduce_only or order.close or not self._pool_waits(event.account, event.market)
        assert may_come, "a pool in breach may only reduce"

    def _order_triggered(self, event: events.OrderTriggered) -> None:
        source = self.orders.triggered(event).trigger.price_source
        assert self.states[event.market] is MarketState.OPEN, "a trigger fires in a market that is not open"
        assert self.marks[event.market] is not PriceState.FROZEN, "law 5: the mark was frozen"
        assert not self._pool_waits(event.account, event.market), "a trigger fires for a pool in breach"
        assert event.price_ticks == self.prices[event.market, source], "a trigger fires at a price that is none"

    def _filled(self, event: events.Filled) -> None:
        self._crossed[event.market] += event.size_lots
        self.prices[event.market, PriceSource.LAST] = event.price_ticks
        self.orders.filled(event)

    def _switch_set(self, event: events.SwitchSet) -> None:
        command, asked = self._command, False
        if isinstance(command, CancelAllAfter) and command.account == event.account:
            asked = not self.orders.time_acts(command.time_ns)
        self.orders.switched(event, asked=asked)

    def _mode_set(self, event: events.PositionModeSet) -> None:
        self.orders.modes.pop((event.account, event.market), None)
        if event.mode is not PositionMode.MULTI:
            self.orders.modes[event.account, event.market] = event.mode

    def _terms_set(self, event: events.TermsSet) -> None:
        slot = (event.account, event.market, event.position_id)
        (self.isolated.add if event.isolated else self.isolated.discard)(slot)

    def check_triggers(self) -> None:
        """Nothing waits on that the mark has reached; only while no work was put off."""
        for live in self.orders.waiting.values():
            account, market, _ = live.slot
            acts = self.states[market] is MarketState.OPEN and self.marks[market] is not PriceState.FROZEN
            if live.trigger.price_source is PriceSource.MARK and acts and not self._pool_waits(account, market):
                assert not live.reached(self.prices[market, PriceSource.MARK]), f"a trigger was passed over: {live}"

    def _position_changed(self, event: events.PositionChanged) -> None:
        slot = (event.account, event.market, event.position_id)
        if event.cause in FORCED:
            assert self.states[event.market].runs, "law 5: the market was stopped"
            assert self.marks[event.market] is not PriceState.FROZEN, "law 5: the mark was frozen"
        self.orders.check_mode(event)
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
        self.deposits[event.deposit_id] = None
        self.owed_units[event.account, event.asset] -= event.repaid_units
        assert self.owed_units[event.account, event.asset] >= 0, "a deposit pays no more than is owed"
        if event.amount_units:
            self.accounts.add(event.account)
        self.custody_units[event.asset] += event.amount_units + event.suspended_units

    def _deposit_reverted(self, event: events.DepositReverted) -> None:
        assert event.deposit_id in self.deposits, "only what came in is taken back"
        assert event.deposit_id not in self.reverted, "a deposit is taken back once"
        self.reverted.add(event.deposit_id)
        self.owed_units[event.account, event.asset] += event.shortfall_units
        self.custody_units[event.asset] -= event.amount_units

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

    def _index_updated(self, event: events.IndexUpdated) -> None:
        self.prices[event.market, PriceSource.INDEX] = event.price_ticks

    def _mark_updated(self, event: events.MarkUpdated) -> None:
        self.prices[event.market, PriceSource.MARK] = event.price_ticks
        self.marks[event.market] = event.state

    def _state_changed(self, event: events.MarketStateChanged) -> None:
        self.states[event.market] = event.state

    def _funding_accrued(self, event: events.FundingAccrued) -> None:
        if event.per_lot_scaled:
            assert self.states[event.market].runs, "law 5: a stopped market pays no funding"
            assert self.marks[event.market] is not PriceState.FROZEN, "law 5: a frozen mark pays no funding"

    def _liquidation_started(self, event: events.LiquidationStarted) -> None:
        self.queue.add((event.account, event.asset, event.market, event.position_id))
        if not event.market:
            self._breached.add((event.account, event.asset))

    def _liquidation_ended(self, event: events.LiquidationEnded) -> None:
        self.queue.remove((event.account, event.asset, event.market, event.position_id))

    def _fund_moved(self, event: events.FundMoved) -> None:
        fund = event.fund, event.asset
        self.fund_units[fund] += event.amount_units
        assert self.fund_units[fund] == event.balance_units >= 0, "a fund is what moved in and out of it"

    def _audit_completed(self, event: events.AuditCompleted) -> None:
        owing = sum(units > 0 for units in self.owed_units.values())
        # What was taken back may also have been promised to withdrawals on their way, of each asset.
        short = len(self.custody_units) if self.reverted else 0
        assert owing <= event.breaches <= owing + short, "the exchange's own audit does not agree"

    def _breach_found(self, event: events.BreachFound) -> None:
        took_back = event.law is Law.NO_DEBT and self.reverted
        assert event.law is Law.HOLDINGS or took_back, "custody only says something false, or takes a deposit back"
        self.evidence = event.evidence

    def _exchange_resumed(self, event: events.ExchangeResumed) -> None:
        assert event.evidence == self.evidence, "what was resumed is what stood"
        self.evidence = 0
