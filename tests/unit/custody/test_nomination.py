"""A draw is fair, can be done again by anybody, and cannot be spoilt for free."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import permutations
from math import sqrt

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit.custody.draw.beacon import ChainBeacon
from perpkit.custody.draw.nomination import CommitReveal, _seated
from perpkit.custody.pretend.memory_chain import MemoryChain
from perpkit.errors import CustodyError
from perpkit.ports.custody.nomination import Opening, Transcript

PEOPLE = ("ann", "ben", "cid", "dan", "eve")
NOMINATOR = CommitReveal()
REQUEST = bytes(range(32))


def opened(sequence: int = 1, *, eligible: tuple[str, ...] = PEOPLE, seats: int = 3, attempt: int = 1) -> Opening:
    return NOMINATOR.open(
        sequence=sequence, request=REQUEST, eligible=eligible, seats=seats, latest_round=100, attempt=attempt
    )


def secret(name: str, salt: int = 0) -> bytes:
    return hashlib.sha256(f"{name} {salt}".encode()).digest()


def draw(opening: Opening, *, beacon: bytes = b"\7" * 32, salt: int = 0, refused: tuple[str, ...] = ()) -> Transcript:
    reveals = {name: secret(name, salt) for name in opening.eligible}
    commitments = {name: NOMINATOR.commitment(opening, name, value) for name, value in reveals.items()}
    return NOMINATOR.draw(opening, commitments, reveals, beacon, refused)


def test_the_round_of_a_draw_lies_in_the_future_and_everybody_eligible_is_fixed_in_order_of_name() -> None:
    opening = opened(eligible=("eve", "ann", "ben"))
    assert opening.round == 101
    assert opening.eligible == ("ann", "ben", "eve")
    later = CommitReveal(rounds_ahead=6).open(
        sequence=1, request=REQUEST, eligible=PEOPLE, seats=3, latest_round=100, attempt=1
    )
    assert later.round == 106


def test_a_draw_seats_as_many_different_people_as_there_are_seats() -> None:
    transcript = draw(opened())
    assert len(set(transcript.nominated)) == 3
    assert set(transcript.nominated) <= set(PEOPLE)
    assert NOMINATOR.verify(transcript)


@pytest.mark.parametrize(("people", "seats"), [(5, 3), (1, 1), (3, 1), (6, 1), (7, 2), (9, 1)])
def test_every_order_of_the_drawn_is_equally_likely(people: int, seats: int) -> None:
    """Pearson's statistic over 20,000 seeds is at most six of its standard deviations above its mean.

    A remainder of a few bits would favour the first ones wherever their number is no power of two.
    """
    eligible = tuple(f"person {number}" for number in range(people))
    seeds = (hashlib.sha256(b"%d" % number).digest() for number in range(20_000))
    found = Counter(_seated(seed, eligible, seats) for seed in seeds)
    ways = set(permutations(eligible, seats))
    expected, freedom = 20_000 / len(ways), len(ways) - 1
    assert set(found) == ways
    statistic = sum((count - expected) ** 2 / expected for count in found.values())
    # Its mean is the degrees of freedom, its variance twice that.
    assert statistic <= freedom + 6 * sqrt(2 * freedom)


def test_nobodys_secret_and_neither_sequence_nor_beacon_is_without_effect() -> None:
    """Sixty draws that differ in one thing only cannot all be alike but by a chance of one in 60 to the 59th."""
    reveals = {name: secret(name) for name in PEOPLE}
    for name in PEOPLE:
        outcomes = set()
        for salt in range(60):
            told = reveals | {name: secret(name, salt)}
            commitments = {each: NOMINATOR.commitment(opened(), each, value) for each, value in told.items()}
            outcomes.add(NOMINATOR.draw(opened(), commitments, told, bytes(32), ()).nominated)
        assert len(outcomes) > 1, name
    assert len({draw(opened(), beacon=bytes([salt]) * 32).nominated for salt in range(60)}) > 1
    assert len({draw(opened(sequence)).nominated for sequence in range(60)}) > 1


def flipped(value: bytes, place: int) -> bytes:
    at = place % len(value)
    return value[:at] + bytes([value[at] ^ (1 << place % 8)]) + value[at + 1 :]


FORGERIES = {
    "sequence": lambda t, _: attrs.evolve(t, opening=attrs.evolve(t.opening, sequence=t.opening.sequence + 1)),
    "request": lambda t, n: attrs.evolve(t, opening=attrs.evolve(t.opening, request=flipped(t.opening.request, n))),
    "round": lambda t, n: attrs.evolve(t, opening=attrs.evolve(t.opening, round=t.opening.round + 1 + n)),
    "attempt": lambda t, _: attrs.evolve(t, opening=attrs.evolve(t.opening, attempt=2)),
    "seats": lambda t, _: attrs.evolve(t, opening=attrs.evolve(t.opening, seats=2)),
    "eligible": lambda t, _: attrs.evolve(t, opening=attrs.evolve(t.opening, eligible=(*t.opening.eligible, "zed"))),
    "commitment": lambda t, n: attrs.evolve(t, commitments=t.commitments | {"cid": flipped(t.commitments["cid"], n)}),
    "reveal": lambda t, n: attrs.evolve(t, reveals=t.reveals | {"cid": flipped(t.reveals["cid"], n)}),
    "another's commitment": lambda t, _: attrs.evolve(t, commitments=t.commitments | {"zed": bytes(32)}),
    "another's reveal": lambda t, _: attrs.evolve(t, reveals=t.reveals | {"zed": bytes(32)}),
    "nominated": lambda t, _: attrs.evolve(t, nominated=t.nominated[::-1]),
    "one fewer": lambda t, _: attrs.evolve(t, nominated=t.nominated[:2]),
    "refused": lambda t, _: attrs.evolve(t, refused=("zed",)),
    "refused and drawn": lambda t, _: attrs.evolve(t, refused=t.nominated[:1]),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@given(st.integers(0, 2**16), st.integers(0, 2**16))
@settings(max_examples=20)
def test_a_transcript_with_anything_changed_no_longer_verifies(forgery: str, sequence: int, place: int) -> None:
    transcript = draw(opened(sequence))
    assert NOMINATOR.verify(transcript)
    assert not NOMINATOR.verify(FORGERIES[forgery](transcript, place))


@given(st.integers(0, 2**16))
def test_with_any_byte_of_the_beacon_changed_another_quorum_is_drawn_sooner_or_later(place: int) -> None:
    """One beacon in ten leads to the same three, so the beacon itself is compared with the source: see the gate."""
    transcript = draw(opened())
    forged = attrs.evolve(transcript, beacon=flipped(transcript.beacon, place))
    same = draw(opened(), beacon=forged.beacon).nominated == transcript.nominated
    assert NOMINATOR.verify(forged) == same


def test_signatures_are_for_those_who_have_the_keys_to_check() -> None:
    assert NOMINATOR.verify(attrs.evolve(draw(opened()), signatures={"ann": b"hers"}))


def test_who_reveals_last_and_does_not_gains_only_their_own_absence() -> None:
    opening = opened()
    reveals = {name: secret(name) for name in PEOPLE if name != "eve"}
    commitments = {name: NOMINATOR.commitment(opening, name, secret(name)) for name in PEOPLE}
    with pytest.raises(CustodyError, match="reveals of"):
        NOMINATOR.draw(opening, commitments, reveals, bytes(32), ())
    again = opened(eligible=tuple(name for name in PEOPLE if name != "eve"), attempt=2)
    transcript = draw(again, refused=("eve",))
    assert "eve" not in transcript.nominated
    assert NOMINATOR.verify(transcript)


def test_an_attempt_is_not_repeated_without_somebody_who_spoilt_the_last_one() -> None:
    with pytest.raises(CustodyError, match="spoilt each attempt"):
        draw(opened(attempt=2))
    with pytest.raises(CustodyError, match="spoilt each attempt"):
        draw(opened(attempt=3, eligible=PEOPLE[:4]), refused=("eve",))


def test_nobody_who_refused_is_in_the_next_draw() -> None:
    with pytest.raises(CustodyError, match="as the refused"):
        draw(opened(attempt=2), refused=("eve",))


@pytest.mark.parametrize("refused", [("eve", "dan"), ("eve", "eve")])
def test_the_refused_are_named_once_in_order_of_name(refused: tuple[str, ...]) -> None:
    with pytest.raises(CustodyError, match="as the refused"):
        draw(opened(attempt=2, eligible=PEOPLE[:3]), refused=refused)


def test_attempts_are_capped() -> None:
    assert opened(attempt=3).attempt == 3
    with pytest.raises(CustodyError, match="from 1 to 3, was 4"):
        opened(attempt=4)
    with pytest.raises(CustodyError, match="from 1 to 3, was 0"):
        opened(attempt=0)


@pytest.mark.parametrize("seats", [0, 6])
def test_seats_that_cannot_be_filled_are_refused(seats: int) -> None:
    with pytest.raises(CustodyError, match="from 1 to 5 seats"):
        opened(seats=seats)


def test_nobody_is_eligible_twice() -> None:
    with pytest.raises(CustodyError, match="everybody once"):
        opened(eligible=("ann", "ann", "ben"))


def test_a_reveal_that_was_not_committed_to_or_is_short_is_refused() -> None:
    opening = opened()
    reveals = {name: secret(name) for name in PEOPLE}
    commitments = {name: NOMINATOR.commitment(opening, name, value) for name, value in reveals.items()}
    with pytest.raises(CustodyError, match="cid has revealed something else"):
        NOMINATOR.draw(opening, commitments, reveals | {"cid": secret("cid", 1)}, bytes(32), ())
    short = commitments | {"cid": NOMINATOR.commitment(opening, "cid", b"short")}
    with pytest.raises(CustodyError, match="cid has revealed something else"):
        NOMINATOR.draw(opening, short, reveals | {"cid": b"short"}, bytes(32), ())
    with pytest.raises(CustodyError, match="commitments of"):
        NOMINATOR.draw(opening, {}, reveals, bytes(32), ())
    with pytest.raises(CustodyError, match="32 bytes of the beacon"):
        NOMINATOR.draw(opening, commitments, reveals, b"", ())


def test_a_commitment_is_for_one_person_and_one_opening() -> None:
    same = [
        NOMINATOR.commitment(opened(), "ann", bytes(32)),
        NOMINATOR.commitment(opened(), "ben", bytes(32)),
        NOMINATOR.commitment(opened(2), "ann", bytes(32)),
    ]
    assert len(set(same)) == 3


def test_the_beacon_tells_a_block_only_once_it_is_deep_and_calls_the_tip_known_already() -> None:
    chain = MemoryChain(lambda *_: None)
    chain.mine(10)
    beacon = ChainBeacon(chain, 3)
    assert beacon.latest() == 10
    assert beacon.value(8) == hashlib.sha256(chain.block(8).ref.hash).digest()
    assert beacon.value(9) is None
    assert beacon.value(11) is None
    assert beacon.value(-1) is None
    chain.mine()
    assert beacon.value(9) is not None
    assert ChainBeacon(chain, 1).value(11) == hashlib.sha256(chain.tip().hash).digest()


def test_a_beacon_without_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth"):
        ChainBeacon(MemoryChain(lambda *_: None), 0)
