"""The one place that touches embit, which carries no types: keys, scripts, addresses and drafts."""

import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import attrs
import coincurve
from embit import base58, bech32, bip32, ec, psbt, script, transaction
from embit.descriptor.checksum import add_checksum
from embit.networks import NETWORKS

from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit_bitcoin.scheme import compact_of
from perpkit_bitcoin.transaction import SIGHASH_ALL

Path: TypeAlias = tuple[int, ...]

HARDENED = 1 << 31
ORIGIN = re.compile(r"\[(?P<fingerprint>[0-9a-f]{8})(?P<path>(/[0-9]+[h']?)*)\](?P<key>[1-9A-HJ-NP-Za-km-z]+)")


@attrs.frozen
class Hint:
    """Where somebody's master key has a public key, as a draft claims."""

    fingerprint: bytes
    path: Path


class AccountKey:
    """A person's extended key of a wallet: `[fingerprint/path]xpub…`, or `…xprv…` on the person's own machine."""

    def __init__(self, text: str, network: str) -> None:
        found = ORIGIN.fullmatch(text)
        if not found:
            raise ConfigError("expected a key as [fingerprint/48h/0h/0h/2h]xpub…, was written otherwise")
        self.hint = Hint(bytes.fromhex(found["fingerprint"]), _path(found["path"]))
        try:
            self._key: Any = bip32.HDKey.from_base58(found["key"])
        except Exception as error:  # noqa: BLE001 - embit raises of every kind, AssertionError included
            raise ConfigError(f"expected an extended key after {text[: found.start('key')]}: {error}") from None
        if self._key.version not in (NETWORKS[network]["xpub"], NETWORKS[network]["xprv"]):
            raise ConfigError(f"expected an extended key for {network}, {text[: found.start('key')]} is for another")
        self._prefix, self._network = text[: found.start("key")], network
        self._branches: dict[Path, Any] = {}

    @classmethod
    def of_seed(cls, seed: bytes, path: str, network: str) -> "AccountKey":
        """Derive a person's key of a wallet from the seed of their master key."""
        root = bip32.HDKey.from_seed(seed, version=NETWORKS[network]["xprv"])
        key = root.derive("m" + path)
        return cls(f"[{root.my_fingerprint.hex()}{path}]{key.to_base58()}", network)

    @property
    def is_private(self) -> bool:
        """Whether it can sign."""
        return bool(self._key.is_private)

    @property
    def text(self) -> str:
        """Return the public key as a wallet's terms hold it, whatever this one is."""
        key = self._key.to_public() if self.is_private else self._key
        return f"{self._prefix}{key.to_base58(NETWORKS[self._network]['xpub'])}"

    @property
    def own(self) -> bytes:
        """Return the public key itself, from which all others follow."""
        return bytes(self._key.get_public_key().sec())

    def public(self, path: Path) -> bytes:
        """Return the public key of an address: the last step is done here, many times as fast as by embit."""
        branch = self._branch(path[:-1])
        parent = bytes(branch.get_public_key().sec())
        step = hmac.digest(branch.chain_code, parent + path[-1].to_bytes(4, "big"), "sha512")[:32]
        return bytes(coincurve.PublicKey(parent).add(step).format())

    def sign(self, path: Path, digest: bytes) -> bytes:
        """Sign a digest with the key of an address: r and s of 32 bytes each."""
        return compact_of(self._branch(path[:-1]).child(path[-1]).key.sign(digest).serialize())

    def below(self, path: Path) -> Hint:
        """Return what a draft says of the key of an address."""
        return Hint(self.hint.fingerprint, self.hint.path + path)

    def _branch(self, path: Path) -> Any:
        if path not in self._branches:
            self._branches[path] = self._key.derive(list(path))
        return self._branches[path]


def with_checksum(descriptor: str) -> str:
    """Return a descriptor as wallets exchange it."""
    return str(add_checksum(descriptor))


def is_public_key(data: bytes) -> bool:
    """Say whether 33 bytes are a point of the curve."""
    try:
        return len(data) == 33 and bool(ec.PublicKey.parse(data))
    except Exception:  # noqa: BLE001 - whatever embit raises, it is no key
        return False


def address_of(script_bytes: bytes, network: str) -> str:
    """Return how people write a script."""
    try:
        return str(script.Script(script_bytes).address(NETWORKS[network]))
    except ValueError:
        raise CustodyError(f"expected a script that has an address, was {script_bytes.hex()}") from None


def script_of(address: str, network: str) -> bytes:
    """Return the script that an address means."""
    terms = NETWORKS[network]
    version, program = bech32.decode(terms["bech32"], address)
    if version is None:
        return _script_of_old(address, network)
    if (version, len(program)) not in {(0, 20), (0, 32), (1, 32)}:
        raise CustodyError(f"expected an address of a kind that is in use, {address!r} has witness version {version}")
    return bytes((version and 0x50 + version, len(program), *program))


def _script_of_old(address: str, network: str) -> bytes:
    terms = NETWORKS[network]
    try:
        data = base58.decode_check(address)
    except Exception:  # noqa: BLE001 - embit raises of every kind on what is not base58
        data = b""
    if len(data) == 21 and data[:1] == terms["p2pkh"]:
        return b"\x76\xa9\x14" + bytes(data[1:]) + b"\x88\xac"
    if len(data) == 21 and data[:1] == terms["p2sh"]:
        return b"\xa9\x14" + bytes(data[1:]) + b"\x87"
    raise CustodyError(f"expected an address of {network}, {address!r} is mistyped or of another network")


