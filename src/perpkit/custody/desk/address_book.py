"""Where money may come in, and where it may go out: addresses of accounts, and destinations that people approved."""

from collections.abc import Sequence

from perpkit.custody.desk import entries
from perpkit.custody.desk.core import Core
from perpkit.custody.digest import digest
from perpkit.custody.move import COLD
from perpkit.errors import CustodyError
from perpkit.model.ids import AccountId
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Approval, Destination
from perpkit.ports.custody.signing import Refusal
from perpkit.ports.custody.wallet import Owner, Purpose


def address_of(core: Core, owner: Owner) -> str:
    """Return an address of a branch on which nothing has come in yet, the same until something does."""
    wallet = core.wallets[COLD]
    index = core.state.addresses.get(owner)
    if index is None or core.state.used.get(owner, -1) >= index:
        index = 0 if index is None else index + 1
        core.note(entries.AddressIssued(owner=owner, index=index))
    wallet.watch(owner, index + 1)
    return wallet.address_of(wallet.script(owner, index))


def destination_digest(asset: str, number: int, account: AccountId, script: bytes) -> bytes:
    """Return what people sign who agree that an account's money may go to a script."""
    return digest("destination", {"asset": asset, "number": number, "account": account, "script": script})


def add(core: Core, number: int, account: AccountId, address: str, approvals: Sequence[Approval]) -> Refusal | None:
    """Note a destination. From when on it may be used, and who has to have agreed, is the policy's to say."""
    state = core.state
    try:
        script = core.wallets[COLD].script_of(address)
    except CustodyError as error:
        return _refuse("destination-address", str(error))
    if number <= 0 or number in state.destinations or number in state.removed:
        return _refuse("destination-number", f"expected a number above 0 that was never used, was {number}")
    if _is_own(core, script):
        return _refuse("destination-own", "it is this custody's own branch of change, or of the house")
    wanted = destination_digest(core.asset, number, account, script)
    for approval in approvals:
        person = core.people.get(approval.person)
        if person is None or approval.digest != wanted:
            return _refuse("destination-approval", f"{approval.person} is unknown, or has agreed to something else")
        if not core.scheme.verify(person.public, wanted, approval.signature):
            return _refuse("destination-approval", f"the signature is not {approval.person}'s")
    now_ns = core.clock()
    core.note(
        entries.DestinationAdded(
            destination=Destination(
                number=number,
                account=account,
                script=script,
                added_ns=now_ns,
                active_ns=now_ns,
                approved_by=tuple(sorted({approval.person for approval in approvals})),
            )
        )
    )
    return None


def remove(core: Core, number: int, by: PersonName) -> Refusal | None:
    """Take a destination out, at once and for ever."""
    if number not in core.state.destinations:
        return _refuse("destination-number", f"there is no destination {number}")
    if by not in core.people:
        return _refuse("person", f"nobody knows {by}")
    core.note(entries.DestinationRemoved(number=number, by=by))
    return None


def _is_own(core: Core, script: bytes) -> bool:
    places = (wallet.owner_of(script) for wallet in core.wallets.values())
    return any(place is not None and place[0].purpose in {Purpose.CHANGE, Purpose.HOUSE} for place in places)


def _refuse(rule: str, reason: str) -> Refusal:
    return Refusal(by="desk", rule=rule, reason=reason)
