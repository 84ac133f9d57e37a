"""The door of a venue under load: bounded lanes by priority, so that whoever wants to get out still can."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from enum import IntEnum
from typing import TypeAlias

import attrs

from perpkit.engine.exchange import Outcome
from perpkit.engine.intake import check_types
from perpkit.errors import ConfigError, PerpkitError
from perpkit.model.command import CancelOrder, Command, PlaceOrder, RequestWithdrawal, SetPositionTerms
from perpkit.model.event import Rejected
from perpkit.model.ids import AccountId, MarketId
from perpkit.model.reject import RejectReason
from perpkit.runtime.venue import Venue

OVERLOADED = Outcome(sequence=0, events=(Rejected(reason=RejectReason.OVERLOADED),))
SHARES = 8

Ticket: TypeAlias = "Future[Outcome]"
_Waiting: TypeAlias = tuple[Command, Ticket]
_Name: TypeAlias = tuple[AccountId, MarketId, int]


class ClosedError(PerpkitError):
    """The intake takes nothing more."""


class LaneFullError(PerpkitError):
    """The operator's own commands come faster than the exchange does them."""


class Lane(IntEnum):
    """What a command waits with, in order of priority."""

    SYSTEM = 0
    CANCELS = 1
    CLOSES = 2
    REST = 3


@attrs.frozen(kw_only=True)
class LaneSizes:
    """How many commands may wait in each lane. Cancels are small and get the most room."""

    system: int = 1_024
    cancels: int = 16_384
    closes: int = 1_024
    rest: int = 1_024


@attrs.define
class _Named:
    """The orders of one client order id that wait, and the one cancel that waits for them."""

    orders: int = 0
    cancel: _Waiting | None = None


