"""`perpkit custody demo`: what it shows is what happened, and every theft is stopped by what has to stop it."""

import json
import sys

import pytest

from perpkit.cli.main import main
from perpkit.custody.desk.log import verify_log
from perpkit.custody.desk.withdrawal import State
from perpkit.simulate.custody import PlainWorld, Show
from perpkit.simulate.custody.company import PLACES, ROLES

STOPPED_BY = {
    "under quorum": ["gate by under-quorum", "the chain"],
    "signer who was not nominated": [" by nomination-signer", "gate by nomination-signer"],
    "replayed release": [" by release-request", "gate by release-draft"],
    "swapped change output": ["gate by draft-payment", " by draft-payment"],
    "fee bleed": ["gate by policy", " by draft-fee"],
    "edited policy": ["gate by policy-pinned"],
    "one insider with two hats": ["gate by two-hats"],
    "HSM key replaced": ["gate by hsm-unhealthy"],
    "everything online taken at once": ["the chain", "setup refuses more keys online"],
}


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def show(lines: list[tuple[str, str]]) -> Show:
    return Show(PlainWorld(PLACES), lambda who, what: lines.append((who, what)))


def test_a_withdrawal_passes_everybody_and_is_mined(show: Show, lines: list[tuple[str, str]]) -> None:
    txid = show.withdrawal()
    withdrawal = show.company.desk.withdrawals[1]
    assert (withdrawal.state, withdrawal.mined_txid.hex()) == (State.CONFIRMED, txid)
    assert verify_log(map(json.loads, show.company.log.export())) is None
    actors = {who for who, _ in lines}
    nominated = set(withdrawal.drafts[-1].nomination.nominated)
    assert actors == {"ada", "exchange", "policy", "desk", "HSM gate", "hsm", "chain", "tara", "theo", *PLACES}
    assert {who for who, what in lines if what == "works it out again and signs"} == {*nominated, "hsm"}
    assert len(nominated) == 3


def test_every_theft_is_stopped_by_what_has_to_stop_it(show: Show) -> None:
    show.withdrawal()
    tried = {theft.name: theft.stops for theft in show.robbery()}
    assert list(tried) == list(STOPPED_BY)
    for name, expected in STOPPED_BY.items():
        found = [stop.partition(":")[0] for stop in tried[name]]
        assert len(found) == len(expected), (name, found)
        for part, wanted in zip(found, expected, strict=True):
            assert part.endswith(wanted), (name, found)


def test_after_all_thefts_the_honest_withdrawal_still_leaves(show: Show) -> None:
    show.withdrawal()
    assert all(theft.failed for theft in show.robbery())
    for _ in range(6):
        show.company.staff.attend(show.company.desk)
        show.company.mine(1)
        show.company.venue.poll()
    assert show.company.desk.withdrawals[2].state is State.CONFIRMED


def test_what_no_program_stops_halts_the_exchange_with_both_numbers(show: Show, lines: list[tuple[str, str]]) -> None:
    show.withdrawal()
    list(show.robbery())
    show.collusion()
    halts = [what for who, what in lines if who == "exchange" and what.startswith("HALTS")]
    ledger, held = 250_000_000, show.company.desk.holdings()
    assert held < ledger
    assert halts[0].startswith(f"HALTS: expected {ledger}, found {held}; ")
    assert show.company.desk.halted


def test_the_command_plays_on_a_pretend_chain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["custody", "demo", "--chain", "memory"]) == 0
    out = capsys.readouterr().out
    assert "9 of 9 thefts failed; what no program stops halted the exchange, with both numbers" in out
    assert all(name in out for name in ROLES if name not in ("olga", "omar"))


def test_without_the_bitcoin_package_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "perpkit_bitcoin.demo", None)
    assert main(["custody", "demo"]) == 2
    assert "install perpkit-bitcoin[regtest]" in capsys.readouterr().err
