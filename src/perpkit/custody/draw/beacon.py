"""Public randomness out of a chain: nobody can choose a block's hash without throwing blocks away."""

import hashlib

import attrs

from perpkit.ports.custody.chain import ChainSource


@attrs.frozen
class ChainBeacon:
    """The round is a height, its value the SHA-256 of that block's hash once it has `depth` confirmations.

    The latest round is the tip, although its value is told only later: everybody can work it out already, so that a
    draw which is fixed on a later round is fixed on a block that nobody has seen.

    Raises:
        ChainError: the node cannot be reached.
    """

    chain: ChainSource
    depth: int = attrs.field(validator=attrs.validators.ge(1))

    def latest(self) -> int:
        """Return the height of the tip."""
        return self.chain.tip().height

    def value(self, number: int, /) -> bytes | None:
        """Return the value of a height, or None while the chain may still take the block back."""
        if not 0 <= number <= self.latest() - self.depth + 1:
            return None
        return hashlib.sha256(self.chain.block(number).ref.hash).digest()
