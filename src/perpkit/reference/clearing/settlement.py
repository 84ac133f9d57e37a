"""What a fill does to money and positions. Every function moves as much in as out."""

import attrs

from perpkit.model.cause import Cause
from perpkit.model.event import Filled, FundingSettled, PositionChanged
from perpkit.model.ids import HOUSE, AccountId, AssetId, OrderId
from perpkit.model.ledger import Chart, LedgerAccount, house, isolated_margin, of_market, wallet
from perpkit.reference.clearing.state import Slot, State, inventory_slot
from perpkit.reference.clearing.views import exposure
from perpkit.units import SCALE, Lots, Ticks, Units, div_ceil


@attrs.frozen(kw_only=True)
class FillSide:
    """One side of a trade: `lots` is signed, `value_units` the signed value both sides share with opposite signs."""

    account: AccountId
    slot: Slot
    lots: Lots
    value_units: Units
    price_ticks: Ticks
    order_id: OrderId
    maker: bool
    cause: Cause


def settle_side(state: State, side: FillSide) -> None:
    """Settle one side of a trade: funding, position, realised result, fee, margin of an isolated position.

    Rounds:
        The margin that an isolated position keeps after a part was closed, up.
    """
    account, slot = side.account, side.slot
    before = state.peek(account, slot).size_lots
    margin_before = _isolated_balance(state, account, slot)
    at = len(state.events)
    realized = change_position(state, account, slot, side.lots, side.value_units, side.price_ticks)
    after = state.peek(account, slot).size_lots
    opens = after != 0 and (before == 0 or before * side.lots > 0 or before * after < 0)
    if margin_before is None:
        fee = _charge_fee(state, side, state.purse(account, slot))
        _charge_liquidation_fee(state, side)
    elif opens:
        # A flip gives the closed position's margin back first; the opening is paid from the wallet.
        if before * after < 0:
            _release_margin(state, account, slot, keep_units=0)
        fee = _charge_fee(state, side, wallet(account, state.market(slot[0]).settlement))
        _assign_margin(state, side, min(abs(after), abs(side.lots)))
    else:
        fee = _charge_fee(state, side, state.purse(account, slot))
        _charge_liquidation_fee(state, side)
        if side.cause is not Cause.LIQUIDATION or after == 0:
            keep = div_ceil(margin_before * abs(after), abs(before))
            _release_margin(state, account, slot, keep)
    filled = Filled(
        market=slot[0],
        account=account,
        position_id=slot[1],
        order_id=side.order_id,
        price_ticks=side.price_ticks,
        size_lots=side.lots,
        fee_units=fee,
        maker=side.maker,
        cause=side.cause,
    )
    state.events.insert(at, filled)
    note_position(state, account, slot, realized, side.cause)


def change_position(
    state: State, account: AccountId, slot: Slot, lots: Lots, value_units: Units, price_ticks: Ticks
) -> Units:
    """Add signed lots at a value to a position and settle what it realises; return that.

    Rounds:
        A reduction relieves ceil(cost · closed / size), toward plus infinity, the last one what is left: exact in
        any split, and a profit is never early.
    """
    settle_funding(state, account, slot)
    position, sums, market = state.position(account, slot), state.sums[slot[0]], state.market(slot[0])
    before = position.size_lots
    closing = 0
    if before * lots < 0:
        closing = lots if abs(lots) <= abs(before) else -before
    # When a fill closes and opens, the two parts must add up to the value that the other side was given.
    closing_value = value_units if closing == lots else market.value(closing, price_ticks)
    realized = 0
    if closing:
        relieved = position.cost_units
        if closing != -before:
            relieved = div_ceil(position.cost_units * abs(closing), abs(before))
        realized = -closing_value - relieved
        position.cost_units -= relieved
        sums.costs_units -= relieved
    opening_value = value_units - closing_value
    position.cost_units += opening_value
    sums.costs_units += opening_value
    position.size_lots += lots
    sums.size_lots += lots
    sums.open_interest_lots += max(position.size_lots, 0) - max(before, 0)
    sums.funding_base_scaled += lots * position.funding_index_scaled
    if realized > 0:
        receive(state, account, slot, realized, state.ccp[slot[0]])
    elif realized < 0:
        pay(state, account, slot, -realized, state.ccp[slot[0]])
    return realized


