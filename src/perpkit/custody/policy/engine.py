"""Judges by one version of a policy. What no path allows is denied; any denial wins; any error is one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import attrs

from perpkit.custody.digest import change_digest, request_digest
from perpkit.custody.digest import digest as sha256_of
from perpkit.custody.policy.change import Change
from perpkit.custody.policy.rule import POLICY, CannotJudgeError, Case, Finding, Rule, deny, exact
from perpkit.custody.policy.rules_release import Quorum
from perpkit.custody.policy.rules_request import Path
from perpkit.custody.policy.text import read_policy
from perpkit.errors import ConfigError
from perpkit.ports.custody.policy import Decision, Facts, PolicyChange, Request, Verdict

R = TypeVar("R", bound=Rule)


def _in_order(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    return MappingProxyType(dict(sorted(rules.items())))


@attrs.frozen(eq=False)
class Policy:
    """A `PolicyEngine` by rules that are data. See `load_policy`."""

    version: int
    name: str
    rules: Mapping[str, Rule] = attrs.field(converter=_in_order)
    digest: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Fix the digest: it has to be there when nothing else works."""
        kinds = {name: (rule.kind, rule) for name, rule in self.rules.items()}
        object.__setattr__(self, "digest", sha256_of("policy", (self.version, self.name, kinds)))

    def quorum(self, request: Request, /) -> Mapping[str, int]:
        """Return the most that any quorum rule asks for, role by role."""
        needed: dict[str, int] = {}
        for rule in self.rules.values():
            if isinstance(rule, Quorum) and rule.concerns(request):
                for role, count in rule.needed(request).items():
                    needed[role] = max(needed.get(role, 0), count)
        return needed

    def evaluate(self, request: Request, facts: Facts, /) -> Decision:
        """See `PolicyEngine`. Where rules disagree: deny before step up before allow."""
        return self._decide(("request", request, facts), lambda: self._judge(request, facts))

    def change(self, change: PolicyChange, facts: Facts, /) -> Decision:
        """See `PolicyEngine`. Every rule of the kind `change` has to agree, and there has to be one."""
        return self._decide(("change", change, facts), lambda: self._judge_change(change, facts))

    def _judge(self, request: Request, facts: Facts) -> dict[str, Finding]:
        exact(facts.now_ns, "now_ns")
        if not exact(request.amount_units, "amount_units"):
            return {POLICY: deny("Expected an amount above zero.")}
        case = Case(request=request, facts=facts, digest=request_digest(request), needed=self.quorum(request))
        found = _objections(self.rules, lambda rule: rule.judge(case) if rule.concerns(request) else None)
        if not any(isinstance(rule, Path) and rule.concerns(request) for rule in self.rules.values()):
            found[POLICY] = deny(f"No path lets {request.asset} go from {request.source} to {request.target}.")
        return found

    def _judge_change(self, change: PolicyChange, facts: Facts) -> dict[str, Finding]:
        exact(facts.now_ns, "now_ns")
        if change.previous != self.digest:
            return {POLICY: deny("The change was proposed to another policy than this.")}
        try:
            proposed = load_policy(change.text)
        except ConfigError as error:
            return {POLICY: deny(f"The proposed policy cannot be read: {error}.")}
        digest = change_digest(change)
        rules = {name: rule for name, rule in self.rules.items() if isinstance(rule, Change)}
        if not rules:
            return {POLICY: deny("No rule lets this policy be changed.")}
        return _objections(rules, lambda rule: rule.judge_change(change, digest, facts, self.rules, proposed.rules))

    def _decide(self, inputs: tuple[object, ...], judge: Callable[[], dict[str, Finding]]) -> Decision:
        digest = b""
        try:
            digest = sha256_of("policy-inputs", inputs)
            found = judge()
            verdict = min((finding.verdict for finding in found.values()), default=Verdict.ALLOW)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the answer is no
            found, verdict = {POLICY: deny(_told(error))}, Verdict.DENY
        roles = {finding.role for finding in found.values() if finding.role}
        return Decision(
            verdict=verdict,
            rules=tuple(found),
            reasons=tuple(finding.sentence for finding in found.values()),
            policy=self.digest,
            inputs=digest,
            step_up=tuple(sorted(roles)) if verdict is Verdict.STEP_UP else (),
        )


def _objections(rules: Mapping[str, R], ask: Callable[[R], Finding | None]) -> dict[str, Finding]:
    """Ask every rule; one that cannot answer, for whatever reason, has denied."""
    found: dict[str, Finding] = {}
    for name, rule in rules.items():
        try:
            finding = ask(rule)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the answer is no
            finding = deny(_told(error))
        if finding is not None:
            found[name] = finding
    return found


def _told(error: Exception) -> str:
    # Only our own errors are quoted: a strange one could raise again when it is asked for its text.
    return f"Cannot judge: {error if isinstance(error, CannotJudgeError) else type(error).__name__}."


def load_policy(text: str) -> Policy:
    """Return the policy that a text in TOML describes.

    Raises:
        ConfigError: it is not TOML, or something in it is unknown, missing or out of bounds; the message says what and
            under which key.

    Example:
        >>> policy = load_policy('''
        ... version = 1
        ... name = "to clients only"
        ... [rules.pay-out]
        ... kind = "path"
        ... asset = "BTC"
        ... source = "cold"
        ... target = "client"
        ... ''')
        >>> policy.name, list(policy.rules)
        ('to clients only', ['pay-out'])
    """
    return Policy(*read_policy(text))
