"""The page on policies and the code say the same: every kind of rule, its keys, and which of them may be left out."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from perpkit.cli.main import main
from perpkit.custody.policy import load_policy
from perpkit.custody.policy.cases import read_cases
from perpkit.custody.policy.rule import OfAsset
from perpkit.custody.policy.rules_request import CHANGES, PATHS
from perpkit.custody.policy.text import KINDS
from perpkit.ports.custody.policy import Facts

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples/custody"
PAGE = (ROOT / "docs/how-to/write-a-custody-policy.md").read_text("utf-8")
ROW = re.compile(r"^\| `(?P<kind>[\w-]+)` \|(?P<keys>[^|]*)\|(?P<objects>[^|]*)\|(?P<facts>[^|]*)\|$", re.MULTILINE)
SCOPE = {"asset", "source", "target"}


def keys_of(kind):
    """The keys that a kind of rule must be given, and the others but the scope."""
    fields = attrs.fields(KINDS[kind])
    needed = {field.name for field in fields if field.default is attrs.NOTHING}
    return needed, {field.name for field in fields} - needed - SCOPE


def test_the_table_has_every_kind_with_its_keys_and_nothing_else():
    on_the_page = {
        row["kind"]: (set(re.findall(r"`(\w+)`", row["keys"])), set(re.findall(r"\*(\w+)\*", row["keys"])))
        for row in ROW.finditer(PAGE)
    }
    assert on_the_page == {kind: keys_of(kind) for kind in KINDS}


def test_the_facts_in_the_table_are_facts_and_a_rule_that_lacks_one_is_denied():
    named = {row["kind"]: set(re.findall(r"`(\w+)`", row["facts"])) for row in ROW.finditer(PAGE)}
    assert set().union(*named.values()) == {field.name for field in attrs.fields(Facts)} - {"stage", "now_ns"}
    policy = load_policy((EXAMPLES / "policy.toml").read_text("utf-8"))
    case = read_cases((EXAMPLES / "cases.toml").read_text("utf-8"))[0]
    for name in ("destination", "changes", "past", "wallet_units", "nomination", "effects", "attestation", "signed"):
        decision = policy.evaluate(case.request, attrs.evolve(case.facts, **{name: None}))
        kinds = {policy.rules[rule].kind for rule in decision.rules}
        assert kinds == {kind for kind, facts in named.items() if name in facts} - {"velocity"}, name


def test_every_kind_but_changes_takes_a_scope():
    for kind, rule in KINDS.items():
        fields = {field.name for field in attrs.fields(rule)}
        assert fields >= SCOPE or (kind == "change" and not fields & SCOPE)
        assert not issubclass(rule, OfAsset) or "asset" in keys_of(kind)[0]


def test_the_page_names_every_path_and_every_change_that_cools_down():
    for source, target in PATHS:
        assert f"`{source}` to `{target}`" in PAGE
    assert all(f"`{change}`" in PAGE for change in CHANGES)


def test_the_example_has_every_kind_of_rule_and_a_case_for_each_that_judges_requests(capsys):
    policy = load_policy((EXAMPLES / "policy.toml").read_text("utf-8"))
    assert {rule.kind for rule in policy.rules.values()} == set(KINDS)
    cases = read_cases((EXAMPLES / "cases.toml").read_text("utf-8"))
    objecting = {policy.rules[name].kind for case in cases for name in (case.rules or ()) if name in policy.rules}
    assert objecting == set(KINDS) - {"change"}
    assert main(["custody", "policy", "test", str(EXAMPLES / "policy.toml"), str(EXAMPLES / "cases.toml")]) == 0
    assert f"{len(cases)} cases, 0 not as expected" in capsys.readouterr().out
