"""What a release gate relies on when its key is in a PKCS#11 token."""

import hashlib
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import coincurve
import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from perpkit.errors import CustodyError
from perpkit.ports.custody.hsm import HsmToken
from perpkit_pkcs11 import Enrolment, Pkcs11Token, enrol
from perpkit_pkcs11.token import NO_VENDOR, ORDER, low_s

PIN = "5678"
NONCE = b"a number of this moment"


def verifies(public: bytes, digest: bytes, signature: bytes) -> bool:
    der = coincurve.ecdsa.cdata_to_der(coincurve.ecdsa.deserialize_compact(signature))
    return coincurve.PublicKey(public).verify(der, digest, hasher=None)


def session(enrolment: Enrolment):
    return pkcs11.lib(enrolment.library).get_token(token_label=enrolment.token).open(user_pin=PIN, rw=True)


def private(opened, enrolment: Enrolment):
    return next(opened.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: enrolment.key}))


def test_a_token_is_what_the_gate_asks_for(token: Pkcs11Token) -> None:
    asked: HsmToken = token
    assert asked.counter == 0


def test_a_signature_is_that_of_the_key_and_always_in_the_lower_half(token: Pkcs11Token) -> None:
    raised = 0
    for number in range(40):
        digest = hashlib.sha256(number.to_bytes(4, "big")).digest()
        signature = token.sign(digest)
        assert int.from_bytes(signature[32:], "big") <= ORDER // 2
        assert verifies(token.public, digest, signature)
        raised += not verifies(token.public, hashlib.sha256(digest).digest(), signature)
    assert raised == 40


def test_a_high_s_is_turned_into_the_low_one_that_verifies_too() -> None:
    digest, key = hashlib.sha256(b"x").digest(), coincurve.PrivateKey()
    compact = coincurve.ecdsa.serialize_compact(coincurve.ecdsa.der_to_cdata(key.sign(digest, hasher=None)))
    high = compact[:32] + (ORDER - int.from_bytes(compact[32:], "big")).to_bytes(32, "big")
    assert low_s(high) == low_s(compact) == compact
    with pytest.raises(CustodyError, match="64 bytes, was 63"):
        low_s(compact[1:])


def test_only_a_digest_is_signed(token: Pkcs11Token) -> None:
    with pytest.raises(CustodyError, match="32 bytes, was 5"):
        token.sign(b"hello")


def test_the_key_does_not_come_out_and_cannot_be_let_out(enrolment: Enrolment) -> None:
    with session(enrolment) as opened:
        key = private(opened, enrolment)
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            key[Attribute.VALUE]
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            key[Attribute.EXTRACTABLE] = True
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            key[Attribute.SENSITIVE] = False


def test_a_soft_token_is_never_called_untampered(token: Pkcs11Token) -> None:
    shown = token.attest(NONCE)
    assert (shown.identity, shown.provenance, shown.liveness, shown.vendor) == (True, True, True, False)
    assert shown.healthy
    assert not shown.untampered
    assert shown.problems == (NO_VENDOR,)


def test_an_imported_key_has_no_provenance(enrolment: Enrolment) -> None:
    secret = secrets.token_bytes(32)
    with session(enrolment) as opened:
        private(opened, enrolment).destroy()
        opened.create_object(
            {
                Attribute.CLASS: ObjectClass.PRIVATE_KEY,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.EC_PARAMS: encode_named_curve_parameters("secp256k1"),
                Attribute.VALUE: secret,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.PRIVATE: True,
                Attribute.SIGN: True,
                Attribute.TOKEN: True,
                Attribute.LABEL: enrolment.key,
            }
        )
    shown = Pkcs11Token(enrolment, PIN).attest(NONCE)
    assert shown.identity
    assert not shown.provenance
    assert not shown.healthy
    assert any("LOCAL False, expected True" in problem for problem in shown.problems)
    assert any("NEVER_EXTRACTABLE False, expected True" in problem for problem in shown.problems)
    assert "a fresh number was signed by another key" in shown.problems


def test_another_key_of_the_same_name_is_found_out(enrolment: Enrolment) -> None:
    with session(enrolment) as opened:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            next(opened.get_objects({Attribute.CLASS: kind, Attribute.LABEL: enrolment.key})).destroy()
    enrolled_again = enrol(library=enrolment.library, token=enrolment.token, key=enrolment.key, pin=PIN)
    shown = Pkcs11Token(enrolment, PIN).attest(NONCE)
    assert enrolled_again.public != enrolment.public
    assert (shown.provenance, shown.liveness) == (False, False)
    assert any("was enrolled" in problem for problem in shown.problems)


