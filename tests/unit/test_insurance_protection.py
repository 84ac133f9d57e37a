"""Two purposes, two sub-funds; and no market is paid more than its cap in any window."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from perpkit import Exchange, Side
from perpkit.model.event import Deleveraged, FundMoved, FundReserved
from perpkit.model.ledger import insurance
from perpkit.plugin import INSURANCE, NoOptions, Provider, Registry, hookimpl
from perpkit.ports import InsuranceFund
from perpkit.ports.insurance import FundMove
from perpkit.reference.insurance_pool import PoolInsurance
from perpkit.reference.insurance_protection import ACCIDENT, PENETRATION, ProtectionInsurance, ProtectionOptions
from perpkit.testing.builders import exchange_context, loss
from perpkit.units import SCALE, SECOND_NS

RICH = {PENETRATION: 1_000, ACCIDENT: 5_000}


def fund(**options: int) -> ProtectionInsurance:
    return ProtectionInsurance(exchange_context(), ProtectionOptions(**options))


def pay(part: ProtectionInsurance, amount: int, *, market: int = 1, second: int = 100) -> int:
    """Let a rich fund pay; return what it paid, which it must have promised."""
    asked = loss(amount, market=market, at_ns=second * SECOND_NS)
    promised = part.payable(asked, RICH)
    paid = sum(move.amount_units for move in part.draw(asked, RICH))
    assert paid == promised
    return paid


# Two purposes.


@pytest.mark.parametrize(("asked", "held", "paid"), [(10, 100, 10), (100, 100, 100), (101, 100, 100)])
def test_a_liquidation_is_paid_as_far_as_the_penetration_fund_goes(asked: int, held: int, paid: int) -> None:
    balances = {PENETRATION: held, ACCIDENT: 5_000}
    assert fund().payable(loss(asked), balances) == paid
    assert list(fund().draw(loss(asked), balances)) == [FundMove(fund=1, amount_units=paid)]


def test_the_accident_fund_pays_for_no_liquidation() -> None:
    balances = {PENETRATION: 0, ACCIDENT: 5_000}
    assert fund().payable(loss(10), balances) == 0
    assert list(fund().draw(loss(10), balances)) == []


@pytest.mark.parametrize(
    ("share", "inflow", "moves"),
    [
        (200_000_000, 100, [(1, 80), (2, 20)]),
        (200_000_000, 14, [(1, 12), (2, 2)]),  # a fifth is 2.8
        (200_000_000, 4, [(1, 4)]),
        (0, 100, [(1, 100)]),
        (SCALE, 100, [(2, 100)]),
    ],
)
def test_the_accident_fund_gets_its_share_of_an_inflow_rounded_down(
    share: int, inflow: int, moves: list[tuple[int, int]]
) -> None:
    found = fund(accident_share_ppb=share).receive(loss(inflow))
    assert [(move.fund, move.amount_units) for move in found] == moves


def test_a_fifth_is_the_share_and_there_is_no_cap_unless_one_is_chosen() -> None:
    part = fund()
    assert list(part.funds()) == [PENETRATION, ACCIDENT] == [1, 2]
    assert [move.amount_units for move in part.receive(loss(100))] == [80, 20]
    assert [pay(part, 1_000) for _ in range(3)] == [1_000, 1_000, 1_000]
    assert part.dump() == b'{"paid":[]}'


# The cap.


def test_a_market_is_paid_up_to_its_cap_and_the_others_are_paid_all_the_same() -> None:
    part = fund(window_cap_units=300)
    assert [pay(part, 200), pay(part, 200), pay(part, 200)] == [200, 100, 0]
    assert pay(part, 200, market=2) == 200


def test_the_fund_may_hold_less_than_the_cap_leaves() -> None:
    part = fund(window_cap_units=300)
    assert part.payable(loss(200), {PENETRATION: 50, ACCIDENT: 5_000}) == 50


def test_asking_does_not_use_the_cap_up() -> None:
    part = fund(window_cap_units=300)
    assert [part.payable(loss(400), RICH) for _ in range(3)] == [300, 300, 300]


def test_each_payment_leaves_the_window_on_its_own() -> None:
    """200 at second 100 count until second 110 is there, and the 100 of second 105 until second 115."""
    part = fund(window_cap_units=300, window_seconds=10)
    assert [pay(part, 200, second=100), pay(part, 200, second=105)] == [200, 100]
    assert pay(part, 1, second=109) == 0
    assert [pay(part, 300, second=110), pay(part, 300, second=115)] == [200, 100]


def test_a_window_is_a_day_unless_another_is_chosen() -> None:
    part = fund(window_cap_units=300)
    assert [pay(part, 300, second=second) for second in (100, 86_499, 86_500)] == [300, 0, 300]


def test_a_cap_that_was_lowered_below_what_is_paid_already_pays_nothing() -> None:
    part = fund(window_cap_units=300)
    pay(part, 300)
    strict = fund(window_cap_units=200)
    strict.load(part.dump())
    assert strict.payable(loss(50, at_ns=100 * SECOND_NS), RICH) == 0


# What is remembered.


def test_only_the_window_is_remembered_and_in_the_same_bytes_in_whatever_order_it_was_paid() -> None:
    part, other = (fund(window_cap_units=300, window_seconds=10) for _ in range(2))
    for each, markets in ((part, (1, 2)), (other, (2, 1))):
        pay(each, 70, market=3, second=90)
        for market in markets:
            pay(each, 40, market=market)
            pay(each, 2, market=market)
    assert part.dump() == other.dump()
    assert json.loads(part.dump()) == {"paid": [[1, 100 * SECOND_NS, 42], [2, 100 * SECOND_NS, 42]]}


def test_a_fund_that_is_loaded_goes_on_within_the_same_cap() -> None:
    part, loaded = fund(window_cap_units=300), fund(window_cap_units=300)
    pay(part, 200)
    pay(loaded, 300, market=2)
    loaded.load(part.dump())
    assert (pay(loaded, 200), pay(loaded, 300, market=2)) == (100, 300)


def test_without_accidents_and_without_a_cap_it_pays_what_the_pool_pays() -> None:
    part, pool = fund(accident_share_ppb=0), PoolInsurance(exchange_context(), NoOptions())
    for amount in (1, 999, 1_000, 1_001):
        assert list(part.draw(loss(amount), RICH)) == list(pool.draw(loss(amount), RICH))
        assert list(part.receive(loss(amount))) == list(pool.receive(loss(amount)))


@pytest.mark.parametrize(
    "options",
    [{"accident_share_ppb": -1}, {"accident_share_ppb": SCALE + 1}, {"window_seconds": 0}, {"window_cap_units": -1}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ProtectionOptions(**options)


# In an exchange.


class Plugin:
    """Offers the fund under a name that nobody else uses."""

    @hookimpl
    def perpkit_insurance_funds(self) -> Iterable[Provider[InsuranceFund]]:
        return [INSURANCE.provider(name="own", build=ProtectionInsurance, options=ProtectionOptions, summary="own")]


@pytest.fixture
def exchange(make_tables: Callable[..., dict[str, Any]]) -> Exchange:
    """Return an exchange at 100 whose fund holds 1,000, with a cap of 200; account 7 is bankrupt at 80."""
    chosen = {"provider": "own", "options": {"window_cap_units": 200}}
    made = Exchange.of(make_tables(exchange={"insurance": chosen}), Registry.of(Plugin()))
    for account, amount in ((7, 1_000), (8, 5_000)):
        made.deposit(account, "COIN", amount)
    made.capital("COIN", 1_000)
    made.quote("PERP-1", 100)
    assert made.place(8, "PERP-1", Side.SELL, 50, 100).rejected is None
    assert made.place(7, "PERP-1", Side.BUY, 50, 100).fills
    return made


def test_what_a_market_may_not_be_paid_is_deleveraged_although_the_fund_holds_more(exchange: Exchange) -> None:
    """The 50 lots that are taken over at 80 lose 500 at 70; 30 of them lose the 300 beyond the cap."""
    told = exchange.quote("PERP-1", 70).events
    assert [(e.account, e.size_lots, e.price_ticks) for e in told if isinstance(e, Deleveraged)] == [(8, -30, 80)]
    assert [e.reserved_units for e in told if isinstance(e, FundReserved)] == [200]
    assert exchange.clearing.balance(insurance(PENETRATION, 1)) == 1_000


def test_what_a_liquidation_leaves_is_shared_and_capital_goes_where_it_is_paid(exchange: Exchange) -> None:
    exchange.capital("COIN", 300, fund=ACCIDENT)
    exchange.place(8, "PERP-1", Side.BUY, 50, 82)
    told = [e for e in exchange.quote("PERP-1", 83).events if isinstance(e, FundMoved)]
    assert [(e.fund, e.amount_units, e.balance_units) for e in told] == [(1, 80, 1_080), (2, 20, 320)]


def test_the_loss_of_one_market_leaves_the_cap_of_the_next_whole(make_tables: Callable[..., dict[str, Any]]) -> None:
    """Market 1 keeps the 200 it may cost in its inventory; market 2, where 50 lots lose 250, may cost 200 too."""
    chosen = {"provider": "own", "options": {"window_cap_units": 200}}
    made = Exchange.of(make_tables({}, {}, exchange={"insurance": chosen}), Registry.of(Plugin()))
    for account, amount in ((7, 1_000), (8, 20_000), (9, 1_000)):
        made.deposit(account, "COIN", amount)
    made.capital("COIN", 1_000)
    for account, market in ((7, "PERP-1"), (9, "PERP-2")):
        made.quote(market, 100)
        assert made.place(8, market, Side.SELL, 50, 100).rejected is None
        assert made.place(account, market, Side.BUY, 50, 100).fills
    made.quote("PERP-1", 70)
    told = made.quote("PERP-2", 75).events
    assert [(e.account, e.size_lots) for e in told if isinstance(e, Deleveraged)] == [(8, -10)]
    assert [(e.market, e.reserved_units) for e in told if isinstance(e, FundReserved)] == [(2, 200)]
