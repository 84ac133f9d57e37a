"""A desk's whole state: what its entries in the log add up to. Nothing else is kept, so a crash loses nothing."""

from collections.abc import Iterator

import attrs

from perpkit.custody.desk import codec, entries
from perpkit.custody.desk.log import AuditLog, Entry
from perpkit.custody.desk.withdrawal import State, Withdrawal
from perpkit.custody.digest import digest
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    DepositReversed,
    WithdrawalSent,
)
from perpkit.model.ids import AccountId, AssetId
from perpkit.ports.custody.chain import BlockRef, Outpoint
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Approval, Destination, PolicyChange
from perpkit.ports.custody.signing import Refusal
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit.units import Nanos, Units


@attrs.frozen(kw_only=True)
class Deposit:
    """Money that came in under the number of its entry; all but `restores_units` of it was credited."""

    number: int
    owner: Owner
    outpoint: Outpoint
    amount_units: Units
    block: BlockRef
    restores_units: Units = 0

    @property
    def credited_units(self) -> Units:
        """What the exchange was told."""
        return self.amount_units - self.restores_units


@attrs.frozen(kw_only=True)
class Halt:
    """Why no money leaves, or none of an asset or a wallet, under the number of its entry."""

    number: int
    reason: str
    by: PersonName

    @property
    def digest(self) -> bytes:
        """What people sign who let the desk go on."""
        return digest("resume", self)


@attrs.define(kw_only=True)
class Proposal:
    """Another policy that somebody proposed, under the number of its entry; `agreed` once the policy allows it."""

    number: int
    change: PolicyChange
    agreed: bool = False


@attrs.frozen(kw_only=True)
class Reconciled:
    """The last count at which everything agreed."""

    at_ns: Nanos
    block: BlockRef


