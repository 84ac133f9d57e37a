"""A whole desk on the real thing: Core's consensus, a node over JSON-RPC, three of five people and an HSM."""

import json

from perpkit.custody.desk.log import verify_log
from perpkit.custody.desk.withdrawal import State
from perpkit.model.command import ApproveWithdrawal, DepositObserved, DepositReversed, WithdrawalSent
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased
from perpkit.ports.custody.wallet import Owner, Purpose


def test_a_deposit_comes_in_and_a_withdrawal_goes_out_to_the_unit(bank):
    bank.deposit(80_000_000)
    (deposit,) = [each for each in bank.told() if isinstance(each, DepositObserved)]
    assert (deposit.account, deposit.amount_units) == (7, 80_000_000)
    bank.custody.requested(WithdrawalHeld(withdrawal_id=1, account=7, asset=1, amount_units=30_000_000, destination=1))
    bank.until(State.APPROVED)
    assert [each for each in bank.told() if isinstance(each, ApproveWithdrawal)]
    bank.custody.release(
        WithdrawalReleased(withdrawal_id=1, account=7, asset=1, amount_units=30_000_000, destination=1)
    )
    bank.until(State.CONFIRMED)
    (sent,) = [each for each in bank.told() if isinstance(each, WithdrawalSent)]
    assert bank.custody.holdings(1) == bank.custody.recount(1) == 50_000_000
    assert bank.paid_units() == 30_000_000 - sent.network_fee_units
    assert 0 < sent.network_fee_units <= 9_000
    assert verify_log(json.loads(line) for line in bank.log.export()) is None
    assert bank.desk.halted is None


def test_a_refill_of_the_hot_wallet_is_mined_to_the_unit_and_the_house_pays(two_wallets):
    bank = two_wallets
    bank.deposit(80_000_000)
    bank.chain.pay(bank.cold.script_of(bank.desk.house_address()), 50_000)
    bank.chain.mine(3)
    told = bank.told()
    number = bank.desk.move(30_000_000, by="liam")
    bank.until(State.CONFIRMED, number)
    move = bank.desk.withdrawals[number]
    tip = bank.chain.tip()
    assert [coin.output.amount_units for coin in bank.chain.coins([move.request.script], tip)] == [30_000_000]
    house = [bank.cold.script(Owner(Purpose.HOUSE, 0), index) for index in range(4)]
    left_units = 50_000 - move.draft.fee_units
    assert [coin.output.amount_units for coin in bank.chain.coins(house, tip)] == [left_units]
    assert 0 < move.draft.fee_units <= 9_000
    assert bank.custody.holdings(1) == bank.custody.recount(1) == 80_000_000
    bank.desk.reconcile()
    assert bank.told() == told
    assert bank.desk.halted is None


def test_a_desk_that_starts_anew_tells_the_same_and_goes_on(bank):
    bank.deposit(80_000_000)
    held = WithdrawalHeld(withdrawal_id=1, account=7, asset=1, amount_units=30_000_000, destination=1)
    bank.custody.requested(held)
    bank.until(State.NOMINATED)
    before = bank.told()
    bank.custody = bank.reopened()
    assert bank.told() == before
    bank.until(State.APPROVED)


def test_a_deposit_that_the_chain_takes_back_is_told(bank):
    bank.deposit(80_000_000)
    (deposit,) = [each for each in bank.told() if isinstance(each, DepositObserved)]
    bank.chain.reorganise(3, forget=[bank.chain.block(bank.chain.tip().height - 2).transactions[1].txid])
    bank.chain.mine(3)
    assert DepositReversed(deposit_id=deposit.deposit_id) in bank.told()
    assert bank.custody.holdings(1) == bank.custody.recount(1) == 0
