"""Key maps by which somebody could empty a wallet are refused before there is a custody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.custody.gate.keys import check_keys
from perpkit.custody.pretend.plain_wallet import PlainWallet
from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.ports.custody.wallet import WalletBackend

from .house import HOLDERS, PEOPLE, PLACES, SCHEME, House, cold_wallet, key_of, pen_of, place_of, released, rule_of


def problem(
    keys: Sequence[KeyPlace] = PLACES,
    *,
    wallets: Mapping[str, WalletBackend] | None = None,
    people: Mapping[str, Person] = PEOPLE,
) -> str:
    with pytest.raises(ConfigError) as raised:
        check_keys({"cold": cold_wallet()} if wallets is None else wallets, keys, people)
    return str(raised.value)


def changed(name: str, **changes: object) -> list[KeyPlace]:
    return [attrs.evolve(place, **changes) if place.person == name else place for place in PLACES]


def hot(threshold: int = 2) -> tuple[PlainWallet, list[KeyPlace]]:
    places = [
        attrs.evolve(place_of(name, online=True), wallet="hot", place="server room")
        for name in ("alice", "bob", "carol")
    ]
    keys = {place.key: place.public for place in places}
    return PlainWallet(name="hot", threshold=threshold, keys=keys, scheme=SCHEME), places


def test_a_sound_map_is_accepted() -> None:
    check_keys({"cold": cold_wallet()}, PLACES, PEOPLE)
    hsm = attrs.evolve(place_of("frank", online=True), key="hsm-key", public=pen_of("hsm-key").public)
    check_keys({"cold": cold_wallet()}, [*PLACES, hsm], PEOPLE)


def test_everything_online_taken_at_once_would_suffice_so_the_map_is_refused() -> None:
    assert "alice-key, bob-key, carol-key are online, and 3 are enough" in problem(changed("carol", online=True))


def test_with_a_sound_map_everything_online_taken_at_once_is_under_quorum() -> None:
    """The thief has the desk, both online keys and the HSM, and even people who were drawn: the scripts refuse."""
    house = House()
    check_keys({"cold": house.wallet}, PLACES, PEOPLE)
    case = house.case()
    release = released(house.gate.release(case))
    taken = {place.key: house.partial(place.key, case.unsigned) for place in PLACES if place.online}
    assert len(taken) == house.wallet.threshold - 1
    of_drawn = {key: part for key, part in taken.items() if key.removesuffix("-key") in release.nominated}
    assert rule_of(house.gate.cosign(release, case.unsigned, of_drawn)) == "under-quorum"
    with pytest.raises(CustodyError, match="expected parts of 3"):
        house.wallet.finalize(case.unsigned, {**taken, "hsm-key": house.partial("hsm-key", case.unsigned)})


@given(st.sets(st.sampled_from(HOLDERS)))
def test_a_map_is_refused_exactly_when_what_is_online_reaches_the_threshold(online: set[str]) -> None:
    places = [attrs.evolve(place, online=place.person in online) for place in PLACES]
    if len(online) < 3:
        check_keys({"cold": cold_wallet()}, places, PEOPLE)
    else:
        assert "are online, and 3 are enough" in problem(places)


def test_one_person_with_two_keys_of_a_wallet_is_refused() -> None:
    assert "cold: alice holds more than one key" in problem(changed("bob", person="alice"))
    hsm = attrs.evolve(place_of("alice"), key="hsm-key", public=pen_of("hsm-key").public)
    assert "cold: alice holds more than one key" in problem([*PLACES, hsm])


def test_one_person_under_two_names_is_refused() -> None:
    people = PEOPLE | {"bob": attrs.evolve(PEOPLE["bob"], public=PEOPLE["alice"].public)}
    assert "alice and bob sign with one key: they are one person" in problem(people=people)
    assert "bob is listed as robert" in problem(people=PEOPLE | {"robert": PEOPLE["bob"]})


def test_one_key_under_two_names_is_refused() -> None:
    assert "cold: alice-key and bob-key are one key" in problem(changed("bob", public=PLACES[0].public))


def test_a_place_with_enough_keys_is_refused() -> None:
    places = [
        attrs.evolve(place, place="bank") if place.person in ("carol", "dave", "erin") else place for place in PLACES
    ]
    assert "cold: 3 keys are in bank, and 3 are enough" in problem(places)
    fewer = [attrs.evolve(place, place="bank") if place.person in ("carol", "dave") else place for place in PLACES]
    check_keys({"cold": cold_wallet()}, fewer, PEOPLE)


def test_a_key_that_nobody_holds_or_that_has_a_copy_is_refused() -> None:
    assert f"cold: nobody holds {key_of('erin')}" in problem(PLACES[:-1])
    copy = attrs.evolve(PLACES[0], person="frank", place="cellar")
    assert "cold: alice-key is in more than one place" in problem([*PLACES, copy])


def test_people_and_keys_that_nobody_knows_are_refused() -> None:
    assert "erin-key is held by mallory, whom nobody knows" in problem(changed("erin", person="mallory"))
    stray = attrs.evolve(place_of("frank"), key="spare")
    assert "spare is no key of a wallet cold" in problem([*PLACES, stray])
    assert "frank-key is no key of a wallet warm" in problem([*PLACES, attrs.evolve(place_of("frank"), wallet="warm")])


def test_a_wallet_that_one_key_can_empty_or_under_another_name_is_refused() -> None:
    assert "cold needs from 2 to 5 signatures, was 1" in problem(wallets={"cold": cold_wallet(threshold=1)})
    named = problem(wallets={"warm": cold_wallet()}, keys=[attrs.evolve(place, wallet="warm") for place in PLACES])
    assert "the wallet cold is listed as warm" in named


def test_a_hot_wallet_may_be_online_in_one_place_but_not_one_persons() -> None:
    wallet, places = hot()
    check_keys({"hot": wallet}, places, PEOPLE)
    assert "hot: alice holds more than one key" in problem(
        [places[0], attrs.evolve(places[1], person="alice"), places[2]], wallets={"hot": wallet}
    )
    single, places = hot(threshold=1)
    assert "hot needs from 2 to 3 signatures, was 1" in problem(places, wallets={"hot": single})


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = problem([attrs.evolve(place, online=True, place="bank") for place in PLACES[:-1]])
    for part in ("nobody holds erin-key", "4 keys are in bank", "are online"):
        assert part in told
