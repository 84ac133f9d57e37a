"""A part that only answers, and fails, refuses the command that it met; of that command nothing remains."""

import functools
import itertools
import json
import random
import types
from unittest import mock

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpkit import Exchange, ExchangeConfig, HaltedError, PartFaultError, Registry, RejectReason, Side, Venue
from perpkit.audit import replay, state_digest
from perpkit.engine import checkpoint
from perpkit.engine.compose import build_custody, build_journal
from perpkit.errors import InvariantError, PluginError
from perpkit.model.command import (
    CancelOrder,
    CapitalObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    RunAudit,
    SetPositionTerms,
)
from perpkit.model.event import OrderCancelled, TakenOver
from perpkit.model.ledger import insurance
from perpkit.model.price import Quote
from perpkit.model.records import pack_all
from perpkit.plugin import PORTS, hookimpl
from perpkit.ports.deleveraging import Share
from perpkit.runtime.journal import MemoryJournal
from perpkit.units import HOUR_NS, MINUTE_NS

BUY, SELL = Side.BUY, Side.SELL
GAVE_UP = RuntimeError("the part gave up")
OPENING_NS, CRASH_NS = 8 * HOUR_NS, 9 * HOUR_NS
ANSWERED = {
    f"{port.key}.{member}"
    for port in PORTS
    if port.key not in ("clearing", "custody", "journal")
    for member in ({"plan"} if port.key == "book" else port.members - {"dump", "load", "own_book_free"})
}


class Parts:
    """The reference parts, until a test decides what becomes of a question: it raises, or has another answer.

    `when` is told the question, such as "fees.rate_ppb", and what is given with it.
    """

    def __init__(self):
        self._rules = []
        plugin = types.ModuleType("acme")
        inside = [offer.provider for offer in Registry.builtin().providers()]
        for port in PORTS:
            if port.key not in ("custody", "journal"):
                setattr(plugin, port.hook, offering([self._spoilable(each) for each in inside if each.port is port]))
        self.registry = Registry.of(plugin, builtin=("perpkit.custody", "perpkit.runtime.journal"))

    def spoil(self, when, answer=GAVE_UP):
        self._rules.append((when, answer))

    def mend(self):
        self._rules.clear()

    def _spoilable(self, provider):
        def build(context, options):
            part, port = provider.build(context, options), provider.port
            if port.key == "clearing":
                return part
            members = {name: getattr(part, name) for name in port.members}
            watched = {name: self._watched(port.key, each) for name, each in members.items() if callable(each)}
            return types.SimpleNamespace(**members | watched)

        return attrs.evolve(provider, build=build)

    def _watched(self, port, question):
        @functools.wraps(question)
        def ask(*given):
            name = f"{port}.{question.__name__}"
            for when, answer in self._rules:
                if when(name, *given):
                    if isinstance(answer, BaseException):
                        raise answer
                    return answer
            return question(*given)

        return ask


def offering(providers):
    @hookimpl
    def offer():
        return providers

    return offer


def nth(number, wanted=ANSWERED):
    """Say yes to the so many-th question of those that are wanted, and never again."""
    count = itertools.count(1)
    return lambda question, *_given: question in wanted and next(count) == number


class Logged(Exchange):
    """An exchange that keeps what it was asked and what it answered."""

    def __init__(self, *given):
        self.log = []
        super().__init__(*given)

    def apply(self, command):
        outcome = super().apply(command)
        self.log.append((command, outcome))
        return outcome


@pytest.fixture
def parts():
    return Parts()


@pytest.fixture
def frequent_checkpoints(monkeypatch):
    """Take one every 20 commands."""
    monkeypatch.setattr(checkpoint, "COMMANDS_MIN", 20)
    monkeypatch.setattr(checkpoint, "STATE_BYTES_A_COMMAND", 1 << 20)


@pytest.fixture(scope="session")
def config(make_tables):
    checks = [{"provider": "price-band", "options": {"band": band}} for band in ("50%", "60%")]
    return make_tables(
        {"order_checks": checks},
        {},
        exchange={
            "fees": {"provider": "maker-taker", "options": {"maker": "0.02%", "taker": "0.1%"}},
            "funding": {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}},
        },
    )


