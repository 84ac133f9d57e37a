"""A withdrawal at the desk: from the request to the mined transaction, and every way in which it ends before."""

from __future__ import annotations

import json

import pytest

from perpkit.custody.desk import entries
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.log import verify_log
from perpkit.custody.desk.tasks import TaskKind
from perpkit.custody.desk.withdrawal import TRANSITIONS, State
from perpkit.custody.gate.gate_memory import written
from perpkit.custody.move import CHANGE
from perpkit.errors import ChainError, CustodyError
from perpkit.model.command import ApproveWithdrawal, CancelWithdrawal, DepositObserved, WithdrawalSent
from perpkit.units import HOUR_NS

from .office import HOLDERS, START_NS, Office, policy_text, raising_after, setup


def test_a_withdrawal_passes_every_state_in_order_and_is_sent_once() -> None:
    office = Office()
    office.request()
    seen = []
    for state in (State.JUDGED, State.NOMINATED, State.APPROVED):
        for _ in range(6):
            if office.desk.withdrawals[1].state is state:
                seen.append(state)
                break
            office.step(mine=0) if state is State.APPROVED else office.step()
    assert office.told()[-1] == ApproveWithdrawal(withdrawal_id=1)
    office.release()
    office.until(State.CONFIRMED)
    kinds = office.kinds()
    order = ["requested", "judged", "opened", "nominated", "approved", "released", "drafted", "granted", "signed"]
    assert [kind for kind in kinds if kind in order] == order
    assert kinds[-2:] == ["broadcast", "confirmed"]
    assert office.told() == [
        DepositObserved(deposit_id=3, account=7, asset=1, amount_units=500_000),
        ApproveWithdrawal(withdrawal_id=1),
        WithdrawalSent(withdrawal_id=1, network_fee_units=240),
    ]
    assert office.to_receiver() == 100_000 - 240
    assert office.desk.holdings() == office.desk.recount() == 400_000
    assert verify_log(map(json.loads, office.log.export())) is None


def test_every_state_is_reached_by_a_transition_and_the_ends_lead_nowhere_but_to_people() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set().union(*TRANSITIONS.values()) == set(State)
    assert TRANSITIONS[State.CONFIRMED] == frozenset()
    assert all(TRANSITIONS[end] == {State.HALTED} for end in (State.DENIED, State.EXPIRED, State.RECALLED))
    assert not any(State.RECALLED in TRANSITIONS[late] for late in (State.SIGNING, State.SIGNED, State.BROADCAST))


def test_asking_and_releasing_twice_changes_nothing() -> None:
    office = Office()
    office.request()
    office.request()
    office.until(State.APPROVED)
    office.release()
    office.release()
    office.until(State.CONFIRMED)
    office.release()
    office.request()
    assert [office.kinds().count(kind) for kind in ("requested", "released", "confirmed")] == [1, 1, 1]
    assert office.to_receiver() == 100_000 - 240


def test_what_the_policy_denies_is_told_to_be_cancelled() -> None:
    office = Office(setup(policy_text(cap='kind = "limit"\nasset = "BTC"\ntransaction_units = 99999')))
    denied = office.request()
    assert denied.state is State.DENIED
    assert "99999" in denied.reason
    assert office.told()[-1] == CancelWithdrawal(withdrawal_id=1)
    assert not office.desk.tasks()


def test_what_was_allowed_before_counts_towards_a_limit_until_it_is_given_back() -> None:
    day = 'kind = "velocity"\nasset = "BTC"\nper = "user"\nwindow_hours = 24\namount_units = 150000'
    office = Office(setup(policy_text(day=day)))
    assert office.request(1).state is State.JUDGED
    assert office.request(2).state is State.DENIED
    office.give_back(1)
    assert office.request(3).state is State.JUDGED


def test_a_destination_that_is_not_in_the_address_book_is_denied() -> None:
    office = Office()
    denied = office.request(destination=9)
    assert (denied.state, denied.reason) == (State.DENIED, "there is no destination 9 in the address book")


