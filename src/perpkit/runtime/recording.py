"""What one run of one market looked like, as series and counts: a subscriber that keeps what people ask about."""

from collections import Counter

import attrs

from perpkit.engine.exchange import Outcome
from perpkit.model.cause import Cause
from perpkit.model.event import (
    Deleveraged,
    DeleveragingDone,
    Event,
    Filled,
    FundMoved,
    FundReserved,
    IndexUpdated,
    LiquidationStarted,
    LossSocialized,
    MarketStateChanged,
    MarkUpdated,
    TakenOver,
    WithdrawalReturned,
)
from perpkit.model.market import MarketState
from perpkit.model.price import LeftOut, PriceState
from perpkit.units import Lots, Nanos, Ticks, Units


@attrs.frozen(kw_only=True)
class Point:
    """The market at one stamp; prices are 0 before the first."""

    at_ns: Nanos
    index_ticks: Ticks
    mark_ticks: Ticks
    mark_state: PriceState
    last_ticks: Ticks
    fund_units: Units
    reserved_units: Units


@attrs.frozen(kw_only=True)
class ForcedClose:
    """A part of a position that its owner lost; `lots` is signed like the position."""

    at_ns: Nanos
    cause: Cause
    account: int
    lots: Lots
    price_ticks: Ticks


@attrs.define
class Absence:
    """A time during which an index source was left out; open until `to_ns` is set."""

    source: int
    reason: LeftOut
    from_ns: Nanos
    to_ns: Nanos = 0


@attrs.define
class Recording:
    """Collects one market of a venue: `venue.subscribe(recording.note)`, and `point` at each stamp worth a dot.

    Units:
        `fund_drawn_units` and `fund_received_units` leave out the capital that the operator paid in.
    """

    market: int
    points: list[Point] = attrs.field(factory=list[Point])
    forced: list[ForcedClose] = attrs.field(factory=list[ForcedClose])
    absences: list[Absence] = attrs.field(factory=list[Absence])
    counts: Counter[str] = attrs.field(factory=Counter[str])
    volume_lots: Lots = 0
    fund_units: Units = 0
    fund_drawn_units: Units = 0
    fund_received_units: Units = 0
    reserved_units: Units = 0
    reserved_worst_units: Units = 0
    deleveraged_accounts: set[int] = attrs.field(factory=set[int])
    overshoot_units: Units = 0
    haircut_units: Units = 0
    socialized_units: Units = 0
    gap_worst_ticks: Ticks = 0
    gap_worst_ns: Nanos = 0
    settled: bool = False
    index_ticks: Ticks = 0
    mark_ticks: Ticks = 0
    mark_state: PriceState = PriceState.FROZEN
    last_ticks: Ticks = 0

    def note(self, at_ns: Nanos, outcome: Outcome) -> None:
        """Take in what one command did."""
        for event in outcome.events:
            self.counts[type(event).__name__] += 1
            if getattr(event, "market", self.market) in (self.market, 0):
                self._note(at_ns, event)

    def point(self, at_ns: Nanos) -> None:
        """Keep the present as one dot of every series."""
        self.points.append(
            Point(
                at_ns=at_ns,
                index_ticks=self.index_ticks,
                mark_ticks=self.mark_ticks,
                mark_state=self.mark_state,
                last_ticks=self.last_ticks,
                fund_units=self.fund_units,
                reserved_units=self.reserved_units,
            )
        )
        gap = abs(self.last_ticks - self.index_ticks) if self.last_ticks and self.index_ticks else 0
        if gap > self.gap_worst_ticks:
            self.gap_worst_ticks, self.gap_worst_ns = gap, at_ns

    def _note(self, at_ns: Nanos, event: Event) -> None:
        match event:
            case IndexUpdated():
                self.index_ticks = event.price_ticks
                self._note_absences(at_ns, event)
            case MarkUpdated():
                self.mark_ticks, self.mark_state = event.price_ticks, event.state
            case Filled(maker=True):
                self.last_ticks = event.price_ticks
                self.volume_lots += abs(event.size_lots)
            case Filled(cause=Cause.LIQUIDATION):
                self._force(at_ns, event.cause, event.account, -event.size_lots, event.price_ticks)
            case TakenOver():
                self._force(at_ns, Cause.TAKE_OVER, event.account, event.size_lots, event.price_ticks)
            case Deleveraged():
                self._force(at_ns, Cause.DELEVERAGING, event.account, event.size_lots, event.price_ticks)
                self.deleveraged_accounts.add(event.account)
            case DeleveragingDone():
                self.overshoot_units += event.overshoot_units
                self.haircut_units += event.haircut_units
            case FundMoved() | FundReserved():
                self._note_fund(event)
            case LossSocialized():
                self.socialized_units += event.amount_units
            case MarketStateChanged(state=MarketState.SETTLED):
                self.settled = True
            case _:
                self._count(event)

    def _count(self, event: Event) -> None:
        if isinstance(event, WithdrawalReturned) and event.recalled:
            self.counts["recalled"] += 1
        elif isinstance(event, LiquidationStarted):
            self.counts["liquidated pools"] += 1

    def _force(self, at_ns: Nanos, cause: Cause, account: int, lots: Lots, price_ticks: Ticks) -> None:
        self.counts[cause.name] += 1
        self.forced.append(ForcedClose(at_ns=at_ns, cause=cause, account=account, lots=lots, price_ticks=price_ticks))

    def _note_fund(self, event: FundMoved | FundReserved) -> None:
        if isinstance(event, FundReserved):
            self.reserved_units = event.reserved_units
            self.reserved_worst_units = max(self.reserved_worst_units, event.reserved_units)
            return
        self.fund_units = event.balance_units
        if event.cause is Cause.CAPITAL:
            return
        if event.amount_units < 0:
            self.fund_drawn_units -= event.amount_units
        else:
            self.fund_received_units += event.amount_units

    def _note_absences(self, at_ns: Nanos, event: IndexUpdated) -> None:
        missing = {s.source: s.left_out for s in event.sources if s.left_out is not LeftOut.USED}
        running = {each.source: each for each in self.absences if not each.to_ns}
        for source, absence in running.items():
            if missing.get(source) is not absence.reason:
                absence.to_ns = at_ns
        for source, reason in missing.items():
            if source not in running or running[source].reason is not reason:
                self.absences.append(Absence(source=source, reason=reason, from_ns=at_ns))
