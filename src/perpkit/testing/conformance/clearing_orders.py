"""What a clearing has to keep of orders: what rests, what is refused, what changes in place, what would happen."""

from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.cause import CancelReason
from perpkit.model.event import Filled, OrderAmended, OrderCancelled, Rejected
from perpkit.model.reject import RejectReason
from perpkit.ports import Clearing, ClearingContext
from perpkit.testing.builders import clearing_context, market_table
from perpkit.testing.conformance.base import Conformance, law, rule
from perpkit.testing.conformance.clearing_desk import (
    BUY,
    LITTLE,
    SELL,
    Desk,
    Write,
    content,
    filled,
    realized,
    refusals,
)
from perpkit.testing.conformance.clearing_writes import orders_to_place, writes
from perpkit.units import Lots, Ticks, Units


class OrderRules(Conformance[Clearing, ClearingContext]):
    """The part of `ClearingConformance` that is about orders."""

    def context(self) -> ClearingContext:
        """Return a linear and an inverse market in one asset of whole units, without fees."""
        return clearing_context(market_table(), market_table("inverse", id=2))

    def desk(self, *deposits: Units) -> Desk:
        """Return a new clearing with accounts 1, 2, …"""
        return Desk(self.made(), deposits or (10_000, 10_000, 10_000))

    @rule(90, "a resting order is known by its number, and by its owner's")
    def test_order(self) -> None:
        """To nobody else."""
        desk = self.desk()
        desk.place(1, BUY, 10, 99)
        desk.place(2, SELL, 4, 99)
        clearing = desk.clearing
        (rests,) = clearing.orders(1, BUY)
        assert (rests.id, rests.size_lots, rests.price_ticks) == (1, 6, 99)
        assert clearing.order(1, 1, 1, 0) == clearing.order(1, 1, 0, 10) == rests
        assert clearing.order(1, 2, 1, 0) is clearing.order(1, 1, 2, 0) is None
        assert [(level.price_ticks, level.size_lots) for level in clearing.levels(1, BUY, 5)] == [(99, 6)]
        desk.place(1, SELL, 10, 105, display_lots=4)
        desk.place(2, BUY, 4, 105)
        assert clearing.order(1, 1, 3, 0) == next(iter(clearing.orders(1, SELL)))

    @rule(100, "what rests sets margin aside; a fill frees its part, a cancel the rest")
    def test_reservations(self) -> None:
        """The need is that of the greatest position that there may be."""
        desk = self.desk()
        needs = [desk.clearing.need(1, 1).initial_units]
        desk.place(1, BUY, 10, 100)
        needs.append(desk.clearing.need(1, 1).initial_units)
        desk.place(2, SELL, 4, 100)
        needs.append(desk.clearing.need(1, 1).initial_units)
        (cancelled,) = desk.cancel(1, 1)
        needs.append(desk.clearing.need(1, 1).initial_units)
        assert needs == [0, 50, 50, 20]
        assert isinstance(cancelled, OrderCancelled)
        assert (cancelled.size_lots, cancelled.left_lots, cancelled.reason) == (6, 0, CancelReason.REQUESTED)
        assert list(desk.clearing.orders(1, BUY)) == []

    @rule(110, "a refusal is one event, with the first reason of the table that applies")
    def test_refusals(self) -> None:
        """Whatever else is wrong."""
        for expected, events in refusals(self.desk()):
            (refused,) = events
            assert isinstance(refused, Rejected)
            assert refused.reason is expected

    @rule(120, "a refusal changes nothing")
    def test_refusals_change_nothing(self) -> None:
        """Not even the version."""
        desk, before, version = self.desk(), b"", 0
        for reason, _ in refusals(desk):
            if before:
                assert (desk.clearing.dump(), desk.clearing.version) == (before, version), reason.text
            before, version = desk.clearing.dump(), desk.clearing.version

    @rule(140, "a reduce-only order never opens, and shrinks with what there is to reduce")
    def test_reduce_only(self) -> None:
        """It is cut when it comes, and again when the position shrinks."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        desk.place(1, SELL, 15, 103, reduce_only=True)
        assert [each.size_lots for each in desk.clearing.orders(1, SELL)] == [10]
        desk.place(2, BUY, 4, 99)
        events = desk.place(1, SELL, 4, 99)
        (cut,) = (event for event in events if isinstance(event, OrderCancelled))
        assert (cut.size_lots, cut.left_lots, cut.reason) == (4, 6, CancelReason.REDUCE_ONLY)
        assert [each.size_lots for each in desk.clearing.orders(1, SELL)] == [6]

    @rule(220, "a smaller order keeps its place; a larger one, and one at another price, goes to the back")
    def test_amend(self) -> None:
        """Its size is told as a whole: what has filled counts, and is never taken back."""
        desk = self.desk()
        desk.place(1, BUY, 10, 99)
        desk.place(2, BUY, 10, 99)
        for changes, kept, queue in (
            ({"size": 6}, True, [(1, 6), (2, 10)]),
            ({"size": 8}, False, [(2, 10), (1, 8)]),
            ({"price": 98}, False, [(2, 10), (1, 8)]),
            ({"price": 99}, False, [(2, 10), (1, 8)]),
            ({"size": 9, "price": 100}, False, [(1, 9), (2, 10)]),
        ):
            told = desk.amend(1, 1, **changes)
            assert [each.kept_place for each in told if isinstance(each, OrderAmended)] == [kept]
            assert [(each.id, each.size_lots) for each in desk.clearing.orders(1, BUY)] == queue, changes
        desk.place(3, SELL, 3, 100)
        desk.amend(1, 1, size=4)
        assert [(each.id, each.size_lots) for each in desk.clearing.orders(1, BUY)] == [(1, 1), (2, 10)]
        assert desk.amend(1, 1, size=3) == [Rejected(reason=RejectReason.SIZE_NOT_POSITIVE)]

    @rule(222, "an order that is amended to where it crosses trades there")
    def test_amend_crosses(self) -> None:
        """With what is left of it, and rests with the rest."""
        desk = self.desk()
        desk.place(1, BUY, 10, 99)
        desk.place(2, SELL, 4, 101)
        assert filled(desk.amend(1, 1, price=102)) == [(1, 4, 101, False), (2, -4, 101, True)]
        assert [(each.id, each.size_lots, each.price_ticks) for each in desk.clearing.orders(1, BUY)] == [(1, 6, 102)]
        assert desk.clearing.order(1, 1, 0, 10) is not None

    @rule(230, "an amendment that is refused changes nothing, and the order keeps its place")
    def test_amend_refused(self) -> None:
        """Whether the margin is missing or a post-only order would trade."""
        desk = self.desk()
        desk.place(1, BUY, 10, 99, post_only=True)
        desk.place(2, BUY, 10, 99)
        desk.place(3, SELL, 10, 101)
        before, version = desk.clearing.dump(), desk.clearing.version
        for reason, changes in (
            (RejectReason.INSUFFICIENT_MARGIN, {"size": 9_000}),
            (RejectReason.WOULD_CROSS, {"price": 101}),
            (RejectReason.SIZE_NOT_POSITIVE, {"size": -1}),
            (RejectReason.PRICE_OUT_OF_BOUNDS, {"price": 9}),
        ):
            assert desk.amend(1, 1, **changes) == [Rejected(reason=reason)]
            assert (desk.clearing.dump(), desk.clearing.version) == (before, version), reason.text

    @rule(240, "what an amended order sets aside is what it would if it came anew")
    @law
    @given(
        side=st.sampled_from((BUY, SELL)),
        sizes=st.tuples(st.integers(1, 50), st.integers(1, 50)),
        prices=st.tuples(st.integers(91, 109), st.integers(91, 109)),
        held=st.integers(-20, 20),
    )
    def test_amend_reserves(self, side: int, sizes: tuple[Lots, Lots], prices: tuple[Ticks, Ticks], held: Lots) -> None:
        """Beside a position, on either side of the mark."""
        amended, anew = self.desk(), self.desk()
        for desk in (amended, anew):
            if held:
                desk.trade(1 if held > 0 else 2, 2 if held > 0 else 1, abs(held), 100)
        order_id = amended.orders + 1
        amended.place(1, BUY if side > 0 else SELL, sizes[0], prices[0])
        amended.amend(1, order_id, size=sizes[1], price=prices[1])
        anew.place(1, BUY if side > 0 else SELL, sizes[1], prices[1])
        assert amended.clearing.pool(1, 1) == anew.clearing.pool(1, 1)

    @rule(260, "a preview says what the order then does, in the same numbers, and changes nothing")
    @law
    @given(stream=writes(length_max=6), order=orders_to_place())
    def test_preview(self, stream: list[Write], order: Write) -> None:
        """Fills, fees, what is realised, what rests, and the position, its pool and its prices afterwards."""
        desk, (_, keys) = self.desk(*LITTLE), order
        for write in stream:
            desk.do(write)
        account, market, position_id = keys["account"], keys["market"], keys.get("position_id", 0)
        before, dumped, version = content(desk.clearing), desk.clearing.dump(), desk.clearing.version
        said = desk.preview(**keys)
        assert (desk.clearing.dump(), desk.clearing.version, content(desk.clearing)) == (dumped, version, before)
        told = desk.place(**keys)
        if isinstance(told[0], Rejected):
            assert (said.refused, said.check) == (told[0].reason, told[0].check)
            return
        taken = [each for each in told if isinstance(each, Filled) and not each.maker]
        assert said.refused is None
        assert said.fills == tuple((each.price_ticks, abs(each.size_lots)) for each in taken)
        assert said.fee_units == sum(each.fee_units for each in taken)
        rests = desk.clearing.order(market, account, desk.orders, 0)
        assert said.rest_lots == (rests.size_lots if rests else 0)
        need = desk.clearing.need(account, 1)
        assert (said.after.equity_units, said.after.initial_units, said.after.maintenance_units) == (
            need.equity_units,
            need.initial_units,
            need.maintenance_units,
        )
        assert (said.after.size_lots, said.after.cost_units) == desk.position(account, market, position_id)
        if said.after.size_lots:
            assert said.after.thresholds == desk.clearing.thresholds(account, market, position_id)

    @rule(262, "a preview of a trade says each price, and what is realised")
    def test_preview_realized(self) -> None:
        """For the position of the order, fees aside."""
        desk = self.desk()
        desk.trade(1, 2, 10, 100)
        desk.place(2, BUY, 4, 105)
        desk.place(3, BUY, 4, 104)
        said = desk.preview(1, SELL, 10, 103)
        assert (said.fills, said.rest_lots) == (((105, 4), (104, 4)), 2)
        assert said.realized_units == realized(desk.place(1, SELL, 10, 103), 1) == 36

    @rule(270, "all orders of an account go, or those of one side, or of one position, and no others")
    def test_cancel_all(self) -> None:
        """In that market; with no account, everybody's."""
        for asked, gone in (
            ((1, 1), [1, 2, 3]),
            ((1, 1, BUY), [1, 3]),
            ((1, 1, SELL), [2]),
            ((1, 1, None, 0), [1, 2]),
            ((1, 1, BUY, 0), [1]),
            ((1, 1, SELL, 1), []),
            ((2, 1), [5]),
            ((1, None), [1, 2, 3, 4]),
            ((1, None, BUY, 0), [1, 4]),
        ):
            desk = self.desk()
            for account, side, price, market, position_id in (
                (1, BUY, 95, 1, 0),
                (1, SELL, 105, 1, 0),
                (1, BUY, 96, 1, 1),
                (2, BUY, 97, 1, 0),
                (1, BUY, 95, 2, 0),
            ):
                desk.place(account, side, 10, price, market, position_id=position_id)
            told = desk.cancel_all(*asked)
            assert [each.order_id for each in told if isinstance(each, OrderCancelled)] == gone, asked
            left = {each.id for market in (1, 2) for side in (BUY, SELL) for each in desk.clearing.orders(market, side)}
            assert left == {1, 2, 3, 4, 5} - set(gone)
