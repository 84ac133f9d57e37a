"""Fees and order checks: deciders that every order passes."""

from abc import abstractmethod
from typing import Protocol

from perpkit.model.ids import AccountId
from perpkit.model.order import Order
from perpkit.model.price import Mark
from perpkit.units import Ppb, Ticks


class FeeSchedule(Protocol):
    """What a fill costs. Provisional."""

    @abstractmethod
    def rate_ppb(self, account: AccountId, maker: bool, /) -> Ppb:
        """Return the fee rate on |value|; negative is a rebate. The fee itself is rounded up."""
        ...


class OrderCheck(Protocol):
    """A pre-trade rule. Several run in configured order; the first that refuses decides. Provisional."""

    @abstractmethod
    def admits(self, order: Order, mark: Mark, best_bid: Ticks | None, best_ask: Ticks | None, /) -> bool:
        """Say whether an order may come in."""
        ...
