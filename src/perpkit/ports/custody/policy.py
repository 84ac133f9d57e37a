"""What may leave: a request, the facts about it, and the engine that judges."""

from abc import abstractmethod
from collections.abc import Mapping
from enum import IntEnum
from typing import Protocol

import attrs

from perpkit.model.ids import AccountId
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import Transcript
from perpkit.ports.custody.people import KeyPlace, Person, PersonName
from perpkit.ports.custody.wallet import Effects
from perpkit.units import Nanos, Units


class Verdict(IntEnum):
    """What a policy says. Anything but ALLOW keeps the money where it is."""

    DENY = 0
    STEP_UP = 1
    """Not by machine: a person with the role that the policy names has to take it on."""
    ALLOW = 2


class Stage(IntEnum):
    """When a request is judged. Every rule judges at each stage what it can know by then."""

    REQUEST = 1
    """Before anybody is asked."""
    RELEASE = 2
    """Everybody has agreed and the draft is made: the last look, by the HSM gate too."""


@attrs.frozen(kw_only=True)
class Request:
    """What somebody asks custody to send.

    `source` and `target` are `deposit`, `cold`, `hot`, `client` or `house`. `initiator` is the person of the house who
    asked, or empty when it was the account's owner. `destination` is the number in the address book, `script` where
    that leads; a move between own wallets has destination 0.
    """

    withdrawal_id: int
    asset: str
    account: AccountId
    amount_units: Units
    destination: int
    script: bytes
    source: str
    target: str
    initiator: PersonName
    requested_ns: Nanos


@attrs.frozen(kw_only=True)
class Destination:
    """An entry of the address book. It may be used from `active_ns` on; `approved_by` signed for it."""

    number: int
    account: AccountId
    script: bytes
    added_ns: Nanos
    active_ns: Nanos
    approved_by: tuple[PersonName, ...]


@attrs.frozen(kw_only=True)
class Approval:
    """A person agrees to a request, or to a change of policy, by signing its digest."""

    person: PersonName
    digest: bytes
    signature: bytes
    at_ns: Nanos


@attrs.frozen(kw_only=True)
class Past:
    """An earlier request that was allowed and has not been given back: it counts from when it was allowed."""

    account: AccountId
    asset: str
    source: str
    target: str
    amount_units: Units
    at_ns: Nanos


@attrs.frozen(kw_only=True)
class Facts:
    """What is known about a request. None is unknown, and a rule that needs it denies.

    `switched_off` holds `all`, or names of assets and wallets. `changes` says when something about the account last
    changed, by what it was: `password`, `two-factor`, `e-mail`, `device`. `signed` holds the digests of requests, with
    the transactions, that were signed before.
    """

    stage: Stage
    now_ns: Nanos
    people: Mapping[PersonName, Person]
    keys: tuple[KeyPlace, ...]
    switched_off: frozenset[str] = frozenset()
    incident: bool | None = None
    destination: Destination | None = None
    changes: Mapping[str, Nanos] | None = None
    wallet_units: Units | None = None
    past: tuple[Past, ...] | None = None
    reconciled_ns: Nanos | None = None
    attestation: Attestation | None = None
    approvals: tuple[Approval, ...] = ()
    stepped_up: bool = False
    nomination: Transcript | None = None
    effects: Effects | None = None
    signed: Mapping[bytes, bytes] | None = None


@attrs.frozen(kw_only=True)
class Decision:
    """What was decided, why, under which policy and on which facts: what an auditor reads.

    `rules` names every rule that did not simply agree, `reasons` has a sentence for each. With the verdict STEP_UP, a
    person with all of the roles `step_up` has to take it on.
    """

    verdict: Verdict
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    policy: bytes
    inputs: bytes
    step_up: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PolicyChange:
    """Somebody proposes another policy: `text` in place of the one with the digest `previous`."""

    text: str
    previous: bytes
    proposer: PersonName
    proposed_ns: Nanos
    approvals: tuple[Approval, ...] = ()


class PolicyEngine(Protocol):
    """Judges by one version of a policy. Deny by default; any deny wins; any error is a deny. Provisional."""

    @property
    @abstractmethod
    def digest(self) -> bytes:
        """The SHA-256 of the policy's canonical form: what the HSM gate pins."""
        ...

    @abstractmethod
    def quorum(self, request: Request, /) -> Mapping[str, int]:
        """Return how many approvals a request needs, of each role."""
        ...

    @abstractmethod
    def evaluate(self, request: Request, facts: Facts, /) -> Decision:
        """Judge a request. Never raises."""
        ...

    @abstractmethod
    def change(self, change: PolicyChange, facts: Facts, /) -> Decision:
        """Judge a change of the policy itself, at `facts.now_ns`. Never raises."""
        ...
