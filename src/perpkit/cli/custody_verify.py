"""`perpkit custody verify`: a custody's log, checked by somebody who has nothing but the log."""

import argparse
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from perpkit.custody.desk import codec, entries
from perpkit.custody.desk.log import MemoryLog, verify_log
from perpkit.custody.desk.state import DeskState
from perpkit.custody.desk.withdrawal import State, Withdrawal
from perpkit.custody.digest import canonical_bytes, request_digest
from perpkit.custody.draw.nomination import CommitReveal
from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.nomination import Transcript

SQLITE = b"SQLite format 3\0"
NOMINATOR = CommitReveal(attempts_max=1 << 62)
"""How often a draw may be repeated the custody's setup says; whether it was fair does not depend on it."""
WRITTEN_BY_NO_DESK = (
    CustodyError, LookupError, TypeError, ValueError, AttributeError, AssertionError, RecursionError
)  # fmt: skip
"""What a desk's state raises over entries that somebody else made up, however well they are chained."""


def add_parser(subparsers: Any) -> None:
    """Add `perpkit custody verify`."""
    parser = subparsers.add_parser("verify", help="check a custody's log, and draw every nomination in it again")
    parser.add_argument("file", type=Path, metavar="FILE", help="an exported log, or the file of a desk's own log")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check and print; exit code 1 when an entry is bad, 2 when the file cannot be read."""
    read = read_entries(arguments.file)
    whole = verify_log(read)
    checked = _Checked()
    for number, entry in enumerate(read if whole is None else read[: whole - 1], start=1):
        if problem := checked.take(entry):
            print(f"entry {number} is bad: {problem}")
            return 1
    if whole is not None:
        print(f"entry {whole} is bad: it is not as it was written, or not where it was")
        return 1
    states = Counter(each.state for desk in checked.desks.values() for each in desk.withdrawals.values())
    print(f"entries      {len(read)}, each as it was written")
    print(f"head         {checked.log.head.hex()}")
    print(f"withdrawals  {', '.join(f'{states[each]} {each.value}' for each in State if states[each]) or 'none'}")
    print(f"nominations  {checked.nominations}, each drawn again with the same result")
    return 0


def read_entries(file: Path) -> Sequence[object]:
    """Return the entries of a log as it is stored or was exported; None for a line that no log has written.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        raw = file.read_bytes()
        if raw.startswith(SQLITE):
            return [_entry(line) for line in _stored(file)]
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{file}: expected a custody's log, as JSON lines or in SQLite: {error}") from error
    return [_entry(line.strip()) for line in raw.splitlines()]


def _stored(file: Path) -> Iterable[object]:
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return [line for (line,) in database.execute("SELECT CAST(entry AS BLOB) FROM log ORDER BY number")]
    finally:
        database.close()


def _entry(line: Any) -> object:
    """Return what a line holds if it is the one form in which a log writes it: another might be read otherwise."""
    try:
        loaded = json.loads(line)
        return loaded if canonical_bytes(loaded) == line else None
    except (ValueError, TypeError, RecursionError, CustodyError):
        return None


@attrs.define
class _Checked:
    """What the entries add up to so far: a desk for each asset."""

    log: MemoryLog = attrs.field(factory=MemoryLog)
    desks: dict[str, DeskState] = attrs.field(factory=dict[str, DeskState])
    nominations: int = 0

    def take(self, entry: Any) -> str:
        """Take an entry into account; say what is wrong with it, or nothing."""
        try:
            self.log.append(entry["kind"], entry["at_ns"], entry["body"])
            return self._follow(entry["kind"], entry["body"])
        except WRITTEN_BY_NO_DESK as error:
            return f"no desk writes it here: {type(error).__name__}: {error}"

    def _follow(self, kind: str, body: Mapping[str, Any]) -> str:
        asset, step = body["asset"], codec.decode(kind, body)
        if codec.encode(asset, step) != (kind, body):
            return "no desk writes it in this form"
        desk = self.desks.setdefault(asset, DeskState(asset, 0))
        problem = ""
        if isinstance(step, entries.Nominated):
            problem = _drawn_otherwise(desk.withdrawals[step.withdrawal_id], step.transcript)
            self.nominations += 1
        desk.catch_up(self.log)
        return problem


def _drawn_otherwise(withdrawal: Withdrawal, transcript: Transcript) -> str:
    """Say what of a transcript is not what the entries before it lead to, or nothing."""
    if transcript.opening != withdrawal.opening:
        return "the draw is not the one that was opened"
    if (transcript.opening.request, transcript.opening.sequence) != (
        request_digest(withdrawal.request),
        withdrawal.sequence,
    ):
        return "the draw was opened for another request"
    if transcript.commitments != withdrawal.commitments or transcript.signatures != withdrawal.commitment_signatures:
        return "the commitments are not those that people made"
    if transcript.reveals != withdrawal.reveals:
        return "the secrets are not those that people revealed"
    if transcript.refused != withdrawal.refused:
        return "others are said to have spoilt a draw than did"
    return "" if NOMINATOR.verify(transcript) else "drawn again, other people are nominated"