@attrs.frozen(kw_only=True)
class DraftInput:
    """What a draft says of an input. `previous` is the whole transaction that made the coin."""

    outpoint: Outpoint
    sequence: int
    spent: Output
    witness_script: bytes
    hints: Mapping[bytes, Hint]
    sighash: int = SIGHASH_ALL
    previous: bytes | None = None


@attrs.frozen(kw_only=True)
class DraftOutput:
    """What a draft says of an output. Of one that is not the wallet's, only where it goes."""

    output: Output
    witness_script: bytes | None = None
    hints: Mapping[bytes, Hint] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Draft:
    """A PSBT (BIP-174) as far as this wallet writes one; what else may be in a PSBT is lost when it is read."""

    inputs: tuple[DraftInput, ...]
    outputs: tuple[DraftOutput, ...]
    version: int = 2
    lock_time: int = 0


def write_psbt(draft: Draft, signatures: Sequence[Mapping[bytes, bytes]] = ()) -> bytes:
    """Write a draft, with what some keys have signed: by public key, for each input."""
    made = psbt.PSBT(
        transaction.Transaction(
            version=draft.version,
            vin=[transaction.TransactionInput(*each.outpoint, sequence=each.sequence) for each in draft.inputs],
            vout=[_output(each.output) for each in draft.outputs],
            locktime=draft.lock_time,
        ),
        unknown={},
    )
    for scope, spending in zip(made.inputs, draft.inputs, strict=True):
        scope.unknown = {}  # embit shares one dictionary among all that are not read
        scope.witness_utxo = _output(spending.spent)
        scope.witness_script = script.Script(spending.witness_script)
        scope.sighash_type = spending.sighash
        scope.bip32_derivations = _written(spending.hints)
        if spending.previous is not None:
            scope.non_witness_utxo = transaction.Transaction.parse(spending.previous)
    for out, paying in zip(made.outputs, draft.outputs, strict=True):
        out.unknown = {}
        out.bip32_derivations = _written(paying.hints)
        if paying.witness_script is not None:
            out.witness_script = script.Script(paying.witness_script)
    for scope, signed in zip(made.inputs, signatures, strict=False):
        for public, signature in sorted(signed.items()):
            scope.partial_sigs[ec.PublicKey.parse(public)] = signature
    return bytes(made.serialize())


@attrs.frozen
class Reading:
    """A PSBT as it was read: the draft, its id, and what each input's signatures sign, as embit works it out.

    `whole`: the draft is all that is in it.
    """

    draft: Draft
    txid: bytes
    sighashes: tuple[bytes, ...]
    whole: bool


@lru_cache(maxsize=16)
def read_psbt(payload: bytes) -> Reading:
    """Read what this wallet understands of a PSBT. Each step from draft to transaction asks for the same few again.

    Raises:
        CustodyError: it is none, or lacks what every draft has.
    """
    made = _parsed(payload)
    inputs = tuple(map(_draft_input, made.inputs))
    outputs = tuple(
        DraftOutput(
            output=Output(bytes(each.script_pubkey.data), each.value),
            witness_script=each.witness_script and bytes(each.witness_script.data),
            hints=_read(each.bip32_derivations),
        )
        for each in made.outputs
    )
    whole = made.tx
    sighashes = (
        bytes(whole.sighash_segwit(position, each.witness_script, each.witness_utxo.value, SIGHASH_ALL))
        for position, each in enumerate(made.inputs)
    )
    draft = Draft(inputs=inputs, outputs=outputs, version=made.tx_version, lock_time=made.locktime)
    return Reading(
        draft=draft, txid=bytes(whole.txid()), sighashes=tuple(sighashes), whole=write_psbt(draft) == payload
    )


@lru_cache(maxsize=64)
def signatures_of(payload: bytes) -> tuple[dict[bytes, bytes], ...]:
    """Return what a PSBT holds of signatures: by public key, for each input.

    Raises:
        CustodyError: it is none.
    """
    return tuple(
        {bytes(public.sec()): bytes(signature) for public, signature in each.partial_sigs.items()}
        for each in _parsed(payload).inputs
    )


def _parsed(payload: bytes) -> Any:
    try:
        return psbt.PSBT.parse(payload)
    except Exception as error:  # noqa: BLE001 - embit raises of every kind, IndexError and TypeError included
        raise CustodyError(f"expected a PSBT: {type(error).__name__}: {error}") from None


def _draft_input(scope: Any) -> DraftInput:
    if scope.witness_utxo is None or scope.witness_script is None:
        raise CustodyError("expected a PSBT that names the output and the script of every input, one is missing")
    return DraftInput(
        outpoint=Outpoint(bytes(scope.txid), scope.vout),
        sequence=scope.sequence,
        spent=Output(bytes(scope.witness_utxo.script_pubkey.data), scope.witness_utxo.value),
        witness_script=bytes(scope.witness_script.data),
        hints=_read(scope.bip32_derivations),
        sighash=SIGHASH_ALL if scope.sighash_type is None else scope.sighash_type,
        previous=scope.non_witness_utxo and bytes(scope.non_witness_utxo.serialize()),
    )


def _output(output: Output) -> Any:
    return transaction.TransactionOutput(output.amount_units, script.Script(output.script))


def _written(hints: Mapping[bytes, Hint]) -> dict[Any, Any]:
    return {
        ec.PublicKey.parse(public): psbt.DerivationPath(hint.fingerprint, list(hint.path))
        for public, hint in sorted(hints.items())
    }


def _read(derivations: Mapping[Any, Any]) -> dict[bytes, Hint]:
    return {
        bytes(public.sec()): Hint(bytes(each.fingerprint), tuple(each.derivation))
        for public, each in derivations.items()
    }


def _path(text: str) -> Path:
    return tuple(int(step.rstrip("h'")) + (HARDENED if step[-1] in "h'" else 0) for step in text.split("/")[1:])
