"""Margin model: what a pool is worth, what it needs, and where it would be liquidated. A decider."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

from perpkit.model.ids import MarketId, PositionId
from perpkit.model.position import Exposure, Need, Pool, Thresholds
from perpkit.model.price import Mark
from perpkit.units import Lots, Units


class MarginModel(Protocol):
    """Pure functions of a pool and the marks. Provisional."""

    @abstractmethod
    def need(self, pool: Pool, marks: Mapping[MarketId, Mark], /) -> Need:
        """Return equity, initial and maintenance need of a pool.

        Called at admission, withdrawal and breach detection. Must not depend on anything but its arguments.

        Rounds:
            Requirements up, once for each (account, market). Then allotted to its position ids by size, up, so that
            the parts cover the whole, and splitting a position never lowers what it needs.
        """
        ...

    @abstractmethod
    def thresholds(
        self, pool: Pool, market: MarketId, position_id: PositionId, marks: Mapping[MarketId, Mark], /
    ) -> Thresholds:
        """Return the liquidation and bankruptcy price of one position, the other marks as they are."""
        ...

    @abstractmethod
    def closing_value(
        self, pool: Pool, market: MarketId, position_id: PositionId, size_lots: Lots, marks: Mapping[MarketId, Mark], /
    ) -> Units:
        """Return the least signed value at which `size_lots` of a position may close with no one else paying.

        In a cross pool a position's share of the pool's equity is its share of the maintenance need.
        `size_lots` has the sign of the position.

        Rounds:
            Up: a close at this value never needs fund money.
        """
        ...

    @abstractmethod
    def opening_margin(self, exposure: Exposure, opening_units: Units, marks: Mapping[MarketId, Mark], /) -> Units:
        """Return what must be set aside to add an order of |value| `opening_units` to an isolated position.

        Rounds:
            Up.
        """
        ...

    @abstractmethod
    def initial_ppb(self, market: MarketId, /) -> int:
        """Return the lowest initial rate of a market, which bounds the leverage that may be chosen."""
        ...
