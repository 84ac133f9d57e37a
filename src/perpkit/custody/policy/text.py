"""Reads a policy from TOML."""

import re
import tomllib
from typing import Any

import attrs

from perpkit.custody.policy.change import Change
from perpkit.custody.policy.rule import POLICY, Rule, Scoped
from perpkit.custody.policy.rules_release import Hsm, Idempotency, Nomination, Quorum, Segregation, Shape
from perpkit.custody.policy.rules_request import (
    CoolDown,
    Destinations,
    Halt,
    Limit,
    Path,
    Reconciliation,
    StepUp,
    Velocity,
    Window,
)
from perpkit.errors import ConfigError
from perpkit.plugin.hint import did_you_mean
from perpkit.plugin.structure import new_converter, structure

VERSION = 1
KINDS: dict[str, type[Rule]] = {
    kind.kind: kind
    for kind in (
        Halt, Destinations, CoolDown, Limit, Velocity, Quorum, Segregation, Nomination, Path, Window, Shape, Hsm,
        Reconciliation, Idempotency, StepUp, Change,
    )
}  # fmt: skip
"""Every kind of rule by the name that a policy gives it."""

_CONVERTER = new_converter()


@attrs.frozen
class _File:
    version: int
    name: str
    rules: dict[str, dict[str, Any]]


def read_toml(text: str, what: str) -> dict[str, Any]:
    """Return the tables of a TOML text; `what` it is goes into the message.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        raise ConfigError(f"{what}: expected TOML: {error}") from error


def read_policy(text: str) -> tuple[int, str, dict[str, Rule]]:
    """Return version, name and rules of a policy.

    Raises:
        ConfigError: see `load_policy`.
    """
    file = structure(_CONVERTER, read_toml(text, "policy"), _File, "")
    if file.version != VERSION:
        raise ConfigError(f"version: expected {VERSION}, was {file.version}")
    rules = {name: _rule(name, table) for name, table in file.rules.items()}
    movable = sorted({rule.asset for rule in rules.values() if isinstance(rule, Path)})
    if not movable:
        raise ConfigError("rules: expected one of the kind path, without which nothing may leave")
    for name, rule in rules.items():
        # A misspelled asset would make a rule that never applies.
        if isinstance(rule, Scoped) and rule.asset and rule.asset not in movable:
            raise ConfigError(
                f"rules.{name}.asset: expected one that has a path, {', '.join(movable)}; was {rule.asset!r}"
                f"{did_you_mean(rule.asset, movable)}"
            )
    return file.version, file.name, rules


def _rule(name: str, table: dict[str, Any]) -> Rule:
    where = f"rules.{name}"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or name == POLICY:
        raise ConfigError(f"{where}: expected a name of lower-case words with hyphens other than {POLICY!r}")
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS)
        raise ConfigError(f"{where}.kind: expected one of {', '.join(KINDS)}; was {kind!r}{hint}")
    return structure(_CONVERTER, {key: value for key, value in table.items() if key != "kind"}, KINDS[kind], where)
