"""Signatures for simulation: fast, without a library, and worthless, because whoever can check one can make one."""

import hmac

import attrs


def _mac(secret: bytes, digest: bytes) -> bytes:
    return hmac.digest(secret, digest, "sha256")


@attrs.frozen
class HmacScheme:
    """INSECURE on purpose, for simulation and tests: the public half of a key is the secret itself."""

    name: str = "hmac-sha256-insecure"

    def verify(self, public: bytes, digest: bytes, signature: bytes, /) -> bool:
        """Make the signature again and compare."""
        return hmac.compare_digest(_mac(public, digest), signature)


@attrs.frozen
class HmacPen:
    """INSECURE on purpose, for simulation and tests: what it shows as public is its secret."""

    secret: bytes = attrs.field(repr=False)

    @property
    def public(self) -> bytes:
        """The secret: that is what makes this a toy."""
        return self.secret

    def sign(self, digest: bytes, /) -> bytes:
        """Return the HMAC-SHA256 of a digest."""
        return _mac(self.secret, digest)
