"""Exact conversion between text at the edge and integers in the core."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Self

import attrs

from perpkit.errors import UnitsError
from perpkit.units.kinds import SCALE
from perpkit.units.rounding import divides

_PLAIN = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,12})?")
DIGITS_MAX = 60
"""More than any amount needs; a longer exponent would only make the conversion slow."""


def exact(value: object, what: str = "number") -> Fraction:
    """Read text, an int or a Decimal as an exact rational; refuse everything that could be inexact.

    Raises:
        UnitsError: the value is a float, a bool, not finite, or not a plain decimal number.

    Example:
        >>> exact("0.25")
        Fraction(1, 4)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise UnitsError(f"{what}: expected text, int or Decimal, was {type(value).__name__} {value!r}")
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise UnitsError(f"{what}: expected a decimal number, was {value[:80]!r}")
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX:
        raise UnitsError(f"{what}: expected a finite number of at most {DIGITS_MAX} digits, was {value!r}")
    return Fraction(number)


def integer(value: object, what: str) -> int:
    """Return `value` if it is an int and nothing else (a bool is not).

    Raises:
        UnitsError: it is anything else.
    """
    if type(value) is not int:
        raise UnitsError(f"{what}: expected an int, was {type(value).__name__} {value!r}")
    return value


def ppb(value: object, what: str = "rate") -> int:
    """Read a ratio such as "0.005" or "0.5%" as parts per billion, exactly.

    Raises:
        UnitsError: not a number, or finer than one part per billion.

    Example:
        >>> ppb("0.5%"), ppb("0.00075")
        (5000000, 750000)
    """
    if isinstance(value, str) and value.endswith("%"):
        scaled = exact(value[:-1], what) * Fraction(SCALE, 100)
    else:
        scaled = exact(value, what) * SCALE
    if scaled.denominator != 1:
        raise UnitsError(f"{what}: expected whole parts per billion, was {value!r}")
    return scaled.numerator


@attrs.frozen
class Scale:
    """A grid of exact steps, such as a tick size, a lot size or an accounting unit.

    Example:
        >>> tick = Scale.of("0.5")
        >>> tick.parse("50000.5"), tick.format(100001)
        (100001, '50000.5')
    """

    step: Fraction

    @classmethod
    def of(cls, step: object, what: str = "step") -> Self:
        """Make a grid from the text of its step.

        Raises:
            UnitsError: the step is not an exact positive number.
        """
        value = exact(step, what)
        if value <= 0:
            raise UnitsError(f"{what}: expected a positive step, was {step!r}")
        return cls(value)

    def parse(self, value: object, what: str = "number") -> int:
        """Count the steps in `value`; never rounds.

        Raises:
            UnitsError: not an exact number, or off the grid.
        """
        steps = Fraction(exact(value, what), self.step)
        if steps.denominator != 1:
            raise UnitsError(f"{what}: expected a multiple of {self.format(1)}, was {value!r}")
        return steps.numerator

    def format(self, steps: int) -> str:
        """Write `steps` steps as decimal text, with the digits that the step has."""
        digits = 0
        while not divides(self.step.denominator, 10**digits):
            digits += 1
        shifted = str(abs((steps * self.step * 10**digits).numerator)).zfill(digits + 1)
        whole, decimals = shifted[: len(shifted) - digits], shifted[len(shifted) - digits :]
        return f"{'-' if steps < 0 else ''}{whole}{'.' if digits else ''}{decimals}"
