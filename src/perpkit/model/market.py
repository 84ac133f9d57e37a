"""One perpetual contract and its rules, and the one signed formula that values every kind of it."""

from collections.abc import Callable, Sequence
from enum import IntEnum

import attrs

from perpkit.errors import ConfigError
from perpkit.model.ids import AssetId, MarketId
from perpkit.model.order import Side
from perpkit.units import SCALE, Lots, Ppb, Scale, Ticks, Units, div_ceil, div_floor, div_half_even

SUM_BOUND = 1 << 61
"""Every sum of money stays below this, so that 64-bit code agrees with Python to the bit."""


class ContractKind(IntEnum):
    """What a contract pays: linear in price, in the base asset (inverse), or linear in a third asset."""

    LINEAR = 1
    INVERSE = 2
    QUANTO = 3


class ValueRounding(IntEnum):
    """Round the value of a fill once, or the value of one lot and then multiply."""

    FILL = 1
    UNIT = 2


class MarketState(IntEnum):
    """What a market accepts at the moment."""

    OPEN = 1
    POST_ONLY = 2
    CANCEL_ONLY = 3
    HALTED = 4
    SETTLING = 5
    SETTLED = 6

    @property
    def accepts_orders(self) -> bool:
        """Whether any new order may come in."""
        return self in _ACCEPTING

    @property
    def runs(self) -> bool:
        """Whether funding is sampled and paid, and positions may be liquidated."""
        return self in _RUNNING


FINAL_STATES = (MarketState.SETTLING, MarketState.SETTLED)

# Looking a member up on its class costs ten times as much in Python 3.11, and every order asks.
_ACCEPTING = (MarketState.OPEN, MarketState.POST_ONLY)
_RUNNING = (*_ACCEPTING, MarketState.CANCEL_ONLY)
_INVERSE, _BY_UNIT = ContractKind.INVERSE, ValueRounding.UNIT


@attrs.frozen(kw_only=True)
class Bracket:
    """Rates for the part of |value| above the bracket before and up to `up_to_units`.

    Under the margin model `step`, for the whole of a |value| that falls there.

    Units:
        `up_to_units` in accounting units of the settlement asset; rates in parts per billion.
    """

    up_to_units: Units
    initial_ppb: Ppb
    maintenance_ppb: Ppb


