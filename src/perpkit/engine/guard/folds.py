"""Guards of the folds: index, mark, funding, insurance. What they remember is put back when a command is refused."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from perpkit.engine.guard.base import Guard, whole
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
    """Whether a price is listed, or 0: there has been none yet."""
    return whole(price, market.price_min_ticks, market.price_max_ticks) or (type(price) is int and price == 0)


class _GuardedFold(Generic[FoldT]):
    """What all folds have: a state in and out."""

    def __init__(self, part: FoldT, guard: Guard) -> None:
        self.part, self._guard = part, guard

    def dump(self) -> bytes:
        """Ask."""
        state = self._guard.ask(self.part.dump)
        if type(state) is not bytes:
            raise self._guard.unexpected("a state as bytes", state)
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
        sound = (
            type(index) is IndexPrice
            and index.market == self._market.id
            and _listed(self._market, index.price_ticks)
            and type(index.state) is PriceState
            and index.at_ns == at_ns
            and all(_is_reading(source) for source in index.sources)
        )
        if not sound:
            raise self._guard.unexpected(f"an index of market {self._market.name} at a listed price", index)
        return index


def _is_reading(source: SourceReading) -> bool:
    integers = (source.source, source.price_ticks, source.age_ns, source.weight)
    return all(whole(each) for each in integers) and type(source.left_out) is LeftOut


class GuardedMark(_GuardedFold[MarkPrice]):
    """A mark of its own market, at listed prices."""

    def __init__(self, part: MarkPrice, guard: Guard, market: MarketSpec) -> None:
        super().__init__(part, guard)
        self._market = market
        self.own_book_free = part.own_book_free is True

    def update(self, inputs: PricingInputs, /) -> Mark:
        """Ask."""
        mark = self._guard.ask(self.part.update, inputs)
        sound = (
            type(mark) is Mark
            and mark.market == self._market.id
            and _listed(self._market, mark.price_ticks)
            and type(mark.state) is PriceState
            and mark.at_ns == inputs.at_ns
        )
        if not sound:
            raise self._guard.unexpected(f"a mark of market {self._market.name} at a listed price", mark)
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
        if not (stamp_ns is None or whole(stamp_ns, after_ns + 1)):
            raise self._guard.unexpected(f"a stamp after {after_ns}", stamp_ns)
        return stamp_ns

    def close(self, at_ns: Nanos, /) -> Ppb:
        """Ask."""
        return self._rate(self._guard.ask(self.part.close, at_ns))

    def _rate(self, rate: Ppb) -> Ppb:
        if not whole(rate, -SCALE, SCALE):
            raise self._guard.unexpected("a rate of -1 to 1, in parts per billion", rate)
        return rate


class GuardedInsurance(_GuardedFold[InsuranceFund]):
    """An insurance fund that pays what it has, for what it is asked."""

    def funds(self) -> Sequence[FundId]:
        """Ask."""
        funds = self._guard.ask(self.part.funds)
        sound = isinstance(funds, list | tuple) and all(whole(fund, 0) for fund in funds)
        if not (sound and len(set(funds)) == len(funds)):
            raise self._guard.unexpected("distinct fund ids in a list or tuple", funds)
        return funds

    def payable(self, loss: Loss, balances: Balances, /) -> Units:
        """Ask; at most the loss, and what there is."""
        amount = self._guard.ask(self.part.payable, loss, balances)
        most = min(loss.amount_units, sum(balances.values()))
        if not whole(amount, 0, most):
            raise self._guard.unexpected(f"at most {most} units payable", amount)
        return amount

    def draw(self, loss: Loss, balances: Balances, /) -> Sequence[FundMove]:
        """Ask; in all at most the loss, each at most its balance."""
        moves = self._moves(self._guard.ask(self.part.draw, loss, balances))
        sound = all(move.amount_units <= balances.get(move.fund, 0) for move in moves)
        total = sum(move.amount_units for move in moves)
        if not (sound and total <= loss.amount_units):
            raise self._guard.unexpected(f"at most {loss.amount_units} units drawn", moves)
        return moves

    def receive(self, inflow: Loss, /) -> Sequence[FundMove]:
        """Ask; in all exactly what comes in."""
        moves = self._moves(self._guard.ask(self.part.receive, inflow))
        total = sum(move.amount_units for move in moves)
        if not (total == inflow.amount_units):
            raise self._guard.unexpected(f"{inflow.amount_units} units received", moves)
        return moves

    def _moves(self, moves: Sequence[FundMove]) -> Sequence[FundMove]:
        known = set(self.funds())
        sound = isinstance(moves, list | tuple) and all(
            type(move) is FundMove and move.fund in known and whole(move.amount_units, 1) for move in moves
        )
        distinct = sound and len({move.fund for move in moves}) == len(moves)
        if not distinct:
            raise self._guard.unexpected(f"moves of funds {sorted(known)}, each at most once and positive", moves)
        return moves
