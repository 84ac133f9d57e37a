"""The audit log: what was written stays as it was written, or the log says where it does not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from perpkit.custody.desk import codec, entries
from perpkit.custody.desk.log import FIRST_PREVIOUS, AuditLog, MemoryLog, SqliteLog, verify_log
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import BlockRef
from perpkit.ports.custody.policy import Decision, Verdict
from perpkit.ports.custody.wallet import Owner, Purpose


def written(log: AuditLog) -> AuditLog:
    for number in range(1, 6):
        log.append("noted", 100 + number, {"what": f"entry {number}", "raw": b"\x01\x02"})
    return log


def lines(log: AuditLog) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.export()]


def test_entries_are_numbered_and_each_names_the_digest_of_the_one_before() -> None:
    found = written(MemoryLog()).entries()
    assert [entry.number for entry in found] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in found] == [FIRST_PREVIOUS, *(entry.digest for entry in found[:-1])]
    assert found[0].body == {"what": "entry 1", "raw": "0102"}


def test_a_stranger_can_verify_an_export() -> None:
    log = written(MemoryLog())
    assert verify_log(lines(log)) is None
    assert verify_log([]) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", 7),
        ("kind", "else"),
        ("at_ns", 1),
        ("previous", "00" * 32),
        ("body", {"what": "something else"}),
        ("digest", "00" * 32),
        ("at_ns", 1.5),
        ("extra", 1),
    ],
)
def test_any_edited_field_is_found_at_its_entry(field: str, value: object) -> None:
    edited = lines(written(MemoryLog()))
    edited[2][field] = value
    assert verify_log(edited) == 3


def test_an_edit_that_renews_its_own_digest_is_found_at_the_next_entry() -> None:
    honest, forged = MemoryLog(), MemoryLog()
    for log, what in ((honest, "a"), (forged, "b")):
        log.append("noted", 1, {"what": what})
        log.append("noted", 2, {"what": "c"})
    assert verify_log([lines(forged)[0], lines(honest)[1]]) == 2


@pytest.mark.parametrize(
    ("order", "bad"), [((0, 1, 3, 4), 3), ((0, 2, 1, 3, 4), 2), ((0, 1, 1, 2, 3, 4), 3), ((1, 2, 3, 4), 1)]
)
def test_missing_moved_and_doubled_entries_are_found(order: tuple[int, ...], bad: int) -> None:
    found = lines(written(MemoryLog()))
    assert verify_log(found[place] for place in order) == bad


@pytest.mark.parametrize("garbage", [None, 5, "text", [], {}])
def test_what_is_no_entry_is_bad(garbage: object) -> None:
    assert verify_log([*lines(written(MemoryLog())), garbage]) == 6


def test_what_was_cut_off_shows_in_the_head() -> None:
    log, shorter = written(MemoryLog()), MemoryLog()
    for entry in log.entries()[:4]:
        shorter.append(entry.kind, entry.at_ns, entry.body)
    assert verify_log(lines(shorter)) is None
    assert shorter.head == log.entries()[3].digest != log.head


def test_sqlite_gives_back_what_was_appended(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    written(log)
    log.close()
    again = SqliteLog(tmp_path / "log.sqlite")
    assert list(again.export()) == list(written(MemoryLog()).export())
    assert again.append("noted", 9, {}).number == 6
    assert verify_log(lines(again)) is None
    again.close()


def edit(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("UPDATE log SET entry = replace(entry, 'entry 4', 'entry 9') WHERE number = 4", 4),
        ("DELETE FROM log WHERE number = 2", 2),
        ("UPDATE log SET entry = 'x' WHERE number = 5", 5),
        ("UPDATE log SET entry = x'00' WHERE number = 1", 1),
        ("UPDATE log SET entry = (SELECT entry FROM log WHERE number = 2) WHERE number = 3", 3),
    ],
)
def test_sqlite_refuses_an_edited_log_and_names_the_first_bad_entry(tmp_path: Path, statement: str, bad: int) -> None:
    path = tmp_path / "log.sqlite"
    log = SqliteLog(path)
    written(log)
    log.close()
    edit(path, statement)
    with pytest.raises(CustodyError, match=rf"log\.sqlite: entry {bad} is not as it was written"):
        SqliteLog(path)


def test_sqlite_refuses_a_file_that_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"this is no database at all, however long it is" * 20)
    with pytest.raises(CustodyError, match="expected an audit log in SQLite"):
        SqliteLog(path)


def test_a_second_writer_cannot_append_to_a_log_that_has_grown(tmp_path: Path) -> None:
    first, second = SqliteLog(tmp_path / "log.sqlite"), SqliteLog(tmp_path / "log.sqlite")
    first.append("noted", 1, {})
    with pytest.raises(CustodyError, match="entry 1 could not be kept, or another process wrote it"):
        second.append("noted", 1, {})
    assert second.entries() == []
    first.close()
    second.close()


def test_steps_come_back_as_they_went_in() -> None:
    steps: list[entries.Step] = [
        entries.Credited(
            owner=Owner(Purpose.FUND, 3), index=2, outpoint=(b"\x01", 4), amount_units=5, block=(6, b"\x07")
        ),
        entries.Judged(
            withdrawal_id=1,
            decision=Decision(
                verdict=Verdict.STEP_UP, rules=("a",), reasons=("b",), policy=b"\x01", inputs=b"", step_up=("officer",)
            ),
        ),
        entries.Confirmed(withdrawal_id=1, txid=b"\x01", block=BlockRef(3, b"\x02")),
    ]
    for step in steps:
        kind, body = codec.encode("BTC", step)
        assert body["asset"] == "BTC"
        assert codec.decode(kind, body) == step
    assert codec.encode("BTC", steps[0])[0] == "credited"
    assert codec.encode("BTC", entries.PolicyAdopted())[0] == "policy-adopted"


@pytest.mark.parametrize(
    ("kind", "body"), [("unheard-of", {}), ("expired", {}), ("expired", {"withdrawal_id": 1, "x": 2})]
)
def test_an_entry_that_no_desk_wrote_is_refused(kind: str, body: dict[str, object]) -> None:
    with pytest.raises(CustodyError, match="that this version cannot read"):
        codec.decode(kind, {"asset": "BTC", **body})
