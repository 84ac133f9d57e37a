"""The fakes do what they are told, so that a test that uses them is about something else."""

import pytest

from perpkit.custody import Vault
from perpkit.engine.exchange import Exchange
from perpkit.model.event import WithdrawalReleased
from perpkit.model.price import PriceState
from perpkit.plugin import NoOptions, Registry
from perpkit.ports.journal import JournalContext
from perpkit.runtime import Pace, Venue
from perpkit.runtime.journal import MemoryJournal, MemoryOptions
from perpkit.testing import fakes
from perpkit.testing.builders import exchange, exchange_context, market_context, tables
from perpkit.testing.fakes import FailingCustody, HandClock, Mishap, Script, ScriptedIndex

WITHDRAWAL = WithdrawalReleased(withdrawal_id=5, account=1, asset=1, amount_units=300, destination=0)


@pytest.fixture
def vault():
    made = Vault(exchange_context(), NoOptions())
    made.receive(1, 1, 1_000)
    return made


def test_a_clock_stands_until_it_is_turned():
    clock = HandClock(10)
    assert (clock(), clock()) == (10, 10)
    clock.turn(5)
    assert clock() == 15
    clock.turn(-10)
    assert clock() == 5


def test_a_venue_stamps_by_the_clock_and_never_back():
    clock, journal = (
        HandClock(10),
        MemoryJournal(JournalContext(directory="", config_digest="00" * 32, manifest=()), MemoryOptions()),
    )
    venue = Venue(Exchange.of(tables()), Vault(exchange_context(), NoOptions()), journal, clock=clock, pace=Pace())
    venue.custody.receive(1, 1, 1_000)
    venue.poll()
    assert venue.exchange.clock_ns == 10
    clock.turn(-5)
    venue.custody.receive(1, 1, 1_000)
    venue.poll()
    assert venue.exchange.clock_ns == 10


def test_a_scripted_index_plays_its_script_and_stays_at_the_end():
    script = Script(prices_ticks=(100, 90, 95), states=(PriceState.OK, PriceState.FROZEN))
    index = ScriptedIndex(market_context(), script)
    said = [index.update((), at_ns) for at_ns in (1, 2, 3, 4)]
    assert [(each.price_ticks, each.at_ns) for each in said] == [(100, 1), (90, 2), (95, 3), (95, 4)]
    assert [each.state for each in said] == [PriceState.OK, PriceState.FROZEN, PriceState.OK, PriceState.OK]


def test_a_scripted_index_goes_on_where_it_was_dumped():
    index, loaded = (ScriptedIndex(market_context(), Script(prices_ticks=(100, 90, 95))) for _ in range(2))
    index.update((), 1)
    loaded.load(index.dump())
    assert loaded.update((), 2) == index.update((), 2)


def test_an_exchange_marks_by_the_script():
    options = {"prices_ticks": [100, 80], "states": ["ok", "frozen"]}
    made = exchange(price=None, registry=Registry.of(fakes), index_price={"provider": "scripted", "options": options})
    made.quote("PERP-1", "500", time_ns=1)
    assert made.clearing.marks()[1].price_ticks == 100
    made.quote("PERP-1", "500", time_ns=2)
    assert made.clearing.marks()[1].state is PriceState.FROZEN


@pytest.mark.parametrize(("mishap", "left"), [(Mishap.FAIL, 1_000), (Mishap.FAIL_AFTER, 700)])
def test_a_release_fails_before_or_after_it_was_done(vault, mishap, left):
    custody = FailingCustody(vault, release=[mishap])
    with pytest.raises(OSError, match="custody"):
        custody.release(WITHDRAWAL)
    assert custody.holdings(1) == left


def test_a_release_is_lost(vault):
    custody = FailingCustody(vault, release=[Mishap.LOSE])
    custody.release(WITHDRAWAL)
    assert custody.holdings(1) == 1_000
    custody.release(WITHDRAWAL)
    assert custody.holdings(1) == 700


def test_a_release_is_late(vault):
    custody = FailingCustody(vault, release=[Mishap.DELAY])
    custody.release(WITHDRAWAL)
    assert vault.holdings(1) == 1_000
    assert custody.holdings(1) == 700


def test_a_release_is_repeated(vault):
    asked = []
    vault.release = asked.append
    FailingCustody(vault, release=[Mishap.REPEAT, Mishap.NONE]).release(WITHDRAWAL)
    assert asked == [WITHDRAWAL, WITHDRAWAL]


@pytest.mark.parametrize(
    ("mishap", "heard", "heard_next"),
    [(Mishap.NONE, 1, 0), (Mishap.DELAY, 0, 1), (Mishap.REPEAT, 1, 1), (Mishap.LOSE, 0, 0)],
)
def test_an_observation_is_late_repeated_or_lost(vault, mishap, heard, heard_next):
    custody = FailingCustody(vault, observe=[mishap])
    seen, cursor = custody.observe(0)
    assert (len(seen), len(custody.observe(cursor)[0])) == (heard, heard_next)


def test_questions_fail(vault):
    custody = FailingCustody(vault, observe=[Mishap.FAIL], holdings=[Mishap.NONE, Mishap.FAIL])
    with pytest.raises(OSError, match="cannot be reached"):
        custody.observe(0)
    assert custody.holdings(1) == 1_000
    with pytest.raises(OSError, match="cannot be reached"):
        custody.holdings(1)
    assert custody.holdings(1) == 1_000
