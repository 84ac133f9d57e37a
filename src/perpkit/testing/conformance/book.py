"""What an order book has to keep."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.errors import PluginError
from perpkit.model.cause import CancelReason
from perpkit.model.ids import OrderId, account_id
from perpkit.model.order import MatchPlan, Order, SelfTrade, Side, TimeInForce
from perpkit.plugin import BOOK, NoOptions
from perpkit.ports import MarketContext, OrderBook
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.testing.builders import market_context, order
from perpkit.testing.conformance.base import Conformance, law, rule
from perpkit.testing.strategies import orders
from perpkit.units import Lots

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK


def place(book: OrderBook, *arriving: Order) -> list[MatchPlan]:
    """Plan and commit orders one after another; return the plans."""
    plans = []
    for each in arriving:
        plans.append(book.plan(each))
        book.commit(plans[-1])
    return plans


def matched(plan: MatchPlan) -> list[tuple[OrderId, int, Lots]]:
    """Return (maker, price, size) of every match that is a trade."""
    return [(match.maker, match.price_ticks, match.size_lots) for match in plan.matches if not match.prevented]


def prevented(plan: MatchPlan) -> list[tuple[OrderId, Lots]]:
    """Return (maker, size) of what self-trade prevention takes off makers."""
    return [(match.maker, match.size_lots) for match in plan.matches if match.prevented]


def content(book: OrderBook) -> tuple[list[Order], list[Order]]:
    """Return both sides in priority order."""
    return list(book.orders(BUY)), list(book.orders(SELL))


class OrderBookConformance(Conformance[OrderBook, MarketContext]):
    """Price-time priority over limit orders; see `perpkit.ports.book`."""

    port = BOOK
    code = "BOOK"

    def context(self) -> MarketContext:
        """Return a linear market of ticks of 1."""
        return market_context()

    def exercise(self, part: OrderBook) -> list[object]:
        """Rest, cross, kill, reduce, look and load."""
        plans = place(
            part,
            order(1, SELL, 5, 101, account=2),
            order(2, SELL, 5, 100, account=3),
            order(3, SELL, 5, 100),
            order(4, BUY, 12, 101),
            order(5, BUY, 9, 99, time_in_force=IOC),
            order(6, BUY, 99, 101, time_in_force=FOK),
            order(7, BUY, 3, 98),
            order(8, SELL, 9, 103, display_lots=2),
            order(9, SELL, 4, 103, hidden=True),
            order(10, BUY, 3, 103, account=2, self_trade=SelfTrade.DECREMENT),
            order(11, BUY, 1, 103, self_trade=SelfTrade.CANCEL_MAKER),
        )
        seen = [part.best(BUY), part.best(SELL), part.levels(SELL, 5), part.levels(BUY, 5), part.reduce(7, 1)]
        resting = content(part)
        part.load([*resting[0], *resting[1]])
        return [[attrs.evolve(plan, version=0) for plan in plans], seen, resting, content(part)]

    @rule(10, "an order that does not cross rests whole")
    def test_rests(self) -> None:
        """Nothing is on the other side, or nothing within the limit."""
        book = self.made()
        (plan,) = place(book, order(1, BUY, 5, 99))
        assert (matched(plan), plan.rest_lots, plan.cancel_lots) == ([], 5, 0)
        (plan,) = place(book, order(2, SELL, 5, 100))
        assert (matched(plan), plan.rest_lots) == ([], 5)
        assert content(book) == ([order(1, BUY, 5, 99)], [order(2, SELL, 5, 100)])

    @rule(20, "a fill is at the maker's price")
    def test_maker_price(self) -> None:
        """The taker's better limit is no gift to the maker."""
        book = self.made()
        *_, plan = place(book, order(1, SELL, 5, 100), order(2, BUY, 5, 107))
        assert matched(plan) == [(1, 100, 5)]

    @rule(30, "the best price is met first")
    def test_price_priority(self) -> None:
        """On both sides, whatever came first."""
        book = self.made()
        *_, plan = place(book, order(1, SELL, 5, 102), order(2, SELL, 5, 100), order(3, BUY, 8, 102))
        assert matched(plan) == [(2, 100, 5), (1, 102, 3)]
        book = self.made()
        *_, plan = place(book, order(1, BUY, 5, 98), order(2, BUY, 5, 99), order(3, SELL, 8, 98))
        assert matched(plan) == [(2, 99, 5), (1, 98, 3)]

    @rule(40, "at one price, whoever came first is met first")
    def test_time_priority(self) -> None:
        """An order that was met in part keeps its place."""
        book = self.made()
        place(book, order(7, SELL, 5, 100), order(3, SELL, 5, 100), order(8, BUY, 2, 100))
        (plan,) = place(book, order(9, BUY, 8, 100))
        assert matched(plan) == [(7, 100, 3), (3, 100, 5)]

    @rule(50, "nobody fills beyond the limit")
    def test_limit(self) -> None:
        """What is left rests at the limit."""
        book = self.made()
        *_, plan = place(book, order(1, SELL, 5, 100), order(2, SELL, 5, 102), order(3, BUY, 9, 101))
        assert (matched(plan), plan.rest_lots) == ([(1, 100, 5)], 4)
        assert book.best(BUY) == 101

    @rule(60, "what is left of an immediate order is cancelled")
    def test_immediate(self) -> None:
        """It never rests."""
        book = self.made()
        *_, plan = place(book, order(1, SELL, 5, 100), order(2, BUY, 9, 100, time_in_force=IOC))
        assert (plan.rest_lots, plan.cancel_lots) == (0, 4)
        assert content(book) == ([], [])

    @rule(70, "a fill-or-kill order fills whole, or is cancelled whole")
    def test_fill_or_kill(self) -> None:
        """It matches nothing when the book within its limit is too small."""
        book = self.made()
        *_, plan = place(book, order(1, SELL, 5, 100), order(2, BUY, 6, 100, time_in_force=FOK))
        assert (matched(plan), plan.rest_lots, plan.cancel_lots) == ([], 0, 6)
        (plan,) = place(book, order(3, BUY, 5, 100, time_in_force=FOK))
        assert (matched(plan), plan.cancel_lots) == ([(1, 100, 5)], 0)

    @rule(80, "an order meets at most `order_fills_max` makers, and the rest of it is cancelled")
    def test_work_limit(self) -> None:
        """Even one that would otherwise rest."""
        book = self.make(market_context(limits={"order_fills_max": 2}))
        *_, plan = place(book, *(order(number, SELL, 1, 100) for number in (1, 2, 3)), order(4, BUY, 5, 100))
        assert (len(plan.matches), plan.rest_lots, plan.cancel_lots) == (2, 0, 3)
        assert plan.cancel_reason is CancelReason.WORK_LIMIT
        assert content(book) == ([], [order(3, SELL, 1, 100)])

    @rule(90, "a plan changes nothing")
    def test_plan_is_pure(self) -> None:
        """Asked twice, it says the same, and the book is as it was."""
        book = self.made()
        place(book, order(1, SELL, 5, 100), order(2, SELL, 2, 100), order(3, BUY, 5, 99))
        before = content(book), book.levels(BUY, 9), book.levels(SELL, 9)
        taker = order(4, BUY, 9, 100)
        assert book.plan(taker) == book.plan(taker)
        assert (content(book), book.levels(BUY, 9), book.levels(SELL, 9)) == before

    @rule(100, "a plan made before the book changed is refused")
    def test_stale_plan(self) -> None:
        """And changes nothing."""
        book = self.made()
        place(book, order(1, SELL, 5, 100))
        stale = book.plan(order(2, BUY, 5, 100))
        place(book, order(3, BUY, 1, 100))
        before = content(book)
        with pytest.raises(PluginError):
            book.commit(stale)
        assert content(book) == before

    @rule(110, "a reduced order keeps its place, and goes with its last lot")
    def test_reduce(self) -> None:
        """`reduce` says what is left."""
        book = self.made()
        place(book, order(1, SELL, 5, 100), order(2, SELL, 5, 100))
        assert book.reduce(1, 3) == 2
        assert content(book)[1] == [order(1, SELL, 2, 100), order(2, SELL, 5, 100)]
        assert book.reduce(1, 2) == 0
        assert content(book)[1] == [order(2, SELL, 5, 100)]

    @rule(120, "an order that does not rest cannot be reduced")
    def test_reduce_unknown(self) -> None:
        """It filled, was cancelled, or never was."""
        book = self.made()
        place(book, order(1, SELL, 5, 100), order(2, BUY, 5, 100))
        for order_id in (1, 2, 3):
            with pytest.raises(KeyError):
                book.reduce(order_id, 1)

    @rule(130, "best, levels and orders tell the same")
    def test_views(self) -> None:
        """Levels sum what rests at a price, best first."""
        book = self.made()
        place(book, order(1, SELL, 5, 100), order(2, SELL, 7, 100), order(3, SELL, 1, 105), order(4, BUY, 2, 99))
        shown = [(level.price_ticks, level.size_lots, level.orders) for level in book.levels(SELL, 9)]
        assert shown == [(100, 12, 2), (105, 1, 1)]
        assert len(book.levels(SELL, 1)) == 1
        assert (book.best(SELL), book.best(BUY)) == (100, 99)
        assert (self.made().best(SELL), list(self.made().levels(BUY, 3))) == (None, [])

    @rule(140, "loading replaces what was there")
    def test_load_replaces(self) -> None:
        """By orders of both sides, or by nothing."""
        book = self.made()
        place(book, order(1, BUY, 5, 99))
        book.load([order(2, SELL, 5, 100), order(3, BUY, 1, 98)])
        assert content(book) == ([order(3, BUY, 1, 98)], [order(2, SELL, 5, 100)])
        book.load([])
        assert (content(book), book.best(BUY)) == (([], []), None)

    @rule(150, "a book that is loaded goes on as the one it came from")
    @law
    @given(first=orders(length_max=12), then=orders(length_max=6))
    def test_load(self, first: list[Order], then: list[Order]) -> None:
        """Priority included."""
        book, loaded = self.made(), self.made()
        place(book, *first)
        loaded.load([*book.orders(BUY), *book.orders(SELL)])
        for each in then:
            later = attrs.evolve(each, id=1_000 + each.id)
            assert list(map(matched, place(loaded, later))) == list(map(matched, place(book, later)))
        assert content(loaded) == content(book)

    @rule(160, "at one price, what is shown goes before what is hidden")
    def test_shown_before_hidden(self) -> None:
        """Whoever came first; what is hidden is then met in the same order."""
        book = self.made()
        place(
            book,
            order(1, SELL, 9, 100, display_lots=3),
            order(2, SELL, 4, 100, hidden=True),
            order(3, SELL, 5, 100),
            order(4, SELL, 1, 101),
        )
        plan = book.plan(order(5, BUY, 99, 101))
        assert matched(plan) == [(1, 100, 3), (3, 100, 5), (1, 100, 6), (2, 100, 4), (4, 101, 1)]

    @rule(170, "an iceberg whose shown part is used up shows its next part at the back")
    def test_next_part(self) -> None:
        """It keeps its place until then; the last part is what is left."""
        book = self.made()
        iceberg, other = order(1, SELL, 8, 100, display_lots=3), order(2, SELL, 9, 100)
        place(book, iceberg, other, order(3, BUY, 2, 100))
        assert content(book)[1] == [attrs.evolve(iceberg, size_lots=6), other]
        place(book, order(4, BUY, 1, 100))
        assert content(book)[1] == [other, attrs.evolve(iceberg, size_lots=5, hidden_lots=2)]
        place(book, order(5, BUY, 9 + 3 + 1, 100))
        assert content(book)[1] == [attrs.evolve(iceberg, size_lots=1, hidden_lots=0)]

    @rule(180, "a reduced order loses first what it hides")
    def test_reduce_hidden(self) -> None:
        """What it shows stays as it was as long as it can."""
        book = self.made()
        iceberg = order(1, SELL, 8, 100, display_lots=3)
        place(book, iceberg)
        assert book.reduce(1, 4) == 4
        assert content(book)[1] == [attrs.evolve(iceberg, size_lots=4, hidden_lots=1)]
        assert book.reduce(1, 2) == 2
        assert content(book)[1] == [attrs.evolve(iceberg, size_lots=2, hidden_lots=0)]

    @rule(190, "levels show what is shown, and `best` says what would be met")
    def test_views_of_hidden(self) -> None:
        """A price where all is hidden is no level, and counts for none."""
        book = self.made()
        place(
            book,
            order(1, SELL, 4, 100, hidden=True),
            order(2, SELL, 8, 101, display_lots=3),
            order(3, SELL, 2, 101, hidden=True),
            order(4, SELL, 5, 102),
        )
        shown = [(level.price_ticks, level.size_lots, level.orders) for level in book.levels(SELL, 2)]
        assert (shown, book.best(SELL)) == ([(101, 3, 1), (102, 5, 1)], 100)

    @rule(210, "an order trades with its own account unless it asks not to")
    def test_self_trade_off(self) -> None:
        """What the maker asked for when it came counts for nothing."""
        book = self.made()
        place(book, order(1, SELL, 5, 100, self_trade=SelfTrade.CANCEL_BOTH))
        (plan,) = place(book, order(2, BUY, 5, 100, self_trade_by_owner=True))
        assert (matched(plan), prevented(plan)) == ([(1, 100, 5)], [])

    @rule(220, "`cancel-taker` stops an order at the first of its own")
    def test_cancel_taker(self) -> None:
        """What it met before stands, and its own maker is left alone."""
        book, own = self.made(), order(2, SELL, 5, 100)
        place(book, order(1, SELL, 2, 100, account=2), own, order(3, SELL, 5, 100, account=2))
        (plan,) = place(book, order(4, BUY, 9, 100, self_trade=SelfTrade.CANCEL_TAKER))
        assert (matched(plan), prevented(plan)) == ([(1, 100, 2)], [])
        assert (plan.rest_lots, plan.cancel_lots, plan.cancel_reason) == (0, 7, CancelReason.SELF_TRADE)
        assert content(book) == ([], [own, order(3, SELL, 5, 100, account=2)])

    @rule(230, "`cancel-maker` takes its own makers out whole, and goes on")
    def test_cancel_maker(self) -> None:
        """With what they hide, once each, and only those that it would meet."""
        book = self.make(market_context(limits={"order_fills_max": 2}))
        place(
            book,
            order(1, SELL, 8, 100, display_lots=3),
            order(2, SELL, 5, 100, account=2),
            order(3, SELL, 5, 101),
        )
        (plan,) = place(book, order(4, BUY, 9, 100, self_trade=SelfTrade.CANCEL_MAKER))
        assert (prevented(plan), matched(plan)) == ([(1, 8)], [(2, 100, 5)])
        assert (plan.rest_lots, plan.cancel_lots, plan.prevented_lots) == (4, 0, 0)
        assert content(book) == ([order(4, BUY, 4, 100, self_trade=SelfTrade.CANCEL_MAKER)], [order(3, SELL, 5, 101)])

    @rule(240, "`cancel-both` takes the first of its own makers out, and itself")
    def test_cancel_both(self) -> None:
        """Later ones stay."""
        book = self.made()
        place(book, *(order(number, SELL, 2, 100, account=account) for number, account in ((1, 2), (2, 1), (3, 1))))
        (plan,) = place(book, order(4, BUY, 9, 100, self_trade=SelfTrade.CANCEL_BOTH))
        assert (matched(plan), prevented(plan)) == ([(1, 100, 2)], [(2, 2)])
        assert (plan.rest_lots, plan.cancel_lots, plan.cancel_reason) == (0, 7, CancelReason.SELF_TRADE)
        assert content(book) == ([], [order(3, SELL, 2, 100)])

    @rule(250, "`decrement` takes the smaller size off both, without a trade")
    def test_decrement(self) -> None:
        """Off its own makers as it meets them, shown or hidden; what is left goes on."""
        book = self.made()
        iceberg = order(1, SELL, 8, 100, display_lots=3)
        place(book, order(2, SELL, 2, 100, account=2), iceberg)
        (plan,) = place(book, order(3, BUY, 6, 100, self_trade=SelfTrade.DECREMENT))
        assert ({maker for maker, _ in prevented(plan)}, matched(plan)) == ({1}, [(2, 100, 2)])
        assert (plan.prevented_lots, plan.rest_lots, plan.cancel_lots) == (4, 0, 0)
        assert content(book) == ([], [attrs.evolve(iceberg, size_lots=4, hidden_lots=1)])

    @rule(260, "its own are those of its account or, where it says so, of its owner")
    def test_own(self) -> None:
        """Another account of the same owner is a stranger to the first kind."""
        for by_owner, expected in ((False, [(2, 1)]), (True, [(1, 5), (2, 1)])):
            book = self.made()
            place(book, order(1, SELL, 5, 100, account=account_id(7, 1)), order(2, SELL, 1, 100, account=account_id(7)))
            taker = order(3, BUY, 6, 100, account=7, self_trade=SelfTrade.DECREMENT, self_trade_by_owner=by_owner)
            assert prevented(book.plan(taker)) == expected

    @rule(270, "a fill-or-kill order counts only what it would trade")
    def test_fill_or_kill_and_its_own(self) -> None:
        """Where that is not all of it, nothing happens to its own makers either."""
        for mode, size, kills in (
            (SelfTrade.CANCEL_TAKER, 6, True),
            (SelfTrade.CANCEL_MAKER, 5, False),
            (SelfTrade.CANCEL_MAKER, 6, True),
            (SelfTrade.CANCEL_BOTH, 6, True),
            (SelfTrade.DECREMENT, 6, True),
        ):
            book = self.made()
            place(book, *(order(each, SELL, lots, 100, account=each) for each, lots in ((2, 2), (1, 2), (3, 3))))
            plan = book.plan(order(4, BUY, size, 100, time_in_force=FOK, self_trade=mode))
            assert (plan.matches == (), plan.cancel_lots) == (kills, size if kills else 0), mode

    @rule(280, "a book that is loaded knows what is hidden, and shows it anew as before")
    def test_load_hidden(self) -> None:
        """An iceberg that shows part of a part goes on with it."""
        book, loaded = self.made(), self.made()
        place(book, order(1, SELL, 9, 100, display_lots=3), order(2, SELL, 4, 100, hidden=True), order(3, BUY, 1, 100))
        loaded.load([*book.orders(BUY), *book.orders(SELL)])
        for each in (loaded, book):
            place(each, order(4, BUY, 2, 100))
        assert content(loaded) == content(book)
        assert loaded.levels(SELL, 1) == book.levels(SELL, 1) != ()

    @rule(200, "every lot of an order fills, rests or is cancelled, and the book is never crossed")
    @law
    @given(stream=orders())
    def test_lots_add_up(self, stream: list[Order]) -> None:
        """And what makers are left with is what they had less what they filled."""
        book = self.made()
        for each in stream:
            (plan,) = place(book, each)
            filled = sum(lots for _, _, lots in matched(plan))
            assert filled + plan.prevented_lots + plan.rest_lots + plan.cancel_lots == each.size_lots
            bid, ask = book.best(BUY), book.best(SELL)
            assert bid is None or ask is None or bid < ask

    @rule(300, "plans and content are those of the reference, whatever comes")
    @law
    @given(stream=orders(), data=st.data())
    def test_model(self, stream: list[Order], data: Any) -> None:
        """`price-time` is the specification of this port; nothing is left to taste."""
        book, reference = self.made(), PriceTimeBook(self.context(), NoOptions())
        for each in stream:
            (mine,), (theirs,) = place(book, each), place(reference, each)
            assert attrs.evolve(mine, version=0) == attrs.evolve(theirs, version=0)
            resting = [*reference.orders(BUY), *reference.orders(SELL)]
            if resting and data.draw(st.booleans()):
                chosen = data.draw(st.sampled_from(resting))
                lots = data.draw(st.integers(1, chosen.size_lots))
                assert book.reduce(chosen.id, lots) == reference.reduce(chosen.id, lots)
            assert content(book) == content(reference)
            assert list(book.levels(BUY, 3)) == list(reference.levels(BUY, 3))
            assert list(book.levels(SELL, 3)) == list(reference.levels(SELL, 3))
