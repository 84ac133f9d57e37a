"""What a venue does by the clock, how it holds the ledger against custody, and what it writes down when it stops."""

import json
import logging
import threading

import pytest

from perpkit import Exchange, ExchangeConfig, HaltedError, InvariantError, MarketState, Registry, RejectReason, Side
from perpkit.audit import state_digest
from perpkit.custody import Vault
from perpkit.engine.compose import build_journal
from perpkit.model.cause import Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    HoldingsReported,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
    RunAudit,
    SetMarketState,
)
from perpkit.model.event import BreachFound, FundingAccrued, HoldingsCompared
from perpkit.model.price import Quote
from perpkit.model.records import unpack
from perpkit.plugin import NoOptions
from perpkit.ports import ExchangeContext, Limits
from perpkit.runtime import Pace, Venue, evidence
from perpkit.units import HOUR_NS, MINUTE_NS, SECOND_NS

HOURLY = {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}}
START_NS = 50 * MINUTE_NS
NEVER = Pace(audit_every_ns=0, reconcile_every_ns=0)


class Desk:
    """A venue over an hourly market, with a clock turned by hand and a vault; accounts 1 and 2 have 1,000 each."""

    def __init__(self, tables, vault_class=Vault, directory=None, pace=None):
        self.config = ExchangeConfig.from_dict(tables)
        self.vault = vault_class(
            ExchangeContext(markets={}, assets=self.config.assets, limits=Limits(), taker_ppb={}), NoOptions()
        )
        self.evidence, self.now_ns = directory, START_NS
        self.exchange = Exchange.of(self.config)
        journal = build_journal(self.config, Registry.builtin(), self.exchange.manifest, "")
        self.venue = Venue(
            self.exchange, self.vault, journal, clock=lambda: self.now_ns, pace=pace, evidence_directory=directory
        )
        for account in (1, 2):
            self.vault.receive(account, 1, 1_000)
        self.venue.poll()
        quotes = [Quote(market=1, source=source, price_ticks=100, weight=1, at_ns=START_NS) for source in (1, 2, 3)]
        self.do(IndexQuotes(quotes=tuple(quotes)))

    def do(self, command):
        outcome = self.venue.submit(command)
        assert outcome.rejected is None
        return outcome

    def order(self, account, side, **fields):
        return PlaceOrder(account=account, market=1, side=side, size_lots=1, price_ticks=100, **fields)

    def withdraw(self, withdrawal_id, amount):
        request = RequestWithdrawal(withdrawal_id=withdrawal_id, account=1, asset=1, amount_units=amount)
        self.do(request)
        self.do(ApproveWithdrawal(withdrawal_id=withdrawal_id))

    def lose(self, amount=1):
        """Let custody hold less than the ledger says."""
        self.vault._holdings[1] -= amount

    def commands(self, *kinds):
        return [command for command in unpack(self.venue.log()) if isinstance(command, kinds)]

    def papers(self):
        return [json.loads(path.read_text("utf-8")) for path in sorted(self.evidence.iterdir())]


@pytest.fixture
def desk_of(make_tables, tmp_path):
    """Return a function that opens a desk; its evidence goes to a directory of its own."""

    def build(*, assets=1, **fields):
        tables = make_tables({"funding": HOURLY})
        for number in range(2, assets + 1):
            tables["assets"][f"COIN-{number}"] = tables["assets"]["COIN"] | {"id": number}
        fields.setdefault("directory", tmp_path)
        return Desk(tables, **fields)

    return build


@pytest.fixture
def desk(desk_of):
    return desk_of()


@pytest.fixture
def logged(caplog):
    """Return a function that tells what was logged from WARNING on: who, how bad, and the words."""
    caplog.set_level(logging.WARNING)

    def told():
        return [(each.name, each.levelname, each.getMessage()) for each in caplog.records]

    return told


def breaches(outcomes):
    return [event for outcome in outcomes for event in outcome.events if isinstance(event, BreachFound)]


# The ledger against custody