def test_what_takes_too_long_before_its_release_expires_and_what_is_released_never_does() -> None:
    office = Office()
    office.request(1)
    office.approved(2)
    office.release(2)
    office.now_ns += 24 * HOUR_NS
    assert CancelWithdrawal(withdrawal_id=1) not in office.told()[:-1]
    assert office.desk.withdrawals[1].state is State.EXPIRED
    assert office.until(State.CONFIRMED, 2).released


LARGE = 'kind = "step-up"\nasset = "BTC"\nrole = "officer"\nfrom_units = 50000'


def test_what_no_machine_decides_waits_for_a_person_with_the_role() -> None:
    office = Office(setup(policy_text(large=LARGE)))
    waiting = office.request()
    assert waiting.state is State.REQUESTED
    assert {(task.kind, task.person) for task in office.desk.tasks()} == {
        (TaskKind.TAKE_ON, "igor"),
        (TaskKind.TAKE_ON, "kira"),
    }
    office.until(State.APPROVED)
    assert office.kinds().count("taken-on") == 1
    assert office.kinds().count("approval-given") == 2
    office.release()
    sent = office.until(State.CONFIRMED)
    assert sent.stepped_up is not None
    assert sent.stepped_up.person not in {approval.person for approval in sent.approvals}


def test_nobody_is_asked_to_take_a_withdrawal_on_who_has_said_no() -> None:
    office = Office(setup(policy_text(large=LARGE)))
    office.request()
    (task,) = (task for task in office.desk.tasks() if task.person == "igor")
    assert office.desk.answer(office.staff.members["igor"].decline(task, "too large")) is None
    assert [task.person for task in office.desk.tasks()] == ["kira"]


def test_a_release_that_custody_was_never_asked_about_is_judged_from_the_start_and_sent() -> None:
    office = Office()
    office.release()
    office.until(State.CONFIRMED)
    assert ApproveWithdrawal(withdrawal_id=1) not in office.told()
    assert office.kinds().count("approval-given") == 2


def test_a_release_that_custody_was_never_asked_about_and_denies_is_for_people() -> None:
    office = Office(setup(policy_text(cap='kind = "limit"\nasset = "BTC"\ntransaction_units = 99999')))
    stopped = office.release()
    assert stopped.state is State.HALTED
    assert stopped.reason.startswith("released without approval: ")
    assert [type(command) for command in office.told()] == [DepositObserved]
    assert {task.kind for task in office.desk.tasks()} == {TaskKind.RETRY}


def test_a_recalled_withdrawal_never_leaves() -> None:
    office = Office()
    office.approved()
    office.give_back()
    office.give_back()
    assert office.desk.withdrawals[1].state is State.RECALLED
    for _ in range(5):
        office.step()
    assert not office.desk.tasks()
    assert "drafted" not in office.kinds()


def test_a_released_withdrawal_cannot_be_recalled() -> None:
    office = Office()
    office.approved()
    office.release()
    with pytest.raises(CustodyError, match="gave back withdrawal 1, which it had released"):
        office.give_back()
    assert office.desk.halted
    assert office.desk.withdrawals[1].state is State.SIGNING


def test_one_that_was_released_although_it_had_expired_goes_out_only_when_a_quorum_says_so() -> None:
    office = Office()
    office.approved()
    office.now_ns += 24 * HOUR_NS
    office.desk.advance()
    stopped = office.release()
    assert (stopped.state, stopped.reason) == (State.HALTED, "the exchange released it although it was expired")
    for task in office.desk.tasks():
        assert office.desk.answer(office.staff.members[task.person].answer(task)) is None
    office.until(State.CONFIRMED)
    assert office.kinds().count("judged") == 2
    assert office.to_receiver() == 100_000 - 240


def test_two_withdrawals_never_spend_the_same_coin() -> None:
    office = Office(deposits_units=(300_000, 300_000))
    for number in (1, 2):
        office.approved(number)
        office.release(number)
    first, second = (office.desk.withdrawals[number].draft for number in (1, 2))
    assert first
    assert second
    assert not set(first.spends) & set(second.spends)
    for number in (1, 2):
        office.until(State.CONFIRMED, number)
    assert office.to_receiver() == 2 * (100_000 - 240)
    assert office.desk.holdings() == 400_000


