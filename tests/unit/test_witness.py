"""The witness complains of what does not add up by the events alone, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perpkit import Exchange, Side
from perpkit.audit import Witness
from perpkit.engine.exchange import Outcome
from perpkit.model.cause import Cause, Law
from perpkit.model.command import ApproveWithdrawal, CancelWithdrawal, Command, DepositObserved, WithdrawalSent
from perpkit.model.event import (
    BreachFound,
    Deleveraged,
    DepositCredited,
    Event,
    ExchangeResumed,
    Filled,
    FundMoved,
    PositionChanged,
    TakenOver,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ledger import Chart, house

BUY, SELL = Side.BUY, Side.SELL
Make = Callable[..., Exchange]


class Watched:
    """An exchange, and a witness of everything that it does."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.witness, self.events = exchange, Witness(), list[Event]()

    def do(self, outcome: Outcome) -> Outcome:
        self.witness.note(outcome)
        self.events += outcome.events
        return outcome

    def apply(self, command: Command) -> None:
        assert self.do(self.exchange.apply(command)).rejected is None

    def price(self, price: str) -> None:
        self.do(self.exchange.quote("PERP-1", price, time_ns=self.exchange.clock_ns + 1))

    def trade(self, buyer: int, seller: int, size: int, price: int) -> None:
        self.do(self.exchange.place(seller, "PERP-1", SELL, size, price))
        assert self.do(self.exchange.place(buyer, "PERP-1", BUY, size, price)).fills


@pytest.fixture
def watched(make_exchange: Make) -> Watched:
    """Accounts 1 and 2 with 1,000 each, account 1 long 10 at 100, a fund of 500; what exceeds 3,000 is suspended."""
    made = Watched(make_exchange({}, price=None, deposits_max="3000"))
    for account in (1, 2):
        made.do(made.exchange.deposit(account, "COIN", "1000"))
    made.do(made.exchange.capital("COIN", "500"))
    made.price("100")
    made.trade(1, 2, 10, 100)
    return made


def complaints(*events: Event) -> list[str]:
    """Return what a witness says of one command, the seventh."""
    witness = Witness()
    witness.note(Outcome(sequence=7, events=events))
    return witness.complaints


def filled(size: int, *, maker: bool, price: int = 100, account: int = 1) -> Filled:
    return Filled(
        market=1,
        account=account,
        position_id=0,
        order_id=1,
        price_ticks=price,
        size_lots=size,
        fee_units=0,
        maker=maker,
        cause=Cause.TRADE,
    )


def position(account: int, size: int, market: int = 1, position_id: int = 0) -> PositionChanged:
    return PositionChanged(
        market=market,
        account=account,
        position_id=position_id,
        size_lots=size,
        cost_units=0,
        unpaid_units=0,
        realized_units=0,
        cause=Cause.TRADE,
    )


def fund(amount: int, balance: int, number: int = 1, asset: int = 1) -> FundMoved:
    return FundMoved(
        fund=number, asset=asset, market=0, amount_units=amount, balance_units=balance, cause=Cause.CAPITAL
    )


MONEY = {"withdrawal_id": 5, "account": 1, "asset": 1, "amount_units": 30}
HELD = WithdrawalHeld(**MONEY, destination=9)
RELEASED = WithdrawalReleased(**MONEY, destination=9)
SETTLED = WithdrawalSettled(**MONEY, network_fee_units=0)
RETURNED = WithdrawalReturned(**MONEY, recalled=False)


# Deposits


def test_a_deposit_that_is_credited_twice_is_complained_of() -> None:
    credited = DepositCredited(deposit_id=3, account=1, asset=1, amount_units=10, suspended_units=0)
    assert complaints(credited) == []
    assert complaints(credited, credited) == ["command 7: deposit 3 was credited before"]


# Fills


@pytest.mark.parametrize(
    "sides",
    [
        (filled(10, maker=False), filled(-9, maker=True)),
        (filled(10, maker=False), filled(10, maker=True)),
        (filled(10, maker=False), filled(-10, maker=True, price=101)),
        (filled(10, maker=True), filled(-10, maker=False)),
        (filled(10, maker=False), filled(-10, maker=False)),
    ],
    ids=["another size", "one side", "another price", "maker first", "two takers"],
)
def test_the_two_sides_of_a_fill_are_one_size_at_one_price(sides: tuple[Filled, Filled]) -> None:
    (told,) = complaints(*sides)
    assert told == f"command 7: expected two sides of a fill, was {sides[0]} and {sides[1]}"


def test_a_fill_has_two_sides() -> None:
    pair = (filled(-4, maker=False), filled(4, maker=True, account=2))
    assert complaints(*pair, *pair) == []
    assert complaints(*pair, pair[0]) == [f"command 7: expected two sides of a fill, was {pair[0]} alone"]


# Sizes


def test_sizes_that_do_not_sum_are_complained_of_market_by_market() -> None:
    assert complaints(position(1, 10), position(2, -10), position(1, 5, market=2), position(3, -4, market=2)) == [
        "command 7: market 2: the sizes sum to 1 lots"
    ]


def test_sizes_are_followed_from_command_to_command_and_over_position_ids() -> None:
    witness = Witness()
    for sequence, events in enumerate(
        [
            (position(1, 10), position(2, -10)),
            (position(1, 0), position(1, 10, position_id=1)),
            (position(1, 4, position_id=1), position(2, -4)),
            (position(1, 3, position_id=1),),
        ],
        start=1,
    ):
        witness.note(Outcome(sequence=sequence, events=events))
    assert witness.complaints == ["command 4: market 1: the sizes sum to -1 lots"]


