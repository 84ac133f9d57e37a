"""What an order would do if it came in now."""

from fractions import Fraction

import attrs

from perpkit.model.cause import CancelReason
from perpkit.model.command import PlaceOrder
from perpkit.model.explain import explain
from perpkit.model.ids import OrderId
from perpkit.model.market import ContractKind, MarketSpec, MarketState
from perpkit.model.position import Thresholds
from perpkit.model.reject import RejectReason
from perpkit.units import Lots, Scale, Ticks, Units

WHOLE = Scale(Fraction(1))


@attrs.frozen(kw_only=True)
class Standing:
    """One position of an account and what its pool is worth and needs.

    Units:
        As in `Exposure` and `Need`; `isolated_units` is None for a cross position.
    """

    size_lots: Lots
    cost_units: Units
    isolated_units: Units | None
    equity_units: Units
    initial_units: Units
    maintenance_units: Units
    thresholds: Thresholds

    @property
    def available_units(self) -> Units:
        """What is free for more orders; negative where already too little is."""
        return self.equity_units - self.initial_units


@attrs.frozen(kw_only=True)
class Preview:
    """What an order would do: exactly the numbers that the exchange applies when it comes in with nothing in between.

    An order with a trigger is previewed as if it fired now, at today's book. What the fills then set off elsewhere is
    not part of it. `explain` says all of it in sentences.

    Units:
        `best_ticks` is the best price on the other side. `size_lots` is what the order is admitted with, `limit_ticks`
        the limit it then has. `fills` are (price in ticks, size in lots) in the order in which they would happen;
        `rest_lots` would wait in the book, `cancelled` are the parts that would go away unfilled, and why;
        `gone` are the account's other orders that would go away or shrink. The order comes in where
        `before.available_units` is at least `needed_units`. Fees and the result that the position realises in
        accounting units of the settlement asset, which is called `asset` and counted in `unit`.

        `if_filled` is what becomes of `after` when the rest then fills at its limit, in one piece. `check` is the
        index of the order check that refuses, `check_name` its name. `duplicate_of` is the command that has done all
        of this before, under the same client order id: nothing would happen; else 0.
    """

    order: PlaceOrder
    market: MarketSpec
    market_state: MarketState
    mark_ticks: Ticks
    best_ticks: Ticks | None = None
    refused: RejectReason | None = None
    check: int = -1
    check_name: str = ""
    duplicate_of: int = 0
    size_lots: Lots = 0
    limit_ticks: Ticks = 0
    fills: tuple[tuple[Ticks, Lots], ...] = ()
    rest_lots: Lots = 0
    cancelled: tuple[tuple[CancelReason, Lots], ...] = ()
    gone: tuple[OrderId, ...] = ()
    fee_units: Units = 0
    realized_units: Units = 0
    needed_units: Units = 0
    before: Standing
    after: Standing
    if_filled: Standing | None = None
    asset: str = ""
    unit: Scale = WHOLE

    @property
    def filled_lots(self) -> Lots:
        """How much would fill at once."""
        return sum(lots for _, lots in self.fills)

    @property
    def cancelled_lots(self) -> Lots:
        """How much would go away unfilled."""
        return sum(lots for _, lots in self.cancelled)

    @property
    def margin_units(self) -> Units:
        """How much more margin the account would have tied up, an isolated position's own included."""
        return _tied_up(self.after) - _tied_up(self.before)

    @property
    def average_ticks(self) -> Fraction | None:
        """The exact average price of the fills, by value; None when nothing would fill."""
        if not self.fills:
            return None
        if self.market.kind is ContractKind.INVERSE:
            return Fraction(self.filled_lots, sum(Fraction(lots, price) for price, lots in self.fills))
        return Fraction(sum(price * lots for price, lots in self.fills), self.filled_lots)

    @property
    def slippage(self) -> Fraction | None:
        """How much worse than the mark the average price is, as a part of the mark; negative when it is better."""
        average = self.average_ticks
        return None if average is None else self.order.side * (average - self.mark_ticks) * Fraction(1, self.mark_ticks)

    def explain(self) -> str:
        """Say it in plain English, one sentence a line, for somebody who trades for the first time.

        Rounds:
            Average prices to two digits more than the tick and percentages to two digits, half to even; what is
            rounded is called "about". Every other number is exact.

        Example:
            >>> from perpkit.model.order import Side
            >>> from perpkit.testing import builders
            >>> exchange = builders.exchange(deposits={1: "100", 2: "100000"})
            >>> exchange.place(2, "PERP-1", Side.SELL, "3", "101").rejected
            >>> print(exchange.preview(1, "PERP-1", Side.BUY, "5", "101").explain())
            You would buy 3 PERP-1 at once at 101, 1 % above the mark of 100.
            2 would wait in the book to buy at 101.
            You pay a fee of 1 COIN.
            It ties up 28 COIN of margin; then you have 68 COIN free.
            Your position would then be long 3 PERP-1, bought at 101.
            It would be liquidated once the mark falls below 70, 30 % from the mark of 100, if nothing else changes.
            If the rest fills too, your position is long 5 PERP-1, bought at 101, and you have 69 COIN free.
            It would be liquidated once the mark falls below 83, 17 % from the mark of 100, if nothing else changes.
            >>> print(exchange.preview(1, "PERP-1", Side.BUY, "50", "101").explain())
            The exchange would refuse this order: insufficient-margin.
            You need 307 COIN and have 100 COIN free: make it smaller or deposit.
        """
        return explain(self)


def without_effect(preview: Preview, *, refused: RejectReason | None = None, duplicate_of: int = 0) -> Preview:
    """Return the preview of an order that never gets as far as the book, and why."""
    return Preview(
        order=preview.order,
        market=preview.market,
        market_state=preview.market_state,
        mark_ticks=preview.mark_ticks,
        best_ticks=preview.best_ticks,
        refused=refused,
        duplicate_of=duplicate_of,
        before=preview.before,
        after=preview.before,
    )


def _tied_up(standing: Standing) -> Units:
    return standing.initial_units + (standing.isolated_units or 0)
