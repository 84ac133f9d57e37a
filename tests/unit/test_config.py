"""A configuration is read exactly, or refused with the place of what is wrong."""

from __future__ import annotations

import hashlib
import tomllib

import pytest

from perpkit.engine.config import ExchangeConfig, Selection
from perpkit.engine.structure import digest
from perpkit.errors import ConfigError
from perpkit.model.market import ContractKind, ValueRounding
from perpkit.ports import Limits

TEXT = """
[exchange]
liquidation = { provider = "takeover", options = { grace = 2 } }
order_checks = ["price-band"]

[assets.XBT]
id = 1
unit = "0.00000001"
deposits_max = "21000000"

[assets.USDT]
id = 2
unit = "0.000001"
deposits_max = "1000000000000"

[markets.XBTUSD]
id = 7
kind = "inverse"
settlement = "XBT"
tick = "0.5"
lot = "1"
value_rounding = "unit"
price_min = "500"
price_max = "100000"
order_max = "10000000"
open_interest_max = "1000000000"
liquidation_fee = "0.5%"
brackets = [
  { up_to = "100", initial = "1%", maintenance = "0.5%" },
  { up_to = "200", initial = "1.5%", maintenance = "1%" },
]

[markets.ETHUSD]
id = 3
kind = "quanto"
settlement = "XBT"
tick = "0.05"
lot = "1"
multiplier = "0.000001"
price_min = "1"
price_max = "10000"
order_max = "10000000"
open_interest_max = "100000000"
orders_max = 100
brackets = [{ up_to = "50", initial = "2%", maintenance = "1%" }]
book = "deep"
order_checks = []

[markets.BTCUSDT]
id = 4
kind = "linear"
settlement = "USDT"
tick = "0.1"
lot = "0.001"
price_min = "100"
price_max = "1000000"
order_max = "1000"
open_interest_max = "100000"
market_slippage = "10%"
brackets = [{ up_to = "1000000", initial = "0.8%", maintenance = "0.4%" }]
"""


