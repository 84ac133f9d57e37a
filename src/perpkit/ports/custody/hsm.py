"""A device that holds a key, and what it can show for itself."""

from abc import abstractmethod
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Attestation:
    """What an HSM can show for itself, level by level.

    `identity`: it is the device that was enrolled. `provenance`: the key was made inside and never could leave.
    `liveness`: it signs a fresh number, and its counter has only grown. `vendor`: the maker's own signature says so;
    the first three are the device's word, which a copy of a software token gives as well, so only this one is called
    untampered. `problems` says in words what is missing.
    """

    identity: bool
    provenance: bool
    liveness: bool
    vendor: bool
    problems: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether all that the device can say of itself is in order."""
        return self.identity and self.provenance and self.liveness

    @property
    def untampered(self) -> bool:
        """Whether the maker vouches for the device."""
        return self.healthy and self.vendor


class HsmToken(Protocol):
    """A device with one key that does not leave it. Provisional.

    Raises:
        CustodyError: the device is gone, locked, or not the one that was enrolled.
    """

    @property
    @abstractmethod
    def public(self) -> bytes:
        """The key's public half."""
        ...

    @abstractmethod
    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest of 32 bytes, in the form that the custody's signature scheme checks."""
        ...

    @abstractmethod
    def attest(self, nonce: bytes, /) -> Attestation:
        """Show what can be shown, over a number that was just made up."""
        ...

    @abstractmethod
    def advance(self) -> int:
        """Count a release, durably, and return the new count; it never goes back."""
        ...

    @property
    @abstractmethod
    def counter(self) -> int:
        """How many releases were counted."""
        ...