def test_holdings_that_agree_are_compared_and_change_nothing(desk_of, content):
    desk = desk_of(assets=2)
    before = content(desk.exchange)
    outcomes = desk.venue.reconcile()
    assert [outcome.events for outcome in outcomes] == [
        (HoldingsCompared(asset=1, ledger_units=2_000, holdings_units=2_000),),
        (HoldingsCompared(asset=2, ledger_units=0, holdings_units=0),),
    ]
    assert content(desk.exchange) == before


@pytest.mark.parametrize("missing", [1, -1], ids=["less", "more"])
def test_one_unit_between_custody_and_ledger_halts_every_market_within_the_reconciliation(desk, missing):
    desk.lose(missing)
    (breach,) = breaches(desk.venue.reconcile())
    assert (breach.law, breach.asset, breach.expected, breach.found) == (Law.HOLDINGS, 1, 2_000, 2_000 - missing)
    assert desk.exchange.market_states == {1: MarketState.HALTED}
    assert desk.venue.submit(desk.order(1, Side.BUY)).rejected is RejectReason.MARKET_STATE


def test_what_custody_lost_is_found_ten_minutes_later_at_the_latest(desk):
    desk.venue.tick()
    desk.lose()
    desk.now_ns += 10 * MINUTE_NS - 1
    assert not breaches(desk.venue.tick())
    desk.now_ns += 1
    assert len(breaches(desk.venue.tick())) == 1
    assert desk.exchange.market_states == {1: MarketState.HALTED}


class Meanwhile(Vault):
    """A vault where something happens while it is asked for its holdings: before it answers, or after."""

    before = after = None

    def holdings(self, asset, /):
        self._happen("before")
        held = super().holdings(asset)
        self._happen("after")
        return held

    def _happen(self, when):
        what, self.__dict__[when] = getattr(self, when), None
        if what:
            what()


class Slow(Meanwhile):
    """It sends what was released when it has the time."""

    def __init__(self, *context):
        super().__init__(*context)
        self.released = []

    def release(self, released, /):
        self.released.append(released)

    def send(self):
        for released in self.released:
            super().release(released)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_withdrawal_that_custody_sends_between_two_questions_is_no_breach(desk_of, when):
    desk = desk_of(vault_class=Slow)
    desk.withdraw(5, 300)
    setattr(desk.vault, when, desk.vault.send)
    (compared,) = [event for outcome in desk.venue.reconcile() for event in outcome.events]
    assert compared == HoldingsCompared(asset=1, ledger_units=1_700, holdings_units=1_700)
    assert desk.exchange.evidence == 0
    assert not desk.exchange.outstanding()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deposit_that_arrives_between_two_questions_is_no_breach(desk_of, when):
    desk = desk_of(vault_class=Meanwhile, assets=2)
    setattr(desk.vault, when, lambda: desk.vault.receive(2, 2, 40))
    compared = [event.holdings_units for outcome in desk.venue.reconcile() for event in outcome.events]
    assert compared == [2_000, 40]
    assert desk.exchange.evidence == 0


def test_an_order_that_is_done_between_two_questions_is_no_breach(desk_of):
    desk = desk_of(vault_class=Meanwhile)
    desk.vault.before = lambda: desk.withdraw(5, 300)
    desk.vault.after = lambda: desk.do(desk.order(1, Side.BUY))
    assert not breaches(desk.venue.reconcile())


def test_what_is_lost_while_something_happens_is_found_all_the_same(desk_of):
    desk = desk_of(vault_class=Slow)
    desk.withdraw(5, 300)
    desk.vault.before = desk.vault.send
    desk.lose()
    (breach,) = breaches(desk.venue.reconcile())
    assert (breach.expected, breach.found) == (1_700, 1_699)


# By the clock