class Intake:
    """Takes commands from any thread, and has a venue do them in batches, urgent ones first.

    Four lanes, each with a bound of its own, so that only cancels can crowd out cancels: the operator's commands and
    quotes; cancels; reduce-only orders; all else that clients ask. A lane is first come, first served. Commands in
    different lanes overtake each other: whoever needs one done before another waits for its answer.

    One exception: a cancel never overtakes the order that it names. While an order of its client order id waits, the
    cancel waits beside it, outside its lane, and is done right behind the last such order. It is never refused; there
    is only one at a time, and whoever asks again gets the same ticket, so orders that wait bound cancels that do.

    Every lane where something waits gets an eighth of a batch, as far as it needs it; the rest of the batch goes by
    priority. So neither quotes can starve cancels, nor cancels the orders.

    Source:
        On 12 and 13 March 2020 exchanges were overloaded, and traders could not even cancel.

    Example:
        >>> from perpkit.engine.compose import build_custody, build_journal
        >>> from perpkit.engine.config import ExchangeConfig
        >>> from perpkit.engine.exchange import Exchange
        >>> from perpkit.plugin import Registry
        >>> from perpkit.simulate.world import configuration
        >>> config = ExchangeConfig.from_text(configuration("stepped"))
        >>> exchange, registry = Exchange.of(config), Registry.builtin()
        >>> journal = build_journal(config, registry, exchange.manifest, "")
        >>> intake = Intake(Venue(exchange, build_custody(config, registry), journal, clock=lambda: 1))
        >>> ticket = intake.offer(CancelOrder(account=1, market=1, order_id=7))
        >>> intake.pump(), ticket.result().rejected.text
        (1, 'unknown-account')
    """

    def __init__(self, venue: Venue, *, lanes: LaneSizes | None = None, batch_max: int = 64) -> None:
        sizes = lanes or LaneSizes()
        self._sizes = (sizes.system, sizes.cancels, sizes.closes, sizes.rest)
        if min(self._sizes) < 1 or batch_max < SHARES:
            raise ConfigError(
                f"intake: expected lanes of 1 or more and batches of {SHARES} or more, was {sizes}, {batch_max}"
            )
        self.venue = venue
        self._batch_max = batch_max
        self._lanes: tuple[deque[_Waiting], ...] = tuple(deque() for _ in Lane)
        self._named: dict[_Name, _Named] = {}
        self._stopped = self._closed = False
        self._changed = threading.Condition()
        self._pumping = threading.Lock()
        # One answer for all who are refused: under load nothing is cheaper.
        self._overloaded: Ticket = Future()
        self._overloaded.set_result(OVERLOADED)

    @property
    def stopped(self) -> bool:
        """Whether it takes nothing more."""
        return self._stopped

    def offer(self, command: Command) -> Ticket:
        """Take a command, or refuse it, at once. The ticket's `result()` waits for what it did.

        A ticket cannot be taken back: whoever stops waiting for it changes nothing.

        Rejects:
            overloaded, with sequence 0: the lane is full. The exchange never saw it, and no journal holds it.

        Raises:
            UnitsError: the command is malformed.
            LaneFullError: the lane of the operator's commands is full. What the operator asks, or a feed tells, must
                not get lost in a ticket that nobody reads; and waiting here for room would be for ever if the thread
                that pumps did it.
            ClosedError: the intake was stopped.
        """
        check_types(command)
        lane, name = lane_of(command), _name(command)
        with self._changed:
            if self._stopped:
                raise ClosedError("expected a running intake: it was stopped and takes nothing more")
            named = self._named.get(name) if name else None
            if named and lane is Lane.CANCELS:
                if named.cancel is None:
                    named.cancel = (command, _ticket())
                return named.cancel[1]
            # A newer quote does not replace one that waits: each moves the clock, funding samples and what triggers
            # see, and each has an owner who is owed a true answer. Their lane goes first, so few ever wait.
            if len(self._lanes[lane]) >= self._sizes[lane]:
                if lane is Lane.SYSTEM:
                    raise LaneFullError(f"expected room for {type(command).__name__}: {self._sizes[lane]} wait already")
                return self._overloaded
            ticket = _ticket()
            self._lanes[lane].append((command, ticket))
            if name and lane is not Lane.CANCELS:
                self._named.setdefault(name, _Named()).orders += 1
            self._changed.notify_all()
            return ticket

    def wait(self, timeout_seconds: float) -> bool:
        """Return once something waits to be pumped, or the intake was stopped; False when the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped or any(self._lanes), timeout_seconds)

    def pump(self) -> int:
        """Have the venue do the next batch and answer its tickets; return how many commands that was.

        A batch has at most `batch_max` commands, and the cancels that waited for one of its orders. When the venue
        raises, every ticket of the batch raises the same. Some of its commands may have been done all the same: the
        journal knows which.
        """
        with self._pumping:
            batch = self._take()
            if not batch:
                return 0
            try:
                outcomes = self.venue.submit_all([command for command, _ in batch])
            except BaseException as fault:
                for _, ticket in batch:
                    ticket.set_exception(fault)
                if not isinstance(fault, Exception):
                    raise
            else:
                for (_, ticket), outcome in zip(batch, outcomes, strict=True):
                    ticket.set_result(outcome)
            return len(batch)

    def stop(self) -> None:
        """Take nothing more; what waits is still to be pumped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop in good order: take nothing more, do what waits, and close the venue. Again, it does nothing."""
        self.stop()
        while self.pump():
            pass
        with self._pumping:
            if not self._closed:
                self._closed = True
                self.venue.close()

    def _take(self) -> Sequence[_Waiting]:
        batch: list[_Waiting] = []
        with self._changed:
            counts = [min(len(lane), self._batch_max // SHARES) for lane in self._lanes]
            for lane in Lane:
                room = self._batch_max - sum(counts)
                counts[lane] = min(len(self._lanes[lane]), counts[lane] + room)
            for lane in Lane:
                for _ in range(counts[lane]):
                    batch.append(self._lanes[lane].popleft())
                    batch += self._released(batch[-1][0])
        return batch

    def _released(self, command: Command) -> Sequence[_Waiting]:
        """Return the cancel that waited for this order, if it was the last of its name to wait."""
        name = _name(command)
        if not name or name not in self._named or not isinstance(command, PlaceOrder):
            return ()
        named = self._named[name]
        named.orders -= 1
        if named.orders:
            return ()
        del self._named[name]
        return (named.cancel,) if named.cancel else ()


def lane_of(command: Command) -> Lane:
    """Return the lane that a command waits in."""
    match command:
        case CancelOrder():
            return Lane.CANCELS
        case PlaceOrder(reduce_only=True):
            return Lane.CLOSES
        case PlaceOrder() | SetPositionTerms() | RequestWithdrawal():
            return Lane.REST
        case _:
            return Lane.SYSTEM


def _name(command: Command) -> _Name | None:
    """Return what the client calls the order that a command places or cancels, None where nothing does."""
    if isinstance(command, PlaceOrder) or (isinstance(command, CancelOrder) and not command.order_id):
        return (command.account, command.market, command.client_order_id) if command.client_order_id else None
    return None


def _ticket() -> Ticket:
    """Return a future that cannot be cancelled, because the command that it answers cannot be taken back."""
    ticket: Ticket = Future()
    ticket.set_running_or_notify_cancel()
    return ticket
