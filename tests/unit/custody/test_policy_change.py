"""Changes of the policy itself: by others than the proposer, hours later, and never looser in an incident."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from perpkit.custody.digest import change_digest
from perpkit.custody.policy import load_policy
from perpkit.ports.custody.people import Person
from perpkit.ports.custody.policy import Approval, Facts, PolicyChange, Stage, Verdict

TEXT = (Path(__file__).parents[3] / "examples/custody/policy.toml").read_text("utf-8")
POLICY = load_policy(TEXT)
HOUR = 3600 * 10**9
NOW = 1_000_000 * HOUR
ROLES = {
    "eve": "policy-editor", "ed": "policy-editor", "emma": "policy-editor", "olga": "officer", "ann": "approver",
}  # fmt: skip
PEOPLE = {name: Person(name=name, roles=frozenset({role}), public=b"") for name, role in ROLES.items()}
FACTS = Facts(stage=Stage.RELEASE, now_ns=NOW, people=PEOPLE, keys=(), incident=False)
PROPOSED = TEXT.replace("minutes = 10", "minutes = 20")
AGREED = ("ed", "emma", "olga")


def proposed(text=PROPOSED, *, by="eve", agreed=AGREED, ago_ns=48 * HOUR, **changes):
    change = PolicyChange(text=text, previous=POLICY.digest, proposer=by, proposed_ns=NOW - ago_ns)
    change = attrs.evolve(change, **changes)
    digest = change_digest(change)
    return attrs.evolve(
        change, approvals=tuple(Approval(person=name, digest=digest, signature=b"", at_ns=NOW) for name in agreed)
    )


def test_a_change_that_others_agree_to_is_allowed_after_its_delay():
    decision = POLICY.change(proposed(), FACTS)
    assert (decision.verdict, decision.rules, decision.policy) == (Verdict.ALLOW, (), POLICY.digest)


REFUSED = {
    "too early": (proposed(ago_ns=48 * HOUR - 1), "less than 48 hours ago"),
    "to come": (proposed(ago_ns=-1), "less than 48 hours ago"),
    "one short": (proposed(agreed=("ed", "olga")), "2 policy-editor; was ed, olga"),
    "one twice": (proposed(agreed=("ed", "ed", "olga")), "was ed, olga"),
    "wrong role": (proposed(agreed=("ed", "emma", "ann")), "1 officer"),
    "nobody": (proposed(agreed=()), "was none"),
    "proposer agrees": (proposed(agreed=("eve", "ed", "emma", "olga")), "eve is both proposer and approver"),
    "unknown approver": (proposed(agreed=("ed", "emma", "mallory")), "'mallory' is unknown"),
    "unknown proposer": (proposed(by="mallory"), "'mallory' is unknown"),
    "of another policy": (proposed(previous=bytes(32)), "to another policy"),
    "no policy": (proposed("version = 1"), "cannot be read"),
    "approvals of another text": (
        attrs.evolve(proposed(), text=TEXT.replace("minutes = 10", "minutes = 9999")),
        "was none",
    ),
}


@pytest.mark.parametrize(("change", "word"), REFUSED.values(), ids=REFUSED)
def test_a_change_is_denied(change, word):
    decision = POLICY.change(change, FACTS)
    assert decision.verdict is Verdict.DENY
    assert word in " ".join(decision.reasons)


def test_the_proposer_under_another_name_is_still_the_proposer():
    people = {**PEOPLE, "emma": PEOPLE["eve"]}
    assert "eve is both" in POLICY.change(proposed(), attrs.evolve(FACTS, people=people)).reasons[0]


def test_when_a_change_is_proposed_neither_delay_nor_approvals_are_asked_for():
    fresh = proposed(agreed=(), ago_ns=0)
    at_once = attrs.evolve(FACTS, stage=Stage.REQUEST)
    assert POLICY.change(fresh, at_once).verdict is Verdict.ALLOW
    assert POLICY.change(proposed(by="mallory"), at_once).verdict is Verdict.DENY
    assert POLICY.change(fresh, FACTS).verdict is Verdict.DENY


def test_a_policy_without_a_rule_for_it_cannot_be_changed():
    fixed = load_policy(TEXT[: TEXT.index("[rules.amend]")])
    decision = fixed.change(proposed(previous=fixed.digest), FACTS)
    assert (decision.verdict, decision.rules) == (Verdict.DENY, ("policy",))


def test_every_rule_about_changes_has_to_agree():
    slower = '\n[rules.slower]\nkind = "change"\nroles = { approver = 1 }\ndelay_hours = 72\n'
    policy = load_policy(TEXT + slower)
    decision = policy.change(proposed(previous=policy.digest), FACTS)
    assert (decision.verdict, decision.rules) == (Verdict.DENY, ("slower",))


def test_whether_there_is_an_incident_has_to_be_known():
    decision = POLICY.change(proposed(), attrs.evolve(FACTS, incident=None))
    assert (decision.verdict, decision.reasons) == (Verdict.DENY, ("Cannot judge: incident is unknown.",))


STRICTER = [
    ("minutes = 10", "minutes = 9"),
    ("delay_hours = 24", "delay_hours = 25"),
    ("support = 2", "support = 3"),
    ("support = 2", "support = 2, officer = 1"),
    ("password = 24,", "password = 25,"),
    ("transaction_units = 5_000_000_000", "transaction_units = 4_999_999_999"),
    ("wallet_percent = 20", "wallet_percent = 20\nwallet_day_units = 1"),
    ("window_hours = 1", "window_hours = 2"),
    ("count = 20", "count = 19"),
    ("{ approver = 1 }", "{ approver = 2 }"),
    ("{ approver = 2, officer = 1 }", "{ approver = 2, officer = 2 }"),
    ('kind = "segregation"', 'kind = "segregation"\noutside_roles = ["policy-editor", "reconciler", "support"]'),
    ("amount_max_units = 50_000_000", "amount_max_units = 40_000_000"),
    ("amount_min_units = 50_000_001", "amount_min_units = 60_000_000"),
    ('target = "cold"', 'target = "cold"\namount_max_units = 5'),
    ("fee_max_units = 200_000", "fee_max_units = 199_999"),
    ("untampered = false", "untampered = true"),
    ("from_units = 2_000_000_000", "from_units = 1_999_999_999"),
    ("new_destination_hours = 72", "new_destination_hours = 73"),
    ("delay_hours = 48", "delay_hours = 49"),
    ("[rules.once]", '[rules.also]\nkind = "limit"\nasset = "BTC"\ntransaction_units = 1\n[rules.once]'),
    ("[rules.once]", '[rules.also]\nkind = "path"\nasset = "BTC"\nsource = "hot"\ntarget = "client"\n[rules.once]'),
    ('name = "bitcoin, two wallets"', 'name = "another name"'),
]
LOOSER = [
    *((new, old) for old, new in STRICTER[:20]),
    ('[rules.halt]\nkind = "halt"', ""),
    ('[rules.halt]\nkind = "halt"', '[rules.halt]\nkind = "halt"\nsource = "hot"'),
    ('[rules.halt]\nkind = "halt"', '[rules.halt]\nkind = "idempotency"'),
    ("[rules.once]", '[rules.another]\nkind = "path"\nasset = "ETH"\nsource = "cold"\ntarget = "client"\n[rules.once]'),
    ("seats = 3", "seats = 4"),
    ("release_only = true", "release_only = false"),
    ("hours = [[9, 10], [17, 18]]", "hours = [[9, 10]]"),
    ("from_units = 100_000_000,", "from_units = 90_000_000,"),
    ('role = "officer"\n', 'role = "approver"\n'),
]
"""Whatever is not surely stricter counts as looser, such as other hours."""


@pytest.mark.parametrize(("old", "new"), STRICTER)
def test_in_an_incident_a_policy_may_become_stricter(old, new):
    assert old in TEXT
    decision = POLICY.change(proposed(TEXT.replace(old, new, 1)), attrs.evolve(FACTS, incident=True))
    assert decision.verdict is Verdict.ALLOW, decision.reasons


@pytest.mark.parametrize(("old", "new"), LOOSER)
def test_in_an_incident_a_policy_may_not_become_looser(old, new):
    before = TEXT if old in TEXT else TEXT.replace(new, old, 1)
    after = before.replace(old, new, 1)
    policy = load_policy(before)
    assert before != after
    change = proposed(after, previous=policy.digest, ago_ns=49 * HOUR)
    assert policy.change(change, FACTS).verdict is Verdict.ALLOW
    decision = policy.change(change, attrs.evolve(FACTS, incident=True))
    assert decision.verdict is Verdict.DENY
    assert "no looser rule while an incident is open" in decision.reasons[0]
