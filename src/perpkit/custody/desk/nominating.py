"""The draw of signers, step by step: opened, committed, revealed, drawn, or begun again without who spoilt it."""

from collections.abc import Collection

import attrs

from perpkit.custody.desk import entries
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.withdrawal import Withdrawal
from perpkit.custody.digest import request_digest
from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.people import PersonName


def draw(core: Core, withdrawal: Withdrawal) -> bool:
    """Take the draw one step further, if it can be; say whether it was.

    Raises:
        ChainError: the beacon does not answer.
    """
    opening = withdrawal.opening
    if opening is None:
        return open_draw(core, withdrawal, ())
    if spoilers := _spoilers(core, withdrawal):
        return open_draw(core, withdrawal, spoilers)
    if withdrawal.reveals.keys() != set(opening.eligible):
        return False
    beacon = core.beacon.value(opening.round)
    if beacon is None:
        return False
    transcript = core.nominator.draw(opening, withdrawal.commitments, withdrawal.reveals, beacon, withdrawal.refused)
    signed = attrs.evolve(transcript, signatures=dict(withdrawal.commitment_signatures))
    core.note(entries.Nominated(withdrawal_id=withdrawal.request.withdrawal_id, transcript=signed))
    return True


def open_draw(core: Core, withdrawal: Withdrawal, spoilers: Collection[PersonName]) -> bool:
    """Begin a draw without those who spoilt one; when that is not possible any more, people have to decide.

    Without spoilers it is the same attempt once more: the chain has taken back the block that the last one went by.

    Raises:
        ChainError: the beacon does not answer.
    """
    request, last = withdrawal.request, withdrawal.opening
    wallet = core.wallets[request.source]
    refused = tuple(sorted({*withdrawal.refused, *spoilers}))
    holders = {each.person for each in core.keys if each.wallet == wallet.name and each.key in wallet.keys}
    busy = withdrawal.agreed | {request.initiator, *refused}
    try:
        opening = core.nominator.open(
            sequence=withdrawal.sequence,
            request=request_digest(request),
            eligible=tuple(sorted(holders - busy)),
            seats=wallet.threshold,
            latest_round=core.beacon.latest(),
            attempt=last.attempt + bool(spoilers) if last else 1,
        )
    except ChainError:
        raise
    except CustodyError as error:
        core.note(entries.Stopped(withdrawal_id=request.withdrawal_id, reason=f"no signers can be drawn: {error}"))
        return True
    core.note(entries.Opened(withdrawal_id=request.withdrawal_id, opening=opening, refused=refused))
    return True


def commitments_closed(core: Core, withdrawal: Withdrawal) -> bool:
    """Say whether it is too late to commit, since the round's value may be known to somebody.

    Raises:
        ChainError: the beacon does not answer.
    """
    return withdrawal.opening is None or core.beacon.latest() >= withdrawal.opening.round


def _spoilers(core: Core, withdrawal: Withdrawal) -> Collection[PersonName]:
    """Return who declined, or was asked and has not answered in time."""
    assert withdrawal.opening is not None
    if withdrawal.declined:
        return withdrawal.declined
    eligible = withdrawal.opening.eligible
    late = core.clock() >= max(withdrawal.opened_ns, core.state.resumed_ns) + core.terms.nomination_ns
    if silent := [person for person in eligible if person not in withdrawal.commitments]:
        return silent if late or commitments_closed(core, withdrawal) else ()
    return [person for person in eligible if person not in withdrawal.reveals] if late else ()
