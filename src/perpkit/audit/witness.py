"""A second bookkeeper, who sees only events: what they say must add up without asking the exchange."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import attrs

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.event import (
    BreachFound,
    DepositCredited,
    DepositReverted,
    Event,
    ExchangeResumed,
    Filled,
    FundMoved,
    PositionChanged,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ids import HOUSE, AccountId, AssetId, FundId, MarketId, PositionId
from perpkit.units import Lots, Units

_STAGE_BEFORE: dict[type[Event], type[Event] | None] = {
    WithdrawalHeld: None,
    WithdrawalReturned: WithdrawalHeld,
    WithdrawalReleased: WithdrawalHeld,
    WithdrawalSettled: WithdrawalReleased,
}


@attrs.define
class Witness:
    """Follows sizes, money in and out, withdrawals and funds by the events alone: `note` each outcome, then ask.

    `complaints` says in words what did not add up, each with the sequence of its command. `breaches` is what the
    exchange found itself, `standing` whether nobody has answered for it yet.
    """

    complaints: list[str] = attrs.field(factory=list[str])
    breaches: list[tuple[int, BreachFound]] = attrs.field(factory=list[tuple[int, BreachFound]])
    standing: bool = False
    _sizes: dict[tuple[AccountId, MarketId, PositionId], Lots] = attrs.field(factory=dict, init=False)
    _market_lots: defaultdict[MarketId, Lots] = attrs.field(factory=lambda: defaultdict(int), init=False)
    _deposits: set[int] = attrs.field(factory=set, init=False)
    _stages: dict[int, type[Event]] = attrs.field(factory=dict, init=False)
    _money: defaultdict[AssetId, Units] = attrs.field(factory=lambda: defaultdict(int), init=False)
    _funds: defaultdict[tuple[FundId, AssetId], Units] = attrs.field(factory=lambda: defaultdict(int), init=False)

    def note(self, outcome: Outcome) -> None:
        """Take in what one command did."""
        for event in outcome.events:
            for complaint in self._follow(event, outcome.sequence):
                self.complaints.append(f"command {outcome.sequence}: {complaint}")
        for said in (*_unpaired(outcome.events), *self._unbalanced(outcome.events)):
            self.complaints.append(f"command {outcome.sequence}: {said}")

    def compare(self, exchange: Exchange) -> list[str]:
        """Return where an exchange that did the same commands holds something else."""
        different: list[str] = []
        held: dict[tuple[AccountId, MarketId, PositionId], Lots] = {}
        for asset in exchange.assets:
            _, custody_side = exchange.clearing.conservation(asset)
            if custody_side != self._money[asset]:
                different.append(f"asset {asset}: came in less went out {self._money[asset]}, held {custody_side}")
            for account in (HOUSE, *exchange.clearing.accounts()):
                for each in exchange.clearing.pool(account, asset).exposures:
                    if each.size_lots:
                        held[account, each.market, each.position_id] = each.size_lots
        different += [
            f"position {key}: {self._sizes.get(key, 0)} lots by events, held {held.get(key, 0)}"
            for key in sorted(held.keys() | self._sizes.keys())
            if held.get(key, 0) != self._sizes.get(key, 0)
        ]
        return different

    def _follow(self, event: Event, sequence: int) -> Iterator[str]:
        match event:
            case PositionChanged():
                key = (event.account, event.market, event.position_id)
                self._market_lots[event.market] += event.size_lots - self._sizes.pop(key, 0)
                if event.size_lots:
                    self._sizes[key] = event.size_lots
            case DepositCredited():
                if event.deposit_id in self._deposits:
                    yield f"deposit {event.deposit_id} was credited before"
                self._deposits.add(event.deposit_id)
                self._money[event.asset] += event.amount_units + event.suspended_units
            case DepositReverted():
                if event.deposit_id not in self._deposits:
                    yield f"deposit {event.deposit_id} was reversed, and never credited"
                self._money[event.asset] -= event.amount_units
            case WithdrawalHeld() | WithdrawalReleased() | WithdrawalReturned() | WithdrawalSettled():
                yield from self._withdrawal(event)
            case FundMoved():
                self._funds[event.fund, event.asset] += event.amount_units
                if self._funds[event.fund, event.asset] != event.balance_units:
                    yield f"fund {event.fund}: {self._funds[event.fund, event.asset]} by its moves, told {event}"
            case BreachFound():
                self.breaches.append((sequence, event))
                self.standing = True
            case ExchangeResumed():
                self.standing = False
            case _:
                pass

    def _withdrawal(
        self, event: WithdrawalHeld | WithdrawalReleased | WithdrawalReturned | WithdrawalSettled
    ) -> Iterator[str]:
        """Each is held once, then given back, or released once and settled once."""
        before = self._stages.get(event.withdrawal_id)
        due = _STAGE_BEFORE[type(event)]
        if before is not due:
            yield f"withdrawal {event.withdrawal_id}: {type(event).__name__} after {before and before.__name__}"
        self._stages[event.withdrawal_id] = type(event)
        if isinstance(event, WithdrawalSettled):
            self._money[event.asset] -= event.amount_units

    def _unbalanced(self, events: Sequence[Event]) -> Iterator[str]:
        for market in {event.market for event in events if isinstance(event, PositionChanged)}:
            if self._market_lots[market]:
                yield f"market {market}: the sizes sum to {self._market_lots[market]} lots"


def _unpaired(events: Sequence[Event]) -> Iterator[str]:
    """Every fill has two sides of one size at one price, the taker's and then the maker's."""
    fills = [event for event in events if isinstance(event, Filled)]
    for taker, maker in zip(fills[::2], fills[1::2], strict=False):
        sides = (taker.maker, maker.maker, maker.size_lots, maker.price_ticks)
        if sides != (False, True, -taker.size_lots, taker.price_ticks):
            yield f"expected two sides of a fill, was {taker} and {maker}"
    if len(fills) % 2:
        yield f"expected two sides of a fill, was {fills[-1]} alone"
