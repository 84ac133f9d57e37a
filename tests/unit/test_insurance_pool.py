"""The pool pays what it holds and not a unit more."""

import pytest

from perpkit.model.cause import Cause
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext, Limits
from perpkit.ports.insurance import FundMove, Loss
from perpkit.reference.insurance_pool import PoolInsurance

POOL = PoolInsurance(ExchangeContext(markets={}, assets={}, limits=Limits(), taker_ppb={}), NoOptions())


def loss(amount: int) -> Loss:
    return Loss(market=1, asset=1, amount_units=amount, cause=Cause.INVENTORY, at_ns=1)


@pytest.mark.parametrize(("asked", "held", "paid"), [(10, 100, 10), (100, 100, 100), (101, 100, 100)])
def test_a_loss_is_paid_as_far_as_the_balance_goes(asked: int, held: int, paid: int) -> None:
    assert POOL.payable(loss(asked), {1: held}) == paid
    assert list(POOL.draw(loss(asked), {1: held})) == [FundMove(fund=1, amount_units=paid)]


def test_an_empty_fund_moves_nothing() -> None:
    assert POOL.payable(loss(10), {1: 0}) == 0
    assert list(POOL.draw(loss(10), {1: 0})) == []


def test_every_inflow_goes_to_the_one_fund_whole() -> None:
    assert list(POOL.funds()) == [1]
    assert list(POOL.receive(loss(10))) == [FundMove(fund=1, amount_units=10)]


def test_it_remembers_nothing() -> None:
    before = POOL.dump()
    POOL.draw(loss(10), {1: 100})
    assert POOL.dump() == before
    POOL.load(before)
    assert POOL.dump() == before
