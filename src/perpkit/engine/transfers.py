"""Money in and out: deposits credited once, withdrawals held, recalled, released and settled."""

from perpkit.engine import breach
from perpkit.engine.core import Core, Withdrawal
from perpkit.engine.guard.base import INTEGER_BOUND
from perpkit.engine.sweep import Finding
from perpkit.model.cause import Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    CapitalObserved,
    DepositObserved,
    HoldingsReported,
    RequestWithdrawal,
    WithdrawalSent,
)
from perpkit.model.event import (
    DepositCredited,
    HoldingsCompared,
    Rejected,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ids import HOUSE, AccountId, AssetId
from perpkit.model.ledger import CUSTODY_SIDE, Chart, LedgerAccount, Posting, house, insurance, wallet, withdrawal
from perpkit.model.reject import RejectReason


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
        if isinstance(credited, DepositCredited) and credited.amount_units:
            core.note_fund(command.fund, core.capital(asset, credited.amount_units), credited.amount_units)
    return refused


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
    if need.equity_units < amount:
        return Rejected(reason=RejectReason.INSUFFICIENT_BALANCE)
    if need.equity_units - amount < need.initial_units:
        return Rejected(reason=RejectReason.INSUFFICIENT_MARGIN)
    stressed = core.parts.clearing.stressed_need(account, asset)
    if stressed.equity_units - amount < stressed.maintenance_units:
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

    Rejects:
        unknown-withdrawal, breach-stands.
    """
    held = core.withdrawals.get(command.withdrawal_id)
    if held is None or held.released:
        return Rejected(reason=RejectReason.UNKNOWN_WITHDRAWAL)
    if core.evidence:
        return Rejected(reason=RejectReason.BREACH_STANDS)
    need = core.parts.clearing.need(held.account, held.asset)
    if core.locked(held.account, held.asset) or need.equity_units < need.maintenance_units:
        _give_back(core, command.withdrawal_id, held, recalled=True)
        return None
    held.released = True
    in_flight, hot = house(Chart.CUSTODY_IN_FLIGHT, held.asset), house(Chart.CUSTODY_HOT, held.asset)
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


def _credit(
    core: Core, command: DepositObserved | CapitalObserved, target: LedgerAccount | None, account: AccountId
) -> Rejected | None:
    """Book money that has arrived. It is there whatever the books think of it, so it is taken while 64 bits hold it."""
    if command.deposit_id in core.deposit_ids:
        return Rejected(reason=RejectReason.ID_REUSED)
    if command.amount_units <= 0:
        return Rejected(reason=RejectReason.AMOUNT_NOT_POSITIVE)
    asset, hot = command.asset, house(Chart.CUSTODY_HOT, command.asset)
    held = core.deposits_units.get(asset, 0)
    if held + command.amount_units >= INTEGER_BOUND:
        return Rejected(reason=RejectReason.AMOUNT_ABOVE_MAXIMUM)
    room = core.config.assets[asset].deposits_max_units - held
    credited = max(0, min(command.amount_units, room)) if target else 0
    if target and credited:
        core.post(Posting(hot, target, credited))
    if suspended := command.amount_units - credited:
        core.post(Posting(hot, house(Chart.SUSPENSE, asset), suspended))
    core.deposit_ids.add(command.deposit_id)
    core.deposits_units[asset] = held + command.amount_units
    core.events.append(
        DepositCredited(
            deposit_id=command.deposit_id,
            account=account,
            asset=asset,
            amount_units=credited,
            suspended_units=suspended,
        )
    )
    return None
