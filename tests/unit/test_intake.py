"""The intake alone, before a venue that only counts: who waits, who goes first, who is refused."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit import RejectReason, Side, UnitsError
from perpkit.engine.exchange import Outcome
from perpkit.errors import ConfigError, HaltedError
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    SetPositionTerms,
)
from perpkit.runtime.intake import ClosedError, Intake, LaneFullError, LaneSizes


class CountingVenue:
    """Does nothing but number what it is given."""

    def __init__(self):
        self.batches, self.done, self.closed = [], [], 0
        self.fault = None

    def submit_all(self, commands):
        if self.fault:
            raise self.fault
        self.batches.append(list(commands))
        first = len(self.done) + 1
        self.done += commands
        return [Outcome(sequence=first + index, events=()) for index in range(len(commands))]

    def close(self):
        self.closed += 1


@pytest.fixture
def venue():
    return CountingVenue()


@pytest.fixture
def intake(venue):
    return Intake(venue, lanes=LaneSizes(system=40, cancels=40, closes=40, rest=40), batch_max=16)


def place(name=0, *, account=1, market=1, reduce_only=False, size_lots=1, time_ns=0):
    return PlaceOrder(
        account=account,
        market=market,
        side=Side.BUY,
        size_lots=size_lots,
        price_ticks=100,
        reduce_only=reduce_only,
        client_order_id=name,
        time_ns=time_ns,
    )


def cancel(name=0, *, order_id=0, account=1, market=1, time_ns=0):
    return CancelOrder(account=account, market=market, order_id=order_id, client_order_id=name, time_ns=time_ns)


def test_urgent_commands_go_first(intake, venue):
    withdrawal = RequestWithdrawal(withdrawal_id=1, account=1, asset=1, amount_units=1)
    terms = SetPositionTerms(account=1, market=1)
    rest = [place(), withdrawal, terms]
    offered = [*rest, place(reduce_only=True), cancel(order_id=1), ApproveWithdrawal(withdrawal_id=1), IndexQuotes()]
    for command in offered:
        intake.offer(command)
    assert intake.pump() == len(offered)
    assert venue.done == [*offered[5:], offered[4], offered[3], *rest]


def test_a_full_lane_answers_overloaded_at_once_and_leaves_the_others_open(intake, venue):
    for _ in range(40):
        assert not intake.offer(place()).done()
    refused = intake.offer(place())
    assert refused.done()
    assert refused.result(timeout=0).rejected is RejectReason.OVERLOADED
    assert refused.result(timeout=0).sequence == 0
    assert not intake.offer(place(reduce_only=True)).done()
    assert not intake.offer(cancel(order_id=1)).done()
    assert not intake.offer(IndexQuotes()).done()
    while intake.pump():
        pass
    assert len(venue.done) == 43
    assert intake.offer(place()).done() is False, "there is room again"


def test_the_operator_is_told_by_an_exception_that_the_lane_is_full(intake):
    for _ in range(40):
        intake.offer(IndexQuotes())
    with pytest.raises(LaneFullError, match="ApproveWithdrawal"):
        intake.offer(ApproveWithdrawal(withdrawal_id=1))
    intake.pump()
    assert not intake.offer(ApproveWithdrawal(withdrawal_id=1)).done()


def test_a_malformed_command_is_refused_before_it_can_spoil_a_batch(intake, venue):
    before, after = place(), place(2)
    intake.offer(before)
    with pytest.raises(UnitsError, match="size_lots"):
        intake.offer(place(size_lots=1.0))
    intake.offer(after)
    assert intake.pump() == 2
    assert venue.done == [before, after]


def test_every_lane_gets_its_share_of_a_batch_and_priority_the_rest(intake, venue):
    for _ in range(40):
        for command in (place(), place(reduce_only=True), cancel(order_id=1), IndexQuotes()):
            intake.offer(command)
    assert intake.pump() == 16
    assert venue.done == [IndexQuotes()] * 10 + [cancel(order_id=1)] * 2 + [place(reduce_only=True)] * 2 + [place()] * 2


def test_what_a_lane_leaves_of_its_share_the_others_use(intake, venue):
    for _ in range(40):
        intake.offer(place())
    intake.offer(cancel(order_id=1))
    assert intake.pump() == 16
    assert venue.done == [cancel(order_id=1)] + [place()] * 15


def test_a_cancel_comes_right_behind_the_order_it_names_which_still_waits(intake, venue):
    first, named, last = place(6), place(7), place(8)
    for command in (first, named, last):
        intake.offer(command)
    for other in (cancel(7, account=2), cancel(7, market=2), cancel(7, order_id=5)):
        intake.offer(other)
    ticket = intake.offer(cancel(7))
    intake.pump()
    assert venue.done[3:] == [first, named, cancel(7), last], "the three others overtook"
    assert ticket.result(timeout=0).sequence == 6


def test_a_cancel_waits_for_all_orders_of_its_name_in_whatever_lane(intake, venue):
    for _ in range(20):
        intake.offer(place(reduce_only=True))
    intake.offer(place(7, reduce_only=True))
    intake.offer(place(7))
    intake.offer(cancel(7))
    intake.pump()
    assert place(7) in venue.done
    assert cancel(7) not in venue.done
    intake.pump()
    assert venue.done[-2:] == [place(7, reduce_only=True), cancel(7)]


def test_a_cancel_of_a_waiting_order_is_never_refused_and_there_is_one(intake, venue):
    for name in range(1, 41):
        intake.offer(place(name))
        intake.offer(cancel(order_id=name))
    assert intake.offer(cancel(order_id=1)).done(), "the lane of the cancels is full"
    tickets = {intake.offer(cancel(name)) for name in range(1, 41) for _ in range(3)}
    assert len(tickets) == 40
    while intake.pump():
        pass
    assert all(ticket.result(timeout=0).rejected is None for ticket in tickets)
    assert len(venue.done) == 120


def test_a_cancel_of_an_order_that_was_taken_goes_to_the_lane_of_cancels(intake, venue):
    intake.offer(place(7))
    intake.pump()
    intake.offer(place(8))
    intake.offer(cancel(7))
    intake.pump()
    assert venue.done == [place(7), cancel(7), place(8)]


def test_when_the_venue_raises_every_ticket_of_the_batch_raises_the_same(intake, venue):
    tickets = [intake.offer(place()) for _ in range(20)]
    venue.fault = HaltedError("as if a part had failed")
    assert intake.pump() == 16
    for ticket in tickets[:16]:
        with pytest.raises(HaltedError, match="as if a part had failed"):
            ticket.result(timeout=0)
    assert not any(ticket.done() for ticket in tickets[16:])
    venue.fault = None
    assert intake.pump() == 4
    assert [ticket.result(timeout=0).sequence for ticket in tickets[16:]] == [1, 2, 3, 4]


def test_an_interrupt_answers_the_tickets_and_goes_on_to_whoever_pumps(intake, venue):
    ticket = intake.offer(place())
    venue.fault = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        intake.pump()
    assert ticket.done()


def test_closing_takes_nothing_more_does_what_waits_and_closes_the_venue_once(intake, venue):
    tickets = [intake.offer(place(name)) for name in range(1, 41)] + [intake.offer(cancel(40))]
    intake.stop()
    assert intake.stopped
    with pytest.raises(ClosedError):
        intake.offer(cancel(order_id=1))
    assert not venue.done
    intake.close()
    intake.close()
    assert [ticket.result(timeout=0).sequence for ticket in tickets] == list(range(1, 42))
    assert venue.closed == 1


def test_a_ticket_cannot_be_taken_back(intake):
    ticket = intake.offer(place())
    assert not ticket.cancel()
    intake.pump()
    assert ticket.result(timeout=0).sequence == 1


def test_waiting_ends_with_an_offer_and_with_a_stop(intake):
    assert not intake.wait(0)
    for happens in (lambda: intake.offer(place()), intake.stop):
        waiting = threading.Thread(target=intake.wait, args=(600,), daemon=True)
        waiting.start()
        while not intake._changed._waiters:
            time.sleep(0.001)
        happens()
        waiting.join(timeout=30)
        assert not waiting.is_alive()
        intake.pump()


def test_threads_that_offer_and_pump_at_once_are_all_answered_once(venue):
    intake = Intake(venue, lanes=LaneSizes(rest=10_000), batch_max=16)
    tickets = []

    def trade(account):
        for turn in range(1, 251):
            tickets.append(intake.offer(place(turn, account=account)))
            tickets.append(intake.offer(cancel(turn, account=account)))
            if turn % 10 == 0:
                intake.pump()

    threads = [threading.Thread(target=trade, args=(account,)) for account in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    intake.close()
    assert sorted(ticket.result(timeout=0).sequence for ticket in tickets) == list(range(1, 2_001))
    assert all(venue.done.index(place(7, account=a)) < venue.done.index(cancel(7, account=a)) for a in (1, 2, 3, 4))


@pytest.mark.parametrize("settings", [{"lanes": LaneSizes(cancels=0)}, {"batch_max": 7}])
def test_lanes_and_batches_that_could_starve_somebody_are_refused(venue, settings):
    with pytest.raises(ConfigError, match="or more"):
        Intake(venue, **settings)


names = {"name": st.integers(0, 2), "account": st.integers(1, 2), "market": st.integers(1, 2)}
steps = st.lists(
    st.one_of(
        st.builds(place, reduce_only=st.booleans(), **names),
        st.builds(cancel, order_id=st.integers(0, 1), **names),
        st.just(IndexQuotes()),
        st.none(),
    ),
    max_size=120,
)


def name_of(command):
    named = isinstance(command, PlaceOrder | CancelOrder) and not getattr(command, "order_id", 0)
    return (command.account, command.market, command.client_order_id) if named and command.client_order_id else None


@given(steps)
def test_in_every_interleaving_orders_precede_their_cancels_and_lanes_keep_their_order(steps):
    """A step is an offer, or a pump where it is None."""
    venue = CountingVenue()
    intake = Intake(venue, lanes=LaneSizes(system=120, cancels=5, closes=5, rest=10), batch_max=8)
    orders, pairs, followers, lanes = {}, [], {}, {}
    for step in steps:
        if step is None:
            intake.pump()
            continue
        waiting = {ticket for ticket in orders.get(name_of(step), ()) if not ticket.done()}
        ticket = intake.offer(step)
        is_cancel = isinstance(step, CancelOrder)
        if is_cancel and waiting:
            assert not ticket.done(), "never refused"
            followers.setdefault(name_of(step), set()).add(ticket)
            assert sum(not each.done() for each in followers[name_of(step)]) == 1
        if ticket.done():
            continue
        if is_cancel:
            pairs += [(order, ticket) for order in orders.get(name_of(step), ())]
        elif isinstance(step, PlaceOrder) and name_of(step):
            orders.setdefault(name_of(step), []).append(ticket)
        if not (is_cancel and waiting):
            lanes.setdefault((type(step), getattr(step, "reduce_only", False)), []).append(ticket)
    while intake.pump():
        pass
    assert all(order.result(timeout=0).sequence < its_cancel.result(timeout=0).sequence for order, its_cancel in pairs)
    for tickets in lanes.values():
        sequences = [ticket.result(timeout=0).sequence for ticket in tickets]
        assert sequences == sorted(sequences), "first come, first served"
    answered = [ticket for tickets in (*lanes.values(), *followers.values()) for ticket in tickets]
    sequences = sorted(ticket.result(timeout=0).sequence for ticket in answered)
    assert sequences == list(range(1, len(venue.done) + 1)), "each once"
