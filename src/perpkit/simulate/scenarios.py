"""Built-in price paths, stylised: drawn through publicly known prices, so that the demo runs without a file."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

import attrs

from perpkit.errors import ConfigError
from perpkit.simulate.bars import Bar, PricePath, assemble
from perpkit.units import HOUR_NS, SECOND_NS

_MARCH_2020_START_NS = (
    int((datetime(2020, 3, 12, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days) * 86_400 * SECOND_NS
)

# Bitcoin's price on the hour, in round numbers, 12 March 2020 00:00 to 13 March 12:00 UTC.
_MARCH_2020_HOURS = (
    7_930, 7_910, 7_880, 7_850, 7_780, 7_700, 7_640, 7_650, 7_620, 7_450, 7_200, 6_150, 6_050, 6_150, 6_000, 5_900,
    6_100, 6_050, 5_950, 5_850, 5_900, 5_950, 5_850, 5_800, 4_850, 4_700, 4_200, 5_000, 5_300, 4_950, 5_250, 5_450,
    5_350, 5_750, 5_680, 5_450, 5_600,
)  # fmt: skip
_LOWS = {10: 5_900, 11: 5_750, 23: 4_650, 24: 4_450, 25: 4_050, 26: 3_900}
_VENUES = {"atlantic": (3, 900), "boreal": (-2, 500), "cascade": (0, 700), "delta": (5, 250), "equator": (-6, 150)}
_FROZEN = ("delta", 28)


@attrs.frozen
class Scenario:
    """A named path: what it is, in one line, and how to draw it."""

    summary: str
    draw: Callable[[], PricePath]


def march_2020() -> PricePath:
    """Draw the crash of 12-13 March 2020 with five venues, one of which stands frozen for an hour.

    Each venue lies a few ten-thousandths beside the common path; bars reach a hundredth beyond open and close, or
    to the hour's known low.
    """
    bars = []
    for hour, (start, end) in enumerate(pairwise(_MARCH_2020_HOURS)):
        for name, (beside, volume) in _VENUES.items():
            factor = Fraction(10_000 + beside, 10_000)
            opened, closed = start * factor, end * factor
            high, low = max(opened, closed) * Fraction(101, 100), min(opened, closed) * Fraction(99, 100)
            if hour in _LOWS:
                low = min(low, _LOWS[hour] * factor)
            frozen = (name, hour) == _FROZEN
            if frozen:
                closed = high = low = opened
            bars.append(
                Bar(
                    at_ns=_MARCH_2020_START_NS + hour * HOUR_NS,
                    exchange=name,
                    open=opened,
                    high=high,
                    low=low,
                    close=closed,
                    volume=Fraction(0 if frozen else volume),
                )
            )
    return assemble(bars, "march-2020")


SCENARIOS: Mapping[str, Scenario] = {
    "march-2020": Scenario("the crash of 12-13 March 2020, stylised: five venues, one of them freezes", march_2020),
}


def scenario(name: str) -> PricePath:
    """Draw a built-in path by name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SCENARIOS:
        raise ConfigError(f"scenario: expected one of {', '.join(SCENARIOS)}, was {name!r}")
    return SCENARIOS[name].draw()
