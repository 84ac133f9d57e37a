"""What comes in wrong, late, twice or too large does no harm. Most of it has tests elsewhere; this is the rest."""

import itertools
from decimal import Decimal
from typing import get_args

import attrs
import pytest

from perpkit import Exchange, ExchangeConfig, Registry, RejectReason, Side, UnitsError, Venue
from perpkit.audit import state_digest
from perpkit.engine.compose import build_custody, build_journal
from perpkit.errors import JournalError
from perpkit.model.command import (
    CancelOrder,
    Command,
    DepositObserved,
    HoldingsReported,
    IndexQuotes,
    PlaceOrder,
    RunAudit,
)
from perpkit.model.event import Duplicate, FundingAccrued, HoldingsCompared, IndexUpdated, MarkUpdated, TakenOver
from perpkit.model.ledger import wallet
from perpkit.model.price import LeftOut, PriceState, Quote
from perpkit.model.records import pack, pack_all, unpack
from perpkit.plugin import FEES, NoOptions, hookimpl
from perpkit.ports.journal import FrameKind
from perpkit.runtime.journal.frame import PAYLOAD_BYTES_MAX
from perpkit.runtime.recovery import replay_frames
from perpkit.runtime.venue import Pace
from perpkit.units import HOUR_NS

NOW_NS = 8 * HOUR_NS
LARGEST = (1 << 62) - 1
HOURLY = {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}}


@pytest.fixture
def exchange(make_exchange):
    """Account 1 is long 10 at 100 against account 2."""
    made = make_exchange({"funding": HOURLY, "orders_max": 3}, deposits={1: "1000", 2: "1000"}, price=None)
    made.quote("PERP-1", "100", time_ns=NOW_NS)
    made.place(2, "PERP-1", Side.SELL, 10, 100)
    made.place(1, "PERP-1", Side.BUY, 10, 100)
    return made


def order(account=1, side=Side.BUY, size=1, price=90, **fields):
    return PlaceOrder(
        account=account, market=1, side=side, size_lots=size, price_ticks=price, **{"time_ns": NOW_NS} | fields
    )


def quotes(prices, at_ns, market=1):
    """Quote as many sources as there are prices."""
    return IndexQuotes(
        quotes=tuple(
            Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=at_ns)
            for source, price in enumerate(prices, start=1)
        ),
        time_ns=at_ns,
    )


def filled(kind, value):
    """Return a command whose numbers are all this one, but for what has to exist."""
    exists = {"account": 1, "market": 1, "asset": 1, "time_ns": NOW_NS}
    fields = {}
    for field in attrs.fields(kind):
        if field.name == "quotes":
            fields["quotes"] = (filled(Quote, value),)
        elif field.name in ("trigger", "attached"):
            continue
        elif field.type is int:
            fields[field.name] = exists.get(field.name, value)
        else:
            fields[field.name] = field.type(1)
    return kind(**fields)


def numbers_of(kind):
    return [field.name for field in attrs.fields(kind) if field.type is int]


# Numbers: a wrong type or an impossible size never gets past the door.

NO_INTEGER = [1.0, float("nan"), float("inf"), Decimal(1), True, "1", b"1", None, [1], LARGEST + 1, -LARGEST - 1]


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field) for kind in (*get_args(Command), Quote) for field in numbers_of(kind)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_number_of_every_command_is_an_int_of_at_most_62_bits_or_nothing_happens(exchange, kind, field):
    before = exchange.dump()
    for wrong in NO_INTEGER:
        spoiled = attrs.evolve(filled(kind, 1), **{field: wrong})
        command = IndexQuotes(quotes=(spoiled,), time_ns=NOW_NS) if kind is Quote else spoiled
        with pytest.raises(UnitsError, match=f"{kind.__name__}.{field}: expected "):
            exchange.apply(command)
    assert exchange.dump() == before


def test_a_number_too_long_to_print_is_refused_like_any_other(exchange):
    with pytest.raises(UnitsError):
        exchange.apply(order(size=10**5_000))


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 0], ids=["largest", "smallest", "zero"])
@pytest.mark.parametrize("kind", get_args(Command), ids=lambda kind: kind.__name__)
def test_a_command_of_extreme_numbers_is_answered_and_fits_its_record(exchange, kind, value):
    command = filled(kind, value)
    outcome = exchange.apply(command)
    assert next(unpack(pack(command))) == command
    assert list(unpack(pack_all(outcome.events))) == list(outcome.events)
    (audit,) = exchange.apply(RunAudit(time_ns=NOW_NS)).events
    assert audit.breaches == 0


