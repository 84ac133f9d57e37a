"""Reads over clearing's state: pools as values, breaches, winners."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import attrs

from perpkit.model.ids import HOUSE, AccountId, AssetId, MarketId
from perpkit.model.ledger import wallet
from perpkit.model.order import Side
from perpkit.model.position import Breach, Closing, Exposure, Need, Pool, Winner
from perpkit.reference.clearing.state import OpenOrder, Position, Slot, SlotOrders, State
from perpkit.units import SCALE, Lots, Ticks, Units, div_ceil, div_floor

_FLAT, _NO_ORDERS = Position(), SlotOrders()


def exposure(
    state: State, account: AccountId, slot: Slot, pending: OpenOrder | None = None, replaced: OpenOrder | None = None
) -> Exposure:
    """Return one position with its resting orders as a value; with one more, maybe instead of another."""
    market, position_id = slot
    has = state.accounts[account]
    position = has.positions.get(slot, _FLAT)
    orders = has.orders.get(slot, _NO_ORDERS)
    buy = sell = 0
    if pending:
        for each, sign in ((pending, 1), (replaced, -1)):
            if each and slot == (each.order.market, each.order.position_id):
                buy += sign * each.value_units * (each.order.side is Side.BUY)
                sell += sign * each.value_units * (each.order.side is Side.SELL)
    isolated = state.ledger.balance(state.purse(account, slot)) if position.terms.isolated else None
    return Exposure(
        market=market,
        position_id=position_id,
        size_lots=position.size_lots,
        cost_units=position.cost_units,
        gross_lots=has.gross_lots(market),
        unpaid_units=position.unpaid_units,
        funding_due_units=position.funding_due(state.sums[market].funding_index_scaled, SCALE),
        open_buy_units=orders.buy_units + buy,
        open_sell_units=orders.sell_units + sell,
        open_orders=len(orders.orders),
        isolated_units=isolated,
        leverage=position.terms.leverage,
    )


def pool(
    state: State,
    account: AccountId,
    asset: AssetId,
    *,
    without: frozenset[MarketId] = frozenset(),
    pending: OpenOrder | None = None,
    replaced: OpenOrder | None = None,
) -> Pool:
    """Return an account's pool in an asset, without its positions in some markets, or with one order for another."""
    slots = [slot for slot in state.slots_in(account, asset) if slot[0] not in without]
    if pending and (own := (pending.order.market, pending.order.position_id)) not in slots:
        slots = sorted([*slots, own])
    orders = state.accounts[account].orders
    reserved = sum([orders[slot].reserve_units for slot in slots if slot in orders])
    reserved += (pending.reserve_units if pending else 0) - (replaced.reserve_units if replaced else 0)
    return Pool(
        account=account,
        asset=asset,
        wallet_units=state.ledger.balance(wallet(account, asset)),
        reserved_units=reserved,
        exposures=tuple([exposure(state, account, slot, pending, replaced) for slot in slots]),
    )


def reached_lots(
    state: State,
    account: AccountId,
    market: MarketId,
    pending: OpenOrder | None = None,
    replaced: OpenOrder | None = None,
) -> Lots:
    """Return an account's gross size in a market if all its orders there filled, or on each side those that open."""
    has = state.accounts[account]
    waiting = [each for orders in has.orders.values() for each in orders.orders.values()]
    opening = [each for each in (*waiting, pending) if each and each is not replaced and not each.order.reduce_only]
    sizes = {slot: position.size_lots for slot, position in has.positions.items()}
    buys, sells = Counter[Slot](), Counter[Slot]()
    for each in opening:
        (buys if each.order.side > 0 else sells)[each.order.market, each.order.position_id] += each.left_lots
    return sum(
        max(abs(sizes.get(slot, 0) + buys[slot]), abs(sizes.get(slot, 0) - sells[slot]))
        for slot in sorted({*sizes, *buys, *sells})
        if slot[0] == market
    )


def need(state: State, account: AccountId, asset: AssetId) -> Need:
    """Return what the margin model says of a pool at the marks that stand."""
    return state.context.margin.need(pool(state, account, asset), state.marks)


def stressed_need(state: State, account: AccountId, asset: AssetId, sizes: Mapping[MarketId, Lots]) -> Need:
    """Return what the margin model says of a pool where each market has moved against a size by its stress."""
    marks = dict(state.marks)
    for market, size in sizes.items():
        spec, mark = state.market(market), state.marks[market]
        moved = mark.price_ticks * (SCALE - spec.withdrawal_stress_ppb * ((size > 0) - (size < 0)))
        # A long is hurt by the price below, a short by the price above.
        price = div_floor(moved, SCALE) if size > 0 else div_ceil(moved, SCALE)
        marks[market] = attrs.evolve(mark, price_ticks=spec.within(price))
    return state.context.margin.need(pool(state, account, asset), marks)


