"""Deleveraging `ranked`: the most profitable at the highest leverage give up their positions first."""

from collections.abc import Sequence
from fractions import Fraction

from perpkit.model.ids import AccountId, PositionId
from perpkit.model.position import Winner
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext
from perpkit.ports.deleveraging import DeleveragingCase, Share


class RankedDeleveraging:
    """Go down the queue of profit × leverage until everything is placed, each to the end of what it can bear.

    The score is (profit / |cost|) · (|value| / equity), compared exactly; equal scores go by account, then
    position id. The queue closes those at its head in full, so it takes more profit than the loss needs.

    Source:
        BitMEX's auto-deleveraging ranking. It differs in three ways. BitMEX also ranks losing positions,
        behind the winners; here they are never touched. Its leverage divides by the distance to the
        bankruptcy value, which for a cross position is here the equity of the whole pool. And nobody closes
        more here than leaves the pool with equity at the offered price.
    """

    def __init__(self, _context: ExchangeContext, _options: NoOptions) -> None: ...

    def shares(self, case: DeleveragingCase, /) -> Sequence[Share]:
        """Return who closes how much, the highest score first.

        Cost:
            O(n log n) in the number of winners.
        """
        shares = []
        left_lots = case.size_lots
        for winner in sorted((winner for winner in case.winners if winner.profit_units > 0), key=_rank):
            size_lots = min(winner.bearable_lots, left_lots)
            if size_lots > 0:
                shares.append(Share(account=winner.account, position_id=winner.position_id, size_lots=size_lots))
                left_lots -= size_lots
        return shares


def _rank(winner: Winner) -> tuple[bool, Fraction, AccountId, PositionId]:
    # Without cost or equity to divide by, the score is beyond every number: such a position comes first.
    earned = winner.profit_units * winner.value_units
    staked = abs(winner.cost_units) * winner.equity_units
    finite = staked > 0
    score = Fraction(earned, staked) if finite else Fraction(earned)
    return finite, -score, winner.account, winner.position_id
