"""Whether a transaction's witnesses satisfy a wallet's scripts, worked out without the code that made them."""

import hashlib

import attrs

from perpkit.errors import CustodyError
from perpkit_bitcoin.scheme import EcdsaScheme, compact_of
from perpkit_bitcoin.transaction import SIGHASH_ALL, Transaction

PUSH_KEY, CHECKSIGVERIFY, CHECKMULTISIG, OP_0 = b"\x21", b"\xad", b"\xae", 0x50


@attrs.frozen
class Lock:
    """What a script demands: some of the keys, in their order, and the HSM's key, where there is one."""

    threshold: int
    keys: tuple[bytes, ...]
    hsm: bytes | None


def read_lock(script: bytes) -> Lock:
    """Read `<hsm> CHECKSIGVERIFY <k> <key>… <n> CHECKMULTISIG`, with or without its first two words.

    Raises:
        CustodyError: the script is another.
    """
    gated = script[:1] == PUSH_KEY and script[34:35] == CHECKSIGVERIFY
    words = script[35:] if gated else script
    keys = tuple(words[at + 1 : at + 34] for at in range(1, len(words) - 34, 34))
    pushed = all(words[at : at + 1] == PUSH_KEY for at in range(1, len(words) - 34, 34))
    if pushed and len(words) == 34 * len(keys) + 3 and words[-2:] == bytes((OP_0 + len(keys),)) + CHECKMULTISIG:
        threshold = words[0] - OP_0
        if 1 <= threshold <= len(keys):
            return Lock(threshold, keys, script[1:34] if gated else None)
    raise CustodyError(f"expected a script of several signatures, was {script.hex()}")


def satisfies(transaction: Transaction, position: int, script: bytes, amount_units: int) -> bool:
    """Say whether an input spends a coin under `script` by exactly the signatures that it demands.

    Each is of another key, in the keys' order, under SIGHASH_ALL, in DER with s in the lower half. Nodes take more than
    that; this wallet makes nothing else.
    """
    spending = transaction.inputs[position]
    if spending.script or not spending.witness or script != lock_script(spending.witness[-1]):
        return False
    try:
        lock = read_lock(spending.witness[-1])
        empty, *signatures = spending.witness[:-1]
        digest = transaction.sighash(position, spending.witness[-1], amount_units)
        if lock.hsm and not _signed(lock.hsm, digest, signatures.pop()):
            return False
    except (CustodyError, ValueError, IndexError):
        return False
    # Each signature takes the first key left that made it: so the scripts' own check walks through the keys.
    keys = iter(lock.keys)
    return (
        empty == b""
        and len(signatures) == lock.threshold
        and all(any(_signed(key, digest, signature) for key in keys) for signature in signatures)
    )


def lock_script(witness_script: bytes) -> bytes:
    """Return the script of an output that hides another: version 0 and its hash."""
    return b"\x00\x20" + hashlib.sha256(witness_script).digest()


def _signed(public: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        form = compact_of(signature[:-1])
    except CustodyError:
        return False
    return signature[-1] == SIGHASH_ALL and EcdsaScheme().verify(public, digest, form)
