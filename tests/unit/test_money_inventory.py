"""What the house took over: who pays for it in which order, and what each step tells, in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perpkit import Exchange, MarketState, Side
from perpkit.engine.inventory import take_over_price, unrealized, work_inventory
from perpkit.model.cause import Cause
from perpkit.model.command import IndexQuotes, SetMarketState
from perpkit.model.event import (
    Deleveraged,
    DeleveragingDone,
    Filled,
    FundMoved,
    FundReserved,
    LossSocialized,
    MarketStateChanged,
)
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT
from perpkit.model.ledger import Chart, insurance, of_market, wallet
from perpkit.model.position import Closing, Exposure
from perpkit.model.price import Mark, PriceState, Quote
from perpkit.units import SCALE

BUY, SELL = Side.BUY, Side.SELL
TOLD = (Deleveraged, DeleveragingDone, FundMoved, FundReserved, LossSocialized, MarketStateChanged)
GOLD = 2


@pytest.fixture
def make(make_tables: Callable[..., dict[str, Any]]) -> Callable[..., Exchange]:
    """Return a function: an exchange of markets that settle in asset 2, at 100, and accounts with so much of it."""

    def build(*settlements: str, fund: int = 0, **deposits: int) -> Exchange:
        tables = make_tables(*({"settlement": each} for each in settlements))
        tables["assets"]["GOLD"] = {"id": GOLD, "unit": "1", "deposits_max": "1000000"}
        made = Exchange.of(tables)
        for name, amount in deposits.items():
            for asset in sorted(set(settlements)):
                made.deposit(int(name.removeprefix("a")), asset, amount)
        if fund:
            made.capital("GOLD", fund)
        quote(made, *[100] * len(settlements))
        return made

    return build


def quote(exchange: Exchange, *prices: int) -> list[Any]:
    """Give every market its price at one stamp; return what was told of funds, deleveraging and settling."""
    now = exchange.clock_ns + 1
    quotes = [
        Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=now)
        for market, price in enumerate(prices, start=1)
        for source in (1, 2, 3)
    ]
    outcome = exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=now))
    assert outcome.rejected is None
    return [event for event in outcome.events if isinstance(event, TOLD)]


def trade(exchange: Exchange, buyer: int, seller: int, size: int, market: int = 1, price: int = 100) -> None:
    for account, side in ((seller, SELL), (buyer, BUY)):
        assert exchange.place(account, f"PERP-{market}", side, size, price).rejected is None


def fund_of(exchange: Exchange) -> int:
    return exchange.clearing.balance(insurance(1, GOLD))


def house(exchange: Exchange) -> list[tuple[int, int, int, int]]:
    """Return the house's positions: (market, position id, size, unpaid)."""
    pool = exchange.clearing.pool(HOUSE, GOLD)
    return [(e.market, e.position_id, e.size_lots, e.unpaid_units) for e in pool.exposures]


# The price at which the house closes without a loss.


@pytest.mark.parametrize(
    ("size", "cost", "price"),
    [(10, 855, 86), (10, 860, 86), (-10, -855, 85), (-10, -850, 85), (10, 5, 1), (1, 0, 1), (-10, -200_000, 10_000)],
)
def test_inventory_is_offered_at_the_last_price_that_covers_its_cost(
    make: Callable[..., Exchange], size: int, cost: int, price: int
) -> None:
    exposure = Exposure(market=1, position_id=1, size_lots=size, cost_units=cost, gross_lots=10)
    assert take_over_price(make("GOLD", a7=1)._core, exposure) == price


def test_what_inventory_owes_lowers_what_it_would_gain(make: Callable[..., Exchange]) -> None:
    fields = {"market": 1, "position_id": 1, "size_lots": 10, "cost_units": 900, "gross_lots": 10}
    exposure = Exposure(**fields, unpaid_units=7, funding_due_units=5)
    assert unrealized(make("GOLD", a7=1)._core, exposure) == 1_000 - 900 - 7 - 5


# The fund stands behind it.


