"""What a desk knows about a request: the facts that its policy, and the gate's, judge by."""

import attrs

from perpkit.custody.desk.core import Core
from perpkit.custody.desk.withdrawal import Draft, Withdrawal
from perpkit.custody.digest import request_digest
from perpkit.errors import ChainError
from perpkit.ports.custody.policy import Facts, Past, Stage
from perpkit.ports.custody.signing import Case
from perpkit.ports.custody.wallet import Purpose
from perpkit.units import Units


def facts_of(core: Core, withdrawal: Withdrawal | None, stage: Stage, draft: Draft | None = None) -> Facts:
    """Return what is known about a withdrawal, or, without one, about the desk as a whole."""
    state = core.state
    facts = Facts(
        stage=stage,
        now_ns=core.clock(),
        people=core.people,
        keys=core.keys,
        switched_off=frozenset(state.switched_off) | ({"all"} if state.halt else frozenset()),
        incident=state.halt is not None,
        reconciled_ns=state.reconciled.at_ns if state.reconciled else None,
        attestation=core.attestation(),
    )
    if withdrawal is None:
        return facts
    return _with_request(core, facts, withdrawal, draft)


def told_to_gate(core: Core, case: Case | None) -> Facts:
    """Return what a gate cannot know itself. The rest it puts in."""
    if case is None:
        return facts_of(core, None, Stage.RELEASE)
    withdrawal = core.state.withdrawals.get(case.request.withdrawal_id)
    if withdrawal is None or withdrawal.request != case.request:
        return Facts(stage=Stage.RELEASE, now_ns=core.clock(), people={}, keys=())
    return facts_of(core, withdrawal, Stage.RELEASE)


def wallet_units(core: Core, wallet: str) -> Units | None:
    """Return what a wallet holds for clients and funds, deep enough; None when the chain does not answer."""
    try:
        view = core.view()
    except ChainError:
        return None
    return sum(
        coin.output.amount_units
        for point, coin in view.coins.items()
        if view.received[point].wallet == wallet and view.received[point].owner.purpose is not Purpose.HOUSE
    )


def _with_request(core: Core, facts: Facts, withdrawal: Withdrawal, draft: Draft | None) -> Facts:
    request, state = withdrawal.request, core.state
    others = [each for each in state.withdrawals.values() if each is not withdrawal]
    return attrs.evolve(
        facts,
        destination=state.destinations.get(request.destination),
        changes=dict(state.account_changes.get(request.account, {})),
        wallet_units=wallet_units(core, request.source),
        past=tuple(_past(each) for each in others if each.allowed),
        approvals=tuple(withdrawal.approvals),
        stepped_up=withdrawal.stepped_up is not None,
        nomination=withdrawal.transcript,
        effects=core.wallets[draft.unsigned.wallet].describe(draft.unsigned) if draft else None,
        # Another draft of the same withdrawal may take the place of the first; whether both could be mined, the gate
        # and every signer see for themselves.
        signed={request_digest(each.request): each.finished[-1].unsigned.txid for each in others if each.finished},
    )


def _past(withdrawal: Withdrawal) -> Past:
    request = withdrawal.request
    return Past(
        account=request.account,
        asset=request.asset,
        source=request.source,
        target=request.target,
        amount_units=request.amount_units,
        at_ns=withdrawal.judged_ns,
    )
