"""The weighted indexes, mean and median: who is used, who is left out and why, and what then holds."""

import json

import pytest

from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.price import IndexPrice, LeftOut, PriceState, Quote
from perpkit.ports.context import Limits, MarketContext
from perpkit.reference.index_weighted import WeightedIndex, WeightedIndexOptions, WeightedMedianIndex
from perpkit.units import MINUTE_NS, SECOND_NS, Scale

MARKET = MarketSpec(
    id=1,
    name="BTC-PERP",
    kind=ContractKind.LINEAR,
    settlement=1,
    tick=Scale.of("0.5"),
    lot=Scale.of("0.001"),
    numerator=1,
    denominator=1,
    brackets=(Bracket(up_to_units=10**12, initial_ppb=10_000_000, maintenance_ppb=5_000_000),),
    price_min_ticks=1,
    price_max_ticks=1_000_000,
    order_max_lots=1_000_000,
    open_interest_max_lots=1_000_000,
    orders_max=100,
    market_slippage_ppb=50_000_000,
    liquidation_fee_ppb=0,
)
NOW = 1_584_000_000 * SECOND_NS
AGE_MAX = 15 * MINUTE_NS


def index(**options: int) -> WeightedIndex:
    return WeightedIndex(MarketContext(market=MARKET, limits=Limits()), WeightedIndexOptions(**options))


def median(**options: int) -> WeightedMedianIndex:
    return WeightedMedianIndex(MarketContext(market=MARKET, limits=Limits()), WeightedIndexOptions(**options))


def weighed(*rows: tuple[int, int]) -> list[Quote]:
    """Quote (price, weight) a source, from source 1 on."""
    return [
        Quote(market=1, source=source, price_ticks=price, weight=weight, at_ns=NOW)
        for source, (price, weight) in enumerate(rows, start=1)
    ]


def quotes(*prices: int, at_ns: int = NOW, weight: int = 1) -> list[Quote]:
    """Quote one price a source, from source 1 on."""
    return [
        Quote(market=1, source=source, price_ticks=price, weight=weight, at_ns=at_ns)
        for source, price in enumerate(prices, start=1)
    ]


def left_out(price: IndexPrice) -> list[LeftOut]:
    return [reading.left_out for reading in price.sources]


def test_volume_decides_how_much_a_source_counts() -> None:
    # (100 + 220 + 600) / 8 = 115
    assert index().update(weighed((100, 1), (110, 2), (120, 5)), NOW).price_ticks == 115


@pytest.mark.parametrize(("prices", "expected"), [((100, 101), 100), ((101, 102), 102), ((100, 101, 101), 101)])
def test_the_mean_is_rounded_half_to_even(prices: tuple[int, ...], expected: int) -> None:
    assert index(sources_min=1).update(quotes(*prices), NOW).price_ticks == expected


def test_sources_without_any_weight_count_equally() -> None:
    assert index().update(quotes(100, 110, 120, weight=0), NOW).price_ticks == 110


def test_every_known_source_is_reported_in_order_of_its_id() -> None:
    price = index().update(quotes(100, 101, 102)[::-1], NOW)
    assert [reading.source for reading in price.sources] == [1, 2, 3]
    assert [reading.price_ticks for reading in price.sources] == [100, 101, 102]
    assert price.state is PriceState.OK


def test_three_sources_are_enough_to_see_that_one_is_wrong() -> None:
    # The example that BitMEX published: A and B at 100, C at 50 is dropped, the index is 100.
    price = index(sources_min=2).update(quotes(100, 100, 50), NOW)
    assert (price.price_ticks, price.state) == (100, PriceState.DEGRADED)
    assert left_out(price) == [LeftOut.USED, LeftOut.USED, LeftOut.DEVIATES]


def test_three_at_one_hundred_outvote_one_at_fifty() -> None:
    price = index().update(quotes(100, 100, 100, 50), NOW)
    assert (price.price_ticks, price.state) == (100, PriceState.DEGRADED)
    assert left_out(price) == [LeftOut.USED, LeftOut.USED, LeftOut.USED, LeftOut.DEVIATES]


@pytest.mark.parametrize(
    ("last", "verdict"), [(125, LeftOut.USED), (126, LeftOut.DEVIATES), (75, LeftOut.USED), (74, LeftOut.DEVIATES)]
)
def test_the_edge_of_the_deviation_is_still_near(last: int, verdict: LeftOut) -> None:
    assert left_out(index().update(quotes(100, 100, 100, 100, last), NOW))[-1] is verdict


