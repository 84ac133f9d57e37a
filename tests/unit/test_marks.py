"""Marks: what each of them may depend on, and the fair price to the tick."""

import pytest

from perpkit.model.market import Bracket, ContractKind, MarketSpec
from perpkit.model.price import IndexPrice, PriceState, PricingInputs
from perpkit.plugin import NoOptions
from perpkit.ports.context import Limits, MarketContext
from perpkit.reference.marks import FairBasisMark, IndexMark
from perpkit.units import HOUR_NS, Scale

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
    price_min_ticks=1_000,
    price_max_ticks=200_000,
    order_max_lots=1_000_000,
    open_interest_max_lots=1_000_000,
    orders_max=100,
    market_slippage_ppb=50_000_000,
    liquidation_fee_ppb=0,
)
CONTEXT = MarketContext(market=MARKET, limits=Limits())
NOW = 1_584_000_000_000_000_000


def inputs(price: int, *, state: PriceState = PriceState.OK, funding_ppb: int = 0, hours: int = 4) -> PricingInputs:
    """Stand `hours` before the end of an interval of eight."""
    return PricingInputs(
        index=IndexPrice(market=1, price_ticks=price, state=state, at_ns=NOW),
        at_ns=NOW,
        funding_ppb=funding_ppb,
        to_funding_ns=hours * HOUR_NS,
        interval_ns=8 * HOUR_NS,
    )


def fair(given: PricingInputs) -> int:
    return FairBasisMark(CONTEXT, NoOptions()).update(given).price_ticks


def test_only_the_index_mark_claims_to_be_free_of_the_own_book() -> None:
    assert IndexMark(CONTEXT, NoOptions()).own_book_free
    assert not FairBasisMark(CONTEXT, NoOptions()).own_book_free


@pytest.mark.parametrize("state", list(PriceState))
def test_the_index_mark_is_the_index(state: PriceState) -> None:
    mark = IndexMark(CONTEXT, NoOptions()).update(inputs(100_001, state=state, funding_ppb=9_000_000))
    assert (mark.market, mark.price_ticks, mark.state, mark.at_ns) == (1, 100_001, state, NOW)


@pytest.mark.parametrize(
    ("price", "funding_ppb", "hours", "expected"),
    [
        (100_000, 1_000_000, 8, 100_100),
        (100_000, 1_000_000, 4, 100_050),
        (100_000, 1_000_000, 0, 100_000),
        (100_000, -1_000_000, 4, 99_950),
        (100_000, 3_750_000, 4, 100_188),  # 100,187.5 and 188 is even
        (100_000, 3_770_000, 4, 100_188),  # 100,188.5
        (100_000, 0, 4, 100_000),
    ],
)
def test_the_fair_price_is_the_index_and_the_funding_still_to_come(
    price: int, funding_ppb: int, hours: int, expected: int
) -> None:
    assert fair(inputs(price, funding_ppb=funding_ppb, hours=hours)) == expected


@pytest.mark.parametrize("state", list(PriceState))
def test_the_fair_price_is_as_good_as_the_index(state: PriceState) -> None:
    assert FairBasisMark(CONTEXT, NoOptions()).update(inputs(5_000, state=state)).state is state


def test_the_fair_price_stays_within_the_listed_prices() -> None:
    assert fair(inputs(199_999, funding_ppb=100_000_000)) == 200_000
    assert fair(inputs(1_001, funding_ppb=-100_000_000)) == 1_000


def test_without_an_index_there_is_no_fair_price() -> None:
    assert fair(inputs(0, state=PriceState.FROZEN, funding_ppb=1_000_000)) == 0


def test_without_funding_the_fair_price_is_the_index() -> None:
    index = IndexPrice(market=1, price_ticks=100_000, state=PriceState.OK, at_ns=NOW)
    assert fair(PricingInputs(index=index, at_ns=NOW, funding_ppb=1_000_000)) == 100_000


@pytest.mark.parametrize("kind", [IndexMark, FairBasisMark])
def test_marks_remember_nothing(kind: type[IndexMark] | type[FairBasisMark]) -> None:
    mark = kind(CONTEXT, NoOptions())
    before = mark.dump()
    mark.update(inputs(100_000))
    assert mark.dump() == before
    mark.load(before)
    assert mark.dump() == before
