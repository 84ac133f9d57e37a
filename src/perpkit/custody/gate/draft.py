"""What a draft has to look like, whoever looks at it: the gate and each signer do, with wallets of their own."""

from collections.abc import Collection, Iterable

from perpkit.custody.gate.refusals import refuse
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.signing import Refusal
from perpkit.ports.custody.wallet import Effects, Purpose, UnsignedTransaction, WalletBackend


def effects_of(request: Request, unsigned: UnsignedTransaction, wallet: WalletBackend, *, by: str) -> Effects | Refusal:
    """Return what a draft does, if that is what was asked for and nothing else."""
    try:
        effects = wallet.describe(unsigned)
    except CustodyError as error:
        return refuse(by, "draft-unreadable", str(error))
    if effects.unknown:
        return refuse(by, "draft-unknown", "; ".join(effects.unknown))
    due_units = request.amount_units - effects.fee_units
    if effects.fee_units < 0 or due_units <= 0 or effects.payments != (Output(request.script, due_units),):
        return refuse(by, "draft-payment", f"Expected {due_units} units to {request.script.hex()}.")
    owners = [wallet.owner_of(output.script) for output in effects.change]
    if any(owner is not None and owner[0].purpose is not Purpose.CHANGE for owner in owners):
        return refuse(by, "draft-change", "It goes to a branch where it would count as somebody's deposit.")
    return effects


def spent_by(effects: Effects) -> tuple[Outpoint, ...]:
    """Return the coins that a draft spends."""
    return tuple(outpoint for outpoint, _ in effects.spends)


def excludes_all(spends: Collection[Outpoint], earlier: Iterable[Collection[Outpoint]]) -> bool:
    """Say whether a draft shares a coin with every earlier one, so that only one of them all can ever be mined.

    Sharing one with the first is not enough: the second and the third could then both be mined.
    """
    return all(set(spends) & set(each) for each in earlier)
