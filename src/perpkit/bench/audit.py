"""What the audit costs a busy exchange: totals after every command, and a full sweep four times a minute."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import attrs

from perpkit.bench.market import ASSET, MARKET, PRICE_TICKS, bench_config
from perpkit.engine.exchange import Exchange
from perpkit.model.command import Command, DepositObserved, IndexQuotes, PlaceOrder
from perpkit.model.order import Side
from perpkit.model.price import Quote
from perpkit.runtime import Pace

CEILING_PERCENT = 10
ACCOUNTS = 10_000


@attrs.frozen(kw_only=True)
class AuditBench:
    """CPU time, each the median over rounds. `cost_percent` is of the time of a core that does nothing but commands."""

    accounts: int
    rounds: int
    command_us: float
    totals_us: float
    sweep_ms: float
    sweeps_a_minute: float
    cost_percent: float

    @property
    def met(self) -> bool:
        """Whether the audit stays within its share."""
        return self.cost_percent <= CEILING_PERCENT

    def lines(self) -> list[str]:
        """Return the figures as text."""
        return [
            f"one command                {self.command_us:>10.1f} µs, its totals included",
            f"totals after a command     {self.totals_us:>10.1f} µs",
            f"sweep of {self.accounts:,} accounts   {self.sweep_ms:>10.1f} ms, {self.sweeps_a_minute:.0f} a minute",
            f"cost of the audit          {self.cost_percent:>10.1f} % (ceiling {CEILING_PERCENT} %)",
            f"medians of {self.rounds} rounds, CPU time",
        ]


def bench_audit(
    rounds: int = 9, commands: int = 1_000, accounts: int = ACCOUNTS, progress: Callable[[int, int], None] | None = None
) -> AuditBench:
    """Measure on an exchange where every account holds a position: maker and taker orders, totals, and sweeps."""
    exchange = _opened(accounts)
    commands = min(commands, accounts)
    command_s, totals_s, sweep_s = [], [], []
    for turn in range(rounds):
        command_s.append(_apply_seconds(exchange, list(_trades(range(1, commands + 1)))) / commands)
        totals_s.append(_seconds(exchange.check_totals, commands) / commands)
        sweep_s.append(_seconds(exchange.audit))
        if progress:
            progress(turn + 1, rounds)
    command, totals, sweep = map(statistics.median, (command_s, totals_s, sweep_s))
    every_s = Pace().audit_every_ns / 10**9
    return AuditBench(
        accounts=accounts,
        rounds=rounds,
        command_us=round(command * 10**6, 1),
        totals_us=round(totals * 10**6, 1),
        sweep_ms=round(sweep * 10**3, 1),
        sweeps_a_minute=60 / every_s,
        cost_percent=round(100 * (totals / command + sweep / every_s), 1),
    )


def _opened(accounts: int) -> Exchange:
    """Return an exchange with as many accounts, every one of them in the market."""
    exchange = Exchange.of(bench_config())
    for account in range(1, accounts + 1):
        exchange.apply(DepositObserved(deposit_id=account, account=account, asset=ASSET, amount_units=10**8))
    quotes = [Quote(market=MARKET, source=source, price_ticks=PRICE_TICKS, weight=1, at_ns=1) for source in range(1, 6)]
    exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=1))
    for command in _trades(range(1, accounts + 1)):
        exchange.apply(command)
    return exchange


def _trades(accounts: Iterable[int]) -> Iterable[Command]:
    """Yield orders that pair accounts: the first of two rests, the second takes it."""
    for account in accounts:
        side = Side.BUY if account % 2 else Side.SELL
        yield PlaceOrder(account=account, market=MARKET, side=side, size_lots=10, price_ticks=PRICE_TICKS, time_ns=1)


def _seconds(work: Callable[[], object], times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - start


def _apply_seconds(exchange: Exchange, commands: Sequence[Command]) -> float:
    start = time.process_time()
    for command in commands:
        exchange.apply(command)
    return time.process_time() - start