def test_a_loss_that_the_fund_may_pay_is_reserved_and_told_once(make: Callable[..., Exchange]) -> None:
    exchange = make("COIN", "GOLD", fund=500, a7=1_000, a8=5_000)
    trade(exchange, 7, 8, 50, market=2)
    assert quote(exchange, 100, 75) == [FundReserved(asset=GOLD, market=2, reserved_units=250)]
    assert house(exchange) == [(2, INVENTORY_LONG, 50, 0)]
    assert quote(exchange, 100, 75) == []
    assert quote(exchange, 100, 72) == [FundReserved(asset=GOLD, market=2, reserved_units=400)]
    assert quote(exchange, 100, 90) == [FundReserved(asset=GOLD, market=2, reserved_units=0)]
    assert (fund_of(exchange), house(exchange)) == (500, [(2, INVENTORY_LONG, 50, 0)])


def test_inventory_that_is_sold_pays_its_gain_to_the_fund(make: Callable[..., Exchange]) -> None:
    exchange = make("COIN", "GOLD", fund=500, a7=1_000, a8=5_000, a9=5_000)
    trade(exchange, 7, 8, 50, market=2)
    quote(exchange, 100, 75)
    exchange.place(9, "PERP-2", BUY, 20, 82)
    gain = FundMoved(fund=1, asset=GOLD, market=2, amount_units=40, balance_units=540, cause=Cause.INVENTORY)
    assert quote(exchange, 100, 83) == [gain, FundReserved(asset=GOLD, market=2, reserved_units=0)]
    assert house(exchange) == [(2, INVENTORY_LONG, 30, 0)]


