"""Which key maps no custody may be built on: who and what would be enough to empty a wallet."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from perpkit.custody.move import HOT
from perpkit.errors import ConfigError
from perpkit.ports.custody.people import KeyPlace, Person, PersonName
from perpkit.ports.custody.wallet import WalletBackend

T = TypeVar("T", bound=Hashable)


def check_keys(
    wallets: Mapping[str, WalletBackend], keys: Sequence[KeyPlace], people: Mapping[PersonName, Person]
) -> None:
    """Refuse a key map by which one person, one place, or all that is online at once can empty a wallet.

    The HSM helps nobody here: it is connected, so whoever takes everything that is online can use it.

    Raises:
        ConfigError: everything that is wrong with the map.
    """
    problems = [*_people_problems(people), *_place_problems(wallets, keys, people)]
    for name, wallet in wallets.items():
        problems += _wallet_problems(name, wallet, [place for place in keys if place.wallet == name])
    if problems:
        raise ConfigError(f"these keys keep nothing safe: {'; '.join(problems)}")


def _people_problems(people: Mapping[PersonName, Person]) -> Iterator[str]:
    for name, person in people.items():
        if person.name != name:
            yield f"{person.name} is listed as {name}"
    for public in _twice(person.public for person in people.values()):
        names = sorted(name for name, person in people.items() if person.public == public)
        yield f"{' and '.join(names)} sign with one key: they are one person"


def _place_problems(
    wallets: Mapping[str, WalletBackend], keys: Sequence[KeyPlace], people: Mapping[PersonName, Person]
) -> Iterator[str]:
    for place in keys:
        if place.person not in people:
            yield f"{place.key} is held by {place.person}, whom nobody knows"
        wallet = wallets.get(place.wallet)
        if wallet is None or place.key not in (*wallet.keys, wallet.hsm_key):
            yield f"{place.key} is no key of a wallet {place.wallet}"


def _wallet_problems(name: str, wallet: WalletBackend, places: Sequence[KeyPlace]) -> Iterator[str]:
    if wallet.name != name:
        yield f"the wallet {wallet.name} is listed as {name}"
    if not 2 <= wallet.threshold <= len(wallet.keys):
        yield f"{name} needs from 2 to {len(wallet.keys)} signatures, was {wallet.threshold}"
    for key in sorted(set(wallet.keys) - {place.key for place in places}):
        yield f"{name}: nobody holds {key}"
    for key in _twice(place.key for place in places):
        yield f"{name}: {key} is in more than one place"
    for public in _twice(place.public for place in places):
        same = sorted(place.key for place in places if place.public == public)
        yield f"{name}: {' and '.join(same)} are one key"
    for person in _twice(place.person for place in places):
        yield f"{name}: {person} holds more than one key"
    if name == HOT:
        return
    signing = [place for place in places if place.key != wallet.hsm_key]
    for where, count in sorted(Counter(place.place for place in signing).items()):
        if count >= wallet.threshold:
            yield f"{name}: {count} keys are in {where}, and {wallet.threshold} are enough"
    online = sorted(place.key for place in signing if place.online)
    if len(online) >= wallet.threshold:
        yield f"{name}: {', '.join(online)} are online, and {wallet.threshold} are enough"


def _twice(values: Iterable[T]) -> list[T]:
    return [value for value, count in Counter(values).items() if count > 1]
