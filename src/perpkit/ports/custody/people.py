"""Who takes part in custody: people, what they may do, and where their keys are."""

from abc import abstractmethod
from typing import Protocol, TypeAlias

import attrs

PersonName: TypeAlias = str
KeyName: TypeAlias = str


@attrs.frozen(kw_only=True)
class Person:
    """A human being, once, however many keys they hold. `public` checks what they sign as themselves: approvals."""

    name: PersonName
    roles: frozenset[str]
    public: bytes


@attrs.frozen(kw_only=True)
class KeyPlace:
    """A key that can sign transactions of a wallet: who holds it, and where. `public` is what the wallet knows of it.

    `online`: whoever breaks into everything that is connected has it.
    """

    key: KeyName
    wallet: str
    person: PersonName
    place: str
    online: bool
    public: bytes


class SignatureScheme(Protocol):
    """How a signature is checked. Which scheme a custody uses is fixed when it is set up."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""
        ...

    @abstractmethod
    def verify(self, public: bytes, digest: bytes, signature: bytes, /) -> bool:
        """Say whether the holder of `public` signed a digest of 32 bytes. Garbage is no."""
        ...


class Pen(Protocol):
    """What a person signs with, as themselves."""

    @property
    @abstractmethod
    def public(self) -> bytes:
        """What others check signatures with."""
        ...

    @abstractmethod
    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest of 32 bytes."""
        ...
