"""What follows when the books do not agree: every market halts, until two operators name the evidence."""

import hashlib
from collections.abc import Sequence

from perpkit.engine.core import Core
from perpkit.engine.sweep import Finding, sweep
from perpkit.model.command import ResumeExchange
from perpkit.model.event import BreachFound, ExchangeResumed, Rejected
from perpkit.model.market import MarketState
from perpkit.model.records import pack
from perpkit.model.reject import RejectReason


def audit(core: Core) -> None:
    """Do a full sweep, tell what was counted, and halt on whatever does not agree."""
    completed, findings = sweep(core)
    core.events.append(completed)
    halt(core, findings)


def halt(core: Core, findings: Sequence[Finding]) -> None:
    """Tell each finding, and stop every market; nothing is told and nothing stops when there is none.

    While a breach stands its evidence keeps its number, so that those who look at it can name it.
    """
    if not findings:
        return
    core.evidence = core.evidence or _number(core.sequence, findings)
    core.events += [_event(each, core.evidence) for each in findings]
    for market, state in core.market_states.items():
        if state.runs:
            core.set_market_state(market, MarketState.HALTED)


def resume(core: Core, command: ResumeExchange) -> Rejected | None:
    """Go on after a breach: every halted market accepts cancels, and operators open them one by one.

    The next audit looks again, and halts again if nothing was mended.

    Rejects:
        no-such-breach, operators-not-distinct.
    """
    if not core.evidence or command.evidence != core.evidence:
        return Rejected(reason=RejectReason.NO_SUCH_BREACH)
    if command.operator == command.second_operator or min(command.operator, command.second_operator) <= 0:
        return Rejected(reason=RejectReason.OPERATORS_NOT_DISTINCT)
    core.evidence = 0
    core.events.append(
        ExchangeResumed(evidence=command.evidence, operator=command.operator, second_operator=command.second_operator)
    )
    for market, state in core.market_states.items():
        if state is MarketState.HALTED:
            core.set_market_state(market, MarketState.CANCEL_ONLY)
    return None


def _event(finding: Finding, evidence: int) -> BreachFound:
    return BreachFound(
        law=finding.law,
        market=finding.market,
        asset=finding.asset,
        expected=finding.expected,
        found=finding.found,
        evidence=evidence,
    )


def _number(sequence: int, findings: Sequence[Finding]) -> int:
    """Number the evidence by its content: 62 bits of a digest, never 0, so that nobody names it without seeing it."""
    content = sequence.to_bytes(8, "little") + b"".join(pack(_event(each, 0)) for each in findings)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 2 | 1
