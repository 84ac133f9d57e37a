"""Every direction of rounding against exact rationals."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.units import apportion, div_ceil, div_floor, div_half_even, divides

NUMERATORS = st.integers(-(2**80), 2**80) | st.integers(-20, 20)
DENOMINATORS = st.integers(1, 2**64) | st.integers(1, 10)


@given(NUMERATORS, DENOMINATORS)
def test_each_division_is_the_exact_quotient_rounded_its_way(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert div_floor(numerator, denominator) == floor(exact)
    assert div_ceil(numerator, denominator) == ceil(exact)
    assert div_half_even(numerator, denominator) == round(exact)


@given(NUMERATORS, DENOMINATORS)
def test_half_even_treats_both_signs_alike(numerator: int, denominator: int) -> None:
    assert div_half_even(-numerator, denominator) == -div_half_even(numerator, denominator)


@pytest.mark.parametrize(("halves", "rounded"), [(-5, -2), (-3, -2), (-1, 0), (1, 0), (3, 2), (5, 2), (7, 4)])
def test_a_tie_goes_to_the_even_number(halves: int, rounded: int) -> None:
    assert div_half_even(halves, 2) == rounded


def test_divides_asks_for_a_whole_multiple() -> None:
    assert divides(5, 0)
    assert divides(5, -10)
    assert not divides(5, 7)


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**40), min_size=1).filter(any))
def test_parts_sum_to_the_total_and_none_is_a_unit_off(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1


def test_what_does_not_divide_goes_to_the_largest_remainder_and_then_to_the_earlier() -> None:
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(7, [1, 2, 3]) == [1, 2, 4]  # 1 1/6, 2 2/6, 3 3/6
    assert apportion(5, [3, 0, 3]) == [3, 0, 2]
