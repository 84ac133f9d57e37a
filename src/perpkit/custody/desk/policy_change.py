"""Another policy takes over: proposed, agreed to by others, allowed by the policy itself, and pinned by the gate."""

import attrs

from perpkit.custody.desk import entries
from perpkit.custody.desk.asking import decided
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.known import facts_of
from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import PolicyChange, Stage, Verdict
from perpkit.ports.custody.signing import Refusal


def propose(core: Core, text: str, by: PersonName) -> Refusal | None:
    """Put another policy to the people. What the policy would refuse whoever agreed is refused at once."""
    if by not in core.people:
        return Refusal(by="desk", rule="person", reason=f"nobody knows {by}")
    if core.state.proposal:
        return Refusal(by="desk", rule="proposal", reason="another proposal is open")
    try:
        core.load(text)
    except ConfigError as error:
        return Refusal(by="desk", rule="proposal", reason=str(error))
    change = PolicyChange(text=text, previous=core.policy.digest, proposer=by, proposed_ns=core.clock())
    decision = core.policy.change(change, facts_of(core, None, Stage.REQUEST))
    if decision.verdict is not Verdict.ALLOW:
        return Refusal(by="policy", rule=", ".join(decision.rules), reason="; ".join(decision.reasons))
    core.note(entries.PolicyProposed(change=change))
    return None


def drop(core: Core, by: PersonName) -> Refusal | None:
    """Take back a proposal that has not taken over."""
    if by not in core.people or core.state.proposal is None:
        return Refusal(by="desk", rule="proposal", reason=f"there is no proposal, or nobody knows {by}")
    core.note(entries.PolicyRefused(refusal=Refusal(by=by, rule="dropped", reason="taken back")))
    return None


def activate(core: Core) -> None:
    """Let a proposal take over as soon as the policy allows it.

    The gate judges it again. What it refuses is dropped.
    """
    proposal = core.state.proposal
    if proposal is None:
        return
    if not proposal.agreed:
        change = attrs.evolve(proposal.change, approvals=tuple(decided(core, proposal.number).values()))
        if core.policy.change(change, facts_of(core, None, Stage.RELEASE)).verdict is not Verdict.ALLOW:
            return
        core.note(entries.PolicyAgreed(change=change))
    change = proposal.change
    policy = core.load(change.text)
    try:
        refusal = core.gate.adopt(change, policy)
    except CustodyError:
        return  # the gate cannot keep it now, and is asked again
    if refusal:
        core.note(entries.PolicyRefused(refusal=refusal))
        return
    core.note(entries.PolicyAdopted())
    core.policy = policy
