"""The first look at a withdrawal: what the policy says before anybody is asked."""

import attrs

from perpkit.custody.desk import entries
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.known import facts_of
from perpkit.custody.desk.withdrawal import Withdrawal
from perpkit.ports.custody.policy import Decision, Stage, Verdict


def judge(core: Core, withdrawal: Withdrawal) -> bool:
    """Note what the policy says to a request, and say whether it agrees; while a person is asked, do nothing."""
    request = withdrawal.request
    if withdrawal.decision and withdrawal.decision.verdict is Verdict.STEP_UP and not withdrawal.stepped_up:
        return False
    if request.script:
        decision = core.policy.evaluate(request, facts_of(core, withdrawal, Stage.REQUEST))
    else:
        reason = f"there is no destination {request.destination} in the address book"
        decision = Decision(
            verdict=Verdict.DENY, rules=("address-book",), reasons=(reason,), policy=core.policy.digest, inputs=b""
        )
    if decision.verdict is Verdict.STEP_UP and withdrawal.stepped_up:
        # Whoever took it on has no more to say; a policy that still asks for a person asks for another one.
        decision = attrs.evolve(decision, verdict=Verdict.DENY)
    core.note(entries.Judged(withdrawal_id=request.withdrawal_id, decision=decision))
    return decision.verdict is Verdict.ALLOW
