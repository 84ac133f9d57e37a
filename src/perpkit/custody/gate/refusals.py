"""Why a gate or a signer refuses: every rule that they have, in one place."""

from collections.abc import Mapping

from perpkit.ports.custody.signing import Refusal

REFUSALS: Mapping[str, str] = {
    "hsm-unhealthy": "The HSM does not show that it is the enrolled one, with a key that was made inside, and alive.",
    "hsm-counter": "The HSM's counter and the gate's memory do not belong together: one of the two was put back.",
    "policy-pinned": "The policy is not the one that the gate has pinned.",
    "policy": "The pinned policy does not allow it.",
    "approval-person": "An approval is in the name of somebody whom the gate does not know.",
    "approval-subject": "An approval is of something else.",
    "approval-signature": "An approval is not signed by the person whose it is said to be.",
    "approval-twice": "One person approves twice.",
    "two-hats": "One person would have two parts: initiator, approver, whoever took it on, signer.",
    "wallet": "The draft is not of the wallet that the request takes money from.",
    "nomination-request": "The nomination is for another request, or none.",
    "nomination-seats": "The nomination does not fill as many seats as the wallet has to have signatures.",
    "nomination-signature": "Somebody has not signed for the commitment that is said to be theirs.",
    "nomination-draw": "Who is said to be nominated was not drawn by this transcript.",
    "nomination-beacon": "The beacon's round has another value, or none yet.",
    "nomination-eligible": "The draw was not among all who hold a key of the wallet and have no other part in this.",
    "nomination-signer": "Somebody signs, or is asked to, who was not drawn.",
    "draft-unreadable": "The wallet cannot read the draft, or it is not the transaction that it is said to be.",
    "draft-unknown": "The draft contains something that does not belong there.",
    "draft-payment": "The draft does not pay exactly what is due to exactly the request's script.",
    "draft-change": "The draft's change does not go where change goes.",
    "draft-house": "The house's coins pay the fee of a move between own wallets, all of it, and nothing else.",
    "move-target": "The move does not lead to the hot wallet's own address of its number.",
    "draft-fee": "The network fee is more than this signer accepts.",
    "released-before": "Another draft for this withdrawal was let go, and both could be mined.",
    "release-forged": "The release is not signed by the pinned key of the gate.",
    "release-request": "The release is for another request.",
    "release-draft": "The release is for another draft.",
    "release-nomination": "The release goes by another nomination.",
    "release-older": "A later release has taken the place of this one.",
    "partial-bad": "A signature on the draft is not a good one of the key that it names.",
    "under-quorum": "Fewer of the nominated have signed than the wallet needs.",
    "signed-before": "Another draft for this withdrawal was signed with this key, and both could be mined.",
    "change-previous": "The change is of another policy than the one that is pinned.",
    "change-text": "The new policy is not what the approved text says.",
    "change-policy": "The pinned policy does not allow this change, or not yet.",
}
"""What each rule means, by its name in `Refusal.rule`."""


def refuse(by: str, rule: str, detail: str = "") -> Refusal:
    """Return a refusal that says what its rule means, and what was found."""
    sentence = REFUSALS[rule]
    return Refusal(by=by, rule=rule, reason=f"{sentence} {detail}" if detail else sentence)
