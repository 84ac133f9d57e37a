"""Guards of the folds: index, mark, funding, insurance. What they remember is put back when a command is refused."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from perpkit.engine.guard.base import Guard, same, whole
from perpkit.model.ids import FundId
from perpkit.model.market import MarketSpec
from perpkit.model.position import Balances
from perpkit.model.price import IndexPrice, LeftOut, Mark, PriceState, PricingInputs, Quote, SourceReading
from perpkit.ports.insurance import FundMove, InsuranceFund, Loss
from perpkit.ports.prices import FundingModel, IndexPriceSource, MarkPrice
from perpkit.units import SCALE, Nanos, Ppb, Ticks, Units


class _Fold(Protocol):
    def dump(self) -> bytes: ...

    def load(self, state: bytes, /) -> None: ...


FoldT = TypeVar("FoldT", bound=_Fold)


def _listed(market: MarketSpec, price: Ticks) -> bool:
    return whole(price, market.price_min_ticks, market.price_max_ticks)


class _GuardedFold(Generic[FoldT]):
    """What all folds have: a state in and out."""

    def __init__(self, part: FoldT, guard: Guard) -> None:
        self.part: FoldT = part
        self._guard = guard

    def dump(self) -> bytes:
        """Ask."""
        state = self._guard.ask(self.part.dump)
        self._guard.judge(state, "a state as bytes", lambda: type(state) is bytes)
        return state

    def load(self, state: bytes, /) -> None:
        """Pass on."""
        self._guard.ask(self.part.load, state)


class GuardedIndex(_GuardedFold[IndexPriceSource]):
    """An index of its own market, at listed prices."""

    def __init__(self, part: IndexPriceSource, guard: Guard, market: MarketSpec) -> None:
        super().__init__(part, guard)
        self._market = market

    def update(self, quotes: Sequence[Quote], at_ns: Nanos, /) -> IndexPrice:
        """Ask."""
        index = self._guard.ask(self.part.update, quotes, at_ns)
        self._guard.judge(
            index,
            f"an index of market {self._market.name} at a listed price",
            lambda: (
                type(index) is IndexPrice
                and same(index.market, self._market.id)
                and type(index.state) is PriceState
                # A price of 0 says that there has been none yet, and then nothing may rely on it.
                and (
                    _listed(self._market, index.price_ticks)
                    or (same(index.price_ticks, 0) and index.state is PriceState.FROZEN)
                )
                and same(index.at_ns, at_ns)
                and all(_is_reading(source) for source in index.sources)
            ),
        )
        return index


def _is_reading(source: SourceReading) -> bool:
    integers = (source.source, source.price_ticks, source.age_ns, source.weight)
    return all(whole(each) for each in integers) and type(source.left_out) is LeftOut


class GuardedMark(_GuardedFold[MarkPrice]):
    """A mark of its own market, at listed prices."""

    def __init__(self, part: MarkPrice, guard: Guard, market: MarketSpec) -> None:
        super().__init__(part, guard)
        self._market = market
        self.own_book_free: bool = part.own_book_free is True

    def update(self, inputs: PricingInputs, /) -> Mark:
        """Ask."""
        mark = self._guard.ask(self.part.update, inputs)
        self._guard.judge(
            mark,
            f"a mark of market {self._market.name} at a listed price",
            lambda: (
                type(mark) is Mark
                and same(mark.market, self._market.id)
                and _listed(self._market, mark.price_ticks)
                and type(mark.state) is PriceState
                and same(mark.at_ns, inputs.at_ns)
            ),
        )
        return mark


class GuardedFunding(_GuardedFold[FundingModel]):
    """A funding model with rates within -1 and 1 and stamps that go forward."""

    def sample(self, inputs: PricingInputs, mark: Mark, /) -> None:
        """Pass on."""
        self._guard.ask(self.part.sample, inputs, mark)

    def rate_ppb(self) -> Ppb:
        """Ask."""
        return self._rate(self._guard.ask(self.part.rate_ppb))

    def next_ns(self, after_ns: Nanos, /) -> Nanos | None:
        """Ask."""
        stamp_ns = self._guard.ask(self.part.next_ns, after_ns)
        self._guard.judge(
            stamp_ns, f"a stamp after {after_ns}", lambda: stamp_ns is None or whole(stamp_ns, after_ns + 1)
        )
        return stamp_ns

    def close(self, at_ns: Nanos, /) -> Ppb:
        """Ask."""
        return self._rate(self._guard.ask(self.part.close, at_ns))

    def _rate(self, rate: Ppb) -> Ppb:
        self._guard.judge(rate, "a rate of -1 to 1, in parts per billion", lambda: whole(rate, -SCALE, SCALE))
        return rate


class GuardedInsurance(_GuardedFold[InsuranceFund]):
    """An insurance fund that pays what it has, for what it is asked."""

    def funds(self) -> Sequence[FundId]:
        """Ask."""
        funds = self._guard.ask(self.part.funds)
        self._guard.judge(
            funds,
            "distinct fund ids in a list or tuple",
            lambda: (
                isinstance(funds, list | tuple)
                and all(whole(fund, 0) for fund in funds)
                and len(set(funds)) == len(funds)
            ),
        )
        return funds

    def payable(self, loss: Loss, balances: Balances, /) -> Units:
        """Ask; at most the loss, and what there is."""
        amount = self._guard.ask(self.part.payable, loss, balances)
        most = min(loss.amount_units, sum(balances.values()))
        self._guard.judge(amount, f"at most {most} units payable", lambda: whole(amount, 0, most))
        return amount

    def draw(self, loss: Loss, balances: Balances, /) -> Sequence[FundMove]:
        """Ask; in all at most the loss, each at most its balance."""
        moves = self._moves(self._guard.ask(self.part.draw, loss, balances))
        sound = all(move.amount_units <= balances.get(move.fund, 0) for move in moves)
        total = sum(move.amount_units for move in moves)
        self._guard.judge(
            moves, f"at most {loss.amount_units} units drawn", lambda: sound and total <= loss.amount_units
        )
        return moves

    def receive(self, inflow: Loss, /) -> Sequence[FundMove]:
        """Ask; in all exactly what comes in."""
        moves = self._moves(self._guard.ask(self.part.receive, inflow))
        total = sum(move.amount_units for move in moves)
        self._guard.judge(moves, f"{inflow.amount_units} units received", lambda: total == inflow.amount_units)
        return moves

    def _moves(self, moves: Sequence[FundMove]) -> Sequence[FundMove]:
        known = set(self.funds())
        self._guard.judge(
            moves,
            f"moves of funds {sorted(known)}, each at most once and positive",
            lambda: (
                isinstance(moves, list | tuple)
                and all(type(move) is FundMove and whole(move.amount_units, 1) and whole(move.fund) for move in moves)
                and {move.fund for move in moves} <= known
                and len({move.fund for move in moves}) == len(moves)
            ),
        )
        return moves