def test_a_withdrawal_waits_until_there_are_coins_for_it() -> None:
    office = Office(deposits_units=(150_000,))
    for number in (1, 2):
        office.approved(number)
    office.release(1)
    waiting = office.release(2)
    assert waiting.state is State.APPROVED
    assert waiting.waiting
    assert waiting.waiting.rule == "fault"
    office.until(State.CONFIRMED, 1)
    office.deposit(7, 100_000)
    office.until(State.CONFIRMED, 2)
    assert office.desk.holdings() == 50_000


def test_a_replacement_spends_a_coin_of_what_it_replaces_and_is_signed_anew() -> None:
    office = Office(deposits_units=(300_000, 300_000))
    office.approved()
    office.release()
    office.step(mine=0)
    assert office.desk.withdrawals[1].state is State.BROADCAST
    assert office.desk.replace(1, 4_000, "igor") is None
    office.until(State.CONFIRMED)
    old, new = office.desk.withdrawals[1].drafts
    assert set(old.spends) & set(new.spends)
    assert old.release
    assert new.release
    assert old.release.counter < new.release.counter
    assert office.told()[-1] == WithdrawalSent(withdrawal_id=1, network_fee_units=4 * 240)
    assert office.to_receiver() == 100_000 - 4 * 240


def test_a_replacement_shares_a_coin_even_when_a_better_one_has_come_in() -> None:
    office = Office(deposits_units=(300_000,))
    office.approved()
    office.release()
    office.step(mine=0)
    office.world.chain.pay(office.script_of(office.desk.deposit_address(7)), 900_000)
    office.chain.mine(1, leave=[office.desk.withdrawals[1].draft.unsigned.txid])
    office.chain.mine(2, leave=[office.desk.withdrawals[1].draft.unsigned.txid])
    office.desk.advance()
    assert office.desk.holdings() == 1_200_000
    assert office.desk.replace(1, 4_000, "igor") is None
    office.step(mine=0)
    assert office.desk.replace(1, 9_000, "igor") is None
    first, second, third = office.desk.withdrawals[1].drafts
    assert set(first.spends) & set(second.spends) & set(third.spends)


def test_a_draft_whose_fee_the_policy_refuses_is_drafted_again_when_fees_are_lower() -> None:
    office = Office()
    office.chain.fee_rate_units = 40_000
    office.approved()
    waiting = office.release()
    assert waiting.waiting
    assert (waiting.waiting.by, waiting.waiting.rule) == ("policy", "shape")
    assert office.desk.replace(1, 1_000, "igor") is None
    office.until(State.CONFIRMED)
    assert office.to_receiver() == 100_000 - 240


def test_when_the_replaced_one_is_mined_after_all_it_counts() -> None:
    office = Office()
    office.approved()
    office.release()
    office.step(mine=0)
    assert office.desk.replace(1, 4_000, "igor") is None
    office.chain.mine(3)
    office.desk.advance()
    assert office.desk.withdrawals[1].state is State.CONFIRMED
    assert office.told()[-1] == WithdrawalSent(withdrawal_id=1, network_fee_units=240)
    assert not office.desk.tasks()


@pytest.mark.parametrize(("number", "by"), [(1, "nobody"), (2, "igor")])
def test_only_a_known_person_replaces_and_only_what_is_on_its_way(number: int, by: str) -> None:
    office = Office()
    office.approved()
    office.release()
    office.step(mine=0)
    refusal = office.desk.replace(number, 4_000, by)
    assert refusal
    assert refusal.by == "desk"
    assert len(office.desk.withdrawals[1].drafts) == 1


