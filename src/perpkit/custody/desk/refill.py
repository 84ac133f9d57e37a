"""Moves from the cold wallet to the hot one: asked for by a person, and told to nobody outside."""

from perpkit.custody.desk import entries
from perpkit.custody.desk.core import Core
from perpkit.custody.move import CHANGE, COLD, HOT, script_of_move
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.signing import Refusal
from perpkit.units import Units


def ask(core: Core, amount_units: Units, by: PersonName) -> Refusal | int:
    """Note that somebody asks for a move; return its number, which is below 0."""
    hot = core.wallets.get(HOT)
    if by not in core.people:
        return Refusal(by="desk", rule="person", reason=f"nobody knows {by}")
    if hot is None:
        return Refusal(by="desk", rule="move", reason="there is no hot wallet")
    index = core.state.change_next
    name = -1 - index
    hot.watch(CHANGE, index + 1)
    request = Request(
        withdrawal_id=name,
        asset=core.asset,
        account=0,
        amount_units=amount_units,
        destination=0,
        script=script_of_move(hot, name),
        source=COLD,
        target=HOT,
        initiator=by,
        requested_ns=core.clock(),
    )
    core.note(entries.Requested(request=request, released=False))
    return name