def test_an_hour_by_the_clock(desk):
    """From ten to the hour until ten to the next, asked every five seconds; quotes came once, at the start."""
    for _ in range(720):
        desk.venue.tick()
        desk.now_ns += 5 * SECOND_NS
    audits = [command.time_ns for command in desk.commands(RunAudit)]
    assert audits == [START_NS + turn * 15 * SECOND_NS for turn in range(240)]
    reports = [command.time_ns for command in desk.commands(HoldingsReported)]
    assert reports == [START_NS + turn * 10 * MINUTE_NS for turn in range(6)]
    assert [command.time_ns for command in desk.commands(IndexQuotes)] == [START_NS, HOUR_NS]
    assert desk.exchange.sequence == 2 + 2 + 240 + 6
    assert desk.exchange.due_ns == 2 * HOUR_NS


def test_a_funding_stamp_is_paid_without_anybody_quoting(desk):
    desk.do(desk.order(2, Side.SELL))
    desk.do(desk.order(1, Side.BUY))
    desk.venue.tick()
    desk.now_ns = HOUR_NS - 1
    assert not [each for each in desk.venue.tick() if isinstance(each.events[-1], FundingAccrued)]
    desk.now_ns = HOUR_NS
    (accrued,) = desk.venue.tick()[0].events
    assert (accrued.rate_ppb, accrued.next_ns) == (100_000, 2 * HOUR_NS)
    assert desk.exchange.clearing.pool(1, 1).exposures[0].funding_due_units == 1


def test_what_was_missed_is_done_once(desk):
    desk.venue.tick()
    desk.now_ns += 3 * HOUR_NS
    stamped, audited, compared = desk.venue.tick()
    assert sum(isinstance(event, FundingAccrued) for event in stamped.events) == 3
    assert [len(outcome.events) for outcome in (audited, compared)] == [1, 1]
    assert desk.venue.tick() == []
    assert len(desk.commands(RunAudit)) == len(desk.commands(HoldingsReported)) == 2


def test_after_a_start_everything_is_due(desk):
    desk.venue.tick()
    assert [len(desk.commands(kind)) for kind in (RunAudit, HoldingsReported)] == [1, 1]
    assert desk.venue.tick() == []


def test_a_pace_of_zero_is_never_and_funding_goes_on(desk_of):
    desk = desk_of(pace=NEVER)
    desk.lose()
    for _ in range(3):
        desk.now_ns += HOUR_NS
        assert [type(event) for outcome in desk.venue.tick() for event in outcome.events][-1] is FundingAccrued
        assert desk.venue.tick() == []
    assert not desk.commands(RunAudit, HoldingsReported)


@pytest.mark.parametrize(
    ("pace", "kind"),
    [(Pace(audit_every_ns=0), HoldingsReported), (Pace(reconcile_every_ns=0), RunAudit)],
    ids=["no audit", "no reconciliation"],
)
def test_either_goes_on_without_the_other(desk_of, pace, kind):
    desk = desk_of(pace=pace)
    desk.venue.tick()
    assert [type(command) for command in desk.commands(RunAudit, HoldingsReported)] == [kind]


# What is written down


def test_a_breach_leaves_evidence_of_what_was_found_and_of_what_led_there(desk):
    desk.do(desk.order(1, Side.BUY))
    desk.lose()
    (found,) = desk.venue.reconcile()
    sequence = found.sequence
    assert [path.name for path in desk.evidence.iterdir()] == [f"evidence-{sequence:020d}.json"]
    (paper,) = desk.papers()
    assert list(paper) == ["sequence", "evidence", "breaches", "clock_ns", "state_digest", "last_commands"]
    assert (paper["sequence"], paper["evidence"]) == (sequence, desk.exchange.evidence)
    breach = {"is": "BreachFound", "law": 10, "market": 0, "asset": 1, "expected": 2_000, "found": 1_999}
    assert paper["breaches"] == [breach | {"evidence": desk.exchange.evidence}]
    assert (paper["clock_ns"], paper["state_digest"]) == (START_NS, state_digest(desk.exchange))
    assert [each["sequence"] for each in paper["last_commands"]] == list(range(1, sequence + 1))
    placed, reported = paper["last_commands"][-2:]
    assert placed["command"]["is"] == "PlaceOrder"
    assert [event["is"] for event in placed["events"]] == ["OrderAccepted", "OrderRested"]
    assert reported["command"] == {"is": "HoldingsReported", "asset": 1, "holdings_units": 1_999, "time_ns": START_NS}
    assert paper["breaches"][0] in reported["events"]


