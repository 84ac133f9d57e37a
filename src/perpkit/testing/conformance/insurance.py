"""What an insurance fund has to keep."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.cause import Cause
from perpkit.model.ids import FundId
from perpkit.plugin import INSURANCE
from perpkit.ports import ExchangeContext, InsuranceFund
from perpkit.ports.insurance import FundMove
from perpkit.testing.builders import exchange_context, loss, market_table
from perpkit.testing.conformance.base import FoldConformance, law, rule
from perpkit.units import HOUR_NS, Nanos, Units

CONTEXT = exchange_context(market_table(id=1), market_table(id=2))
START_NS = 8 * HOUR_NS
AMOUNTS = st.integers(1, 2_000)
HOURS = st.integers(0, 30)
HISTORY = st.lists(st.tuples(HOURS, st.sampled_from((1, 2)), st.booleans(), AMOUNTS), max_size=3)
"""(hours later, market, whether it is a loss, amount) of what happened before."""


class Purse:
    """The balances of a fund, as the ledger keeps them: every move is posted."""

    def __init__(self, part: InsuranceFund, each_units: Units = 1_000) -> None:
        self.part: InsuranceFund = part
        self.now_ns: Nanos = START_NS
        self.balances: dict[FundId, Units] = dict.fromkeys(part.funds(), each_units)

    def pay(self, market: int, amount_units: Units) -> Sequence[FundMove]:
        """Let the fund pay a loss."""
        moves = self.part.draw(loss(amount_units, market=market, at_ns=self.now_ns), self.balances)
        for move in moves:
            self.balances[move.fund] -= move.amount_units
        return moves

    def take(self, market: int, amount_units: Units) -> Sequence[FundMove]:
        """Give the fund what a market's inventory gained; market 0 is the operator's own money."""
        cause = Cause.INVENTORY if market else Cause.CAPITAL
        moves = self.part.receive(loss(amount_units, market=market, cause=cause, at_ns=self.now_ns))
        for move in moves:
            self.balances[move.fund] += move.amount_units
        return moves

    def live(self, history: Sequence[tuple[int, int, bool, Units]]) -> None:
        """Go through what happened."""
        for hours, market, is_loss, amount in history:
            self.now_ns += hours * HOUR_NS
            (self.pay if is_loss else self.take)(market, amount)

    def payable(self, market: int, amount_units: Units) -> Units:
        """Ask how much of a loss the fund may pay now."""
        return self.part.payable(loss(amount_units, market=market, at_ns=self.now_ns), self.balances)


def total(moves: Sequence[FundMove]) -> Units:
    """Return what moves in all."""
    return sum(move.amount_units for move in moves)


class InsuranceConformance(FoldConformance[InsuranceFund, ExchangeContext]):
    """Draws on, and inflows to, sub-funds; see `perpkit.ports.insurance`."""

    port = INSURANCE
    code = "INSURANCE"

    def context(self) -> ExchangeContext:
        """Return two linear markets of one asset."""
        return CONTEXT

    def exercise(self, part: InsuranceFund) -> list[object]:
        """Pay a little, everything and too much, take something in, and pay again a day later."""
        purse = Purse(part)
        answers: list[object] = [part.funds()]
        for hours, market, amount in ((0, 1, 70), (1, 2, 900), (1, 1, 5_000), (24, 1, 300)):
            purse.now_ns += hours * HOUR_NS
            answers += [purse.payable(market, amount), purse.pay(market, amount)]
            answers += [purse.take(market, 40), purse.take(0, 7)]
        return [*answers, purse.balances]

    @rule(10, "sub-funds are distinct whole numbers from 0, and always the same")
    def test_funds(self) -> None:
        """Each is a ledger account of every asset; there is at least one."""
        part = self.made()
        funds = part.funds()
        assert isinstance(funds, list | tuple)
        assert funds
        assert all(type(fund) is int and fund >= 0 for fund in funds)
        assert len(set(funds)) == len(funds)
        Purse(part).live([(1, 1, True, 500), (1, 2, False, 500)])
        assert list(part.funds()) == list(funds)

    @rule(20, "what may be paid is at most the loss, and at most what there is")
    @law
    @given(history=HISTORY, amount=st.integers(0, 9_000), each=st.integers(0, 2_000))
    def test_payable(self, history: list[tuple[int, int, bool, Units]], amount: Units, each: Units) -> None:
        """And never less than nothing; a loss of nothing is asked about too."""
        purse = Purse(self.made(), each)
        purse.live(history)
        found = purse.payable(1, amount)
        assert type(found) is int
        assert 0 <= found <= min(amount, sum(purse.balances.values()))

    @rule(30, "no sub-fund pays more than it holds, and all together no more than the loss")
    @law
    @given(history=HISTORY, amount=st.integers(1, 9_000), each=st.integers(0, 2_000))
    def test_draw(self, history: list[tuple[int, int, bool, Units]], amount: Units, each: Units) -> None:
        """Each is named at most once, and moves at least one unit."""
        purse = Purse(self.made(), each)
        purse.live(history)
        before = dict(purse.balances)
        moves = purse.pay(1, amount)
        self.check_moves(purse.part, moves)
        assert all(move.amount_units <= before[move.fund] for move in moves)
        assert total(moves) <= amount

    @rule(40, "what comes in goes to sub-funds whole")
    @law
    @given(history=HISTORY, amount=AMOUNTS, market=st.sampled_from((0, 1, 2)))
    def test_receive(self, history: list[tuple[int, int, bool, Units]], amount: Units, market: int) -> None:
        """Not a unit more or less; the operator's own money comes from no market."""
        purse = Purse(self.made())
        purse.live(history)
        moves = purse.take(market, amount)
        self.check_moves(purse.part, moves)
        assert total(moves) == amount

    @rule(50, "what is drawn is what was payable")
    @law
    @given(history=HISTORY, amount=st.integers(1, 9_000))
    def test_payable_is_drawn(self, history: list[tuple[int, int, bool, Units]], amount: Units) -> None:
        """The engine asks first, and places with winners what the fund may not pay."""
        purse = Purse(self.made())
        purse.live(history)
        found = purse.payable(2, amount)
        assert total(purse.pay(2, amount)) == found

    @rule(60, "asking what may be paid changes nothing")
    @law
    @given(history=HISTORY, amount=AMOUNTS)
    def test_payable_is_a_read(self, history: list[tuple[int, int, bool, Units]], amount: Units) -> None:
        """It is asked at every price, and pays nothing."""
        purse = Purse(self.made())
        purse.live(history)
        before, found = purse.part.dump(), purse.payable(1, amount)
        assert purse.payable(1, amount) == found
        assert purse.part.dump() == before

    @rule(70, "of a larger loss, no less may be paid")
    @law
    @given(history=HISTORY, amount=st.integers(0, 4_000), more=st.integers(1, 4_000))
    def test_larger_loss(self, history: list[tuple[int, int, bool, Units]], amount: Units, more: Units) -> None:
        """Owing more is no reason to be paid less."""
        purse = Purse(self.made())
        purse.live(history)
        assert purse.payable(1, amount) <= purse.payable(1, amount + more)

    @rule(80, "an empty fund pays nothing")
    def test_empty(self) -> None:
        """And takes in as before."""
        purse = Purse(self.made(), 0)
        assert purse.payable(1, 500) == 0
        assert list(purse.pay(1, 500)) == []
        assert total(purse.take(1, 500)) == 500

    def check_moves(self, part: InsuranceFund, moves: Sequence[FundMove]) -> None:
        """Require moves of sub-funds, each at most once and of at least one unit."""
        assert isinstance(moves, list | tuple)
        assert all(type(move) is FundMove and type(move.amount_units) is int for move in moves)
        assert all(move.amount_units >= 1 for move in moves)
        named = [move.fund for move in moves]
        assert len(named) == len(set(named))
        assert set(named) <= set(part.funds())
