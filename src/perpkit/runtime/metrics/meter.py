"""The meter: what a venue does, told to a sink as figures."""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Concatenate, ParamSpec

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import Command
from perpkit.model.event import Duplicate, HoldingsCompared, LiquidationStarted, Rejected
from perpkit.model.ids import FundId, MarketId
from perpkit.model.ledger import insurance
from perpkit.model.price import PriceState
from perpkit.ports.journal import Journal
from perpkit.runtime.metrics.sink import MetricsSink, NullSink
from perpkit.units import SECOND_NS, Nanos

_NOTED = frozenset((Rejected, Duplicate, LiquidationStarted, HoldingsCompared))

logger: logging.Logger = logging.getLogger(__name__)

_P = ParamSpec("_P")


def _harmless(method: Callable[Concatenate["Meter", _P], None]) -> Callable[Concatenate["Meter", _P], None]:
    """Log the first fault of a meter and pass over the others: the venue's work is done, and its caller is told so."""

    @functools.wraps(method)
    def guarded(meter: "Meter", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(meter, *args, **kwargs)
        except Exception:
            if not meter.faulty:
                logger.exception("a metric could not be told; further faults of this meter are not logged")
            meter.faulty = True

    return guarded


class Meter:
    """Tells a sink what a venue does; given to it as `Venue(…, meter=Meter(config, sink))`, which makes every call.

    It outlives the venue: what stands up after a recovery can go on with the same meter. `funds` are the insurance
    sub-funds whose balances are told.
    """

    def __init__(
        self, config: ExchangeConfig, sink: MetricsSink | None = None, *, funds: Sequence[FundId] = (1,)
    ) -> None:
        self.faulty = False
        self._sink = sink or NullSink()
        self._markets = {market.id: market.name for market in config.markets.values()}
        self._assets = {asset.id: asset.name for asset in config.assets.values()}
        self._funds = funds
        self._read_ns: Nanos | None = None
        self._trusted_ns: dict[MarketId, Nanos] = {}

    @_harmless
    def opened(self, journal: Journal) -> None:
        """Tell which writer of the journal this is."""
        frames = journal.read(journal.last_seq)
        self._sink.gauge("perpkit.epoch", max(frame.epoch for frame in frames), {})

    @_harmless
    def applied(self, count: int, seconds: float) -> None:
        """Tell how long the commands of one call took to apply."""
        if count:
            self._sink.record("perpkit.apply.duration", seconds, {})

    @_harmless
    def durable(self, count: int, seconds: float) -> None:
        """Tell how long one call waited until its commands were durable."""
        if count:
            self._sink.record("perpkit.journal.batch.size", count, {})
            self._sink.record("perpkit.journal.fsync.duration", seconds, {})

    @_harmless
    def note(self, told: Iterable[tuple[Command, Outcome]]) -> None:
        """Tell what commands did that became durable: many at a time, because telling takes longer than counting."""
        counts: Counter[tuple[str, str]] = Counter()
        for command, outcome in told:
            result = "accepted"
            for event in [event for event in outcome.events if type(event) in _NOTED]:
                match event:
                    case Rejected():
                        result = event.reason.text
                    case Duplicate():
                        result = "duplicate"
                    case LiquidationStarted():
                        self._sink.count("perpkit.liquidations", 1, {"asset": self._assets[event.asset]})
                    case HoldingsCompared():
                        gap_units = event.holdings_units - event.ledger_units
                        self._tell_gap(self._assets[event.asset], "holdings", gap_units)
                    case _:
                        pass
            counts[type(command).__name__, result] += 1
        for (kind, result), count in counts.items():
            self._sink.count("perpkit.commands", count, {"type": kind, "result": result})

    @_harmless
    def read(self, exchange: Exchange, now_ns: Nanos) -> None:
        """Read the gauges, unless that was done within the second; nobody else may be changing the exchange."""
        now_ns = max(now_ns, exchange.clock_ns)
        if self._read_ns is not None and now_ns - self._read_ns < SECOND_NS:
            return
        self._read_ns = now_ns
        self._sink.gauge("perpkit.audit.ok", int(not exchange.evidence and not exchange.halted), {})
        clearing = exchange.clearing
        for market, mark in clearing.marks().items():
            if mark.state is not PriceState.FROZEN:
                self._trusted_ns[market] = mark.at_ns
            if market in self._trusted_ns:
                age_ns = now_ns - self._trusted_ns[market]
                self._sink.gauge("perpkit.mark.age", age_ns / SECOND_NS, {"market": self._markets[market]})
        for asset, name in self._assets.items():
            client_side, custody_side = clearing.conservation(asset)
            self._tell_gap(name, "ledger", custody_side - client_side)
            for fund in self._funds:
                balance = clearing.balance(insurance(fund, asset))
                self._sink.gauge("perpkit.insurance.balance", balance, {"asset": name, "fund": str(fund)})

    def _tell_gap(self, asset: str, check: str, gap_units: int) -> None:
        self._sink.gauge("perpkit.solvency.gap", gap_units, {"asset": asset, "check": check})