class DeskState:
    """Follows a log and keeps one asset's part of it.

    Args:
        asset: its name, by which the log's entries are told apart.
        asset_id: its number, in what the exchange is told.
    """

    def __init__(self, asset: str, asset_id: AssetId) -> None:
        self.number: int = 0
        self.withdrawals: dict[int, Withdrawal] = {}
        self.open: dict[int, Withdrawal] = {}
        self.deposits: dict[Outpoint, Deposit] = {}
        self.addresses: dict[Owner, int] = {}
        self.used: dict[Owner, int] = {}
        self.change_next: int = 0
        self.destinations: dict[int, Destination] = {}
        self.removed: set[int] = set()
        self.account_changes: dict[AccountId, dict[str, Nanos]] = {}
        self.halt: Halt | None = None
        self.switched_off: dict[str, Halt] = {}
        self.resumed_ns: Nanos = 0
        self.decisions: dict[int, dict[PersonName, Approval]] = {}
        self.proposal: Proposal | None = None
        self.adopted: PolicyChange | None = None
        self.policy_refusal: Refusal | None = None
        self.expected_units: Units = 0
        self.reconciled: Reconciled | None = None
        self.counted_block: BlockRef | None = None
        self.counted_ns: Nanos = 0
        self.told: list[tuple[int, Command]] = []
        self._asset, self._asset_id = asset, asset_id
        self._deposit_points: dict[int, Outpoint] = {}

    def catch_up(self, log: AuditLog) -> None:
        """Take every entry into account that was added since the last time.

        Raises:
            CustodyError: an entry could not have been written by this desk.
        """
        for entry in log.entries(self.number):
            if entry.body.get("asset") == self._asset:
                self._apply(entry, codec.decode(entry.kind, entry.body))
            self.number = entry.number

    def reserved(self) -> Iterator[Outpoint]:
        """Yield the coins that drafts spend and that no transaction deep in the chain has spent yet."""
        return (point for each in self.open.values() for draft in each.drafts for point in draft.spends)

    def _apply(self, entry: Entry, step: entries.Step) -> None:
        number, at_ns = entry.number, entry.at_ns
        match step:
            case entries.Requested(request=request, released=released):
                withdrawal = Withdrawal(request=request, sequence=number, released=released)
                self.withdrawals[request.withdrawal_id] = self.open[request.withdrawal_id] = withdrawal
                if withdrawal.internal:
                    # Its number has used up that index: see `script_of_move`.
                    self.change_next = -request.withdrawal_id
            case entries.Credited() | entries.Reversed():
                self._apply_money(step, number)
            case entries.Counted():
                self._count(step, at_ns)
            case (
                entries.AddressIssued()
                | entries.DestinationAdded()
                | entries.DestinationRemoved()
                | entries.AccountChanged()
            ):
                self._apply_addresses(step, at_ns)
            case entries.DeskHalted() | entries.DeskResumed() | entries.SwitchedOff() | entries.SwitchedOn():
                self._apply_halt(step, number, at_ns)
            case entries.Decided(subject=subject, approval=approval):
                self.decisions.setdefault(subject, {})[approval.person] = approval
            case entries.PolicyProposed() | entries.PolicyAgreed() | entries.PolicyAdopted() | entries.PolicyRefused():
                self._apply_policy(step, number)
            case entries.AnswerRefused():
                pass
            case _:
                self._apply_withdrawal(step, number, at_ns)

    def _apply_halt(self, step: entries.HaltStep, number: int, at_ns: Nanos) -> None:
        match step:
            case entries.DeskHalted(reason=reason, by=by):
                self.halt = Halt(number=number, reason=reason, by=by)
            case entries.DeskResumed():
                self.halt, self.resumed_ns, self.counted_block = None, at_ns, None
            case entries.SwitchedOff(what=what, reason=reason, by=by):
                self.switched_off[what] = Halt(number=number, reason=reason, by=by)
            case entries.SwitchedOn(what=what):
                del self.switched_off[what]

    def _apply_withdrawal(self, step: entries.WithdrawalStep, number: int, at_ns: Nanos) -> None:
        withdrawal = self.withdrawals[step.withdrawal_id]
        before = withdrawal.state
        withdrawal.apply(step, number, at_ns)
        if isinstance(step, entries.Drafted):
            self.change_next = step.change + 1
        if isinstance(step, entries.Confirmed) and not withdrawal.internal:
            self.expected_units -= withdrawal.request.amount_units
        if withdrawal.closed:
            self.open.pop(step.withdrawal_id, None)
        else:
            self.open[step.withdrawal_id] = withdrawal
        if not withdrawal.internal:
            self._tell(number, withdrawal, before, step)

    def _tell(self, number: int, withdrawal: Withdrawal, before: State, step: entries.WithdrawalStep) -> None:
        """Note what the exchange has to know: that it may let go, must give back, or can write off."""
        name, state = withdrawal.request.withdrawal_id, withdrawal.state
        if isinstance(step, entries.Confirmed):
            (fee_units,) = (
                draft.fee_units for draft in withdrawal.finished if draft.unsigned.txid == withdrawal.mined_txid
            )
            self.told.append((number, WithdrawalSent(withdrawal_id=name, network_fee_units=fee_units)))
        elif not withdrawal.released and isinstance(step, entries.Approved):
            self.told.append((number, ApproveWithdrawal(withdrawal_id=name)))
        elif not withdrawal.released and state is not before and state in {State.DENIED, State.EXPIRED, State.HALTED}:
            self.told.append((number, CancelWithdrawal(withdrawal_id=name)))

    def _apply_money(self, step: entries.MoneyStep, number: int) -> None:
        if isinstance(step, entries.Reversed):
            deposit = self.deposits.pop(self._deposit_points.pop(step.deposit_id))
            self.expected_units -= deposit.credited_units
            if deposit.credited_units:
                self.told.append((number, DepositReversed(deposit_id=deposit.number)))
            return
        owner = step.owner
        deposit = self.deposits[step.outpoint] = Deposit(
            number=number,
            owner=owner,
            outpoint=step.outpoint,
            amount_units=step.amount_units,
            block=step.block,
            restores_units=step.restores_units,
        )
        self._deposit_points[number] = step.outpoint
        self.used[owner] = max(self.used.get(owner, -1), step.index)
        amount_units = deposit.credited_units
        self.expected_units += amount_units
        if not amount_units:
            return
        command: Command
        if owner.purpose is Purpose.FUND:
            command = CapitalObserved(
                deposit_id=number, fund=owner.number, asset=self._asset_id, amount_units=amount_units
            )
        else:
            account = owner.number if owner.purpose is Purpose.CLIENT else 0
            command = DepositObserved(
                deposit_id=number, account=account, asset=self._asset_id, amount_units=amount_units
            )
        self.told.append((number, command))

    def _apply_addresses(self, step: entries.AddressStep, at_ns: Nanos) -> None:
        match step:
            case entries.AddressIssued(owner=owner, index=index):
                self.addresses[owner] = index
            case entries.DestinationAdded(destination=destination):
                self.destinations[destination.number] = destination
            case entries.DestinationRemoved(number=gone):
                del self.destinations[gone]
                self.removed.add(gone)
            case entries.AccountChanged(account=account, what=what):
                self.account_changes.setdefault(account, {})[what] = at_ns

    def _count(self, step: entries.Counted, at_ns: Nanos) -> None:
        self.counted_block, self.counted_ns = step.block, at_ns
        if step.counted_units == step.recounted_units == step.expected_units:
            self.reconciled = Reconciled(at_ns=at_ns, block=step.block)

    def _apply_policy(
        self,
        step: entries.PolicyStep,
        number: int,
    ) -> None:
        match step:
            case entries.PolicyProposed(change=change):
                self.proposal, self.policy_refusal = Proposal(number=number, change=change), None
            case entries.PolicyAgreed(change=change):
                assert self.proposal is not None
                self.proposal.change, self.proposal.agreed = change, True
            case entries.PolicyAdopted():
                assert self.proposal is not None
                self.adopted, self.proposal = self.proposal.change, None
            case entries.PolicyRefused(refusal=refusal):
                self.proposal, self.policy_refusal = None, refusal