def changed(old, new, text=TEXT):
    assert old in text, old
    return text.replace(old, new, 1)


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        ExchangeConfig.from_text(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def config():
    return ExchangeConfig.from_text(TEXT)


def test_an_inverse_lot_is_worth_its_size_over_the_price(config):
    market = config.markets[7]
    assert (market.name, market.kind, market.value_rounding) == ("XBTUSD", ContractKind.INVERSE, ValueRounding.UNIT)
    # One contract of 1 USD at 10,000 USD (20,000 ticks) is 0.0001 XBT: 10,000 units.
    assert market.value(1, 20_000) == -10_000
    assert market.value(-3, 20_000) == 30_000


def test_a_quanto_lot_is_worth_its_multiplier_times_the_price(config):
    market = config.markets[3]
    # 0.000001 XBT a dollar: at 200.05 USD (4,001 ticks) 0.00020005 XBT.
    assert market.value(1, 4_001) == 20_005
    assert (market.numerator, market.denominator) == (5, 1)


def test_a_linear_lot_is_worth_its_size_times_the_price(config):
    market = config.markets[4]
    # 0.001 BTC at 50,000.1 USDT (500,001 ticks) is 50.0001 USDT.
    assert market.value(1, 500_001) == 50_000_100
    assert market.value_rounding is ValueRounding.FILL


def test_bounds_and_brackets_are_counted_in_the_units_of_the_market(config):
    market = config.markets[7]
    assert (market.price_min_ticks, market.price_max_ticks) == (1_000, 200_000)
    assert (market.order_max_lots, market.open_interest_max_lots) == (10_000_000, 1_000_000_000)
    first, second = market.brackets
    assert (first.up_to_units, first.initial_ppb, first.maintenance_ppb) == (100 * 10**8, 10_000_000, 5_000_000)
    assert second.up_to_units == 200 * 10**8
    assert config.markets[4].order_max_lots == 1_000_000


def test_what_is_left_out_has_a_default(config):
    inverse, quanto, linear = (config.markets[market] for market in (7, 3, 4))
    assert (inverse.orders_max, quanto.orders_max) == (200, 100)
    assert (inverse.withdrawal_stress_ppb, inverse.trigger_band_ppb) == (10_000_000, 50_000_000)
    assert (inverse.market_slippage_ppb, linear.market_slippage_ppb) == (50_000_000, 100_000_000)
    assert (inverse.liquidation_fee_ppb, linear.liquidation_fee_ppb) == (5_000_000, 0)
    assert config.limits == Limits()


def test_markets_and_assets_stand_in_the_order_of_their_ids(config):
    assert list(config.markets) == [3, 4, 7]
    assert [asset.name for asset in config.assets.values()] == ["XBT", "USDT"]
    assert config.assets[1].deposits_max_units == 21 * 10**14
    assert config.markets[4].settlement == 2


def test_limits_may_be_set():
    limits = ExchangeConfig.from_text(TEXT + "[limits]\nwork_max = 5\n").limits
    assert limits == Limits(work_max=5)


def test_a_market_chooses_before_the_exchange_and_the_exchange_before_the_default(config):
    assert config.selection("book", 3) == Selection("deep")
    assert config.selection("book", 7) == config.selection("book") == Selection("price-time")
    assert config.selection("liquidation") == Selection("takeover", {"grace": 2})
    assert config.selection("liquidation", 7) == config.selection("liquidation")
    assert config.selection("custody") == Selection("vault")


def test_a_market_may_replace_the_order_checks_also_by_none(config):
    assert config.order_checks(7) == (Selection("price-band"),)
    assert config.order_checks(3) == ()


def test_a_selection_knows_where_it_stands(config):
    assert config.selection("book", 3).where == "markets.ETHUSD.book"
    assert config.selection("book", 7).where == "exchange.book"
    assert config.order_checks(7)[0].where == "exchange.order_checks[0]"


def test_text_file_and_tables_give_the_same_configuration(config, tmp_path):
    path = tmp_path / "exchange.toml"
    path.write_text("\ufeff" + TEXT.replace("\n", "\r\n"), "utf-8")
    for other in (ExchangeConfig.from_toml(path), ExchangeConfig.from_dict(tomllib.loads(TEXT))):
        assert other.markets == config.markets
        assert other.assets == config.assets
        assert other.config_digest() == config.config_digest()


def test_the_source_can_be_written_down_and_read_again(config):
    again = ExchangeConfig.from_dict(config.source)
    assert again.config_digest() == config.config_digest()
    assert again.markets == config.markets


def test_the_source_is_a_copy():
    tables = tomllib.loads(TEXT)
    config = ExchangeConfig.from_dict(tables)
    before = config.config_digest()
    tables["markets"]["XBTUSD"]["tick"] = "5"
    assert config.config_digest() == before


def test_the_digest_ignores_layout_and_order_but_no_value(config):
    tables = tomllib.loads(TEXT)
    backwards = {key: dict(reversed(table.items())) for key, table in reversed(tables.items())}
    assert ExchangeConfig.from_dict(backwards).config_digest() == config.config_digest()
    assert ExchangeConfig.from_text(changed("0.5%", "0.4%")).config_digest() != config.config_digest()


def test_the_digest_is_that_of_sorted_json_without_blanks():
    assert digest({"b": 1, "a": ["é", True]}) == hashlib.sha256(b'{"a":["\\u00e9",true],"b":1}').hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'tick = "0.5"',
            "tick = 0.5",
            "markets.XBTUSD.tick: expected text, a whole number, true or false, was float 0.5",
        ),
        (
            'tick = "0.5"',
            "tick = 2026-01-01",
            "markets.XBTUSD.tick: expected text, a whole number, true or false, was date",
        ),
        ('tick = "0.5"', "tick = true", "markets.XBTUSD.tick: expected text, int or Decimal, was bool True"),
        ('tick = "0.5"', 'tick = "half"', "markets.XBTUSD.tick: expected a decimal number, was 'half'"),
        ('tick = "0.5"', 'tick = "-0.5"', "markets.XBTUSD.tick: expected a positive step, was '-0.5'"),
        ('tick = "0.5"\n', "", "markets.XBTUSD.tick: expected a value, was missing"),
        ('tick = "0.5"', 'tik = "0.5"', "expected no key 'tik' here; did you mean 'tick'?"),
        (
            'kind = "inverse"',
            'kind = "spot"',
            "markets.XBTUSD.kind: expected one of linear, inverse, quanto; was 'spot'",
        ),
        ('kind = "inverse"', "kind = 2", "markets.XBTUSD.kind: expected one of linear, inverse, quanto; was 2"),
        ('"unit"', '"half"', "markets.XBTUSD.value_rounding: expected one of fill, unit; was 'half'"),
        (
            'settlement = "XBT"',
            'settlement = "XBTC"',
            "markets.XBTUSD.settlement: expected an asset, one of XBT, USDT; ",
        ),
        ("id = 7", 'id = "7"', "markets.XBTUSD.id: expected int, was str '7'"),
        ("id = 7", "id = true", "markets.XBTUSD.id: expected int, was bool True"),
        ("id = 7", "id = 0", "markets.XBTUSD.id: expected a positive int below 2^32, was 0"),
        ("id = 7", "id = 3", "markets.ETHUSD.id: expected an id of its own, was 3, which markets.XBTUSD has"),
        ("id = 2", "id = 1", "assets.USDT.id: expected an id of its own, was 1, which assets.XBT has"),
        ('lot = "1"', 'lot = "1"\nmultiplier = "0"', "markets.XBTUSD.multiplier: expected a positive step, was '0'"),
        ('price_min = "500"', 'price_min = "0"', "markets.XBTUSD.price_min: expected more than 0, was '0'"),
        (
            'price_min = "500"',
            'price_min = "500.3"',
            "markets.XBTUSD.price_min: expected a multiple of 0.5, was '500.3'",
        ),
        (
            'price_min = "500"',
            'price_min = "200000"',
            "markets.XBTUSD.price_max: expected at least price_min, was '100000'",
        ),
        (
            'order_max = "10000000"',
            'order_max = "1.5"',
            "markets.XBTUSD.order_max: expected a multiple of 1, was '1.5'",
        ),
        ("orders_max = 100", "orders_max = 0", "markets.ETHUSD.orders_max: expected more than 0, was 0"),
        (
            '"0.5%"\nbrackets',
            '"101%"\nbrackets',
            'markets.XBTUSD.liquidation_fee: expected between "0%" and "100%", was',
        ),
        ('market_slippage = "10%"', 'market_slippage = "-1%"', "markets.BTCUSDT.market_slippage: expected between"),
        ('market_slippage = "10%"', 'withdrawal_stress = "-1%"', "markets.BTCUSDT.withdrawal_stress: expected between"),
        ('market_slippage = "10%"', 'trigger_band = "101%"', "markets.BTCUSDT.trigger_band: expected between"),
        ('up_to = "200"', 'up_to = "50"', "markets.XBTUSD: expected brackets of rising up_to"),
        ('up_to = "200", ', "", "markets.XBTUSD.brackets[1].up_to: expected a value, was missing"),
        ('"1.5%"', '"x"', "markets.XBTUSD.brackets[1].initial: expected a decimal number, was 'x'"),
        ('"1.5%"', '"0.5%"', "markets.XBTUSD: expected 0 <= maintenance <= initial <= 1 in each bracket"),
        ('[{ up_to = "50", initial = "2%", maintenance = "1%" }]', "[]", "markets.ETHUSD: expected brackets of rising"),
        (
            '[{ up_to = "50", initial = "2%", maintenance = "1%" }]',
            '"x"',
            "markets.ETHUSD.brackets: expected a list, was",
        ),
        (
            'open_interest_max = "1000000000"',
            'open_interest_max = "1e14"',
            "markets.XBTUSD: expected open_interest_max_lots",
        ),
        (
            'deposits_max = "21000000"',
            'deposits_max = "3e10"',
            "assets.XBT.deposits_max: expected less than 23058430092.1369",
        ),
        (
            'book = "deep"',
            "book = 3",
            "markets.ETHUSD.book: expected a name or { provider = NAME, options = { … } }, was 3",
        ),
        (
            'book = "deep"',
            'book = { provider = "a", where = "x" }',
            "markets.ETHUSD.book: expected no key 'where' here",
        ),
        ('book = "deep"', "book = { options = {} }", "markets.ETHUSD.book.provider: expected a value, was missing"),
        ('book = "deep"', 'margin = "step"', "markets.ETHUSD: expected no key 'margin' here"),
        ("grace = 2", "grace = 2.5", "exchange.liquidation.options.grace: expected text, a whole number"),
        ('["price-band"]', '"price-band"', "exchange.order_checks: expected a list, was str 'price-band'"),
        ("[exchange]", '[exchange]\nboook = "x"', "exchange: expected no key 'boook' here; did you mean 'book'?"),
        ("[exchange]", "[exchang]", "configuration: expected no key 'exchang' here; did you mean 'exchange'?"),
        (
            "[exchange]",
            "[limits]\nwork_share_percent = 101\n[exchange]",
            "limits.work_share_percent: expected more than 0 ",
        ),
        ("[exchange]", "[limits]\nwork_max = 0\n[exchange]", "limits.work_max: expected more than 0, was 0"),
        (
            "[exchange]",
            "[limits]\norders_per_second = -1\n[exchange]",
            "limits.orders_per_second: expected 0 or more, was -1",
        ),
        ("[exchange]", "[limits]\norders_burst = 0\n[exchange]", "limits.orders_burst: expected more than 0, was 0"),
        ("[exchange]", '[limits]\nwork_max = "9"\n[exchange]', "limits.work_max: expected int, was str '9'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(old, new, told):
    assert told in complaint(changed(old, new))


def test_every_complaint_about_the_shape_is_told_at_once():
    text = changed('kind = "linear"', 'kind = "spot"', changed('lot = "1"\n', ""))
    assert complaint(text) == (
        "markets.XBTUSD.lot: expected a value, was missing; "
        "markets.BTCUSDT.kind: expected one of linear, inverse, quanto; was 'spot'"
    )


def test_a_float_is_answered_with_how_to_write_it():
    assert complaint(changed('tick = "0.5"', "tick = 0.5")).endswith('was float 0.5; write it in quotes: "0.5"')


@pytest.mark.parametrize("tables", [{}, {"assets": {}, "markets": {}}, {"assets": [], "markets": {}}])
def test_an_exchange_needs_an_asset_and_a_market(tables):
    with pytest.raises(ConfigError, match=r"^assets: expected a (value|table)|^assets: expected at least one table"):
        ExchangeConfig.from_dict(tables)


def test_keys_of_tables_are_text():
    with pytest.raises(ConfigError, match="markets: expected text as a key, was 1"):
        ExchangeConfig.from_dict({"markets": {1: {}}})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[exchange]\nbook =\n", "line 2, column 7: expected TOML: Invalid value"),
        ("[exchange]\nbook = [1,", "line 2, column 11: expected TOML: "),
        ("a = 1\na = 2\n", "line 2, column 6: expected TOML: Cannot overwrite a value"),
        ("a = " + "[" * 100_000, "line 1, column 100005: expected TOML: "),
    ],
)
def test_what_is_not_toml_is_refused_with_line_and_column(text, told):
    assert complaint(text).startswith(told)


def test_the_file_is_named_in_every_complaint(tmp_path):
    path = tmp_path / "exchange.toml"
    for content, told in [
        (b"[exchange\n", "line 1, column 10: expected TOML: "),
        (changed("id = 7", "id = 0").encode(), "markets.XBTUSD.id: "),
        (b"\xff\xfe", "expected a readable TOML file in UTF-8"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            ExchangeConfig.from_toml(path)
        assert str(caught.value).startswith(f"{path}: {told}")
    with pytest.raises(ConfigError, match="expected a readable TOML file"):
        ExchangeConfig.from_toml(tmp_path)
