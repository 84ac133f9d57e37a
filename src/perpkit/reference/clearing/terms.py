"""What the owner of a position chooses: margin mode, leverage, isolated margin, how positions are told apart."""

import attrs

from perpkit.model.command import AdjustMargin, SetPositionMode, SetPositionTerms
from perpkit.model.event import MarginAdjusted, PositionModeSet, Rejected, TermsSet
from perpkit.model.ids import AccountId
from perpkit.model.ledger import isolated_margin, wallet
from perpkit.model.position import PositionMode, PositionTerms, held_units
from perpkit.model.reject import RejectReason
from perpkit.reference.clearing import settlement
from perpkit.reference.clearing.state import Slot, State
from perpkit.reference.clearing.views import exposure, pool, stressed_need
from perpkit.units import SCALE, Units


def set_terms(state: State, command: SetPositionTerms) -> Rejected | None:
    """Set margin mode and leverage: the mode of a flat position without orders, the leverage of any that can bear it.

    Rejects:
        terms-in-use, leverage-too-high, insufficient-margin.
    """
    account, slot = command.account, (command.market, command.position_id)
    position = state.peek(account, slot)
    in_use = bool(position.size_lots or position.unpaid_units or slot in state.accounts[account].orders)
    if in_use and command.isolated != position.terms.isolated:
        return Rejected(reason=RejectReason.TERMS_IN_USE)
    if command.leverage < 0 or command.leverage * state.context.margin.initial_ppb(command.market) > SCALE:
        return Rejected(reason=RejectReason.LEVERAGE_TOO_HIGH)
    if in_use and not _bears_leverage(state, account, slot, command.leverage):
        return Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    terms = PositionTerms(isolated=command.isolated, leverage=command.leverage)
    state.position(account, slot).terms = terms
    settlement.forget_if_empty(state, account, slot)
    state.events.append(
        TermsSet(
            market=command.market,
            account=account,
            position_id=command.position_id,
            isolated=command.isolated,
            leverage=command.leverage,
        )
    )
    return None


def set_mode(state: State, command: SetPositionMode) -> Rejected | None:
    """Set how positions are told apart, while there are none in the market, nor orders.

    Rejects:
        terms-in-use.
    """
    account = state.accounts[command.account]
    if any(slot[0] == command.market for slot in account.slots()):
        return Rejected(reason=RejectReason.TERMS_IN_USE)
    account.modes.pop(command.market, None)
    if command.mode is not PositionMode.MULTI:
        account.modes[command.market] = command.mode
    state.events.append(PositionModeSet(market=command.market, account=command.account, mode=command.mode))
    return None


def adjust_margin(state: State, command: AdjustMargin) -> Rejected | None:
    """Move margin between the wallet and an isolated position.

    What stays must be the initial margin of the position, and keep it above maintenance also where its market moves
    against it by the market's `withdrawal_stress`.

    Rejects:
        amount-not-positive (0), not-isolated, insufficient-balance, insufficient-margin, margin-under-stress.
    """
    account, slot, amount = command.account, (command.market, command.position_id), command.amount_units
    position, asset = state.peek(account, slot), state.market(command.market).settlement
    if amount == 0:
        return Rejected(reason=RejectReason.AMOUNT_NOT_POSITIVE)
    if not position.terms.isolated or not position.size_lots:
        return Rejected(reason=RejectReason.NOT_ISOLATED)
    margin, cash = isolated_margin(account, asset, *slot), wallet(account, asset)
    if amount > 0:
        needs = state.context.margin.need(pool(state, account, asset), state.marks)
        if needs.equity_units < amount:
            return Rejected(reason=RejectReason.INSUFFICIENT_BALANCE)
        if needs.equity_units - amount < needs.initial_units:
            return Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    elif refused := _refuse_release(state, account, slot, -amount):
        return Rejected(reason=refused)
    settlement.settle_funding(state, account, slot)
    if amount > 0:
        settlement.available(state, cash, amount)
    state.ledger.move(cash, margin, amount)
    state.events.append(
        MarginAdjusted(
            market=command.market,
            account=account,
            position_id=command.position_id,
            amount_units=amount,
            margin_units=state.ledger.balance(margin),
        )
    )
    return None


def _refuse_release(state: State, account: AccountId, slot: Slot, amount: Units) -> RejectReason | None:
    held = exposure(state, account, slot)
    margin = held.isolated_units or 0
    if margin < amount or held.unpaid_units:
        return RejectReason.INSUFFICIENT_BALANCE
    if margin - amount - max(0, held.funding_due_units) < _initial(state, account, slot, held.leverage):
        return RejectReason.INSUFFICIENT_MARGIN
    needs = stressed_need(state, account, state.market(slot[0]).settlement, {slot[0]: held.size_lots})
    its = next(each for each in needs.slots if (each.market, each.position_id) == slot)
    if (its.equity_units or 0) - amount < its.maintenance_units:
        return RejectReason.MARGIN_UNDER_STRESS
    return None


def _initial(state: State, account: AccountId, slot: Slot, leverage: int) -> Units:
    """Return what opening an isolated position of this size at the mark would set aside."""
    held = exposure(state, account, slot)
    spec, mark = state.market(slot[0]), state.marks[slot[0]].price_ticks
    others = attrs.evolve(held, size_lots=0, gross_lots=held.gross_lots - abs(held.size_lots), leverage=leverage)
    return state.context.margin.opening_margin(others, held_units(spec, held, mark), state.marks)


def _bears_leverage(state: State, account: AccountId, slot: Slot, leverage: int) -> bool:
    """Whether a position and its orders meet their initial need at another leverage."""
    asset = state.market(slot[0]).settlement
    whole = pool(state, account, asset)
    changed = attrs.evolve(
        whole,
        exposures=tuple(
            attrs.evolve(each, leverage=leverage) if (each.market, each.position_id) == slot else each
            for each in whole.exposures
        ),
    )
    before, after = (state.context.margin.need(each, state.marks) for each in (whole, changed))
    if after.initial_units > before.initial_units and after.equity_units < after.initial_units:
        return False
    held = exposure(state, account, slot)
    if held.isolated_units is None or not held.size_lots:
        return True
    now, then = (_initial(state, account, slot, each) for each in (held.leverage, leverage))
    return then <= now or held.isolated_units >= then