@attrs.frozen(kw_only=True)
class MarketSpec:
    """A market as the core sees it. `perpkit.engine.config` makes it from text and checks the bounds.

    Units:
        One lot at price p (ticks) is worth exactly `numerator·p/denominator` accounting units when linear
        or quanto, and `-numerator/(denominator·p)` when inverse.
    """

    id: MarketId
    name: str
    kind: ContractKind
    settlement: AssetId
    tick: Scale
    lot: Scale
    numerator: int
    denominator: int
    value_rounding: ValueRounding = ValueRounding.FILL
    brackets: tuple[Bracket, ...]
    price_min_ticks: Ticks
    price_max_ticks: Ticks
    order_max_lots: Lots
    open_interest_max_lots: Lots
    orders_max: int
    market_slippage_ppb: Ppb
    liquidation_fee_ppb: Ppb
    withdrawal_stress_ppb: Ppb = 0
    trigger_band_ppb: Ppb = SCALE

    def __attrs_post_init__(self) -> None:
        highest = max(abs(self.value(1, p)) + 1 for p in (self.price_min_ticks, self.price_max_ticks))
        for what, lots in (
            ("open_interest_max_lots·2", self.open_interest_max_lots * 2),
            ("order_max_lots·orders_max", self.order_max_lots * self.orders_max),
        ):
            if lots * highest >= SUM_BOUND:
                raise ConfigError(
                    f"market {self.name}: expected {what} times the greatest |value| of one lot ({highest} units) "
                    f"below 2^61, was {lots * highest}; lower the limit or narrow the price range"
                )
        tops = [bracket.up_to_units for bracket in self.brackets]
        if not tops or tops != sorted(set(tops)):
            raise ConfigError(f"market {self.name}: expected brackets of rising up_to, was {tops}")
        for bracket in self.brackets:
            if not 0 <= bracket.maintenance_ppb <= bracket.initial_ppb <= SCALE:
                raise ConfigError(
                    f"market {self.name}: expected 0 <= maintenance <= initial <= 1 in each bracket, was {bracket}"
                )

    def ratio(self, price_ticks: Ticks) -> tuple[int, int]:
        """Return the exact signed value of one long lot as (numerator, positive denominator)."""
        if self.kind is _INVERSE:
            return -self.numerator, self.denominator * price_ticks
        return self.numerator * price_ticks, self.denominator

    def value(self, size_lots: Lots, price_ticks: Ticks) -> Units:
        """Return the signed value of a position; profit is value at exit minus value at entry, for every kind.

        Rounds:
            Half to even on the magnitude, then signed, so that value(-s, p) = -value(s, p). Under `fill` the
            product is rounded once; under `unit` the value of one lot is rounded and then multiplied.

        Source:
            The sign convention of the multiplier in BitMEX's instrument table: inverse contracts are negative.

        Cost:
            Constant; called several times an order.
        """
        if size_lots == 0:
            return 0
        numerator, denominator = self.ratio(price_ticks)
        if self.value_rounding is _BY_UNIT:
            return size_lots * div_half_even(numerator, denominator)
        return div_half_even(size_lots * numerator, denominator)

    def requirement_base(self, size_lots: Lots, price_ticks: Ticks) -> Units:
        """Return the |value| that margin requirements are taken of.

        Rounds:
            Up, so that the parts of a split position never count for less than the whole.
        """
        numerator, denominator = self.ratio(price_ticks)
        if self.value_rounding is _BY_UNIT:
            return abs(size_lots * div_half_even(numerator, denominator))
        return div_ceil(abs(size_lots * numerator), denominator)

    def lots_within(self, limit_units: Units, price_ticks: Ticks) -> Lots:
        """Return the greatest size, up to the open interest limit, whose |value| at a price is at most a limit.

        Cost:
            O(log of the open interest limit).
        """
        most = self.open_interest_max_lots
        return _first(0, most, lambda lots: abs(self.value(lots, price_ticks)) > limit_units) - 1

    def lots_required_within(self, limit_units: Units, price_ticks: Ticks) -> Lots:
        """Return the greatest size, up to the open interest limit, whose requirements are taken of at most a limit.

        Cost:
            O(log of the open interest limit).
        """
        most = self.open_interest_max_lots
        return _first(0, most, lambda lots: self.requirement_base(lots, price_ticks) > limit_units) - 1

    def last_price(self, size_lots: Lots, holds: Callable[[Ticks], bool]) -> Ticks | None:
        """Return the last listed price, going toward loss, at which `holds` is still true.

        `holds` must turn from true to false at most once on the way from profit to loss. None: it holds at every
        listed price. When it holds nowhere, the listed price of the greatest profit. Where a tick of the position
        is worth less than a few units, rounding may make `holds` flicker there, and the answer is one of its ends.

        Cost:
            O(log of the number of listed prices) calls.
        """
        low, high = self.price_min_ticks, self.price_max_ticks
        if size_lots > 0:
            first = _first(low, high, holds)
            return None if first == low else min(first, high)
        first = _first(low, high, lambda price: not holds(price))
        return None if first > high else max(first - 1, low)

    def within(self, price_ticks: Ticks) -> Ticks:
        """Return the listed price nearest to `price_ticks`."""
        return min(max(price_ticks, self.price_min_ticks), self.price_max_ticks)

    def slippage_bound(self, side: Side, from_ticks: Ticks) -> Ticks:
        """Return the worst price at which a market order without a bound of its own may fill.

        Rounds:
            Toward the price it starts from.
        """
        if side is Side.BUY:
            return self.within(div_floor(from_ticks * (SCALE + self.market_slippage_ppb), SCALE))
        return self.within(div_ceil(from_ticks * (SCALE - self.market_slippage_ppb), SCALE))


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the least number up to `high` at which `holds`, one more where it never does; it turns true once.

    `bisect` over a range cannot: where pointers have 32 bits no range may be longer than they count.
    """
    end = high + 1
    while low < end:
        middle = div_floor(low + end, 2)
        if holds(middle):
            end = middle
        else:
            low = middle + 1
    return low


def bracket_index(brackets: Sequence[Bracket], value_units: Units) -> int:
    """Return which bracket a |value| falls in; what is above the last bracket counts as the last."""
    for index, bracket in enumerate(brackets):
        if value_units <= bracket.up_to_units:
            return index
    return len(brackets) - 1
