"""`perpkit custody verify`: whoever has nothing but the log finds whatever was done to it, and where."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from perpkit.cli.main import main
from perpkit.custody.desk import codec, entries
from perpkit.custody.desk.actors import WillingMember
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.log import AuditLog, MemoryLog, SqliteLog
from perpkit.custody.desk.tasks import Answer, Task, TaskKind
from perpkit.custody.draw.nomination import CommitReveal
from perpkit.simulate.custody import PlainWorld, Show
from perpkit.simulate.custody.company import PLACES

Object = dict[str, Any]


@pytest.fixture(scope="module")
def played() -> AuditLog:
    """The log of a demonstration: one withdrawal is confirmed, another waits for signatures."""
    show = Show(PlainWorld(PLACES), lambda _who, _what: None)
    show.withdrawal()
    list(show.robbery())
    return show.company.log


@pytest.fixture
def lines(played: AuditLog) -> list[str]:
    return list(played.export())


@pytest.fixture
def objects(lines: list[str]) -> list[Object]:
    return [json.loads(line) for line in lines]


@pytest.fixture
def verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Iterable[str]], tuple[int, str]]:
    def run(lines: Iterable[str]) -> tuple[int, str]:
        file = tmp_path / "log.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return main(["custody", "verify", str(file)]), capsys.readouterr().out

    return run


Verify = Callable[[Iterable[str]], tuple[int, str]]


def chained(objects: Iterable[Object]) -> list[str]:
    """Chain entries anew, as a forger does who has the whole file."""
    log = MemoryLog()
    for each in objects:
        log.append(each["kind"], each["at_ns"], each["body"])
    return list(log.export())


def number_of(objects: list[Object], kind: str) -> int:
    return next(number for number, each in enumerate(objects, start=1) if each["kind"] == kind)


def in_sqlite(file: Path, lines: Iterable[str]) -> None:
    SqliteLog(file).close()
    with sqlite3.connect(file) as database:
        database.executemany("INSERT INTO log VALUES (?, ?)", enumerate(lines, start=1))
    database.close()


def test_a_good_log_is_good_and_everything_in_it_is_counted(verify: Verify, lines: list[str], played: AuditLog) -> None:
    code, out = verify(lines)
    assert code == 0
    assert out.splitlines() == [
        f"entries      {len(lines)}, each as it was written",
        f"head         {played.head.hex()}",
        "withdrawals  1 signing, 1 confirmed",
        "nominations  2, each drawn again with the same result",
    ]


def test_a_desks_own_file_is_read_and_left_as_it_was(
    tmp_path: Path, lines: list[str], capsys: pytest.CaptureFixture[str], verify: Verify
) -> None:
    file = tmp_path / "custody log?.sqlite"
    in_sqlite(file, lines)
    before = file.read_bytes()
    assert main(["custody", "verify", str(file)]) == 0
    out = capsys.readouterr().out
    assert out == verify(lines)[1]
    assert file.read_bytes() == before


def test_the_demonstration_leaves_a_log_that_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "demo.jsonl"
    assert main(["custody", "demo", "--chain", "memory", "--log", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"log: {file} (perpkit custody verify {file})"
    assert main(["custody", "verify", str(file)]) == 0
    assert f"entries      {len(file.read_text('ascii').splitlines())}, " in capsys.readouterr().out


def test_a_log_that_cannot_be_kept_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["custody", "demo", "--chain", "memory", "--log", str(tmp_path)]) == 2
    assert "--log: expected a file that can be written" in capsys.readouterr().err


@attrs.frozen
class Reluctant:
    """Somebody who does not take part in draws."""

    member: WillingMember

    def answer(self, task: Task) -> Answer | None:
        return self.member.decline(task, "not me") if task.kind is TaskKind.COMMIT else self.member.answer(task)


def test_a_draw_that_somebody_spoilt_before_is_drawn_again_as_well(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = Show(PlainWorld(PLACES), lambda _who, _what: None)
    staff = show.company.staff
    sara, attend = staff.members["sara"], staff.attend
    assert isinstance(sara, WillingMember)
    staff.members["sara"] = Reluctant(sara)

    def attend_until_it_is_drawn_again(desk: Desk) -> None:
        attend(desk)
        desk.advance()
        attend(desk)

    monkeypatch.setattr(staff, "attend", attend_until_it_is_drawn_again)
    show.withdrawal()
    transcript = show.company.desk.withdrawals[1].transcript
    assert transcript is not None
    assert (transcript.opening.attempt, transcript.refused) == (2, ("sara",))
    code, out = verify(show.company.log.export())
    assert (code, out.splitlines()[-1]) == (0, "nominations  1, each drawn again with the same result")


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", "signed"), ("at_ns", 1), ("number", 8), ("previous", "00" * 32), ("digest", "00" * 32), ("body", {})],
)
def test_an_edited_entry_is_found(verify: Verify, lines: list[str], field: str, value: object) -> None:
    lines[6] = json.dumps(json.loads(lines[6]) | {field: value}, sort_keys=True, separators=(",", ":"))
    code, out = verify(lines)
    assert (code, out) == (1, "entry 7 is bad: it is not as it was written, or not where it was\n")


@pytest.mark.parametrize(
    ("damage", "bad"),
    [
        (lambda lines: lines[:4] + lines[5:], 5),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5),
        (lambda lines: lines[:5] + lines[4:], 6),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines, "garbage"], 61),
        (lambda lines: [*lines[:9], "", *lines[9:]], 10),
        (lambda lines: [*lines[:9], "[" * 100_000, *lines[10:]], 10),
        (lambda lines: [*lines[:9], lines[9].replace('"at_ns":', '"at_ns": '), *lines[10:]], 10),
        (lambda lines: [*lines[:9], lines[9].replace('"at_ns":', '"at_ns":1,"at_ns":'), *lines[10:]], 10),
    ],
    ids=["missing", "moved", "doubled", "beheaded", "longer", "blank", "deep", "another form", "a field twice"],
)
def test_a_log_that_was_changed_names_the_first_bad_entry(
    verify: Verify, lines: list[str], damage: Callable[[list[str]], list[str]], bad: int
) -> None:
    code, out = verify(damage(lines[:60]))
    assert (code, out.partition(" is bad: ")[0]) == (1, f"entry {bad}")


def test_what_is_cut_off_at_the_end_shows_in_the_head_alone(verify: Verify, lines: list[str], played: AuditLog) -> None:
    code, out = verify(lines[:-1])
    assert code == 0
    assert played.head.hex() not in out
    assert played.entries()[-2].digest.hex() in out


def test_other_nominated_are_found_although_the_chain_is_made_anew(verify: Verify, objects: list[Object]) -> None:
    number = number_of(objects, "nominated")
    transcript = objects[number - 1]["body"]["transcript"]
    transcript["nominated"][0] = min(set(PLACES) - set(transcript["nominated"]))
    code, out = verify(chained(objects))
    assert (code, out) == (1, f"entry {number} is bad: drawn again, other people are nominated\n")


def test_the_first_bad_entry_counts_when_the_chain_is_broken_behind_it(verify: Verify, objects: list[Object]) -> None:
    number = number_of(objects, "nominated")
    objects[number - 1]["body"]["transcript"]["nominated"].reverse()
    assert verify([*chained(objects)[:-1], "garbage"])[1].startswith(f"entry {number} is bad: drawn again")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("reveals", "the secrets are not those that people revealed"),
        ("commitments", "the commitments are not those that people made"),
        ("signatures", "the commitments are not those that people made"),
        ("beacon", "drawn again, other people are nominated"),
        ("refused", "others are said to have spoilt a draw than did"),
        ("opening", "the draw is not the one that was opened"),
    ],
)
def test_a_draw_that_is_not_what_the_entries_before_it_lead_to_is_found(
    verify: Verify, objects: list[Object], change: str, problem: str
) -> None:
    number = number_of(objects, "nominated")
    transcript = objects[number - 1]["body"]["transcript"]
    match transcript[change]:
        case str():
            transcript[change] = "11" * 32
        case list():
            transcript[change] = ["tara"]
        case dict(values) if change == "opening":
            transcript[change] = values | {"round": values["round"] + 1}
        case dict(values):
            transcript[change] = values | {"sara": "11" * 32}
    assert verify(chained(objects)) == (1, f"entry {number} is bad: {problem}\n")


def test_a_whole_draw_that_somebody_made_up_is_found(verify: Verify, objects: list[Object]) -> None:
    """Drawn by the rules, of secrets that nobody has committed to."""
    number = number_of(objects, "nominated")
    step = codec.decode("nominated", objects[number - 1]["body"])
    assert isinstance(step, entries.Nominated)
    opening, draw = step.transcript.opening, CommitReveal()
    secrets = dict.fromkeys(opening.eligible, bytes(32))
    commitments = {name: draw.commitment(opening, name, secret) for name, secret in secrets.items()}
    transcript = draw.draw(opening, commitments, secrets, step.transcript.beacon, ())
    assert draw.verify(transcript)
    objects[number - 1]["body"] = codec.encode("XBT", attrs.evolve(step, transcript=transcript))[1]
    code, out = verify(chained(objects))
    assert (code, out.partition(":")[0]) == (1, f"entry {number} is bad")


def test_a_draw_that_was_opened_for_another_request_is_found(verify: Verify, objects: list[Object]) -> None:
    number = number_of(objects, "requested")
    objects[number - 1]["body"]["request"]["amount_units"] += 1
    found = number_of(objects, "nominated")
    assert verify(chained(objects)) == (1, f"entry {found} is bad: the draw was opened for another request\n")


@pytest.mark.parametrize("kind", ["requested", "judged", "opened", "nominated", "approved", "drafted", "signed"])
def test_a_step_that_is_left_out_is_found_although_the_chain_is_made_anew(
    verify: Verify, objects: list[Object], kind: str
) -> None:
    number = number_of(objects, kind)
    code, out = verify(chained(objects[: number - 1] + objects[number:]))
    assert code == 1
    assert int(out.split()[1]) >= number


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("unheard-of", {"asset": "XBT"}),
        (["expired"], {"asset": "XBT", "withdrawal_id": 1}),
        ("expired", {"asset": "XBT", "withdrawal_id": 99}),
        ("expired", {"asset": "XBT", "withdrawal_id": 1}),
        ("expired", {"withdrawal_id": 2}),
        ("expired", ["XBT"]),
        ("expired", None),
        ("reversed", {"asset": "XBT", "deposit_id": 1}),
        ("reversed", {"asset": "XBT", "deposit_id": "2"}),
        ("policy-adopted", {"asset": "XBT"}),
        ("signed", {"asset": "XBT", "withdrawal_id": 1, "raw": "no hex"}),
    ],
)
def test_an_entry_that_no_desk_writes_there_is_found_although_it_is_chained(
    verify: Verify, objects: list[Object], kind: Any, body: Any
) -> None:
    code, out = verify(chained([*objects, {"kind": kind, "at_ns": 0, "body": body}]))
    assert (code, out.partition(" is bad: no desk writes it ")[0]) == (1, f"entry {len(objects) + 1}")


def test_an_edited_file_of_a_desk_is_found(
    tmp_path: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log.sqlite"
    in_sqlite(file, lines)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE log SET entry = replace(entry, 'CLIENT', 'FUND') WHERE number = 1")
    database.close()
    assert main(["custody", "verify", str(file)]) == 1
    assert capsys.readouterr().out.startswith("entry 1 is bad: ")


@pytest.mark.parametrize("content", [None, b"SQLite format 3\0 and nothing else" * 99, "CREATE TABLE other (a TEXT)"])
def test_a_file_that_cannot_be_read_is_told_apart_from_a_bad_log(
    tmp_path: Path, content: bytes | str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        with sqlite3.connect(file) as database:
            database.execute(content)
        database.close()
    assert main(["custody", "verify", str(file)]) == 2
    assert "expected a custody's log, as JSON lines or in SQLite" in capsys.readouterr().err
