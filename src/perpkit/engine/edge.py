"""Where text comes in: names and decimals become the integers of commands, exactly or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perpkit.engine.config import ExchangeConfig
from perpkit.errors import UnitsError
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    CancelAllAfter,
    CancelOrder,
    CancelOrders,
    CapitalObserved,
    ClosePosition,
    ClosePositions,
    Command,
    DepositObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ReversePosition,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.ids import AccountId, FundId, OrderId, PositionId, SourceId
from perpkit.model.market import MarketSpec
from perpkit.model.order import Side
from perpkit.model.position import PositionMode
from perpkit.model.preview import Preview
from perpkit.model.price import Quote
from perpkit.ports.context import AssetSpec
from perpkit.units import Nanos, Scale

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
    def preview_order(self, command: PlaceOrder) -> Preview:
        """Return what an order would do now."""

    @abstractmethod
    def apply(self, command: Command) -> "Outcome":
        """Apply one command."""

    def market(self, name: str) -> MarketSpec:
        """Return the rules of a market by its name."""
        if name not in self._markets:
            raise UnitsError(f"market: expected one of {', '.join(sorted(self._markets))}, was {name!r}")
        return self._markets[name]

    def _unit_of(self, market: MarketSpec) -> Scale:
        return next(asset.unit for asset in self._assets.values() if asset.id == market.settlement)

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

    def order(
        self,
        account: AccountId,
        market: str,
        side: Side,
        size: object,
        price: object = None,
        *,
        display: object = None,
        value_limit: object = None,
        peg_offset: object = None,
        time_ns: Nanos = 0,
        **terms: Any,
    ) -> PlaceOrder:
        """Return the command that `place` applies: a limit order, or without a price a market order.

        `terms` are further fields of `PlaceOrder`; with `pegged` or `market_to_limit` a price is only the worst one.
        """
        spec = self.market(market)
        bare = price is None and not (terms.get("pegged") or terms.get("market_to_limit"))
        unit = self._unit_of(spec)
        return PlaceOrder(
            account=account,
            market=spec.id,
            side=side,
            size_lots=spec.lot.parse(size, "size"),
            price_ticks=0 if price is None else spec.tick.parse(price, "price"),
            is_market=terms.pop("is_market", bare),
            display_lots=0 if display is None else spec.lot.parse(display, "display"),
            value_limit_units=0 if value_limit is None else unit.parse(value_limit, "value_limit"),
            peg_offset_ticks=0 if peg_offset is None else spec.tick.parse(peg_offset, "peg_offset"),
            time_ns=time_ns or self.clock_ns,
            **terms,
        )

    def place(
        self, account: AccountId, market: str, side: Side, size: object, price: object = None, **terms: Any
    ) -> "Outcome":
        """Place a limit order, or without a price a market order; see `order`."""
        return self.apply(self.order(account, market, side, size, price, **terms))

    def preview(
        self, account: AccountId, market: str, side: Side, size: object, price: object = None, **terms: Any
    ) -> Preview:
        """Return what `place` would do now; see `order`. Nothing changes."""
        return self.preview_order(self.order(account, market, side, size, price, **terms))

    def amend(
        self,
        account: AccountId,
        market: str,
        order_id: OrderId = 0,
        *,
        size: object = None,
        price: object = None,
        trigger: object = None,
        client_order_id: int = 0,
        time_ns: Nanos = 0,
    ) -> "Outcome":
        """Change an order in place; what is left out stays as it is."""
        spec = self.market(market)
        return self.apply(
            AmendOrder(
                account=account,
                market=spec.id,
                order_id=order_id,
                client_order_id=client_order_id,
                size_lots=0 if size is None else spec.lot.parse(size, "size"),
                price_ticks=0 if price is None else spec.tick.parse(price, "price"),
                trigger_ticks=0 if trigger is None else spec.tick.parse(trigger, "trigger"),
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

    def cancel_all(
        self,
        account: AccountId,
        market: str | None = None,
        *,
        side: Side | None = None,
        position_id: PositionId | None = None,
        time_ns: Nanos = 0,
    ) -> "Outcome":
        """Cancel all orders of an account: in one market or in all, of one side or both, of one position or all."""
        return self.apply(
            CancelOrders(
                account=account,
                market=self.market(market).id if market else 0,
                buys=side is not Side.SELL,
                sells=side is not Side.BUY,
                by_position=position_id is not None,
                position_id=position_id or 0,
                time_ns=time_ns or self.clock_ns,
            )
        )

    def cancel_all_after(self, account: AccountId, after_ns: Nanos, *, time_ns: Nanos = 0) -> "Outcome":
        """Arm or renew the dead man's switch; 0 disarms it."""
        return self.apply(CancelAllAfter(account=account, after_ns=after_ns, time_ns=time_ns or self.clock_ns))

    def close(
        self,
        account: AccountId,
        market: str,
        size: object = None,
        price: object = None,
        *,
        position_id: PositionId = 0,
        client_order_id: int = 0,
        time_ns: Nanos = 0,
    ) -> "Outcome":
        """Close a position in one click: all of it or a part, at the market or at a limit."""
        spec = self.market(market)
        return self.apply(
            ClosePosition(
                account=account,
                market=spec.id,
                position_id=position_id,
                size_lots=0 if size is None else spec.lot.parse(size, "size"),
                price_ticks=0 if price is None else spec.tick.parse(price, "price"),
                client_order_id=client_order_id,
                time_ns=time_ns or self.clock_ns,
            )
        )

    def reverse(
        self,
        account: AccountId,
        market: str,
        price: object = None,
        *,
        position_id: PositionId = 0,
        client_order_id: int = 0,
        time_ns: Nanos = 0,
    ) -> "Outcome":
        """Reverse a position in one click; a price is the worst that may be paid."""
        spec = self.market(market)
        return self.apply(
            ReversePosition(
                account=account,
                market=spec.id,
                position_id=position_id,
                price_ticks=0 if price is None else spec.tick.parse(price, "price"),
                client_order_id=client_order_id,
                time_ns=time_ns or self.clock_ns,
            )
        )

    def close_all(self, account: AccountId, market: str | None = None, *, time_ns: Nanos = 0) -> "Outcome":
        """Close every position of an account in one click, in one market or in all."""
        return self.apply(
            ClosePositions(
                account=account, market=self.market(market).id if market else 0, time_ns=time_ns or self.clock_ns
            )
        )

    def adjust_margin(
        self, account: AccountId, market: str, amount: object, *, position_id: PositionId = 0, time_ns: Nanos = 0
    ) -> "Outcome":
        """Move margin from the wallet to an isolated position, or (negative) back."""
        spec = self.market(market)
        unit = self._unit_of(spec)
        return self.apply(
            AdjustMargin(
                account=account,
                market=spec.id,
                position_id=position_id,
                amount_units=unit.parse(amount, "amount"),
                time_ns=time_ns or self.clock_ns,
            )
        )

    def set_mode(self, account: AccountId, market: str, mode: PositionMode, *, time_ns: Nanos = 0) -> "Outcome":
        """Choose how an account's positions in a market are told apart."""
        return self.apply(
            SetPositionMode(account=account, market=self.market(market).id, mode=mode, time_ns=time_ns or self.clock_ns)
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
        """Choose margin mode and leverage of a position."""
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