def test_whatever_custody_says_it_saw_the_sums_fit_64_bits(exchange):
    for number in range(3):
        exchange.apply(DepositObserved(deposit_id=number, account=1, asset=1, amount_units=LARGEST, time_ns=NOW_NS))
    outcome = exchange.apply(HoldingsReported(asset=1, holdings_units=1, time_ns=NOW_NS))
    assert HoldingsCompared in {type(each) for each in unpack(pack_all(outcome.events))}


# Twice.


def after_a_snapshot(exchange, make_exchange):
    other = make_exchange({"funding": HOURLY, "orders_max": 3}, price=None)
    other.load(exchange.dump())
    return other


def test_an_order_sent_again_after_a_snapshot_is_answered_and_not_done_again(exchange, make_exchange):
    first = exchange.apply(order(client_order_id=7))
    other = after_a_snapshot(exchange, make_exchange)
    before = state_digest(other)
    again = other.apply(order(client_order_id=7, time_ns=NOW_NS + 5))
    assert again.events == (Duplicate(account=1, client_order_id=7, sequence=first.sequence),)
    assert other.apply(order(client_order_id=7, size=2)).rejected is RejectReason.CLIENT_ORDER_ID_REUSED
    assert state_digest(other) == before


class House:
    """A venue that can be left without closing and opened again."""

    def __init__(self, tables, journal, directory, *plugins):
        tables = tables | {"exchange": tables["exchange"] | {"journal": journal}}
        self.config, self.registry = ExchangeConfig.from_dict(tables), Registry.of(*plugins)
        self.vault, self.directory = build_custody(self.config, self.registry), str(directory)
        self.now_ns = NOW_NS

    def open(self, **pace):
        exchange = Exchange.of(self.config, self.registry)
        journal = build_journal(self.config, self.registry, exchange.manifest, self.directory)
        return Venue.recover(exchange, self.vault, journal, clock=lambda: self.now_ns, pace=Pace(**pace))[0]

    def started(self, **pace):
        venue = self.open(**pace)
        for account in (1, 2):
            self.vault.receive(account, 1, 1_000)
        venue.poll()
        venue.submit(quotes([100] * 3, NOW_NS))
        return venue


@pytest.fixture
def house(make_tables, tmp_path):
    return House(make_tables({"funding": HOURLY}), "file", tmp_path)


@pytest.mark.parametrize("snapshot_every", [0, 2], ids=["journal", "snapshot"])
def test_an_order_sent_again_after_a_crash_is_answered_and_not_done_again(house, snapshot_every):
    venue = house.started(snapshot_every=snapshot_every)
    first = venue.submit(order(client_order_id=7))
    venue.journal.close()
    again = house.open()
    assert again.submit(order(client_order_id=7)).events == (
        Duplicate(account=1, client_order_id=7, sequence=first.sequence),
    )
    assert again.submit(order(client_order_id=7, size=2)).rejected is RejectReason.CLIENT_ORDER_ID_REUSED
    assert len(again.exchange.clearing.orders(1, Side.BUY)) == 1
    again.close()


def test_commands_replayed_twice_are_done_once_and_a_gap_is_refused(house):
    venue = house.started()
    venue.submit_all([order(), order(price=91), order(price=92)])
    middle = venue.exchange.sequence - 1
    frames = [frame for frame in venue.journal.read(1) if frame.kind is FrameKind.COMMANDS]
    venue.close()
    other = Exchange.of(house.config)
    replay_frames(other, frames, until=middle)
    replay_frames(other, frames)
    assert replay_frames(other, frames).replayed == 0
    assert other.dump() == venue.exchange.dump()
    with pytest.raises(JournalError, match="expected command 1, was 3"):
        replay_frames(Exchange.of(house.config), frames[1:])


