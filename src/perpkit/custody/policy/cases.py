"""Cases to try a policy on: a request, what is known about it, and what the policy should say."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs

from perpkit.custody.digest import request_digest
from perpkit.custody.move import is_move
from perpkit.custody.policy.text import read_toml
from perpkit.errors import ConfigError
from perpkit.plugin.hint import did_you_mean
from perpkit.plugin.structure import new_converter, structure
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import Opening, Transcript
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.ports.custody.policy import (
    Approval,
    Decision,
    Destination,
    Facts,
    Past,
    PolicyEngine,
    Request,
    Stage,
    Verdict,
)
from perpkit.ports.custody.wallet import Effects
from perpkit.units import SECOND_NS, Nanos, Units

A = TypeVar("A")
B = TypeVar("B")
VERDICTS = {verdict.name.lower().replace("_", "-"): verdict for verdict in Verdict}
STAGES = {stage.name.lower(): stage for stage in Stage}
ANOTHER = bytes(32)
"""The digest of a request that is not the one of the case."""


@attrs.frozen(kw_only=True)
class _Request:
    asset: str
    amount_units: Units
    source: str
    target: str
    withdrawal_id: int = 1
    account: int = 0
    destination: int = 0
    script: bytes = b""
    initiator: str = ""


@attrs.frozen(kw_only=True)
class _Destination:
    added: datetime
    approved_by: tuple[str, ...]
    active: datetime | None = None
    account: int | None = None
    script: bytes | None = None


@attrs.frozen(kw_only=True)
class _Past:
    at: datetime
    amount_units: Units
    account: int
    source: str
    target: str


@attrs.frozen(kw_only=True)
class _Nomination:
    nominated: tuple[str, ...]
    eligible: tuple[str, ...] | None = None
    seats: int | None = None
    another_request: bool = False


@attrs.frozen(kw_only=True)
class _Draft:
    payment_units: Units
    fee_units: Units
    virtual_bytes: int
    change_units: Units = 0
    script: bytes | None = None
    unknown: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class _Facts:
    now: datetime
    people: dict[str, frozenset[str]] = attrs.field(factory=dict)
    keys: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    switched_off: frozenset[str] = frozenset()
    destination: _Destination | None = None
    changes: dict[str, datetime] | None = None
    wallet_units: Units | None = None
    past: tuple[_Past, ...] | None = None
    reconciled: datetime | None = None
    attestation: Attestation | None = None
    approvals: tuple[str, ...] = ()
    approvals_of_another: tuple[str, ...] = ()
    stepped_up: bool = False
    nomination: _Nomination | None = None
    draft: _Draft | None = None
    signed_before: bool | None = None


@attrs.frozen(kw_only=True)
class _Case:
    expect: str
    stage: str = "release"
    rules: frozenset[str] | None = None
    unknown: frozenset[str] = frozenset()
    request: dict[str, Any] = attrs.field(factory=dict)
    facts: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class _Defaults:
    request: dict[str, Any] = attrs.field(factory=dict)
    facts: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class _File:
    defaults: _Defaults = _Defaults()
    cases: dict[str, _Case]


@attrs.frozen(kw_only=True)
class PolicyCase:
    """One case: what to ask, and what to expect. `rules` is None when it does not matter which rules object."""

    name: str
    request: Request
    facts: Facts
    expected: Verdict
    rules: frozenset[str] | None

    def is_met(self, decision: Decision) -> bool:
        """Say whether a decision is what was expected."""
        return decision.verdict is self.expected and self.rules in (None, frozenset(decision.rules))

    def judged(self, policy: PolicyEngine) -> Decision:
        """Return what a policy says."""
        return policy.evaluate(self.request, self.facts)


def read_cases(text: str) -> tuple[PolicyCase, ...]:
    """Return the cases that a text in TOML describes, in its order.

    Raises:
        ConfigError: it is not TOML, or something in it is unknown or missing; the message says what and where.
    """
    file = structure(_CONVERTER, read_toml(text, "cases"), _File, "")
    if not file.cases:
        raise ConfigError("cases: expected at least one")
    return tuple(_case(name, case, file.defaults) for name, case in file.cases.items())


def _case(name: str, case: _Case, defaults: _Defaults) -> PolicyCase:
    where = f"cases.{name}"
    if unknown := sorted(case.unknown - attrs.fields_dict(_Facts).keys()):
        raise ConfigError(f"{where}.unknown: expected facts, was {unknown[0]!r}")
    tables = {key: fact for key, fact in {**defaults.facts, **case.facts}.items() if key not in case.unknown}
    facts = structure(_CONVERTER, tables, _Facts, f"{where}.facts")
    asked = structure(_CONVERTER, {**defaults.request, **case.request}, _Request, f"{where}.request")
    request = Request(**attrs.asdict(asked), requested_ns=_ns(facts.now))
    return PolicyCase(
        name=name,
        request=request,
        facts=_facts(facts, request, _one_of(STAGES, case.stage, f"{where}.stage")),
        expected=_one_of(VERDICTS, case.expect, f"{where}.expect"),
        rules=case.rules,
    )


def _one_of(members: Mapping[str, Any], word: str, where: str) -> Any:
    if word not in members:
        raise ConfigError(f"{where}: expected one of {', '.join(members)}; was {word!r}{did_you_mean(word, members)}")
    return members[word]


def _facts(facts: _Facts, request: Request, stage: Stage) -> Facts:
    digest = request_digest(request)
    return Facts(
        stage=stage,
        now_ns=_ns(facts.now),
        people={name: Person(name=name, roles=roles, public=b"") for name, roles in facts.people.items()},
        keys=tuple(_key(wallet, name) for wallet, names in facts.keys.items() for name in names),
        switched_off=facts.switched_off,
        destination=_made(facts.destination, lambda entry: _destination(entry, request)),
        changes=_made(facts.changes, lambda changes: {what: _ns(at) for what, at in changes.items()}),
        wallet_units=facts.wallet_units,
        past=_made(facts.past, lambda past: tuple(_past(each, request) for each in past)),
        reconciled_ns=_made(facts.reconciled, _ns),
        attestation=facts.attestation,
        approvals=tuple(
            Approval(person=name, digest=of, signature=b"", at_ns=_ns(facts.now))
            for of, names in ((digest, facts.approvals), (ANOTHER, facts.approvals_of_another))
            for name in names
        ),
        stepped_up=facts.stepped_up,
        nomination=_made(facts.nomination, lambda draw: _transcript(draw, digest)),
        effects=_made(facts.draft, lambda draft: _effects(draft, request)),
        signed=_made(facts.signed_before, lambda before: {digest: b""} if before else {}),
    )


def _made(fact: A | None, make: Callable[[A], B]) -> B | None:
    return None if fact is None else make(fact)


def _key(wallet: str, name: str) -> KeyPlace:
    return KeyPlace(key=f"{wallet}-{name}", wallet=wallet, person=name, place="", online=False, public=b"")


def _destination(entry: _Destination, request: Request) -> Destination:
    return Destination(
        number=request.destination,
        account=request.account if entry.account is None else entry.account,
        script=request.script if entry.script is None else entry.script,
        added_ns=_ns(entry.added),
        active_ns=_ns(entry.active or entry.added),
        approved_by=entry.approved_by,
    )


def _past(past: _Past, request: Request) -> Past:
    return Past(
        account=past.account, asset=request.asset, source=past.source, target=past.target,
        amount_units=past.amount_units, at_ns=_ns(past.at),
    )  # fmt: skip


def _transcript(draw: _Nomination, digest: bytes) -> Transcript:
    opening = Opening(
        sequence=1,
        request=ANOTHER if draw.another_request else digest,
        eligible=draw.nominated if draw.eligible is None else draw.eligible,
        seats=len(draw.nominated) if draw.seats is None else draw.seats,
        round=1,
        attempt=1,
    )
    return Transcript(
        opening=opening, commitments={}, reveals={}, refused=(), beacon=bytes(32), nominated=draw.nominated
    )


def _effects(draft: _Draft, request: Request) -> Effects:
    change = (Output(b"change", draft.change_units),) if draft.change_units else ()
    own, payer = Outpoint(bytes(32), 0), Outpoint(bytes(32), 1)
    return Effects(
        spends=(
            (own, Output(b"own", draft.payment_units + draft.change_units)),
            (payer, Output(b"own", draft.fee_units)),
        ),
        payments=(Output(request.script if draft.script is None else draft.script, draft.payment_units),),
        change=change,
        fee_units=draft.fee_units,
        virtual_bytes=draft.virtual_bytes,
        unknown=draft.unknown,
        house_spends=(payer,) if is_move(request) else (),
    )


def _ns(at: datetime) -> Nanos:
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1_000


def _aware(value: object, _: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"expected a time with its offset, like 2026-03-02T09:30:00Z, was {value!r}")
    return value


def _hex(value: object, _: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"expected hex text, was {value!r}")
    return bytes.fromhex(value)


_CONVERTER = new_converter()
_CONVERTER.register_structure_hook(datetime, _aware)
_CONVERTER.register_structure_hook(bytes, _hex)
