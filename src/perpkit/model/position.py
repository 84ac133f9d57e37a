"""Positions and margin pools as values: what a margin model or a liquidation policy is shown."""

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeAlias

import attrs

from perpkit.model.ids import AccountId, AssetId, MarketId, PositionId
from perpkit.model.market import MarketSpec
from perpkit.units import Lots, Ticks, Units


class PositionMode(IntEnum):
    """How an account's positions in a market are told apart.

    `MULTI`: by any position id, each on the side it was opened on. `ONE_WAY`: there is only id 0. `HEDGE`: id 1 is
    long, id 2 short, and an order of the other side on them only closes.
    """

    MULTI = 1
    ONE_WAY = 2
    HEDGE = 3

    def has(self, position_id: PositionId) -> bool:
        """Whether there can be a position of this id."""
        if self is PositionMode.MULTI:
            return True
        return position_id in ((0,) if self is PositionMode.ONE_WAY else (HEDGE_LONG, HEDGE_SHORT))


HEDGE_LONG: PositionId = 1
HEDGE_SHORT: PositionId = 2


@attrs.frozen(kw_only=True)
class PositionTerms:
    """What the owner chose for a position: margin of its own or shared, and the leverage to open at.

    `leverage` 0 means what the lowest initial rate allows; it may raise the initial requirement, never lower it.
    """

    isolated: bool = False
    leverage: int = 0


CROSS = PositionTerms()


@attrs.frozen(kw_only=True)
class Exposure:
    """One position id of a pool, with the resting orders on it.

    Units:
        `size_lots` is signed, long positive. `cost_units` is the sum of the values paid, signed like a value.
        `unpaid_units` is realised loss and funding that the pool could not pay. `funding_due_units` is positive
        when the position pays. `gross_lots` is the account's size in this market over all its position ids.
        `open_buy_units` and `open_sell_units` are the |values| at which opening orders were admitted.
        `isolated_units` is the margin of an isolated position, None for a cross position.
    """

    market: MarketId
    position_id: PositionId
    size_lots: Lots
    cost_units: Units
    gross_lots: Lots
    unpaid_units: Units = 0
    funding_due_units: Units = 0
    open_buy_units: Units = 0
    open_sell_units: Units = 0
    open_orders: int = 0
    isolated_units: Units | None = None
    leverage: int = 0


def held_units(market: MarketSpec, exposure: Exposure, price_ticks: Ticks) -> Units:
    """Return the |value| of a position at a price, as requirements count it.

    Rounds:
        Up.
    """
    return market.requirement_base(exposure.size_lots, price_ticks)


def worst_units(market: MarketSpec, exposure: Exposure, price_ticks: Ticks) -> Units:
    """Return the greatest |value| a position may have once its resting orders fill, all of one side.

    That is max(|size + open buys|, |size - open sells|), in values: the position at the mark, orders as admitted.
    """
    held = held_units(market, exposure, price_ticks)
    signed = held if exposure.size_lots > 0 else -held
    return max(abs(signed + exposure.open_buy_units), abs(signed - exposure.open_sell_units))


@attrs.frozen(kw_only=True)
class Pool:
    """One margin pool: an account's wallet in one asset, its cross positions, and its isolated ones beside them.

    Units:
        `reserved_units` is what resting orders hold for fees and for loss against the mark.
    """

    account: AccountId
    asset: AssetId
    wallet_units: Units
    reserved_units: Units
    exposures: tuple[Exposure, ...]


@attrs.frozen(kw_only=True)
class SlotNeed:
    """What one position of a pool is worth and needs. `equity_units` is None for a cross position."""

    market: MarketId
    position_id: PositionId
    maintenance_units: Units
    equity_units: Units | None = None


@attrs.frozen(kw_only=True)
class Need:
    """What a pool is worth and needs. The first three speak of the wallet and the cross positions.

    `initial_units` includes resting opening orders, those on isolated positions too, and the reservations.
    """

    equity_units: Units
    initial_units: Units
    maintenance_units: Units
    slots: tuple[SlotNeed, ...]


@attrs.frozen(kw_only=True)
class Thresholds:
    """The last prices, going toward loss, with equity >= maintenance, and with equity >= 0.

    None: that cannot be passed at any listed price.
    """

    liquidation_ticks: Ticks | None
    bankruptcy_ticks: Ticks | None


@attrs.frozen(kw_only=True)
class Breach:
    """A pool below maintenance: the cross part of an account's pool, or one isolated position of it."""

    account: AccountId
    asset: AssetId
    equity_units: Units
    maintenance_units: Units
    market: MarketId = 0
    position_id: PositionId = 0

    @property
    def isolated(self) -> bool:
        """Whether this is one isolated position; no market has id 0."""
        return self.market != 0

    @property
    def key(self) -> "PoolKey":
        """What names the pool."""
        return (self.account, self.asset, self.market, self.position_id)


PoolKey: TypeAlias = tuple[AccountId, AssetId, MarketId, PositionId]


@attrs.frozen(kw_only=True)
class Winner:
    """A position on the profitable side of a deleveraging, as a candidate.

    Units:
        `profit_units` is unrealised profit at the mark, `value_units` the |value| at the mark,
        `equity_units` the equity of its pool at the mark.
        `bearable_lots` is the greatest size that may close at the offered price with equity >= 0.
    """

    account: AccountId
    position_id: PositionId
    size_lots: Lots
    cost_units: Units
    profit_units: Units
    value_units: Units
    equity_units: Units
    bearable_lots: Lots


@attrs.frozen(kw_only=True)
class Closing:
    """One account's part of an exchange of positions off the book: the signed change of its size."""

    account: AccountId
    position_id: PositionId
    change_lots: Lots


Balances: TypeAlias = Mapping[int, Units]
"""Fund id to what the fund holds."""