@pytest.mark.parametrize(
    ("first", "others", "verdict"),
    [
        (80, (100, 111, 120), LeftOut.USED),
        (79, (100, 111, 120), LeftOut.DEVIATES),
        (131, (100, 111, 90), LeftOut.USED),
        (132, (100, 111, 90), LeftOut.DEVIATES),
    ],
)
def test_the_median_of_an_even_count_lies_exactly_between_the_middle_two(
    first: int, others: tuple[int, ...], verdict: LeftOut
) -> None:
    # The median is 105.5; a quarter of it is 26.375, so what is near lies from 79.125 to 131.875.
    assert left_out(index().update(quotes(first, *others), NOW))[0] is verdict


def test_two_sources_cannot_say_who_is_wrong() -> None:
    price = index(sources_min=2).update(quotes(100, 50), NOW)
    assert (price.price_ticks, price.state) == (75, PriceState.OK)


def test_a_source_goes_stale_just_after_fifteen_minutes() -> None:
    source = index()
    source.update(quotes(100, 100, 100, 108), NOW)
    later = NOW + AGE_MAX
    edge = source.update(quotes(100, 100, 100, at_ns=later), later)
    assert (edge.price_ticks, edge.state) == (102, PriceState.OK)
    past = source.update([], later + 1)
    assert (past.price_ticks, past.state) == (100, PriceState.DEGRADED)
    assert past.sources[3].left_out is LeftOut.STALE
    assert past.sources[3].age_ns == AGE_MAX + 1


def test_stale_sources_have_no_vote_in_the_median() -> None:
    source = index(sources_min=2)
    source.update(quotes(50, 50, 50), NOW)
    later = NOW + AGE_MAX + 1
    moved = [Quote(market=1, source=number, price_ticks=100, weight=1, at_ns=later) for number in (4, 5)]
    price = source.update(moved, later)
    assert left_out(price) == [LeftOut.STALE] * 3 + [LeftOut.USED] * 2
    assert price.price_ticks == 100


def test_a_source_votes_until_it_is_stale() -> None:
    source = index()
    source.update(quotes(100, 100, 100), NOW)
    later = NOW + AGE_MAX
    moved = [Quote(market=1, source=4, price_ticks=130, weight=1, at_ns=later)]
    assert left_out(source.update(moved, later)) == [LeftOut.USED] * 3 + [LeftOut.DEVIATES]


def test_too_few_sources_freeze_the_last_good_price() -> None:
    source = index()
    source.update(quotes(100, 101, 102), NOW)
    later = NOW + AGE_MAX + 1
    price = source.update(quotes(200, 200, at_ns=later), later)
    assert (price.price_ticks, price.state) == (101, PriceState.FROZEN)


def test_there_is_no_price_before_there_are_enough_sources() -> None:
    assert index().update([], NOW).price_ticks == 0
    price = index().update(quotes(100, 100), NOW)
    assert (price.price_ticks, price.state) == (0, PriceState.FROZEN)
    assert left_out(price) == [LeftOut.USED, LeftOut.USED]


def test_a_source_comes_back_by_itself_with_its_first_near_quote() -> None:
    source = index()
    assert source.update(quotes(100, 100, 100, 50), NOW).state is PriceState.DEGRADED
    back = source.update(quotes(100, 100, 100, 104, at_ns=NOW + 1), NOW + 1)
    assert (back.price_ticks, back.state) == (101, PriceState.OK)


def test_the_later_of_two_quotes_in_one_stamp_stands() -> None:
    source = index(sources_min=1)
    assert source.update([*quotes(100), *quotes(200)], NOW).price_ticks == 200


def test_a_clock_that_is_ahead_does_not_keep_a_source_fresh() -> None:
    source = index(sources_min=1)
    ahead = source.update(quotes(100, at_ns=NOW + 10 * AGE_MAX), NOW)
    assert ahead.sources[0].age_ns == 0
    assert source.update([], NOW + AGE_MAX + 1).state is PriceState.FROZEN


def test_quotes_of_other_markets_are_not_this_one_s() -> None:
    other = [Quote(market=2, source=1, price_ticks=7, weight=1, at_ns=NOW)]
    assert index(sources_min=1).update([*quotes(100), *other], NOW).price_ticks == 100


