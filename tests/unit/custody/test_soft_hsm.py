"""A software HSM says what it is, notices when it is not itself any more, and never counts backwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.custody.gate.gate_memory import RamMemory, SqliteMemory
from perpkit.custody.gate.soft_hsm import IMPORTED, InsecureSoftHsm, KeyAttributes
from perpkit.custody.pretend.scheme import HmacPen, HmacScheme
from perpkit.errors import CustodyError

from .house import SCHEME, pen_of

NONCE = bytes(range(32))
PEN = pen_of("hsm-key")


def test_an_enrolled_token_is_healthy_and_never_called_untampered() -> None:
    shown = InsecureSoftHsm(PEN, SCHEME).attest(NONCE)
    assert (shown.identity, shown.provenance, shown.liveness, shown.vendor) == (True, True, True, False)
    assert shown.healthy
    assert not shown.untampered
    assert shown.problems == ("a token of software has no maker who could vouch for it",)


def test_it_signs_with_the_key_that_it_shows() -> None:
    token = InsecureSoftHsm(PEN, SCHEME)
    assert SCHEME.verify(token.public, NONCE, token.sign(NONCE))


@given(st.lists(st.booleans(), max_size=30))
def test_the_counter_only_grows_over_any_number_of_restarts(steps: list[bool]) -> None:
    memory = RamMemory()
    token, seen = InsecureSoftHsm(PEN, SCHEME, memory=memory), 0
    for restarts in steps:
        if restarts:
            token = InsecureSoftHsm(PEN, SCHEME, memory=memory)
        else:
            assert token.advance() == seen + 1
            seen += 1
        assert token.counter == seen
        assert token.attest(NONCE).healthy


def test_the_counter_is_in_the_file_before_it_counts(tmp_path: Path) -> None:
    memory = SqliteMemory(tmp_path / "hsm.sqlite")
    token = InsecureSoftHsm(PEN, SCHEME, memory=memory)
    assert (token.advance(), token.advance()) == (1, 2)
    memory._database.execute("PRAGMA query_only = ON")
    with pytest.raises(CustodyError, match="expected an SQLite file with room"):
        token.advance()
    assert token.counter == 2
    memory.close()
    again = SqliteMemory(tmp_path / "hsm.sqlite")
    assert InsecureSoftHsm(PEN, SCHEME, memory=again).advance() == 3
    again.close()


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (lambda memory: InsecureSoftHsm(pen_of("thief"), SCHEME, memory=memory), "its key is another one"),
        (lambda memory: InsecureSoftHsm(PEN, SCHEME, serial="soft-1", memory=memory), "its serial number is soft-1"),
    ],
)
def test_a_replaced_token_is_not_the_enrolled_one_and_signs_and_counts_nothing(token: object, problem: str) -> None:
    memory = RamMemory()
    InsecureSoftHsm(PEN, SCHEME, memory=memory).advance()
    replaced = token(memory)  # type: ignore[operator]
    shown = replaced.attest(NONCE)
    assert not shown.identity
    assert not shown.healthy
    assert problem in shown.problems
    with pytest.raises(CustodyError, match=problem):
        replaced.sign(NONCE)
    with pytest.raises(CustodyError, match=problem):
        replaced.advance()
    assert InsecureSoftHsm(PEN, SCHEME, memory=memory).counter == 1


def test_another_key_does_not_pass_for_alive() -> None:
    memory = RamMemory()
    InsecureSoftHsm(PEN, SCHEME, memory=memory)
    shown = InsecureSoftHsm(pen_of("thief"), SCHEME, memory=memory).attest(NONCE)
    assert not shown.liveness
    assert "the enrolled key has not signed a fresh number" in shown.problems


def test_an_imported_key_has_no_provenance() -> None:
    shown = InsecureSoftHsm(PEN, SCHEME, attributes=IMPORTED).attest(NONCE)
    assert shown.identity
    assert not shown.provenance
    assert not shown.healthy
    assert "the key's attribute local is false" in shown.problems


@pytest.mark.parametrize(
    "changes",
    [
        {"local": False},
        {"sensitive": False},
        {"always_sensitive": False},
        {"extractable": True},
        {"never_extractable": False},
        {"modifiable": True},
        {"derive": True},
    ],
)
def test_each_attribute_of_a_key_counts(changes: dict[str, bool]) -> None:
    name, value = next(iter(changes.items()))
    attributes = KeyAttributes(**changes)
    assert attributes.problems() == (f"the key's attribute {name} is {str(value).lower()}",)
    assert not InsecureSoftHsm(PEN, SCHEME, attributes=attributes).attest(NONCE).provenance
    assert KeyAttributes().problems() == ()


def test_a_counter_that_was_put_back_under_it_is_noticed() -> None:
    memory = RamMemory()
    token = InsecureSoftHsm(PEN, SCHEME, memory=memory)
    token.advance()
    memory.save("counter", "0")
    shown = token.attest(NONCE)
    assert not shown.liveness
    assert "the counter went back" in shown.problems


def test_a_memory_of_something_else_is_refused() -> None:
    for key, text in (("enrolled", '{"serial": 5}'), ("counter", "many")):
        memory = RamMemory()
        memory.save(key, text)
        with pytest.raises(CustodyError, match="the memory is damaged"):
            InsecureSoftHsm(PEN, SCHEME, memory=memory)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_the_scheme_for_simulation_takes_garbage_for_no(public: bytes, digest: bytes, signature: bytes) -> None:
    assert not HmacScheme().verify(public, digest, signature)
    pen = HmacPen(public)
    assert pen.public == public
    assert HmacScheme().verify(pen.public, digest, pen.sign(digest))
    assert public.hex() not in repr(pen) or len(public) < 3
