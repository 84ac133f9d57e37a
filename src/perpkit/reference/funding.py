"""Funding: `premium` pays what the book was above or below the index, `hourly` in eighths, `none` pays nothing."""

import json
from collections.abc import Sequence
from fractions import Fraction

import attrs

from perpkit.model.market import ContractKind, MarketSpec
from perpkit.model.order import Level
from perpkit.model.price import Mark, PricingInputs
from perpkit.plugin import NoOptions
from perpkit.ports.context import MarketContext
from perpkit.reference.schedule import Schedule
from perpkit.units import SCALE, Nanos, Ppb, Units, div_half_even


@attrs.frozen(kw_only=True)
class PremiumFundingOptions:
    """When the `premium` model pays, and how its rate is bounded.

    Units:
        `rule` is a recurrence in UTC. `impact_notional_units` is |value| in accounting units of the
        settlement asset; 0 takes the best prices. `interest_ppb`, `clamp_ppb` and `cap_ppb` are for one
        interval.
    """

    rule: str = "FREQ=DAILY;BYHOUR=4,12,20;BYMINUTE=0;BYSECOND=0"
    impact_notional_units: Units = attrs.field(default=0, validator=attrs.validators.ge(0))
    interest_ppb: Ppb = 100_000
    clamp_ppb: Ppb = attrs.field(default=500_000, validator=attrs.validators.ge(0))
    cap_ppb: Ppb = attrs.field(default=3_750_000, validator=attrs.validators.ge(0))


class PremiumFunding:
    """The mean premium of an interval, drawn toward the interest rate and capped, paid at the interval's end.

    P is the mean of the samples, F = P + clamp(interest − P, ±clamp), and F is then held within ±cap.
    An interval without samples pays nothing.

    Rounds:
        Each sample, and their mean, half to even to one part per billion.

    Source:
        The published formula of BitMEX and Binance. It differs from BitMEX's in that the rate is paid at
        the end of the interval it was measured in, not one interval later, and that changes of the rate are
        not bounded; from Binance's in that late samples weigh no more than early ones.
    """

    _payments = 1  # in how many the rate is paid

    def __init__(self, context: MarketContext, options: PremiumFundingOptions) -> None:
        self._market = context.market
        self._options = options
        self._schedule = Schedule(options.rule)
        self._sum_ppb = 0
        self._samples = 0

    def sample(self, inputs: PricingInputs, _mark: Mark, /) -> None:
        """Note the premium of the impact prices over the index; a side too thin adds nothing."""
        index_ticks = inputs.index.price_ticks
        bid = impact_price(self._market, inputs.bids, self._options.impact_notional_units)
        ask = impact_price(self._market, inputs.asks, self._options.impact_notional_units)
        above = max(Fraction(0), bid - index_ticks) if bid is not None else Fraction(0)
        below = max(Fraction(0), index_ticks - ask) if ask is not None else Fraction(0)
        premium = above - below
        self._sum_ppb += div_half_even(premium.numerator * SCALE, premium.denominator * index_ticks)
        self._samples += 1

    def rate_ppb(self) -> Ppb:
        """Return the rate over the samples so far."""
        if not self._samples:
            return 0
        options = self._options
        mean = div_half_even(self._sum_ppb, self._samples)
        drawn = mean + _clamp(options.interest_ppb - mean, options.clamp_ppb)
        return _clamp(div_half_even(drawn, self._payments), options.cap_ppb)

    def next_ns(self, after_ns: Nanos, /) -> Nanos | None:
        """Return the next stamp of the schedule."""
        return self._schedule.next_ns(after_ns)

    def close(self, _at_ns: Nanos, /) -> Ppb:
        """Return the rate of the interval that ends, and forget its samples."""
        rate = self.rate_ppb()
        self._sum_ppb = self._samples = 0
        return rate

    def dump(self) -> bytes:
        """Return the running sum and count."""
        state = {"samples": self._samples, "sum_ppb": self._sum_ppb}
        return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()

    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        fields = json.loads(state)
        self._samples, self._sum_ppb = fields["samples"], fields["sum_ppb"]


@attrs.frozen(kw_only=True)
class HourlyFundingOptions(PremiumFundingOptions):
    """When the `hourly` model pays, and how its rate is bounded.

    Units:
        As for `premium`, but `interest_ppb` and `clamp_ppb` are for eight hours, and `cap_ppb` is for one
        payment.
    """

    rule: str = "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"
    cap_ppb: Ppb = attrs.field(default=40_000_000, validator=attrs.validators.ge(0))


class HourlyFunding(PremiumFunding):
    """The rate of `premium` for eight hours, from the samples of one; an eighth of it is paid every hour.

    The cap is on what one payment may be, so that it bounds an eighth and not the rate for eight hours.

    Rounds:
        As `premium`, and then the eighth, half to even to one part per billion.

    Source:
        Hyperliquid's formula and cap. There it is paid on the value at the index, here as all funding at the
        mark.
    """

    _payments = 8


class NoFunding:
    """For markets that pay no funding."""

    def __init__(self, _context: MarketContext, _options: NoOptions) -> None: ...

    def sample(self, _inputs: PricingInputs, _mark: Mark, /) -> None:
        """Note nothing."""

    def rate_ppb(self) -> Ppb:
        """Return zero."""
        return 0

    def next_ns(self, _after_ns: Nanos, /) -> Nanos | None:
        """Return None: there is no stamp."""
        return None

    def close(self, _at_ns: Nanos, /) -> Ppb:
        """Return zero."""
        return 0

    def dump(self) -> bytes:
        """Return the empty state."""
        return b"{}"

    def load(self, _state: bytes, /) -> None:
        """Take the empty state."""


def impact_price(market: MarketSpec, levels: Sequence[Level], notional_units: Units) -> Fraction | None:
    """Return the average price of trading a notional into one side of a book; None: too thin.

    It is the price at which the whole size would be worth the notional, so for inverse contracts the harmonic
    mean. A notional of zero asks for the best price.

    Units:
        The price in ticks. `notional_units` is |value| in accounting units of the settlement asset; the
        last level is taken in part.

    Rounds:
        Only as the market rounds the value of the levels that are taken whole.

    Source:
        The impact prices of BitMEX and dYdX; there too a side without the depth counts for nothing.
    """
    if levels and not notional_units:
        return Fraction(levels[0].price_ticks)
    whole_lots, left_units = 0, notional_units
    for level in levels:
        worth = abs(market.value(level.size_lots, level.price_ticks))
        if worth >= left_units:
            numerator, denominator = market.ratio(level.price_ticks)
            lots = whole_lots + Fraction(left_units * denominator, abs(numerator))
            return _price_of(market, Fraction(notional_units, lots))
        whole_lots += level.size_lots
        left_units -= worth
    return None


def _price_of(market: MarketSpec, lot_units: Fraction) -> Fraction:
    # The price at which one lot has this |value|.
    at_one_tick = Fraction(market.numerator, market.denominator)
    if market.kind is ContractKind.INVERSE:
        return Fraction(at_one_tick, lot_units)
    return Fraction(lot_units, at_one_tick)


def _clamp(value: Ppb, bound: Ppb) -> Ppb:
    return min(max(value, -bound), bound)
