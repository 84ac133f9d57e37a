"""One digest for everything that people sign or that a log chains: the same bytes on every machine."""

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

import attrs

from perpkit.errors import CustodyError
from perpkit.ports.custody.nomination import Transcript
from perpkit.ports.custody.policy import PolicyChange, Request
from perpkit.ports.custody.signing import Release
from perpkit.ports.custody.wallet import UnsignedTransaction


def canonical(value: object) -> Any:
    """Return a value as JSON can hold it: attrs classes by field, bytes in hex, enums by name, sets sorted.

    Raises:
        CustodyError: something in it has no one form, such as a float.
    """
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if attrs.has(cls := type(value)):
        return {field.name: canonical(getattr(value, field.name)) for field in attrs.fields(cls)}
    if isinstance(value, Mapping):
        return {_key(key): canonical(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [canonical(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(canonical, value))
    raise CustodyError(f"expected what has one canonical form, was {type(value).__name__} {value!r}")


def canonical_bytes(value: object) -> bytes:
    """Return the JSON of a value: keys sorted, no spaces, ASCII."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":")).encode()


def digest(domain: str, value: object) -> bytes:
    """Return the SHA-256 of a value under a domain, so that a digest of one kind never passes for another.

    Example:
        >>> digest("request", {"amount_units": 5}).hex()[:8]
        '8ece61b1'
    """
    name = domain.encode()
    return hashlib.sha256(b"perpkit/" + bytes([len(name)]) + name + canonical_bytes(value)).digest()


def request_digest(request: Request) -> bytes:
    """Return what people sign who agree to a request."""
    return digest("request", request)


def change_digest(change: PolicyChange) -> bytes:
    """Return what people sign who agree to a change of policy: all of it but the approvals."""
    return digest("policy-change", attrs.evolve(change, approvals=()))


def transcript_digest(transcript: Transcript) -> bytes:
    """Return what a release names a nomination by."""
    return digest("nomination", transcript)


def release_digest(release: Release) -> bytes:
    """Return what the gate's key signs: all of a release but the signature."""
    return digest("release", attrs.evolve(release, signature=b""))


def draft_digest(unsigned: UnsignedTransaction) -> bytes:
    """Return what a gate and a signer remember a draft by: its bytes too, not only what they are said to be."""
    return digest("draft", unsigned)


def _key(key: object) -> str:
    if isinstance(key, bytes):
        return key.hex()
    return key.name if isinstance(key, Enum) else str(key)
