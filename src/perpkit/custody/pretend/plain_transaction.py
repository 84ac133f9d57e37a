"""Transactions of the pretend chain: readable JSON, and scripts that hash what they ask of whoever spends them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from perpkit.custody.digest import canonical_bytes, digest
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import ChainTransaction, Outpoint, Output
from perpkit.ports.custody.people import KeyName, SignatureScheme
from perpkit.units import Units


@attrs.frozen(kw_only=True)
class Lock:
    """What a script asks for: signatures of `threshold` of the keys, and the HSM's where there is one.

    The chain knows only its hash until somebody spends, as with P2WSH. `path` makes the script one of many.
    """

    path: str
    threshold: int
    keys: Mapping[KeyName, bytes]
    hsm: Mapping[KeyName, bytes]

    @property
    def script(self) -> bytes:
        """The script under which money lies."""
        return digest("plain-script", self)

    def opened_by(self, signatures: Mapping[KeyName, bytes], signed: bytes, scheme: SignatureScheme) -> bool:
        """Say whether signatures of a digest satisfy the lock."""

        def good(keys: Mapping[KeyName, bytes]) -> int:
            return sum(key in signatures and scheme.verify(keys[key], signed, signatures[key]) for key in keys)

        return good(self.keys) >= self.threshold and good(self.hsm) == len(self.hsm)


@attrs.frozen(kw_only=True)
class PlainTransaction:
    """Money moves from outputs to outputs. `locks` are one for each input; `serial` tells coinbases apart."""

    inputs: tuple[Outpoint, ...]
    outputs: tuple[Output, ...]
    serial: int = 0
    locks: tuple[Lock, ...] = ()
    signatures: Mapping[KeyName, bytes] = attrs.field(factory=dict)

    @property
    def body(self) -> bytes:
        """What the id and the size are of: everything but locks and signatures."""
        return canonical_bytes({"inputs": self.inputs, "outputs": self.outputs, "serial": self.serial})

    @property
    def txid(self) -> bytes:
        """The id, whatever the signatures."""
        return digest("plain-transaction", self.body)

    @property
    def raw(self) -> bytes:
        """The whole transaction as the network takes it."""
        return canonical_bytes(self)

    @property
    def paid_units(self) -> Units:
        """What the outputs hold together."""
        return sum(output.amount_units for output in self.outputs)

    def on_chain(self) -> ChainTransaction:
        """Return what a block tells of it."""
        return ChainTransaction(txid=self.txid, inputs=self.inputs, outputs=self.outputs)


def spend_digest(txid: bytes, spent: Sequence[Output]) -> bytes:
    """Return what every key signs: the transaction, and what it spends to the unit."""
    return digest("plain-spend", {"txid": txid, "spent": tuple(spent)})


def check_unlocked(scheme: SignatureScheme, transaction: PlainTransaction, spent: Sequence[Output]) -> None:
    """Refuse a transaction whose signatures do not open everything that it spends: the pretend chain's consensus.

    Raises:
        CustodyError: the lock of an input is not the one that was hashed, or is not opened.
    """
    if len(transaction.locks) != len(spent):
        raise CustodyError(f"expected a lock for each of {len(spent)} inputs, found {len(transaction.locks)}")
    signed = spend_digest(transaction.txid, spent)
    for lock, output in zip(transaction.locks, spent, strict=True):
        if lock.script != output.script:
            raise CustodyError(f"the lock {lock.path} does not belong to script {output.script.hex()}")
        if not lock.opened_by(transaction.signatures, signed, scheme):
            raise CustodyError(
                f"{lock.path} needs good signatures of {lock.threshold} of {sorted(lock.keys)} and all of "
                f"{sorted(lock.hsm)}; found signatures of {sorted(transaction.signatures)}"
            )


def read_transaction(raw: bytes) -> PlainTransaction:
    """Return the transaction that some bytes are.

    Raises:
        CustodyError: they are none, or not in the one form.
    """
    try:
        fields = json.loads(raw)
        transaction = PlainTransaction(
            inputs=read_inputs(fields["inputs"]),
            outputs=read_outputs(fields["outputs"]),
            serial=_integer(fields["serial"]),
            locks=tuple(
                Lock(
                    path=lock["path"],
                    threshold=lock["threshold"],
                    keys=_read_bytes(lock["keys"]),
                    hsm=_read_bytes(lock["hsm"]),
                )
                for lock in fields["locks"]
            ),
            signatures=_read_bytes(fields["signatures"]),
        )
        same = transaction.raw == raw
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CustodyError(f"expected a plain transaction, was {raw[:60]!r}: {error!r}") from error
    if not same:
        raise CustodyError(f"expected a plain transaction in its one form, was {raw[:60]!r}")
    return transaction


def read_inputs(fields: Sequence[Any]) -> tuple[Outpoint, ...]:
    """Return outpoints from JSON."""
    return tuple(Outpoint(bytes.fromhex(txid), _integer(vout)) for txid, vout in fields)


def read_outputs(fields: Sequence[Any]) -> tuple[Output, ...]:
    """Return outputs from JSON."""
    return tuple(Output(bytes.fromhex(script), _integer(amount)) for script, amount in fields)


def _read_bytes(fields: Mapping[str, str]) -> dict[str, bytes]:
    return {key: bytes.fromhex(value) for key, value in fields.items()}


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"expected an integer, was {value!r}")
    return value
