"""From bars to minute quotes: the path, its order of extremes, weights, and who gives no quote."""

from fractions import Fraction

import pytest

from perpkit.simulate.bars import Bar, assemble, comparison_line, minute_quotes, read_bars
from perpkit.simulate.scenarios import scenario
from perpkit.units import HOUR_NS, MINUTE_NS


@pytest.fixture
def market(make_spec):
    return make_spec({"tick": "0.5", "price_min": "1", "price_max": "100000"})


def bar(hour, exchange, prices, volume=1):
    opened, high, low, closed = (Fraction(price) for price in prices)
    return Bar(
        at_ns=hour * HOUR_NS, exchange=exchange, open=opened, high=high, low=low, close=closed, volume=Fraction(volume)
    )


def walk(market, *bars):
    """Return {minute: {source: ticks}} and the weights by minute."""
    quotes = list(minute_quotes(assemble(bars, "test"), market))
    start = quotes[0][0]
    return {(at_ns - start) // MINUTE_NS: {q.source: (q.price_ticks, q.weight) for q in each} for at_ns, each in quotes}


def test_an_hour_has_sixty_quotes_on_three_equal_legs(market):
    path = walk(market, bar(0, "a", (100, 130, 90, 110)), bar(1, "a", (110, 110, 110, 110)))
    assert len(path) == 120
    # The low is nearer to the open than the high: down first, then up, then to the close.
    corners = {minute: path[minute][1][0] for minute in (0, 20, 40, 59)}
    assert corners == {0: 200, 20: 180, 40: 260, 59: 222}  # 130 less 19/20 of 20, to the half: 111


def test_the_nearer_extreme_comes_first_and_a_tie_goes_up(market):
    up = walk(market, bar(0, "a", (100, 110, 90, 100)), bar(1, "a", (100, 100, 100, 100)))
    assert (up[20][1][0], up[40][1][0]) == (220, 180)


def test_all_exchanges_of_a_bar_take_one_order(market):
    """On its own b would go up first; together the way down is shorter."""
    both = walk(
        market,
        bar(0, "a", (100, 150, 99, 100)),
        bar(0, "b", (100, 101, 90, 100)),
        bar(1, "a", (100, 100, 100, 100)),
        bar(1, "b", (100, 100, 100, 100)),
    )
    assert both[20][1][0] == 198
    assert both[20][2][0] == 180


def test_a_quote_weighs_the_volume_of_the_bar_before_and_at_first_its_own(market):
    path = walk(market, bar(0, "a", (10, 10, 10, 10), 3), bar(1, "a", (10, 10, 10, 10), 5))
    assert [path[minute][1][1] for minute in (0, 59, 60, 119)] == [3 * 10**8] * 4
    three = walk(market, *(bar(hour, "a", (10, 10, 10, 10), hour + 1) for hour in range(3)))
    assert three[120][1][1] == 2 * 10**8


def test_a_bar_without_volume_gives_no_quote(market):
    path = walk(market, bar(0, "a", (10, 10, 10, 10)), bar(1, "a", (10, 10, 10, 10), 0))
    assert path[59]
    assert not path[60]


def test_prices_round_half_to_even_on_the_tick(market):
    path = walk(market, bar(0, "a", ("10.25", "10.25", "10.25", "10.25")), bar(1, "a", ("10.75",) * 4))
    assert (path[0][1][0], path[60][1][0]) == (20, 22)


def test_the_comparison_exchange_is_a_line_and_no_source(market):
    bars = [bar(hour, name, (10, 10, 10, 10)) for hour in (0, 1) for name in ("a", "bitmex_xbtusd")]
    path = assemble(bars, "test")
    assert list(path.sources.values()) == ["a"]
    assert len(comparison_line(path, market)) == 120


def test_the_same_bar_twice_is_refused_with_its_line(tmp_path):
    file = tmp_path / "bars.csv"
    row = "2020-03-12T00:00:00Z,a,1,1,1,1,1\n"
    file.write_text("ts,exchange,open,high,low,close,volume\n" + row + row, encoding="utf-8")
    with pytest.raises(Exception, match=r"bars\.csv, line 3, column ts"):
        read_bars([file])


def test_the_stylised_crash_has_five_venues_one_of_them_frozen_for_an_hour(market):
    path = scenario("march-2020")
    assert len(path.sources) == 5
    silent = [(at, len(quotes)) for at, quotes in minute_quotes(path, market) if len(quotes) < 5]
    assert len(silent) == 60
    assert all(count == 4 for _, count in silent)
