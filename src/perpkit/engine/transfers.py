"""Money in and out: deposits credited once, withdrawals held, recalled, released and settled."""

from perpkit.engine import breach
from perpkit.engine.core import Core, Deposit, Withdrawal
from perpkit.engine.guard.base import INTEGER_BOUND
from perpkit.engine.sweep import Finding
from perpkit.model.cause import CancelReason, Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    CapitalObserved,
    DepositObserved,
    DepositReversed,
    HoldingsReported,
    RequestWithdrawal,
    WithdrawalSent,
)
from perpkit.model.event import (
    DepositCredited,
    DepositReverted,
    HoldingsCompared,
    Rejected,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ids import HOUSE, AccountId, AssetId
from perpkit.model.ledger import (
    CUSTODY_SIDE,
    Chart,
    LedgerAccount,
    Posting,
    house,
    insurance,
    receivable,
    wallet,
    withdrawal,
)
from perpkit.model.reject import RejectReason
from perpkit.units import Units


def deposit(core: Core, command: DepositObserved) -> Rejected | None:
    """Credit a deposit once by its id; what the asset's limit or an impossible account stops waits in suspense.

    Rejects:
        id-reused, amount-not-positive, amount-above-maximum.
    """
    target = wallet(command.account, command.asset) if command.account > HOUSE else None
    return _credit(core, command, target, command.account)


def capital(core: Core, command: CapitalObserved) -> Rejected | None:
    """Credit the operator's money to an insurance fund, in the same way.

    Rejects:
        id-reused, amount-not-positive, amount-above-maximum.
    """
    asset = command.asset
    target = insurance(command.fund, asset) if command.fund in core.parts.insurance.funds() else None
    refused = _credit(core, command, target, HOUSE)
    if target and not refused:
        credited = core.events[-1]
        if isinstance(credited, DepositCredited) and (gained := credited.amount_units - credited.repaid_units):
            core.note_fund(command.fund, core.capital(asset, gained), gained)
    return refused


def reverse(core: Core, command: DepositReversed) -> Rejected | None:
    """Take back a deposit that is gone from its chain: from suspense, and from whoever it was credited to.

    What its account still holds for withdrawal stays here, and orders that it can no longer back are cancelled. What
    it, or the fund, no longer has, it owes: later deposits pay that first, and until then not all money is backed, so
    every market halts. Nobody's position pays for it: an account gives no more than its equity.

    Rejects:
        unknown-deposit, id-reused.
    """
    deposit = core.deposits.get(command.deposit_id)
    if deposit is None:
        return Rejected(reason=RejectReason.UNKNOWN_DEPOSIT)
    if deposit.reversed:
        return Rejected(reason=RejectReason.ID_REUSED)
    account, asset, amount = deposit.account, deposit.asset, deposit.credited_units + deposit.suspended_units
    holder = insurance(deposit.fund, asset) if deposit.fund else wallet(account, asset)
    taken = min(deposit.credited_units, _spare(core, deposit)) if deposit.credited_units else 0
    shortfall, debt = deposit.credited_units - taken, receivable(account, asset)
    for source, units in ((house(Chart.SUSPENSE, asset), deposit.suspended_units), (holder, taken), (debt, shortfall)):
        if units:
            core.post(Posting(source, house(Chart.CUSTODY_HOT, asset), units))
    deposit.reversed = True
    core.deposits_units[asset] -= amount
    core.events.append(
        DepositReverted(
            deposit_id=command.deposit_id, account=account, asset=asset, amount_units=amount, shortfall_units=shortfall
        )
    )
    if taken and deposit.fund:
        core.note_fund(deposit.fund, core.capital(asset, taken), -taken)
    elif deposit.credited_units and not deposit.fund:
        _cancel_unbacked(core, account, asset)
    if shortfall:
        owed = core.parts.clearing.balance(debt)
        breach.halt(core, [Finding(law=Law.NO_DEBT, asset=asset, expected=0, found=owed)])
    return None


def request(core: Core, command: RequestWithdrawal) -> Rejected | None:
    """Hold money that the account does not need.

    Rejects:
        breach-stands, id-reused, account-locked, amount-not-positive, insufficient-balance, insufficient-margin,
        margin-under-stress.
    """
    account, asset, amount = command.account, command.asset, command.amount_units
    if core.evidence:
        return Rejected(reason=RejectReason.BREACH_STANDS)
    if command.withdrawal_id in core.withdrawals or command.withdrawal_id in core.settled_withdrawals:
        return Rejected(reason=RejectReason.ID_REUSED)
    if core.locked(account, asset):
        return Rejected(reason=RejectReason.ACCOUNT_LOCKED)
    if amount <= 0:
        return Rejected(reason=RejectReason.AMOUNT_NOT_POSITIVE)
    need = core.parts.clearing.need(account, asset)
    due = amount - core.parts.clearing.balance(receivable(account, asset))  # what it owes is not there to be taken out
    if need.equity_units < due:
        return Rejected(reason=RejectReason.INSUFFICIENT_BALANCE)
    if need.equity_units - due < need.initial_units:
        return Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    stressed = core.parts.clearing.stressed_need(account, asset)
    if stressed.equity_units - due < stressed.maintenance_units:
        return Rejected(reason=RejectReason.MARGIN_UNDER_STRESS)
    core.events += core.parts.clearing.settle_funding((account, asset, 0, 0))
    core.post(Posting(wallet(account, asset), withdrawal(command.withdrawal_id, asset), amount))
    core.withdrawals[command.withdrawal_id] = Withdrawal(account, asset, amount, command.destination)
    core.events.append(
        WithdrawalHeld(
            withdrawal_id=command.withdrawal_id,
            account=account,
            asset=asset,
            amount_units=amount,
            destination=command.destination,
        )
    )
    return None


def approve(core: Core, command: ApproveWithdrawal) -> Rejected | None:
    """Release what is held, unless its account fell into breach: then it goes back and may cure the account.

    It goes back as well where a reversed deposit left custody with less than that.

    Rejects:
        unknown-withdrawal, breach-stands.
    """
    held = core.withdrawals.get(command.withdrawal_id)
    if held is None or held.released:
        return Rejected(reason=RejectReason.UNKNOWN_WITHDRAWAL)
    if core.evidence:
        return Rejected(reason=RejectReason.BREACH_STANDS)
    in_flight, hot = house(Chart.CUSTODY_IN_FLIGHT, held.asset), house(Chart.CUSTODY_HOT, held.asset)
    need = core.parts.clearing.need(held.account, held.asset)
    in_breach = core.locked(held.account, held.asset) or need.equity_units < need.maintenance_units
    if in_breach or core.parts.clearing.balance(hot) < held.amount_units:
        _give_back(core, command.withdrawal_id, held, recalled=True)
        return None
    held.released = True
    core.post(Posting(in_flight, hot, held.amount_units))
    core.events.append(
        WithdrawalReleased(
            withdrawal_id=command.withdrawal_id,
            account=held.account,
            asset=held.asset,
            amount_units=held.amount_units,
            destination=held.destination,
        )
    )
    return None


def cancel(core: Core, command: CancelWithdrawal) -> Rejected | None:
    """Give back what is held and not yet released.

    Rejects:
        unknown-withdrawal.
    """
    held = core.withdrawals.get(command.withdrawal_id)
    if held is None or held.released:
        return Rejected(reason=RejectReason.UNKNOWN_WITHDRAWAL)
    _give_back(core, command.withdrawal_id, held, recalled=False)
    return None


def sent(core: Core, command: WithdrawalSent) -> Rejected | None:
    """Write off a released withdrawal that custody saw leave.

    Rejects:
        unknown-withdrawal, amount-not-positive (a fee below zero or above the amount).
    """
    held = core.withdrawals.get(command.withdrawal_id)
    if held is None or not held.released:
        return Rejected(reason=RejectReason.UNKNOWN_WITHDRAWAL)
    if not 0 <= command.network_fee_units <= held.amount_units:
        return Rejected(reason=RejectReason.AMOUNT_NOT_POSITIVE)
    in_flight = house(Chart.CUSTODY_IN_FLIGHT, held.asset)
    core.post(Posting(withdrawal(command.withdrawal_id, held.asset), in_flight, held.amount_units))
    core.deposits_units[held.asset] -= held.amount_units
    _forget(core, command.withdrawal_id)
    core.events.append(
        WithdrawalSettled(
            withdrawal_id=command.withdrawal_id,
            account=held.account,
            asset=held.asset,
            amount_units=held.amount_units,
            network_fee_units=command.network_fee_units,
        )
    )
    return None


def compare_holdings(core: Core, command: HoldingsReported) -> Rejected | None:
    """Set what custody says it holds against the ledger; a difference is a breach."""
    ledger = sum(core.parts.clearing.balance(house(chart, command.asset)) for chart in sorted(CUSTODY_SIDE))
    core.events.append(
        HoldingsCompared(asset=command.asset, ledger_units=ledger, holdings_units=command.holdings_units)
    )
    if ledger != command.holdings_units:
        breach.halt(
            core,
            [Finding(law=Law.HOLDINGS, asset=command.asset, expected=ledger, found=command.holdings_units)],
        )
    return None


def recall(core: Core, account: AccountId, asset: AssetId) -> None:
    """Give an account back everything it holds for withdrawal and that is not yet released."""
    for withdrawal_id, held in sorted(core.withdrawals.items()):
        if (held.account, held.asset) == (account, asset) and not held.released:
            _give_back(core, withdrawal_id, held, recalled=True)


def _give_back(core: Core, withdrawal_id: int, held: Withdrawal, *, recalled: bool) -> None:
    source, target = withdrawal(withdrawal_id, held.asset), wallet(held.account, held.asset)
    core.post(Posting(source, target, held.amount_units))
    _forget(core, withdrawal_id)
    core.events.append(
        WithdrawalReturned(
            withdrawal_id=withdrawal_id,
            account=held.account,
            asset=held.asset,
            amount_units=held.amount_units,
            recalled=recalled,
        )
    )


def _forget(core: Core, withdrawal_id: int) -> None:
    del core.withdrawals[withdrawal_id]
    core.settled_withdrawals.add(withdrawal_id)


def _spare(core: Core, deposit: Deposit) -> Units:
    """Return what the holder of a deposit can give back; an account with all that it holds for withdrawal."""
    clearing, account, asset = core.parts.clearing, deposit.account, deposit.asset
    if deposit.fund:
        return clearing.balance(insurance(deposit.fund, asset))
    recall(core, account, asset)
    core.events += clearing.settle_funding((account, asset, 0, 0))
    return max(0, clearing.need(account, asset).equity_units)


def _cancel_unbacked(core: Core, account: AccountId, asset: AssetId) -> None:
    """Cancel the orders of a pool that no longer has what it and they need."""
    clearing = core.parts.clearing
    need = clearing.need(account, asset)
    if need.equity_units >= need.initial_units:
        return
    for market, spec in core.config.markets.items():
        if spec.settlement == asset:
            core.events += clearing.cancel_all(market, account, CancelReason.UNAFFORDABLE)


def _credit(
    core: Core, command: DepositObserved | CapitalObserved, target: LedgerAccount | None, account: AccountId
) -> Rejected | None:
    """Book money that has arrived. It is there whatever the books think of it, so it is taken while 64 bits hold it."""
    if command.deposit_id in core.deposits:
        return Rejected(reason=RejectReason.ID_REUSED)
    if command.amount_units <= 0:
        return Rejected(reason=RejectReason.AMOUNT_NOT_POSITIVE)
    asset, hot = command.asset, house(Chart.CUSTODY_HOT, command.asset)
    held = core.deposits_units.get(asset, 0)
    if held + command.amount_units >= INTEGER_BOUND:
        return Rejected(reason=RejectReason.AMOUNT_ABOVE_MAXIMUM)
    room = core.config.assets[asset].deposits_max_units - held
    credited = max(0, min(command.amount_units, room)) if target else 0
    suspended, debt = command.amount_units - credited, receivable(account, asset)
    repaid = min(credited, -core.parts.clearing.balance(debt))
    for into, units in ((debt, repaid), (target, credited - repaid), (house(Chart.SUSPENSE, asset), suspended)):
        if into and units:
            core.post(Posting(hot, into, units))
    fund = command.fund if isinstance(command, CapitalObserved) else 0
    core.deposits[command.deposit_id] = Deposit(account, fund, asset, credited, suspended)
    core.deposits_units[asset] = held + command.amount_units
    core.events.append(
        DepositCredited(
            deposit_id=command.deposit_id,
            account=account,
            asset=asset,
            amount_units=credited,
            suspended_units=suspended,
            repaid_units=repaid,
        )
    )
    return None
