"""Steps and events in words."""

from perpkit.custody.desk import entries
from perpkit.model.event import (
    BreachFound,
    DepositCredited,
    Event,
    HoldingsCompared,
    MarketStateChanged,
    Rejected,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalSettled,
)
from perpkit.ports.custody.policy import Verdict
from perpkit.units import Units, div_floor


def coins(amount_units: Units) -> str:
    """Return an amount of satoshi as people write it."""
    return f"{div_floor(amount_units, 10**8)}.{amount_units % 10**8:08} BTC"


def of_step(step: entries.Step) -> tuple[str, str] | None:
    """Return who did a step of the log, and what it was; None for what would only repeat others."""
    match step:
        case entries.Judged(decision=decision):
            said = "agrees, for now" if decision.verdict is Verdict.ALLOW else "; ".join(decision.reasons)
            return "policy", f"{decision.policy.hex()[:12]}… {said}"
        case entries.Opened(opening=opening):
            who = ", ".join(opening.eligible)
            return "desk", f"opens a draw of {opening.seats} among {who}, by block {opening.round}, which nobody knows"
        case entries.Committed(person=person, commitment=commitment):
            return person, f"commits to a secret: {commitment.hex()[:12]}…"
        case entries.Revealed(person=person, secret=secret):
            return person, f"reveals it: {secret.hex()[:12]}…"
        case entries.Nominated(transcript=transcript):
            return "desk", f"has drawn {', '.join(transcript.nominated)}; anyone can draw again from the transcript"
        case entries.ApprovalGiven(approval=approval):
            return approval.person, "approves, and signs for it"
        case entries.Approved():
            return "desk", "tells the exchange that everybody needed has agreed"
        case _:
            return _of_signing(step)


def _of_signing(step: entries.Step) -> tuple[str, str] | None:
    match step:
        case entries.Drafted(unsigned=unsigned, fee_units=fee_units):
            return "desk", f"drafts {unsigned.txid.hex()[:12]}…, with a fee of {fee_units} satoshi"
        case entries.Granted(release=release):
            who = ", ".join(release.nominated)
            return "HSM gate", f"works it all out again and lets {who} sign: release number {release.counter}"
        case entries.PartAdded(partial=partial):
            return partial.key, "works it out again and signs"
        case entries.Signed(raw=raw):
            return "desk", f"verifies the finished transaction of {len(raw)} bytes"
        case entries.Broadcast():
            return "desk", "sends it"
        case entries.Confirmed(txid=txid, block=block):
            return "chain", f"{txid.hex()} is in block {block.height}, deep enough"
        case entries.Credited(amount_units=amount_units, block=block):
            return "desk", f"sees {coins(amount_units)} in block {block.height}, deep enough"
        case entries.DeskHalted(reason=reason):
            return "desk", f"halts: {reason}"
        case entries.Waited(refusal=refusal):
            return refusal.by, f"not yet: {refusal.reason}"
        case _:
            return None


def of_event(event: Event) -> str:
    """Return what the exchange did, or nothing where it does not matter here."""
    match event:
        case DepositCredited(account=account, amount_units=amount_units):
            return f"credits {coins(amount_units)} to account {account}"
        case WithdrawalHeld(amount_units=amount_units):
            return f"holds {coins(amount_units)}: a liquidation could still take it back"
        case WithdrawalReleased(amount_units=amount_units):
            return f"lets go of {coins(amount_units)}: from here on there is no way back"
        case WithdrawalSettled(amount_units=amount_units, network_fee_units=fee_units):
            return f"writes {coins(amount_units)} off, {fee_units} satoshi of it for the network"
        case HoldingsCompared(ledger_units=ledger_units, holdings_units=holdings_units):
            return f"ledger {ledger_units}, custody {holdings_units}"
        case BreachFound(expected=expected, found=found, evidence=evidence):
            return f"HALTS: expected {expected}, found {found}; whoever resumes has to name evidence {evidence}"
        case MarketStateChanged(state=state):
            return f"the market is {state.name.lower()}"
        case Rejected(reason=reason):
            return f"refuses: {reason.name.lower()}"
        case _:
            return ""
