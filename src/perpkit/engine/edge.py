"""Where text comes in: names and decimals become the integers of commands, exactly or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from perpkit.engine.config import ExchangeConfig
from perpkit.errors import UnitsError
from perpkit.model.command import (
    CancelOrder,
    CapitalObserved,
    Command,
    DepositObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    SetPositionTerms,
)
from perpkit.model.ids import AccountId, FundId, OrderId, PositionId, SourceId
from perpkit.model.market import MarketSpec
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import Quote
from perpkit.ports.context import AssetSpec
from perpkit.units import Nanos

if TYPE_CHECKING:
    from perpkit.engine.exchange import Outcome


FIRST_OWN_ID = 1 << 40
"""Deposits made without an id are numbered from here, far from what a custody counts."""


class Edge(ABC):
    """One-line helpers that build commands from text and apply them; a stamp left out is the last one.

    Raises:
        UnitsError: a name is unknown, or an amount is off its tick, lot or unit. Nothing is ever rounded.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        self._markets = {market.name: market for market in config.markets.values()}
        self._assets = {asset.name: asset for asset in config.assets.values()}

    @property
    @abstractmethod
    def clock_ns(self) -> Nanos:
        """The stamp of the last accepted command."""

    @property
    @abstractmethod
    def sequence(self) -> int:
        """How many commands were applied."""

    @abstractmethod
    def apply(self, command: Command) -> "Outcome":
        """Apply one command."""

    def market(self, name: str) -> MarketSpec:
        """Return the rules of a market by its name."""
        if name not in self._markets:
            raise UnitsError(f"market: expected one of {', '.join(sorted(self._markets))}, was {name!r}")
        return self._markets[name]

    def asset(self, name: str) -> AssetSpec:
        """Return an asset by its name."""
        if name not in self._assets:
            raise UnitsError(f"asset: expected one of {', '.join(sorted(self._assets))}, was {name!r}")
        return self._assets[name]

    def deposit(
        self, account: AccountId, asset: str, amount: object, *, deposit_id: int = 0, time_ns: Nanos = 0
    ) -> "Outcome":
        """Credit an account; the first deposit opens it. Without an id it gets one of its own."""
        spec = self.asset(asset)
        return self.apply(
            DepositObserved(
                deposit_id=deposit_id or FIRST_OWN_ID + self.sequence,
                account=account,
                asset=spec.id,
                amount_units=spec.unit.parse(amount, "amount"),
                time_ns=time_ns or self.clock_ns,
            )
        )

    def capital(
        self, asset: str, amount: object, *, fund: FundId = 1, deposit_id: int = 0, time_ns: Nanos = 0
    ) -> "Outcome":
        """Pay the operator's money into an insurance fund."""
        spec = self.asset(asset)
        return self.apply(
            CapitalObserved(
                deposit_id=deposit_id or FIRST_OWN_ID + self.sequence,
                fund=fund,
                asset=spec.id,
                amount_units=spec.unit.parse(amount, "amount"),
                time_ns=time_ns or self.clock_ns,
            )
        )

    def withdraw(
        self, account: AccountId, asset: str, amount: object, *, withdrawal_id: int, time_ns: Nanos = 0
    ) -> "Outcome":
        """Ask for money out."""
        spec = self.asset(asset)
        return self.apply(
            RequestWithdrawal(
                withdrawal_id=withdrawal_id,
                account=account,
                asset=spec.id,
                amount_units=spec.unit.parse(amount, "amount"),
                time_ns=time_ns or self.clock_ns,
            )
        )

    def quote(self, market: str, prices: Mapping[SourceId, object] | object, *, time_ns: Nanos = 0) -> "Outcome":
        """Give index sources' prices for a market; one price alone stands for five sources that agree."""
        spec = self.market(market)
        by_source = prices if isinstance(prices, Mapping) else dict.fromkeys(range(1, 6), prices)
        at_ns = time_ns or self.clock_ns
        quotes = tuple(
            Quote(market=spec.id, source=source, price_ticks=spec.tick.parse(price, "price"), weight=1, at_ns=at_ns)
            for source, price in by_source.items()
        )
        return self.apply(IndexQuotes(quotes=quotes, time_ns=at_ns))

    def place(
        self,
        account: AccountId,
        market: str,
        side: Side,
        size: object,
        price: object = None,
        *,
        time_in_force: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        position_id: PositionId = 0,
        client_order_id: int = 0,
        time_ns: Nanos = 0,
    ) -> "Outcome":
        """Place a limit order, or without a price a market order."""
        spec = self.market(market)
        return self.apply(
            PlaceOrder(
                account=account,
                market=spec.id,
                side=side,
                size_lots=spec.lot.parse(size, "size"),
                price_ticks=0 if price is None else spec.tick.parse(price, "price"),
                is_market=price is None,
                time_in_force=time_in_force,
                post_only=post_only,
                reduce_only=reduce_only,
                position_id=position_id,
                client_order_id=client_order_id,
                time_ns=time_ns or self.clock_ns,
            )
        )

    def cancel(
        self, account: AccountId, market: str, order_id: OrderId = 0, *, client_order_id: int = 0, time_ns: Nanos = 0
    ) -> "Outcome":
        """Cancel an order by the exchange's id or by the client's."""
        return self.apply(
            CancelOrder(
                account=account,
                market=self.market(market).id,
                order_id=order_id,
                client_order_id=client_order_id,
                time_ns=time_ns or self.clock_ns,
            )
        )

    def set_terms(
        self,
        account: AccountId,
        market: str,
        *,
        isolated: bool = False,
        leverage: int = 0,
        position_id: PositionId = 0,
        time_ns: Nanos = 0,
    ) -> "Outcome":
        """Choose margin mode and leverage of a flat position."""
        return self.apply(
            SetPositionTerms(
                account=account,
                market=self.market(market).id,
                position_id=position_id,
                isolated=isolated,
                leverage=leverage,
                time_ns=time_ns or self.clock_ns,
            )
        )
