"""What a clearing has to keep."""

from functools import cached_property

import pytest
from hypothesis import example, given

from perpkit.errors import InvariantError
from perpkit.model.cause import Cause
from perpkit.model.command import Command
from perpkit.model.event import FundingSettled, OrderCancelled, Rejected
from perpkit.model.ids import HOUSE, INVENTORY_LONG
from perpkit.model.ledger import Chart, Posting, house, insurance, isolated_margin, of_market, wallet, withdrawal
from perpkit.model.position import Closing, PositionMode
from perpkit.model.reject import RejectReason
from perpkit.plugin import CLEARING, NoOptions, Registry
from perpkit.ports import Clearing
from perpkit.reference.clearing import ReferenceClearing
from perpkit.testing.builders import clearing_context
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.clearing_desk import (
    BUY,
    CRASH,
    LITTLE,
    SELL,
    Desk,
    Write,
    check_sums,
    content,
    exchanges,
    filled,
    offered,
    realized,
)
from perpkit.testing.conformance.clearing_orders import OrderRules
from perpkit.testing.conformance.clearing_writes import writes
from perpkit.testing.strategies import order_streams
from perpkit.units import SCALE


class ClearingConformance(OrderRules):
    """Ledger, positions, reservations and books behind a closed set of writes; see `perpkit.ports.clearing`."""

    port = CLEARING
    code = "CLEARING"

    def exercise(self, part: Clearing) -> list[object]:
        """Trade, flip, isolate, pay funding, refuse, cancel, take over and deleverage; look, and dump."""
        desk = Desk(part, LITTLE)
        told: list[object] = [
            desk.isolate(3, 10),
            desk.trade(1, 2, 90, 100),
            desk.trade(3, 1, 120, 101),
            desk.trade(2, 3, 40, 102, market=2),
            desk.place(2, BUY, 10, 99),
            desk.place(3, BUY, 500, 99),
            desk.place(3, SELL, 30, 100, reduce_only=True),
            desk.amend(2, 7, size=8),
            desk.amend(2, 7, price=98),
            desk.adjust(3, 40),
            desk.preview(2, SELL, 20, 98),
            desk.set_mode(2, PositionMode.HEDGE, market=2),
            desk.fund(SCALE // 3),
            desk.settle(1),
            desk.cancel(2, 7),
            desk.cancel(2, 7),
            desk.unwind(2, 140, 110),
            desk.close(3, 90),
            desk.cancel_all(1, None),
        ]
        return [told, content(part), part.dump()]

    @rule(10, "the first credit to a wallet opens the account")
    def test_accounts(self) -> None:
        """The house is no client."""
        clearing = self.made()
        assert not clearing.has_account(3)
        for account in (3, 1):
            clearing.post([Posting(house(Chart.CUSTODY_HOT, 1), wallet(account, 1), 5)])
        assert (clearing.has_account(3), clearing.has_account(2), clearing.has_account(HOUSE)) == (True, False, False)
        assert list(clearing.accounts()) == [1, 3]

    @rule(20, "a posting moves money, and both sides of the books stay equal")
    def test_post(self) -> None:
        """Custody grows by a debit, everybody else by a credit."""
        clearing, hot = self.made(), house(Chart.CUSTODY_HOT, 1)
        clearing.post([Posting(hot, wallet(1, 1), 100), Posting(wallet(1, 1), withdrawal(5, 1), 30)])
        assert [clearing.balance(each) for each in (hot, wallet(1, 1), withdrawal(5, 1))] == [100, 70, 30]
        assert tuple(clearing.conservation(1)) == (100, 100)
        clearing.post([Posting(withdrawal(5, 1), hot, 30)])
        assert tuple(clearing.conservation(1)) == (70, 70)

    @rule(30, "no posting makes money, and none makes a debt")
    def test_no_debt(self) -> None:
        """Amounts are positive and of one asset; what is not there cannot be moved."""
        wrong = (
            Posting(wallet(1, 1), wallet(2, 1), 0),
            Posting(wallet(1, 1), wallet(2, 1), -5),
            Posting(wallet(1, 1), wallet(2, 2), 5),
            Posting(wallet(1, 1), wallet(2, 1), 10_001),
            Posting(insurance(2, 1), wallet(2, 1), 1),
        )
        for posting in wrong:
            desk = self.desk()
            with pytest.raises(InvariantError):
                desk.clearing.post([posting])

    @rule(40, "a trade makes two opposite positions at one value, and moves no money")
    def test_trade(self) -> None:
        """At the maker's price, the taker told first."""
        desk = self.desk()
        desk.place(2, SELL, 10, 101)
        assert filled(desk.place(1, BUY, 10, 104)) == [(1, 10, 101, False), (2, -10, 101, True)]
        assert (desk.position(1), desk.position(2)) == ((10, 1_010), (-10, -1_010))
        assert (desk.wallet(1), desk.wallet(2)) == (10_000, 10_000)
        totals = desk.clearing.totals(1)
        assert (totals.size_lots, totals.costs_units, totals.ccp_units, totals.open_interest_lots) == (0, 0, 0, 10)

    @rule(50, "a profit is paid by the central counterparty and a loss to it")
    def test_profit(self) -> None:
        """Costs and what it holds sum to zero, always; when everybody is flat it holds nothing."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        assert realized(desk.trade(3, 1, 10, 110), 1) == desk.wallet(1) - 10_000 == 100
        totals = desk.clearing.totals(1)
        assert (totals.costs_units, totals.ccp_units) == (100, -100)
        assert realized(desk.trade(2, 3, 10, 110), 2) == desk.wallet(2) - 10_000 == -100
        assert desk.clearing.totals(1).ccp_units == 0
        assert desk.clearing.pool(2, 1).exposures == ()

    @rule(60, "a reduction relieves its part of the cost, rounded up, and the last one what is left")
    def test_relief(self) -> None:
        """Exact in any split, and a profit is never early."""
        desk = self.desk()
        desk.trade(1, 2, 2, 100)
        desk.trade(1, 2, 1, 101)
        assert [desk.position(1), desk.position(2)] == [(3, 301), (-3, -301)]
        assert [realized(desk.trade(3, 1, 1, 110), 1) for _ in range(3)] == [9, 10, 10]
        assert [realized(desk.trade(2, 3, 1, 110), 2) for _ in range(3)] == [-10, -10, -9]

    @rule(70, "an order that crosses a position closes it and opens the rest")
    def test_flip(self) -> None:
        """The parts add up to the value of the fill."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        assert realized(desk.trade(3, 1, 25, 104), 1) == 40
        assert desk.position(1) == (-15, -1_560)

    @rule(80, "fees are on |value|, rounded up, and go to the house")
    def test_fees(self) -> None:
        """A maker's may be negative, and is then rounded up as well."""
        desk = Desk(self.make(clearing_context(maker="-0.15%", taker="0.25%")))
        desk.trade(1, 2, 1, 100)
        desk.trade(1, 2, 10, 100)
        assert (desk.wallet(1), desk.wallet(2)) == (10_000 - 1 - 3, 10_000 + 0 + 1)
        assert desk.clearing.balance(house(Chart.FEES, 1)) == 3

    @rule(130, "a write counts, and a read does not")
    def test_version(self) -> None:
        """By this the exchange knows what there is to take back after a fault."""
        desk = self.desk()
        doings: tuple[Write, ...] = (
            ("deposit", {"account": 1, "amount": 5}),
            ("mark", {"price": 101}),
            ("trade", {"buyer": 1, "seller": 2, "size": 10, "price": 100}),
            ("place", {"account": 1, "side": BUY, "size": 5, "price": 90}),
            ("amend", {"account": 1, "order_id": 3, "size": 4}),
            ("amend", {"account": 1, "order_id": 3, "price": 89}),
            ("cancel", {"account": 1, "order_id": 3}),
            ("place", {"account": 1, "side": BUY, "size": 5, "price": 90}),
            ("cancel_all", {"account": None, "market": 1}),
            ("fund", {"per_lot_scaled": SCALE}),
            ("settle", {"account": 1}),
            ("set_mode", {"account": 3, "mode": PositionMode.ONE_WAY}),
            ("isolate", {"account": 3, "leverage": 5}),
            ("trade", {"buyer": 3, "seller": 2, "size": 10, "price": 100}),
            ("adjust", {"account": 3, "amount": 10}),
            ("take_over", {"account": 1, "price": 100}),
        )
        for doing in doings:
            version = desk.clearing.version
            desk.do(doing)
            written = desk.clearing.version
            content(desk.clearing)
            assert version < written == desk.clearing.version, doing

    @rule(150, "a forced close takes what the book has within its limit, and cancels the rest")
    def test_close_on_book(self) -> None:
        """Nobody asks whether the account could afford it."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        desk.place(3, BUY, 4, 95)
        desk.place(3, BUY, 3, 90)
        events = desk.close(1, limit=92)
        assert filled(events) == [(1, -4, 95, False), (3, 4, 95, True)]
        (cancelled,) = (event for event in events if isinstance(event, OrderCancelled))
        assert (cancelled.size_lots, cancelled.left_lots) == (6, 0)
        assert [each.price_ticks for each in desk.clearing.orders(1, BUY)] == [90]
        assert desk.position(1) == (6, 600)

    @rule(160, "positions change off the book at one price, and the changes sum to zero")
    def test_cross_off_book(self) -> None:
        """Others are a fault of whoever asks."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        out, against = (Closing(account=n, position_id=0, change_lots=lots) for n, lots in ((1, -10), (2, 10)))
        desk.clearing.cross_off_book(1, 90, [out, against], Cause.SETTLEMENT)
        assert (desk.wallet(1), desk.wallet(2)) == (9_900, 10_100)
        assert [desk.position(1), desk.position(2)] == [(0, 0), (0, 0)]
        with pytest.raises(InvariantError):
            desk.clearing.cross_off_book(1, 90, [out], Cause.SETTLEMENT)

    @rule(170, "what a position could not pay goes with it to the inventory, until a fund pays it off")
    def test_hand_over(self) -> None:
        """It is in the costs, so that they and the central counterparty sum to zero all the while."""
        desk = self.desk(600, 50_000)
        desk.trade(1, 2, 100, 100)
        desk.take_over(1, 90)
        inventory = desk.held(HOUSE, 1, INVENTORY_LONG)
        assert inventory is not None
        assert (inventory.size_lots, inventory.cost_units, inventory.unpaid_units) == (100, 9_000, 400)
        assert (desk.wallet(1), desk.clearing.totals(1).ccp_units, desk.clearing.totals(1).costs_units) == (
            0,
            600,
            -600,
        )
        pay_off = Posting(insurance(1, 1), of_market(Chart.CCP, 1, 1), 400)
        desk.clearing.post([pay_off])
        paid = desk.held(HOUSE, 1, INVENTORY_LONG)
        assert paid is not None
        assert (paid.unpaid_units, desk.clearing.totals(1).costs_units) == (0, -1_000)
        with pytest.raises(InvariantError):
            desk.clearing.post([pay_off])

    @rule(180, "funding is owed until it is booked; the payer's is rounded up, the receiver's down")
    def test_funding(self) -> None:
        """The residue stays in the market's funding account."""
        desk = self.desk()
        desk.trade(1, 2, 3, 100)
        desk.fund(SCALE // 2)
        assert (desk.wallet(1), desk.clearing.need(1, 1).equity_units) == (10_000, 9_998)
        booked = [event for account in (1, 2, 1) for event in desk.settle(account)]
        assert [(e.account, e.amount_units) for e in booked if isinstance(e, FundingSettled)] == [(1, 2), (2, -1)]
        assert (desk.wallet(1), desk.wallet(2)) == (9_998, 10_001)
        assert desk.clearing.totals(1).funding_paid_units == 1

    @rule(190, "an isolated position gets margin as it opens and gives it back as it closes")
    def test_isolated(self) -> None:
        """By the leverage that its owner chose."""
        desk, margin = self.desk(), isolated_margin(1, 1, 1, 0)
        desk.isolate(1, leverage=10)
        desk.trade(1, 2, 10, 100)
        assert (desk.wallet(1), desk.clearing.balance(margin)) == (9_900, 100)
        desk.trade(2, 1, 4, 100)
        assert (desk.wallet(1), desk.clearing.balance(margin)) == (9_940, 60)
        desk.trade(2, 1, 6, 100)
        assert (desk.wallet(1), desk.clearing.balance(margin)) == (10_000, 0)

    @rule(250, "margin moves between the wallet and an isolated position, and none is lost on the way")
    def test_adjust_margin(self) -> None:
        """What stays is at least the initial margin, and bears the market's stress."""
        desk, margin = self.desk(), isolated_margin(1, 1, 1, 0)
        desk.isolate(1, leverage=10)
        desk.trade(1, 2, 10, 100)
        for amount, held in ((50, 150), (-30, 120), (-21, 120), (-121, 120), (9_881, 120), (-20, 100)):
            desk.adjust(1, amount)
            assert (desk.wallet(1), desk.clearing.balance(margin)) == (10_000 - held, held)
            (slot,) = desk.clearing.need(1, 1).slots
            assert slot.equity_units == held

    @rule(280, "position modes: one-way has id 0, hedge id 1 for longs and id 2 for shorts")
    def test_position_mode(self) -> None:
        """In hedge mode the other side only closes; a mode is chosen while nothing is held and nothing rests."""
        desk, taken = self.desk(), [Rejected(reason=RejectReason.POSITION_MODE)]
        assert desk.clearing.position_mode(1, 1) is PositionMode.MULTI
        desk.set_mode(1, PositionMode.ONE_WAY)
        assert desk.place(1, BUY, 10, 99, position_id=1) == taken
        desk.set_mode(1, PositionMode.HEDGE)
        assert (desk.clearing.position_mode(1, 1), desk.clearing.position_mode(1, 2)) == (
            PositionMode.HEDGE,
            PositionMode.MULTI,
        )
        assert desk.place(1, BUY, 10, 99) == taken
        assert desk.place(1, SELL, 10, 99, position_id=1) == [Rejected(reason=RejectReason.NOTHING_TO_REDUCE)]
        desk.place(2, SELL, 10, 100)
        desk.place(1, BUY, 10, 100, position_id=1)
        desk.place(2, BUY, 15, 100)
        desk.place(1, SELL, 15, 100, position_id=1)
        assert desk.position(1, position_id=1) == (0, 0)
        desk.place(1, SELL, 5, 100, position_id=2)
        assert desk.position(1, position_id=2) == (-5, -500)
        assert desk.set_mode(1, PositionMode.MULTI) == [Rejected(reason=RejectReason.TERMS_IN_USE)]

    @rule(290, "a stressed need is that of a pool whose markets moved against it")
    def test_stressed_need(self) -> None:
        """By the stress of each market, here one in a hundred; and no mark is changed by it."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        for account, maintenance in ((1, 20), (2, 21), (3, 0)):
            stressed = desk.clearing.stressed_need(account, 1)
            assert (stressed.equity_units, stressed.maintenance_units) == (10_000 - 10 * (account < 3), maintenance)
        assert desk.clearing.need(1, 1).equity_units == 10_000

    @rule(200, "pools in breach are told the worst first, and none whose market is stopped")
    def test_breached(self) -> None:
        """One alone is told as it is among all."""
        desk = self.desk(700, 50_000, 600)
        desk.trade(1, 2, 100, 100)
        desk.trade(3, 2, 100, 100)
        assert list(desk.clearing.breached(frozenset())) == []
        desk.mark(94)
        found = desk.clearing.breached(frozenset())
        assert [(each.account, each.equity_units, each.maintenance_units) for each in found] == [
            (3, 0, 188),
            (1, 100, 188),
        ]
        assert [desk.clearing.breach((account, 1, 0, 0), frozenset()) for account in (3, 1, 2)] == [*found, None]
        assert list(desk.clearing.breached(frozenset({1}))) == []

    @rule(210, "winners are who is in profit on a side; holders are everybody")
    def test_winners(self) -> None:
        """What closes all holders sums to zero."""
        desk = self.desk(700, 50_000, 600)
        desk.trade(1, 2, 100, 100)
        desk.trade(3, 2, 100, 100)
        desk.mark(94)
        (winner,) = desk.clearing.winners(1, SELL, 96)
        assert (winner.account, winner.size_lots, winner.profit_units, winner.bearable_lots) == (2, 200, 1_200, 200)
        assert list(desk.clearing.winners(1, BUY, 96)) == []
        held = {each.account: each.change_lots for each in desk.clearing.holders(1)}
        assert held == {1: -100, 2: 200, 3: -100}

    @rule(300, "money and size come from nowhere and go nowhere, whatever comes")
    @law
    @given(stream=writes())
    def test_conservation(self, stream: list[Write]) -> None:
        """And what leaves the version as it was leaves everything as it was."""
        desk = self.desk(*LITTLE)
        clearing, deposited = desk.clearing, sum(LITTLE) + 50_000
        for write in stream:
            before, version = clearing.dump(), clearing.version
            desk.do(write)
            deposited += write[1]["amount"] if write[0] == "deposit" else 0
            assert clearing.version > version or clearing.dump() == before
            assert tuple(clearing.conservation(1)) == (deposited, deposited)
            for market in (1, 2):
                check_sums(clearing, market)

    @rule(310, "a clearing that is loaded goes on as the one it came from")
    @law
    @given(first=writes(length_max=6), then=writes(length_max=4))
    def test_load(self, first: list[Write], then: list[Write]) -> None:
        """What it held before is gone, and it dumps the same bytes."""
        desk, loaded = self.desk(*LITTLE), self.desk(7, 7)
        loaded.trade(1, 2, 1, 100)
        for write in first:
            desk.do(write)
        loaded.clearing.load(desk.clearing.dump())
        loaded.orders, loaded.withdrawals = desk.orders, desk.withdrawals
        assert content(loaded.clearing) == content(desk.clearing)
        for write in then:
            assert list(loaded.do(write)) == list(desk.do(write))
        assert loaded.clearing.dump() == desk.clearing.dump()

    @rule(320, "events, reads and dump are those of the reference, whatever comes")
    @law
    @given(stream=writes())
    def test_model(self, stream: list[Write]) -> None:
        """`reference` is the specification of this port; nothing is left to taste."""
        desk, model = self.desk(*LITTLE), Desk(ReferenceClearing(self.context(), NoOptions()), LITTLE)
        for write in stream:
            assert list(desk.do(write)) == list(model.do(write))
        assert content(desk.clearing) == content(model.clearing)
        assert desk.clearing.dump() == model.clearing.dump()

    @rule(330, "an exchange over it says what it says over the reference, whatever comes")
    @law
    @given(stream=order_streams(market_ids=(1, 2), length_max=8))
    @example(stream=CRASH)
    def test_exchange(self, stream: list[Command]) -> None:
        """Liquidation, deleveraging and settlement included."""
        mine, model = exchanges(self._registry)
        for command in stream:
            assert mine.apply(command) == model.apply(command)
        assert mine.dump() == model.dump()

    @cached_property
    def _registry(self) -> Registry:
        return offered(self.make)