def test_all_that_one_command_found_is_on_one_paper(desk):
    position, _ = _traded(desk)
    position.size_lots += 1
    outcome = desk.venue.submit(RunAudit())
    (paper,) = desk.papers()
    assert [each["found"] for each in paper["breaches"]] == [each.found for each in breaches([outcome])] == [1, 2, 100]
    assert {each["law"] for each in paper["breaches"]} == {2}


def _traded(desk):
    """Let account 1 buy a lot from account 2; return both positions as clearing keeps them."""
    desk.do(desk.order(2, Side.SELL))
    desk.do(desk.order(1, Side.BUY))
    return [desk.exchange.clearing._state.accounts[account].positions[1, 0] for account in (1, 2)]


def test_the_last_thousand_commands_are_kept(desk):
    desk.venue.submit_all([CancelOrder(account=1, market=1, order_id=1)] * 1_200)
    desk.lose()
    (found,) = desk.venue.reconcile()
    (paper,) = desk.papers()
    kept = [each["sequence"] for each in paper["last_commands"]]
    assert kept == list(range(found.sequence - 999, found.sequence + 1))


def test_the_paper_is_there_before_anybody_hears_of_the_breach(desk):
    heard = []
    desk.venue.subscribe(lambda _, outcome: heard.append((breaches([outcome]) != [], len(desk.papers()))))
    desk.do(desk.order(1, Side.BUY))
    desk.lose()
    desk.venue.reconcile()
    assert heard == [(False, 0), (True, 1)]


def test_what_operators_name_is_on_the_paper(desk):
    desk.lose()
    desk.venue.reconcile()
    desk.lose(-1)
    desk.do(ResumeExchange(evidence=desk.papers()[0]["evidence"], operator=1, second_operator=2))
    desk.do(SetMarketState(market=1, state=MarketState.OPEN))
    assert not breaches(desk.venue.reconcile())
    desk.do(desk.order(1, Side.BUY))


def broken(*_):
    raise KeyError("as if an owner had failed inside a write")


@pytest.mark.parametrize("law", [False, True], ids=["a fault", "a law"])
def test_a_fault_that_halts_leaves_evidence_with_the_command_that_met_it(desk, monkeypatch, law):
    def losing(clearing, *_):
        clearing._state.sums[1].size_lots += 1
        return ()

    order = desk.order(1, Side.BUY, client_order_id=77)
    monkeypatch.setattr(type(desk.exchange.clearing), "place", losing if law else broken)
    before = desk.exchange.sequence
    with pytest.raises(InvariantError if law else KeyError):
        desk.venue.submit_all([CancelOrder(account=1, market=1, order_id=9), order])
    assert [path.name for path in desk.evidence.iterdir()] == [f"evidence-{before + 2:020d}.json"]
    (paper,) = desk.papers()
    assert list(paper) == ["sequence", "fault", "command", "clock_ns", "state_digest", "last_commands"]
    assert paper["fault"] == desk.exchange.halted
    assert ("was 1 lots" if law else "KeyError: 'as if an owner had failed") in paper["fault"]
    assert (paper["command"]["is"], paper["command"]["client_order_id"]) == ("PlaceOrder", 77)
    assert paper["command"]["time_ns"] == START_NS
    assert paper["state_digest"] == state_digest(desk.exchange)
    last = paper["last_commands"][-1]
    assert (last["sequence"], last["command"]["is"]) == (before + 1, "CancelOrder")


def test_a_halt_is_written_down_once(desk, monkeypatch):
    monkeypatch.setattr(type(desk.exchange.clearing), "place", broken)
    with pytest.raises(KeyError):
        desk.venue.submit(desk.order(1, Side.BUY))
    for _ in range(2):
        with pytest.raises(HaltedError):
            desk.venue.submit(desk.order(1, Side.BUY))
    assert len(desk.papers()) == 1


