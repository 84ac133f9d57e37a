"""The setup file of a custody: who takes part, whose keys make which wallet, and on what terms."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from perpkit.custody.desk.core import DeskTerms
from perpkit.custody.draw.nomination import CommitReveal
from perpkit.custody.move import COLD
from perpkit.errors import ConfigError
from perpkit.plugin.structure import new_converter, structure
from perpkit.ports.custody.people import KeyPlace, Person, PersonName
from perpkit.units import MINUTE_NS


@attrs.frozen(kw_only=True)
class NominationTerms:
    """How signers are drawn: see `CommitReveal` and `ChainBeacon`."""

    attempts_max: int = 3
    rounds_ahead: int = 2
    beacon_depth: int = attrs.field(default=1, validator=attrs.validators.ge(1))

    def nominator(self) -> CommitReveal:
        """Return who draws by these terms."""
        return CommitReveal(attempts_max=self.attempts_max, rounds_ahead=self.rounds_ahead)


@attrs.frozen(kw_only=True)
class Setup:
    """What a setup file says. `wallets` and `hsm` are for whoever makes these to read."""

    people: Mapping[PersonName, Person]
    keys: tuple[KeyPlace, ...]
    policy: str
    terms: DeskTerms
    nomination: NominationTerms
    wallets: Mapping[str, Mapping[str, Any]]
    hsm: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class _PersonTable:
    roles: frozenset[str]
    public: bytes


@attrs.frozen(kw_only=True)
class _KeyTable:
    person: str
    place: str
    online: bool
    public: bytes


@attrs.frozen(kw_only=True)
class _TermsTable:
    confirmations: int = 6
    from_height: int = 0
    fee_blocks: int = 6
    expiry_minutes: int = 1_440
    nomination_minutes: int = 360
    signing_minutes: int = 360
    reconcile_minutes: int = 5
    hot_limit_units: int = 0
    resume_quorum: Mapping[str, int]

    def terms(self) -> DeskTerms:
        return DeskTerms(
            confirmations=self.confirmations,
            from_height=self.from_height,
            fee_blocks=self.fee_blocks,
            expiry_ns=self.expiry_minutes * MINUTE_NS,
            nomination_ns=self.nomination_minutes * MINUTE_NS,
            signing_ns=self.signing_minutes * MINUTE_NS,
            reconcile_ns=self.reconcile_minutes * MINUTE_NS,
            hot_limit_units=self.hot_limit_units,
            resume_quorum=self.resume_quorum,
        )


@attrs.frozen(kw_only=True)
class _File:
    policy: str
    people: Mapping[str, _PersonTable]
    keys: Mapping[str, Mapping[str, _KeyTable]]
    wallets: Mapping[str, Mapping[str, Any]]
    hsm: Mapping[str, Any]
    terms: _TermsTable
    nomination: NominationTerms = attrs.field(factory=NominationTerms)


def _hex(value: object, _: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"expected bytes in hex, was {type(value).__name__} {value!r}")
    return bytes.fromhex(value)


_converter = new_converter()
_converter.register_structure_hook(bytes, _hex)
_converter.register_structure_hook(Any, lambda value, _: value)


def read_setup(path: str | Path) -> Setup:
    """Read the setup file of a custody and the policy that it names, which is looked for beside it.

    ```toml
    policy = "policy.toml"

    [terms]
    confirmations = 3
    resume_quorum = { officer = 2 }

    [people.ann]                # a human being, once
    roles = ["approver"]
    public = "…"                # what their approvals are checked with, in hex

    [hsm]                       # what the maker of the HSM's token needs to know
    public = "…"

    [wallets.cold]              # what the maker of the wallet needs to know
    threshold = 2
    hsm = true

    [keys.cold.cold-ann]        # a key of the wallet `cold`
    person = "ann"
    place = "vault in Zurich"
    online = false
    public = "…"
    ```

    Raises:
        ConfigError: a file cannot be read, or something in it is missing, unknown or of another type; the message says
            what and under which key.
    """
    path = Path(path)
    try:
        loaded = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: expected a setup file in TOML: {error}") from error
    file = structure(_converter, loaded, _File, str(path))
    try:
        terms = file.terms.terms()
    except ValueError as error:
        raise ConfigError(f"{path}: terms: {error}") from error
    if COLD not in file.wallets:
        raise ConfigError(
            f"{path}: wallets: expected one named {COLD!r}, where deposits go; had {sorted(file.wallets)}"
        )
    policy = path.parent / file.policy
    try:
        text = policy.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: policy: expected a file beside this one: {error}") from error
    return Setup(
        people={name: Person(name=name, roles=each.roles, public=each.public) for name, each in file.people.items()},
        keys=_places(file),
        policy=text,
        terms=terms,
        nomination=file.nomination,
        wallets=file.wallets,
        hsm=file.hsm,
    )


def _places(file: _File) -> tuple[KeyPlace, ...]:
    return tuple(
        KeyPlace(key=key, wallet=wallet, person=each.person, place=each.place, online=each.online, public=each.public)
        for wallet, keys in file.keys.items()
        for key, each in keys.items()
    )
