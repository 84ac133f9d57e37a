"""The engine around the rules: deny by default, any denial wins, and any error is one."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from perpkit.custody.policy import Policy, load_policy
from perpkit.custody.policy.cases import read_cases
from perpkit.custody.policy.rule import Rule
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.policy import Facts, PolicyChange, Stage, Verdict

EXAMPLES = Path(__file__).parents[3] / "examples/custody"
POLICY = load_policy((EXAMPLES / "policy.toml").read_text("utf-8"))
IN_ORDER = read_cases((EXAMPLES / "cases.toml").read_text("utf-8"))[0]
REQUEST, FACTS = IN_ORDER.request, IN_ORDER.facts


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("not even this")


ERRORS = {
    error.__name__: error
    for error in (OverflowError, KeyError, RecursionError, MemoryError, AssertionError, UnprintableError)
}


@attrs.frozen(kw_only=True)
class Broken(Rule):
    """Fails in the way it is told."""

    kind = "broken"

    error: str

    def concerns(self, request):
        return True

    def judge(self, case):
        raise ERRORS[self.error]


@attrs.frozen(kw_only=True)
class Unsure(Broken):
    """Does not even know whether it is asked."""

    def concerns(self, request):
        raise ERRORS[self.error]


def test_a_request_that_no_rule_objects_to_may_leave():
    decision = POLICY.evaluate(REQUEST, FACTS)
    assert (decision.verdict, decision.rules, decision.reasons) == (Verdict.ALLOW, (), ())
    assert decision.policy == POLICY.digest


def test_a_policy_of_no_rules_lets_nothing_out():
    decision = Policy(1, "empty", {}).evaluate(REQUEST, FACTS)
    assert (decision.verdict, decision.rules) == (Verdict.DENY, ("policy",))
    assert decision.reasons == ("No path lets BTC go from cold to client.",)


@pytest.mark.parametrize("rule", [Broken, Unsure])
@pytest.mark.parametrize("error", ERRORS)
def test_the_thief_who_makes_a_rule_fail_gets_a_denial_and_not_a_way_around_it(rule, error):
    policy = Policy(1, "broken", {**POLICY.rules, "tried": rule(error=error)})
    decision = policy.evaluate(REQUEST, FACTS)
    assert (decision.verdict, decision.rules) == (Verdict.DENY, ("tried",))
    assert decision.reasons == (f"Cannot judge: {error}.",)


def test_every_rule_that_objects_is_named_with_a_sentence_in_the_order_of_names():
    facts = attrs.evolve(FACTS, switched_off=frozenset({"BTC"}), past=None, reconciled_ns=None)
    decision = POLICY.evaluate(REQUEST, facts)
    assert decision.rules == ("books-agree", "halt", "limits")
    assert decision.reasons == (
        "Cannot judge: reconciled_ns is unknown.", "BTC is switched off.", "Cannot judge: past is unknown.",
    )  # fmt: skip


def test_the_digest_of_the_inputs_is_of_request_and_facts():
    of = {POLICY.evaluate(REQUEST, FACTS).inputs, POLICY.evaluate(REQUEST, FACTS).inputs}
    of.add(POLICY.evaluate(attrs.evolve(REQUEST, account=8), FACTS).inputs)
    of.add(POLICY.evaluate(REQUEST, attrs.evolve(FACTS, now_ns=FACTS.now_ns + 1)).inputs)
    assert len(of) == 3
    assert {len(digest) for digest in of} == {32}


def test_what_has_no_digest_is_denied():
    decision = POLICY.evaluate(attrs.evolve(REQUEST, amount_units=1.5), FACTS)
    assert (decision.verdict, decision.inputs) == (Verdict.DENY, b"")
    assert decision.reasons == ("Cannot judge: CustodyError.",)


@pytest.mark.parametrize("amount", [0, -1, -(2**63), True])
def test_an_amount_that_is_none_is_denied(amount):
    assert POLICY.evaluate(attrs.evolve(REQUEST, amount_units=amount), FACTS).rules == ("policy",)


DRAFT, ENTRY = FACTS.effects, FACTS.destination
PAST = read_cases((EXAMPLES / "cases.toml").read_text("utf-8"))[6].facts.past[0]
NUMBERS = {
    "amount_units": lambda n: (attrs.evolve(REQUEST, amount_units=n), FACTS),
    "now_ns": lambda n: (REQUEST, attrs.evolve(FACTS, now_ns=n)),
    "wallet_units": lambda n: (REQUEST, attrs.evolve(FACTS, wallet_units=n)),
    "reconciled_ns": lambda n: (REQUEST, attrs.evolve(FACTS, reconciled_ns=n)),
    "changes": lambda n: (REQUEST, attrs.evolve(FACTS, changes={"password": n})),
    "added_ns": lambda n: (REQUEST, attrs.evolve(FACTS, destination=attrs.evolve(ENTRY, added_ns=n))),
    "active_ns": lambda n: (REQUEST, attrs.evolve(FACTS, destination=attrs.evolve(ENTRY, active_ns=n))),
    "past.amount_units": lambda n: (REQUEST, attrs.evolve(FACTS, past=(attrs.evolve(PAST, amount_units=n),))),
    "past.at_ns": lambda n: (REQUEST, attrs.evolve(FACTS, past=(attrs.evolve(PAST, at_ns=n),))),
    "fee_units": lambda n: (REQUEST, attrs.evolve(FACTS, effects=attrs.evolve(DRAFT, fee_units=n))),
    "virtual_bytes": lambda n: (REQUEST, attrs.evolve(FACTS, effects=attrs.evolve(DRAFT, virtual_bytes=n))),
    "payment": lambda n: (
        REQUEST, attrs.evolve(FACTS, effects=attrs.evolve(DRAFT, payments=(Output(REQUEST.script, n),)))
    ),
    "change": lambda n: (REQUEST, attrs.evolve(FACTS, effects=attrs.evolve(DRAFT, change=(Output(b"own", n),)))),
}  # fmt: skip


@pytest.mark.parametrize(
    "number", [2**63, 2**64 + 1, 2**256, 10**5000, -1, -(2**64)], ids=["63", "64", "256", "5000", "-1", "-64"]
)
@pytest.mark.parametrize("which", NUMBERS)
def test_a_number_that_no_machine_of_64_bits_holds_lets_nothing_out(which, number):
    decision = POLICY.evaluate(*NUMBERS[which](number))
    assert decision.verdict is Verdict.DENY
    assert decision.reasons


NOT_ASKED = {"incident", "signed", "stage", "stepped_up"}
"""Facts of which the requests of these tests need nothing that garbage has not, such as a digest that is not in it."""


@pytest.mark.parametrize("garbage", [object(), 0, "x", 1.5, [None], {"password": None}, (1,), lambda: 0])
@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Facts)])
def test_garbage_instead_of_a_fact_is_a_denial_and_never_raises(name, garbage):
    decision = POLICY.evaluate(REQUEST, attrs.evolve(FACTS, **{name: garbage}))
    assert decision.verdict is Verdict.DENY or name in NOT_ASKED
    assert len(decision.rules) == len(decision.reasons)


def test_a_stage_that_does_not_exist_is_the_last_one():
    missing = attrs.evolve(FACTS, effects=None)
    assert POLICY.evaluate(REQUEST, attrs.evolve(missing, stage=Stage.REQUEST)).verdict is Verdict.ALLOW
    assert POLICY.evaluate(REQUEST, attrs.evolve(missing, stage=7)).rules == ("draft",)


def test_a_change_that_cannot_be_judged_is_denied():
    change = PolicyChange(text="", previous=POLICY.digest, proposer="eve", proposed_ns=0)
    for odd in (attrs.evolve(change, proposer=None), attrs.evolve(change, text=None), None):
        decision = POLICY.change(odd, FACTS)
        assert (decision.verdict, len(decision.reasons)) == (Verdict.DENY, 1)
