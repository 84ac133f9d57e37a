"""Rules about what comes up on the way to the release: approvals, nomination, the draft, the HSM."""

from typing import Any

import attrs

from perpkit.custody.move import is_move
from perpkit.custody.policy.rule import (
    Case,
    Finding,
    OfAsset,
    Roles,
    Scoped,
    deny,
    exact,
    humans,
    in_words,
    positive,
    some_roles,
    suffice,
)
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import Transcript
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.wallet import Effects
from perpkit.units import Units


@attrs.frozen(kw_only=True)
class Tier:
    """How many people of each role it takes from an amount on."""

    from_units: Units
    roles: Roles = attrs.field(validator=some_roles)


def _in_order(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    return tuple(sorted(tiers, key=lambda tier: tier.from_units))


def _tiers(_: object, attribute: "attrs.Attribute[Any]", value: tuple[Tier, ...]) -> None:
    starts = [tier.from_units for tier in value]
    if starts[:1] != [0] or starts != sorted(set(starts)):
        raise ValueError(f"{attribute.name}: expected one with from_units = 0, and each start once, was {starts}")


@attrs.frozen(kw_only=True)
class Quorum(OfAsset):
    """So many people of each role have to approve: the more units, the more people."""

    kind = "quorum"

    tiers: tuple[Tier, ...] = attrs.field(converter=_in_order, validator=_tiers)

    def needed(self, request: Request) -> Roles:
        """Return what the highest tier that the amount reaches asks for."""
        reached = [tier.roles for tier in self.tiers if tier.from_units <= request.amount_units]
        return reached[-1] if reached else self.tiers[-1].roles

    def judge(self, case: Case) -> Finding | None:
        """See the class. All quorums together: one human fills one place, and an approval of another digest none."""
        if not case.releasing or suffice(approvers := case.approvers(), case.needed):
            return None
        return deny(f"Expected approvals by {in_words(case.needed)}; was {', '.join(sorted(approvers)) or 'none'}.")


@attrs.frozen(kw_only=True)
class Segregation(Scoped):
    """Nobody plays two parts in a request, and people with some roles play none."""

    kind = "segregation"

    outside_roles: frozenset[str] = attrs.field(
        default=frozenset({"policy-editor", "reconciler"}), metadata={"stricter": "more"}
    )

    def judge(self, case: Case) -> Finding | None:
        """See the class. It is humans that count, not names or keys; an account's owner is nobody of the house."""
        transcript: Transcript | None = case.later("nomination")
        initiator = case.request.initiator
        parts = {
            "initiator": humans(case.facts, [initiator] if initiator else []),
            "approver": case.approvers(),
            "nominated signer": humans(case.facts, transcript.nominated if transcript else ()),
        }
        played: dict[PersonName, str] = {}
        for part, people in parts.items():
            for name, person in people.items():
                if outside := sorted(person.roles & self.outside_roles):
                    return deny(f"{name} is {part}, and as {outside[0]} takes no part in requests.")
                if name in played:
                    return deny(f"{name} is both {played[name]} and {part}.")
                played[name] = part
        return None


@attrs.frozen(kw_only=True)
class Nomination(Scoped):
    """The signers are those of a draw for this very request, all of them holders of a key of the wallet."""

    kind = "nomination"

    seats: int = attrs.field(validator=positive)

    def judge(self, case: Case) -> Finding | None:
        """See the class. That the draw itself is right, the gate and every signer work out again."""
        transcript: Transcript | None = case.later("nomination")
        if transcript is None:
            return None
        opening, nominated = transcript.opening, transcript.nominated
        if opening.request != case.digest:
            return deny("The draw was for another request.")
        people = humans(case.facts, nominated)
        if not self.seats == opening.seats == len(nominated) == len(people):
            return deny(
                f"Expected {self.seats} different people drawn for {self.seats} seats,"
                f" was {', '.join(nominated)} for {opening.seats}."
            )
        # Deposit addresses are branches of the wallet that deposits are collected in.
        wallet = case.request.target if case.request.source == "deposit" else case.request.source
        holders = {key.person for key in case.facts.keys if key.wallet == wallet}
        for name in nominated:
            if name not in opening.eligible:
                return deny(f"{name} was not eligible.")
            if name not in holders:
                return deny(f"{name} holds no key of the wallet {wallet}.")
        return None


@attrs.frozen(kw_only=True)
class Shape(OfAsset):
    """The draft pays what was asked for to whom it was asked for, keeps the rest, and its fee is bounded.

    The fee is part of the amount, except of a move to the hot wallet: the house's coins pay that, and nothing else.
    """

    kind = "shape"

    fee_max_units: Units = attrs.field(validator=positive, metadata={"stricter": "lower"})
    fee_rate_max_units: Units = attrs.field(validator=positive, metadata={"stricter": "lower"})

    def judge(self, case: Case) -> Finding | None:
        """See the class. `fee_rate_max_units` is for 1,000 virtual bytes."""
        effects: Effects | None = case.later("effects")
        if effects is None:
            return None
        request, fee = case.request, exact(effects.fee_units, "fee_units")
        if effects.unknown:
            return deny(f"The draft has in it what should not be: {', '.join(effects.unknown)}.")
        if len(effects.payments) != 1 or effects.payments[0].script != request.script:
            return deny("Expected one payment, to the script of the request.")
        paid, moving = _sum(effects.payments), is_move(request)
        if not paid or paid + (0 if moving else fee) != request.amount_units:
            return deny(
                f"Expected a payment of {request.amount_units} units without a fee of {fee}, was {paid}."
                if moving
                else f"Expected payment and fee to be {request.amount_units} units, was {paid} and {fee}."
            )
        house = _sum(coin for point, coin in effects.spends if point in effects.house_spends)
        back = _sum(effects.house_change)
        if house != back + (fee if moving else 0) or (house and not moving):
            return deny(f"{house} units of the house go in, and {back} come back; the fee is {fee}.")
        spent, kept = _sum(coin for _, coin in effects.spends), _sum(effects.change)
        if spent != paid + fee + kept + back:
            return deny(f"{spent} units go in, and {paid} paid, {fee} of fee and {kept + back} of change come out.")
        if fee > self.fee_max_units:
            return deny(f"Expected a fee of at most {self.fee_max_units} units, was {fee}.")
        if fee * 1000 > self.fee_rate_max_units * exact(effects.virtual_bytes, "virtual_bytes"):
            return deny(
                f"Expected a fee of at most {self.fee_rate_max_units} units for 1,000 virtual bytes,"
                f" was {fee} for {effects.virtual_bytes}."
            )
        return None


def _sum(outputs: Any) -> Units:
    return sum(exact(output.amount_units, "amount_units") for output in outputs)


@attrs.frozen(kw_only=True)
class Hsm(Scoped):
    """The HSM shows that it is the one that was enrolled and in order."""

    kind = "hsm"

    untampered: bool = attrs.field(default=False, metadata={"stricter": "higher"})

    def judge(self, case: Case) -> Finding | None:
        """See the class. With `untampered`, its maker has to vouch for it."""
        attestation: Attestation | None = case.later("attestation")
        if attestation is None or (attestation.untampered if self.untampered else attestation.healthy):
            return None
        wanted = "vouched for by its maker" if self.untampered else "healthy"
        return deny(f"Expected an HSM that is {wanted}; {', '.join(attestation.problems) or 'it says no more'}.")


@attrs.frozen(kw_only=True)
class Idempotency(Scoped):
    """What was signed once is not signed again."""

    kind = "idempotency"

    def judge(self, case: Case) -> Finding | None:
        """See the class.

        The gate answers for the same draft, or for one that takes its place by spending the same coin, before it asks
        its policy; whatever else comes under a digest that was signed is a second payment.
        """
        signed = case.later("signed")
        if signed is None or case.digest not in signed:
            return None
        return deny("This request was signed before.")
