"""Kill an exchange at random moments, a thousand times; nothing that it acknowledged is ever lost.

    python examples/kill_and_recover.py [--kills 1000] [--seed 1]

A child process trades as fast as it can on a durable venue and says which commands were acknowledged. The parent kills
it without warning, starts it again, and compares. At the end the whole journal is replayed from nothing.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perpkit import Exchange, ExchangeConfig, Registry, Side, Venue
from perpkit.audit import state_digest
from perpkit.engine.compose import build_custody, build_journal
from perpkit.model.command import Command, DepositObserved, IndexQuotes, PlaceOrder
from perpkit.model.price import Quote
from perpkit.model.records import unpack
from perpkit.ports.journal import FrameKind
from perpkit.runtime.recovery import replay_frames
from perpkit.runtime.venue import Pace
from perpkit.simulate.world import configuration

ACCOUNTS = 20
CONFIG = ExchangeConfig.from_text(configuration("stepped", journal="file"))


def command(sequence: int) -> Command:
    """Return the command that must get this sequence: the whole load is a function of the number."""
    draw = random.Random(sequence)
    if sequence <= ACCOUNTS:
        return DepositObserved(deposit_id=sequence, account=sequence, asset=1, amount_units=10**9)
    price = 10_000 + 40 * (sequence // 50 % 50)
    if sequence % 50 == 1 or sequence == ACCOUNTS + 1:
        quotes = (Quote(market=1, source=source, price_ticks=price, weight=1, at_ns=sequence) for source in (1, 2, 3))
        return IndexQuotes(quotes=tuple(quotes))
    return PlaceOrder(
        account=draw.randint(1, ACCOUNTS),
        market=1,
        side=draw.choice((Side.BUY, Side.SELL)),
        size_lots=draw.randint(1, 5_000),
        price_ticks=price + draw.randint(-20, 20),
        client_order_id=sequence,
    )


def child(directory: str) -> None:
    """Recover, say from where, then trade until killed, acknowledging each command on stdout."""
    registry = Registry.builtin()
    exchange = Exchange.of(CONFIG, registry)
    journal = build_journal(CONFIG, registry, exchange.manifest, directory)
    pace = Pace(digest_every=500, snapshot_every=1_000)
    venue, recovered = Venue.recover(exchange, build_custody(CONFIG, registry), journal, clock=time.time_ns, pace=pace)
    clients, custody = exchange.clearing.conservation(1)
    print("recovered", exchange.sequence, recovered.replayed, clients - custody, flush=True)
    while True:
        group = [command(exchange.sequence + n) for n in range(1, 1 + random.Random(exchange.sequence).randint(1, 20))]
        venue.submit_all(group)
        print("acknowledged", exchange.sequence, flush=True)


def life(directory: str, seconds: float) -> tuple[int, int]:
    """Let a child live for so long after it recovered; return (recovered, acknowledged)."""
    process = subprocess.Popen([sys.executable, __file__, "--child", directory], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline().split()
    if not first:
        raise SystemExit(f"the child died while it recovered, exit code {process.wait()}")
    if first[3] != "0":
        raise SystemExit(f"the books do not balance after recovery: {first[3]} units over")
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    rest = [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.wait()
    return int(first[1]), int(rest[-1][1]) if rest else int(first[1])


def audit(directory: str) -> tuple[int, str]:
    """Replay the whole journal from nothing: every command once, in order, and every digest as noted."""
    registry = Registry.builtin()
    exchange = Exchange.of(CONFIG, registry)
    journal = build_journal(CONFIG, registry, exchange.manifest, directory, read_only=True)
    frames = list(journal.read(1))
    written = [each for frame in frames if frame.kind is FrameKind.COMMANDS for each in unpack(frame.payload)]
    for sequence, each in enumerate(written, start=1):
        expected = command(sequence)
        same = {field: getattr(each, field) for field in each.__slots__ if field not in ("time_ns", "__weakref__")}
        assert same == {field: getattr(expected, field) for field in same}, f"command {sequence} is another one"
    replay_frames(exchange, frames)
    return exchange.sequence, state_digest(exchange)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as directory:
        acknowledged = 0
        for kill in range(1, arguments.kills + 1):
            recovered, now = life(directory, draw.random() * 0.1)
            if recovered < acknowledged:
                raise SystemExit(f"kill {kill}: {acknowledged} was acknowledged, {recovered} came back")
            acknowledged = now
            if kill % max(1, arguments.kills // 10) == 0:
                print(f"{kill} kills, {acknowledged} commands acknowledged, none lost", file=sys.stderr)
        commands, _ = audit(directory)
        assert commands >= acknowledged
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    print(f"{arguments.kills} kills: nothing acknowledged was lost, nothing was done twice, the books balance")
    print(f"seed {arguments.seed}; {commands} commands; journal and snapshots {size >> 20} MiB", file=sys.stderr)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
