"""A durable venue: nothing is told before it is durable, and it comes back as it was."""

import threading

import pytest

from perpkit import Exchange, ExchangeConfig, HaltedError, Registry, Side, UnitsError, Venue
from perpkit.audit import replay, state_digest
from perpkit.cli.main import main
from perpkit.engine.compose import build_custody, build_journal
from perpkit.errors import JournalError
from perpkit.model.command import ApproveWithdrawal, CancelOrder, IndexQuotes, PlaceOrder, RequestWithdrawal
from perpkit.model.price import Quote
from perpkit.ports.journal import FrameKind
from perpkit.runtime.recovery import recover, replay_frames
from perpkit.runtime.venue import Pace
from perpkit.simulate.world import configuration

PACE = Pace(digest_every=10, snapshot_every=25)


def quotes(price):
    return IndexQuotes(quotes=tuple(Quote(market=1, source=s, price_ticks=price, weight=1, at_ns=1) for s in (1, 2, 3)))


def order(account, side, price, **fields):
    return PlaceOrder(account=account, market=1, side=side, size_lots=100, price_ticks=price, **fields)


def trading(count):
    """Return orders that trade and rest, a group at a time."""
    for turn in range(count):
        yield [order(1, Side.SELL, 10_000 + turn % 5), order(2, Side.BUY, 10_000), order(2, Side.BUY, 9_990)]


class Place:
    """One directory, its configuration, and the vault that outlives the venue's process."""

    def __init__(self, directory, provider):
        self.directory = str(directory)
        self.text = configuration("stepped", provider)
        self.config, self.registry = ExchangeConfig.from_text(self.text), Registry.builtin()
        self.vault = build_custody(self.config, self.registry)

    def open(self, **context):
        exchange = Exchange.of(self.config, self.registry)
        journal = build_journal(self.config, self.registry, exchange.manifest, self.directory, **context)
        return Venue.recover(exchange, self.vault, journal, clock=lambda: 1, pace=PACE)

    def started(self):
        venue, _ = self.open()
        for account in (1, 2):
            self.vault.receive(account, 1, 10**9)
        venue.poll()
        venue.submit(quotes(10_000))
        return venue


@pytest.fixture(params=["file", "sqlite"])
def place(request, tmp_path):
    return Place(tmp_path, request.param)


def test_it_comes_back_as_it_was(place):
    venue = place.started()
    for group in trading(20):
        venue.submit_all(group)
    before, sequence = state_digest(venue.exchange), venue.exchange.sequence
    venue.close()
    again, recovered = place.open()
    assert (state_digest(again.exchange), again.exchange.sequence) == (before, sequence)
    assert 0 < recovered.snapshot_seq < sequence == recovered.snapshot_seq + recovered.replayed
    assert again.submit(order(1, Side.BUY, 9_000)).sequence == sequence + 1


def test_a_snapshot_and_the_tail_lead_where_the_whole_journal_leads(place):
    venue = place.started()
    for group in trading(20):
        venue.submit_all(group)
    venue.close()
    reader = build_journal(place.config, place.registry, venue.exchange.manifest, place.directory, read_only=True)
    snapshots = list(reader.snapshots())
    assert len(snapshots) == 2
    for seq, state in snapshots:
        whole = Exchange.of(place.config)
        replay_frames(whole, reader.read(1), until=seq)
        assert whole.dump() == state, "a snapshot is what replay leads to"
    whole, short = Exchange.of(place.config), Exchange.of(place.config)
    checked = replay_frames(whole, reader.read(1)).digests_checked
    recover(short, reader)
    assert whole.dump() == short.dump()
    assert checked >= 6


def test_subscribers_and_custody_hear_only_what_is_durable(place):
    venue = place.started()
    told = []
    venue.subscribe(lambda _, outcome: told.append((outcome.sequence, venue.journal.durable_seq)))
    venue.submit_all([*next(iter(trading(1))), RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=5)])
    venue.submit(ApproveWithdrawal(withdrawal_id=1))
    assert [sequence for sequence, _ in told] == list(range(4, 9))
    assert all(sequence <= durable for sequence, durable in told)
    assert place.vault.holdings(1) == 2 * 10**9 - 5
    venue.close()


