"""Rules about what is known when a request comes in; all of them look again at the release."""

from collections.abc import Iterator
from typing import Any

import attrs

from perpkit.custody.policy.rule import (
    HOURS_MAX,
    Case,
    Finding,
    OfAsset,
    Roles,
    Scoped,
    age_ns,
    deny,
    exact,
    humans,
    in_words,
    known,
    positive,
    some_roles,
    some_text,
    suffice,
)
from perpkit.ports.custody.policy import Past, Verdict
from perpkit.units import HOUR_NS, MINUTE_NS, Nanos, Units, div_floor

DAY_NS = 24 * HOUR_NS
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CHANGES = ("password", "two-factor", "e-mail", "device", "address")
PATHS = (("deposit", "cold"), ("cold", "hot"), ("hot", "client"), ("cold", "client"))
"""Where coins may go at all. A policy picks from these; that clients' coins go to the house is not one of them."""
SPENDERS = ("user", "wallet", "asset")


@attrs.frozen(kw_only=True)
class Halt(Scoped):
    """Nothing moves while everything, the asset or one of the two wallets is switched off."""

    kind = "halt"

    def judge(self, case: Case) -> Finding | None:
        """See the class."""
        request = case.request
        off = sorted(case.facts.switched_off & {"all", request.asset, request.source, request.target})
        return deny(f"{', '.join(off)} is switched off.") if off else None


@attrs.frozen(kw_only=True)
class Destinations(Scoped):
    """Coins go to clients only at addresses of their own that enough people have approved some hours ago."""

    kind = "destination"

    delay_hours: int = attrs.field(validator=positive, metadata={"stricter": "higher"})
    roles: Roles = attrs.field(validator=some_roles, metadata={"stricter": "higher"})

    def judge(self, case: Case) -> Finding | None:
        """See the class. Who deletes an address takes its entry away, and that counts at once."""
        request, facts = case.request, case.facts
        if request.target != "client":
            return deny(f"Coins for {request.target} need no destination.") if request.destination else None
        entry = known(facts.destination, "destination")
        if not entry.number or entry.number != request.destination:
            return deny("The request names another entry of the address book.")
        if entry.account != request.account:
            return deny(f"The destination belongs to account {entry.account}, not to {request.account}.")
        if entry.script != request.script:
            return deny("The script is not the one in the address book.")
        if age_ns(facts, entry.active_ns, "active_ns") < 0:
            return deny("The destination is not active yet.")
        if age_ns(facts, entry.added_ns, "added_ns") < self.delay_hours * HOUR_NS:
            return deny(f"The destination was added less than {self.delay_hours} hours ago.")
        approved = humans(facts, entry.approved_by)
        if not suffice(approved, self.roles):
            return deny(f"Expected {in_words(self.roles)} to have approved the destination, was {', '.join(approved)}.")
        return None


def _cool_downs(_: object, attribute: "attrs.Attribute[Any]", value: Roles) -> None:
    for what, hours in value.items():
        if what not in CHANGES:
            raise ValueError(f"{attribute.name}: expected keys among {', '.join(CHANGES)}; was {what!r}")
        if not 0 < hours <= HOURS_MAX:
            raise ValueError(f"{attribute.name}.{what}: expected a whole number from 1 to {HOURS_MAX}, was {hours}")
    if not value:
        raise ValueError(f"{attribute.name}: expected at least one of {', '.join(CHANGES)}")


@attrs.frozen(kw_only=True)
class CoolDown(Scoped):
    """A client who has just changed a password, a second factor, an e-mail, a device or an address waits."""

    kind = "cool-down"

    hours: Roles = attrs.field(validator=_cool_downs, metadata={"stricter": "higher"})

    def judge(self, case: Case) -> Finding | None:
        """See the class. A change that is not listed has never been made."""
        facts = case.facts
        if case.request.target != "client":
            return None
        for what, hours in sorted(self.hours.items()):
            if what == "address":
                at = known(facts.destination, "destination").added_ns
            elif what in (changes := {**known(facts.changes, "changes")}):  # text has an `in` too
                at = changes[what]
            else:
                continue
            if age_ns(facts, at, what) < hours * HOUR_NS:
                return deny(f"The {what} changed less than {hours} hours ago.")
        return None


def _earlier(case: Case, per: str, since: Nanos) -> list[Past]:
    """Return what counts together with this request: earlier ones since a time, or still to come."""
    request = case.request
    return [
        past
        for past in known(case.facts.past, "past")
        if past.asset == request.asset
        and exact(past.at_ns, "past.at_ns") >= since
        and (per != "user" or past.account == request.account)
        and (per != "wallet" or past.source == request.source)
    ]


