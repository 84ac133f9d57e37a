"""The asyncio face over a whole venue: it awaits what the intake answers, and adds nothing of its own."""

import asyncio
import threading

import pytest

from perpkit import Exchange, ExchangeConfig, Registry, RejectReason, Side, UnitsError, Venue
from perpkit.engine.compose import build_custody, build_journal
from perpkit.errors import PerpkitError
from perpkit.model.command import CancelOrder, IndexQuotes, PlaceOrder
from perpkit.model.event import AuditCompleted
from perpkit.model.price import Quote
from perpkit.runtime.asynchronous import AsyncVenue
from perpkit.runtime.intake import ClosedError, Intake, LaneSizes
from perpkit.runtime.venue import Pace
from perpkit.simulate.world import configuration


def order(price, **fields):
    return PlaceOrder(account=1, market=1, side=Side.BUY, size_lots=100, price_ticks=price, **fields)


def run(coroutine):
    """Return what a coroutine does, and fail rather than wait for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, timeout=60))


@pytest.fixture
def venue(tmp_path):
    """Return a venue with a journal on disk where account 1 has money; time alone asks nothing of it."""
    config, registry = ExchangeConfig.from_text(configuration("stepped", "file")), Registry.builtin()
    exchange, vault = Exchange.of(config, registry), build_custody(config, registry)
    journal = build_journal(config, registry, exchange.manifest, str(tmp_path))
    venue = Venue(exchange, vault, journal, clock=lambda: 1, pace=Pace(audit_every_ns=0, reconcile_every_ns=0))
    vault.receive(1, 1, 10**9)
    venue.poll()
    sources = (1, 2, 3)
    quotes = tuple(Quote(market=1, source=each, price_ticks=10_000, weight=1, at_ns=1) for each in sources)
    venue.submit(IndexQuotes(quotes=quotes))
    return venue


def test_commands_from_many_tasks_are_all_answered_and_durable(venue):
    async def trade():
        async with AsyncVenue(Intake(venue)) as face:
            placed = await asyncio.gather(*(face.submit(order(9_900 - turn)) for turn in range(100)))
            assert venue.journal.durable_seq >= max(outcome.sequence for outcome in placed)
            return placed, await face.submit(CancelOrder(account=1, market=1, order_id=placed[0].events[0].order_id))

    placed, cancelled = run(trade())
    assert sorted(outcome.sequence for outcome in placed) == list(range(3, 103))
    assert cancelled.rejected is None
    assert len(venue.exchange.clearing.orders(1, Side.BUY)) == 99


def test_a_full_lane_and_a_malformed_command_are_answered_like_the_intake_does(venue):
    async def trade():
        intake = Intake(venue, lanes=LaneSizes(rest=1))
        async with AsyncVenue(intake) as face:
            with pytest.raises(UnitsError):
                await face.submit(order(9_900.5))
            with intake._pumping:
                tasks = [asyncio.create_task(face.submit(order(9_900))) for _ in range(3)]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return await asyncio.gather(*tasks)

    outcomes = run(trade())
    assert [outcome.rejected for outcome in outcomes] == [None, RejectReason.OVERLOADED, RejectReason.OVERLOADED]


def test_a_command_whose_task_was_cancelled_is_done_all_the_same(venue):
    async def trade():
        intake = Intake(venue)
        async with AsyncVenue(intake) as face:
            with intake._pumping, pytest.raises(TimeoutError):
                await asyncio.wait_for(face.submit(order(9_900)), timeout=0.01)
            return await face.submit(order(9_901))

    assert run(trade()).sequence == 4
    assert len(venue.exchange.clearing.orders(1, Side.BUY)) == 2


def test_stopping_does_what_waits_and_then_takes_nothing_more(venue):
    async def trade():
        intake = Intake(venue, batch_max=8)
        face = AsyncVenue(intake)
        async with face:
            with intake._pumping:
                tasks = [asyncio.create_task(face.submit(order(9_900))) for _ in range(30)]
                await asyncio.sleep(0)
                stopping = asyncio.create_task(face.stop())
                while not intake.stopped:
                    await asyncio.sleep(0.001)
                assert not any(task.done() for task in tasks)
            await stopping
            outcomes = await asyncio.gather(*tasks)
            with pytest.raises(ClosedError):
                await face.submit(order(9_900))
            with pytest.raises(ClosedError):
                face.outcomes()
        return outcomes

    assert [outcome.rejected for outcome in run(trade())] == [None] * 30
    assert not [thread for thread in threading.enumerate() if thread.name == "perpkit-venue"]
    assert venue.journal.durable_seq == 32


def test_every_outcome_can_be_read_in_order_until_the_venue_stops(venue):
    async def trade():
        async with AsyncVenue(Intake(venue)) as face:
            told = face.outcomes()
            reader = asyncio.create_task(collect(told))
            for turn in range(20):
                await face.submit(order(9_900 - turn))
        return await reader

    async def collect(told):
        return [(at_ns, outcome.sequence) async for at_ns, outcome in told]

    assert run(trade()) == [(1, sequence) for sequence in range(3, 23)]


def test_a_reader_that_falls_behind_is_cut_off_and_told_so(venue):
    async def trade():
        async with AsyncVenue(Intake(venue)) as face:
            slow, quick = face.outcomes(waiting_max=5), face.outcomes()
            for turn in range(10):
                await face.submit(order(9_900 - turn))
            read = [(await anext(slow))[1].sequence for _ in range(5)]
            with pytest.raises(PerpkitError, match="at most 5 behind"):
                await anext(slow)
        return read, [outcome.sequence async for _, outcome in quick]

    read, all_of_them = run(trade())
    assert read == list(range(3, 8))
    assert all_of_them == list(range(3, 13))


def test_due_time_becomes_commands_while_nobody_offers_any(venue):
    venue._pace = Pace(audit_every_ns=1, reconcile_every_ns=0)

    async def first():
        async with AsyncVenue(Intake(venue), tick_seconds=0.01) as face:
            _, outcome = await anext(face.outcomes())
            return outcome

    assert isinstance(run(first()).events[0], AuditCompleted)


def test_a_failing_tick_stops_nobody_and_is_raised_at_the_end(venue, monkeypatch, caplog):
    ticked = threading.Event()

    def failing():
        ticked.set()
        raise ConnectionError("as if custody were away")

    monkeypatch.setattr(venue, "tick", failing)

    async def trade():
        async with AsyncVenue(Intake(venue), tick_seconds=0.001) as face:
            await asyncio.to_thread(ticked.wait, 60)
            assert (await face.submit(order(9_900))).rejected is None

    with pytest.raises(ConnectionError, match="custody"):
        run(trade())
    assert "a tick failed" in caplog.text
