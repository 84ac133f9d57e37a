"""Figures that venues, their documents and open-source tests published, met through perpkit's own calls.

Each case is one test. The adapters that ask perpkit are in `adapters/`, one function a category.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest


def test_published(case: dict[str, Any], ask: Any) -> None:
    expected, found = dict(leaves(case["expected"])), dict(leaves(ask(case)))
    assert expected.keys() <= found.keys()
    for name, wanted in expected.items():
        figure = as_figure(wanted)
        if figure is None:
            assert found[name] == wanted, name
        else:
            difference = abs(found[name] - figure)
            assert difference <= allowed(case["tolerance"], name, figure), (
                f"{name}: expected {wanted}, was {float(found[name])!r}"
            )


def test_every_case_runs_or_waits_or_is_not_offered(vectors: Any) -> None:
    known = [case["id"] for case in vectors.cases]
    run = {case["id"] for case in vectors.to_run()}
    waiting = {case["id"] for case in vectors.cases if vectors.why_waiting(case)}
    not_offered = set(vectors.not_offered)
    assert sorted([*run, *waiting, *not_offered]) == sorted(known)


def test_every_category_has_an_adapter_or_waits_but_not_both(vectors: Any) -> None:
    categories = {case["category"] for case in vectors.cases if case["id"] not in vectors.not_offered}
    assert sorted([*vectors.adapters, *vectors.waiting_categories]) == sorted(categories)


def test_the_lists_name_known_cases_only_and_say_why(vectors: Any) -> None:
    known = {case["id"] for case in vectors.cases}
    assert vectors.waiting_cases.keys() | vectors.not_offered.keys() <= known
    lists = (vectors.waiting_cases, vectors.waiting_categories, vectors.not_offered)
    assert all(reason.strip() for reasons in lists for reason in reasons.values())


@pytest.mark.parametrize(
    ("tolerance", "name", "off"),
    [
        ("exact", "pnl", "1e-30"),
        ("8 dp", "fee", "6e-9"),
        ("round 2dp", "liq_price", "0.006"),
        ("1e-8", "liq_price", "2e-8"),
        ("rel 1e-9", "liq_price", "2e-8"),
        ("1e-6; rounded up to tick for a long", "price_tick_rounded", "1e-9"),
        ("8 dp / avg rel 1e-12", "after_each[1].avg", "2e-11"),
    ],
)
def test_what_is_further_off_than_a_case_allows_is_seen(tolerance: str, name: str, off: str) -> None:
    assert Fraction(off) > allowed(tolerance, name, Fraction(10))


def test_a_list_that_is_longer_is_seen() -> None:
    assert dict(leaves({"trades": []})) != dict(leaves({"trades": ["1"]}))
    assert as_figure("o4") is as_figure("canceled") is as_figure(None) is None


def as_figure(value: Any) -> Fraction | None:
    """Return what a case states as text if it is a number."""
    try:
        return Fraction(value) if isinstance(value, str) else None
    except ValueError:
        return None


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, answer) of everything in a nested answer, and the length of every list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield f"{path}.length", len(value)
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def allowed(tolerance: str, name: str, expected: Fraction) -> Fraction:
    """Return how far a figure may be off. A tolerance that is not understood raises."""
    figure, _, average = tolerance.partition(" / avg rel ")
    if average and name.endswith("avg"):
        return Fraction(average) * expected
    if "rounded up" in tolerance and name.endswith("_tick_rounded"):
        return Fraction(0)
    figure = figure.partition(";")[0].removeprefix("round ")
    if figure == "exact":
        return Fraction(0)
    if figure.startswith("rel "):
        return Fraction(figure.removeprefix("rel ")) * abs(expected)
    if figure.endswith("dp"):
        return Fraction(1, 2 * 10 ** int(figure.removesuffix("dp")))
    return Fraction(figure)