def _total(case: Case, earlier: list[Past]) -> Units:
    return case.request.amount_units + sum(exact(past.amount_units, "past.amount_units") for past in earlier)


@attrs.frozen(kw_only=True)
class Limit(OfAsset):
    """At most so much in one request, in a day (UTC) of a user, a wallet or the asset, or of what a wallet has."""

    kind = "limit"

    transaction_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})
    user_day_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})
    wallet_day_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})
    asset_day_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})
    wallet_percent: int | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})

    def __attrs_post_init__(self) -> None:
        """Refuse a limit that limits nothing.

        Raises:
            ValueError: it has no key.
        """
        if not any((self.transaction_units, self.wallet_percent, *dict(self._by_day()).values())):
            raise ValueError("expected at least one limit")

    def judge(self, case: Case) -> Finding | None:
        """See the class."""
        return next(self._findings(case), None)

    def _by_day(self) -> tuple[tuple[str, Units | None], ...]:
        return tuple(zip(SPENDERS, (self.user_day_units, self.wallet_day_units, self.asset_day_units), strict=True))

    def _findings(self, case: Case) -> Iterator[Finding]:
        amount = case.request.amount_units
        if self.transaction_units is not None and amount > self.transaction_units:
            yield deny(f"Expected at most {self.transaction_units} units in one request, was {amount}.")
        midnight = div_floor(case.facts.now_ns, DAY_NS) * DAY_NS
        for per, limit in self._by_day():
            if limit is not None and (total := _total(case, _earlier(case, per, midnight))) > limit:
                yield deny(f"Expected at most {limit} units of one {per} in a day, was {total} with this request.")
        if self.wallet_percent is not None:
            held = exact(known(case.facts.wallet_units, "wallet_units"), "wallet_units")
            if amount * 100 > self.wallet_percent * held:
                yield deny(f"Expected at most {self.wallet_percent} percent of the {held} units in the wallet.")


def _spender(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if value not in SPENDERS:
        raise ValueError(f"{attribute.name}: expected one of {', '.join(SPENDERS)}; was {value!r}")


@attrs.frozen(kw_only=True)
class Velocity(OfAsset):
    """No more than so much, or so often, within any stretch of some hours: a window that slides."""

    kind = "velocity"

    per: str = attrs.field(validator=_spender)
    window_hours: int = attrs.field(validator=positive, metadata={"stricter": "higher"})
    amount_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})
    count: int | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})

    def __attrs_post_init__(self) -> None:
        """Refuse a rule that limits nothing.

        Raises:
            ValueError: it has neither an amount nor a count.
        """
        if self.amount_units is None and self.count is None:
            raise ValueError("expected amount_units, count or both")

    def judge(self, case: Case) -> Finding | None:
        """See the class. What was exactly that many hours ago counts no more."""
        earlier = _earlier(case, self.per, case.facts.now_ns - self.window_hours * HOUR_NS + 1)
        within = f"of one {self.per} in {self.window_hours} hours"
        if self.amount_units is not None and (total := _total(case, earlier)) > self.amount_units:
            return deny(f"Expected at most {self.amount_units} units {within}, was {total} with this request.")
        if self.count is not None and len(earlier) >= self.count:
            return deny(f"Expected at most {self.count} requests {within}, was {len(earlier) + 1} with this one.")
        return None


@attrs.frozen(kw_only=True)
class Path(OfAsset):
    """Coins of an asset may go from one place to another, in amounts within bounds. What no path names stays."""

    kind = "path"

    source: str
    target: str
    amount_min_units: Units = attrs.field(default=1, validator=positive, metadata={"stricter": "higher"})
    amount_max_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})

    def __attrs_post_init__(self) -> None:
        """Refuse a way that coins must never go.

        Raises:
            ValueError: it is not one of `PATHS`, or to the hot wallet without a cap.
        """
        if (self.source, self.target) not in PATHS:
            ways = ", ".join(f"{source} to {target}" for source, target in PATHS)
            raise ValueError(f"source, target: expected one of {ways}; was {self.source} to {self.target}")
        if self.target == "hot" and self.amount_max_units is None:
            raise ValueError("amount_max_units: expected a cap on what goes to the hot wallet")

    def judge(self, case: Case) -> Finding | None:
        """See the class."""
        amount = case.request.amount_units
        if amount < self.amount_min_units:
            return deny(f"Expected at least {self.amount_min_units} units on this path, was {amount}.")
        if self.amount_max_units is not None and amount > self.amount_max_units:
            return deny(f"Expected at most {self.amount_max_units} units on this path, was {amount}.")
        return None


