"""A venue under ten times the load that it can take: whether cancels still pass, and how soon."""

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import attrs

from perpkit.engine.compose import build_custody, build_journal
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.errors import InvariantError
from perpkit.model.command import CancelOrder, Command, DepositObserved, IndexQuotes, PlaceOrder
from perpkit.model.order import Side
from perpkit.model.price import Quote
from perpkit.plugin import Registry
from perpkit.runtime import Venue
from perpkit.runtime.intake import OVERLOADED, Intake, Lane, lane_of
from perpkit.units import Lots, Ticks, div_floor

TIMES = 10
MID_TICKS = 10_000
MAKERS, HOLDERS, CLIENTS = range(1, 21), range(21, 41), range(101, 601)
TABLES: dict[str, Any] = {
    "assets": {"USD": {"id": 1, "unit": "0.01", "deposits_max": "1000000000000"}},
    "markets": {
        "PERP": {
            "id": 1,
            "kind": "linear",
            "settlement": "USD",
            "tick": "1",
            "lot": "1",
            "price_min": "1000",
            "price_max": "20000",
            "order_max": "1000000",
            "open_interest_max": "1000000000",
            "orders_max": 1_000,
            "brackets": [{"up_to": "1000000000000", "initial": "1%", "maintenance": "0.5%"}],
        }
    },
}


@attrs.frozen(kw_only=True)
class OverloadBench:
    """What became of a flow of `offered_per_second`, ten times what the venue did alone, where the machine can.

    The flow is 5 % cancels, 5 % reduce-only orders, 50 % orders that rest and 40 % that trade. Offering takes time from
    the same processor, and what gets through is another mix, so `done_per_second` is not `alone_per_second`. All
    `cancels` should be admitted, and done. Their times are from the offer to the answer.
    """

    alone_per_second: int
    offered_per_second: int
    done_per_second: int
    offered: int
    cancels: int
    cancels_admitted: int
    cancels_done: int
    closes_admitted_percent: float
    rest_refused_percent: float
    cancel_p50_ms: float
    cancel_p99_ms: float

    @property
    def met(self) -> bool:
        """Whether every cancel came in and was done."""
        return self.cancels_admitted == self.cancels_done == self.cancels

    def lines(self) -> list[str]:
        """Return the figures as text."""
        waited = f"p50 {self.cancel_p50_ms} ms, p99 {self.cancel_p99_ms} ms"
        return [
            f"alone    {self.alone_per_second:>9,} commands/s",
            f"offered  {self.offered_per_second:>9,} commands/s, {self.done_per_second:,} of them done",
            f"cancels  {self.cancels_done:>9,} done of {self.cancels:,}; {waited}",
            f"closes   {self.closes_admitted_percent:>9} % admitted",
            f"others   {self.rest_refused_percent:>9} % refused as overloaded",
        ]


def bench_overload(
    journal: str = "file", seconds: int = 5, alone: int = 10_000, progress: Callable[[int, int], None] | None = None
) -> OverloadBench:
    """Measure with `alone` commands what the venue does in peace, then offer ten times as much for `seconds`."""
    with tempfile.TemporaryDirectory() as directory:
        intake = _intake(journal, directory)
        per_second = _alone(intake, _flow(0, alone))
        flow = _flow(alone, per_second * TIMES * seconds)
        _prepare(intake, flow)
        # A venue in use has no such flow in memory, and need not look through it whenever it collects garbage.
        gc.collect()
        gc.freeze()
        try:
            feeder = _Feeder(intake, flow, per_second * TIMES)
            before = intake.venue.exchange.sequence
            feeder.start()
            while feeder.is_alive():
                intake.wait(0.01)
                intake.pump()
                if progress:
                    progress(feeder.offered, len(flow))
            done = intake.venue.exchange.sequence - before
            intake.close()
        finally:
            gc.unfreeze()
    return feeder.report(per_second, done)


