"""What a draft has to look like, whoever looks at it: the gate and each signer do, with wallets of their own."""

from collections.abc import Collection, Iterable, Mapping

from perpkit.custody.gate.refusals import refuse
from perpkit.custody.move import HOT, is_move, script_of_move
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.signing import Refusal
from perpkit.ports.custody.wallet import Effects, Purpose, UnsignedTransaction, WalletBackend


def effects_of(
    request: Request,
    unsigned: UnsignedTransaction,
    wallet: WalletBackend,
    *,
    own: Mapping[str, WalletBackend],
    by: str,
) -> Effects | Refusal:
    """Return what a draft does, if that is what was asked for and nothing else.

    Args:
        own: the wallets of the house, by name, to see that a move stays in it.
    """
    try:
        effects = wallet.describe(unsigned)
    except CustodyError as error:
        return refuse(by, "draft-unreadable", str(error))
    if effects.unknown:
        return refuse(by, "draft-unknown", "; ".join(effects.unknown))
    moving = is_move(request)
    if moving and not _stays(request, own):
        return refuse(by, "move-target", f"It leads to {request.script.hex()}.")
    due_units = request.amount_units - (0 if moving else effects.fee_units)
    if effects.fee_units < 0 or due_units <= 0 or effects.payments != (Output(request.script, due_units),):
        return refuse(by, "draft-payment", f"Expected {due_units} units to {request.script.hex()}.")
    if not moving and (effects.house_spends or effects.house_change):
        return refuse(by, "draft-house", "It is no move.")
    spent_units = sum(output.amount_units for _, output in effects.spends)
    from_house_units = sum(output.amount_units for point, output in effects.spends if point in effects.house_spends)
    house_units = from_house_units - sum(output.amount_units for output in effects.house_change)
    others_units = spent_units - from_house_units - sum(output.amount_units for output in effects.change)
    if (house_units, others_units) != (effects.fee_units if moving else 0, request.amount_units):
        return refuse(by, "draft-house", f"The house pays {house_units} units, and {others_units} of others leave.")
    kept = [(Purpose.CHANGE, output) for output in effects.change]
    kept += [(Purpose.HOUSE, output) for output in effects.house_change]
    for purpose, output in kept:
        owner = wallet.owner_of(output.script)
        if owner is not None and owner[0].purpose is not purpose:
            return refuse(by, "draft-change", "It goes to a branch where it would count as somebody else's.")
    return effects


def _stays(request: Request, own: Mapping[str, WalletBackend]) -> bool:
    """Say whether a move leads to the hot wallet's own script of its number."""
    try:
        return HOT in own and script_of_move(own[HOT], request.withdrawal_id) == request.script
    except CustodyError:
        return False


def spent_by(effects: Effects) -> tuple[Outpoint, ...]:
    """Return the coins that a draft spends."""
    return tuple(outpoint for outpoint, _ in effects.spends)


def excludes_all(spends: Collection[Outpoint], earlier: Iterable[Collection[Outpoint]]) -> bool:
    """Say whether a draft shares a coin with every earlier one, so that only one of them all can ever be mined.

    Sharing one with the first is not enough: the second and the third could then both be mined.
    """
    return all(set(spends) & set(each) for each in earlier)
