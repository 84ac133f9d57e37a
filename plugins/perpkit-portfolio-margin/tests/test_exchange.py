"""A whole exchange under portfolio margin: it trades, liquidates, and its books balance."""

import pytest
from hypothesis import given, settings

import perpkit_portfolio_margin
from perpkit import Exchange, Registry, RejectReason, Side
from perpkit.errors import OptionsError
from perpkit.model.command import Command, IndexQuotes
from perpkit.model.event import LiquidationEnded, LiquidationStarted
from perpkit.plugin import MARGIN
from perpkit.testing.builders import KINDS, exchange, market_table
from perpkit.testing.strategies import order_streams, quotes_of
from perpkit_portfolio_margin import PortfolioMargin

REGISTRY = Registry.of(perpkit_portfolio_margin)
BRACKETS = [{"up_to": "1000000", "initial": "16%", "maintenance": "12%"}]
FREE = {"provider": "maker-taker", "options": {"maker": "0", "taker": "0"}}
BUY, SELL = Side.BUY, Side.SELL


def hedged(margin: str, deposit: str = "2000") -> Exchange:
    """Return an exchange whose account 1 asked to be long 100 in one market and short 60 in the other, at 100."""
    made = exchange(
        market_table(id=1, brackets=BRACKETS),
        market_table(id=2, brackets=BRACKETS),
        deposits={1: deposit, 2: "1000000"},
        registry=REGISTRY,
        margin=margin,
        fees=FREE,
        funding="none",
    )
    for market, side, size in (("PERP-1", BUY, 100), ("PERP-2", SELL, 60)):
        made.place(2, market, side.opposite, size, 100)
        made.place(1, market, side, size, 100)
    return made


def sizes(made: Exchange, account: int = 1) -> dict[int, int]:
    return {each.market: each.size_lots for each in made.clearing.pool(account, 1).exposures if each.size_lots}


def quote(made: Exchange, first: int, second: int) -> list[object]:
    """Move both marks in one command."""
    outcome = made.apply(IndexQuotes(quotes=quotes_of({1: first, 2: second}, 2, sources=5), time_ns=2))
    return [event for event in outcome.events if isinstance(event, LiquidationStarted | LiquidationEnded)]


def test_a_configuration_picks_it_by_name_and_says_what_it_can() -> None:
    provider = REGISTRY.get(MARGIN, "portfolio")
    assert provider.build is PortfolioMargin
    assert provider.capabilities == {"portfolio"}
    assert [entry.provider for entry in hedged("portfolio").manifest.entries if entry.port == "margin"] == ["portfolio"]


def test_options_that_make_no_sense_are_blamed_on_their_place_in_the_configuration() -> None:
    with pytest.raises(OptionsError, match=r"exchange\.margin\.options.*expected shocks"):
        exchange(registry=REGISTRY, margin={"provider": "portfolio", "options": {"shocks_ppb": [0]}})


def test_a_hedge_is_opened_with_what_tiered_margin_would_refuse() -> None:
    assert sizes(hedged("portfolio")) == {1: 100, 2: -60}
    assert sizes(hedged("tiered")) == {1: 100}


def test_what_a_hedge_does_not_need_may_be_withdrawn() -> None:
    made = hedged("portfolio")
    assert made.withdraw(1, "COIN", "1377", withdrawal_id=1).rejected is RejectReason.INSUFFICIENT_MARGIN
    assert made.withdraw(1, "COIN", "1376", withdrawal_id=2).rejected is None


def test_an_order_that_uncovers_a_leg_needs_the_margin_of_that_leg() -> None:
    """Selling the long leaves a short of 6,000, which needs 936."""
    made = hedged("portfolio")
    made.withdraw(1, "COIN", "1065", withdrawal_id=1)
    made.place(2, "PERP-1", BUY, 100, 100)
    assert made.place(1, "PERP-1", SELL, 100, 100).rejected is RejectReason.INSUFFICIENT_MARGIN
    made.deposit(1, "COIN", "1")
    assert made.place(1, "PERP-1", SELL, 100, 100).fills


def test_a_hedge_survives_a_fall_of_both_markets_and_not_of_one() -> None:
    """Both at 57: equity 280, need 274. The first at 83: equity 300, floor 286; at 82 200 against 284."""
    for fallen in ((57, 57), (83, 100)):
        made = hedged("portfolio")
        assert quote(made, *fallen) == []
        assert sizes(made) == {1: 100, 2: -60}
    for fallen in ((56, 56), (82, 100)):
        made = hedged("portfolio")
        assert [type(event) for event in quote(made, *fallen)] == [LiquidationStarted, LiquidationEnded]
        assert 1 not in sizes(made)


def test_after_a_liquidation_the_books_balance() -> None:
    made = hedged("portfolio")
    quote(made, 70, 100)
    completed, findings = made.audit()
    assert completed.breaches == 0
    assert findings == []
    assert sizes(made) == {}


@settings(max_examples=25)
@given(stream=order_streams(market_ids=(1, 2, 3)))
def test_whatever_is_traded_no_part_is_at_fault_and_the_books_balance(stream: list[Command]) -> None:
    """In a market of each kind; the laws are checked after every command, and all is counted again at the end."""
    made = exchange(
        *(market_table(kind, id=number) for number, kind in enumerate(KINDS, start=1)),
        deposits=dict.fromkeys((1, 2, 3, 4), "20000"),
        registry=REGISTRY,
        margin="portfolio",
    )
    for command in stream:
        assert made.apply(command).fault == ""
    assert made.halted == ""
    assert made.audit()[1] == []
