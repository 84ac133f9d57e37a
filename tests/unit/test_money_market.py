"""The ends of the lists that a market searches: its sizes and its prices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perpkit.model.market import MarketSpec

Make = Callable[..., MarketSpec]


def test_no_limit_admits_more_than_the_open_interest_limit(make_spec: Make) -> None:
    spec = make_spec({"open_interest_max": "50", "order_max": "50"})
    assert [spec.lots_within(limit, 100) for limit in (4_999, 5_000, 5_099, 5_100, 10**9)] == [49, 50, 50, 50, 50]
    assert spec.lots_within(0, 100) == 0


@pytest.mark.parametrize(
    ("size", "holds_from", "holds_to", "last"),
    [
        (1, 1, 10_000, None),
        (1, 2, 10_000, 2),
        (1, 9_999, 10_000, 9_999),
        (1, 10_000, 10_000, 10_000),
        (1, 10_001, 20_000, 10_000),
        (-1, 1, 10_000, None),
        (-1, 1, 9_999, 9_999),
        (-1, 1, 9_998, 9_998),
        (-1, 1, 1, 1),
        (-1, -5, 0, 1),
    ],
)
def test_the_last_price_is_found_at_both_ends_and_only_listed_prices_are_asked_for(
    make_spec: Make, size: int, holds_from: int, holds_to: int, last: int | None
) -> None:
    asked: list[int] = []

    def holds(price: int) -> bool:
        asked.append(price)
        return holds_from <= price <= holds_to

    assert make_spec().last_price(size, holds) == last
    assert 1 <= min(asked) <= max(asked) <= 10_000