# Withdrawals


@pytest.mark.parametrize(
    "stages", [(HELD,), (HELD, RETURNED), (HELD, RELEASED, SETTLED)], ids=["held", "returned", "sent"]
)
def test_a_withdrawal_is_held_and_then_returned_or_released_and_settled(stages: tuple[Event, ...]) -> None:
    assert complaints(*stages) == []


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ((HELD, SETTLED), "WithdrawalSettled after WithdrawalHeld"),
        ((RELEASED,), "WithdrawalReleased after None"),
        ((SETTLED,), "WithdrawalSettled after None"),
        ((RETURNED,), "WithdrawalReturned after None"),
        ((HELD, HELD), "WithdrawalHeld after WithdrawalHeld"),
        ((HELD, RETURNED, RELEASED), "WithdrawalReleased after WithdrawalReturned"),
        ((HELD, RELEASED, RELEASED), "WithdrawalReleased after WithdrawalReleased"),
        ((HELD, RELEASED, RETURNED), "WithdrawalReturned after WithdrawalReleased"),
        ((HELD, RELEASED, SETTLED, SETTLED), "WithdrawalSettled after WithdrawalSettled"),
        ((HELD, RELEASED, SETTLED, HELD), "WithdrawalHeld after WithdrawalSettled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_withdrawal_out_of_order_is_complained_of(stages: tuple[Event, ...], told: str) -> None:
    assert complaints(*stages) == [f"command 7: withdrawal 5: {told}"]


# Funds


def test_a_fund_that_does_not_follow_from_its_moves_is_complained_of() -> None:
    assert complaints(fund(50, 50), fund(-20, 30), fund(7, 7, number=2), fund(8, 8, asset=2)) == []
    wrong = fund(-20, 29)
    assert complaints(fund(50, 50), wrong) == [f"command 7: fund 1: 30 by its moves, told {wrong}"]


# What stands


def test_a_breach_stands_until_somebody_resumed() -> None:
    witness = Witness()
    breach = BreachFound(law=Law.HOLDINGS, market=0, asset=1, expected=5, found=4, evidence=11)
    assert not witness.standing
    witness.note(Outcome(sequence=7, events=(breach,)))
    assert witness.standing
    witness.note(Outcome(sequence=8, events=()))
    assert witness.standing
    witness.note(Outcome(sequence=9, events=(ExchangeResumed(evidence=11, operator=1, second_operator=2),)))
    assert not witness.standing
    assert witness.breaches == [(7, breach)]
    assert witness.complaints == []


# Against an exchange


def test_a_whole_life_of_an_exchange_gives_no_reason_to_complain(watched: Watched) -> None:
    """Trades, withdrawals each way, a crash with a take-over and deleveraging, a gain of the fund, a refusal."""
    exchange = watched.exchange
    for withdrawal_id in (1, 2, 3):
        watched.do(exchange.withdraw(2, "COIN", "100", withdrawal_id=withdrawal_id))
    stamp = exchange.clock_ns
    watched.apply(ApproveWithdrawal(withdrawal_id=1, time_ns=stamp))
    watched.apply(WithdrawalSent(withdrawal_id=1, network_fee_units=3, time_ns=stamp))
    watched.apply(CancelWithdrawal(withdrawal_id=2, time_ns=stamp))
    watched.apply(ApproveWithdrawal(withdrawal_id=3, time_ns=stamp))
    again = DepositObserved(deposit_id=70, account=3, asset=1, amount_units=100, time_ns=stamp)
    watched.apply(again)
    assert watched.do(exchange.apply(again)).rejected
    watched.do(exchange.deposit(4, "COIN", "3000"))
    watched.trade(1, 2, 20, 100)
    watched.price("30")
    watched.price("10")
    watched.do(exchange.place(3, "PERP-1", BUY, 1, 70))
    watched.price("70")
    assert exchange.clearing.balance(house(Chart.SUSPENSE, 1)) == 2_500
    assert {type(event) for event in watched.events} >= {TakenOver, Deleveraged, WithdrawalSettled, WithdrawalReturned}
    assert [event.amount_units for event in watched.events if isinstance(event, FundMoved)] == [500, 3]
    assert watched.witness.complaints == []
    assert watched.witness.compare(exchange) == []


def test_money_that_the_events_did_not_tell_of_is_different(watched: Watched) -> None:
    watched.exchange.deposit(3, "COIN", "5")
    assert watched.witness.compare(watched.exchange) == ["asset 1: came in less went out 2500, held 2505"]


def test_a_position_that_the_events_did_not_tell_of_is_different(watched: Watched) -> None:
    watched.do(watched.exchange.deposit(3, "COIN", "100"))
    watched.exchange.place(3, "PERP-1", SELL, 3, 100)
    watched.exchange.place(1, "PERP-1", BUY, 3, 100)
    assert watched.witness.compare(watched.exchange) == [
        "position (1, 1, 0): 10 lots by events, held 13",
        "position (3, 1, 0): 0 lots by events, held -3",
    ]


def test_a_position_that_only_the_events_tell_of_is_different(watched: Watched, make_exchange: Make) -> None:
    fresh = make_exchange({}, deposits={1: "1000", 2: "1500"})
    assert watched.witness.compare(fresh) == [
        "position (1, 1, 0): 10 lots by events, held 0",
        "position (2, 1, 0): -10 lots by events, held 0",
    ]
