"""The reference clearing: reads that return values, and the closed set of writes."""

import json
from collections.abc import Mapping, Sequence

import attrs

from perpkit.errors import InvariantError
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.command import CancelOrder, PlaceOrder, SetPositionTerms
from perpkit.model.event import Event, OrderAccepted, OrderCancelled, Rejected, TermsSet
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT, AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.ledger import Chart, LedgerAccount, Posting
from perpkit.model.market import MarketState
from perpkit.model.order import Level, MatchPlan, Order, Side, TimeInForce
from perpkit.model.position import Breach, Closing, Need, Pool, PoolKey, PositionTerms, Thresholds, Winner
from perpkit.model.price import Mark
from perpkit.model.reject import RejectReason
from perpkit.plugin import NoOptions
from perpkit.ports.clearing import ClearingContext, MarketTotals
from perpkit.reference.clearing import orders, settlement, snapshot, views
from perpkit.reference.clearing.admission import admit
from perpkit.reference.clearing.settlement import FillSide
from perpkit.reference.clearing.state import Account, State
from perpkit.units import SCALE, Lots, Ticks, Units


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
        return attrs.evolve(found.order, size_lots=found.left_lots) if found else None

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
        order = admitted.order
        self._state.events.append(
            OrderAccepted(
                market=order.market,
                account=order.account,
                position_id=order.position_id,
                order_id=order.id,
                client_order_id=command.client_order_id,
                side=order.side,
                size_lots=order.size_lots,
                price_ticks=order.price_ticks,
            )
        )
        self._execute(admitted.plan, Cause.TRADE)
        if admitted.plan.rest_lots:
            filled = order.size_lots - admitted.plan.rest_lots
            if filled:
                admitted.pending.relieve(filled)
            orders.rest(self._state, admitted.pending)
        orders.trim_reduce_only(self._state, order.account, orders.slot_of(order))
        return self._told()

    def cancel(self, command: CancelOrder, reason: CancelReason, /) -> Sequence[Event]:
        """Take one order out."""
        found = orders.find(self._state, command.market, command.account, command.order_id, command.client_order_id)
        if found is None:
            return [Rejected(reason=RejectReason.UNKNOWN_ORDER)]
        self._version += 1
        orders.shrink(self._state, found.order, found.left_lots, reason)
        return self._told()

    def cancel_all(self, market: MarketId, account: AccountId | None, reason: CancelReason, /) -> Sequence[Event]:
        """Take an account's, or everybody's, orders out of a market."""
        self._version += 1
        for each in list(self._state.client_accounts()) if account is None else [account]:
            orders.cancel_all(self._state, market, each, reason)
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
        self._execute(self._books[market].plan(order), cause)
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
        """Set terms on a flat position without orders.

        Rejects:
            terms-in-use, leverage-too-high.
        """
        slot = (command.market, command.position_id)
        position = self._state.peek(command.account, slot)
        in_use = position.size_lots or position.unpaid_units
        if in_use or slot in self._state.accounts[command.account].orders:
            return [Rejected(reason=RejectReason.TERMS_IN_USE)]
        if command.leverage < 0 or command.leverage * self._margin.initial_ppb(command.market) > SCALE:
            return [Rejected(reason=RejectReason.LEVERAGE_TOO_HIGH)]
        self._version += 1
        terms = PositionTerms(isolated=command.isolated, leverage=command.leverage)
        self._state.position(command.account, slot).terms = terms
        settlement.forget_if_empty(self._state, command.account, slot)
        return [
            TermsSet(
                market=command.market,
                account=command.account,
                position_id=command.position_id,
                isolated=command.isolated,
                leverage=command.leverage,
            )
        ]

    def dump(self) -> bytes:
        """Return everything that can be observed, as canonical JSON."""
        return json.dumps(snapshot.save(self._state), sort_keys=True, separators=(",", ":")).encode()

    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        snapshot.restore(self._state, json.loads(state))

    def _execute(self, plan: MatchPlan, cause: Cause) -> None:
        state, taker = self._state, plan.taker
        market = state.market(taker.market)
        slot = orders.slot_of(taker)
        for match in plan.matches:
            lots = taker.side * match.size_lots
            value = market.value(lots, match.price_ticks)
            maker_slot = (taker.market, match.maker_position_id)
            orders.relieve(state, match.maker_account, maker_slot, match.maker, match.size_lots)
            side = FillSide(
                account=taker.account,
                slot=slot,
                lots=lots,
                value_units=value,
                price_ticks=match.price_ticks,
                order_id=taker.id,
                maker=False,
                cause=cause,
            )
            settlement.settle_side(state, side)
            settlement.settle_side(
                state,
                attrs.evolve(
                    side,
                    account=match.maker_account,
                    slot=maker_slot,
                    lots=-lots,
                    value_units=-value,
                    order_id=match.maker,
                    maker=True,
                    cause=Cause.TRADE,
                ),
            )
        self._books[taker.market].commit(plan)
        for match in plan.matches:
            orders.trim_reduce_only(state, match.maker_account, (taker.market, match.maker_position_id))
        if plan.cancel_lots:
            state.events.append(
                OrderCancelled(
                    market=taker.market,
                    account=taker.account,
                    order_id=taker.id,
                    size_lots=plan.cancel_lots,
                    left_lots=0,
                    reason=CancelReason.WORK_LIMIT if plan.work_limited else CancelReason.IMMEDIATE,
                )
            )

    def _told(self) -> Sequence[Event]:
        """Hand over the events of this write."""
        events, self._state.events = self._state.events, []
        return events
