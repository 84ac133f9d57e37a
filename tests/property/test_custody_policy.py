"""What holds for every policy: more rules never allow more, nothing raises, and only what is said is in the digest."""

from __future__ import annotations

import json
from functools import reduce

import attrs
from hypothesis import assume, event, given
from hypothesis import strategies as st

from perpkit.custody.digest import request_digest
from perpkit.custody.policy import Policy, load_policy
from perpkit.custody.policy.text import KINDS
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import Opening, Transcript
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.ports.custody.policy import (
    Approval,
    Decision,
    Destination,
    Facts,
    Past,
    PolicyChange,
    Request,
    Stage,
    Verdict,
)
from perpkit.ports.custody.wallet import Effects

HOUR = 3600 * 10**9
NOW = 500_000 * HOUR
PATHS = [("deposit", "cold"), ("cold", "hot"), ("hot", "client"), ("cold", "client")]
ROLES = ("approver", "officer", "policy-editor")
NAMES = ("ann", "bob", "eve", "olga", "sam", "sue")

few = st.integers(1, 5)
units = st.integers(1, 12)
hours = st.integers(1, 4)
roles = st.dictionaries(st.sampled_from(ROLES), st.integers(1, 2), min_size=1, max_size=2)
scope = {"asset": st.just("BTC"), "source": st.sampled_from(["cold", "hot"]), "target": st.just("client")}


def table(kind, required, optional=None, scoped=True):
    optional = {
        **(optional or {}),
        **({name: each for name, each in scope.items() if name not in required} if scoped else {}),
    }
    return st.fixed_dictionaries({"kind": st.just(kind), **required}, optional=optional)


def at_least_one(kind, required, optional):
    return table(kind, required, optional).filter(lambda made: made.keys() & optional.keys())


asset = {"asset": st.just("BTC")}
paths = st.sampled_from(PATHS).flatmap(
    lambda path: table(
        "path",
        {**asset, "source": st.just(path[0]), "target": st.just(path[1])}
        | ({"amount_max_units": units} if path[1] == "hot" else {}),
        {"amount_min_units": few} | ({} if path[1] == "hot" else {"amount_max_units": units}),
        scoped=False,
    )
)
tiers = st.builds(
    lambda first, more: [{"from_units": 0, "roles": first}, *({"from_units": n, "roles": r} for n, r in more.items())],
    roles,
    st.dictionaries(units, roles, max_size=2),
)
OTHERS = {
    "halt": table("halt", {}),
    "destination": table("destination", {"delay_hours": hours, "roles": roles}),
    "cool-down": table(
        "cool-down", {"hours": st.dictionaries(st.sampled_from(["password", "address"]), hours, min_size=1)}
    ),
    "limit": at_least_one(
        "limit",
        asset,
        {"transaction_units": units, "user_day_units": units, "asset_day_units": units, "wallet_percent": few},
    ),
    "velocity": at_least_one(
        "velocity",
        {**asset, "per": st.sampled_from(["user", "wallet", "asset"]), "window_hours": hours},
        {"amount_units": units, "count": few},
    ),
    "quorum": table("quorum", {**asset, "tiers": tiers}),
    "segregation": table("segregation", {}, {"outside_roles": st.lists(st.sampled_from(ROLES), unique=True)}),
    "nomination": table("nomination", {"seats": st.integers(1, 2)}),
    "window": table(
        "window", {"hours": st.just([[0, 12], [12, 24]]) | st.just([[0, 23]])}, {"release_only": st.booleans()}
    ),
    "shape": table("shape", {**asset, "fee_max_units": few, "fee_rate_max_units": few}),
    "hsm": table("hsm", {}, {"untampered": st.booleans()}),
    "reconciliation": table("reconciliation", {"minutes": few}),
    "idempotency": table("idempotency", {}),
    "step-up": at_least_one(
        "step-up", {**asset, "role": st.just("officer")}, {"from_units": units, "new_destination_hours": hours}
    ),
    "change": table("change", {"roles": roles, "delay_hours": hours}, scoped=False),
}
others = st.one_of(*OTHERS.values())
names = st.text("abcde", min_size=1, max_size=3)
opening_all = {
    f"open-{source}-{target}": {"kind": "path", "asset": "BTC", "source": source, "target": target}
    | ({"amount_max_units": 12} if target == "hot" else {})
    for source, target in PATHS
}
rules = st.dictionaries(names, others | paths, max_size=4).map(lambda more: {**opening_all, **more})
"""Policies in which every path is open to begin with, so that what a rule adds can only close."""

