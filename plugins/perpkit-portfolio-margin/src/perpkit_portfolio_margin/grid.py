"""The grid: what a book loses when every market jumps at once.

Margin by position asks what each position may lose, and adds up. Portfolio margin asks once, of the whole book: let
every price move by the same shock s, set what is lost in one market against what is gained in another, and take the
worst shock of a short list.

    X       net |value| held in a market at the mark, long positive, short negative
    g(s)    what a long gains for each unit of |value|:
                s               linear and quanto
                s ÷ (1 + s)     inverse, worth −size ÷ price
    loss(s) = Σ over the markets of ⌈−X · g(s)⌉
    need    = max( loss(s) for every s of the list, ⌈floor · Σ |value| of the positions⌉ )

Equity less loss(s) is what equity would be after the shock. So a pool whose equity covers its need comes out of every
scenario of the grid with nothing owed: that is all the model promises.

*Why several shocks?* The loss of a linear book is a straight line in s, and the worst shock is the greatest. That of an
inverse position is bent: a book that hedges one kind with the other may lose most somewhere in between.

*Why a floor?* The grid moves all prices together, so a long and a short of equal value lose nothing in it. In life the
two prices part, and both positions have to be closed on two books. The floor is what is asked for that.

Source:
    CME's SPAN works out each contract's loss in a list of scenarios, adds up over the book and takes the worst. Deribit
    pools what settles in one currency, spreads its scenarios evenly up to a greatest move, and adds a share of futures
    that offset each other. OKX moves its largest coins by 4, 8 and 12 %. All three also move volatility, which matters
    to options only. Ours differs in that one list of shocks is for all markets, and that different underlyings offset
    each other in full, where others credit a part or nothing: the wider the underlyings of an asset differ, the higher
    the floor has to be. Nor is there a surcharge for size; the top of a market's last bracket still bounds a position.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import attrs

from perpkit.model.ids import MarketId
from perpkit.model.market import ContractKind, MarketSpec, ValueRounding
from perpkit.model.position import Exposure, held_units, worst_units
from perpkit.model.price import Mark
from perpkit.units import SCALE, Ppb, Ticks, Units, div_ceil


@attrs.frozen(kw_only=True)
class Stake:
    """The net |value| of a book in one market, exactly; a range while orders rest that may or may not fill.

    Units:
        `least` and `most`, long positive, are accounting units once divided by `denominator`.
    """

    inverse: bool
    least: int
    most: int
    denominator: int

    @classmethod
    def of(cls, spec: MarketSpec, exposures: Sequence[Exposure], price_ticks: Ticks, *, orders: bool) -> "Stake":
        """Add up a book's positions in a market, and with `orders` what fills may still add on either side."""
        lot, denominator = _lot_value(spec, price_ticks)
        net = sum(exposure.size_lots for exposure in exposures) * lot
        buys = sum(exposure.open_buy_units for exposure in exposures) if orders else 0
        sells = sum(exposure.open_sell_units for exposure in exposures) if orders else 0
        return cls(
            inverse=spec.kind is ContractKind.INVERSE,
            least=net - sells * denominator,
            most=net + buys * denominator,
            denominator=denominator,
        )

    def loss(self, shock_ppb: Ppb) -> Units:
        """Return what a shock takes, at the worse end of the range; a gain is negative.

        Rounds:
            Up: a loss never counts for less than it is, nor a gain for more.
        """
        held = self.least if shock_ppb > 0 else self.most
        divisor = SCALE + shock_ppb if self.inverse else SCALE
        return div_ceil(-held * shock_ppb, divisor * self.denominator)


@attrs.frozen(kw_only=True)
class Grid:
    """The shocks, up and down, and the floor below which no book's need falls."""

    markets: Mapping[MarketId, MarketSpec]
    shocks_ppb: Sequence[Ppb]
    floor_ppb: Ppb

    def losses(
        self, book: Iterable[Exposure], marks: Mapping[MarketId, Mark], *, orders: bool = False
    ) -> Mapping[Ppb, Units]:
        """Return what a book loses under each shock; with `orders`, if those orders fill that make it worst.

        Rounds:
            Up, once for each market and shock.
        """
        by_market: dict[MarketId, list[Exposure]] = defaultdict(list)
        for exposure in book:
            by_market[exposure.market].append(exposure)
        stakes = [
            Stake.of(self.markets[market], exposures, marks[market].price_ticks, orders=orders)
            for market, exposures in by_market.items()
        ]
        return {shock: sum(stake.loss(shock) for stake in stakes) for shock in self.shocks_ppb}

    def need(self, book: Sequence[Exposure], marks: Mapping[MarketId, Mark], *, orders: bool = False) -> Units:
        """Return the worst loss, or the floor where that is more.

        Rounds:
            Up, as `losses`, and the floor once.

        Cost:
            O(positions + markets · shocks).
        """
        size_of = worst_units if orders else held_units
        gross = sum(size_of(self.markets[each.market], each, marks[each.market].price_ticks) for each in book)
        return max(*self.losses(book, marks, orders=orders).values(), div_ceil(gross * self.floor_ppb, SCALE))

    def rates_ppb(self, market: MarketId) -> tuple[Ppb, Ppb]:
        """Return what a long and a short need, alone, for each unit of |value|.

        Rounds:
            Up.
        """
        inverse = self.markets[market].kind is ContractKind.INVERSE
        sides = [Stake(inverse=inverse, least=held, most=held, denominator=1) for held in (SCALE, -SCALE)]
        long, short = (max(self.floor_ppb, *map(side.loss, self.shocks_ppb)) for side in sides)
        return long, short


def _lot_value(spec: MarketSpec, price_ticks: Ticks) -> tuple[int, int]:
    """Return the exact |value| of one lot as (numerator, denominator), the way the market rounds it."""
    if spec.value_rounding is ValueRounding.UNIT:
        return abs(spec.value(1, price_ticks)), 1
    numerator, denominator = spec.ratio(price_ticks)
    return abs(numerator), denominator
