"""Signatures and addresses meet figures that others published, and nothing is taken in a second form.

The BIPs' own files are read from the folder that PERPKIT_CUSTODY_VECTORS names, or from beside the repository.
"""

import base64
import csv
import hashlib
import json
import os
from pathlib import Path

import pytest

from perpkit.custody.digest import digest
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit_bitcoin import library
from perpkit_bitcoin.scheme import (
    ORDER,
    EcdsaPen,
    EcdsaScheme,
    EitherScheme,
    SchnorrPen,
    SchnorrScheme,
    compact_of,
    der_of,
    is_low,
    low_s,
)
from perpkit_bitcoin.transaction import Input, Transaction
from perpkit_bitcoin.witness import satisfies

BESIDE = Path(__file__).parents[4] / "shared" / "vectors" / "bips"
FOLDER = Path(os.environ.get("PERPKIT_CUSTODY_VECTORS", BESIDE))
DIGEST = digest("test", "something to sign")


def vectors(name: str) -> Path:
    if not (FOLDER / name).exists():
        pytest.skip(f"the BIP's file {name} is not there; PERPKIT_CUSTODY_VECTORS names the folder that has it")
    return FOLDER / name


@pytest.mark.parametrize(
    ("pen", "scheme"),
    [(EcdsaPen, EcdsaScheme), (SchnorrPen, SchnorrScheme), (EcdsaPen, EitherScheme), (SchnorrPen, EitherScheme)],
)
def test_what_a_pen_signs_is_good_for_its_key_and_digest_alone(pen, scheme):
    mine, yours = pen(b"\x01" * 32), pen(b"\x02" * 32)
    signature = mine.sign(DIGEST)
    verify = scheme().verify
    assert verify(mine.public, DIGEST, signature)
    assert not verify(yours.public, DIGEST, signature)
    assert not verify(mine.public, digest("test", "something else"), signature)
    for garbage in (b"", signature[:-1], signature + b"\x00", bytes(64), b"\xff" * 64):
        assert not verify(mine.public, DIGEST, garbage)
        assert not verify(garbage, DIGEST, signature)
    assert not verify(mine.public, DIGEST[:-1], signature)
    for place in range(64):
        flipped = signature[:place] + bytes((signature[place] ^ 1,)) + signature[place + 1 :]
        assert not verify(mine.public, DIGEST, flipped)


def test_a_token_that_signs_in_the_upper_half_is_brought_to_the_lower():
    pen = EcdsaPen(b"\x01" * 32)
    signature = pen.sign(DIGEST)
    upper = signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    assert is_low(signature)
    assert not is_low(upper)
    assert not EcdsaScheme().verify(pen.public, DIGEST, upper)
    assert low_s(upper) == low_s(signature) == signature
    with pytest.raises(CustodyError):
        low_s(signature[:-1])


def test_a_public_key_in_its_long_form_is_refused():
    point = bytes.fromhex(
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    )
    pen = EcdsaPen((1).to_bytes(32, "big"))
    assert pen.public[1:] == point[1:33]
    assert not EcdsaScheme().verify(point, DIGEST, pen.sign(DIGEST))


@pytest.mark.parametrize("r", [1, 0x7F, 0x80, 0xFFFF, ORDER - 1])
def test_der_and_its_plain_form_lead_to_each_other(r):
    signature = r.to_bytes(32, "big") + (r >> 1).to_bytes(32, "big")
    assert compact_of(der_of(signature)) == signature


@pytest.mark.parametrize(
    "der",
    [
        "",
        "30",
        "3006020101020101ff",  # longer than it says
        "300702020001020101",  # a number with a zero too many
        "3006020181020101",  # a negative number
        "3081060201010201" + "01",  # a length in two bytes
        "3024022100" + "ff" * 32 + "020101",  # above the order
        "3106020101020101",
        "3006030101020101",
    ],
)
def test_der_that_is_written_another_way_is_refused(der):
    with pytest.raises(CustodyError):
        compact_of(bytes.fromhex(der))


def test_bip_340_signatures():
    rows = list(csv.DictReader(vectors("bip-0340_0-9.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 10
    for row in rows:
        public, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
        assert SchnorrScheme().verify(public, message, signature) == (row["verification result"] == "TRUE"), row
        if row["secret key"]:
            assert SchnorrPen(bytes.fromhex(row["secret key"])).public == public


def test_bip_341_addresses_lead_to_their_scripts_and_back():
    rows = json.loads(vectors("bip-0341_scriptPubKey.json").read_text())["scriptPubKey"]
    assert len(rows) == 7
    for row in rows:
        script, address = bytes.fromhex(row["expected"]["scriptPubKey"]), row["expected"]["bip350Address"]
        assert library.script_of(address, "main") == script
        assert library.address_of(script, "main") == address


def bip_322(message: str, script: bytes) -> tuple[Transaction, Transaction]:
    """Return the two transactions that stand for a message."""
    tag = hashlib.sha256(b"BIP0322-signed-message").digest()
    hashed = hashlib.sha256(tag + tag + message.encode()).digest()
    nothing = Outpoint(bytes(32), 0xFFFFFFFF)
    to_spend = Transaction(0, (Input(nothing, b"\x00\x20" + hashed, 0),), (Output(script, 0),), 0)
    return to_spend, Transaction(0, (Input(Outpoint(to_spend.txid, 0), b"", 0),), (Output(b"\x6a", 0),), 0)


def test_bip_322_transactions_have_the_ids_that_were_published():
    rows = json.loads(vectors("bip-0322_basic-test-vectors.json").read_text())["tx_hashes"]
    assert len(rows) == 3
    for row in rows:
        to_spend, to_sign = bip_322(row["message"], library.script_of(row["address"], "main"))
        assert to_spend.txid.hex() == row["to_spend_tx_hash"]
        assert to_sign.txid.hex() == row["to_sign_tx_hash"]


def witness_of(signature: str) -> tuple[bytes, ...]:
    data = base64.b64decode(signature.removeprefix("smp"))
    count, data, found = data[0], data[1:], []
    for _ in range(count):
        found.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return tuple(found)


def test_bip_322_signatures_satisfy_the_digests_of_bip_143():
    rows = json.loads(vectors("bip-0322_basic-test-vectors.json").read_text())["simple"]
    single = [row for row in rows if row["type"] == "p2wpkh"]
    several = [row for row in rows if row["type"] == "p2wsh"]
    assert single
    for row in single:
        script = library.script_of(row["address"], "main")
        _, to_sign = bip_322(row["message"], script)
        spent_by = b"\x76\xa9\x14" + script[2:] + b"\x88\xac"
        for signature in row["bip322_signatures"]:
            signed, public = witness_of(signature)
            assert EcdsaScheme().verify(public, to_sign.sighash(0, spent_by, 0), compact_of(signed[:-1]))
    for row in several:
        script = library.script_of(row["address"], "main")
        _, to_sign = bip_322(row["message"], script)
        for signature in row["bip322_signatures"]:
            spending = to_sign.inputs[0]._replace(witness=witness_of(signature))
            whole = Transaction(0, (spending,), to_sign.outputs, 0)
            assert satisfies(whole, 0, script, 0)
            assert not satisfies(whole, 0, script, 1)