people = {
    name: Person(name=name, roles=frozenset(held), public=b"")
    for name, held in zip(
        NAMES, [{"approver"}, {"approver"}, {"policy-editor"}, {"officer", "approver"}, set(), set()], strict=True
    )
}
requests = st.builds(
    lambda path, **rest: Request(source=path[0], target=path[1], withdrawal_id=1, asset="BTC", script=b"to", **rest),
    path=st.sampled_from(PATHS),
    account=st.sampled_from([7, 8]),
    amount_units=units,
    destination=st.sampled_from([3, 3, 0]),
    initiator=st.sampled_from(["", "ann", "eve"]),
    requested_ns=st.just(NOW),
)
moments = st.integers(0, 5).map(lambda ago: NOW - ago * HOUR)
pasts = st.builds(
    Past, account=st.sampled_from([7, 8]), asset=st.just("BTC"), source=st.sampled_from(["cold", "hot"]),
    target=st.just("client"), amount_units=few, at_ns=moments,
)  # fmt: skip


@st.composite
def cases(draw):
    """A request, and facts about it that are mostly in order."""
    request = draw(requests)
    digest = request_digest(request)
    seats = draw(st.integers(1, 2))
    fee = draw(st.integers(0, 2))
    opening = Opening(sequence=1, request=digest, eligible=("sam", "sue"), seats=seats, round=1, attempt=1)
    known = Facts(
        stage=draw(st.sampled_from(Stage)), now_ns=NOW, people=people,
        keys=tuple(
            KeyPlace(key=f"{wallet}-{name}", wallet=wallet, person=name, place="", online=False, public=b"")
            for wallet in ("cold", "hot") for name in ("sam", "sue")
        ),
        incident=False,
        switched_off=draw(st.sampled_from([frozenset()] * 4 + [frozenset({"hot"})])),
        destination=Destination(
            number=3, account=request.account, script=b"to", added_ns=draw(moments), active_ns=NOW,
            approved_by=draw(st.sampled_from([("ann", "bob", "eve", "olga"), ("ann",)])),
        ),
        changes=draw(st.dictionaries(st.just("password"), moments)),
        wallet_units=draw(st.integers(1, 1000)),
        past=draw(st.lists(pasts, max_size=3).map(tuple)),
        reconciled_ns=draw(st.sampled_from([NOW, NOW - HOUR])),
        attestation=Attestation(identity=True, provenance=True, liveness=True, vendor=draw(st.booleans())),
        approvals=tuple(
            Approval(person=name, digest=digest, signature=b"", at_ns=NOW)
            for name in draw(st.sampled_from([(), ("ann",), ("bob", "olga"), ("ann", "bob", "olga")]))
        ),
        stepped_up=draw(st.booleans()),
        nomination=Transcript(
            opening=opening, commitments={}, reveals={}, refused=(), beacon=b"", nominated=("sam", "sue")[:seats]
        ),
        effects=Effects(
            spends=((Outpoint(b"t", 0), Output(b"own", request.amount_units)),),
            payments=(Output(b"to", request.amount_units - fee),), change=(), fee_units=fee, virtual_bytes=1000,
        ),
        signed={},
    )  # fmt: skip
    missing = draw(st.sampled_from([None] * 5 + ["past", "destination", "changes", "effects", "nomination"]))
    return request, attrs.evolve(known, **{missing: None}) if missing else known


def written(tables, *, name="any", order=lambda items: items):
    """A policy of some tables as TOML, in whatever order; JSON is how TOML writes lists, text and numbers too."""
    lines = ["version = 1", f'name = "{name}"']
    for rule, keys in order(list(tables.items())):
        lines.append(f"[rules.{rule}]")
        lines += [f"{key} = {inline(value, order)}" for key, value in order(list(keys.items()))]
    return "\n".join(lines)


def inline(value, order):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(each, order)}" for key, each in order(list(value.items()))) + " }"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n  " + ",\n  ".join(inline(each, order) for each in order(value)) + ",\n]"
    return json.dumps(value)


def policy_of(tables):
    return load_policy(written(tables))


def test_every_kind_is_drawn():
    assert {*OTHERS, "path"} == set(KINDS)


@given(rules, names, others | paths, cases())
def test_another_rule_never_turns_a_denial_into_anything_kinder(tables, name, added, case):
    assume(name not in tables)
    before, after = policy_of(tables).evaluate(*case), policy_of({**tables, name: added}).evaluate(*case)
    event(f"{before.verdict.name} to {after.verdict.name}")
    assert after.verdict <= before.verdict
    assert set(before.rules) <= set(after.rules)


