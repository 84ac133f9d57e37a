"""Liquidation policy: what to do next with a pool that is below maintenance. A decider."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol, TypeAlias

import attrs

from perpkit.model.ids import MarketId, PositionId
from perpkit.model.position import Breach, Need, Pool, Thresholds
from perpkit.model.price import Mark
from perpkit.units import Lots, Ticks


@attrs.frozen(kw_only=True)
class CancelOrders:
    """Cancel the pool's resting orders in a market."""

    market: MarketId


@attrs.frozen(kw_only=True)
class CloseOnBook:
    """Send an immediate-or-cancel order for part of a position, bounded at its bankruptcy price."""

    market: MarketId
    position_id: PositionId
    size_lots: Lots
    limit_ticks: Ticks


@attrs.frozen(kw_only=True)
class TakeOver:
    """Give the whole position to the house at its bankruptcy price, with what is left of its margin."""

    market: MarketId
    position_id: PositionId
    price_ticks: Ticks


@attrs.frozen
class Settled:
    """There is nothing more to do with this pool."""


Step: TypeAlias = CancelOrders | CloseOnBook | TakeOver | Settled


@attrs.frozen(kw_only=True)
class Case:
    """Everything a liquidation decision may depend on.

    `exposures` of `pool` are the positions that may be touched now (their market runs and its mark is not frozen);
    `thresholds` has the prices of each. A position of size 0 is there because it owes; its prices are None, and it
    is taken over at the last listed price toward loss. `stalled`: the last step on the book closed nothing.
    """

    breach: Breach
    pool: Pool
    need: Need
    thresholds: Mapping[tuple[MarketId, PositionId], Thresholds]
    marks: Mapping[MarketId, Mark]
    steps_done: int
    stalled: bool


class LiquidationPolicy(Protocol):
    """Asked again after each step, with the state that step left. Provisional."""

    @abstractmethod
    def next_step(self, case: Case, /) -> Step:
        """Return what to do next. The engine refuses a limit or a price beyond the bankruptcy price."""
        ...
