"""Liquidation to the end: the book, the house, the fund, deleveraging and, when nothing else is left, settling."""

from perpkit import RejectReason, Side
from perpkit.model.cause import Cause
from perpkit.model.command import IndexQuotes
from perpkit.model.event import (
    Deleveraged,
    DeleveragingDone,
    Filled,
    FundReserved,
    LiquidationEnded,
    LossSocialized,
    MarketStateChanged,
    OrderCancelled,
    TakenOver,
)
from perpkit.model.ids import HOUSE, INVENTORY_LONG
from perpkit.model.ledger import insurance
from perpkit.model.market import MarketState
from perpkit.model.price import Quote


def quote_both(exchange, price, time_ns):
    """Quote both markets at one stamp."""
    quotes = [
        Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=time_ns)
        for market in (1, 2)
        for source in (1, 2, 3)
    ]
    return exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=time_ns))


def of(outcome, kind):
    return [event for event in outcome.events if isinstance(event, kind)]


def test_a_large_position_goes_down_the_brackets_on_the_book_and_its_owner_keeps_the_rest(exchange, trade):
    # 150 lots at 100 are 15,000: the second bracket, maintenance 10 % above 10,000, need 1,000.
    trade(exchange, 1, 2, "150", "100")
    exchange.place(3, "COIN", Side.BUY, "100", "92")
    outcome = exchange.quote("COIN", "93", time_ns=2)
    fills = [fill for fill in of(outcome, Filled) if fill.account == 1]
    # Equity 950 is below the need of 895: not yet; at 92 it is 800 against 880.
    assert not fills
    outcome = exchange.quote("COIN", "92", time_ns=3)
    fills = [fill for fill in of(outcome, Filled) if fill.account == 1]
    # Down to the largest size worth at most 10,000 at 92: 108 lots.
    assert [(fill.size_lots, fill.price_ticks, fill.cause) for fill in fills] == [(-42, 92, Cause.LIQUIDATION)]
    assert not of(outcome, TakenOver)
    assert of(outcome, LiquidationEnded)[0].steps == 1
    need = exchange.clearing.need(1, 1)
    assert need.equity_units == 80_000 >= need.maintenance_units == 49_680


def test_take_over_gives_the_whole_at_once(exchange_of, trade):
    exchange = exchange_of(liquidation="takeover")
    for account in (1, 2, 3):
        exchange.deposit(account, "USD", "2000")
    exchange.capital("USD", "10000")
    exchange.quote("COIN", "100", time_ns=1)
    trade(exchange, 1, 2, "150", "100")
    exchange.place(3, "COIN", Side.BUY, "100", "92")
    outcome = exchange.quote("COIN", "92", time_ns=2)
    (taken,) = of(outcome, TakenOver)
    # Bankrupt where 150 lots lost 2,000: 86.67, to the tick toward gain 87.
    assert (taken.size_lots, taken.price_ticks) == (150, 87)
    # The house sells what it can at its take-over price or better: all 100 bids at 92.
    assert [f.size_lots for f in of(outcome, Filled) if f.account == HOUSE] == [-100]
    assert exchange.clearing.balance(insurance(1, 1)) == 1_000_000 + 100 * 500


def test_inventory_is_backed_by_the_fund_and_not_spent(exchange, trade):
    exchange.capital("USD", "1000")
    trade(exchange, 1, 2, "100", "100")
    outcome = exchange.quote("COIN", "75", time_ns=2)
    (taken,) = of(outcome, TakenOver)
    assert taken.price_ticks == 80
    assert [event.reserved_units for event in of(outcome, FundReserved)] == [50_000]
    assert exchange.clearing.balance(insurance(1, 1)) == 100_000
    # The price comes back, somebody bids above the take-over price, and the fund gains.
    exchange.place(3, "COIN", Side.BUY, "100", "82")
    exchange.quote("COIN", "83", time_ns=3)
    assert exchange.clearing.balance(insurance(1, 1)) == 100_000 + 100 * 200


def test_an_empty_fund_ends_in_deleveraging_at_the_take_over_price(exchange, trade):
    trade(exchange, 1, 2, "100", "100")
    outcome = exchange.quote("COIN", "75", time_ns=2)
    (share,) = of(outcome, Deleveraged)
    assert (share.account, share.size_lots, share.price_ticks, share.haircut_units) == (2, -100, 80, 50_000)
    (done,) = of(outcome, DeleveragingDone)
    assert (done.severity_units, done.haircut_units, done.overshoot_units, done.unplaced_lots) == (50_000, 50_000, 0, 0)
    assert exchange.clearing.pool(2, 1).wallet_units == 200_000 + 100 * 2_000
    assert exchange.clearing.pool(HOUSE, 1).exposures == ()


