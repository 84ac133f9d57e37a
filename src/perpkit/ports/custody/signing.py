"""Who lets it go: the release that an HSM gate signs, and signers who believe nobody else."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

import attrs

from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import Transcript
from perpkit.ports.custody.people import KeyName, PersonName
from perpkit.ports.custody.policy import Approval, PolicyChange, PolicyEngine, Request
from perpkit.ports.custody.wallet import Effects, Partial, UnsignedTransaction


@attrs.frozen(kw_only=True)
class Release:
    """The gate's word that one draft may be signed, by whom, and under which policy.

    `request`, `policy` and `nomination` are digests; `counter` makes each release the only one of its number.
    """

    withdrawal_id: int
    request: bytes
    txid: bytes
    policy: bytes
    nomination: bytes
    nominated: tuple[PersonName, ...]
    counter: int
    signature: bytes = b""


@attrs.frozen(kw_only=True)
class Refusal:
    """Somebody will not take part.

    `by` is a person, a key, `policy`, `gate` or `chain`; `rule` names what stopped it.
    """

    by: str
    rule: str
    reason: str


@attrs.frozen(kw_only=True)
class Case:
    """Everything about one withdrawal that whoever signs has to see.

    `taken_on` is signed by the person who decided what the policy would not decide by machine.
    """

    request: Request
    unsigned: UnsignedTransaction
    nomination: Transcript
    approvals: tuple[Approval, ...]
    taken_on: Approval | None = None


class HsmGate(Protocol):
    """Stands before the HSM's key and lets it sign only what policy and nomination allow. Provisional.

    It keeps its own pinned policy, people and wallet, and its own memory of what it released, and believes the desk
    nothing: it works the effects out of the draft, checks every approval's signature, and draws the nominated again.
    """

    @abstractmethod
    def attest(self) -> Attestation:
        """Return what the device shows for itself now."""
        ...

    @abstractmethod
    def release(self, case: Case, /) -> Release | Refusal:
        """Let a draft be signed, once.

        The same draft gets the same release again; another draft of the same request only when it spends a coin of
        the first, so that at most one of the two is ever mined.
        """
        ...

    @abstractmethod
    def cosign(
        self, release: Release, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /
    ) -> Partial | Refusal:
        """Add the HSM's own signature, where the wallet's scripts demand one, after those of the nominated."""
        ...

    @abstractmethod
    def adopt(self, change: PolicyChange, policy: PolicyEngine, /) -> Refusal | None:
        """Pin another policy, if the pinned one allows the change. Idempotent: what is pinned may be adopted again."""
        ...


class Signer(Protocol):
    """One person's key, wherever it is kept. It believes nobody: it works everything out again. Provisional."""

    @property
    @abstractmethod
    def key(self) -> KeyName:
        """The key's name."""
        ...

    @abstractmethod
    def review(self, case: Case, release: Release, /) -> Effects | Refusal:
        """Work out what a draft does and whether it is what was asked for and released, for this signer."""
        ...

    @abstractmethod
    def sign(self, case: Case, release: Release, /) -> Partial | Refusal:
        """Review, and sign."""
        ...
