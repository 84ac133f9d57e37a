"""Signers drawn by commit, beacon and reveal: nobody can choose them, and everybody can draw them again."""

import hashlib
from collections.abc import Mapping

import attrs

from perpkit.custody.digest import digest
from perpkit.errors import CustodyError
from perpkit.ports.custody.nomination import Opening, Transcript
from perpkit.ports.custody.people import PersonName

SECRET_BYTES = 32


@attrs.frozen(kw_only=True)
class CommitReveal:
    """Draws by the secrets of everybody eligible and a round of the beacon that lay in the future.

    One secret that was kept is enough to make the draw fair; the beacon makes it so even when all of them conspire.
    Whoever reveals last learns the outcome first and can spoil the attempt by not revealing. That costs them their own
    seat in the next one, a new round's delay, and one of `attempts_max`; then people decide. No attempt is repeated
    without somebody who is named for it, so that the operator cannot try for better luck.

    What this cannot see: a desk that says of somebody that they refused, and never asked them. Its log names who did,
    and they can object; nobody can be left out without being named. And a person's machine must commit once to an
    attempt at a request: whoever answers two openings of one lets the desk pick.

    Units:
        `rounds_ahead` in rounds of the beacon.

    Source:
        The shuffle is that of Fisher and Yates. Numbers come from SHA-256 over the seed and a counter; those that are
        too large are thrown away, so no remainder favours anybody.
    """

    attempts_max: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    rounds_ahead: int = attrs.field(default=1, validator=attrs.validators.ge(1))

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
        """Fix who is eligible, in order of name, and the round."""
        opening = Opening(
            sequence=sequence,
            request=request,
            eligible=tuple(sorted(eligible)),
            seats=seats,
            round=latest_round + self.rounds_ahead,
            attempt=attempt,
        )
        self._check(opening)
        return opening

    def commitment(self, opening: Opening, person: PersonName, secret: bytes, /) -> bytes:
        """Return the digest of a secret for this draw and this person, so that nobody can copy another's."""
        return _commitment(digest("opening", opening), person, secret)

    def draw(
        self,
        opening: Opening,
        commitments: Mapping[PersonName, bytes],
        reveals: Mapping[PersonName, bytes],
        beacon: bytes,
        refused: tuple[PersonName, ...],
        /,
    ) -> Transcript:
        """Shuffle the eligible by all that was revealed and seat the first."""
        self._check(opening)
        for name, told in (("commitments", commitments), ("reveals", reveals)):
            if told.keys() != set(opening.eligible):
                raise CustodyError(f"expected {name} of {opening.eligible}, had those of {tuple(sorted(told))}")
        fixed = digest("opening", opening)
        for person, secret in reveals.items():
            if len(secret) != SECRET_BYTES or _commitment(fixed, person, secret) != commitments[person]:
                raise CustodyError(f"{person} has revealed something else than what they committed to")
        if len(beacon) != 32:
            raise CustodyError(f"expected 32 bytes of the beacon, was {len(beacon)}")
        if set(refused) & set(opening.eligible) or list(refused) != sorted(set(refused)):
            raise CustodyError(f"expected people who are not eligible, in order of name, as the refused, was {refused}")
        if len(refused) < opening.attempt - 1 or (refused and opening.attempt == 1):
            raise CustodyError(f"expected somebody to have spoilt each attempt before {opening.attempt}, was {refused}")
        seed = digest("draw", [fixed, sorted(reveals.items()), beacon])
        return Transcript(
            opening=opening,
            commitments=dict(commitments),
            reveals=dict(reveals),
            refused=refused,
            beacon=beacon,
            nominated=_seated(seed, opening.eligible, opening.seats),
        )

    def verify(self, transcript: Transcript, /) -> bool:
        """Draw again and compare everything but the signatures, which take people's keys to check."""
        try:
            again = self.draw(
                transcript.opening,
                transcript.commitments,
                transcript.reveals,
                transcript.beacon,
                transcript.refused,
            )
        except CustodyError:
            return False
        return attrs.evolve(again, signatures=transcript.signatures) == transcript

    def _check(self, opening: Opening) -> None:
        if not 1 <= opening.attempt <= self.attempts_max:
            raise CustodyError(f"expected an attempt from 1 to {self.attempts_max}, was {opening.attempt}")
        if list(opening.eligible) != sorted(set(opening.eligible)):
            raise CustodyError(f"expected everybody once, in order of name, was {opening.eligible}")
        if not 1 <= opening.seats <= len(opening.eligible):
            raise CustodyError(f"expected from 1 to {len(opening.eligible)} seats, was {opening.seats}")


def _commitment(opening: bytes, person: PersonName, secret: bytes) -> bytes:
    return digest("commitment", [opening, person, secret])


def _seated(seed: bytes, eligible: tuple[PersonName, ...], seats: int) -> tuple[PersonName, ...]:
    people, counter = list(eligible), 0
    for seat in range(seats):
        left = len(people) - seat
        offset = left
        while offset >= left:
            block = hashlib.sha256(seed + counter.to_bytes(8, "big")).digest()
            offset = int.from_bytes(block, "big") >> (256 - (left - 1).bit_length())
            counter += 1
        people[seat], people[seat + offset] = people[seat + offset], people[seat]
    return tuple(people[:seats])
