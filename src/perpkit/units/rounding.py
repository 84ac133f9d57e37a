"""The one place that divides. Every other file asks for a direction by name."""

from collections.abc import Sequence


def div_floor(numerator: int, denominator: int) -> int:
    """Divide toward minus infinity.

    Rounds:
        Down: what a receiver gets.

    Example:
        >>> div_floor(7, 2), div_floor(-7, 2)
        (3, -4)
    """
    return numerator // denominator


def div_ceil(numerator: int, denominator: int) -> int:
    """Divide toward plus infinity.

    Rounds:
        Up: what a payer owes, and every requirement.

    Example:
        >>> div_ceil(7, 2), div_ceil(-7, 2)
        (4, -3)
    """
    return -(-numerator // denominator)


def div_half_even(numerator: int, denominator: int) -> int:
    """Divide by a positive integer to the nearest integer, a tie to the even one.

    Rounds:
        Half to even. The rule is symmetric: the result for -n is minus the result for n.

    Example:
        >>> div_half_even(5, 2), div_half_even(7, 2), div_half_even(-5, 2)
        (2, 4, -2)
    """
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    return quotient + (doubled > denominator or (doubled == denominator and quotient % 2 == 1))


def divides(divisor: int, number: int) -> bool:
    """Say whether `number` is a whole multiple of `divisor`."""
    return number % divisor == 0


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split a total in proportion to weights, exactly.

    Units:
        The parts have the unit of the total, are never negative and sum to it.

    Rounds:
        Each part down, then one more to the largest remainders; ties to the earlier weight.

    Example:
        >>> apportion(10, [1, 1, 1])
        [4, 3, 3]
    """
    whole = sum(weights)
    pairs = [divmod(total * weight, whole) for weight in weights]
    parts = [quotient for quotient, _ in pairs]
    order = sorted(range(len(pairs)), key=lambda index: (-pairs[index][1], index))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts
