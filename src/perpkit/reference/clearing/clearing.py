"""The reference clearing: reads that return values, and the closed set of writes."""

import json
from collections.abc import Mapping, Sequence

import attrs

from perpkit.errors import InvariantError
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    CancelOrder,
    PlaceOrder,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.event import Event, Rejected
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT, AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.ledger import Chart, LedgerAccount, Posting
from perpkit.model.market import MarketState
from perpkit.model.order import Level, Order, Side, TimeInForce
from perpkit.model.position import Breach, Closing, Need, Pool, PoolKey, PositionMode, Thresholds, Winner
from perpkit.model.preview import Preview
from perpkit.model.price import Mark
from perpkit.model.reject import RejectReason
from perpkit.plugin import NoOptions
from perpkit.ports.clearing import ClearingContext, MarketTotals
from perpkit.reference.clearing import amending, execution, orders, settlement, snapshot, terms, views
from perpkit.reference.clearing.admission import admit
from perpkit.reference.clearing.preview import preview
from perpkit.reference.clearing.state import Account, State
from perpkit.units import Lots, Ticks, Units


class ReferenceClearing:
    """Ledger, positions, reservations and books, composed from whatever parts the configuration picked."""

    def __init__(self, context: ClearingContext, _options: NoOptions) -> None:
        self._state = State(context)
        self._margin = context.margin
        self._books = context.books
        self._version = 0

    def has_account(self, account: AccountId, /) -> bool:
        """Whether a deposit ever opened the account."""
        return account in self._state.accounts and account != HOUSE

    def accounts(self) -> Sequence[AccountId]:
        """Return the clients' accounts."""
        return list(self._state.client_accounts())

    def pool(self, account: AccountId, asset: AssetId, /) -> Pool:
        """Return a pool as a value."""
        return views.pool(self._state, account, asset)

    def need(self, account: AccountId, asset: AssetId, /) -> Need:
        """Ask the margin model about a pool."""
        return views.need(self._state, account, asset)

    def thresholds(self, account: AccountId, market: MarketId, position_id: PositionId, /) -> Thresholds:
        """Ask the margin model about a position."""
        pool = views.pool(self._state, account, self._state.market(market).settlement)
        return self._margin.thresholds(pool, market, position_id, self._state.marks)

    def stressed_need(self, account: AccountId, asset: AssetId, /) -> Need:
        """Ask the margin model about a pool whose markets moved against it."""
        return views.stressed_need(self._state, account, asset, views.cross_sizes(self._state, account, asset))

    def position_mode(self, account: AccountId, market: MarketId, /) -> PositionMode:
        """Return how positions are told apart."""
        return self._state.accounts[account].modes.get(market, PositionMode.MULTI)

    def marks(self) -> Mapping[MarketId, Mark]:
        """Return a copy of the marks."""
        return dict(self._state.marks)

    def balance(self, account: LedgerAccount, /) -> Units:
        """Return a ledger balance."""
        return self._state.ledger.balance(account)

    def conservation(self, asset: AssetId, /) -> tuple[Units, Units]:
        """Return the two sides of the ledger."""
        return self._state.ledger.sides(asset)

    def totals(self, market: MarketId, /) -> MarketTotals:
        """Return running sums."""
        return self._state.totals(market)

    def order(self, market: MarketId, account: AccountId, order_id: OrderId, client_order_id: int, /) -> Order | None:
        """Return a resting order with the size that is left."""
        found = orders.find(self._state, market, account, order_id, client_order_id)
        if found and found.order.hidden_lots:
            # What it hides by now, the book alone knows.
            return next(each for each in self._books[market].orders(found.order.side) if each.id == found.order.id)
        if found and found.left_lots != found.order.size_lots:
            return attrs.evolve(found.order, size_lots=found.left_lots)
        return found.order if found else None

    def levels(self, market: MarketId, side: Side, count: int, /) -> Sequence[Level]:
        """Ask the book."""
        return self._books[market].levels(side, count)

    def orders(self, market: MarketId, side: Side, /) -> Sequence[Order]:
        """Ask the book."""
        return tuple(self._books[market].orders(side))

    def breached(self, stopped: frozenset[MarketId], /) -> Sequence[Breach]:
        """Look at every account."""
        return views.breached(self._state, stopped)

    def breach(self, pool: PoolKey, stopped: frozenset[MarketId], /) -> Breach | None:
        """Look at one account."""
        found = views.breaches_of(self._state, pool[0], pool[1], stopped)
        return next((breach for breach in found if breach.key == pool), None)

    def winners(self, market: MarketId, against: Side, price_ticks: Ticks, /) -> Sequence[Winner]:
        """Look at every account."""
        return views.winners(self._state, market, against, price_ticks)

    def holders(self, market: MarketId, /) -> Sequence[Closing]:
        """Look at every account."""
        return views.holders(self._state, market)

    @property
    def version(self) -> int:
        """Count the writes."""
        return self._version

    def place(self, command: PlaceOrder, order_id: OrderId, state: MarketState, locked: bool, /) -> Sequence[Event]:
        """Admit, then do what the book planned."""
        admitted = admit(self._state, command, order_id, state, locked)
        if isinstance(admitted, Rejected):
            return [admitted]
        self._version += 1
        execution.place(self._state, admitted, makes_way=command.close)
        return self._told()

    def preview(self, command: PlaceOrder, order_id: OrderId, state: MarketState, locked: bool, /) -> Preview:
        """Place the order on a copy of what it touches."""
        return preview(self._state, command, order_id, state, locked)

    def amend(self, command: AmendOrder, state: MarketState, locked: bool, /) -> Sequence[Event]:
        """Change an order in place, or let it arrive again."""
        found = amending.amendment(self._state, command, state, locked)
        if isinstance(found, Rejected):
            return [found]
        self._version += 1
        amending.amend(self._state, found)
        return self._told()

    def cancel(self, command: CancelOrder, reason: CancelReason, /) -> Sequence[Event]:
        """Take one order out."""
        found = orders.find(self._state, command.market, command.account, command.order_id, command.client_order_id)
        if found is None:
            return [Rejected(reason=RejectReason.UNKNOWN_ORDER)]
        self._version += 1
        orders.shrink(self._state, found.order, found.left_lots, reason)
        return self._told()

    def cancel_all(
        self,
        market: MarketId,
        account: AccountId | None,
        reason: CancelReason,
        side: Side | None = None,
        position_id: PositionId | None = None,
        /,
    ) -> Sequence[Event]:
        """Take an account's, or everybody's, orders out of a market."""
        self._version += 1
        for each in list(self._state.client_accounts()) if account is None else [account]:
            orders.cancel_all(self._state, market, each, reason, side=side, position_id=position_id)
        return self._told()

    def close_on_book(
        self,
        account: AccountId,
        market: MarketId,
        position_id: PositionId,
        size_lots: Lots,
        limit_ticks: Ticks,
        order_id: OrderId,
        cause: Cause,
        /,
    ) -> Sequence[Event]:
        """Send a close that skips admission."""
        position = self._state.peek(account, (market, position_id))
        if not 0 < size_lots <= abs(position.size_lots):
            raise InvariantError(f"close: expected 1 to {abs(position.size_lots)} lots, was {size_lots}")
        order = Order(
            id=order_id,
            account=account,
            market=market,
            position_id=position_id,
            side=Side.SELL if position.size_lots > 0 else Side.BUY,
            size_lots=size_lots,
            price_ticks=limit_ticks,
            time_in_force=TimeInForce.IOC,
            reduce_only=True,
        )
        self._version += 1
        execution.execute(self._state, self._books[market].plan(order), cause)
        orders.trim_reduce_only(self._state, account, orders.slot_of(order))
        return self._told()

    def cross_off_book(
        self, market: MarketId, price_ticks: Ticks, closings: Sequence[Closing], cause: Cause, /
    ) -> Sequence[Event]:
        """Change positions at one price.

        Rounds:
            Each value half to even; the last that changes takes what the others' rounding left: costs sum to zero.
        """
        state, spec = self._state, self._state.market(market)
        if sum(closing.change_lots for closing in closings):
            raise InvariantError(f"law 2: expected changes that sum to zero, was {closings}")
        self._version += 1
        left = 0
        last = max((index for index, closing in enumerate(closings) if closing.change_lots), default=None)
        for index, closing in enumerate(closings):
            slot = (market, closing.position_id)
            value = left if index == last else spec.value(closing.change_lots, price_ticks)
            left -= value
            before = state.peek(closing.account, slot).size_lots
            realized = settlement.change_position(state, closing.account, slot, closing.change_lots, value, price_ticks)
            settlement.hand_over(state, closing.account, slot, before)
            if cause is Cause.TAKE_OVER:
                settlement.forfeit_margin(state, closing.account, slot)
            else:
                settlement.free_margin(state, closing.account, slot, before)
            settlement.note_position(state, closing.account, slot, realized, cause)
            orders.trim_reduce_only(state, closing.account, slot)
        return self._told()

    def post(self, postings: Sequence[Posting], /) -> Sequence[Event]:
        """Move money; a first credit to a wallet opens the account, and a later one pays its debts."""
        self._version += 1
        state = self._state
        for posting in postings:
            # A wallet that is asked for more than its cash first turns unrealised profit into cash.
            settlement.available(state, posting.debit, posting.amount_units)
            state.ledger.post(posting)
            credit = posting.credit
            if credit.chart is Chart.WALLET:
                state.accounts.setdefault(credit.holder, Account())
                settlement.pay_debts(state, credit.holder, credit.asset)
            elif credit.chart is Chart.CCP:
                left = posting.amount_units
                for position_id in (INVENTORY_LONG, INVENTORY_SHORT):
                    slot = (credit.market, position_id)
                    left -= settlement.repay(state, HOUSE, slot, left)
                    settlement.forget_if_empty(state, HOUSE, slot)
                if left:
                    raise InvariantError(f"law 2: expected to pay off unpaid losses only, was {left} units more")
        return self._told()

    def set_mark(self, mark: Mark, /) -> None:
        """Let a mark stand."""
        self._version += 1
        self._state.marks[mark.market] = mark

    def accrue_funding(self, market: MarketId, per_lot_scaled: int, /) -> Sequence[Event]:
        """Move the cumulative index."""
        self._version += 1
        self._state.sums[market].funding_index_scaled += per_lot_scaled
        if per_lot_scaled:
            orders.cancel_insolvent(self._state, market)
        return self._told()

    def settle_funding(self, pool: PoolKey, /) -> Sequence[Event]:
        """Book funding on one isolated position, or on all cross positions of a pool."""
        self._version += 1
        account, asset, market, position_id = pool
        for slot in self._state.slots_in(account, asset):
            position = self._state.peek(account, slot)
            chosen = slot == (market, position_id) or (not market and not position.terms.isolated)
            if chosen and position.is_open:
                settlement.settle_funding(self._state, account, slot)
        return self._told()

    def set_position_terms(self, command: SetPositionTerms, /) -> Sequence[Event]:
        """Set margin mode and leverage."""
        return self._changed(terms.set_terms(self._state, command))

    def set_position_mode(self, command: SetPositionMode, /) -> Sequence[Event]:
        """Set how positions are told apart."""
        return self._changed(terms.set_mode(self._state, command))

    def adjust_margin(self, command: AdjustMargin, /) -> Sequence[Event]:
        """Move margin between wallet and position."""
        return self._changed(terms.adjust_margin(self._state, command))

    def dump(self) -> bytes:
        """Return everything that can be observed, as canonical JSON."""
        return json.dumps(snapshot.save(self._state), sort_keys=True, separators=(",", ":")).encode()

    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        snapshot.restore(self._state, json.loads(state))

    def _changed(self, refused: Rejected | None) -> Sequence[Event]:
        """Return the refusal of a write that asked before it changed anything, or the events."""
        if refused:
            return [refused]
        self._version += 1
        return self._told()

    def _told(self) -> Sequence[Event]:
        """Hand over the events of this write."""
        events, self._state.events = self._state.events, []
        return events
