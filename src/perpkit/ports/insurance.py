"""Insurance fund: decides draws and inflows. The balances are ledger accounts; a fold remembers windows only."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import attrs

from perpkit.model.cause import Cause
from perpkit.model.ids import AssetId, FundId, MarketId
from perpkit.model.position import Balances
from perpkit.units import Nanos, Units


@attrs.frozen(kw_only=True)
class Loss:
    """Something a fund may be asked to pay: `amount_units` for a position in `market`."""

    market: MarketId
    asset: AssetId
    amount_units: Units
    cause: Cause
    at_ns: Nanos


@attrs.frozen(kw_only=True)
class FundMove:
    """An amount out of, or into, one sub-fund."""

    fund: FundId
    amount_units: Units


class InsuranceFund(Protocol):
    """Sub-funds that never pay for each other's purpose. Provisional."""

    @abstractmethod
    def funds(self) -> Sequence[FundId]:
        """Return the sub-funds; each is a ledger account an asset."""
        ...

    @abstractmethod
    def payable(self, loss: Loss, balances: Balances, /) -> Units:
        """Return how much of a loss the funds may still pay. Asked before any money moves; changes nothing.

        It is what `draw` would then pay in all: at most the loss, and at most what the funds hold. Of a larger loss no
        less is payable, all else the same.
        """
        ...

    @abstractmethod
    def draw(self, loss: Loss, balances: Balances, /) -> Sequence[FundMove]:
        """Return which sub-funds pay how much: in all at most the loss, each at most its balance."""
        ...

    @abstractmethod
    def receive(self, inflow: Loss, /) -> Sequence[FundMove]:
        """Return which sub-funds an inflow goes to: in all exactly its amount, which is positive."""
        ...

    @abstractmethod
    def dump(self) -> bytes:
        """Return the whole state, the same bytes for the same observable content."""
        ...

    @abstractmethod
    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        ...
