"""Orders: side, time in force, and what a resting or an arriving order is."""

from enum import IntEnum

import attrs

from perpkit.model.ids import AccountId, MarketId, OrderId, PositionId
from perpkit.units import Lots, Ticks


class Side(IntEnum):
    """Buy or sell; the value is the sign that the fill adds to a position."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(IntEnum):
    """How long an order lives: good till cancelled, immediate or cancel, fill or kill."""

    GTC = 1
    IOC = 2
    FOK = 3


@attrs.frozen(kw_only=True)
class Order:
    """An order that has been admitted and may trade: what a book is given.

    Units:
        `size_lots` is what is left of it, positive; `price_ticks` is its limit.
    """

    id: OrderId
    account: AccountId
    market: MarketId
    position_id: PositionId
    side: Side
    size_lots: Lots
    price_ticks: Ticks
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False


@attrs.frozen(kw_only=True)
class Match:
    """One maker that a taker meets, at the maker's price."""

    maker: OrderId
    maker_account: AccountId
    maker_position_id: PositionId
    price_ticks: Ticks
    size_lots: Lots
    maker_left_lots: Lots


@attrs.frozen(kw_only=True)
class MatchPlan:
    """What would happen if an order arrived now. Nothing has changed yet.

    `rest_lots` is what would rest, `cancel_lots` what would be cancelled: a fill-or-kill order that cannot fill
    whole has no matches and is cancelled whole.
    """

    taker: Order
    version: int
    matches: tuple[Match, ...]
    rest_lots: Lots
    cancel_lots: Lots
    work_limited: bool = False


@attrs.frozen(kw_only=True)
class Level:
    """One price of the book: the sum of the sizes that rest there, and how many orders they are."""

    price_ticks: Ticks
    size_lots: Lots
    orders: int
