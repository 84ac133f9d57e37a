"""What comes in at the desk, what a reorganisation takes back, and what two counts find missing."""

from __future__ import annotations

import pytest

from perpkit.custody.desk.tasks import TaskKind
from perpkit.custody.desk.withdrawal import State
from perpkit.custody.move import CHANGE
from perpkit.errors import ChainError
from perpkit.model.command import CapitalObserved, DepositObserved, DepositReversed, WithdrawalSent
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit.units import HOUR_NS, MINUTE_NS

from .office import Office, setup


def deposit_of(office: Office, account: int = 7) -> Outpoint:
    return next(point for point, deposit in office.desk._core.state.deposits.items() if deposit.owner.number == account)


def resume(office: Office, *people: str) -> None:
    for task in office.desk.tasks():
        if task.kind is TaskKind.RESUME and task.person in people:
            assert office.desk.answer(office.staff.members[task.person].answer(task)) is None
    office.desk.advance()


def test_a_deposit_is_told_once_it_is_deep_enough_and_only_once() -> None:
    office = Office(deposits_units=())
    office.deposit(7, 500_000, confirmations=2)
    assert office.told() == []
    office.chain.mine()
    (credited,) = office.told()
    office.chain.mine(5)
    office.reopen()
    assert (
        office.told()
        == [credited]
        == [DepositObserved(deposit_id=credited.deposit_id, account=7, asset=1, amount_units=500_000)]
    )
    assert office.log.entries()[credited.deposit_id - 1].kind == "credited"


def test_an_address_is_the_same_until_something_came_in_and_each_account_has_its_own() -> None:
    office = Office(deposits_units=())
    first = office.desk.deposit_address(7)
    assert office.desk.deposit_address(7) == first
    assert office.desk.deposit_address(8) != first
    office.deposit(7, 1_000)
    office.desk.advance()
    second = office.desk.deposit_address(7)
    assert second != first
    office.reopen()
    assert office.desk.deposit_address(7) == second
    office.chain.pay(office.script_of(first), 300)
    office.chain.mine(3)
    assert office.told()[-1] == DepositObserved(deposit_id=7, account=7, asset=1, amount_units=300)
    assert office.desk.deposit_address(7) == second


def test_the_operators_money_for_a_fund_is_told_as_capital() -> None:
    office = Office(deposits_units=())
    office.chain.pay(office.script_of(office.desk.capital_address(4)), 9_000)
    office.chain.mine(3)
    (told,) = office.told()
    assert isinstance(told, CapitalObserved)
    assert (told.fund, told.amount_units) == (4, 9_000)


def test_money_that_nobody_asked_for_on_the_branch_of_change_is_told_for_no_account_and_own_change_is_not() -> None:
    office = Office()
    office.chain.pay(office.world.wallets()["cold"].script(CHANGE, 0), 700)
    office.chain.mine(3)
    assert office.told()[-1] == DepositObserved(deposit_id=5, account=0, asset=1, amount_units=700)
    told = len(office.told())
    office.approved()
    office.release()
    office.until(State.CONFIRMED)
    assert len(office.told()) == told + 2
    assert office.desk.holdings() == office.desk.recount() == 400_700


def test_a_withdrawal_to_another_clients_address_is_a_withdrawal_and_a_deposit() -> None:
    office = Office()
    own = office.script_of(office.desk.deposit_address(8))
    office.add_destination(2, 7, own)
    office.now_ns += HOUR_NS
    office.desk.advance()
    office.request(destination=2)
    office.until(State.APPROVED)
    office.release()
    office.until(State.CONFIRMED)
    told = office.told()[-2:]
    assert {type(command) for command in told} == {DepositObserved, WithdrawalSent}
    fee_units = office.desk.withdrawals[1].draft.fee_units
    assert office.desk.holdings() == office.desk.recount() == 500_000 - fee_units
    assert office.desk.halted is None


def test_the_houses_own_money_is_neither_a_deposit_nor_counted() -> None:
    office = Office()
    wallet, house = office.desk._core.wallets["cold"], Owner(Purpose.HOUSE, 0)
    wallet.watch(house, 1)
    told = office.told()
    office.chain.pay(wallet.script(house, 0), 5_000)
    office.chain.mine(3)
    assert office.told() == told
    assert office.desk.holdings() == office.desk.recount() == 500_000


def test_a_shallow_reorganisation_changes_nothing() -> None:
    office = Office(deposits_units=())
    office.deposit(7, 500_000, confirmations=3)
    (credited,) = office.told()
    office.chain.reorganise(2)
    assert office.told() == [credited]
    assert office.desk.halted is None


def test_a_deep_reorganisation_reverses_a_deposit_halts_the_desk_and_credits_it_again_under_another_id() -> None:
    office = Office(deposits_units=())
    office.deposit(7, 500_000)
    (credited,) = office.told()
    office.chain.reorganise(3)
    assert office.told() == [credited, DepositReversed(deposit_id=credited.deposit_id)]
    assert office.desk.halted
    assert office.desk.holdings() == office.desk.recount() == 0
    office.chain.mine(4)
    again = office.told()[-1]
    assert isinstance(again, DepositObserved)
    assert (again.amount_units, again.deposit_id != credited.deposit_id) == (500_000, True)
    office.reopen()
    assert len(office.told()) == 3


