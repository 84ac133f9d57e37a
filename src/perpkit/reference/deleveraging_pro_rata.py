"""Deleveraging `pro-rata`: every winner gives up the same part of what it can bear."""

from collections.abc import Sequence

from perpkit.model.ids import AccountId, PositionId
from perpkit.model.position import Winner
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.units import apportion


class ProRataDeleveraging:
    """Close all winners at once, each in proportion to the size that it can bear.

    A queue closes those at its head in full, so a few lose their whole position and the others nothing. Here
    everybody loses the same part. Where the size exceeds what all can bear, all bear all they can.

    Rounds:
        Exactly the size in all: shares down, then one more lot to the largest remainders, ties by account,
        then position id.

    Source:
        The pro-rata rule of the papers on the deleveraging of 10 October 2025 (arXiv 2512.01112). It differs
        in what is shared: there each gives the same part of its profit, here of its size, so at one price
        each lot gives up the same, whatever it had won.

    Example:
        A short of 20 lots, and longs that can bear 10, 10, 20, 30, 20 and 10: they close 2, 2, 4, 6, 4 and 2.
    """

    def __init__(self, _context: ExchangeContext, _options: NoOptions) -> None: ...

    def shares(self, case: DeleveragingCase, /) -> Sequence[Share]:
        """Return who closes how much, by account and position id.

        Cost:
            O(n log n) in the number of winners.
        """
        winners = sorted((each for each in case.winners if each.profit_units > 0), key=_identity)
        bearable = [winner.bearable_lots for winner in winners]
        placed = min(case.size_lots, sum(bearable))
        if not placed:
            return ()
        # Only a share that was rounded down gets a lot more, so none exceeds what it is a part of.
        return [
            Share(account=winner.account, position_id=winner.position_id, size_lots=size_lots)
            for winner, size_lots in zip(winners, apportion(placed, bearable), strict=True)
            if size_lots
        ]


def _identity(winner: Winner) -> tuple[AccountId, PositionId]:
    return winner.account, winner.position_id