def test_a_released_withdrawal_is_sent_once_also_across_a_restart(place):
    venue = place.started()
    venue.submit(RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=5))
    venue.submit(ApproveWithdrawal(withdrawal_id=1))
    venue.close()
    again, _ = place.open()
    assert place.vault.holdings(1) == 2 * 10**9 - 5
    assert again.exchange.outstanding()
    again.poll()
    assert not again.exchange.outstanding()
    again.close()


def test_a_malformed_command_leaves_what_came_before_it_done_and_itself_not(place):
    venue = place.started()
    with pytest.raises(UnitsError):
        venue.submit_all([order(1, Side.SELL, 10_001), order(1, Side.SELL, 10_001.0), order(1, Side.SELL, 10_002)])
    venue.close()
    again, _ = place.open()
    assert again.exchange.sequence == 4
    assert [each.price_ticks for each in again.exchange.clearing.orders(1, Side.SELL)] == [10_001]
    again.close()


def test_a_fault_halts_is_recorded_and_recovery_leads_to_the_state_before_it(place, monkeypatch):
    venue = place.started()
    venue.submit(order(1, Side.SELL, 10_001))
    before = state_digest(venue.exchange)

    def broken(*_):
        raise KeyError("as if an owner had failed inside a write")

    monkeypatch.setattr(type(venue.exchange.clearing), "place", broken)
    with pytest.raises(KeyError, match="as if an owner had failed"):
        venue.submit(order(2, Side.BUY, 10_001))
    with pytest.raises(HaltedError):
        venue.submit(order(2, Side.BUY, 10_001))
    monkeypatch.undo()
    venue.journal.close()
    again, recovered = place.open()
    assert "as if an owner had failed" in recovered.halted
    assert state_digest(again.exchange) == before
    again.close()


def test_threads_share_groups_and_every_answer_is_durable(place):
    venue = place.started()
    answers = []

    def trade(account, side):
        for turn in range(40):
            outcome = venue.submit(order(account, side, 10_000 - side * (1 + turn % 7)))
            answers.append((outcome.sequence, venue.journal.durable_seq))

    threads = [threading.Thread(target=trade, args=each) for each in ((1, Side.SELL), (2, Side.BUY)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sequence for sequence, _ in answers) == list(range(4, 164))
    assert all(sequence <= durable for sequence, durable in answers)
    groups = [frame for frame in venue.journal.read(4) if frame.kind is FrameKind.COMMANDS]
    assert sum(frame.count for frame in groups) == 160
    assert replay(venue.log(), place.config).state_digest == state_digest(venue.exchange)
    venue.close()


def test_a_journal_of_another_configuration_is_refused(place):
    place.started().close()
    other = Place(place.directory, "file" if "file" in place.text else "sqlite")
    other.config = ExchangeConfig.from_text(
        place.text.replace('liquidation_fee = "0.05%"', 'liquidation_fee = "0.06%"')
    )
    with pytest.raises(JournalError, match="configuration"):
        other.open()


def test_replay_shows_another_policy_on_the_same_day(tmp_path, capsys):
    journal, other = tmp_path / "journal", tmp_path / "takeover.toml"
    arguments = ["demo", "--hours", "12", "--traders", "30", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--journal", str(journal)]) == 0
    capsys.readouterr()
    assert main(["replay", str(journal)]) == 0
    assert "same state as the run" in capsys.readouterr().out
    other.write_text(configuration("takeover", "file"), encoding="utf-8")
    assert main(["replay", str(journal), "--config", str(other)]) == 0
    table = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert table["LiquidationStarted"][0] != "0"
    assert table["state"][0] != table["state"][1]
    assert main(["replay", str(journal), "--until", "100"]) == 0
    assert "commands 100" in capsys.readouterr().out


def test_more_commands_than_a_frame_holds_go_in_one_call(place):
    venue = place.started()
    first = venue.exchange.sequence
    cancels = [CancelOrder(account=1, market=1, order_id=1)] * 20_000
    assert len(venue.submit_all(cancels)) == 20_000
    assert venue.journal.durable_seq == first + 20_000
    venue.close()
