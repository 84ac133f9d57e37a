"""A secp256k1 key in a PKCS#11 token: made inside, never outside, counted and attested."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import attrs
import coincurve
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from perpkit.errors import CustodyError
from perpkit.ports.custody.hsm import Attestation

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The number of points of secp256k1. Of two values of s that both verify, networks pass on the lower only."""

MADE_INSIDE: Mapping[Attribute, object] = {
    Attribute.LOCAL: True,
    Attribute.KEY_GEN_MECHANISM: Mechanism.EC_KEY_PAIR_GEN,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.PRIVATE: True,
    Attribute.MODIFIABLE: False,
    Attribute.SIGN: True,
    Attribute.DERIVE: False,
}
"""What the attributes of a key say that was made in the token and can do nothing but sign."""

NO_VENDOR = "PKCS#11 carries no proof of the maker: a copy of a software token would say the same"


@attrs.frozen(kw_only=True)
class Enrolment:
    """What was found when the key was made. Kept by whoever checks the device later: a difference fails closed.

    `library` is the PKCS#11 module's path and `library_sha256` its digest in hex; `public` is the compressed key.
    """

    library: str
    library_sha256: str
    token: str
    serial: str
    model: str
    manufacturer: str
    firmware: str
    key: str
    public: bytes


def enrol(*, library: str | Path, token: str, key: str, pin: str) -> Enrolment:
    """Make a key in a token, with a release counter beside it, and return what to pin.

    Raises:
        CustodyError: there is no such token, the PIN is wrong, a key of that name is there already, or the key that was
            made is not what was asked for.

    Example:
        A token `custody` that was initialised with a PIN::

            enrolment = enrol(library="/usr/lib/softhsm/libsofthsm2.so", token="custody", key="release", pin=pin)
            token = Pkcs11Token(enrolment, pin)
    """
    with _session(str(library), token, pin) as session:
        if _objects(session, ObjectClass.PRIVATE_KEY, key):
            raise CustodyError(f"token {token!r}: expected no key {key!r} yet; enrol under another name")
        curve = encode_named_curve_parameters("secp256k1")
        domain = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
        wanted = (Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.PRIVATE, Attribute.SIGN, Attribute.DERIVE)
        domain.generate_keypair(
            store=True,
            label=key,
            id=key.encode(),
            mechanism=Mechanism.EC_KEY_PAIR_GEN,
            private_template={each: MADE_INSIDE[each] for each in (*wanted, Attribute.MODIFIABLE)},
        )
        _put_count(session, key, 0)
        made = _private(session, key)
        if problems := tuple(_outside(made)):
            made.destroy()
            raise CustodyError(f"token {token!r}: the key {key!r} {'; '.join(problems)}")
        public = _public(session, key)
    return Enrolment(public=public, key=key, **_identity(str(library), token))


class Pkcs11Token:
    """`perpkit.ports.custody.hsm.HsmToken` over a token that was enrolled.

    A session is opened for each call and closed after it, so a token that is pulled out is noticed by the next. The
    counter is a private object in the token: a new one is written before the old one goes, and the higher counts.

    Raises:
        CustodyError: from every call, when the device is gone, locked, or not the one that was enrolled.
    """

    def __init__(self, enrolment: Enrolment, pin: str) -> None:
        self._enrolment, self._pin = enrolment, pin
        self._seen = self.counter

    @classmethod
    def open(cls, options: Mapping[str, Any], pin: str) -> Self:
        """Return the token of an enrolment written as a table, with `public` in hex."""
        names = {field.name for field in attrs.fields(Enrolment)}
        if names ^ set(options):
            raise CustodyError(f"HSM: expected {sorted(names)}, found {sorted(options)}")
        return cls(Enrolment(**{**options, "public": bytes.fromhex(options["public"])}), pin)

    @property
    def public(self) -> bytes:
        """The pinned public key, compressed."""
        return self._enrolment.public

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest: r and s, 32 bytes each, s in the lower half as networks want it."""
        if len(digest) != hashlib.sha256().digest_size:
            raise CustodyError(f"HSM: expected a digest of 32 bytes, was {len(digest)}")
        with self._open() as session:
            signature: bytes = _private(session, self._enrolment.key).sign(digest, mechanism=Mechanism.ECDSA)
        return low_s(signature)

    def attest(self, nonce: bytes, /) -> Attestation:
        """Show identity, provenance and liveness; of the maker PKCS#11 knows nothing, so never more than that."""
        problems = [NO_VENDOR]
        identity = self._is_enrolled(problems)
        provenance = liveness = False
        if identity:
            try:
                provenance = self._is_made_inside(problems)
                liveness = self._is_alive(nonce, problems)
            except CustodyError as fault:
                problems.append(str(fault))
        return Attestation(
            identity=identity, provenance=provenance, liveness=liveness, vendor=False, problems=tuple(problems)
        )

    def advance(self) -> int:
        """Count a release, in the token."""
        with self._open() as session:
            count = max(_counts(session, self._enrolment.key), default=0) + 1
            if count <= self._seen:
                raise CustodyError(f"HSM: the counter went back from {self._seen} to {count - 1}")
            _put_count(session, self._enrolment.key, count)
        self._seen = count
        return count

    @property
    def counter(self) -> int:
        """How many releases the token has counted."""
        with self._open() as session:
            return max(_counts(session, self._enrolment.key), default=0)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        problems = list[str]()
        if not self._is_enrolled(problems):
            raise CustodyError(f"HSM: {'; '.join(problems)}")
        with _session(self._enrolment.library, self._enrolment.token, self._pin) as session:
            yield session

    def _is_enrolled(self, problems: list[str]) -> bool:
        """Whether library and token are those of the enrolment; what differs is added to `problems`."""
        try:
            found = _identity(self._enrolment.library, self._enrolment.token)
        except CustodyError as fault:
            problems.append(str(fault))
            return False
        pinned = attrs.asdict(self._enrolment)
        differing = [
            f"expected {name} {pinned[name]!r}, found {value!r}"
            for name, value in found.items()
            if value != pinned[name]
        ]
        problems += differing
        return not differing

    def _is_made_inside(self, problems: list[str]) -> bool:
        with self._open() as session:
            outside = list(_outside(_private(session, self._enrolment.key)))
            if (public := _public(session, self._enrolment.key)) != self.public:
                outside.append(f"has the public half {public.hex()}, {self.public.hex()} was enrolled")
        problems += [f"the key {each}" for each in outside]
        return not outside

    def _is_alive(self, nonce: bytes, problems: list[str]) -> bool:
        """Whether the key signs a fresh number, and the counter has not gone back since it was last looked at."""
        counter = self.counter
        digest = hashlib.sha256(b"perpkit attestation" + counter.to_bytes(8, "big") + nonce).digest()
        signature = coincurve.ecdsa.cdata_to_der(coincurve.ecdsa.deserialize_compact(self.sign(digest)))
        signs = coincurve.PublicKey(self.public).verify(signature, digest, hasher=None)
        if not signs:
            problems.append("a fresh number was signed by another key")
        if counter < self._seen:
            problems.append(f"the counter went back from {self._seen} to {counter}")
        return signs and counter >= self._seen


