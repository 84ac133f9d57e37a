"""What makes a waiting order go live, and orders that wait for another one."""

from enum import IntEnum

import attrs

from perpkit.model.order import Side
from perpkit.units import Lots, Ppb, Ticks


class TriggerKind(IntEnum):
    """A stop follows the price: a buy fires when it rises, a sell when it falls. A take-profit goes against it."""

    STOP = 1
    TAKE_PROFIT = 2


class PriceSource(IntEnum):
    """Which price a trigger looks at: the mark, the index, or the last trade on the own book."""

    MARK = 1
    INDEX = 2
    LAST = 3


class Relation(IntEnum):
    """How an attached order stands to the one it came with.

    `AFTER`: it waits until that one fills, and is of the size that filled. `EITHER`: both are alive, and what happens
    to one first takes the other away. The `AFTER` orders of one order are `EITHER` to each other.
    """

    AFTER = 1
    EITHER = 2


@attrs.frozen(kw_only=True)
class Trigger:
    """When an order goes live. Until then it reserves nothing.

    Units:
        `price_ticks` is where it fires, at or beyond. A trailing stop has none: it stays `trail_ticks`, or `trail_ppb`
        of the best price seen, behind the best price since it was placed.

    Rounds:
        The rate of a trailing stop away from the price, to the tick.
    """

    kind: TriggerKind = TriggerKind.STOP
    price_source: PriceSource = PriceSource.MARK
    price_ticks: Ticks = 0
    trail_ticks: Ticks = 0
    trail_ppb: Ppb = 0

    @property
    def trails(self) -> bool:
        """Whether it follows the price at a distance."""
        return bool(self.trail_ticks or self.trail_ppb)

    def rising(self, side: Side) -> bool:
        """Whether an order of this side fires when the price rises."""
        return (side is Side.BUY) == (self.kind is TriggerKind.STOP)


@attrs.frozen(kw_only=True)
class Attached:
    """An order that comes with another one, in the same market and on the same position.

    Units:
        Size in lots; 0 with `AFTER`: as much as fills. Price in ticks; a market order is bounded as any other.
    """

    relation: Relation = Relation.AFTER
    side: Side
    size_lots: Lots = 0
    price_ticks: Ticks = 0
    is_market: bool = False
    reduce_only: bool = True
    client_order_id: int = 0
    trigger: Trigger | None = None
