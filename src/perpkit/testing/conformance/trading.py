"""What fees and order checks have to keep."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.ids import account_id
from perpkit.model.order import Side, TimeInForce
from perpkit.plugin import FEES, ORDER_CHECKS
from perpkit.ports import FeeSchedule, MarketContext, OrderCheck
from perpkit.ports.trading import OrderCase
from perpkit.testing.builders import mark, market_context, order
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.decider import DeciderConformance
from perpkit.units import SCALE, Lots

CONTEXT = market_context()
NUMBERS = st.integers(0, 9)
BOOKS = ((None, None), (99, None), (None, 101), (99, 101))
PRICES = st.integers(10, 1_000)
LOTS = st.integers(0, 20_000)
ORDERS = st.builds(
    order,
    st.integers(1, 10**9),
    st.sampled_from(Side),
    st.integers(1, 10_000),
    PRICES,
    account=st.integers(1, 9),
    time_in_force=st.sampled_from(TimeInForce),
    reduce_only=st.booleans(),
)
CASES = st.builds(
    OrderCase,
    order=ORDERS,
    mark=st.builds(mark, PRICES),
    best_bid_ticks=st.sampled_from((None, 99)),
    best_ask_ticks=st.sampled_from((None, 101)),
    long_lots=LOTS,
    short_lots=LOTS,
    open_buy_lots=LOTS,
    open_sell_lots=LOTS,
    open_orders=st.integers(0, 200),
    open_interest_lots=LOTS,
)


class FeeConformance(DeciderConformance[FeeSchedule, MarketContext]):
    """What a fill costs; see `perpkit.ports.trading`."""

    port = FEES
    code = "FEES"

    def context(self) -> MarketContext:
        """Return a linear market of ticks of 1."""
        return CONTEXT

    def exercise(self, part: FeeSchedule) -> list[object]:
        """Ask for both sides of many accounts, and of the house."""
        accounts = [account_id(owner, number) for owner in range(20) for number in range(2)]
        return [part.rate_ppb(account, maker) for account in accounts for maker in (True, False)]

    @rule(10, "a rate is whole, and from -1 to 1")
    @law
    @given(owner=st.integers(0, 2**40 - 1), number=NUMBERS, maker=st.booleans())
    def test_bounds(self, owner: int, number: int, maker: bool) -> None:
        """For accounts that nobody has heard of, too."""
        rate = self.made().rate_ppb(account_id(owner, number), maker)
        assert type(rate) is int
        assert -SCALE <= rate <= SCALE

    @rule(20, "an owner who is on both sides of a trade earns nothing")
    @law
    @given(owner=st.integers(1, 2**40 - 1), maker=NUMBERS, taker=NUMBERS)
    def test_both_sides(self, owner: int, maker: int, taker: int) -> None:
        """Between any two of their accounts; else they would trade until the house has nothing left."""
        part = self.made()
        assert part.rate_ppb(account_id(owner, maker), True) + part.rate_ppb(account_id(owner, taker), False) >= 0


class OrderCheckConformance(DeciderConformance[OrderCheck, MarketContext]):
    """A pre-trade rule; see `perpkit.ports.trading`."""

    port = ORDER_CHECKS
    code = "CHECK"

    def context(self) -> MarketContext:
        """Return a linear market of ticks of 1."""
        return CONTEXT

    def exercise(self, part: OrderCheck) -> list[object]:
        """Show small and large orders near the mark and far from it, to new accounts and to some that hold much."""
        return [
            part.admits(
                OrderCase(
                    order=order(number, side, size, price),
                    mark=mark(100),
                    best_bid_ticks=bid,
                    best_ask_ticks=ask,
                    long_lots=held,
                    open_sell_lots=held,
                    open_orders=held,
                    open_interest_lots=held,
                )
            )
            for number, (bid, ask) in enumerate(BOOKS, start=1)
            for side in Side
            for size in (1, 10_000)
            for price in (10, 89, 100, 111, 1_000)
            for held in (0, 150)
        ]

    @rule(10, "an answer is True or False")
    @law
    @given(case=CASES)
    def test_answers(self, case: OrderCase) -> None:
        """Whatever arrives, whoever sends it, before whatever book."""
        assert type(self.made().admits(case)) is bool

    @rule(20, "a plain order at the mark comes in")
    def test_plain_order(self) -> None:
        """Of some size, on both sides, and the first of a market too; to accept nothing, a market has states."""
        part = self.made()
        sizes: tuple[Lots, ...] = (1, 10, 100, 1_000)
        for side in Side:
            for bid, ask in BOOKS:
                cases = [
                    OrderCase(order=order(1, side, size, 100), mark=mark(100), best_bid_ticks=bid, best_ask_ticks=ask)
                    for size in sizes
                ]
                assert any(part.admits(case) for case in cases)

    @rule(30, "the number of an order is no reason")
    @law
    @given(case=CASES, number=st.integers(1, 10**9))
    def test_number(self, case: OrderCase, number: int) -> None:
        """The exchange gave it; it says nothing of the order."""
        part = self.made()
        assert part.admits(case) == part.admits(attrs.evolve(case, order=attrs.evolve(case.order, id=number)))