def test_what_was_dumped_goes_on_where_it_stopped() -> None:
    source = index()
    source.update(quotes(100, 101, 103), NOW)
    copy = index()
    copy.load(source.dump())
    assert copy.dump() == source.dump()
    later = NOW + AGE_MAX
    assert copy.update(quotes(90, at_ns=later), later) == source.update(quotes(90, at_ns=later), later)


def test_the_dump_does_not_depend_on_the_order_of_arrival() -> None:
    one, other = index(), index()
    one.update(quotes(100, 101, 103), NOW)
    other.update(quotes(100, 101, 103)[::-1], NOW)
    assert one.dump() == other.dump()
    assert json.loads(one.dump()) == {
        "price_ticks": 101,
        "quotes": [[1, 100, 1, NOW], [2, 101, 1, NOW], [3, 103, 1, NOW]],
    }


# The median.


def test_one_source_within_the_limit_moves_the_mean_by_its_share_and_the_median_not_at_all() -> None:
    given = quotes(99, 100, 100, 101, 120)
    assert left_out(median().update(given, NOW)) == [LeftOut.USED] * 5
    # (99 + 100 + 100 + 101 + 120) / 5 = 104
    assert index().update(given, NOW).price_ticks == 104
    assert median().update(given, NOW).price_ticks == 100


@pytest.mark.parametrize(("moved", "expected"), [(4, 102), (5, 110), (6, 118)])
def test_the_median_stays_among_the_others_until_half_of_the_weight_moves(moved: int, expected: int) -> None:
    # Of a weight of 10, `moved` says 118. The others say 100, 101 and 102, and the last of them has what is left.
    given = weighed((100, 1), (101, 1), (102, 8 - moved), (118, moved))
    assert median().update(given, NOW).price_ticks == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (((100, 3), (101, 2), (99, 2), (102, 4)), 101),  # 99, 100, 101 have 2, 5, 7 of 11
        (((110, 1), (100, 1), (120, 3)), 120),  # 120 alone has 3 of 5
        (((120, 1), (110, 1), (100, 3)), 100),
    ],
)
def test_the_median_is_the_price_at_which_half_of_the_weight_is_reached(
    rows: tuple[tuple[int, int], ...], expected: int
) -> None:
    assert median().update(weighed(*rows), NOW).price_ticks == expected


@pytest.mark.parametrize(("upper", "expected"), [(102, 101), (103, 102), (105, 102), (107, 104)])
def test_exactly_between_two_prices_the_median_is_their_mean_half_to_even(upper: int, expected: int) -> None:
    assert median().update(weighed((99, 1), (100, 2), (upper, 3)), NOW).price_ticks == expected


def test_a_source_without_weight_has_no_part_in_the_median_of_those_with_some() -> None:
    assert median().update(weighed((100, 1), (102, 0), (110, 1)), NOW).price_ticks == 105


@pytest.mark.parametrize(("prices", "expected"), [((90, 100, 101), 100), ((90, 100, 102, 103), 101)])
def test_sources_without_any_weight_count_equally_in_the_median(prices: tuple[int, ...], expected: int) -> None:
    assert median().update(quotes(*prices, weight=0), NOW).price_ticks == expected


def test_the_median_leaves_out_freezes_and_takes_back_as_the_mean_does() -> None:
    later = NOW + AGE_MAX + 1
    steps = [
        (quotes(100, 100), NOW),  # too few
        (quotes(100, 100, 100, 100, 50), NOW),  # one far off
        (quotes(100, 100, 100, 100, 104), NOW + 1),  # near again
        (quotes(130, 140, at_ns=later + 1), later + 1),  # three are stale
    ]
    two = median(), index()
    found = [[each.update(given, at_ns) for each in two] for given, at_ns in steps]
    assert [[each.state for each in pair] for pair in found] == [
        [state] * 2 for state in (PriceState.FROZEN, PriceState.DEGRADED, PriceState.OK, PriceState.FROZEN)
    ]
    assert all(one.sources == other.sources for one, other in found)
    assert [[each.price_ticks for each in pair] for pair in found] == [[0, 0], [100, 100], [100, 101], [100, 101]]


def test_a_frozen_median_is_dumped_with_its_last_good_price() -> None:
    source, copy = median(), median()
    source.update(quotes(100, 101, 109), NOW)
    copy.load(source.dump())
    assert copy.update([], NOW + AGE_MAX + 1).price_ticks == 101


def test_an_index_of_no_sources_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="sources_min"):
        WeightedIndexOptions(sources_min=0)
