"""Orders: side, time in force, and what a resting or an arriving order is."""

from enum import IntEnum

import attrs

from perpkit.model.cause import CancelReason
from perpkit.model.ids import AccountId, MarketId, OrderId, PositionId
from perpkit.units import Lots, Ticks


class Side(IntEnum):
    """Buy or sell; the value is the sign that the fill adds to a position."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return _SELL if self > 0 else _BUY


# Looking a member up on its class costs ten times as much in Python 3.11, and every order asks.
_BUY, _SELL = Side.BUY, Side.SELL


class TimeInForce(IntEnum):
    """How long an order lives: good till cancelled, immediate or cancel, fill or kill, good till a date, for the day.

    A day ends at midnight UTC.
    """

    GTC = 1
    IOC = 2
    FOK = 3
    GTD = 4
    DAY = 5

    @property
    def immediate(self) -> bool:
        """Whether nothing of the order ever rests."""
        return self in _AT_ONCE


_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)


class SelfTrade(IntEnum):
    """What happens where an order would meet one of the same account, or of the same owner.

    `DECREMENT` takes the smaller size off both, without a trade.
    """

    OFF = 0
    CANCEL_TAKER = 1
    CANCEL_MAKER = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


# Orders and plans are made for every message. Frozen, they would cost three times as much, and nobody changes one; made
# by name, they cost twice as much, so what makes many of them gives the fields in order.
@attrs.define
class Order:
    """An order that has been admitted and may trade: what a book is given.

    Units:
        `size_lots` is what is left of it, positive; `price_ticks` is its limit. `hidden_lots` of what is left are not
        shown; `display_lots` are shown anew when what is shown is used up (an iceberg), 0 where nothing is (a hidden
        order) and where all is shown.
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
    self_trade: SelfTrade = SelfTrade.OFF
    self_trade_by_owner: bool = False
    display_lots: Lots = 0
    hidden_lots: Lots = 0

    def with_left(self, size_lots: Lots, hidden_lots: Lots) -> "Order":
        """Return this order with another size; `attrs.evolve` takes four times as long, and every fill needs one."""
        return Order(
            self.id,
            self.account,
            self.market,
            self.position_id,
            self.side,
            size_lots,
            self.price_ticks,
            self.time_in_force,
            self.reduce_only,
            self.self_trade,
            self.self_trade_by_owner,
            self.display_lots,
            hidden_lots,
        )


@attrs.define
class Match:
    """One maker that a taker meets, at the maker's price.

    Where self-trade prevention speaks, `prevented`: `size_lots` comes off the maker without a trade.
    """

    maker: OrderId
    maker_account: AccountId
    maker_position_id: PositionId
    price_ticks: Ticks
    size_lots: Lots
    prevented: bool = False


@attrs.define
class MatchPlan:
    """What would happen if an order arrived now. Nothing has changed yet.

    `rest_lots` is what would rest, `cancel_lots` what would be cancelled, and why, `prevented_lots` what
    self-trade prevention takes off without a trade. A fill-or-kill order that cannot fill whole has no matches and is
    cancelled whole.
    """

    taker: Order
    version: int
    matches: tuple[Match, ...]
    rest_lots: Lots
    cancel_lots: Lots
    prevented_lots: Lots = 0
    cancel_reason: CancelReason = CancelReason.IMMEDIATE


@attrs.frozen(kw_only=True)
class Level:
    """One price of the book: the sum of the sizes that are shown there, and how many orders they are."""

    price_ticks: Ticks
    size_lots: Lots
    orders: int
