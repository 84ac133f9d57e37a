"""The rule about changes of the policy itself, and what makes one policy at least as strict as another."""

from collections.abc import Mapping
from typing import Any

import attrs

from perpkit.custody.policy.rule import (
    Finding,
    Roles,
    Rule,
    age_ns,
    deny,
    humans,
    in_words,
    known,
    positive,
    some_roles,
    suffice,
)
from perpkit.custody.policy.rules_release import Tier
from perpkit.custody.policy.rules_request import Path
from perpkit.ports.custody.policy import Facts, PolicyChange, Request, Stage
from perpkit.units import HOUR_NS


@attrs.frozen(kw_only=True)
class Change(Rule):
    """Another policy takes over when others than its proposer agree, hours later, and never looser in an incident."""

    kind = "change"

    roles: Roles = attrs.field(validator=some_roles, metadata={"stricter": "higher"})
    delay_hours: int = attrs.field(validator=positive, metadata={"stricter": "higher"})

    def concerns(self, request: Request) -> bool:  # noqa: ARG002 - whatever it is
        """Say no: it judges changes, not requests."""
        return False

    def judge_change(
        self, change: PolicyChange, digest: bytes, facts: Facts, rules: Mapping[str, Rule], proposed: Mapping[str, Rule]
    ) -> Finding | None:
        """Return what is wrong with a change from some rules to others, or None.

        `digest` is what the approvals have to be of. Before the last look, neither approvals nor the delay are asked
        for. An approval by the proposer is not counted: it is a reason to deny.
        """
        proposer = humans(facts, [change.proposer])
        if known(facts.incident, "incident") and (looser := loosened(rules, proposed)):
            return deny(f"Expected no looser rule while an incident is open: {', '.join(looser)}.")
        if facts.stage is Stage.REQUEST:
            return None
        if age_ns(facts, change.proposed_ns, "proposed_ns") < self.delay_hours * HOUR_NS:
            return deny(f"The change was proposed less than {self.delay_hours} hours ago.")
        approvers = humans(facts, [each.person for each in change.approvals if each.digest == digest])
        if both := sorted(proposer.keys() & approvers.keys()):
            return deny(f"{both[0]} is both proposer and approver.")
        if not suffice(approvers, self.roles):
            return deny(f"Expected approvals by {in_words(self.roles)}; was {', '.join(sorted(approvers)) or 'none'}.")
        return None


def loosened(rules: Mapping[str, Rule], proposed: Mapping[str, Rule]) -> list[str]:
    """Return the names of the rules by which a policy may allow what the one before it did not.

    Empty only if no request is judged more kindly: each old rule is still there and at least as strict, and no new one
    opens a path.
    """
    opened = {_way(rule) for rule in rules.values() if isinstance(rule, Path)}
    gone = [name for name, rule in rules.items() if name not in proposed or not _as_strict(rule, proposed[name])]
    added = [
        name
        for name, rule in proposed.items()
        if name not in rules and isinstance(rule, Path) and _way(rule) not in opened
    ]
    return sorted(gone + added)


def _way(path: Path) -> tuple[str, str, str]:
    return path.asset, path.source, path.target


def _as_strict(old: Any, new: Any) -> bool:
    return type(new) is type(old) and all(
        _field_as_strict(field.metadata.get("stricter"), getattr(old, field.name), getattr(new, field.name))
        for field in attrs.fields(type(old))
    )


def _field_as_strict(stricter: str | None, old: Any, new: Any) -> bool:
    """Compare by what a field says makes it stricter; None is no limit, and tiers have to start where they did."""
    if old == new:
        return True
    match stricter, old, new:
        case None, (Tier(), *_), (Tier(), *_):
            return [tier.from_units for tier in old] == [tier.from_units for tier in new] and all(
                _field_as_strict("higher", before.roles, after.roles) for before, after in zip(old, new, strict=True)
            )
        case (None, _, _) | (_, _, None):
            return False
        case _, None, _:
            return True
        case "more", _, _:
            return bool(old <= new)
        case "higher", Mapping(), _:
            return all(new.get(key, 0) >= value for key, value in old.items())
        case "higher", _, _:
            return bool(old <= new)
        case _:
            return bool(new <= old)