def note_position(state: State, account: AccountId, slot: Slot, realized_units: Units, cause: Cause) -> None:
    """Tell what became of a position, and forget it when nothing is left of it."""
    position = state.position(account, slot)
    state.events.append(
        PositionChanged(
            market=slot[0],
            account=account,
            position_id=slot[1],
            size_lots=position.size_lots,
            cost_units=position.cost_units,
            unpaid_units=position.unpaid_units,
            realized_units=realized_units,
            cause=cause,
        )
    )
    forget_if_empty(state, account, slot)


def forget_if_empty(state: State, account: AccountId, slot: Slot) -> None:
    """Drop a flat position that owes nothing and has no terms of its own."""
    positions = state.accounts[account].positions
    position = positions.get(slot)
    if position and not (
        position.size_lots or position.unpaid_units or position.terms.isolated or position.terms.leverage
    ):
        del positions[slot]


def settle_funding(state: State, account: AccountId, slot: Slot) -> None:
    """Book what a position owes or is owed since its last touch.

    Rounds:
        The payer up, the receiver down; the residue stays in the market's funding account.
    """
    position, sums = state.position(account, slot), state.sums[slot[0]]
    index = sums.funding_index_scaled
    due = position.funding_due(index, SCALE)
    if position.size_lots and index != position.funding_index_scaled:
        sums.funding_base_scaled += position.size_lots * (index - position.funding_index_scaled)
        sums.funding_settlements += 1
    position.funding_index_scaled = index
    if due == 0:
        return
    if due > 0:
        pay(state, account, slot, due, state.funding[slot[0]])
    else:
        receive(state, account, slot, -due, state.funding[slot[0]])
    state.events.append(FundingSettled(market=slot[0], account=account, position_id=slot[1], amount_units=due))


def pay(state: State, account: AccountId, slot: Slot, amount_units: Units, creditor: LedgerAccount) -> None:
    """Pay from a position's purse; what the purse cannot pay, the position owes and the ccp advances."""
    purse = state.purse(account, slot)
    paid = min(amount_units, available(state, purse, amount_units))
    state.ledger.move(purse, creditor, paid)
    if missing := amount_units - paid:
        state.position(account, slot).unpaid_units += missing
        state.sums[slot[0]].costs_units += missing
        if creditor.chart is not Chart.CCP:
            state.ledger.move(state.ccp[slot[0]], creditor, missing)


def receive(state: State, account: AccountId, slot: Slot, amount_units: Units, debtor: LedgerAccount) -> None:
    """Pay into a position's purse, first what the position owes."""
    purse = state.purse(account, slot)
    repaid = repay(state, account, slot, amount_units)
    if debtor.chart is not Chart.CCP:
        state.ledger.move(debtor, state.ccp[slot[0]], repaid)
    state.ledger.move(debtor, purse, amount_units - repaid)


def repay(state: State, account: AccountId, slot: Slot, amount_units: Units) -> Units:
    """Lower what a position owes by up to an amount, for money that has reached or stays in the ccp."""
    position = state.position(account, slot)
    repaid = min(amount_units, position.unpaid_units)
    position.unpaid_units -= repaid
    state.sums[slot[0]].costs_units -= repaid
    return repaid


def available(state: State, purse: LedgerAccount, wanted_units: Units) -> Units:
    """Return what a purse can pay. A wallet that is short first turns unrealised profit into cash.

    Winning cross positions are re-based to the mark through the ccp, the largest profit first.
    """
    if purse.chart is not Chart.WALLET or state.ledger.balance(purse) >= wanted_units:
        return state.ledger.balance(purse)
    winners: list[tuple[Units, Slot]] = []
    for slot in state.slots_in(purse.holder, purse.asset):
        position = state.peek(purse.holder, slot)
        if position.size_lots and not position.terms.isolated:
            mark = state.marks[slot[0]].price_ticks
            winners.append((state.market(slot[0]).value(position.size_lots, mark) - position.cost_units, slot))
    for profit, slot in sorted(winners, key=lambda winner: (-winner[0], winner[1])):
        if profit <= 0 or state.ledger.balance(purse) >= wanted_units:
            break
        state.position(purse.holder, slot).cost_units += profit
        state.sums[slot[0]].costs_units += profit
        receive(state, purse.holder, slot, profit, state.ccp[slot[0]])
    return state.ledger.balance(purse)


