"""A software HSM: everything that a device says of itself, and nothing that makes it one."""

import attrs

from perpkit.custody.digest import digest
from perpkit.custody.gate.gate_memory import GateMemory, RamMemory, read, written
from perpkit.errors import CustodyError
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.people import Pen, SignatureScheme


@attrs.frozen(kw_only=True)
class KeyAttributes:
    """What a token says of its key, in the words of PKCS#11. The defaults are those of a key that it made itself."""

    local: bool = True
    sensitive: bool = True
    always_sensitive: bool = True
    extractable: bool = False
    never_extractable: bool = True
    modifiable: bool = False
    derive: bool = False

    def problems(self) -> tuple[str, ...]:
        """Return in words what of it is not as it must be for a key that never could leave."""
        wanted = KeyAttributes()
        return tuple(
            f"the key's attribute {field.name} is {str(getattr(self, field.name)).lower()}"
            for field in attrs.fields(KeyAttributes)
            if getattr(self, field.name) != getattr(wanted, field.name)
        )


IMPORTED = KeyAttributes(local=False, always_sensitive=False, never_extractable=False)
"""What a token says of a key that was made elsewhere."""


@attrs.frozen(kw_only=True)
class _Identity:
    serial: str
    public: bytes


class InsecureSoftHsm:
    """INSECURE on purpose: its key is in this process, and a copy of it passes for it. For simulation and tests.

    Its serial number and public key are pinned in its memory the first time that it is used, which is its enrolment.
    From then on a token with another key or serial number says so and signs nothing. The counter is in the memory too,
    written before it counts. Whoever puts an old copy of the memory back sets the counter back: this cannot notice
    that, but a gate that has a memory of its own does.

    Raises:
        CustodyError: the token is not the one that was enrolled, or its memory cannot be read or written.
    """

    def __init__(
        self,
        pen: Pen,
        scheme: SignatureScheme,
        *,
        serial: str = "soft-0",
        attributes: KeyAttributes | None = None,
        memory: GateMemory | None = None,
    ) -> None:
        self._pen = pen
        self._scheme = scheme
        self._serial = serial
        self._attributes = attributes or KeyAttributes()
        self._memory = memory or RamMemory()
        state = self._memory.load()
        if "enrolled" not in state:
            self._memory.save("enrolled", written(_Identity(serial=serial, public=pen.public)))
        self._enrolled = read(self._memory.load()["enrolled"], _Identity)
        self._counter = read(state.get("counter", "0"), int)

    @property
    def public(self) -> bytes:
        """The public half of the key that is in the token now."""
        return self._pen.public

    @property
    def counter(self) -> int:
        """How many releases were counted."""
        return self._counter

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest, if this is still the token that was enrolled."""
        self._check()
        return self._pen.sign(digest)

    def advance(self) -> int:
        """Count a release: in memory first, so that a crash can only skip a number."""
        self._check()
        self._memory.save("counter", str(self._counter + 1))
        self._counter += 1
        return self._counter

    def attest(self, nonce: bytes, /) -> Attestation:
        """Show serial number, key and attributes as they are now. No maker ever vouches for it."""
        replaced, imported = self._replaced(), self._attributes.problems()
        fresh = digest("attest", [nonce, self._counter])
        alive = self._scheme.verify(self._enrolled.public, fresh, self._pen.sign(fresh))
        forgotten = read(self._memory.load().get("counter", "0"), int) < self._counter
        problems = [*replaced, *imported]
        if not alive:
            problems.append("the enrolled key has not signed a fresh number")
        if forgotten:
            problems.append("the counter went back")
        return Attestation(
            identity=not replaced,
            provenance=not imported,
            liveness=alive and not forgotten,
            vendor=False,
            problems=(*problems, "a token of software has no maker who could vouch for it"),
        )

    def _check(self) -> None:
        if replaced := self._replaced():
            raise CustodyError(f"the HSM is not the one that was enrolled: {', '.join(replaced)}")

    def _replaced(self) -> tuple[str, ...]:
        serial = () if self._serial == self._enrolled.serial else (f"its serial number is {self._serial}",)
        key = () if self._pen.public == self._enrolled.public else ("its key is another one",)
        return (*serial, *key)
