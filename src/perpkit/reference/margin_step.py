"""Margin `step`: the whole position is charged at the rate of the bracket that it falls into."""

from collections.abc import Sequence

from perpkit.model.market import Bracket
from perpkit.reference.margin_tiered import Rates, TieredMargin
from perpkit.units import Ppb


class StepMargin(TieredMargin):
    """As `tiered`, but not marginal: requirement(v) = v · rate, the rate that of the bracket of the whole v.

    So a requirement jumps where a position grows past the top of a bracket, and three things differ:

    - Whoever opens past an edge needs more for what is held as well, at once and for all of it.
    - With maintenance at the mark, a price that moves the |value| over an edge moves the need with it, also where the
      position gains. The liquidation price is the nearest toward loss, and there may be a breach on the other side too,
      and none again beyond. With maintenance at entry only trades move a position over an edge.
    - Closing down to the top of the bracket below lowers the rate of all that is left.

    Rounds:
        Requirements up.

    Source:
        BitMEX's risk limits: value 180 with a base limit of 200 needed 1 % and 0.5 %; each further step of 150 that
        it reached added 0.5 % to both, on the whole of it, at entry and with the closing fee in. It differs in that
        nobody picks a limit: the bracket follows the size. A value equal to a limit was in the next step there; the
        top of a bracket is in the bracket here, so such a limit is written one accounting unit lower.
    """

    def _rates(self, brackets: Sequence[Bracket], rates_ppb: Sequence[Ppb]) -> Rates:
        return Rates(brackets, rates_ppb, [0] * len(brackets))