def test_deposits_are_credited_once_in_whatever_order_custody_tells_of_them(make_exchange):
    seen = [
        DepositObserved(deposit_id=number, account=account, asset=1, amount_units=10 * number, time_ns=NOW_NS)
        for number, account in ((1, 1), (2, 1), (3, 2))
    ]
    states = set()
    for told in itertools.permutations([*seen, seen[0]]):
        made = make_exchange({}, price=None)
        refusals = [made.apply(command).rejected for command in told]
        assert refusals.count(RejectReason.ID_REUSED) == 1
        assert (made.clearing.balance(wallet(1, 1)), made.clearing.balance(wallet(2, 1))) == (30, 30)
        states.add(state_digest(made))
    assert len(states) == 1


# The clock.


def test_a_client_cannot_set_the_clock_and_a_clock_that_steps_back_is_held(house):
    venue = house.started()
    for clock_ns, stamp_ns in ((NOW_NS + 5, LARGEST), (NOW_NS + 2, 0), (NOW_NS + 9, -5)):
        house.now_ns = clock_ns
        assert venue.submit(order(time_ns=stamp_ns)).rejected is None
    stamps = [command.time_ns - NOW_NS for command in unpack(venue.log())][-3:]
    assert stamps == [5, 5, 9]
    venue.close()


@pytest.mark.parametrize(("prices", "paid"), [([], 0), ([100] * 3, 1)], ids=["no prices", "fresh prices"])
def test_a_jump_ahead_pays_no_funding_for_hours_that_nobody_saw(exchange, prices, paid):
    events = exchange.apply(quotes(prices, NOW_NS + 1_000 * HOUR_NS)).events
    rates = [event.rate_ppb for event in events if isinstance(event, FundingAccrued)]
    assert (len(rates), len([rate for rate in rates if rate])) == (1_000, paid)
    assert TakenOver not in {type(event) for event in events}
    assert (exchange.clearing.marks()[1].state is PriceState.FROZEN) == (not prices)


# Prices.


@pytest.mark.parametrize("lie", [1, 10_000, 10**15, LARGEST])
def test_one_source_that_lies_moves_nothing_and_liquidates_nobody(exchange, lie):
    events = exchange.apply(quotes([100, 100, lie, 100, 100], NOW_NS + 1)).events
    assert [type(event) for event in events] == [IndexUpdated, MarkUpdated]
    assert [each.price_ticks for each in events] == [100, 100]
    assert events[0].sources[2].left_out is LeftOut.DEVIATES


# Too much.


def test_an_account_with_as_many_orders_as_it_may_have_can_always_cancel(exchange):
    placed = [exchange.apply(order(price=90 + turn)).sequence for turn in range(3)]
    assert exchange.apply(order()).rejected is RejectReason.TOO_MANY_ORDERS
    for order_id in placed:
        assert exchange.apply(CancelOrder(account=1, market=1, order_id=order_id, time_ns=NOW_NS)).rejected is None
    assert exchange.apply(order()).rejected is None


def test_a_command_that_no_frame_can_hold_is_refused_and_the_venue_goes_on(house):
    venue = house.started()
    huge = quotes([100] * (PAYLOAD_BYTES_MAX // 64), NOW_NS)
    try:
        with pytest.raises(UnitsError):
            venue.submit(huge)
        assert venue.submit(order()).rejected is None
    finally:
        venue.journal.close()


# Parts.


class Moody:
    """A fee schedule that depends on how often it was asked."""

    asked = 0

    def __init__(self, _context, _options):
        pass

    def rate_ppb(self, _account, _maker, /):
        type(self).asked += 1
        return type(self).asked * 1_000_000

    @staticmethod
    @hookimpl
    def perpkit_fee_schedules():
        return [FEES.provider(name="moody", build=Moody, options=NoOptions, summary="depends on its mood")]


def test_a_part_that_answers_otherwise_the_second_time_is_found_at_recovery(make_tables, tmp_path):
    moody = House(make_tables({}, exchange={"fees": "moody"}), "file", tmp_path, Moody)
    venue = moody.started()
    venue.submit_all([order(2, Side.SELL, 10, 100), order(1, Side.BUY, 10, 100)])
    venue.close()
    with pytest.raises(JournalError, match=r"expected state \w+ after command 5, was"):
        moody.open()
