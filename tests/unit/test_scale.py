"""Text in, integers out: exactly, or not at all."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.errors import UnitsError
from perpkit.units import Scale, exact, integer, ppb

INEXACT = [0.5, 1.0, True, False, None, b"1", Fraction(1, 2), "", " ", "abc", "0x10", "1/2", "NaN", "Infinity", "-inf"]
NOT_FINITE = [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")]
STEPS = st.builds(
    lambda digits, exponent: Scale.of(Decimal(digits).scaleb(exponent)), st.integers(1, 10**6), st.integers(-12, 6)
)


@pytest.mark.parametrize("value", INEXACT + NOT_FINITE, ids=repr)
def test_what_could_be_inexact_is_refused(value: object) -> None:
    with pytest.raises(UnitsError, match="price: expected"):
        exact(value, "price")
    with pytest.raises(UnitsError, match="price: expected"):
        Scale.of("0.5").parse(value, "price")
    with pytest.raises(UnitsError, match="price: expected"):
        ppb(value, "price")


@pytest.mark.parametrize(
    ("value", "number"),
    [("0.25", Fraction(1, 4)), ("-3", Fraction(-3)), (7, Fraction(7)), (Decimal("1e-3"), Fraction(1, 1000))],
)
def test_text_whole_numbers_and_decimals_are_read_exactly(value: object, number: Fraction) -> None:
    assert exact(value) == number


@pytest.mark.parametrize("text", ["1e61", "1e999999999", "-1e-61", "0e999999999"])
def test_an_exponent_that_no_amount_needs_is_refused_at_once(text: str) -> None:
    with pytest.raises(UnitsError, match="at most 60 digits"):
        exact(text)


@pytest.mark.parametrize("value", [1.0, True, "1", Decimal(1), None], ids=repr)
def test_an_integer_is_an_int_and_nothing_else(value: object) -> None:
    assert integer(5, "size") == 5
    with pytest.raises(UnitsError, match="size: expected an int, was"):
        integer(value, "size")


def test_a_rate_is_read_as_a_share_or_in_percent() -> None:
    assert ppb("0.005") == ppb("0.5%") == 5_000_000
    assert ppb("-0.00025") == -250_000
    assert ppb(1) == 1_000_000_000


@pytest.mark.parametrize("text", ["0.0000000001", "0.00000001%", "%", "5%%"])
def test_a_rate_finer_than_a_billionth_or_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(UnitsError, match="rate: expected"):
        ppb(text)


@pytest.mark.parametrize("step", ["0", "-0.5", 0, 0.5, ""])
def test_a_step_is_exact_and_positive(step: object) -> None:
    with pytest.raises(UnitsError, match="tick: expected"):
        Scale.of(step, "tick")


@pytest.mark.parametrize("text", ["0.25", "50000.4", "1e-9"])
def test_what_is_off_the_grid_is_refused_and_never_rounded(text: str) -> None:
    with pytest.raises(UnitsError, match=r"price: expected a multiple of 0\.5, was"):
        Scale.of("0.5").parse(text, "price")


def test_steps_are_counted_and_written() -> None:
    tick = Scale.of("0.5")
    assert (tick.parse("50000.5"), tick.parse(-1), tick.parse(Decimal("2.0"))) == (100_001, -2, 4)
    assert (tick.format(100_001), tick.format(-1), tick.format(0)) == ("50000.5", "-0.5", "0.0")
    assert Scale.of("1000").format(-3) == "-3000"


@given(STEPS, st.integers(-(2**62), 2**62))
def test_what_is_written_reads_back_the_same(scale: Scale, steps: int) -> None:
    assert scale.parse(scale.format(steps)) == steps
