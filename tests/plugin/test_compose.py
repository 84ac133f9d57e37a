"""A configuration names providers; composition builds them, checks them and says whose code they are."""

from __future__ import annotations

import attrs
import pytest

from perpkit.engine.compose import build_custody, compose, venue_entries
from perpkit.engine.structure import digest
from perpkit.errors import OptionsError, PluginError, ProviderNotFoundError
from perpkit.plugin import BOOK, FEES, MARGIN, Registry
from perpkit.plugin.registry import BUILTIN


def built(parts):
    return [(part.port, part.context.market.id if hasattr(part.context, "market") else 0) for part in parts.BUILT]


def test_every_part_is_built_once_fees_first_and_clearing_last(config, registry, parts):
    composed = compose(config('order_checks = ["fake", "fake"]', second=True), registry)
    assert built(parts) == [
        ("fees", 1),
        ("fees", 2),
        ("book", 1),
        ("book", 2),
        ("margin", 0),
        *[("order_checks", 1)] * 2,
        *[("order_checks", 2)] * 2,
        ("index_price", 1),
        ("index_price", 2),
        ("mark_price", 1),
        ("mark_price", 2),
        ("funding", 1),
        ("funding", 2),
        ("liquidation", 0),
        ("deleveraging", 0),
        ("insurance", 0),
        ("clearing", 0),
    ]
    assert composed.funding[2].part.context.market.name == "ETH"
    assert composed.liquidation.part.port == "liquidation"


def test_clearing_is_given_the_parts_that_it_composes(config, registry):
    config = config('order_checks = ["fake"]', second=True)
    composed = compose(config, registry)
    given = composed.clearing.context
    assert [given.books[market].part.port for market in (1, 2)] == ["book", "book"]
    assert given.margin.part.port == "margin"
    assert given.fees[1].part.port == "fees"
    assert [check.part.port for check in given.order_checks[2]] == ["order_checks"]
    assert given.exchange is composed.context
    assert given.exchange.markets == config.markets
    assert given.exchange.taker_ppb == {1: 0, 2: 0}


def test_the_manifest_says_whose_code_each_part_is(config, registry):
    options = 'book = { provider = "parts:fake", options = { size = 3 } }'
    entries = compose(config("", options), registry).manifest.entries
    assert [entry.port for entry in entries][:2] == ["fees", "book"]
    assert attrs.asdict(entries[1]) == {
        "port": "book",
        "market": "BTC",
        "provider": "fake",
        "distribution": "parts",
        "version": "given",
        "api": 0,
        "options_digest": digest({"size": 3}),
    }
    assert {entry.market for entry in entries if entry.port in {"margin", "clearing"}} == {""}


def test_a_market_may_choose_a_part_of_its_own(config, registry, parts):
    compose(config("", 'book = { provider = "fake", options = { label = "own" } }', second=True), registry)
    labels = {part.context.market.name: part.options.label for part in parts.BUILT if part.port == "book"}
    assert labels == {"BTC": "own", "ETH": ""}


def test_order_checks_are_asked_in_configured_order(config, registry, parts):
    checks = ", ".join(f'{{ provider = "fake", options = {{ label = "{label}" }} }}' for label in "cab")
    composed = compose(config("", f"order_checks = [{checks}]"), registry)
    assert [check.part.options.label for check in composed.clearing.context.order_checks[1]] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("sizes = 3", "markets.BTC.book.options: expected no key 'sizes' here; did you mean 'size'?"),
        ('size = "3"', "markets.BTC.book.options.size: expected int, was str '3'"),
        ("size = true", "markets.BTC.book.options.size: expected int, was bool True"),
        ("label = 3", "markets.BTC.book.options.label: expected str, was int 3"),
        ('tags = "abc"', "markets.BTC.book.options.tags: expected a list, was str 'abc'"),
        ("loud = 1", "markets.BTC.book.options.loud: expected bool, was int 1"),
        ("mode = 2", "markets.BTC.book.options.mode: expected one of plain, last-price; was 2"),
        ("level = 1", "markets.BTC.book.options.level: expected one of low; was 1"),
        ('tags = ["a", 1]', "markets.BTC.book.options.tags[1]: expected str, was int 1"),
    ],
)
def test_options_have_to_fit_the_class_that_the_provider_names(config, registry, options, told):
    chosen = config("", f'book = {{ provider = "fake", options = {{ {options} }} }}')
    with pytest.raises(OptionsError) as caught:
        compose(chosen, registry)
    assert str(caught.value) == told


def test_options_arrive_typed(config, registry, parts):
    given = 'size = 2, tags = ["a"], loud = true, mode = "last-price", level = "low"'
    compose(config("", f'book = {{ provider = "fake", options = {{ {given} }} }}'), registry)
    (book,) = [part for part in parts.BUILT if part.port == "book"]
    assert book.options == parts.FakeOptions(
        size=2, tags=("a",), loud=True, mode=parts.Mode.LAST_PRICE, level=parts.Level.LOW
    )


