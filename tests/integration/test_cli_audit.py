"""`perpkit audit DIR`: what it says of a journal, and with which exit code."""

import json
import re

import attrs
import pytest

from perpkit import Exchange, ExchangeConfig, Registry, Side, Venue
from perpkit.audit import Witness, state_digest
from perpkit.cli.main import main
from perpkit.engine.compose import build_custody, build_journal
from perpkit.engine.sweep import Finding
from perpkit.model.cause import Law
from perpkit.model.command import IndexQuotes, PlaceOrder, ResumeExchange, RunAudit
from perpkit.model.event import AuditCompleted
from perpkit.model.price import Quote
from perpkit.runtime import Pace
from perpkit.runtime.journal.snapshot import SnapshotFiles
from perpkit.simulate.run import run
from perpkit.simulate.scenarios import scenario
from perpkit.simulate.world import configuration

PACE = Pace(digest_every=10, snapshot_every=25)


def order(account, side, price, **fields):
    return PlaceOrder(account=account, market=1, side=side, size_lots=100, price_ticks=price, **fields)


class Place:
    """A directory as `perpkit demo --journal` leaves it, and the vault that outlives the venue."""

    def __init__(self, directory, provider):
        self.directory, self.provider = directory, provider
        text = configuration("stepped", provider)
        directory.mkdir()
        (directory / "exchange.toml").write_text(text, encoding="utf-8")
        self.config, self.registry = ExchangeConfig.from_text(text), Registry.builtin()
        self.vault = build_custody(self.config, self.registry)

    def open(self):
        exchange = Exchange.of(self.config, self.registry)
        journal = build_journal(self.config, self.registry, exchange.manifest, str(self.directory))
        venue, _ = Venue.recover(
            exchange, self.vault, journal, clock=lambda: 1, pace=PACE, evidence_directory=self.directory
        )
        return venue

    def started(self):
        """Return a venue that did 61 commands: two deposits, quotes, an audit, and 57 orders that trade and rest."""
        venue = self.open()
        for account in (1, 2):
            self.vault.receive(account, 1, 10**9)
        venue.poll()
        quotes = [Quote(market=1, source=source, price_ticks=10_000, weight=1, at_ns=1) for source in (1, 2, 3)]
        venue.submit_all([IndexQuotes(quotes=tuple(quotes)), RunAudit()])
        for turn in range(19):
            first = venue.exchange.sequence
            venue.submit_all(
                [
                    order(1, Side.SELL, 10_000 + turn % 5, client_order_id=first + 1),
                    order(2, Side.BUY, 10_000, client_order_id=first + 2),
                    order(2, Side.BUY, 9_990, client_order_id=first + 3),
                ]
            )
        return venue

    def close(self, venue):
        """Close it, and return its state's digest."""
        venue.close()
        return state_digest(venue.exchange)


@pytest.fixture(params=["file", "sqlite"])
def place(request, tmp_path):
    return Place(tmp_path / "exchange", request.param)


@pytest.fixture
def audited(place, capsys):
    """Return a function that audits the place: the exit code, the lines on stdout, and stderr."""

    def run_it():
        capsys.readouterr()
        code = main(["audit", str(place.directory)])
        told = capsys.readouterr()
        return code, told.out.splitlines(), told.err

    return run_it


def wrong(lines):
    return [line for line in lines if line.startswith("wrong")]


def test_a_sound_journal_is_counted_and_its_books_balance(place, audited):
    venue = place.started()
    digest = place.close(venue)
    completed, _ = venue.exchange.audit()
    assert audited() == (
        0,
        [
            f"journal    whole to command 61, state {digest}",
            "digests    7 agree",
            "snapshots  2 of 2 agree",
            f"books      2 accounts, 2 positions, {completed.orders} orders counted",
            "the books balance",
        ],
        "audit: 100 %\n",
    )


def test_the_demo_in_its_two_worst_hours_gives_no_reason_to_complain(tmp_path, capsys):
    directory, path = tmp_path / "crash", scenario("march-2020")
    place, hours = Place(directory, "file"), attrs.evolve(path, bars=path.bars[9:11])
    result = run(place.config, hours, seed=5, trader_count=20, directory=str(directory))
    happened = ("LIQUIDATION", "TAKE_OVER", "DELEVERAGING", "WithdrawalSettled")
    assert all(result.recording.counts[each] for each in happened)
    assert main(["audit", str(directory)]) == 0
    assert result.state_digest in capsys.readouterr().out


def test_an_audit_changes_nothing_that_is_there(place, audited):
    place.close(place.started())
    before = {path: path.read_bytes() for path in place.directory.iterdir()}
    assert audited()[0] == 0
    assert {path: path.read_bytes() for path in before} == before


def test_a_journal_is_audited_while_its_writer_is_there(place, audited):
    venue = place.started()
    code, lines, _ = audited()
    assert (code, lines[-1]) == (0, "the books balance")
    assert venue.submit(RunAudit()).sequence == 62
    venue.close()


# Damage