def test_a_fund_that_pays_for_part_leaves_part_to_the_winners(exchange, trade):
    exchange.capital("USD", "200")
    trade(exchange, 1, 2, "100", "100")
    outcome = exchange.quote("COIN", "75", time_ns=2)
    (done,) = of(outcome, DeleveragingDone)
    # A loss of 500 against 200: three fifths of the position.
    assert (done.size_lots, done.severity_units) == (60, 30_000)
    (inventory,) = exchange.clearing.pool(HOUSE, 1).exposures
    assert (inventory.position_id, inventory.size_lots) == (INVENTORY_LONG, 40)


def test_when_winners_cannot_bear_it_the_market_settles_and_the_loss_is_shared(exchange_of, trade):
    """Account 2 wins here and loses as much in another market at the same moment: its pool can bear only a part."""
    exchange = exchange_of(second_market=True)
    for account, amount in ((1, "2000"), (2, "2000"), (3, "20000")):
        exchange.deposit(account, "USD", amount)
    quote_both(exchange, 100, 1)
    trade(exchange, 1, 2, "100", "100")
    trade(exchange, 2, 3, "100", "100", "OTHER")
    outcome = quote_both(exchange, 50, 2)
    # What account 2 has left after sharing the loss does not carry its other position, so that one goes as well.
    assert [(taken.account, taken.market, taken.price_ticks) for taken in of(outcome, TakenOver)] == [
        (1, 1, 80),
        (2, 2, 50),
    ]
    # A close at 80 costs a winner 30 a lot against the mark; 2,000 of equity bear 66 lots.
    (done,) = of(outcome, DeleveragingDone)
    assert (done.size_lots, done.unplaced_lots) == (100, 34)
    assert [event.state for event in of(outcome, MarketStateChanged)] == [MarketState.SETTLING, MarketState.SETTLED]
    # 34 lots lost 30 each: 1,020. Account 2 gives the 20 that its pool has left, then the whole asset shares.
    shares = [(event.account, event.amount_units) for event in of(outcome, LossSocialized)]
    assert shares == [(2, 2_000), (3, 100_000)]
    assert exchange.clearing.need(2, 1).equity_units == 0
    assert exchange.clearing.totals(1).ccp_units == 0
    assert exchange.place(3, "COIN", Side.BUY, "1", "50").rejected is RejectReason.MARKET_STATE
    assert exchange.place(3, "OTHER", Side.BUY, "1", "50").rejected is None


def test_what_the_work_limit_leaves_goes_first_next_time_and_stays_locked(exchange_of, trade):
    exchange = exchange_of(limits={"work_max": 2})
    for account in (1, 2, 3, 4):
        exchange.deposit(account, "USD", "4000" if account == 4 else "1000")
    exchange.capital("USD", "100000")
    exchange.quote("COIN", "100", time_ns=1)
    for account in (1, 2, 3):
        trade(exchange, account, 4, "50", "100")
    outcome = exchange.quote("COIN", "79", time_ns=2)
    assert [taken.account for taken in of(outcome, TakenOver)] == [1, 2]
    # The next command works one step first, whatever it is; here it is the order of the pool that waits.
    outcome = exchange.place(3, "COIN", Side.BUY, "1", "79")
    assert [taken.account for taken in of(outcome, TakenOver)] == [3]
    assert outcome.rejected is RejectReason.ACCOUNT_LOCKED


def test_a_frozen_index_liquidates_nobody(exchange, trade):
    trade(exchange, 1, 2, "100", "100")
    outcome = exchange.quote("COIN", {1: "60", 2: "60"}, time_ns=1_000 * 10**9)
    assert not of(outcome, TakenOver)
    outcome = exchange.quote("COIN", {1: "60", 2: "60", 3: "60"}, time_ns=1_001 * 10**9)
    assert of(outcome, TakenOver)


def test_a_pool_in_breach_loses_its_orders_before_anything_trades(exchange, trade):
    trade(exchange, 1, 2, "100", "100")
    exchange.place(1, "COIN", Side.BUY, "1", "70")
    outcome = exchange.quote("COIN", "80", time_ns=2)
    kinds = [type(event) for event in outcome.events]
    assert kinds.index(OrderCancelled) < kinds.index(TakenOver)
    assert exchange.clearing.orders(1, Side.BUY) == ()


def test_the_fee_of_a_close_on_the_book_reaches_the_fund_at_once(exchange_of, trade):
    exchange = exchange_of(market={"liquidation_fee": "1%"})
    for account in (1, 2, 3):
        exchange.deposit(account, "USD", "2000")
    exchange.quote("COIN", "100", time_ns=1)
    trade(exchange, 1, 2, "150", "100")
    exchange.place(3, "COIN", Side.BUY, "100", "92")
    outcome = exchange.quote("COIN", "92", time_ns=2)
    assert not of(outcome, TakenOver)
    # 42 lots at 92, one percent: 38.64.
    assert exchange.clearing.balance(insurance(1, 1)) == 3_864