def test_short_inventory_is_bought_back(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", fund=500, a7=1_000, a8=5_000, a9=5_000)
    trade(exchange, 8, 7, 50)
    assert quote(exchange, 125) == [FundReserved(asset=GOLD, market=1, reserved_units=250)]
    exchange.place(9, "PERP-1", SELL, 20, 119)
    told = quote(exchange, 118)
    assert [event.amount_units for event in told if isinstance(event, FundMoved)] == [20]
    assert house(exchange) == [(1, INVENTORY_SHORT, -30, 0)]


def test_what_stands_behind_one_market_does_not_pay_for_the_next(make: Callable[..., Exchange]) -> None:
    """Each market's inventory loses 250 at 75; of 400 in the fund, 150 are left for the second."""
    exchange = make("GOLD", "GOLD", "COIN", fund=400, a7=1_000, a8=20_000, a9=1_000)
    trade(exchange, 7, 8, 50)
    trade(exchange, 9, 8, 50, market=2)
    told = quote(exchange, 75, 75, 100)
    assert [event for event in told if not isinstance(event, FundReserved)] == [
        Deleveraged(market=2, account=8, position_id=0, size_lots=-20, price_ticks=80, haircut_units=100),
        DeleveragingDone(
            market=2, size_lots=20, unplaced_lots=0, severity_units=100, haircut_units=100, overshoot_units=0
        ),
    ]
    reserved = [(event.market, event.reserved_units) for event in told if isinstance(event, FundReserved)]
    assert reserved == [(1, 250), (2, 150)]
    assert house(exchange) == [(1, INVENTORY_LONG, 50, 0), (2, INVENTORY_LONG, 30, 0)]


def test_long_and_short_inventory_of_a_market_stand_for_each_other(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", fund=10, a7=1_000, a8=5_000, a9=1_000)
    trade(exchange, 7, 8, 50)
    quote(exchange, 80)  # bankrupt at 80: the inventory has lost nothing
    trade(exchange, 8, 9, 50, price=80)
    told = quote(exchange, 101)
    # The short was taken over at 100 and has lost 50; the long has won 1,050.
    assert told == []
    assert house(exchange) == [(1, INVENTORY_LONG, 50, 0), (1, INVENTORY_SHORT, -50, 0)]


def test_fills_of_the_house_are_counted_as_work_and_nothing_else_is(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", "GOLD", fund=500, a7=1_000, a8=5_000, a9=1_000)
    assert work_inventory(exchange._core) == 0
    trade(exchange, 7, 8, 50)
    quote(exchange, 80)
    trade(exchange, 8, 9, 50, price=80)
    quote(exchange, 101)
    assert house(exchange) == [(1, INVENTORY_LONG, 50, 0), (1, INVENTORY_SHORT, -50, 0)]
    assert work_inventory(exchange._core) == 0
    for side, price in ((BUY, 95), (BUY, 94), (SELL, 99)):
        exchange.place(8, "PERP-1", side, 10, price)
    before = len(exchange._core.events)
    assert work_inventory(exchange._core) == 5  # three fills, and what was left of two orders cancelled
    fills = [e for e in exchange._core.events[before:] if isinstance(e, Filled) and e.account == HOUSE]
    assert [(e.position_id, e.size_lots, e.order_id) for e in fills] == [(1, -10, 0), (1, -10, 0), (2, 10, 0)]


def test_a_debt_alone_is_no_work(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", fund=500, a7=1_000, a8=5_000, a9=5_000)
    owing(exchange, 100)
    exchange.clearing.cross_off_book(1, 100, [Closing(account=7, position_id=0, change_lots=0)], Cause.TAKE_OVER)
    exchange._core.inventory_due = True
    assert house(exchange) == [(1, INVENTORY_LONG, 0, 100)]
    assert work_inventory(exchange._core) == 0
    assert fund_of(exchange) == 400


def test_a_market_whose_mark_is_frozen_is_not_deleveraged(make: Callable[..., Exchange]) -> None:
    """250 stand behind the second market. When the first then needs 400 of 500, its mark is frozen."""
    exchange = make("GOLD", "GOLD", fund=500, a7=1_000, a8=20_000, a9=1_000)
    trade(exchange, 7, 8, 50)
    trade(exchange, 9, 8, 50, market=2)
    quote(exchange, 100, 75)
    late = exchange.clock_ns + 10**13
    quotes = [Quote(market=1, source=source, price_ticks=72, weight=1, at_ns=late) for source in (1, 2, 3)]
    quotes.append(Quote(market=2, source=1, price_ticks=75, weight=1, at_ns=late))
    outcome = exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=late))
    assert [event for event in outcome.events if isinstance(event, DeleveragingDone)] == []
    assert house(exchange) == [(1, INVENTORY_LONG, 50, 0), (2, INVENTORY_LONG, 50, 0)]
    assert [event.market for event in quote(exchange, 72, 75) if isinstance(event, DeleveragingDone)] == [2]


def test_a_market_that_is_halted_is_not_deleveraged(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", "GOLD", fund=500, a7=1_000, a8=20_000, a9=1_000)
    trade(exchange, 7, 8, 50)
    trade(exchange, 9, 8, 50, market=2)
    quote(exchange, 100, 75)
    exchange.apply(SetMarketState(market=2, state=MarketState.HALTED, time_ns=exchange.clock_ns))
    assert [event for event in quote(exchange, 72, 75) if isinstance(event, DeleveragingDone)] == []
    exchange.apply(SetMarketState(market=2, state=MarketState.CANCEL_ONLY, time_ns=exchange.clock_ns))
    assert [event.market for event in quote(exchange, 71, 75) if isinstance(event, DeleveragingDone)] == [2]


def test_fills_and_those_who_are_deleveraged_count_together(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", fund=250, a7=1_000, a8=5_000, a9=5_000)
    trade(exchange, 7, 8, 50)
    quote(exchange, 75)
    exchange.place(9, "PERP-1", BUY, 10, 82)
    exchange.clearing.set_mark(Mark(market=1, price_ticks=70, state=PriceState.OK, at_ns=exchange.clock_ns))
    # A fill, the rest of its order cancelled, and account 8: 40 lots lose 400, and 130 of it are past the fund.
    assert work_inventory(exchange._core) == 3
    assert house(exchange) == [(1, INVENTORY_LONG, 27, 0)]


# Deleveraging.


@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_loss_of_one_unit_on_one_lot_is_deleveraged(make: Callable[..., Exchange], side: Side) -> None:
    exchange = make("GOLD", a7=20, a8=1_000)
    trade(exchange, *((7, 8) if side is BUY else (8, 7)), 1)
    price = 100 - 20 * side
    assert quote(exchange, price - side) == [
        Deleveraged(market=1, account=8, position_id=0, size_lots=-side, price_ticks=price, haircut_units=1),
        DeleveragingDone(market=1, size_lots=1, unplaced_lots=0, severity_units=1, haircut_units=1, overshoot_units=0),
    ]


@pytest.mark.parametrize("side", [BUY, SELL])
def test_deleveraging_tells_what_each_winner_gives_up(make: Callable[..., Exchange], side: Side) -> None:
    exchange = make("GOLD", a7=1_000, a8=5_000, a9=500)
    for account, size in ((8, 30), (9, 20)):
        buyer, seller = (7, account) if side is BUY else (account, 7)
        trade(exchange, buyer, seller, size)
    told = quote(exchange, 100 - 25 * side)
    shares = {"market": 1, "position_id": 0, "price_ticks": 100 - 20 * side}
    assert told == [
        Deleveraged(account=9, size_lots=-20 * side, haircut_units=100, **shares),
        Deleveraged(account=8, size_lots=-30 * side, haircut_units=150, **shares),
        DeleveragingDone(
            market=1, size_lots=50, unplaced_lots=0, severity_units=250, haircut_units=250, overshoot_units=0
        ),
    ]
    assert house(exchange) == []
    assert [exchange.clearing.balance(wallet(account, GOLD)) for account in (7, 8, 9)] == [0, 5_600, 900]


def test_rounding_up_to_whole_lots_overshoots_by_less_than_one(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", fund=247, a7=1_000, a8=5_000)
    trade(exchange, 7, 8, 50)
    told = quote(exchange, 75)
    assert told == [
        Deleveraged(market=1, account=8, position_id=0, size_lots=-1, price_ticks=80, haircut_units=5),
        DeleveragingDone(market=1, size_lots=1, unplaced_lots=0, severity_units=3, haircut_units=5, overshoot_units=2),
        FundReserved(asset=GOLD, market=1, reserved_units=245),
    ]


def test_only_the_side_of_the_inventory_that_loses_is_deleveraged(make: Callable[..., Exchange]) -> None:
    """Market 1 lost 1,800 of the fund's 2,000. In market 2 the long, taken over at 105, is even; the short lost 250."""
    exchange = make("GOLD", "GOLD", fund=2_000, a6=1_000, a7=200, a8=50_000, a9=1_000)
    trade(exchange, 6, 8, 50)
    quote(exchange, 79, 80)
    trade(exchange, 8, 9, 50, market=2, price=80)
    quote(exchange, 79, 101)
    quote(exchange, 79, 125)
    trade(exchange, 7, 8, 10, market=2, price=125)
    told = [event for event in quote(exchange, 44, 105) if isinstance(event, DeleveragingDone)]
    assert [(event.market, event.size_lots, event.severity_units) for event in told] == [(2, 10, 50)]
    assert house(exchange) == [
        (1, INVENTORY_LONG, 50, 0),
        (2, INVENTORY_LONG, 10, 0),
        (2, INVENTORY_SHORT, -40, 0),
    ]


# Debts, and the last resort.


def owing(exchange: Exchange, debt: int, market: int = 1) -> None:
    """Let account 7's isolated long of 10 lots be closed so far below what its margin of 100 bears that it owes."""
    exchange.set_terms(7, f"PERP-{market}", isolated=True, leverage=10)
    trade(exchange, 7, 8, 10, market)
    price = 90 - debt // 10
    exchange.place(9, f"PERP-{market}", BUY, 10, price)
    exchange.clearing.close_on_book(7, market, 0, 10, price, 0, Cause.LIQUIDATION)
    assert [each.unpaid_units for each in exchange.clearing.pool(7, GOLD).exposures] == [debt]


def test_money_that_stands_behind_another_market_pays_no_debt(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", "GOLD", fund=250, a6=1_000, a7=1_000, a8=20_000, a9=5_000)
    trade(exchange, 6, 8, 50)
    quote(exchange, 75, 100)
    owing(exchange, 100, market=2)
    told = quote(exchange, 75, 101)
    assert [event for event in told if isinstance(event, FundMoved)] == []
    assert sum(event.amount_units for event in told if isinstance(event, LossSocialized)) == 100
    assert (fund_of(exchange), house(exchange)) == (250, [(1, INVENTORY_LONG, 50, 0)])


def test_a_debt_is_not_set_against_what_inventory_may_yet_gain(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", a6=200, a7=1_000, a8=5_000, a9=5_000)
    trade(exchange, 6, 8, 10)
    quote(exchange, 80)
    quote(exchange, 100)
    owing(exchange, 100)
    told = quote(exchange, 101)
    assert [event.state for event in told if isinstance(event, MarketStateChanged)] == [
        MarketState.SETTLING,
        MarketState.SETTLED,
    ]


def test_the_fund_pays_what_a_position_that_is_gone_still_owes(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", fund=500, a7=1_000, a8=5_000, a9=5_000)
    owing(exchange, 100)
    assert quote(exchange, 99) == [
        FundMoved(fund=1, asset=GOLD, market=1, amount_units=-100, balance_units=400, cause=Cause.INVENTORY)
    ]
    assert house(exchange) == []
    totals = exchange.clearing.totals(1)
    assert totals.costs_units + totals.ccp_units == 0


def test_a_debt_past_the_fund_settles_the_market_and_the_winners_share_it(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", "GOLD", fund=60, a7=1_000, a8=5_000, a9=5_000)
    owing(exchange, 100)
    told = quote(exchange, 101, 100)
    shared = {"market": 1, "asset": GOLD}
    # Account 9, long from 80, has won 210 and account 8 lost 10; 60 come from the fund and 40 from account 9.
    assert told == [
        FundMoved(fund=1, asset=GOLD, market=1, amount_units=-60, balance_units=0, cause=Cause.INVENTORY),
        MarketStateChanged(market=1, state=MarketState.SETTLING),
        LossSocialized(account=9, amount_units=40, **shared),
        MarketStateChanged(market=1, state=MarketState.SETTLED),
    ]
    wallets = [exchange.clearing.balance(wallet(account, GOLD)) for account in (7, 8, 9)]
    assert wallets == [900, 4_990, 5_170]
    assert exchange.clearing.balance(of_market(Chart.CCP, GOLD, 1)) == 0


def test_what_the_winners_of_a_market_cannot_bear_the_whole_asset_shares_by_equity(
    make: Callable[..., Exchange],
) -> None:
    """Nobody has won in the market that settles, so accounts 7, 8 and 9 share 100 by 900, 4,900 and 5,200."""
    exchange = make("GOLD", "COIN", a7=1_000, a8=4_900, a9=5_000)
    owing(exchange, 100)
    trade(exchange, 8, 9, 10)
    trade(exchange, 8, 9, 5, price=99)
    told = quote(exchange, 99, 100)
    assert [event for event in told if isinstance(event, LossSocialized)] == [
        LossSocialized(market=1, asset=GOLD, account=account, amount_units=units)
        for account, units in ((7, 8), (8, 45), (9, 47))  # 8.2, 44.5 and 47.3
    ]
    assert house(exchange) == []


def test_a_debt_past_the_profits_takes_all_of_them_and_the_rest_from_everybody(make: Callable[..., Exchange]) -> None:
    """At 101 account 9 has won 105 on 3 lots from 66 and account 8 lost 3; of 240, 135 are left to share by equity."""
    exchange = make("GOLD", a7=1_000, a8=5_000, a9=5_000)
    owing(exchange, 240)
    trade(exchange, 8, 9, 7)
    exchange.clearing.accrue_funding(1, SCALE)
    told = [event for event in quote(exchange, 101) if isinstance(event, LossSocialized)]
    # Equities of 900, 5,000 and 5,235: 10.9, 60.6 and 63.5.
    assert [(event.account, event.amount_units) for event in told] == [(9, 105), (7, 11), (8, 61), (9, 63)]
    assert house(exchange) == []


def test_who_has_nothing_gives_nothing_and_what_nobody_has_stays_owed(make: Callable[..., Exchange]) -> None:
    exchange = make("GOLD", a7=100, a8=5_000, a9=5_000)
    owing(exchange, 100)
    trade(exchange, 8, 9, 10)
    for account, amount in ((8, 5_000), (9, 5_160)):
        assert exchange.withdraw(account, "GOLD", amount, withdrawal_id=account).rejected is None
    told = [event for event in quote(exchange, 101) if isinstance(event, LossSocialized)]
    assert told == [LossSocialized(market=1, asset=GOLD, account=9, amount_units=40)]
    assert house(exchange) == [(1, INVENTORY_LONG, 0, 60)]