def pay_debts(state: State, account: AccountId, asset: AssetId) -> None:
    """Use fresh money in a wallet for what the account's cross positions owe."""
    for slot in state.slots_in(account, asset):
        position = state.peek(account, slot)
        if position.unpaid_units and not position.terms.isolated:
            cash = state.ledger.balance(wallet(account, asset))
            state.ledger.move(wallet(account, asset), state.ccp[slot[0]], repay(state, account, slot, cash))
            forget_if_empty(state, account, slot)


def hand_over(state: State, account: AccountId, slot: Slot, size_before: Lots) -> None:
    """Let the house inventory owe what a position that is flat now could not pay."""
    position = state.position(account, slot)
    if account == HOUSE or position.size_lots:
        return
    if position.unpaid_units:
        state.position(HOUSE, inventory_slot(slot[0], size_before)).unpaid_units += position.unpaid_units
        position.unpaid_units = 0


def free_margin(state: State, account: AccountId, slot: Slot, size_before: Lots) -> None:
    """Give back the margin of what was closed of an isolated position off the book; the rest keeps its share.

    Rounds:
        What it keeps, up.
    """
    margin = _isolated_balance(state, account, slot)
    if margin:
        keep = div_ceil(margin * abs(state.peek(account, slot).size_lots), max(abs(size_before), 1))
        _release_margin(state, account, slot, keep)


def forfeit_margin(state: State, account: AccountId, slot: Slot) -> None:
    """Give what is left of an isolated position's margin to the house, with the position."""
    margin = _isolated_balance(state, account, slot)
    if margin:
        market = state.market(slot[0])
        inventory = of_market(Chart.INVENTORY, market.settlement, slot[0])
        state.ledger.move(state.purse(account, slot), inventory, margin)


def _charge_fee(state: State, side: FillSide, purse: LedgerAccount) -> Units:
    """Charge the trading fee, at most what the purse holds; the house trades free. Return what was charged."""
    if side.account == HOUSE:
        return 0
    rate = state.context.fees[side.slot[0]].rate_ppb(side.account, side.maker)
    fee = div_ceil(abs(side.value_units) * rate, SCALE)
    fees = house(Chart.FEES, purse.asset)
    fee = min(fee, available(state, purse, fee)) if fee > 0 else max(fee, -state.ledger.balance(fees))
    state.ledger.move(purse, fees, fee)
    return fee


def _charge_liquidation_fee(state: State, side: FillSide) -> None:
    """Charge the fee of a forced close, at most what the position's purse holds; it goes to the house inventory."""
    if side.cause is not Cause.LIQUIDATION:
        return
    market = state.market(side.slot[0])
    fee = div_ceil(abs(side.value_units) * market.liquidation_fee_ppb, SCALE)
    purse = state.purse(side.account, side.slot)
    charged = min(fee, available(state, purse, fee))
    state.ledger.move(purse, of_market(Chart.INVENTORY, market.settlement, market.id), charged)


def _isolated_balance(state: State, account: AccountId, slot: Slot) -> Units | None:
    purse = state.purse(account, slot)
    return state.ledger.balance(purse) if purse.chart is Chart.ISOLATED else None


def _assign_margin(state: State, side: FillSide, opened_lots: Lots) -> None:
    """Move what the opened part needs from the wallet to the position, as far as the wallet reaches."""
    market = state.market(side.slot[0])
    cash = wallet(side.account, market.settlement)
    opened = abs(market.value(opened_lots, side.price_ticks))
    held = exposure(state, side.account, side.slot)
    before_lots = held.size_lots - (opened_lots if side.lots > 0 else -opened_lots)
    held = attrs.evolve(held, size_lots=before_lots, gross_lots=held.gross_lots - opened_lots)
    needed = state.context.margin.opening_margin(held, opened, state.marks)
    state.ledger.move(cash, state.purse(side.account, side.slot), min(needed, available(state, cash, needed)))


def _release_margin(state: State, account: AccountId, slot: Slot, keep_units: Units) -> None:
    """Give the margin above `keep_units` back to the wallet; a position that owes keeps everything."""
    asset = state.market(slot[0]).settlement
    if state.peek(account, slot).unpaid_units == 0:
        margin = isolated_margin(account, asset, *slot)
        spare = max(0, state.ledger.balance(margin) - keep_units)
        state.ledger.move(margin, wallet(account, asset), spare)
