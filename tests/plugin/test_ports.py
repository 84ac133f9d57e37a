"""Ports, hooks and configuration keys name the same twelve places."""

from __future__ import annotations

import inspect

import attrs
import pytest

from perpkit.engine.config import ExchangeConfig, _ExchangeTable, _MarketTable
from perpkit.plugin import BOOK, FEES, PORTS, PerpkitSpecs
from perpkit.ports import MarketContext, OrderBook


def test_each_port_has_a_documented_hook_and_each_hook_a_port():
    hooks = [name for name in vars(PerpkitSpecs) if name.startswith("perpkit_")]
    assert sorted(hooks) == sorted(port.hook for port in PORTS)
    for port in PORTS:
        token = port.key.upper()
        assert f"`{token}.provider`" in inspect.getdoc(getattr(PerpkitSpecs, port.hook)), port.hook


def test_each_port_can_be_chosen_for_an_exchange():
    assert [field.name for field in attrs.fields(_ExchangeTable) if field.name not in {p.key for p in PORTS}] == []
    assert len(attrs.fields(_ExchangeTable)) == len(PORTS)


def test_the_ports_of_a_market_and_no_others_can_be_chosen_for_a_market():
    keys = {field.name for field in attrs.fields(_MarketTable)}
    assert {port.key for port in PORTS if port.key in keys} == {
        port.key for port in PORTS if port.context is MarketContext
    }


def test_a_port_knows_the_members_of_its_protocol():
    assert BOOK.members == {"plan", "commit", "reduce", "best", "levels", "orders", "load"}
    assert FEES.missing(object()) == ("rate_ppb",)
    for port in PORTS:
        assert port.members, port.key
    assert all(inspect.getdoc(getattr(OrderBook, member)) for member in BOOK.members)


def test_the_defaults_of_the_exchange_are_the_documented_ones(config_text):
    text = config_text()
    bare = text[text.index("[assets") :]
    config = ExchangeConfig.from_text(bare)
    chosen = {port.key: config.selection(port.key).provider for port in PORTS if port.key != "order_checks"}
    assert chosen == {
        "clearing": "reference",
        "margin": "tiered",
        "liquidation": "stepped",
        "deleveraging": "ranked",
        "insurance": "pool",
        "custody": "vault",
        "journal": "memory",
        "book": "price-time",
        "index_price": "weighted",
        "mark_price": "index",
        "funding": "premium",
        "fees": "maker-taker",
    }
    assert config.order_checks(1) == ()
    with pytest.raises(KeyError):
        config.selection("order_checks")
