"""An order's whole way through the exchange: admission, matching, settlement, checks, events."""

import random
import statistics
import time
from collections.abc import Callable, Sequence

import attrs

from perpkit.bench.market import ASSET, bench_config
from perpkit.engine.exchange import Exchange
from perpkit.model.command import CancelOrder, Command, DepositObserved, IndexQuotes, PlaceOrder
from perpkit.model.event import Event
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import Quote

ACCOUNTS = 1_000
FLOOR_PER_SECOND = 60_000
MID_TICKS = 100_000


@attrs.frozen(kw_only=True)
class PathBench:
    """Commands a second of CPU time, the median over rounds, with all events kept."""

    per_second: int
    rounds: int
    commands_per_round: int

    @property
    def met(self) -> bool:
        """Whether the floor is reached."""
        return self.per_second >= FLOOR_PER_SECOND

    def lines(self) -> list[str]:
        """Return the figures as text."""
        floor = f"(floor {FLOOR_PER_SECOND:,}: {'met' if self.met else 'not met'})"
        return [
            f"reference clearing, full path {self.per_second:>10,} commands/s {floor}",
            f"two markets, {ACCOUNTS:,} cross accounts, {self.rounds} rounds of {self.commands_per_round:,}, CPU time",
        ]


def bench_path(rounds: int = 7, commands: int = 2_000, progress: Callable[[int, int], None] | None = None) -> PathBench:
    """Measure orders, cancels and takers of many accounts in two markets."""
    exchange = _opened()
    stream = _commands(rounds * commands)
    seconds, kept = [], list[tuple[Event, ...]]()
    for turn in range(rounds):
        part = stream[turn * commands : (turn + 1) * commands]
        start = time.process_time()
        for command in part:
            kept.append(exchange.apply(command).events)
        seconds.append(time.process_time() - start)
        if progress:
            progress(turn + 1, rounds)
    return PathBench(
        per_second=round(commands / statistics.median(seconds)), rounds=rounds, commands_per_round=commands
    )


def _opened() -> Exchange:
    exchange = Exchange.of(bench_config(markets=2))
    for account in range(1, ACCOUNTS + 1):
        exchange.apply(DepositObserved(deposit_id=account, account=account, asset=ASSET, amount_units=10**9))
    quotes = [
        Quote(market=market, source=source, price_ticks=MID_TICKS, weight=1, at_ns=1)
        for market in (1, 2)
        for source in range(1, 6)
    ]
    exchange.apply(IndexQuotes(quotes=tuple(quotes), time_ns=1))
    return exchange


def _commands(count: int) -> Sequence[Command]:
    """Return orders near the mark: half rest, a third are cancels by client id, the others take."""
    draw = random.Random(20261121)
    live: list[tuple[int, int, int]] = []
    commands: list[Command] = []
    for number in range(1, count + 1):
        kind = draw.random()
        if kind < 0.35 and live:
            account, market, name = live.pop(draw.randrange(len(live)))
            commands.append(CancelOrder(account=account, market=market, client_order_id=name, time_ns=1))
            continue
        side, takes = draw.choice((Side.BUY, Side.SELL)), kind > 0.85
        order = PlaceOrder(
            account=draw.randint(1, ACCOUNTS),
            market=draw.choice((1, 2)),
            side=side,
            size_lots=draw.randint(1, 100),
            price_ticks=MID_TICKS + side * (5 if takes else -draw.randint(1, 40)),
            time_in_force=TimeInForce.IOC if takes else TimeInForce.GTC,
            client_order_id=number,
            time_ns=1,
        )
        if not takes:
            live.append((order.account, order.market, number))
        commands.append(order)
    return commands
