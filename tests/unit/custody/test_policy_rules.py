"""Each of the 16 kinds of rule: what it lets pass, what it stops, where exactly it turns, and what it does not know.

Every test adds one rule to a policy that lets BTC go from cold to client, and changes a case in which nothing is amiss:
1,000 units for account 7, asked by ivy on Monday 2 March 2026 at 9:30 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest

from perpkit.custody.digest import request_digest
from perpkit.custody.policy import load_policy
from perpkit.custody.policy.text import KINDS
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import Opening, Transcript
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.ports.custody.policy import Approval, Destination, Facts, Past, Request, Stage, Verdict
from perpkit.ports.custody.wallet import Effects

SECOND, MINUTE, HOUR = 10**9, 60 * 10**9, 3600 * 10**9
NOW = int(datetime(2026, 3, 2, 9, 30, tzinfo=UTC).timestamp()) * SECOND
MIDNIGHT = NOW - 9 * HOUR - 30 * MINUTE
ALLOW, DENY, STEP_UP = Verdict.ALLOW, Verdict.DENY, Verdict.STEP_UP

HEAD = """
version = 1
name = "one path"
[rules.out]
kind = "path"
asset = "BTC"
source = "cold"
target = "client"
[rules.tried]
"""
RULES = {
    "halt": 'kind = "halt"',
    "destination": 'kind = "destination"\ndelay_hours = 24\nroles = { support = 2 }',
    "cool-down": 'kind = "cool-down"\nhours = { password = 24, e-mail = 48, address = 12 }',
    "limit": 'kind = "limit"\nasset = "BTC"\ntransaction_units = 1000\nuser_day_units = 1500\n'
    "wallet_day_units = 1600\nasset_day_units = 1700\nwallet_percent = 10",
    "velocity": 'kind = "velocity"\nasset = "BTC"\nper = "user"\nwindow_hours = 2\namount_units = 1500\ncount = 2',
    "quorum": 'kind = "quorum"\nasset = "BTC"\n'
    "tiers = [{ from_units = 0, roles = { approver = 1 } },\n"
    "{ from_units = 1000, roles = { approver = 1, officer = 1 } }]",
    "segregation": 'kind = "segregation"',
    "nomination": 'kind = "nomination"\nseats = 2',
    "path": 'kind = "path"\nasset = "BTC"\nsource = "cold"\ntarget = "client"\n'
    "amount_min_units = 500\namount_max_units = 1000",
    "window": 'kind = "window"\nweekdays = ["mon", "thu"]\nhours = [[9, 10], [17, 18]]',
    "shape": 'kind = "shape"\nasset = "BTC"\nfee_max_units = 40\nfee_rate_max_units = 100',
    "hsm": 'kind = "hsm"',
    "reconciliation": 'kind = "reconciliation"\nminutes = 10',
    "idempotency": 'kind = "idempotency"',
    "step-up": 'kind = "step-up"\nasset = "BTC"\nrole = "officer"\nfrom_units = 1001\nnew_destination_hours = 24',
    "change": 'kind = "change"\nroles = { policy-editor = 1 }\ndelay_hours = 48',
}
REQUEST = Request(
    withdrawal_id=1, asset="BTC", account=7, amount_units=1000, destination=3, script=b"to", source="cold",
    target="client", initiator="ivy", requested_ns=NOW - HOUR,
)  # fmt: skip
ROLES = {
    "ivy": {"initiator"}, "ann": {"approver"}, "bob": {"approver"}, "olga": {"approver", "officer"},
    "pat": {"support"}, "pia": {"support"}, "sam": {"signer"}, "sue": {"signer"}, "kim": {"signer"},
    "eve": {"approver", "policy-editor"}, "ron": {"approver", "reconciler"},
}  # fmt: skip
PEOPLE = {name: Person(name=name, roles=frozenset(roles), public=b"") for name, roles in ROLES.items()}
ENTRY = Destination(
    number=3, account=7, script=b"to", added_ns=NOW - 24 * HOUR, active_ns=NOW, approved_by=("pat", "pia")
)
HEALTHY = Attestation(identity=True, provenance=True, liveness=True, vendor=False)
EFFECTS = Effects(
    spends=((Outpoint(b"t", 0), Output(b"own", 1500)),),
    payments=(Output(b"to", 960),),
    change=(Output(b"own", 500),),
    fee_units=40,
    virtual_bytes=400,
)


def drawn_for(request, *, nominated=("sam", "sue"), **changes):
    opening = Opening(
        sequence=1, request=request_digest(request), eligible=("sam", "sue", "kim"), seats=2, round=1, attempt=1
    )
    opening = attrs.evolve(opening, **changes)
    return Transcript(
        opening=opening, commitments={}, reveals={}, refused=(), beacon=bytes(32), nominated=tuple(nominated)
    )


def approvals(request, *names):
    return tuple(Approval(person=name, digest=request_digest(request), signature=b"", at_ns=NOW) for name in names)


def facts_for(request, **changes):
    """Facts about a request with which no rule has a quarrel."""
    facts = Facts(
        stage=Stage.RELEASE, now_ns=NOW, people=PEOPLE,
        keys=tuple(
            KeyPlace(key=f"{wallet}-{name}", wallet=wallet, person=name, place="", online=False, public=b"")
            for wallet, name in (("cold", "sam"), ("cold", "sue"), ("hot", "kim"))
        ),
        incident=False, destination=ENTRY, changes={}, wallet_units=10_000, past=(), reconciled_ns=NOW,
        attestation=HEALTHY, approvals=approvals(request, "ann", "olga"), nomination=drawn_for(request),
        effects=EFFECTS, signed={},
    )  # fmt: skip
    return attrs.evolve(facts, **changes)


def judged(kind, request=None, **changes):
    """What the policy with one rule of a kind says; a fact may be a function of the request."""
    asked = attrs.evolve(REQUEST, **(request or {}))
    made = {name: fact(asked) if callable(fact) else fact for name, fact in changes.items()}
    return load_policy(HEAD + RULES.get(kind, kind)).evaluate(asked, facts_for(asked, **made))


def past(at_ns, amount_units=100, account=7, source="cold", asset="BTC"):
    return Past(account=account, asset=asset, source=source, target="client", amount_units=amount_units, at_ns=at_ns)


def with_entry(**changes):
    return {"destination": attrs.evolve(ENTRY, **changes)}


MOVED = attrs.evolve(
    EFFECTS,
    spends=((Outpoint(b"t", 0), Output(b"own", 1500)), (Outpoint(b"t", 1), Output(b"house", 90))),
    payments=(Output(b"to", 1000),),
    house_spends=(Outpoint(b"t", 1),),
    house_change=(Output(b"house", 50),),
)
TO_HOT = {"target": "hot", "destination": 0}


def with_effects(effects=EFFECTS, **changes):
    return {"effects": attrs.evolve(effects, **changes)}


MOVING = (
    f'{RULES["shape"]}\n[rules.refill]\nkind = "path"\nasset = "BTC"\nsource = "cold"\ntarget = "hot"\n'
    "amount_max_units = 1000"
)
AT = {"release_only": "\nrelease_only = true"}
THURSDAY_1970 = 17 * HOUR

CASES = [
    # kind, how the request differs, how the facts differ, verdict, a word of the reason
    ("halt", {}, {"switched_off": frozenset()}, ALLOW, ""),
    ("halt", {}, {"switched_off": frozenset({"ETH", "hot"})}, ALLOW, ""),
    ("halt", {}, {"switched_off": frozenset({"all"})}, DENY, "all is switched off"),
    ("halt", {}, {"switched_off": frozenset({"BTC"})}, DENY, "BTC is"),
    ("halt", {}, {"switched_off": frozenset({"cold"})}, DENY, "cold is"),
    ("destination", {}, {}, ALLOW, ""),
    ("destination", {}, with_entry(added_ns=NOW - 24 * HOUR + 1), DENY, "added less than 24 hours"),
    ("destination", {}, with_entry(active_ns=NOW + 1), DENY, "not active"),
    ("destination", {}, with_entry(account=8), DENY, "belongs to account 8"),
    ("destination", {}, with_entry(script=b"else"), DENY, "script"),
    ("destination", {}, with_entry(number=4), DENY, "another entry"),
    ("destination", {"destination": 0}, with_entry(number=0), DENY, "another entry"),
    ("destination", {}, with_entry(approved_by=("pat",)), DENY, "2 support"),
    ("destination", {}, with_entry(approved_by=("pat", "pat")), DENY, "2 support"),
    ("destination", {}, with_entry(approved_by=("pat", "ann")), DENY, "2 support"),
    ("destination", {}, with_entry(approved_by=("pat", "nobody")), DENY, "'nobody' is unknown"),
    ("cool-down", {}, {}, ALLOW, ""),
    ("cool-down", {}, {"changes": {"password": NOW - 24 * HOUR}}, ALLOW, ""),
    ("cool-down", {}, {"changes": {"password": NOW - 24 * HOUR + 1}}, DENY, "password changed less than 24"),
    ("cool-down", {}, {"changes": {"e-mail": NOW - 47 * HOUR}}, DENY, "e-mail"),
    ("cool-down", {}, {"changes": {"password": NOW + HOUR}}, DENY, "password"),
    ("cool-down", {}, {"changes": {"device": NOW}}, ALLOW, ""),
    ("cool-down", {}, with_entry(added_ns=NOW - 12 * HOUR + 1), DENY, "address changed less than 12"),
    ("limit", {}, {}, ALLOW, ""),
    ("limit", {"amount_units": 1001}, {"wallet_units": 20_000}, DENY, "1000 units in one request, was 1001"),
    ("limit", {}, {"past": (past(MIDNIGHT, 500),)}, ALLOW, ""),
    ("limit", {}, {"past": (past(MIDNIGHT, 501),)}, DENY, "1500 units of one user in a day, was 1501"),
    ("limit", {}, {"past": (past(MIDNIGHT - 1, 501),)}, ALLOW, ""),
    ("limit", {}, {"past": (past(NOW + 24 * HOUR, 501),)}, DENY, "one user"),
    ("limit", {}, {"past": (past(NOW, 600, account=8),)}, ALLOW, ""),
    ("limit", {}, {"past": (past(NOW, 601, account=8),)}, DENY, "1600 units of one wallet"),
    ("limit", {}, {"past": (past(NOW, 700, account=8, source="hot"),)}, ALLOW, ""),
    ("limit", {}, {"past": (past(NOW, 701, account=8, source="hot"),)}, DENY, "1700 units of one asset"),
    ("limit", {}, {"past": (past(NOW, 9999, asset="ETH"),)}, ALLOW, ""),
    ("limit", {}, {"wallet_units": 9_999}, DENY, "10 percent"),
    ("limit", {}, {"past": (past(NOW, -501),)}, DENY, "Cannot judge"),
    ("velocity", {}, {"past": (past(NOW, 500),)}, ALLOW, ""),
    ("velocity", {}, {"past": (past(NOW, 501),)}, DENY, "1500 units of one user in 2 hours, was 1501"),
    ("velocity", {}, {"past": (past(NOW - 2 * HOUR, 501),)}, ALLOW, ""),
    ("velocity", {}, {"past": (past(NOW - 2 * HOUR + 1, 501),)}, DENY, "1500 units"),
    ("velocity", {}, {"past": (past(NOW, 1), past(NOW, 1))}, DENY, "2 requests of one user in 2 hours, was 3"),
    ("velocity", {}, {"past": (past(NOW, 1), past(NOW, 1, account=8))}, ALLOW, ""),
    ("quorum", {}, {}, ALLOW, ""),
    ("quorum", {}, {"approvals": ()}, DENY, "1 approver, 1 officer; was none"),
    ("quorum", {"amount_units": 999}, {"approvals": lambda it: approvals(it, "ann")}, ALLOW, ""),
    ("quorum", {}, {"approvals": lambda it: approvals(it, "ann", "bob")}, DENY, "was ann, bob"),
    ("quorum", {}, {"approvals": lambda it: approvals(it, "olga", "olga")}, DENY, "was olga"),
    (
        "quorum",
        {},
        {"approvals": lambda it: approvals(it, "ann") + approvals(attrs.evolve(it, amount_units=1), "olga")},
        DENY,
        "was ann",
    ),
    ("quorum", {}, {"approvals": lambda it: approvals(it, "ann", "olga", "nobody")}, DENY, "'nobody' is unknown"),
    ("segregation", {}, {}, ALLOW, ""),
    ("segregation", {"initiator": ""}, {}, ALLOW, ""),
    ("segregation", {"initiator": "ann"}, {}, DENY, "ann is both initiator and approver"),
    ("segregation", {"initiator": "sam"}, {}, DENY, "sam is both initiator and nominated signer"),
    ("segregation", {"initiator": "nobody"}, {}, DENY, "'nobody' is unknown"),
    ("segregation", {}, {"approvals": lambda it: approvals(it, "sue")}, DENY, "sue is both approver and nominated"),
    ("segregation", {}, {"approvals": lambda it: approvals(it, "eve")}, DENY, "as policy-editor takes no part"),
    ("segregation", {}, {"approvals": lambda it: approvals(it, "ron")}, DENY, "as reconciler takes no part"),
    ("segregation", {}, {"people": {**PEOPLE, "ann": PEOPLE["sam"]}}, DENY, "sam is both approver and nominated"),
    ("nomination", {}, {}, ALLOW, ""),
    ("nomination", {}, {"nomination": lambda it: drawn_for(attrs.evolve(it, account=8))}, DENY, "another request"),
    ("nomination", {}, {"nomination": lambda it: drawn_for(it, nominated=["sam"])}, DENY, "2 different people"),
    ("nomination", {}, {"nomination": lambda it: drawn_for(it, nominated=["sam", "sam"])}, DENY, "2 different people"),
    ("nomination", {}, {"nomination": lambda it: drawn_for(it, seats=3)}, DENY, "for 3"),
    ("nomination", {}, {"nomination": lambda it: drawn_for(it, eligible=("sam", "kim"))}, DENY, "sue was not eligible"),
    ("nomination", {}, {"nomination": lambda it: drawn_for(it, nominated=["sam", "kim"])}, DENY, "kim holds no key"),
    ("nomination", {}, {"people": {**PEOPLE, "sue": PEOPLE["sam"]}}, DENY, "2 different people"),
    ("path", {}, {}, ALLOW, ""),
    ("path", {"amount_units": 500}, {}, ALLOW, ""),
    ("path", {"amount_units": 499}, {}, DENY, "at least 500"),
    ("path", {"amount_units": 1001}, {}, DENY, "at most 1000"),
    ("path", {"source": "hot"}, {}, DENY, "No path lets BTC go from hot to client"),
    ("path", {"target": "house"}, {}, DENY, "No path lets BTC go from cold to house"),
    ("path", {"asset": "ETH"}, {}, DENY, "No path lets ETH go"),
    ("window", {}, {}, ALLOW, ""),
    ("window", {}, {"now_ns": MIDNIGHT + 9 * HOUR}, ALLOW, ""),
    ("window", {}, {"now_ns": MIDNIGHT + 9 * HOUR - 1}, DENY, "was mon 8:xx"),
    ("window", {}, {"now_ns": MIDNIGHT + 10 * HOUR}, DENY, "was mon 10:xx"),
    ("window", {}, {"now_ns": MIDNIGHT + 17 * HOUR}, ALLOW, ""),
    ("window", {}, {"now_ns": NOW + 24 * HOUR}, DENY, "was tue 9:xx"),
    ("window", {}, {"now_ns": NOW - 24 * HOUR}, DENY, "was sun 9:xx"),
    ("window", {}, {"now_ns": THURSDAY_1970}, ALLOW, ""),
    ("window", {}, {"now_ns": NOW + HOUR, "stage": Stage.REQUEST}, DENY, "was mon 10:xx"),
    (RULES["window"] + AT["release_only"], {}, {"now_ns": NOW + HOUR, "stage": Stage.REQUEST}, ALLOW, ""),
    (RULES["window"] + AT["release_only"], {}, {"now_ns": NOW + HOUR}, DENY, "was mon 10:xx"),
    ("shape", {}, {}, ALLOW, ""),
    ("shape", {}, with_effects(unknown=("lock time",)), DENY, "lock time"),
    ("shape", {}, with_effects(payments=(Output(b"else", 960),)), DENY, "script of the request"),
    ("shape", {}, with_effects(payments=()), DENY, "one payment"),
    ("shape", {}, with_effects(payments=(Output(b"to", 960), Output(b"to", 0))), DENY, "one payment"),
    ("shape", {}, with_effects(payments=(Output(b"to", 961),)), DENY, "1000 units, was 961 and 40"),
    ("shape", {}, with_effects(payments=(Output(b"to", 0),), fee_units=1000), DENY, "was 0 and 1000"),
    ("shape", {}, with_effects(change=(Output(b"own", 499),)), DENY, "1500 units go in"),
    ("shape", {}, with_effects(payments=(Output(b"to", 959),), fee_units=41, virtual_bytes=500), DENY, "at most 40"),
    ("shape", {}, with_effects(virtual_bytes=399), DENY, "100 units for 1,000 virtual bytes"),
    ("shape", {}, with_effects(virtual_bytes=0), DENY, "1,000 virtual bytes"),
    (MOVING, TO_HOT, with_effects(MOVED), ALLOW, ""),
    (MOVING, TO_HOT, {}, DENY, "1000 units without a fee of 40, was 960"),
    (MOVING, TO_HOT, with_effects(MOVED, house_change=(Output(b"house", 51),)), DENY, "90 units of the house go in"),
    (MOVING, TO_HOT, with_effects(MOVED, house_change=(Output(b"house", 49),)), DENY, "and 49 come back"),
    (MOVING, TO_HOT, with_effects(MOVED, house_spends=()), DENY, "0 units of the house go in"),
    (MOVING, TO_HOT, with_effects(MOVED, change=(Output(b"own", 499),)), DENY, "1590 units go in"),
    ("shape", {}, with_effects(house_spends=(Outpoint(b"t", 0),)), DENY, "1500 units of the house"),
    ("shape", {}, with_effects(house_change=(Output(b"house", 1),)), DENY, "and 1 come back"),
    (
        "shape",
        {},
        with_effects(MOVED, payments=EFFECTS.payments, house_change=(Output(b"house", 90),)),
        DENY,
        "90 units of the house go in, and 90 come back",
    ),
    ("hsm", {}, {}, ALLOW, ""),
    ("hsm", {}, {"attestation": attrs.evolve(HEALTHY, liveness=False, problems=("silent",))}, DENY, "silent"),
    ("hsm", {}, {"attestation": attrs.evolve(HEALTHY, identity=False)}, DENY, "says no more"),
    ('kind = "hsm"\nuntampered = true', {}, {}, DENY, "vouched for"),
    ('kind = "hsm"\nuntampered = true', {}, {"attestation": attrs.evolve(HEALTHY, vendor=True)}, ALLOW, ""),
    ("reconciliation", {}, {}, ALLOW, ""),
    ("reconciliation", {}, {"reconciled_ns": NOW - 10 * MINUTE + 1}, ALLOW, ""),
    ("reconciliation", {}, {"reconciled_ns": NOW - 10 * MINUTE}, DENY, "within 10 minutes"),
    ("reconciliation", {}, {"reconciled_ns": NOW + 1}, DENY, "within 10 minutes"),
    ("idempotency", {}, {}, ALLOW, ""),
    ("idempotency", {}, {"signed": lambda it: {request_digest(it): b"txid"}}, DENY, "signed before"),
    ("idempotency", {}, {"signed": {bytes(32): b"txid"}}, ALLOW, ""),
    ("step-up", {}, {}, ALLOW, ""),
    ("step-up", {"amount_units": 1001}, {}, STEP_UP, "role officer to take this on: 1001 units are 1001 or more"),
    ("step-up", {"amount_units": 1001}, {"stepped_up": True}, ALLOW, ""),
    ("step-up", {}, with_entry(added_ns=NOW - 24 * HOUR + 1), STEP_UP, "added less than 24 hours"),
    ("change", {}, {}, ALLOW, ""),
]


@pytest.mark.parametrize(("kind", "request_", "facts", "verdict", "word"), CASES)
def test_a_rule_turns_exactly_where_it_says(kind, request_, facts, verdict, word):
    decision = judged(kind, request_, **facts)
    assert decision.verdict is verdict, decision
    assert word in " ".join(decision.reasons)
    assert len(decision.rules) == len(decision.reasons) == (verdict is not ALLOW)


def test_every_kind_is_tried():
    assert set(RULES) == {kind for kind, *_ in CASES if kind in RULES} == set(KINDS)


NEEDED = [
    ("destination", "destination", True),
    ("cool-down", "changes", True),
    ("cool-down", "destination", True),
    ("limit", "past", True),
    ("limit", "wallet_units", True),
    ("velocity", "past", True),
    ("reconciliation", "reconciled_ns", True),
    ("step-up", "destination", True),
    ("segregation", "nomination", False),
    ("nomination", "nomination", False),
    ("shape", "effects", False),
    ("hsm", "attestation", False),
    ("idempotency", "signed", False),
]
"""Kind, a fact without which it cannot judge, and whether that is there from the beginning."""


@pytest.mark.parametrize(("kind", "fact", "early"), NEEDED)
def test_a_missing_fact_is_a_denial_at_the_release(kind, fact, early):
    decision = judged(kind, **{fact: None})
    assert (decision.verdict, decision.rules) == (DENY, ("tried",))
    assert decision.reasons == (f"Cannot judge: {fact} is unknown.",)


@pytest.mark.parametrize(("kind", "fact", "early"), NEEDED)
def test_a_fact_that_comes_up_later_is_not_missed_at_the_request(kind, fact, early):
    assert judged(kind, **{fact: None}, stage=Stage.REQUEST).verdict is (DENY if early else ALLOW)


def test_nobody_has_approved_anything_when_a_request_comes_in():
    assert judged("quorum", stage=Stage.REQUEST, approvals=()).verdict is ALLOW


def test_what_is_known_of_later_facts_is_judged_at_the_request_too():
    unwell = {"attestation": attrs.evolve(HEALTHY, identity=False), **with_effects(unknown=("lock time",))}
    assert judged("hsm", stage=Stage.REQUEST, **unwell).verdict is DENY
    assert judged("shape", stage=Stage.REQUEST, **unwell).verdict is DENY


def test_a_rule_of_another_asset_or_place_is_silent():
    of_hot = RULES["halt"] + '\nsource = "hot"'
    assert judged(of_hot, switched_off=frozenset({"all"})).verdict is ALLOW
    of_clients = RULES["halt"] + '\nasset = "BTC"\nsource = "cold"\ntarget = "client"'
    assert judged(of_clients, switched_off=frozenset({"all"})).verdict is DENY


def test_moves_between_own_wallets_need_no_destination_and_have_no_owner_to_protect():
    refill = (
        '\n[rules.refill]\nkind = "path"\nasset = "BTC"\nsource = "cold"\ntarget = "hot"\namount_max_units = 2000\n'
    )
    move = {"target": "hot", "destination": 0, "account": 0}
    for kind in ("destination", "cool-down"):
        assert judged(RULES[kind] + refill, move, destination=None, changes=None).verdict is ALLOW
    named = judged(RULES["destination"] + refill, {**move, "destination": 3})
    assert (named.verdict, named.reasons) == (DENY, ("Coins for hot need no destination.",))


def test_deposits_are_collected_by_holders_of_the_wallet_that_they_go_to():
    collect = '\n[rules.collect]\nkind = "path"\nasset = "BTC"\nsource = "deposit"\ntarget = "cold"\n'
    move = {"source": "deposit", "target": "cold", "destination": 0}
    assert judged(RULES["nomination"] + collect, move).verdict is ALLOW
    assert judged(RULES["nomination"] + collect, move, keys=()).verdict is DENY


def test_one_person_with_two_roles_fills_one_place_even_of_two_quorums():
    quorum = 'kind = "quorum"\nasset = "BTC"\ntiers = [{ from_units = 0, roles = { ROLE = 1 } }]\n'
    two = quorum.replace("ROLE", "approver") + "[rules.other]\n" + quorum.replace("ROLE", "officer")
    alone = judged(two, approvals=lambda it: approvals(it, "olga"))
    assert (alone.verdict, alone.rules) == (DENY, ("other", "tried"))
    assert judged(two, approvals=lambda it: approvals(it, "olga", "ann")).verdict is ALLOW


def test_the_quorum_of_a_request_is_told_before_anybody_is_asked():
    policy = load_policy(HEAD + RULES["quorum"])
    assert policy.quorum(attrs.evolve(REQUEST, amount_units=999)) == {"approver": 1}
    assert policy.quorum(REQUEST) == {"approver": 1, "officer": 1}
    assert policy.quorum(attrs.evolve(REQUEST, asset="ETH")) == {}
    more = '[rules.other]\nkind = "quorum"\nasset = "BTC"\ntiers = [{ from_units = 0, roles = { approver = 2 } }]\n'
    two = load_policy(HEAD + RULES["quorum"] + "\n" + more)
    assert two.quorum(REQUEST) == {"approver": 2, "officer": 1}


def test_a_step_up_says_who_may_take_the_request_on_and_a_denial_beats_it():
    both = RULES["step-up"] + '\n[rules.stop]\nkind = "halt"'
    large = {"amount_units": 1001}
    asked, stopped = judged(both, large), judged(both, large, switched_off=frozenset({"all"}))
    assert (asked.verdict, asked.rules, asked.step_up) == (STEP_UP, ("tried",), ("officer",))
    assert (stopped.verdict, stopped.rules, stopped.step_up) == (DENY, ("stop", "tried"), ())