def test_options_may_convert_and_check_themselves(config, parts, module):
    plugin = module(
        "checked",
        """
import attrs
from perpkit.plugin import MARGIN, hookimpl
from perpkit.units import ppb

@attrs.frozen(kw_only=True)
class Options:
    rate: int = attrs.field(default="1%", converter=lambda text: ppb(text, "rate"))
    count: int = attrs.field(default=1, validator=attrs.validators.ge(1))

def build(context, options):
    return type("Part", (), dict.fromkeys(MARGIN.members, options))()

@hookimpl
def perpkit_margin_models():
    return [MARGIN.provider(name="checked", build=build, options=Options, summary="checks its options")]
""",
    )
    registry = Registry.of(parts, plugin, builtin=())

    def margin(options):
        text = f'margin = {{ provider = "checked", options = {{ {options} }} }}'
        return compose(config(text, replace="margin"), registry).clearing.context.margin.part

    assert margin('rate = "2.5%"').need.rate == 25_000_000
    with pytest.raises(OptionsError, match=r"^exchange\.margin\.options: 'count' must be >= 1: 0$"):
        margin("count = 0")
    with pytest.raises(OptionsError, match=r"^exchange\.margin\.options.*: rate: expected a decimal number, was 'x'$"):
        margin('rate = "x"')


def test_a_missing_provider_is_named_with_its_place_and_what_there_is(config, registry):
    with pytest.raises(ProviderNotFoundError) as caught:
        compose(config("", 'funding = "fkae"'), registry)
    assert str(caught.value) == (
        "markets.BTC.funding: expected funding to be one of fake; was 'fkae'; did you mean 'fake'?"
    )


def other_book(module, body):
    return module(
        "acme_book",
        f"""
from perpkit.plugin import BOOK, NoOptions, hookimpl
from perpkit.errors import ConfigError, PluginError

class Half:
    plan = commit = reduce = best = levels = print

def build(context, options):
    {body}

@hookimpl
def perpkit_order_books():
    return [BOOK.provider(name="half", build=build, options=NoOptions, summary="")]
""",
    )


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        ("return Half()", PluginError, "expected a part with every member of book, was Half, which lacks load, orders"),
        ("return None", PluginError, "was NoneType, which lacks best, commit,"),
        ("raise ZeroDivisionError('no')", PluginError, "could not be built: ZeroDivisionError: no"),
        ("raise PluginError('does not go with margin')", PluginError, "could not be built: does not go with margin"),
        ("raise ConfigError('band: was x')", OptionsError, "could not be built: band: was x"),
    ],
)
def test_a_part_that_is_not_whole_is_refused_with_the_name_of_its_maker(config, parts, module, body, kind, told):
    registry = Registry.of(parts, other_book(module, body), builtin=())
    with pytest.raises(kind) as caught:
        compose(config("", 'book = "half"'), registry)
    assert str(caught.value).startswith("markets.BTC.book: 'half' of acme_book given (acme_book)")
    assert told in str(caught.value)


@pytest.mark.parametrize("rate", ["0.5", "True", "2_000_000_000", "None"])
def test_a_taker_fee_that_is_no_rate_is_refused(config, parts, monkeypatch, rate):
    build = parts.FakePart.__init__

    def odd(self, port, context, options):
        build(self, port, context, options)
        if port is FEES:
            self.rate_ppb = lambda account, maker: eval(rate)

    monkeypatch.setattr(parts.FakePart, "__init__", odd)
    with pytest.raises(
        PluginError, match=r"'fake' of parts given .*: expected a rate of -1 to 1, in parts per billion"
    ):
        compose(config(), Registry.of(parts, builtin=()))


def test_custody_is_built_only_when_it_is_asked_for(config, registry, parts):
    config = config()
    entry = venue_entries(config, registry)[0]
    compose(config, registry)
    assert "custody" not in [part.port for part in parts.BUILT]
    assert (entry.port, entry.provider, entry.distribution) == ("custody", "fake", "parts")
    custody = build_custody(config, registry)
    assert custody.port == "custody"
    assert custody.context.taker_ppb == {1: 0}


def test_custody_that_is_not_there_does_not_stop_a_replay(config, registry):
    config = config('custody = "lost"', replace="custody")
    compose(config, registry)
    with pytest.raises(ProviderNotFoundError, match=r"^exchange\.custody: expected custody to be one of fake"):
        venue_entries(config, registry)


def test_the_registry_is_a_value_and_nothing_is_shared(parts):
    first, second = Registry.of(parts, builtin=()), Registry.of(builtin=())
    assert first.names(BOOK) == ("fake",)
    assert second.names(BOOK) == ()
    assert first.get(MARGIN, "fake") is not Registry.of(parts, builtin=()).get(MARGIN, "fake")
    assert BUILTIN == ("perpkit.reference", "perpkit.custody", "perpkit.runtime.journal")
