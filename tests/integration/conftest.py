"""An exchange small enough to work out by hand."""

import copy

import pytest

from perpkit import Exchange, Side

TABLES = {
    "exchange": {"funding": "none", "fees": {"provider": "maker-taker", "options": {"maker": "0", "taker": "0"}}},
    "assets": {"USD": {"id": 1, "unit": "0.01", "deposits_max": "1000000000"}},
    "markets": {
        "COIN": {
            "id": 1,
            "kind": "linear",
            "settlement": "USD",
            "tick": "1",
            "lot": "1",
            "price_min": "1",
            "price_max": "10000",
            "order_max": "100000",
            "open_interest_max": "1000000",
            "brackets": [
                {"up_to": "10000", "initial": "10%", "maintenance": "5%"},
                {"up_to": "50000", "initial": "20%", "maintenance": "10%"},
                {"up_to": "10000000", "initial": "40%", "maintenance": "20%"},
            ],
        }
    },
}


@pytest.fixture
def exchange_of():
    """Return a function that composes the exchange with changes to [exchange], [limits] and the market."""

    def build(*, market=None, limits=None, second_market=False, **exchange):
        tables = copy.deepcopy(TABLES)
        tables["exchange"] |= exchange
        tables["markets"]["COIN"] |= market or {}
        tables["limits"] = limits or {}
        if second_market:
            tables["markets"]["OTHER"] = tables["markets"]["COIN"] | {"id": 2}
        return Exchange.of(tables)

    return build


@pytest.fixture
def exchange(exchange_of):
    """The exchange with accounts 1 to 4, 2,000 USD each, and the index at 100."""
    opened = exchange_of()
    for account in (1, 2, 3, 4):
        opened.deposit(account, "USD", "2000")
    opened.quote("COIN", "100", time_ns=1)
    return opened


@pytest.fixture
def trade():
    """Return a function that lets two accounts trade at a price."""

    def between(exchange, buyer, seller, size, price, market="COIN"):
        assert exchange.place(seller, market, Side.SELL, size, price).rejected is None
        outcome = exchange.place(buyer, market, Side.BUY, size, price)
        assert outcome.rejected is None, outcome.rejected
        assert len(outcome.fills) == 2
        return outcome

    return between
