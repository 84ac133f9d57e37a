"""How people and HSMs sign here: ECDSA as tokens give it, or BIP-340 for people who prefer it."""

import coincurve

from perpkit.errors import CustodyError

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""The order of secp256k1."""


class EcdsaScheme:
    """ECDSA on secp256k1. A public key has 33 bytes, a signature 64: r, then s in the lower half.

    Every other form is no: there is one way to write a good signature, so that none can be written anew.
    """

    name = "ecdsa-secp256k1"

    def verify(self, public: bytes, digest: bytes, signature: bytes, /) -> bool:
        """Say whether the holder of `public` signed a digest."""
        if len(public) != 33 or len(digest) != 32 or len(signature) != 64 or not is_low(signature):
            return False
        try:
            return bool(coincurve.PublicKey(public).verify(der_of(signature), digest, hasher=None))
        except ValueError:
            return False


class SchnorrScheme:
    """BIP-340: a public key has 32 bytes, a signature 64."""

    name = "bip-340"

    def verify(self, public: bytes, digest: bytes, signature: bytes, /) -> bool:
        """Say whether the holder of `public` signed a digest."""
        if len(public) != 32 or len(digest) != 32 or len(signature) != 64:
            return False
        try:
            return bool(coincurve.PublicKeyXOnly(public).verify(signature, digest))
        except ValueError:
            return False


class EitherScheme:
    """Each key says how its holder signs: BIP-340 where it has 32 bytes, ECDSA where it has any other number."""

    name = "secp256k1"

    def verify(self, public: bytes, digest: bytes, signature: bytes, /) -> bool:
        """Say whether the holder of `public` signed a digest."""
        scheme = SchnorrScheme() if len(public) == 32 else EcdsaScheme()
        return scheme.verify(public, digest, signature)


class EcdsaPen:
    """Signs for `EcdsaScheme` with a secret of 32 bytes; the same digest always gets the same signature."""

    def __init__(self, secret: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)

    @property
    def public(self) -> bytes:
        """Return the public key."""
        return bytes(self._key.public_key.format())

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest."""
        return compact_of(self._key.sign(digest, hasher=None))


class SchnorrPen:
    """Signs for `SchnorrScheme` with a secret of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)

    @property
    def public(self) -> bytes:
        """Return the public key, whose sign nobody needs."""
        return bytes(self._key.public_key.format()[1:])

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest."""
        return bytes(self._key.sign_schnorr(digest))


def is_low(signature: bytes) -> bool:
    """Say whether s lies in the lower half: of the two that are good, the one that the network relays."""
    return 2 * int.from_bytes(signature[32:], "big") <= ORDER


def low_s(signature: bytes) -> bytes:
    """Return r and s, as a PKCS#11 token gives them, with s in the lower half.

    Example:
        >>> low_s(bytes(31) + b"\\x05" + (ORDER - 7).to_bytes(32, "big"))[-1]
        7
    """
    if len(signature) != 64:
        raise CustodyError(f"expected r and s of 32 bytes each, was {len(signature)} bytes")
    s = int.from_bytes(signature[32:], "big")
    return signature if is_low(signature) else signature[:32] + (ORDER - s).to_bytes(32, "big")


def der_of(signature: bytes) -> bytes:
    """Return r and s of 32 bytes each as scripts want them: two DER integers."""
    body = b"".join(_integer(part) for part in (signature[:32], signature[32:]))
    return b"\x30" + bytes((len(body),)) + body


def compact_of(der: bytes) -> bytes:
    """Return a DER signature as r and s of 32 bytes each.

    Raises:
        CustodyError: it is not written the one way that DER allows.
    """
    length = der[3] if len(der) > 3 else 0
    parts = (der[4 : 4 + length], der[6 + length :])
    numbers = [int.from_bytes(part, "big") for part in parts]
    if max(numbers) < ORDER:
        signature = b"".join(each.to_bytes(32, "big") for each in numbers)
        if der_of(signature) == der:
            return signature
    raise CustodyError(f"expected a signature in DER, was {der.hex()}")


def _integer(part: bytes) -> bytes:
    digits = part.lstrip(b"\x00")
    padded = b"\x00" + digits if not digits or digits[0] >= 0x80 else digits
    return b"\x02" + bytes((len(padded),)) + padded