@pytest.fixture(scope="session")
def opened(config):
    """Return a function that opens an exchange where a crash in market 1 has much to do.

    Account 1 is long 150 on 2,000, too large for the lowest bracket; 100 are bid at 92, and the fund holds 100.
    In market 2 two orders wait for account 4, which trades on isolated margin.
    """

    def make(parts, **limits):
        exchange = Logged.of(config | {"limits": limits}, parts.registry)
        for account, amount in {1: 2_015, 2: 20_000, 3: 20_000, 4: 5_000}.items():
            exchange.deposit(account, "COIN", amount)
        exchange.capital("COIN", 100)
        exchange.apply(quotes(100, 100, OPENING_NS))
        exchange.place(2, "PERP-1", SELL, 150, 100)
        exchange.place(1, "PERP-1", BUY, 150, 100)
        exchange.place(3, "PERP-1", BUY, 100, 92)
        exchange.place(2, "PERP-2", SELL, 5, 100)
        exchange.place(3, "PERP-2", SELL, 5, 101)
        exchange.set_terms(4, "PERP-2", isolated=True, leverage=5)
        return exchange

    return make


def quotes(first, second, at_ns):
    """Quote both markets."""
    return IndexQuotes(
        quotes=tuple(
            Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=at_ns)
            for market, price in ((1, first), (2, second))
            for source in (1, 2, 3)
        ),
        time_ns=at_ns,
    )


def order(account, side, size, price, market=1, at_ns=OPENING_NS, **fields):
    return PlaceOrder(
        account=account, market=market, side=side, size_lots=size, price_ticks=price, time_ns=at_ns, **fields
    )


def trading(seed, count):
    """Yield what four accounts do in both markets while the prices jump, and fall on the hour."""
    draw, at_ns = random.Random(seed), OPENING_NS
    for number in range(count):
        if draw.random() < 0.25:
            at_ns += draw.choice((1, 20, 60)) * MINUTE_NS
            yield quotes(draw.choice((103, 100, 97, 90, 70)), draw.choice((108, 100, 93)), at_ns)
        elif draw.random() < 0.2:
            yield CancelOrder(
                account=draw.randint(1, 4),
                market=draw.randint(1, 2),
                order_id=15 + draw.randint(0, number),
                time_ns=at_ns,
            )
        else:
            where = {"account": draw.randint(1, 4), "market": draw.randint(1, 2), "client_order_id": 100 + number}
            side, reduces = draw.choice((BUY, SELL)), draw.random() < 0.2
            yield order(
                side=side,
                size=draw.randint(1, 40),
                price=draw.randint(88, 110),
                at_ns=at_ns,
                reduce_only=reduces,
                **where,
            )


def content(exchange):
    """Return the state without what a refused command may move."""
    state = json.loads(exchange.dump())
    del state["sequence"], state["clock_ns"], state["price_faults"]
    return state


def nothing(exchange):
    """Do what is refused before anything is asked or done, so that sequences agree."""
    refused = exchange.apply(CancelOrder(account=1, market=99, time_ns=exchange.clock_ns))
    assert refused.rejected is RejectReason.UNKNOWN_MARKET


def same(exchange, twin):
    assert content(exchange) == content(twin)
    assert (exchange.sequence, exchange.clock_ns) == (twin.sequence, twin.clock_ns)


CRASH = quotes(70, 102, CRASH_NS)
CROSSING = order(4, BUY, 10, 101, market=2)
BUYING = order(3, BUY, 1, 90, client_order_id=7)
CLOSING = order(1, SELL, 1, 99, reduce_only=True, client_order_id=7)
TERMS = SetPositionTerms(account=1, market=2, leverage=2, time_ns=OPENING_NS)
WITHDRAWAL = RequestWithdrawal(withdrawal_id=1, account=3, asset=1, amount_units=5, time_ns=OPENING_NS)
CAPITAL = CapitalObserved(deposit_id=99, fund=1, asset=1, amount_units=5, time_ns=OPENING_NS)


# At the door: nothing was written when the part was asked.