class _Feeder(threading.Thread):
    """Offers a flow at a pace, and keeps what was answered."""

    def __init__(self, intake: Intake, flow: Sequence[Command], per_second: int) -> None:
        super().__init__(name="perpkit-feeder", daemon=True)
        self.offered = 0
        self.seconds = 0.0
        self._intake, self._flow, self._per_second = intake, flow, per_second
        self._answers: list[tuple[Command, Future[Outcome]]] = []
        self._waited_ns: list[int] = []

    def run(self) -> None:
        start = time.perf_counter()
        while self.offered < len(self._flow):
            due = min(len(self._flow), int((time.perf_counter() - start) * self._per_second))
            for command in self._flow[self.offered : due]:
                self._offer(command)
            self.offered = due
            time.sleep(0.001)
        self.seconds = time.perf_counter() - start

    def _offer(self, command: Command) -> None:
        at_ns = time.perf_counter_ns()
        ticket = self._intake.offer(command)
        self._answers.append((command, ticket))
        if isinstance(command, CancelOrder):
            ticket.add_done_callback(lambda _: self._waited_ns.append(time.perf_counter_ns() - at_ns))

    def report(self, alone: int, done: int) -> OverloadBench:
        """Count the answers; all of them are there once the intake is closed."""
        answers: dict[Lane, list[Outcome]] = {lane: [] for lane in Lane}
        for command, ticket in self._answers:
            answers[lane_of(command)].append(ticket.result())
        cancels, closes, rest = answers[Lane.CANCELS], answers[Lane.CLOSES], answers[Lane.REST]
        waited = sorted(self._waited_ns)
        return OverloadBench(
            alone_per_second=alone,
            offered_per_second=round(self.offered / self.seconds),
            done_per_second=round(done / self.seconds),
            offered=self.offered,
            cancels=len(cancels),
            cancels_admitted=len(cancels) - _refused(cancels),
            cancels_done=sum(outcome.rejected is None for outcome in cancels),
            closes_admitted_percent=round(100 - 100 * _refused(closes) / len(closes), 1),
            rest_refused_percent=round(100 * _refused(rest) / len(rest), 1),
            cancel_p50_ms=round(waited[div_floor(len(waited), 2)] / 1e6, 1),
            cancel_p99_ms=round(waited[div_floor(len(waited) * 99, 100)] / 1e6, 1),
        )


def _refused(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome is OVERLOADED for outcome in outcomes)


def _intake(journal: str, directory: str) -> Intake:
    """Return the door of a venue with funded accounts, a deep book, and positions to close on both sides."""
    config, registry = ExchangeConfig.from_dict({**TABLES, "exchange": {"journal": journal}}), Registry.builtin()
    exchange = Exchange.of(config, registry)
    kept = build_journal(config, registry, exchange.manifest, directory)
    intake = Intake(Venue(exchange, build_custody(config, registry), kept, clock=time.time_ns))
    accounts = (*MAKERS, *HOLDERS, *CLIENTS)
    _do(intake, [DepositObserved(deposit_id=each, account=each, asset=1, amount_units=10**11) for each in accounts])
    sources, now_ns = (1, 2, 3), time.time_ns()
    quotes = [Quote(market=1, source=each, price_ticks=MID_TICKS, weight=1, at_ns=now_ns) for each in sources]
    _do(intake, [IndexQuotes(quotes=tuple(quotes))])
    for side in (Side.BUY, Side.SELL):
        _do(intake, [_order(each, side, MID_TICKS - side * (each % 10 + 1), 10**6) for each in MAKERS])
    _do(intake, [_trade(each, _side(each), 10**5) for each in HOLDERS])
    return intake


def _do(intake: Intake, commands: Sequence[Command]) -> None:
    """Offer commands no faster than they are done; none may be refused."""
    for start in range(0, len(commands), 1_000):
        tickets = [intake.offer(command) for command in commands[start : start + 1_000]]
        while intake.pump():
            pass
        refused = {outcome.rejected for outcome in map(Future.result, tickets) if outcome.rejected}
        if refused:
            raise InvariantError(f"bench: expected every command to be done, was {refused}")


def _alone(intake: Intake, flow: Sequence[Command]) -> int:
    """Return how many commands a second are offered, done and answered by one thread."""
    _prepare(intake, flow)
    start = time.perf_counter()
    _do(intake, flow)
    return round(len(flow) / (time.perf_counter() - start))


def _prepare(intake: Intake, flow: Sequence[Command]) -> None:
    """Place what the flow will cancel, far from where it trades."""
    cancels = [command for command in flow if isinstance(command, CancelOrder)]
    _do(intake, [_order(each.account, Side.BUY, 9_500, 1, each.client_order_id) for each in cancels])


def _flow(first: int, count: int) -> list[Command]:
    return [_numbered(number) for number in range(first, first + count)]


def _numbered(number: int) -> Command:
    """Return the command of a number: of twenty one cancels, one closes, ten rest and eight trade."""
    client = CLIENTS[number * 7_919 % len(CLIENTS)]
    turn = div_floor(number, 20)
    if number % 20 == 0:
        return CancelOrder(account=client, market=1, client_order_id=number + 1)
    if number % 20 == 10:
        holder = HOLDERS[turn % len(HOLDERS)]
        return _trade(holder, Side(-_side(holder)), 1, reduce_only=True)
    side = _side(turn)
    if number % 2:
        return _order(client, side, MID_TICKS - side * (11 + turn % 40), 1, number + 1)
    return _trade(client, side, 1)


def _side(number: int) -> Side:
    return Side.SELL if number % 2 else Side.BUY


def _order(account: int, side: Side, price_ticks: Ticks, size_lots: Lots, client_order_id: int = 0) -> PlaceOrder:
    return PlaceOrder(
        account=account,
        market=1,
        side=side,
        size_lots=size_lots,
        price_ticks=price_ticks,
        client_order_id=client_order_id,
    )


def _trade(account: int, side: Side, size_lots: Lots, *, reduce_only: bool = False) -> PlaceOrder:
    return PlaceOrder(
        account=account, market=1, side=side, size_lots=size_lots, is_market=True, reduce_only=reduce_only
    )
