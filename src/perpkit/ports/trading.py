"""Fees and order checks: deciders that every order passes."""

from abc import abstractmethod
from typing import Protocol

import attrs

from perpkit.model.ids import AccountId
from perpkit.model.order import Order
from perpkit.model.price import Mark
from perpkit.units import Lots, Ppb, Ticks


class FeeSchedule(Protocol):
    """What a fill costs. Provisional."""

    @abstractmethod
    def rate_ppb(self, account: AccountId, maker: bool, /) -> Ppb:
        """Return the fee rate on |value|; negative is a rebate. The fee itself is rounded up.

        Called for each side of each fill. Must depend on its arguments alone. An owner who is on both sides of a fill
        earns nothing by it, whatever accounts they use: what one pays as taker covers what another gets as maker.

        Units:
            From -10^9 to 10^9.
        """
        ...


@attrs.frozen(kw_only=True)
class OrderCase:
    """An order that asks to come in, and where its account and its market stand before it.

    Units:
        `position_lots` is the signed size of the position that it is for.
        Lots, of the order's account in the order's market: `long_lots` and `short_lots` over all its positions,
        `open_buy_lots` and `open_sell_lots` over its `open_orders` resting orders, none of them this one.
        `open_interest_lots` is the market's.
    """

    order: Order
    mark: Mark
    best_bid_ticks: Ticks | None = None
    best_ask_ticks: Ticks | None = None
    position_lots: Lots = 0
    long_lots: Lots = 0
    short_lots: Lots = 0
    open_buy_lots: Lots = 0
    open_sell_lots: Lots = 0
    open_orders: int = 0
    open_interest_lots: Lots = 0


class OrderCheck(Protocol):
    """A pre-trade rule. Several run in configured order; the first that refuses decides. Provisional."""

    @abstractmethod
    def admits(self, case: OrderCase, /) -> bool:
        """Say whether an order may come in. Called before the order is planned; must depend on `case` alone."""
        ...
