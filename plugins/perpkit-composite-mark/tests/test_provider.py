"""An exchange picks the composite by name, and the composite picks its own marks by name."""

import pytest

import perpkit_composite_mark
from perpkit import Exchange, PluginError, Registry, Side
from perpkit.engine.compose import compose
from perpkit.engine.config import ExchangeConfig
from perpkit.model.event import MarkUpdated
from perpkit.model.price import PriceState, PricingInputs
from perpkit.testing.builders import index, market_context, tables
from perpkit.units import HOUR_NS
from perpkit_composite_mark.part import CompositeMark, CompositeMarkOptions, _median

REGISTRY = Registry.of(perpkit_composite_mark)


def composite(*of: object) -> dict[str, object]:
    return tables(mark_price={"provider": "composite", "options": {"of": list(of)}})


def test_the_manifest_names_the_marks_that_it_stands_on() -> None:
    config = ExchangeConfig.from_dict(composite("index", "fair-basis"))
    entries = compose(config, REGISTRY).manifest.entries
    assert [entry.provider for entry in entries if entry.port == "mark_price"] == ["index", "fair-basis", "composite"]


def test_an_exchange_trades_with_it() -> None:
    exchange = Exchange.of(composite("index", "fair-basis", "index"), REGISTRY)
    exchange.deposit(1, "COIN", "100000")
    exchange.deposit(2, "COIN", "100000")
    (marked,) = (e for e in exchange.quote("PERP-1", "100", time_ns=HOUR_NS).events if isinstance(e, MarkUpdated))
    assert marked.price_ticks == 100
    exchange.place(1, "PERP-1", Side.SELL, 10, 100)
    assert exchange.place(2, "PERP-1", Side.BUY, 10, 100).fills


def test_a_mark_that_stands_on_itself_is_refused() -> None:
    with pytest.raises(PluginError, match="does not stand on itself"):
        Exchange.of(composite("index", "composite"), REGISTRY)


def test_a_mark_that_nobody_offers_is_named() -> None:
    with pytest.raises(PluginError, match=r"expected mark_price to be one of .*; was 'nobody'"):
        Exchange.of(composite("nobody"), REGISTRY)


def test_it_is_as_unsure_as_the_least_sure() -> None:
    mark = CompositeMark(market_context(), CompositeMarkOptions(of=["index", "index", "index"]))
    found = mark.update(PricingInputs(index=index(100, state=PriceState.FROZEN), at_ns=0))
    assert found.state is PriceState.FROZEN


def test_it_is_own_book_free_only_when_all_are() -> None:
    context = market_context()
    assert CompositeMark(context, CompositeMarkOptions(of=["index"])).own_book_free
    assert not CompositeMark(context, CompositeMarkOptions(of=["index", "fair-basis"])).own_book_free


@pytest.mark.parametrize(
    ("prices", "median"), [([7], 7), ([9, 1], 5), ([1, 2], 2), ([2, 3], 2), ([900, 100, 101], 101), ([4, 1, 3, 2], 2)]
)
def test_the_median_is_the_one_in_the_middle(prices: list[int], median: int) -> None:
    assert _median(prices) == median
