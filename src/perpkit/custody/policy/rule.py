"""What a rule is: typed data that looks at a case and says what it objects to."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import attrs

from perpkit.ports.custody.people import Person, PersonName
from perpkit.ports.custody.policy import Facts, Request, Stage, Verdict
from perpkit.units import Nanos

T = TypeVar("T")
Roles: TypeAlias = Mapping[str, int]
"""How many people of each role."""

PLACES = ("deposit", "cold", "hot", "client", "house")
POLICY = "policy"
"""What a decision names when it was no single rule that objected."""

BOUND = 2**63
"""Amounts and times are below it; a policy that met more could not be checked by a machine of 64 bits."""
HOURS_MAX = 87_600
GREATEST = {"hours": HOURS_MAX, "minutes": 60 * HOURS_MAX, "percent": 100}
"""Ten years, and all of it: a greater number is a slip."""
ROLES_MAX = 10


class CannotJudgeError(Exception):
    """A fact is missing or cannot be true. It never leaves the policy: whoever meets it denies."""


class Finding(NamedTuple):
    """What a rule objects to, in one sentence; `role` is who may take a request on that it does not decide."""

    verdict: Verdict
    sentence: str
    role: str = ""


@attrs.frozen(kw_only=True)
class Case:
    """A request with what is known about it: what every rule is shown. `needed` is what all quorums ask for."""

    request: Request
    facts: Facts
    digest: bytes
    needed: Roles

    @property
    def releasing(self) -> bool:
        """Whether this is the last look, at which every fact has to be there."""
        return self.facts.stage is not Stage.REQUEST

    def later(self, name: str) -> Any:
        """Return a fact that comes up on the way to the release: None while it may still be missing.

        Raises:
            CannotJudgeError: it is missing at the release.
        """
        value = getattr(self.facts, name)
        return known(value, name) if self.releasing else value

    def approvers(self) -> dict[PersonName, Person]:
        """Return who approved this very request, each human once.

        Raises:
            CannotJudgeError: somebody is not known.
        """
        return humans(self.facts, [each.person for each in self.facts.approvals if each.digest == self.digest])


@attrs.frozen(kw_only=True)
class Rule:
    """One rule of a policy. The first line of a kind's docstring is what people read."""

    kind: ClassVar[str] = ""

    def concerns(self, request: Request) -> bool:
        """Say whether a request is this rule's business."""
        raise NotImplementedError

    def judge(self, case: Case) -> Finding | None:
        """Return what is wrong, or None. Whatever it raises is a denial."""
        raise NotImplementedError


def place(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    """Refuse what is not a place where coins can be.

    Raises:
        ValueError: it is none.
    """
    if value and value not in PLACES:
        raise ValueError(f"{attribute.name}: expected one of {', '.join(PLACES)}; was {value!r}")


def some_text(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    """Refuse a name of nothing, which would be a rule about everything, or nobody.

    Raises:
        ValueError: it is empty.
    """
    if not value:
        raise ValueError(f"{attribute.name}: expected a name, was empty")


def positive(_: object, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    """Refuse a number that is zero, negative or beyond 64 bits; None is no limit.

    Raises:
        ValueError: it is one of those.
    """
    greatest = next((most for unit, most in GREATEST.items() if attribute.name.endswith(unit)), BOUND - 1)
    if value is not None and not 0 < value <= greatest:
        raise ValueError(f"{attribute.name}: expected a whole number from 1 to {greatest}, was {value}")


def some_roles(_: object, attribute: "attrs.Attribute[Roles]", value: Roles) -> None:
    """Refuse a quorum of nobody.

    Raises:
        ValueError: there is no role, or one of which fewer than one person is wanted.
    """
    if not 0 < len(value) <= ROLES_MAX or min(value.values()) < 1:
        raise ValueError(
            f"{attribute.name}: expected from 1 to {ROLES_MAX} roles, each with how many people, was {dict(value)}"
        )


@attrs.frozen(kw_only=True)
class Scoped(Rule):
    """A rule about some requests: of an asset, from a place, to a place. What is left out is any."""

    asset: str = ""
    source: str = attrs.field(default="", validator=place)
    target: str = attrs.field(default="", validator=place)

    def concerns(self, request: Request) -> bool:
        """Say whether asset, source and target are those of the rule."""
        return (
            self.asset in ("", request.asset)
            and self.source in ("", request.source)
            and self.target in ("", request.target)
        )


@attrs.frozen(kw_only=True)
class OfAsset(Scoped):
    """A rule that counts units, so it has to say of what."""

    asset: str = attrs.field(validator=some_text)


def deny(sentence: str) -> Finding:
    """Return a denial."""
    return Finding(Verdict.DENY, sentence)


def known(value: T | None, name: str) -> T:
    """Return a fact that has to be there.

    Raises:
        CannotJudgeError: it is not.
    """
    if value is None:
        raise CannotJudgeError(f"{name} is unknown")
    return value


def exact(value: int, name: str) -> int:
    """Return an amount or a time that can be one.

    Raises:
        CannotJudgeError: it is no whole number from 0 to 2^63 − 1.
    """
    if type(value) is not int or not 0 <= value < BOUND:
        raise CannotJudgeError(f"expected {name} to be a whole number of 63 bits")
    return value


def age_ns(facts: Facts, at: Nanos, name: str) -> Nanos:
    """Return how long ago something was; less than zero when it is still to come.

    Units:
        Nanoseconds, as is `at`.
    """
    return facts.now_ns - exact(at, name)


def humans(facts: Facts, names: Iterable[PersonName]) -> dict[PersonName, Person]:
    """Return who people are, each human once, whatever names they go by.

    Raises:
        CannotJudgeError: somebody is not known.
    """
    found = [known(facts.people.get(name), f"the person {name!r}") for name in names]
    return {person.name: person for person in found}


def suffice(people: Mapping[PersonName, Person], needed: Roles) -> bool:
    """Say whether people can fill all the places of a quorum, each of them one (Hall's marriage theorem).

    Raises:
        CannotJudgeError: there are more roles than can be looked at in all combinations.
    """
    if len(needed) > ROLES_MAX:
        raise CannotJudgeError(f"expected at most {ROLES_MAX} roles, was {len(needed)}")
    return all(
        sum(not person.roles.isdisjoint(roles) for person in people.values()) >= sum(needed[role] for role in roles)
        for size in range(1, len(needed) + 1)
        for roles in combinations(needed, size)
    )


def in_words(needed: Roles) -> str:
    """Return a quorum as people say it.

    Example:
        >>> in_words({"approver": 2, "officer": 1})
        '2 approver, 1 officer'
    """
    return ", ".join(f"{count} {role}" for role, count in sorted(needed.items()))