def low_s(signature: bytes) -> bytes:
    """Return a compact signature with s in the lower half: `s` and `ORDER - s` both verify, networks pass on one.

    Raises:
        CustodyError: it is not of 64 bytes.
    """
    if len(signature) != 64:
        raise CustodyError(f"HSM: expected a signature of 64 bytes, was {len(signature)}")
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + min(s, ORDER - s).to_bytes(32, "big")


@contextmanager
def _session(library: str, token: str, pin: str) -> Iterator[Any]:
    try:
        with _token(library, token).open(user_pin=pin, rw=True) as session:
            yield session
    except PKCS11Error as fault:
        raise CustodyError(f"token {token!r}: {type(fault).__name__} {fault}".rstrip()) from fault


def _token(library: str, token: str) -> Any:
    try:
        return pkcs11.lib(library).get_token(token_label=token)
    except (PKCS11Error, RuntimeError, OSError) as fault:
        raise CustodyError(f"token {token!r} by {library}: {type(fault).__name__} {fault}".rstrip()) from fault


def _identity(library: str, token: str) -> dict[str, str]:
    """Return what tells one device and its driver from another."""
    try:
        driver = hashlib.sha256(Path(library).read_bytes()).hexdigest()
    except OSError as fault:
        raise CustodyError(f"HSM: {library} cannot be read: {fault}") from fault
    found = _token(library, token)
    return {
        "library": library,
        "library_sha256": driver,
        "token": token,
        "serial": found.serial.decode().strip(),
        "model": found.model,
        "manufacturer": found.manufacturer_id,
        "firmware": ".".join(map(str, found.firmware_version)),
    }


def _objects(session: Any, kind: ObjectClass, label: str) -> list[Any]:
    return list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}))


def _only(session: Any, kind: ObjectClass, label: str) -> Any:
    found = _objects(session, kind, label)
    if len(found) != 1:
        raise CustodyError(f"HSM: expected one {kind.name} {label!r}, found {len(found)}")
    return found[0]


def _private(session: Any, key: str) -> Any:
    return _only(session, ObjectClass.PRIVATE_KEY, key)


def _public(session: Any, key: str) -> bytes:
    """Return the compressed public key. A token gives the point wrapped in DER: the last 65 bytes are it."""
    point = _only(session, ObjectClass.PUBLIC_KEY, key)[Attribute.EC_POINT][-65:]
    return coincurve.PublicKey(point).format()


def _outside(private: Any) -> Iterator[str]:
    """Yield what in a private key's attributes says that it was, or could come, outside."""
    for attribute, expected in MADE_INSIDE.items():
        try:
            found = private[attribute]
        except (PKCS11Error, ValueError) as fault:
            # An imported key has no mechanism that made it, which PKCS#11 says with a number that is none.
            found = str(fault) or type(fault).__name__
        if found != expected:
            yield f"has {attribute.name} {found}, expected {expected}"


def _counter_label(key: str) -> str:
    return f"{key}-releases"


def _counts(session: Any, key: str) -> list[int]:
    objects = _objects(session, ObjectClass.DATA, _counter_label(key))
    return [int.from_bytes(each[Attribute.VALUE], "big") for each in objects]


def _put_count(session: Any, key: str, count: int) -> None:
    """Write a count, then remove those before it: a crash in between leaves both, and the higher counts."""
    label = _counter_label(key)
    before = _objects(session, ObjectClass.DATA, label)
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.LABEL: label,
            Attribute.VALUE: count.to_bytes(8, "big"),
        }
    )
    for each in before:
        each.destroy()
