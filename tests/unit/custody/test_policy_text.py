"""Policies and cases as text: what a file may say, how it is refused, and what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpkit.cli.main import main
from perpkit.custody.policy import load_policy
from perpkit.custody.policy.cases import read_cases
from perpkit.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples/custody"
TEXT = (EXAMPLES / "policy.toml").read_text("utf-8")
CASES = (EXAMPLES / "cases.toml").read_text("utf-8")

REFUSED = [
    ("version = 1", "version = 2", "version: expected 1, was 2"),
    ("version = 1", "version = true", "version: expected int, was bool True"),
    ("version = 1", "", "version: expected a value, was missing"),
    ("version = 1", "version = 1\nrule = 1", "expected no key 'rule' here; did you mean 'rules'?"),
    ("version = 1", "version =", "policy: expected TOML"),
    ("version = 1", "version = " + "1" * 5000, "policy: expected TOML"),
    ("version = 1", "version = " + "[" * 5000, "policy: expected TOML"),
    ("[rules.halt]", "[rules.policy]", "rules.policy: expected a name of lower-case words"),
    ("[rules.halt]", '[rules."Not this"]', "rules.Not this: expected a name of lower-case words"),
    ('kind = "halt"', 'kind = "hault"', "rules.halt.kind: expected one of halt, destination"),
    ('kind = "halt"', 'kind = "hault"', "was 'hault'; did you mean 'halt'?"),
    ('kind = "halt"', "", "rules.halt.kind: expected one of"),
    ('kind = "halt"', 'kind = "halt"\nlevel = 1', "rules.halt: expected no key 'level' here"),
    ('kind = "halt"', 'kind = "halt"\nasset = "BCT"', "rules.halt.asset: expected one that has a path, BTC; was 'BCT'"),
    ('kind = "halt"', 'kind = "halt"\nsource = "freezer"', "rules.halt: source: expected one of deposit, cold"),
    ("transaction_units = 5_000_000_000", "transaction_units = 1.5", "limits.transaction_units: expected int, was"),
    ("transaction_units = 5_000_000_000", 'transaction_units = "5"', "limits.transaction_units: expected int, was str"),
    ("transaction_units = 5_000_000_000", "transaction_units = 0", "rules.limits: transaction_units: expected a whole"),
    (
        "transaction_units = 5_000_000_000",
        "transaction_units = -1",
        "rules.limits: transaction_units: expected a whole",
    ),
    ("transaction_units = 5_000_000_000", f"transaction_units = {2**63}", "from 1 to 9223372036854775807"),
    ("wallet_percent = 20", "wallet_percent = 101", "wallet_percent: expected a whole number from 1 to 100"),
    ("window_hours = 1", "window_hours = 87601", "window_hours: expected a whole number from 1 to 87600"),
    ("minutes = 10", "minutes = 5256001", "minutes: expected a whole number from 1 to 5256000"),
    ('per = "wallet"', 'per = "person"', "rules.hot-drain: per: expected one of user, wallet, asset"),
    ("amount_units = 300_000_000\ncount = 20", "", "rules.hot-drain: expected amount_units, count or both"),
    ("roles = { support = 2 }", "roles = {}", "address-book: roles: expected from 1 to 10 roles"),
    ("roles = { support = 2 }", "roles = { support = 0 }", "address-book: roles: expected from 1 to 10 roles"),
    ("roles = { support = 2 }", 'roles = "support"', "rules.address-book.roles: expected a table, was str"),
    ("password = 24", "passwort = 24", "settle-down: hours: expected keys among password, two-factor"),
    ("password = 24", "password = 0", "hours.password: expected a whole number from 1"),
    ("from_units = 0,", "from_units = 1,", "rules.approvals: tiers: expected one with from_units = 0"),
    ("from_units = 100_000_000,", "from_units = 0,", "rules.approvals: tiers: expected one with from_units = 0"),
    ('target = "hot"\namount_max_units = 500_000_000', 'target = "hot"', "refill: amount_max_units: expected a cap"),
    ('source = "hot"\ntarget = "client"', 'source = "hot"\ntarget = "house"', "rules.small: source, target: expected"),
    ('asset = "BTC"\nsource = "deposit"', 'asset = ""\nsource = "deposit"', "collect: asset: expected a name"),
    ('weekdays = ["mon"', 'weekdays = ["monday"', "rules.batches: weekdays: expected some of mon, tue"),
    ("hours = [[9, 10], [17, 18]]", "hours = [[9, 25]]", "rules.batches: hours: expected pairs like [9, 17]"),
    ("hours = [[9, 10], [17, 18]]", "hours = [[10, 9]]", "rules.batches: hours: expected pairs like [9, 17]"),
    ("hours = [[9, 10], [17, 18]]", "hours = [[9]]", "rules.batches: hours: expected pairs like [9, 17]"),
    ("hours = [[9, 10], [17, 18]]", "hours = []", "rules.batches: hours: expected pairs like [9, 17]"),
    ("from_units = 2_000_000_000\nnew_destination_hours = 72", "", "rules.by-hand: expected from_units"),
    ('asset = "BTC"\nrole = "officer"', 'role = "officer"', "rules.by-hand: asset: expected a value beside from_units"),
    ('role = "officer"', 'role = ""', "rules.by-hand: role: expected a name"),
    ("untampered = false", "untampered = 0", "rules.device.untampered: expected bool, was int 0"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED)
def test_a_policy_that_cannot_be_meant_is_refused_and_says_by_rule_and_key_what_is_wrong(old, new, message):
    assert old in TEXT
    with pytest.raises(ConfigError) as raised:
        load_policy(TEXT.replace(old, new, 1))
    assert message in str(raised.value)


def test_a_limit_without_any_key_and_a_cool_down_after_nothing_are_refused():
    head = TEXT[: TEXT.index("# 4. and 5.")] + TEXT[TEXT.index("# 6. to 8.") :]
    with pytest.raises(ConfigError, match=r"rules\.idle: expected at least one limit"):
        load_policy(head + '\n[rules.idle]\nkind = "limit"\nasset = "BTC"\n')
    with pytest.raises(ConfigError, match=r"rules\.idle: hours: expected at least one of password"):
        load_policy(head + '\n[rules.idle]\nkind = "cool-down"\nhours = {}\n')


def test_a_policy_that_lets_nothing_out_is_refused():
    with pytest.raises(ConfigError, match="rules: expected one of the kind path"):
        load_policy('version = 1\nname = "shut"\n[rules.halt]\nkind = "halt"\n')


def test_the_digest_is_of_what_the_rules_say():
    written = TEXT.replace(
        'kind = "segregation"', 'kind = "segregation"\noutside_roles = ["reconciler", "policy-editor"]'
    )
    reordered = written.replace("hours = [[9, 10], [17, 18]]", "hours = [[17, 18],\n  [9, 10]]  # the same")
    assert reordered != TEXT
    assert load_policy(reordered).digest == load_policy(TEXT).digest
    changed = {load_policy(TEXT.replace(old, new, 1)).digest for old, new in [
        ("minutes = 10", "minutes = 11"), ("[rules.halt]", "[rules.stop]"), ("two wallets", "2 wallets"),
    ]}  # fmt: skip
    assert len(changed | {load_policy(TEXT).digest}) == 4


WRONG_CASES = [
    ('expect = "allow"', 'expect = "alow"', "cases.everything-in-order.expect: expected one of deny, step-up, allow"),
    ('stage = "request"', 'stage = "requested"', "cases.asked-on-a-sunday.stage: expected one of request, release"),
    ('unknown = ["destination"]', 'unknown = ["address"]', "cases.destination-deleted.unknown: expected facts"),
    ("now = 2026-03-02T09:30:00Z", "now = 2026-03-02T09:30:00", "facts.now: expected a time with its offset"),
    ("now = 2026-03-02T09:30:00Z", "now = 5", "facts.now: expected a time with its offset"),
    ('script = "0014aa"', 'script = "xyz"', "cases.everything-in-order.request.script"),
    ('script = "0014aa"', "script = 14", "request.script: expected hex text"),
    ("past = []", "passed = []", "facts: expected no key 'passed' here; did you mean 'past'?"),
    ("[defaults.request]", "[default.request]", "expected no key 'default' here; did you mean 'defaults'?"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG_CASES)
def test_cases_that_cannot_be_meant_are_refused(old, new, message):
    assert old in CASES
    with pytest.raises(ConfigError) as raised:
        read_cases(CASES.replace(old, new, 1))
    assert message in str(raised.value)


def test_a_file_without_cases_is_refused():
    with pytest.raises(ConfigError, match="cases: expected at least one"):
        read_cases("[cases]")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "policy.toml").write_text(TEXT, "utf-8")
    (tmp_path / "cases.toml").write_text(CASES, "utf-8")
    return str(tmp_path / "policy.toml"), str(tmp_path / "cases.toml")


def test_cases_as_expected_are_exit_code_0(files, capsys):
    assert main(["custody", "policy", "test", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["CASE", "EXPECTED", "FOUND", "RULES"]
    assert lines[1].split() == ["everything-in-order", "allow", "allow", "-"]
    assert lines[-1] == f"{len(lines) - 2} cases, 0 not as expected"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('expect = "allow"', 'expect = "deny"', "everything-in-order: expected deny by no rule; no rule objects"),
        ('rules = ["halt"]', 'rules = ["device"]', "expected deny by device; BTC is switched off."),
        ('rules = ["halt"]', 'rules = ["halt", "device"]', "expected deny by device, halt; BTC is switched off."),
        (
            'expect = "step-up"',
            'expect = "allow"',
            "expected allow by by-hand; Expected a person with the role officer",
        ),
    ],
)
def test_a_case_that_is_not_as_expected_is_exit_code_1(files, capsys, old, new, told):
    Path(files[1]).write_text(CASES.replace(old, new, 1), "utf-8")
    assert main(["custody", "policy", "test", *files]) == 1
    said = capsys.readouterr().out
    assert told in said
    assert said.endswith("cases, 1 not as expected\n")


@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("text", [None, "= nonsense", "version = 1", b"\xff"])
def test_a_file_that_cannot_be_used_is_exit_code_2(files, capsys, broken, text):
    file = Path(files[broken])
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["custody", "policy", "test", *files]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"perpkit: {file}: ")


def test_a_policy_is_shown_with_its_digest_and_every_rule_in_words(files, capsys):
    assert main(["custody", "policy", "show", files[0]]) == 0
    said = capsys.readouterr().out
    policy = load_policy(TEXT)
    assert said.startswith(f"bitcoin, two wallets\ndigest {policy.digest.hex()}\n")
    assert all(f"\n{name} ({rule.kind}): " in said for name, rule in policy.rules.items())
    assert "from 1000000000 units 1 officer, 2 approver" in said.replace(
        "2 approver, 1 officer", "1 officer, 2 approver"
    )
    assert "weekdays fri mon thu tue wed, hours 9-10 / 17-18, release_only true" in said