def test_a_deep_reorganisation_halts_even_when_no_money_of_ours_is_in_it() -> None:
    office = Office()
    office.chain.mine(10)
    office.desk.advance()
    office.chain.reorganise(4)
    office.desk.advance()
    assert office.desk.halted
    assert "deeper than 3 confirmations" in office.desk.halted.reason
    resume(office, "igor", "kira")
    assert office.desk.halted is None
    office.reopen().advance()
    assert office.desk.halted is None


def test_a_confirmed_withdrawal_that_a_deep_reorganisation_took_out_is_sent_again_and_told_once() -> None:
    office = Office()
    office.approved()
    office.release()
    office.until(State.CONFIRMED)
    told = office.told()
    gone = office.desk.withdrawals[1].mined_txid
    depth = office.chain.tip().height - office.desk.withdrawals[1].mined.height + 1
    office.chain.reorganise(depth, forget=[gone])
    assert office.to_receiver() == 0
    office.desk.advance()
    assert office.desk.halted
    office.chain.mine(3)
    assert office.told() == told
    assert office.to_receiver() == 100_000 - 240
    resume(office, "igor", "kira")
    assert office.desk.halted is None


def test_a_stolen_coin_halts_the_desk_with_both_numbers_and_only_a_quorum_resumes() -> None:
    office = Office(deposits_units=(500_000, 1))
    stolen = office.chain.steal(
        next(point for point, each in office.desk._core.state.deposits.items() if each.amount_units == 1)
    )
    office.chain.mine(3)
    office.now_ns += 5 * MINUTE_NS
    office.desk.advance()
    assert office.desk.halted
    assert office.desk.halted.reason == (
        "the blocks lead to 500000 units, the node counts 500000, and by the log there must be 500001"
    )
    resume(office, "igor")
    assert office.desk.halted
    first = office.desk.halted.number
    resume(office, "kira")
    # The unit is still missing, so the first thing the desk finds is that again.
    assert office.desk.halted.number > first
    office.chain.reorganise(3, forget=[stolen])
    office.desk.advance()
    resume(office, "igor", "kira")
    assert office.desk.halted is None
    office.approved()
    office.release()
    office.until(State.CONFIRMED)


def test_the_operators_money_makes_good_what_is_missing_before_it_is_capital() -> None:
    office = Office(deposits_units=(500_000, 400))
    office.chain.steal(
        next(point for point, each in office.desk._core.state.deposits.items() if each.amount_units == 400)
    )
    office.chain.mine(3)
    office.now_ns += 5 * MINUTE_NS
    office.desk.advance()
    told = office.told()
    office.deposit(7, 900)
    for units in (300, 550):
        office.chain.pay(office.script_of(office.desk.capital_address(4)), units)
        office.chain.mine(3)
    client, capital = office.told()[len(told) :]
    assert isinstance(client, DepositObserved)
    assert client.amount_units == 900
    assert isinstance(capital, CapitalObserved)
    assert capital.amount_units == 450
    office.desk.advance()
    resume(office, "igor", "kira")
    assert office.desk.halted is None
    assert office.desk.holdings() == office.desk.recount() == 501_750
    office.reopen()
    assert office.told() == [*told, client, capital]
    office.approved()
    office.release()
    office.until(State.CONFIRMED)


def test_money_that_made_good_and_is_taken_back_by_the_chain_is_missing_again() -> None:
    office = Office(deposits_units=(500_000, 400))
    office.chain.steal(
        next(point for point, each in office.desk._core.state.deposits.items() if each.amount_units == 400)
    )
    office.chain.mine(3)
    office.desk.advance()
    office.chain.pay(office.script_of(office.desk.capital_address(4)), 400)
    office.chain.mine(3)
    told = office.told()
    assert office.desk.holdings() == 500_400
    office.chain.reorganise(3)
    assert office.told() == told
    office.now_ns += 5 * MINUTE_NS
    office.desk.advance()
    assert office.desk.halted
    assert "by the log there must be 500400" in office.desk.halted.reason


def test_what_made_good_a_loss_that_the_chain_undoes_is_capital_after_all() -> None:
    office = Office(deposits_units=(500_000, 400))
    stolen = office.chain.steal(
        next(point for point, each in office.desk._core.state.deposits.items() if each.amount_units == 400)
    )
    office.chain.mine(3)
    office.desk.advance()
    office.chain.pay(office.script_of(office.desk.capital_address(4)), 1_000)
    office.chain.mine(3)
    *_, first = office.told()
    assert isinstance(first, CapitalObserved)
    assert first.amount_units == 600
    office.chain.reorganise(7, keep=True, forget=[stolen])
    undone, again = office.told()[-2:]
    assert undone == DepositReversed(deposit_id=first.deposit_id)
    assert again == CapitalObserved(deposit_id=again.deposit_id, fund=4, asset=1, amount_units=1_000)
    assert office.desk.halted
    resume(office, "igor", "kira")
    assert office.desk.halted is None
    assert office.desk.holdings() == office.desk.recount() == 501_400


