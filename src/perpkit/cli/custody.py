"""`perpkit custody …`: what is done about custody without a running exchange."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from perpkit.cli import custody_demo, custody_verify
from perpkit.cli.table import table
from perpkit.custody.policy import load_policy
from perpkit.custody.policy.cases import VERDICTS, read_cases
from perpkit.custody.policy.rule import in_words
from perpkit.custody.policy.rules_release import Tier
from perpkit.errors import ConfigError

T = TypeVar("T")
NAMES = {verdict: name for name, verdict in VERDICTS.items()}


def add_parser(subparsers: Any) -> None:
    """Add `perpkit custody` with its own subcommands."""
    parser = subparsers.add_parser("custody", help="watch a custody at work, check its log, try its policies")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    custody_demo.add_parser(commands)
    custody_verify.add_parser(commands)
    _add_policy(commands)


def _add_policy(subparsers: Any) -> None:
    parser = subparsers.add_parser("policy", help="show a policy, or try cases on it")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    show = commands.add_parser("show", help="the digest of a policy and what its rules say")
    test = commands.add_parser("test", help="what a policy says to cases, and whether that is as expected")
    for command, run in ((show, _show), (test, _test)):
        command.add_argument("file", type=Path, metavar="FILE", help="a policy in TOML")
        command.set_defaults(run=run)
    test.add_argument("cases", type=Path, metavar="CASES", help="cases in TOML")


def _show(arguments: argparse.Namespace) -> int:
    policy = _read(arguments.file, load_policy)
    print(f"{policy.name}\ndigest {policy.digest.hex()}")
    for name, rule in policy.rules.items():
        keys = {field.name: getattr(rule, field.name) for field in attrs.fields(type(rule))}
        said = ", ".join(f"{key} {_in_words(value)}" for key, value in keys.items() if value not in ("", None))
        print(f"\n{name} ({rule.kind}): {(type(rule).__doc__ or '').splitlines()[0]}\n  {said or 'whatever it is'}")
    return 0


def _test(arguments: argparse.Namespace) -> int:
    """Print a line a case; exit code 1 when a verdict, or a set of rules, is not the one that was expected."""
    policy, cases = _read(arguments.file, load_policy), _read(arguments.cases, read_cases)
    failed, rows = [], []
    for case in cases:
        decision = case.judged(policy)
        rows.append([case.name, NAMES[case.expected], NAMES[decision.verdict], ", ".join(decision.rules) or "-"])
        if not case.is_met(decision):
            wanted = "" if case.rules is None else f" by {', '.join(sorted(case.rules)) or 'no rule'}"
            reasons = " ".join(decision.reasons) or "no rule objects"
            failed.append(f"{case.name}: expected {NAMES[case.expected]}{wanted}; {reasons}")
    print(table(["CASE", "EXPECTED", "FOUND", "RULES"], rows))
    print("\n".join([*failed, f"{len(cases)} cases, {len(failed)} not as expected"]))
    return 1 if failed else 0


def _in_words(value: Any) -> str:
    """Return the value of a key as people say it, the same in every run."""
    if isinstance(value, Mapping):
        return in_words(value)
    if isinstance(value, Tier):
        return f"from {value.from_units} units {in_words(value.roles)}"
    if isinstance(value, frozenset):
        return " ".join(sorted(value))
    if isinstance(value, tuple):
        return ("-" if isinstance(value[0], int) else " / ").join(map(_in_words, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(file: Path, reader: Callable[[str], T]) -> T:
    try:
        return reader(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected a readable TOML file in UTF-8: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