def redrawn(keys):
    """A rule's keys with one number, one switch or one quorum drawn anew."""
    key = st.sampled_from(sorted(key for key, value in keys.items() if isinstance(value, int | dict)))
    return key.flatmap(lambda key: again(keys[key]).map(lambda value: {**keys, key: value}))


def again(value):
    if isinstance(value, bool):
        return st.just(not value)
    return units if isinstance(value, int) else st.fixed_dictionaries(dict.fromkeys(value, few))


WITH_NUMBERS = (
    "destination", "cool-down", "limit", "velocity", "nomination", "shape", "reconciliation", "step-up", "change",
)  # fmt: skip
changeable = st.one_of(*(OTHERS[kind] for kind in WITH_NUMBERS)) | paths.filter(
    lambda keys: any(isinstance(value, int) for value in keys.values())
)


@given(rules, names, changeable.flatmap(lambda keys: st.tuples(st.just(keys), redrawn(keys))), cases())
def test_what_may_be_adopted_in_an_incident_judges_nothing_more_kindly(tables, name, before_and_after, case):
    amend = {"zz": {"kind": "change", "roles": {"officer": 1}, "delay_hours": 1}}
    before, after = ({**tables, **amend, name: keys} for keys in before_and_after)
    old, new = policy_of(before), policy_of(after)
    change = PolicyChange(text=written(after), previous=old.digest, proposer="ann", proposed_ns=0)
    in_an_incident = attrs.evolve(case[1], incident=True, stage=Stage.REQUEST)
    if old.change(change, in_an_incident).verdict is Verdict.ALLOW:
        event("stricter")
        assert new.evaluate(*case).verdict <= old.evaluate(*case).verdict
    else:
        event("looser")


@given(rules, st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_how_the_file_is_written(tables, random):
    def shuffled(items):
        return random.sample(items, len(items))

    straight, shuffled_text = written(tables), written(tables, order=shuffled)
    spaced = (
        "\n\n".join(f"{line}  # so" for line in shuffled_text.splitlines())
        if "[\n" not in shuffled_text
        else shuffled_text
    )
    assert load_policy(spaced).digest == load_policy(straight).digest
    assert load_policy(written(tables, name="other")).digest != load_policy(straight).digest


@given(rules, names, others)
def test_two_policies_of_other_rules_have_other_digests(tables, name, added):
    assume(name not in tables)
    assert policy_of(tables).digest != policy_of({**tables, name: added}).digest


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=2**62), st.floats(), st.text(max_size=3),
    st.binary(max_size=3), st.builds(object), st.lists(st.none() | st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none() | st.integers(), max_size=2),
    st.frozensets(st.text(max_size=2), max_size=2), st.just(10**5000),
)  # fmt: skip


@given(rules, cases(), st.data())
def test_whatever_the_inputs_are_there_is_a_decision(tables, case, data):
    request, known = case
    fields = [("request", field.name) for field in attrs.fields(Request)]
    fields += [("facts", field.name) for field in attrs.fields(Facts)]
    changes = data.draw(st.dictionaries(st.sampled_from(fields), anything, min_size=1, max_size=3))
    for (where, name), value in changes.items():
        if where == "request":
            request = attrs.evolve(request, **{name: value})
        else:
            known = attrs.evolve(known, **{name: value})
    policy = policy_of(tables)
    change = PolicyChange(text=written(tables), previous=policy.digest, proposer="ann", proposed_ns=0)
    for decision in (policy.evaluate(request, known), policy.change(change, known)):
        assert isinstance(decision, Decision)
        assert len(decision.rules) == len(decision.reasons) == len(set(decision.rules))
        assert (decision.verdict is Verdict.ALLOW) == (not decision.rules)


@given(anything, anything)
def test_whatever_is_not_even_a_request_is_denied(request, known):
    policy = policy_of(opening_all)
    assert policy.evaluate(request, known).verdict is Verdict.DENY
    assert policy.change(request, known).verdict is Verdict.DENY


@given(rules, cases())
def test_the_verdict_is_the_least_of_what_each_rule_says_alone(tables, case):
    opened = {name: policy_of(tables).rules[name] for name in opening_all}
    alone = [
        Policy(1, "one", {**opened, name: rule}).evaluate(*case).verdict
        for name, rule in policy_of(tables).rules.items()
        if rule.kind != "quorum"  # quorums are filled all together
    ]
    whole = policy_of({name: keys for name, keys in tables.items() if keys["kind"] != "quorum"}).evaluate(*case)
    assert whole.verdict is reduce(min, alone, Verdict.ALLOW)