@pytest.mark.parametrize("name", ["serial", "model", "manufacturer", "firmware", "library_sha256"])
def test_a_device_or_driver_that_is_not_the_enrolled_one_signs_nothing(enrolment: Enrolment, name: str) -> None:
    other = attrs.evolve(enrolment, **{name: "another"})
    with pytest.raises(CustodyError, match=f"expected {name} 'another'"):
        Pkcs11Token(other, PIN)
    opened = Pkcs11Token(enrolment, PIN)
    opened._enrolment = other
    assert not opened.attest(NONCE).identity
    with pytest.raises(CustodyError, match=f"expected {name} 'another'"):
        opened.sign(bytes(32))


def test_releases_are_counted_in_the_token_and_outlive_whoever_counted(enrolment: Enrolment) -> None:
    first = Pkcs11Token(enrolment, PIN)
    assert [first.advance(), first.advance()] == [1, 2]
    second = Pkcs11Token(enrolment, PIN)
    assert second.counter == 2
    assert second.advance() == 3


def test_a_counter_that_goes_back_is_found_out(enrolment: Enrolment, token: Pkcs11Token) -> None:
    for _ in range(3):
        token.advance()
    with session(enrolment) as opened:
        for each in opened.get_objects(
            {Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: f"{enrolment.key}-releases"}
        ):
            each.destroy()
    shown = token.attest(NONCE)
    assert not shown.liveness
    assert "the counter went back from 3 to 0" in shown.problems
    with pytest.raises(CustodyError, match="the counter went back from 3 to 0"):
        token.advance()


def test_a_crash_between_two_counts_leaves_the_higher(enrolment: Enrolment, token: Pkcs11Token) -> None:
    token.advance()
    with session(enrolment) as opened:
        opened.create_object(
            {
                Attribute.CLASS: ObjectClass.DATA,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: True,
                Attribute.LABEL: f"{enrolment.key}-releases",
                Attribute.VALUE: (2).to_bytes(8, "big"),
            }
        )
    assert token.counter == 2
    assert token.advance() == 3


def test_a_wrong_pin_a_missing_token_and_a_missing_library_are_said_plainly(enrolment: Enrolment) -> None:
    with pytest.raises(CustodyError, match=r"token 'custody': PinIncorrect"):
        Pkcs11Token(enrolment, "0000")
    with pytest.raises(CustodyError, match="token 'nowhere' by "):
        Pkcs11Token(attrs.evolve(enrolment, token="nowhere"), PIN)
    with pytest.raises(CustodyError, match=r"/nowhere\.so cannot be read"):
        Pkcs11Token(attrs.evolve(enrolment, library="/nowhere.so"), PIN)


def test_a_key_is_not_enrolled_over_another(enrolment: Enrolment) -> None:
    with pytest.raises(CustodyError, match=f"expected no key '{enrolment.key}' yet"):
        enrol(library=enrolment.library, token=enrolment.token, key=enrolment.key, pin=PIN)


def test_an_enrolment_is_read_from_a_table(enrolment: Enrolment) -> None:
    table = {**attrs.asdict(enrolment), "public": enrolment.public.hex()}
    assert Pkcs11Token.open(table, PIN).public == enrolment.public
    with pytest.raises(CustodyError, match="HSM: expected "):
        Pkcs11Token.open({**table, "pin": PIN}, PIN)


CLONE = """
import sys
from perpkit_pkcs11 import Pkcs11Token
token = Pkcs11Token.open(eval(sys.argv[1]), "5678")
shown = token.attest(b"nonce")
print(shown.healthy, shown.untampered, len(token.sign(bytes(32))))
"""


def test_a_copy_of_a_soft_token_says_the_same_which_is_why_it_is_never_called_untampered(
    enrolment: Enrolment, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tokens / "tokens", tmp_path / "copy")
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'copy'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    table = repr({**attrs.asdict(enrolment), "public": enrolment.public.hex()})
    command = [sys.executable, "-c", CLONE, table]
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    copied = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert copied.stdout.split() == ["True", "False", "64"]
