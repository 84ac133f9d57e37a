"""Deleveraging policy: which winners give up how much when a fund cannot pay. A decider."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import attrs

from perpkit.model.ids import AccountId, MarketId, PositionId
from perpkit.model.position import Winner
from perpkit.units import Lots, Ticks, Units


@attrs.frozen(kw_only=True)
class Share:
    """How much of one winner's position closes."""

    account: AccountId
    position_id: PositionId
    size_lots: Lots


@attrs.frozen(kw_only=True)
class DeleveragingCase:
    """`size_lots` must be placed at `price_ticks`; `severity_units` is the loss that the fund cannot pay.

    Units:
        Sizes here are positive.
    """

    market: MarketId
    size_lots: Lots
    price_ticks: Ticks
    severity_units: Units
    winners: Sequence[Winner]


class DeleveragingPolicy(Protocol):
    """Chooses among winners who can bear the price. Provisional."""

    @abstractmethod
    def shares(self, case: DeleveragingCase, /) -> Sequence[Share]:
        """Return who closes how much, in order. At most `bearable_lots` each and `size_lots` in all."""
        ...
