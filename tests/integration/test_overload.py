"""A whole venue under more than it can take: whoever wants to get out still can."""

import pytest

from perpkit import Exchange, ExchangeConfig, HaltedError, Registry, RejectReason, Side, Venue
from perpkit.audit import replay, state_digest
from perpkit.bench.overload import bench_overload
from perpkit.engine.compose import build_custody, build_journal
from perpkit.errors import JournalError
from perpkit.model.command import CancelOrder, IndexQuotes, PlaceOrder
from perpkit.model.event import OrderCancelled
from perpkit.model.price import Quote
from perpkit.runtime.intake import Intake, LaneFullError, LaneSizes
from perpkit.simulate.world import configuration

BATCH = 40


def quotes(price):
    return IndexQuotes(quotes=tuple(Quote(market=1, source=s, price_ticks=price, weight=1, at_ns=1) for s in (1, 2, 3)))


def order(account, side, price, **fields):
    return PlaceOrder(account=account, market=1, side=side, size_lots=100, price_ticks=price, **fields)


@pytest.fixture
def intake():
    """Return the door of a venue where accounts 1 and 2 have money, positions, and twenty resting orders each."""
    config, registry = ExchangeConfig.from_text(configuration("stepped")), Registry.builtin()
    exchange, vault = Exchange.of(config, registry), build_custody(config, registry)
    journal = build_journal(config, registry, exchange.manifest, "")
    venue = Venue(exchange, vault, journal, clock=lambda: 1)
    for account in (1, 2):
        vault.receive(account, 1, 10**9)
    venue.poll()
    venue.submit_all([quotes(10_000), order(1, Side.SELL, 10_000), order(2, Side.BUY, 10_000)])
    venue.submit_all([order(1, Side.SELL, 10_100, client_order_id=name) for name in range(1, 21)])
    venue.submit_all([order(2, Side.BUY, 9_900, client_order_id=name) for name in range(1, 21)])
    return Intake(venue, lanes=LaneSizes(system=BATCH, cancels=BATCH, closes=BATCH, rest=BATCH), batch_max=BATCH)


def storm(intake):
    """Offer ten batches between two pumps, of twenty commands a cancel and a close; return the tickets of each kind."""
    cancels, closes, rest = [], [], []
    for turn in range(10 * BATCH):
        account, name = turn % 2 + 1, turn // 20 % 20 + 1
        if turn % 20 == 0:
            cancels.append(intake.offer(CancelOrder(account=1, market=1, client_order_id=name)))
        elif turn % 20 == 10:
            closes.append(intake.offer(order(1, Side.BUY, 10_050, reduce_only=True)))
        else:
            rest.append(intake.offer(order(account, Side.BUY, 9_800)))
    return cancels, closes, rest


def refused(tickets):
    return sum(ticket.done() and ticket.result().rejected is RejectReason.OVERLOADED for ticket in tickets)


def test_under_ten_times_the_load_every_cancel_is_done_with_the_next_batch(intake):
    cancels, closes, rest = storm(intake)
    assert (len(cancels), refused(cancels)) == (20, 0)
    assert (len(closes), refused(closes)) == (20, 0)
    assert (len(rest), refused(rest)) == (360, 360 - BATCH)
    intake.pump()
    for ticket in cancels:
        assert isinstance(ticket.result(timeout=0).events[0], OrderCancelled)
    assert not intake.venue.exchange.clearing.orders(1, Side.SELL)


def test_not_even_a_flood_of_quotes_keeps_cancels_out(intake):
    for _ in range(BATCH):
        intake.offer(quotes(10_000))
    with pytest.raises(LaneFullError):
        intake.offer(quotes(10_000))
    cancels, _, rest = storm(intake)
    for _ in range(2):
        intake.pump()
    assert all(isinstance(ticket.result(timeout=0).events[0], OrderCancelled) for ticket in cancels)
    assert any(ticket.result(timeout=0).sequence for ticket in rest if ticket.done()), "and the rest is not starved"


def test_a_flood_of_cancels_leaves_everybody_else_a_share(intake):
    for _ in range(2 * BATCH):
        intake.offer(CancelOrder(account=2, market=1, order_id=999))
    others = [intake.offer(each) for each in (quotes(10_001), order(1, Side.BUY, 10_050, reduce_only=True))]
    others.append(intake.offer(order(2, Side.BUY, 9_800)))
    intake.pump()
    assert [ticket.result(timeout=0).rejected for ticket in others] == [None] * 3


def test_what_was_refused_left_no_trace_and_what_was_done_is_in_the_journal(intake):
    venue = intake.venue
    before = venue.exchange.sequence
    tickets = [ticket for tickets in storm(intake) for ticket in tickets]
    intake.close()
    done = [ticket.result(timeout=0).sequence for ticket in tickets if ticket.result(timeout=0).sequence]
    assert sorted(done) == list(range(before + 1, before + 81))
    assert venue.exchange.sequence == before + 80
    assert replay(venue.log(), ExchangeConfig.from_text(configuration("stepped"))).state_digest == state_digest(
        venue.exchange
    )


def test_a_cancel_sent_right_after_its_order_takes_it_out_however_long_the_order_waited(intake):
    for _ in range(BATCH - 1):
        intake.offer(order(2, Side.BUY, 9_800))
    placed = intake.offer(order(1, Side.SELL, 10_200, client_order_id=77))
    cancelled = intake.offer(CancelOrder(account=1, market=1, client_order_id=77))
    assert not cancelled.done()
    intake.offer(quotes(10_000))
    while intake.pump():
        pass
    assert placed.result(timeout=0).rejected is None
    assert cancelled.result(timeout=0).rejected is None
    assert 10_200 not in {each.price_ticks for each in intake.venue.exchange.clearing.orders(1, Side.SELL)}


def test_after_a_fault_every_ticket_learns_that_the_exchange_halted(intake, monkeypatch):
    def broken(*_):
        raise KeyError("as if an owner had failed inside a write")

    monkeypatch.setattr(type(intake.venue.exchange.clearing), "place", broken)
    first = [intake.offer(order(1, Side.BUY, 9_800)) for _ in range(BATCH)]
    assert intake.pump() == BATCH
    after = intake.offer(CancelOrder(account=1, market=1, client_order_id=1))
    assert intake.pump() == 1
    for ticket in first:
        with pytest.raises(KeyError, match="as if an owner had failed"):
            ticket.result(timeout=0)
    with pytest.raises(HaltedError):
        after.result(timeout=0)


def test_a_journal_that_takes_nothing_more_reaches_every_ticket(intake):
    intake.venue.journal.close()
    tickets = [intake.offer(order(1, Side.BUY, 9_800)) for _ in range(3)]
    intake.pump()
    for ticket in tickets:
        with pytest.raises(JournalError):
            ticket.result(timeout=0)


def test_measured_against_the_clock_no_cancel_is_refused():
    result = bench_overload("memory", seconds=1, alone=400)
    assert result.offered == result.alone_per_second * 10
    assert result.cancels_done == result.cancels_admitted == result.cancels > 0
    assert 0 < result.cancel_p50_ms <= result.cancel_p99_ms