def _weekdays(_: object, attribute: "attrs.Attribute[Any]", value: frozenset[str]) -> None:
    if not value or not value <= set(WEEKDAYS):
        raise ValueError(f"{attribute.name}: expected some of {', '.join(WEEKDAYS)}; was {', '.join(sorted(value))}")


def _in_order(pairs: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(sorted(pairs))


def _hours(_: object, attribute: "attrs.Attribute[Any]", value: tuple[tuple[int, ...], ...]) -> None:
    if not value or not all(len(pair) == 2 and 0 <= pair[0] < pair[1] <= 24 for pair in value):
        raise ValueError(
            f"{attribute.name}: expected pairs like [9, 17], from 0 to 24, was {[list(pair) for pair in value]}"
        )


@attrs.frozen(kw_only=True)
class Window(Scoped):
    """Coins move only on some days and at some hours, in UTC."""

    kind = "window"

    weekdays: frozenset[str] = attrs.field(default=frozenset(WEEKDAYS), validator=_weekdays)
    hours: tuple[tuple[int, ...], ...] = attrs.field(converter=_in_order, validator=_hours)
    release_only: bool = False

    def judge(self, case: Case) -> Finding | None:
        """See the class. With `release_only`, requests may come at any time and wait for their batch.

        Rounds:
            The hour that a denial names, down.
        """
        if self.release_only and not case.releasing:
            return None
        weekday, time_ns = _weekday_and_time(case.facts.now_ns)
        if weekday in self.weekdays and any(a * HOUR_NS <= time_ns < b * HOUR_NS for a, b in self.hours):
            return None
        hours = ", ".join(f"{first}:00 to {end}:00" for first, end in self.hours)
        days = ", ".join(each for each in WEEKDAYS if each in self.weekdays)
        return deny(f"Expected {hours} UTC on {days}; was {weekday} {div_floor(time_ns, HOUR_NS)}:xx.")


def _weekday_and_time(now: Nanos) -> tuple[str, Nanos]:
    day = div_floor(now, DAY_NS)
    since_monday = day + 3  # 1 January 1970 was a Thursday
    return WEEKDAYS[since_monday - 7 * div_floor(since_monday, 7)], now - day * DAY_NS


@attrs.frozen(kw_only=True)
class Reconciliation(Scoped):
    """Nothing moves unless ledger and chain were found equal within the last minutes."""

    kind = "reconciliation"

    minutes: int = attrs.field(validator=positive, metadata={"stricter": "lower"})

    def judge(self, case: Case) -> Finding | None:
        """See the class."""
        age = age_ns(case.facts, known(case.facts.reconciled_ns, "reconciled_ns"), "reconciled_ns")
        if 0 <= age < self.minutes * MINUTE_NS:
            return None
        return deny(f"Expected a reconciliation within {self.minutes} minutes.")


@attrs.frozen(kw_only=True)
class StepUp(Scoped):
    """Large requests, and those to a new destination, are taken on by a person first."""

    kind = "step-up"

    role: str = attrs.field(validator=some_text)
    from_units: Units | None = attrs.field(default=None, validator=positive, metadata={"stricter": "lower"})
    new_destination_hours: int | None = attrs.field(default=None, validator=positive, metadata={"stricter": "higher"})

    def __attrs_post_init__(self) -> None:
        """Refuse a rule that never applies, or counts units of anything.

        Raises:
            ValueError: it has neither of the two keys, or an amount without an asset.
        """
        if self.from_units is None and self.new_destination_hours is None:
            raise ValueError("expected from_units, new_destination_hours or both")
        if self.from_units is not None and not self.asset:
            raise ValueError("asset: expected a value beside from_units")

    def judge(self, case: Case) -> Finding | None:
        """See the class."""
        request, facts = case.request, case.facts
        if facts.stepped_up is True:
            return None
        if self.from_units is not None and request.amount_units >= self.from_units:
            return self._ask(f"{request.amount_units} units are {self.from_units} or more")
        if self.new_destination_hours is not None and request.target == "client":
            added = known(facts.destination, "destination").added_ns
            if age_ns(facts, added, "added_ns") < self.new_destination_hours * HOUR_NS:
                return self._ask(f"the destination was added less than {self.new_destination_hours} hours ago")
        return None

    def _ask(self, why: str) -> Finding:
        sentence = f"Expected a person with the role {self.role} to take this on: {why}."
        return Finding(Verdict.STEP_UP, sentence, self.role)