def test_a_node_that_counts_something_else_halts_the_desk() -> None:
    office = Office()
    keep = office.chain.coins
    extra = Coin(outpoint=Outpoint(bytes(32), 0), output=Output(b"", 1), height=1)
    office.chain.coins = lambda scripts, at: [*keep(scripts, at), extra]
    office.desk.reconcile()
    assert office.desk.halted
    assert office.desk.halted.reason == (
        "the blocks lead to 500000 units, the node counts 500001, and by the log there must be 500000"
    )
    assert (office.desk.holdings(), office.desk.recount()) == (500_000, 500_001)


def test_nothing_is_judged_or_signed_while_the_desk_is_halted_and_it_goes_on_after() -> None:
    office = Office()
    office.approved(1)
    office.desk.halt("somebody saw something", "igor")
    office.release(1)
    office.request(2)
    for _ in range(3):
        office.chain.mine()
        office.desk.advance()
    assert {task.kind for task in office.desk.tasks()} == {TaskKind.RESUME}
    assert [office.desk.withdrawals[number].state for number in (1, 2)] == [State.APPROVED, State.REQUESTED]
    resume(office, "igor", "kira")
    office.until(State.CONFIRMED, 1)


@pytest.mark.parametrize("what", ["BTC", "cold"])
def test_what_is_switched_off_sends_nothing_until_a_quorum_switches_it_on(what: str) -> None:
    office = Office()
    office.approved(1)
    assert office.desk.switch_off(what, "a key may be lost", "fay") is None
    office.release(1)
    assert office.request(2).state is State.DENIED
    for _ in range(3):
        office.chain.mine()
        office.desk.advance()
    waiting = office.desk.withdrawals[1]
    assert waiting.state is State.SIGNING
    assert waiting.waiting is not None
    assert (waiting.waiting.by, waiting.waiting.rule) == ("policy", "off")
    resume(office, "igor")
    assert office.request(3).state is State.DENIED
    office.reopen()
    resume(office, "kira")
    office.until(State.CONFIRMED, 1)
    assert office.request(4).state is not State.DENIED


def test_only_people_switch_off_and_only_what_there_is() -> None:
    office = Office()
    for what, by, rule in (("cold", "nobody", "person"), ("warm", "fay", "switch")):
        refusal = office.desk.switch_off(what, "why", by)
        assert refusal is not None
        assert refusal.rule == rule
    assert "switched-off" not in office.kinds()


def test_approvals_to_resume_are_for_one_halt_only() -> None:
    office = Office()
    office.desk.halt("first", "igor")
    resume(office, "igor")
    office.desk.halt("second", "kira")
    resume(office, "kira")
    assert office.desk.halted
    resume(office, "igor")
    assert office.desk.halted is None


def test_nothing_moves_before_the_first_count() -> None:
    office = Office()
    office.log = type(office.log)()
    office.reopen()

    def away(*_: object) -> list[Coin]:
        raise ChainError("it counts no coins now")

    office.chain.coins = away
    office.add_destination(1, 7, office.receiver)
    assert office.request().state is State.REQUESTED
    assert office.desk._core.state.reconciled is None


def test_after_a_halt_nothing_is_signed_before_it_was_counted_again() -> None:
    office = Office()
    office.approved()
    office.desk.halt("somebody saw something", "igor")
    office.release()
    keep = office.chain.coins

    def away(*_: object) -> list[Coin]:
        raise ChainError("it counts no coins now")

    office.chain.coins = away
    resume(office, "igor", "kira")
    assert office.desk.halted is None
    assert office.desk.withdrawals[1].state is State.APPROVED
    office.chain.coins = keep
    office.desk.advance()
    assert office.desk.withdrawals[1].state is State.SIGNING


def test_the_last_count_is_noted_as_often_as_the_terms_say() -> None:
    office = Office(setup(reconcile_ns=10 * MINUTE_NS))
    before = office.kinds().count("counted")
    office.now_ns += 10 * MINUTE_NS - 1
    office.desk.advance()
    assert office.kinds().count("counted") == before
    office.now_ns += 1
    office.desk.advance()
    assert office.kinds().count("counted") == before + 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 8, 12])
def test_a_chain_that_fails_in_the_middle_of_anything_is_asked_again(count: int) -> None:
    office = Office(deposits_units=())
    office.deposit(7, 500_000)
    office.chain.fail_next(count)
    for _ in range(count + 1):
        office.told()
    assert [type(command) for command in office.told()] == [DepositObserved]
    assert office.desk.holdings() == 500_000


def test_holdings_can_be_asked_for_first() -> None:
    office = Office()
    assert office.reopen().holdings() == 500_000
    assert office.reopen().recount() == 500_000