@pytest.mark.parametrize("answer", [GAVE_UP, "garbage", None, -(1 << 70)], ids=["raises", "text", "nothing", "huge"])
@pytest.mark.parametrize(
    ("question", "command", "market"),
    [
        ("order_checks.admits", BUYING, "PERP-1"),
        ("fees.rate_ppb", BUYING, "PERP-1"),
        ("fees.rate_ppb", CROSSING, "PERP-2"),
        ("book.plan", BUYING, "PERP-1"),
        ("margin.need", BUYING, ""),
        ("margin.closing_value", CLOSING, ""),
        ("margin.initial_ppb", TERMS, ""),
        ("margin.need", WITHDRAWAL, ""),
        ("insurance.funds", CAPITAL, ""),
        ("insurance.funds", RunAudit(time_ns=OPENING_NS), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_part_that_fails_at_the_door_refuses_the_command_and_is_named(
    parts, opened, question, command, market, answer
):
    exchange, twin = opened(parts), opened(Parts())
    parts.spoil(nth(1, {question}), answer)
    outcome = exchange.apply(command)
    nothing(twin)
    (refused,) = outcome.events
    entry = exchange.manifest.entries[refused.part]
    assert outcome.rejected is RejectReason.PLUGIN_FAULT
    assert (entry.port, entry.market) == (question.partition(".")[0], market)
    assert f"{entry.provider!r} of {entry.distribution}" in outcome.fault
    same(exchange, twin)
    for following in (command, order(3, BUY, 2, 89)):
        assert exchange.apply(following) == twin.apply(following)
    assert exchange.log[-1][1].rejected is None


def test_of_two_order_checks_the_one_that_failed_is_named(parts, opened):
    exchange = opened(parts)
    named = []
    for number in (1, 2):
        parts.spoil(nth(number, {"order_checks.admits"}))
        named.append(exchange.apply(BUYING).events[0].part)
    places = [at for at, entry in enumerate(exchange.manifest.entries) if entry.port == "order_checks"]
    assert named == places


# In the middle: the command had already written.


@pytest.mark.parametrize("earlier", [0, 550], ids=["", "after 1,100 commands more"])
@pytest.mark.parametrize(
    ("command", "question", "number", "answer"),
    [
        pytest.param(CRASH, "liquidation.next_step", 2, GAVE_UP, id="the second step of a liquidation"),
        pytest.param(CRASH, "mark_price.update", 2, GAVE_UP, id="the mark of the second market"),
        pytest.param(CRASH, "insurance.receive", 1, [], id="inventory that gained"),
        pytest.param(CRASH, "insurance.payable", 1, -1, id="inventory that lost"),
        pytest.param(
            CRASH, "deleveraging.shares", 1, [Share(account=9, position_id=0, size_lots=1)], id="deleveraging nobody"
        ),
        pytest.param(CROSSING, "fees.rate_ppb", 5, GAVE_UP, id="the maker of the second fill"),
        pytest.param(CROSSING, "margin.opening_margin", 2, -1, id="the margin of the second fill"),
    ],
)
def test_a_fault_in_the_middle_takes_back_what_the_command_had_written(
    parts, opened, command, question, number, answer, earlier
):
    exchange, twin = opened(parts), opened(Parts())
    for each in (exchange, twin):
        for _ in range(earlier):
            assert each.cancel(3, "PERP-1", each.apply(order(3, BUY, 1, 60)).sequence).rejected is None
    before, writes = content(exchange), exchange.clearing.version
    is_it, written = nth(number, {question}), []

    def when(asked, *_given):
        now = is_it(asked)
        if now:
            written.append(exchange.clearing.version - writes)
        return now

    parts.spoil(when, answer)
    outcome = exchange.apply(command)
    parts.mend()
    nothing(twin)
    assert outcome.rejected is RejectReason.PLUGIN_FAULT
    assert written[0] > 0, "otherwise this test says nothing"
    assert content(exchange) == before
    same(exchange, twin)
    for following in (command, order(3, BUY, 2, 89, at_ns=CRASH_NS), quotes(72, 103, CRASH_NS + HOUR_NS)):
        assert exchange.apply(following) == twin.apply(following)
    assert exchange.dump() == twin.dump()


@pytest.mark.parametrize(
    ("answer", "wanted"), [(GAVE_UP, ANSWERED), ("garbage", ANSWERED - {"funding.sample"})], ids=["raises", "garbage"]
)
@pytest.mark.parametrize("command", [CRASH, CROSSING], ids=["a crash", "an order"])
def test_whichever_question_of_a_command_goes_wrong_nothing_remains(parts, opened, command, answer, wanted):
    sound, asked = Parts(), []
    exchange, twin = opened(parts, price_faults_max=100), opened(sound)
    sound.spoil(lambda question, *_given: asked.append(question))
    before = content(exchange)
    for number in itertools.count(1):
        parts.spoil(nth(number, wanted), answer)
        if exchange.apply(command).rejected is None:
            break
        assert content(exchange) == before
        nothing(twin)
    assert exchange.log[-1][1] == twin.apply(command)
    same(exchange, twin)
    assert number - 1 == sum(question in wanted for question in asked) > 8


def test_liquidations_that_wait_are_not_lost_when_a_policy_fails(parts, opened):
    exchange, twin = opened(parts, work_max=1), opened(Parts(), work_max=1)
    for each in (exchange, twin):
        each.apply(CRASH)
        assert content(each)["queue"]
    later = order(3, SELL, 1, 109, at_ns=CRASH_NS + 5)
    parts.spoil(nth(1, {"liquidation.next_step"}))
    assert exchange.apply(later).rejected is RejectReason.PLUGIN_FAULT
    nothing(twin)
    same(exchange, twin)
    assert exchange.apply(later) == twin.apply(later)
    assert TakenOver in {type(event) for event in exchange.log[-1][1].events}


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    faults=st.dictionaries(st.integers(0, 59), st.integers(1, 60), min_size=1, max_size=12),
    commands_min=st.sampled_from([4, 1_000]),
)
def test_faults_anywhere_lead_where_no_faults_would_have_led(opened, seed, faults, commands_min):
    with mock.patch.multiple(checkpoint, COMMANDS_MIN=commands_min, STATE_BYTES_A_COMMAND=1 << 20):
        parts = Parts()
        exchange, twin = opened(parts, price_faults_max=100), opened(Parts())
        for step, command in enumerate(trading(seed, 60)):
            if step in faults:
                parts.spoil(nth(faults[step]))
                if exchange.apply(command).rejected is RejectReason.PLUGIN_FAULT:
                    nothing(twin)
                    same(exchange, twin)
                    continue
                parts.mend()
            else:
                exchange.apply(command)
            assert exchange.log[-1][1] == twin.apply(command)
        same(exchange, twin)


# Replay: the faults are in the parts, so the same log meets them again.


def moody(question, *given):
    """Fail at some questions, whenever they are asked."""
    return (
        (question == "fees.rate_ppb" and given == (4, True))
        or (question == "mark_price.update" and given[0].index.price_ticks == 97)
        or (question == "liquidation.next_step" and given[0].steps_done == 1)
    )


def test_a_log_with_faults_replays_to_the_same_events_and_state_from_any_snapshot(
    parts, opened, config, frequent_checkpoints
):
    parts.spoil(moody)
    limits = {"price_faults_max": 150}
    exchange, snapshots = opened(parts, **limits), []
    for number, command in enumerate(trading(3, 150)):
        if number % 50 == 0:
            snapshots.append((len(exchange.log), exchange.dump()))
        exchange.apply(command)
    commands, outcomes = zip(*exchange.log, strict=True)
    assert len({outcome.events[0].part for outcome in outcomes if outcome.fault}) == 3, "the faults of three parts"
    again, composed = [], ExchangeConfig.from_dict(config | {"limits": limits})
    replayed = replay(pack_all(commands), composed, parts.registry, watch=again.append)
    assert [(each, each.fault) for each in again] == [(each, each.fault) for each in outcomes]
    assert replayed.state_digest == state_digest(exchange)
    for done, state in snapshots:
        other = Exchange.of(composed, parts.registry)
        other.load(state)
        assert [other.apply(command) for command in commands[done:]] == list(outcomes[done:])
        assert other.dump() == exchange.dump()


# Prices: without them nobody knows what anything is worth.


def test_too_many_faulted_prices_in_a_row_halt_and_accepted_ones_start_anew(parts, opened):
    parts.spoil(moody)
    exchange = opened(parts, price_faults_max=2)
    faulted, sound = (quotes(price, 100, OPENING_NS + 2) for price in (97, 98))
    for _ in range(3):
        for _ in range(2):
            assert exchange.apply(faulted).rejected is RejectReason.PLUGIN_FAULT
            assert exchange.apply(order(3, BUY, 1, 60, at_ns=exchange.clock_ns)).rejected is None
            assert exchange.apply(quotes(98, 98, 1)).rejected is RejectReason.EARLIER_STAMP
        assert exchange.apply(sound).rejected is None
    for _ in range(2):
        assert exchange.apply(faulted).rejected is RejectReason.PLUGIN_FAULT
    with pytest.raises(PartFaultError, match="the part gave up") as caught:
        exchange.apply(faulted)
    assert exchange.manifest.entries[caught.value.part].port == "mark_price"
    assert exchange.halted == f"PartFaultError: {caught.value}"
    with pytest.raises(HaltedError, match="the part gave up"):
        exchange.apply(sound)


def test_faulted_prices_are_counted_across_a_snapshot(parts, opened):
    parts.spoil(moody)
    exchange, other = (opened(parts, price_faults_max=1) for _ in range(2))
    faulted = quotes(97, 100, OPENING_NS)
    assert exchange.apply(faulted).rejected is RejectReason.PLUGIN_FAULT
    other.load(exchange.dump())
    with pytest.raises(PartFaultError):
        other.apply(faulted)


def test_commands_without_prices_may_meet_any_number_of_faults(parts, opened):
    exchange = opened(parts, price_faults_max=1)
    parts.spoil(lambda question, *_given: question == "fees.rate_ppb")
    for _ in range(5):
        assert exchange.apply(BUYING).rejected is RejectReason.PLUGIN_FAULT
    assert exchange.apply(CLOSING).rejected is None, "it pays no fee until it fills"


# What comes back only because parts are asked again.


def test_a_part_that_no_longer_answers_what_it_answered_halts_the_exchange(parts, opened):
    exchange = opened(parts)
    parts.spoil(lambda question, *_given: question == "fees.rate_ppb")
    with pytest.raises(PartFaultError, match="the part gave up"):
        exchange.apply(CRASH)
    with pytest.raises(HaltedError):
        exchange.apply(BUYING)


def test_a_part_that_now_gives_another_answer_than_before_is_noticed(parts, opened):
    """What it said then was told to everybody; an exchange that cannot come back to that halts."""
    exchange = opened(parts)
    parts.spoil(lambda question, *given: question == "fees.rate_ppb" and given == (1, False), 0)
    parts.spoil(nth(2, {"liquidation.next_step"}))
    with pytest.raises(InvariantError, match="expected the same events again"):
        exchange.apply(CRASH)
    assert exchange.halted


# Owners, and what is no fault of a part.


class House:
    """A venue that can be left and opened again: its exchange, custody and journal."""

    def __init__(self, parts, config, journal, directory):
        self.config = ExchangeConfig.from_dict(config | {"exchange": config["exchange"] | {"journal": journal}})
        self.registry, self.directory = parts.registry, str(directory)
        self.vault = build_custody(self.config, self.registry)

    def open(self):
        exchange = Exchange.of(self.config, self.registry)
        journal = build_journal(self.config, self.registry, exchange.manifest, self.directory)
        return Venue.recover(exchange, self.vault, journal, clock=lambda: OPENING_NS)


@pytest.fixture(params=["memory", "file"])
def house(request, parts, config, tmp_path):
    yield House(parts, config, request.param, tmp_path)
    MemoryJournal.forget(str(tmp_path))


@pytest.mark.parametrize("error", [RuntimeError("disk"), PluginError("the book changed since the plan"), KeyError(7)])
def test_a_book_that_fails_in_a_write_halts_and_recovery_leads_to_the_state_before(parts, house, error):
    venue, _ = house.open()
    for account in (1, 2):
        house.vault.receive(account, 1, 5_000)
    venue.poll()
    venue.submit_all([quotes(100, 100, OPENING_NS), order(1, SELL, 5, 100)])
    before = state_digest(venue.exchange)
    parts.spoil(nth(1, {"book.commit"}), error)
    with pytest.raises(type(error)):
        venue.submit(order(2, BUY, 3, 100))
    with pytest.raises(HaltedError):
        venue.submit(order(2, BUY, 3, 100))
    venue.journal.close()
    again, recovered = house.open()
    assert recovered.halted == venue.exchange.halted == f"{type(error).__name__}: {error}"
    assert state_digest(again.exchange) == before
    again.journal.close()


def test_money_that_custody_saw_is_credited_once_the_part_that_refused_it_is_well(parts, house):
    venue, _ = house.open()
    house.vault.receive_capital(1, 1, 500)
    parts.spoil(nth(1, {"insurance.funds"}))
    assert [outcome.rejected for outcome in venue.poll()] == [RejectReason.PLUGIN_FAULT]
    venue.poll()
    credited = venue.exchange.clearing.balance(insurance(1, 1))
    venue.journal.close()
    assert credited == 500


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(1)], ids=["interrupt", "exit"])
@pytest.mark.parametrize("number", [1, 5], ids=["at the door", "in the middle"])
def test_an_interrupt_is_not_taken_for_a_fault(parts, opened, interrupt, number):
    exchange = opened(parts)
    parts.spoil(nth(number, {"fees.rate_ppb"}), interrupt)
    with pytest.raises(type(interrupt)):
        exchange.apply(CROSSING)