def test_a_flipped_bit_is_named_by_file_offset_and_sequence(place, audited):
    venue = place.started()
    frame = next(each for each in venue.journal.read(30) if each.count)
    place.close(venue)
    (file,) = [path for path in place.directory.iterdir() if path.suffix in (".pkj", ".sqlite")]
    data = bytearray(file.read_bytes())
    data[data.index(frame.payload) + 20] ^= 1
    file.write_bytes(data)
    code, lines, error = audited()
    assert (code, lines) == (2, [])
    assert re.fullmatch(rf"perpkit: {file.name}, offset \d+, sequence {frame.first_seq}: .*wrong checksum.*\n", error)


def test_a_state_that_the_commands_do_not_lead_to_is_refused_by_its_digest(place, audited):
    venue = place.started()
    venue.exchange.clearing._state.ledger._balances.popitem()
    venue.close()
    code, lines, error = audited()
    assert (code, lines) == (2, [])
    assert "after command 61" in error


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "exchange.toml"), (configuration("stepped"), "a journal on disk"), (configuration("stepped", "file"), "")],
    ids=["no configuration", "a journal in memory", "no journal"],
)
def test_where_there_is_nothing_to_audit_one_line_says_so(tmp_path, capsys, text, told):
    if text:
        (tmp_path / "exchange.toml").write_text(text, encoding="utf-8")
    assert main(["audit", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path) in error
    assert told in error


# Breaches


def test_a_breach_that_stands_is_listed_and_not_passed_over(place, audited):
    venue = place.started()
    place.vault._holdings[1] -= 1
    venue.reconcile()
    number = venue.exchange.evidence
    place.close(venue)
    code, lines, _ = audited()
    (listed,) = [line for line in lines if line.startswith("breach")]
    assert code == 1
    assert listed.startswith("breach     found by command 62: BreachFound(law=<Law.HOLDINGS: 10>,")
    assert "expected=2000000000, found=1999999999" in listed
    assert wrong(lines) == [f"wrong      a breach stands: nobody has resumed with evidence {number}"]
    assert lines[-1] == "the books do not balance"


def test_a_breach_that_two_operators_answered_for_is_still_listed(place, audited):
    venue = place.started()
    place.vault._holdings[1] -= 1
    venue.reconcile()
    place.close(venue)
    place.vault._holdings[1] += 1
    again = place.open()
    again.submit(ResumeExchange(evidence=again.exchange.evidence, operator=1, second_operator=2))
    place.close(again)
    code, lines, _ = audited()
    assert (code, wrong(lines), lines[-1]) == (0, [], "the books balance")
    assert len([line for line in lines if line.startswith("breach")]) == 1


def test_a_halt_is_told_and_the_books_before_it_balance(place, audited, monkeypatch):
    def broken(*_):
        raise KeyError("as if an owner had failed inside a write")

    venue = place.started()
    with monkeypatch.context() as patched:
        patched.setattr(type(venue.exchange.clearing), "place", broken)
        with pytest.raises(KeyError):
            venue.submit(order(1, Side.BUY, 9_000))
    venue.journal.close()
    code, lines, _ = audited()
    (halt,) = [line for line in lines if line.startswith("halt")]
    assert "as if an owner had failed" in halt
    assert (code, lines[-1]) == (0, "the books balance")


# Snapshots


def test_a_snapshot_that_is_not_what_the_journal_leads_to_is_wrong(place, audited):
    venue = place.started()
    digest = bytes.fromhex(place.config.config_digest())
    place.close(venue)
    files = SnapshotFiles(place.directory, digest)
    sequence, state = next(files.read())
    other = json.loads(state)
    other["deposits"] = []
    files.put(sequence, json.dumps(other, sort_keys=True, separators=(",", ":")).encode())
    code, lines, _ = audited()
    assert code == 1
    assert "snapshots  1 of 2 agree" in lines
    assert wrong(lines) == [f"wrong      snapshot {sequence}: not the state that the journal leads to"]


# The witness, and the sweep at the end


def test_a_witness_that_disagrees_is_believed(place, audited, monkeypatch):
    """As if the first deposit had been booked and never told of."""
    place.close(place.started())
    note = Witness.note
    monkeypatch.setattr(Witness, "note", lambda self, outcome: outcome.sequence > 1 and note(self, outcome))
    code, lines, _ = audited()
    assert (code, lines[-1]) == (1, "the books do not balance")
    assert wrong(lines) == ["wrong      asset 1: came in less went out 1000000000, held 2000000000"]


def test_of_many_complaints_twenty_are_shown(place, audited, monkeypatch):
    place.close(place.started())
    monkeypatch.setattr(Witness, "compare", lambda *_: [f"complaint {each}" for each in range(61)])
    code, lines, _ = audited()
    assert code == 1
    assert wrong(lines) == [*(f"wrong      complaint {each}" for each in range(20)), "wrong      and 41 more"]


def test_what_only_the_last_sweep_finds_is_wrong(place, audited, monkeypatch):
    place.close(place.started())
    finding = Finding(law=Law.NO_DEBT, asset=1, expected=0, found=-7)
    counted = AuditCompleted(accounts=2, positions=2, orders=0, breaches=1)
    monkeypatch.setattr(Exchange, "audit", lambda _: (counted, [finding]))
    code, lines, _ = audited()
    assert (code, wrong(lines)) == (1, [f"wrong      {finding}"])