def test_small_withdrawals_leave_from_the_hot_wallet_while_it_has_enough() -> None:
    hot = 'kind = "path"\nasset = "BTC"\nsource = "hot"\ntarget = "client"'
    office = Office(setup(policy_text(small=hot), hot=True, hot_limit_units=50_000))
    wallet = office.world.wallets()["hot"]
    office.chain.pay(wallet.script(CHANGE, 0), 60_000)
    office.chain.mine(3)
    assert office.told()[-1] == DepositObserved(deposit_id=5, account=0, asset=1, amount_units=60_000)
    sources = [office.request(number, units).request.source for number, units in ((1, 50_000), (2, 50_001))]
    assert sources == ["hot", "cold"]
    office.until(State.APPROVED, 1)
    office.release(1, 50_000)
    office.until(State.CONFIRMED, 1)
    assert office.desk.holdings() == 510_000


def test_while_the_chain_is_away_nothing_is_denied_and_everything_goes_on_after() -> None:
    office = Office()
    office.chain.fail_next(10_000)
    waiting = office.request()
    assert waiting.state is State.REQUESTED
    office.chain.fail_next(0)
    office.until(State.APPROVED)
    office.release()
    office.until(State.CONFIRMED)


def test_what_the_gate_refuses_for_now_waits_and_says_why_once() -> None:
    office = Office()
    office.approved()
    office.world.gate_memory.save("policy", written(bytes(32)))
    office.reopen()
    office.release()
    for _ in range(3):
        office.step()
    stuck = office.desk.withdrawals[1]
    assert stuck.state is State.SIGNING
    assert stuck.waiting
    assert (stuck.waiting.by, stuck.waiting.rule) == ("gate", "policy-pinned")
    assert office.kinds().count("waited") == 1
    office.world.gate_memory.save("policy", written(office.desk.policy.digest))
    office.reopen()
    office.until(State.CONFIRMED)


def cut_off(office: Office, appends: int) -> None:
    """Let the desk's machine die right after an append, before anything is done about it."""
    tick, keep = raising_after(appends, ConnectionAbortedError()), office.log.append

    def append(*args: object) -> object:
        entry = keep(*args)
        tick()
        return entry

    office.log.append = append
    try:
        office.request()
        office.until(State.APPROVED)
        office.release()
        office.until(State.CONFIRMED)
    except ConnectionAbortedError:
        pass
    finally:
        office.log.append = keep


@pytest.mark.parametrize("appends", range(1, 26))
def test_after_a_crash_at_any_entry_another_desk_goes_on_and_the_money_leaves_once(appends: int) -> None:
    office = Office()
    cut_off(office, appends)
    office.reopen()
    office.request()
    office.until(State.APPROVED) if not office.desk.withdrawals[1].released else None
    office.release()
    office.until(State.CONFIRMED)
    assert office.kinds().count("confirmed") == 1
    assert office.to_receiver() == 100_000 - 240
    assert office.desk.holdings() == office.desk.recount() == 400_000
    assert verify_log(map(json.loads, office.log.export())) is None


def test_a_desk_that_was_cut_off_at_an_append_may_itself_go_on() -> None:
    office = Office()
    cut_off(office, 4)
    office.until(State.APPROVED)
    assert isinstance(office.desk, Desk)


def test_a_broadcast_that_failed_is_done_again() -> None:
    office = Office()
    office.approved()
    office.release()
    keep, failures = office.chain.broadcast, [2]

    def broadcast(raw: bytes) -> bytes:
        if failures[0]:
            failures[0] -= 1
            raise ChainError("the node is away")
        return keep(raw)

    office.chain.broadcast = broadcast
    office.step(mine=0)
    assert office.desk.withdrawals[1].state is State.SIGNED
    office.until(State.CONFIRMED)
    assert office.to_receiver() == 100_000 - 240


def test_a_step_that_may_not_follow_is_never_written() -> None:
    office = Office()
    office.approved()
    length = len(office.log.entries())
    with pytest.raises(CustodyError, match="after approved, was requested"):
        office.desk._core.note(entries.Retried(withdrawal_id=1))
    assert len(office.log.entries()) == length
    assert office.reopen().withdrawals[1].state is State.APPROVED


def test_the_log_shows_when_everything_happened() -> None:
    office = Office()
    assert {entry.at_ns for entry in office.log.entries()} == {START_NS, START_NS + HOUR_NS}
    assert len(HOLDERS) == 4
