"""What a deleveraging policy has to keep."""

from collections.abc import Sequence

import attrs
from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.position import Winner
from perpkit.plugin import DELEVERAGING
from perpkit.ports import DeleveragingPolicy, ExchangeContext
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.testing.builders import exchange_context, winner
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.decider import DeciderConformance
from perpkit.units import Lots, Units

CONTEXT = exchange_context()


@st.composite
def winners(draw: st.DrawFn) -> list[Winner]:
    """Draw winners of different profit and leverage, some of whom can bear nothing."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        bearable = draw(st.integers(0, 8))
        fields = {"profit_units": draw(st.integers(1, 900)), "equity_units": draw(st.integers(1, 900))}
        account, position_id = 1 + number // 2, number % 2
        found.append(winner(account, bearable, position_id=position_id, size_lots=bearable + 1, **fields))
    return found


WINNERS = winners()
SIZES = st.integers(1, 20)


def case(size_lots: Lots, winners: Sequence[Winner], severity_units: Units = 100) -> DeleveragingCase:
    """Return what must be placed at a price of 100, and with whom it may be."""
    return DeleveragingCase(
        market=1, size_lots=size_lots, price_ticks=100, severity_units=severity_units, winners=winners
    )


class DeleveragingConformance(DeciderConformance[DeleveragingPolicy, ExchangeContext]):
    """Which winners give up how much; see `perpkit.ports.deleveraging`."""

    port = DELEVERAGING
    code = "DELEVERAGING"

    def context(self) -> ExchangeContext:
        """Return one linear market."""
        return CONTEXT

    def exercise(self, part: DeleveragingPolicy) -> list[object]:
        """Place little and much among winners who differ in every way, and among none."""
        candidates = [
            winner(4, 5),
            winner(2, 9, profit_units=7, equity_units=20),
            winner(2, 3, position_id=1, profit_units=900),
            winner(7, 12, cost_units=-600),
            winner(1, 0, size_lots=30),
            winner(9, 5),
        ]
        return [*(part.shares(case(size, candidates)) for size in (1, 7, 20, 500)), part.shares(case(5, []))]

    @rule(10, "shares are a list or a tuple of whole lots, at least one each")
    @law
    @given(drawn=WINNERS, size=SIZES)
    def test_shares(self, drawn: list[Winner], size: Lots) -> None:
        """Who gives up nothing is not named."""
        shares = self.made().shares(case(size, drawn))
        assert isinstance(shares, list | tuple)
        assert all(type(each) is Share and type(each.size_lots) is int and each.size_lots >= 1 for each in shares)

    @rule(20, "only winners give something up, each named once")
    @law
    @given(drawn=WINNERS, size=SIZES)
    def test_only_winners(self, drawn: list[Winner], size: Lots) -> None:
        """Nobody who was not offered."""
        named = [(each.account, each.position_id) for each in self.made().shares(case(size, drawn))]
        assert len(named) == len(set(named))
        assert set(named) <= {(each.account, each.position_id) for each in drawn}

    @rule(30, "nobody gives up more than they can bear")
    @law
    @given(drawn=WINNERS, size=SIZES)
    def test_bearable(self, drawn: list[Winner], size: Lots) -> None:
        """Beyond it the price would leave their pool without equity."""
        bearable = {(each.account, each.position_id): each.bearable_lots for each in drawn}
        for each in self.made().shares(case(size, drawn)):
            assert each.size_lots <= bearable[each.account, each.position_id]

    @rule(40, "no more is placed than must be")
    @law
    @given(drawn=WINNERS, size=SIZES)
    def test_not_too_much(self, drawn: list[Winner], size: Lots) -> None:
        """In all."""
        assert sum(each.size_lots for each in self.made().shares(case(size, drawn))) <= size

    @rule(50, "all that winners can bear is placed, until nothing is left to place")
    @law
    @given(drawn=WINNERS, size=SIZES)
    def test_not_too_little(self, drawn: list[Winner], size: Lots) -> None:
        """What stays unplaced settles the whole market."""
        placed = sum(each.size_lots for each in self.made().shares(case(size, drawn)))
        assert placed >= min(size, sum(each.bearable_lots for each in drawn))

    @rule(60, "the order in which winners are shown is no reason")
    @law
    @given(drawn=WINNERS, size=SIZES, data=st.data())
    def test_order_shown(self, drawn: list[Winner], size: Lots, data: st.DataObject) -> None:
        """Who gives up how much is the same; between equals, the ids decide."""
        equals = [attrs.evolve(each, profit_units=100, equity_units=100) for each in drawn]
        for shown in (drawn, equals):
            shuffled = data.draw(st.permutations(shown))
            assert list(self.made().shares(case(size, shown))) == list(self.made().shares(case(size, shuffled)))