def test_an_exchange_that_was_interrupted_in_a_write_accepts_nothing_more(parts, opened):
    exchange = opened(parts)
    parts.spoil(nth(5, {"fees.rate_ppb"}), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        exchange.apply(CROSSING)
    with pytest.raises(HaltedError):
        exchange.apply(CancelOrder(account=1, market=99, time_ns=OPENING_NS))


# What a snapshot must keep, so that going back to it is going back.


def test_after_a_snapshot_orders_are_cancelled_in_the_order_they_came_in(parts, make_tables):
    """Funding of 20 a lot moves the bankruptcy price of long 10 on 100 from 90 to 92."""
    rates = dict.fromkeys(("interest_ppb", "clamp_ppb", "cap_ppb"), 20_000_000)
    hourly = {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "impact_notional_units": 10**6}
    config = make_tables({}, exchange={"funding": {"provider": "premium", "options": hourly | rates}})
    exchange, other = (Exchange.of(config) for _ in range(2))
    for account in (1, 2):
        exchange.deposit(account, "COIN", "1000")
    exchange.quote("PERP-1", "100", time_ns=OPENING_NS)
    exchange.set_terms(1, "PERP-1", isolated=True, leverage=10)
    exchange.place(2, "PERP-1", SELL, 10, 100)
    exchange.place(1, "PERP-1", BUY, 10, 100)
    exchange.place(1, "PERP-1", SELL, 5, 91)
    exchange.place(1, "PERP-1", SELL, 5, 90)
    other.load(exchange.dump())
    outcome = exchange.quote("PERP-1", "100", time_ns=CRASH_NS)
    assert len([event for event in outcome.events if isinstance(event, OrderCancelled)]) == 2
    assert other.quote("PERP-1", "100", time_ns=CRASH_NS) == outcome


def test_after_a_snapshot_a_client_order_id_still_means_the_same_order(parts, opened):
    exchange, other = (opened(parts, client_order_ids_kept=1) for _ in range(2))
    for client_order_id, price in ((5, 80), (6, 81), (5, 85)):
        assert exchange.apply(order(3, BUY, 1, price, client_order_id=client_order_id)).rejected is None
    other.load(exchange.dump())
    cancel = CancelOrder(account=3, market=1, client_order_id=5, time_ns=OPENING_NS)
    assert other.apply(cancel) == exchange.apply(cancel)


def test_a_fold_may_remember_any_bytes(parts, opened):
    parts.spoil(lambda question, *_: question == "funding.dump", b"\xff")
    assert content(opened(parts))["folds"]
