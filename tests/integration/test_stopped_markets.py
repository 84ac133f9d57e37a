"""Law 5: where a market is halted or its mark frozen, nothing is liquidated and no funding runs."""

import pytest

from perpkit import MarketState, RejectReason, Side
from perpkit.model.command import IndexQuotes, SetMarketState
from perpkit.model.event import FundingAccrued, TakenOver
from perpkit.model.price import Quote

HOUR_NS = 3_600 * 10**9


def taken(outcome):
    return [(event.account, event.market) for event in outcome.events if isinstance(event, TakenOver)]


def halt(exchange, market, time_ns):
    state = SetMarketState(market=market, state=MarketState.HALTED, time_ns=time_ns)
    assert exchange.apply(state).rejected is None


def quotes(prices, sources, time_ns):
    """Quote several markets at one stamp, each from so many sources."""
    return IndexQuotes(
        quotes=tuple(
            Quote(market=market, source=source, price_ticks=price, weight=1, at_ns=time_ns)
            for market, price in prices.items()
            for source in range(1, sources[market] + 1)
        ),
        time_ns=time_ns,
    )


def test_a_halted_market_liquidates_nobody_until_it_opens_again(exchange, trade):
    trade(exchange, 1, 2, "100", "100")
    halt(exchange, 1, 2)
    assert exchange.place(3, "COIN", Side.BUY, "1", "90").rejected is RejectReason.MARKET_STATE
    assert taken(exchange.quote("COIN", "70", time_ns=3)) == []
    exchange.apply(SetMarketState(market=1, state=MarketState.CANCEL_ONLY, time_ns=4))
    assert taken(exchange.quote("COIN", "71", time_ns=5)) == [(1, 1)]


@pytest.mark.parametrize("state", [MarketState.SETTLING, MarketState.SETTLED])
def test_an_operator_cannot_order_the_last_resort(exchange, state):
    assert exchange.apply(SetMarketState(market=1, state=state, time_ns=2)).rejected is RejectReason.MARKET_STATE


def test_a_frozen_mark_takes_no_funding_sample_and_pays_nothing(exchange_of, trade):
    hourly = {"provider": "premium", "options": {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"}}
    exchange = exchange_of(funding=hourly)
    for account in (1, 2):
        exchange.deposit(account, "USD", "2000")
    exchange.quote("COIN", "100", time_ns=1)
    trade(exchange, 1, 2, "10", "100")
    frozen = exchange.apply(quotes({1: 100}, {1: 2}, 2 * HOUR_NS))
    assert [e.rate_ppb for e in frozen.events if isinstance(e, FundingAccrued)] == [0, 0]
    exchange.quote("COIN", "100", time_ns=2 * HOUR_NS + 1)
    paid = exchange.quote("COIN", "100", time_ns=3 * HOUR_NS)
    # No book, so no premium: interest alone, one ten-thousandth.
    assert [e.rate_ppb for e in paid.events if isinstance(e, FundingAccrued)] == [100_000]


def test_a_pool_with_a_frozen_position_is_liquidated_elsewhere_only_when_in_breach_both_ways(exchange_of, trade):
    def opened():
        exchange = exchange_of(second_market=True)
        for account in (1, 2):
            exchange.deposit(account, "USD", "2000" if account == 1 else "20000")
        exchange.apply(quotes({1: 100, 2: 100}, {1: 3, 2: 3}, 1))
        trade(exchange, 1, 2, "60", "100")
        return exchange

    late = 1_000 * 10**9
    # The other market's last good mark says it gained: with it the pool is healthy, so nothing happens.
    exchange = opened()
    trade(exchange, 2, 1, "60", "100", "OTHER")
    assert taken(exchange.apply(quotes({1: 100, 2: 80}, {1: 3, 2: 3}, 2))) == []
    assert taken(exchange.apply(quotes({1: 68, 2: 80}, {1: 3, 2: 1}, late))) == []
    # Without the frozen gain it would be in breach as well; once both are, what still runs is liquidated.
    assert taken(exchange.apply(quotes({1: 40, 2: 80}, {1: 3, 2: 1}, late + 1))) == [(1, 1)]