def cross_sizes(state: State, account: AccountId, asset: AssetId) -> dict[MarketId, Lots]:
    """Return the sum of an account's cross positions in each market of an asset."""
    sizes: dict[MarketId, Lots] = {}
    for slot in state.slots_in(account, asset):
        position = state.peek(account, slot)
        if not position.terms.isolated:
            sizes[slot[0]] = sizes.get(slot[0], 0) + position.size_lots
    return sizes


def breached(state: State, stopped: frozenset[MarketId]) -> Sequence[Breach]:
    """Return the pools below maintenance, the worst first."""
    found: list[Breach] = []
    for account in state.client_accounts():
        held = [slot[0] for slot, position in state.accounts[account].positions.items() if position.is_open]
        for asset in sorted({state.markets[market].settlement for market in held}):
            found += breaches_of(state, account, asset, stopped)
    return sorted(found, key=_severity)


def breaches_of(state: State, account: AccountId, asset: AssetId, stopped: frozenset[MarketId]) -> list[Breach]:
    """Return an account's pools in an asset that are below maintenance."""
    needs = need(state, account, asset)
    found: list[Breach] = []
    has_cross = any(slot.equity_units is None for slot in needs.slots)
    if has_cross and needs.equity_units < needs.maintenance_units:
        frozen = frozenset(slot.market for slot in needs.slots if slot.market in stopped)
        rest = state.context.margin.need(pool(state, account, asset, without=frozen), state.marks) if frozen else needs
        if rest.equity_units < rest.maintenance_units:
            found.append(
                Breach(
                    account=account,
                    asset=asset,
                    equity_units=needs.equity_units,
                    maintenance_units=needs.maintenance_units,
                )
            )
    return found + [
        Breach(
            account=account,
            asset=asset,
            equity_units=slot.equity_units,
            maintenance_units=slot.maintenance_units,
            market=slot.market,
            position_id=slot.position_id,
        )
        for slot in needs.slots
        if slot.equity_units is not None and slot.equity_units < slot.maintenance_units and slot.market not in stopped
    ]


def winners(state: State, market: MarketId, side: Side, price_ticks: Ticks) -> Sequence[Winner]:
    """Return the profitable positions on a side that can bear a close at a price.

    Positions that share a pool are offered only what the pool can bear of them together.
    """
    spec, mark = state.market(market), state.marks[market].price_ticks
    found: list[Winner] = []
    for account in state.client_accounts():
        slots = [s for s in state.accounts[account].slots() if s[0] == market]
        if not any(state.peek(account, slot).size_lots * side > 0 for slot in slots):
            continue
        needs = need(state, account, spec.settlement)
        equities = {(s.market, s.position_id): s.equity_units for s in needs.slots}
        cross_equity = needs.equity_units
        for slot in slots:
            position = state.peek(account, slot)
            worth = spec.value(position.size_lots, mark)
            profit = worth - position.cost_units - position.unpaid_units
            own = equities.get(slot)
            equity = cross_equity if own is None else own
            if position.size_lots * side <= 0 or profit <= 0 or equity <= 0:
                continue
            lots = _bearable_lots(state, market, position.size_lots, price_ticks, equity)
            if own is None:
                cross_equity -= max(0, _haircut(state, market, side * lots, price_ticks))
            found.append(
                Winner(
                    account=account,
                    position_id=slot[1],
                    size_lots=abs(position.size_lots),
                    cost_units=position.cost_units,
                    profit_units=profit,
                    value_units=abs(worth),
                    equity_units=equity,
                    bearable_lots=lots,
                )
            )
    return found


def holders(state: State, market: MarketId) -> Sequence[Closing]:
    """Return every position of a market as the change that closes it, inventory last."""
    return [
        Closing(account=account, position_id=slot[1], change_lots=-state.peek(account, slot).size_lots)
        for account in (*state.client_accounts(), HOUSE)
        for slot in state.accounts[account].slots()
        if slot[0] == market and (state.peek(account, slot).size_lots or state.peek(account, slot).unpaid_units)
    ]


def _severity(breach: Breach) -> tuple[Fraction, AccountId, MarketId, int]:
    # A pool that needs nothing and owes something is as bad as can be.
    ratio = Fraction(breach.equity_units, breach.maintenance_units or 1)
    return ratio, breach.account, breach.market, breach.position_id


def _haircut(state: State, market: MarketId, size_lots: Lots, price_ticks: Ticks) -> Units:
    """What closing `size_lots` at a price costs against the mark."""
    spec = state.market(market)
    return spec.value(size_lots, state.marks[market].price_ticks) - spec.value(size_lots, price_ticks)


def _bearable_lots(state: State, market: MarketId, size_lots: Lots, price_ticks: Ticks, equity: Units) -> Lots:
    whole = _haircut(state, market, size_lots, price_ticks)
    lots = abs(size_lots)
    if whole > equity:
        lots = div_floor(lots * equity, whole)
    sign = 1 if size_lots > 0 else -1
    while lots and _haircut(state, market, sign * lots, price_ticks) > equity:
        lots -= 1
    return lots
