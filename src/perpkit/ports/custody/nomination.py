"""Who signs: drawn so that nobody, not even the operator, can choose, and everybody can check."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

import attrs

from perpkit.ports.custody.people import PersonName


@attrs.frozen(kw_only=True)
class Opening:
    """A draw as it stood before anything random was known.

    `sequence` is the request's number in custody's log, which nobody can choose; `round` a round of the beacon that lay
    in the future when this was written; `attempt` counts from 1.
    """

    sequence: int
    request: bytes
    eligible: tuple[PersonName, ...]
    seats: int
    round: int
    attempt: int


@attrs.frozen(kw_only=True)
class Transcript:
    """Everything about one draw, so that anyone can do it again.

    Commitments and reveals are by person, of 32 bytes; `beacon` is the value of the round. Who committed and did not
    reveal has spoilt this attempt, and is named in `refused` of the next one's transcript. `signatures` are each
    person's own on their commitment: without them a desk could commit and reveal in everybody's name.
    """

    opening: Opening
    commitments: Mapping[PersonName, bytes]
    reveals: Mapping[PersonName, bytes]
    refused: tuple[PersonName, ...]
    beacon: bytes
    nominated: tuple[PersonName, ...]
    signatures: Mapping[PersonName, bytes] = attrs.field(factory=dict)


class BeaconSource(Protocol):
    """Public randomness in numbered rounds. Provisional."""

    @abstractmethod
    def latest(self) -> int:
        """Return the last round whose value is known."""
        ...

    @abstractmethod
    def value(self, number: int, /) -> bytes | None:
        """Return the 32 bytes of a round, or None before its time. The same for ever, once it is deep enough."""
        ...


class Nominator(Protocol):
    """Draws signers. Pure: the secrets are the signers', the randomness the beacon's. Provisional."""

    @abstractmethod
    def open(
        self,
        *,
        sequence: int,
        request: bytes,
        eligible: tuple[PersonName, ...],
        seats: int,
        latest_round: int,
        attempt: int,
    ) -> Opening:
        """Fix everything that must not be chosen later.

        Raises:
            CustodyError: fewer people are eligible than seats are to be filled, or it is one attempt too many.
        """
        ...

    @abstractmethod
    def commitment(self, opening: Opening, person: PersonName, secret: bytes, /) -> bytes:
        """Return what a person publishes before anybody reveals."""
        ...

    @abstractmethod
    def draw(
        self,
        opening: Opening,
        commitments: Mapping[PersonName, bytes],
        reveals: Mapping[PersonName, bytes],
        beacon: bytes,
        refused: tuple[PersonName, ...],
        /,
    ) -> Transcript:
        """Return the transcript with who was drawn.

        Raises:
            CustodyError: somebody eligible has not committed or not revealed, or revealed something else.
        """
        ...

    @abstractmethod
    def verify(self, transcript: Transcript, /) -> bool:
        """Say whether the transcript leads to those who it says were drawn. Whose the signatures are, others check."""
        ...
