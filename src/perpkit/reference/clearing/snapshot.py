"""Clearing's state to plain lists and back: what the digest is made of."""

from typing import Any

import attrs

from perpkit.model.ids import AccountId, MarketId
from perpkit.model.order import Order, SelfTrade, Side
from perpkit.model.position import PositionMode, PositionTerms
from perpkit.model.price import Mark, PriceState
from perpkit.reference.clearing import orders
from perpkit.reference.clearing.state import Account, MarketSums, OpenOrder, Position, State


def save(state: State) -> dict[str, Any]:
    """Return the observable content: balances, positions, orders in priority order, marks and sums."""
    return {
        "ledger": state.ledger.state(),
        "accounts": sorted(state.accounts),
        "modes": [
            [account, market, int(mode)]
            for account in sorted(state.accounts)
            for market, mode in sorted(state.accounts[account].modes.items())
        ],
        "positions": [
            [account, *slot, *_position(position)]
            for account in sorted(state.accounts)
            for slot, position in sorted(state.accounts[account].positions.items())
        ],
        "orders": [
            _order(state, order)
            for market in sorted(state.markets)
            for side in Side
            for order in state.context.books[market].orders(side)
        ],
        "marks": [list(attrs.astuple(state.marks[market])) for market in sorted(state.marks)],
        "sums": [[market, *attrs.astuple(state.sums[market])] for market in sorted(state.sums)],
    }


def restore(state: State, saved: dict[str, Any]) -> None:
    """Become what `save` returned."""
    state.ledger.load(saved["ledger"])
    state.accounts = {account: Account() for account in saved["accounts"]}
    state.order_counts.clear()
    for account, market, mode in saved["modes"]:
        state.accounts[account].modes[market] = PositionMode(mode)
    for account, market, position_id, size, cost, unpaid, index, isolated, leverage in saved["positions"]:
        terms = PositionTerms(isolated=bool(isolated), leverage=leverage)
        state.accounts[account].positions[market, position_id] = Position(size, cost, unpaid, index, terms)
    by_market: dict[MarketId, list[Order]] = {market: [] for market in state.markets}
    # Accounts know their orders in the order of acceptance, books in the order of priority.
    for fields in sorted(saved["orders"]):
        orders.rest(state, _open_order(fields))
    for fields in saved["orders"]:
        open_order = _open_order(fields)
        by_market[open_order.order.market].append(attrs.evolve(open_order.order, size_lots=open_order.left_lots))
    for market, resting in by_market.items():
        state.context.books[market].load(resting)
    for market, price, price_state, at_ns in saved["marks"]:
        state.marks[market] = Mark(market=market, price_ticks=price, state=PriceState(price_state), at_ns=at_ns)
    for market, *sums in saved["sums"]:
        state.sums[market] = MarketSums(*sums)
    state.events.clear()


def _position(position: Position) -> list[int]:
    terms = position.terms
    return [
        position.size_lots,
        position.cost_units,
        position.unpaid_units,
        position.funding_index_scaled,
        int(terms.isolated),
        terms.leverage,
    ]


def _order(state: State, order: Order) -> list[int]:
    account: AccountId = order.account
    open_order = state.accounts[account].orders[orders.slot_of(order)].orders[order.id]
    return [
        order.id,
        account,
        order.market,
        order.position_id,
        order.side,
        order.price_ticks,
        int(order.reduce_only) | open_order.post_only << 1 | order.self_trade_by_owner << 2,
        int(order.self_trade),
        order.display_lots,
        order.hidden_lots,
        open_order.client_order_id,
        open_order.order.size_lots,
        open_order.left_lots,
        open_order.value_units,
        open_order.reserve_units,
    ]


def _open_order(fields: list[int]) -> OpenOrder:
    order_id, account, market, position_id, side, price, flags, self_trade, display, hidden, *counted = fields
    client_order_id, size, left, value, reserve = counted
    order = Order(
        id=order_id,
        account=account,
        market=market,
        position_id=position_id,
        side=Side(side),
        size_lots=size,
        price_ticks=price,
        reduce_only=bool(flags & 1),
        self_trade=SelfTrade(self_trade),
        self_trade_by_owner=bool(flags & 4),
        display_lots=display,
        hidden_lots=hidden,
    )
    return OpenOrder(order, client_order_id, left, value, reserve, bool(flags & 2))