def test_what_stops_nothing_leaves_no_evidence(desk):
    desk.venue.submit(CancelOrder(account=1, market=1, order_id=9))
    desk.venue.tick()
    assert desk.papers() == []


# What is logged


def test_the_log_says_where_the_evidence_is_and_what_was_found(desk, logged):
    desk.do(desk.order(1, Side.BUY))
    desk.lose()
    (found,) = desk.venue.reconcile()
    ((name, level, text),) = logged()
    assert (name, level) == ("perpkit.runtime.evidence", "ERROR")
    assert str(desk.evidence / f"evidence-{found.sequence:020d}.json") in text
    assert "'expected': 2000, 'found': 1999" in text


def test_without_a_directory_evidence_is_logged_only(desk_of, logged, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    desk = desk_of(directory=None)
    desk.lose()
    desk.venue.reconcile()
    ((name, level, text),) = logged()
    assert (name, level) == ("perpkit.runtime.evidence", "ERROR")
    assert "no directory for evidence-" in text
    assert "'expected': 2000, 'found': 1999" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_the_way", [False, True], ids=["missing", "a file"])
def test_a_directory_that_cannot_be_written_does_not_hide_a_breach(desk_of, tmp_path, caplog, in_the_way):
    directory = tmp_path / "evidence"
    if in_the_way:
        directory.write_text("")
    desk = desk_of(directory=directory)
    desk.lose()
    assert len(breaches(desk.venue.reconcile())) == 1
    assert desk.exchange.market_states == {1: MarketState.HALTED}
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("perpkit.runtime.evidence", "ERROR")
    assert "could not be written" in record.getMessage()
    assert "'expected': 2000, 'found': 1999" in record.getMessage()
    assert isinstance(record.exc_info[1], OSError)


def test_a_directory_that_cannot_be_written_does_not_hide_a_fault(desk_of, tmp_path, logged, monkeypatch):
    desk = desk_of(directory=tmp_path / "missing")
    monkeypatch.setattr(type(desk.exchange.clearing), "place", broken)
    with pytest.raises(KeyError, match="as if an owner had failed"):
        desk.venue.submit(desk.order(1, Side.BUY))
    with pytest.raises(HaltedError, match="as if an owner had failed"):
        desk.venue.submit(desk.order(1, Side.BUY))
    assert ["could not be written" in text and "as if an owner" in text for _, _, text in logged()] == [True]


def test_a_state_past_describing_does_not_hide_a_fault(desk, logged, monkeypatch):
    monkeypatch.setattr(type(desk.exchange.clearing), "place", broken)
    monkeypatch.setattr(type(desk.exchange.clearing), "dump", broken)
    with pytest.raises(KeyError, match="as if an owner had failed"):
        desk.venue.submit(desk.order(1, Side.BUY))
    (paper,) = desk.papers()
    assert paper["state_digest"] == ""
    assert [text.partition(";")[0] for _, _, text in logged()] == [
        "the state at the halt has no digest",
        "the exchange stopped",
    ]


def test_evidence_is_whole_while_others_go_on_submitting(desk, monkeypatch):
    """Another thread's command is applied while the paper is being put together."""
    others, fields = [], evidence._fields

    def meanwhile(value):
        if not others:
            other = CancelOrder(account=1, market=1, order_id=9)
            others.append(threading.Thread(target=desk.venue.submit, args=[other]))
            others[0].start()
            others[0].join(0.2)
        return fields(value)

    desk.lose()
    report = HoldingsReported(asset=1, holdings_units=1_999)
    monkeypatch.setattr(evidence, "_fields", lambda each: (meanwhile if type(each) is CancelOrder else fields)(each))
    desk.venue.submit_all([CancelOrder(account=1, market=1, order_id=9), report])
    others[0].join()
    (paper,) = desk.papers()
    assert paper["last_commands"][-1]["sequence"] == paper["sequence"]
