"""`perpkit demo`: the crash of March 2020 through a whole exchange, once for each liquidation policy."""

import argparse
import multiprocessing
import traceback
from collections.abc import Mapping
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, TypeAlias

from perpkit.cli.progress import Progress
from perpkit.engine.config import ExchangeConfig
from perpkit.errors import ConfigError, PerpkitError
from perpkit.report import RunSummary, hero_svg, render_text, summary, write_report
from perpkit.simulate.bars import PricePath, comparison_line, read_bars
from perpkit.simulate.run import FUND_START_UNITS, Run, run
from perpkit.simulate.scenarios import SCENARIOS, scenario
from perpkit.simulate.world import ASSET, MARKET, configuration

POLICIES = ("stepped", "takeover")
LOG, CONFIG, DIGEST, PICTURE = "commands.bin", "exchange.toml", "digest.txt", "crash.svg"

_Messages: TypeAlias = "SimpleQueue[tuple[str, Any]]"


def add_parser(subparsers: Any) -> None:
    """Add `perpkit demo`."""
    parser = subparsers.add_parser("demo", help="run the crash of March 2020 under two liquidation policies")
    parser.add_argument(
        "--prices", nargs="+", type=Path, metavar="FILE", help="bars: ts,exchange,open,high,low,close,volume"
    )
    parser.add_argument(
        "--scenario", default="march-2020", metavar="NAME", help="a built-in path (default: march-2020)"
    )
    parser.add_argument("--list", action="store_true", help="list the built-in paths")
    parser.add_argument("--hours", type=int, metavar="N", help="only the first N hours")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other traders (default: 1)")
    parser.add_argument("--traders", type=int, default=200, metavar="N", help="how many traders (default: 200)")
    parser.add_argument("--out", type=Path, default=Path("perpkit-demo"), metavar="DIR", help="default: perpkit-demo")
    parser.add_argument("--journal", type=Path, metavar="DIR", help="leave a durable journal of each run behind")
    parser.set_defaults(run=demo)


def demo(arguments: argparse.Namespace) -> int:
    """Run every policy on the same path and people, print the table, write the report and the logs.

    Raises:
        ConfigError: an option does not fit, or the journal's directory has something in it.
    """
    if arguments.list:
        for name, each in SCENARIOS.items():
            print(f"{name}: {each.summary}")
        return 0
    path, notes = _path(arguments)
    if arguments.journal and arguments.journal.exists() and any(arguments.journal.iterdir()):
        raise ConfigError(f"--journal: expected a new or empty directory, was {arguments.journal}")
    runs = _run_all(path, arguments)
    summaries = [_summarize(policy, result, path) for policy, result in runs.items()]
    for note in notes:
        print(note)
    print()
    print(render_text(summary(summaries)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for policy, result in runs.items():
        _keep(_own(arguments.out, policy), policy, result)
    report = arguments.out / "report.html"
    command = f"perpkit demo --seed {arguments.seed} --traders {arguments.traders}"
    title = "The crash of 12-13 March 2020 on a perpkit exchange"
    write_report(report, summaries, title=title, notes=notes, command=command)
    (arguments.out / PICTURE).write_text(hero_svg(summaries), encoding="utf-8")
    print(f"\nreport: {report}\nlog:    {arguments.out / LOG} (perpkit replay {arguments.out})")
    return 0


def _path(arguments: argparse.Namespace) -> tuple[PricePath, list[str]]:
    for name, value in (("hours", arguments.hours), ("traders", arguments.traders)):
        if value is not None and value < 1:
            raise ConfigError(f"--{name}: expected at least 1, was {value}")
    if arguments.prices:
        path = read_bars(arguments.prices)
        notes = [f"Prices: real bars from {', '.join(file.name for file in arguments.prices)}."]
    else:
        path = scenario(arguments.scenario)
        notes = [f"Prices: stylised ({arguments.scenario}), drawn through publicly known prices; not market data."]
    if arguments.hours:
        path = path.cut(arguments.hours)
    notes.append(f"Index sources: {', '.join(path.sources.values())}.")
    notes.append(
        f"{arguments.traders} traders and four market makers, seed {arguments.seed}; both runs get the same orders."
    )
    return path, notes


def _run_all(path: PricePath, arguments: argparse.Namespace) -> Mapping[str, Run]:
    """Run each policy in a process of its own, and show how far each is."""
    context = multiprocessing.get_context("spawn")
    messages: _Messages = context.SimpleQueue()
    workers = [context.Process(target=_work, args=(messages, policy, path, arguments)) for policy in POLICIES]
    for worker in workers:
        worker.start()
    results: dict[str, Run] = {}
    try:
        with Progress(POLICIES) as progress:
            while len(results) < len(POLICIES):
                policy, message = messages.get()
                if isinstance(message, Run):
                    results[policy] = message
                elif isinstance(message, str):
                    raise PerpkitError(f"the {policy} run failed:\n{message}")
                else:
                    progress.show(policy, *message)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return {policy: results[policy] for policy in POLICIES}


def _work(messages: _Messages, policy: str, path: PricePath, arguments: argparse.Namespace) -> None:
    def progress(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            messages.put((policy, (done, total)))

    try:
        text, directory = configuration(policy), ""
        if arguments.journal:
            text, directory = configuration(policy, "file"), str(_own(arguments.journal, policy))
            Path(directory).mkdir(parents=True, exist_ok=True)
            Path(directory, CONFIG).write_text(text, encoding="utf-8")
        seed, traders = arguments.seed, arguments.traders
        config = ExchangeConfig.from_text(text)
        result = run(config, path, seed=seed, trader_count=traders, directory=directory, progress=progress)
        if directory:
            Path(directory, DIGEST).write_text(f"{result.state_digest}\n", encoding="utf-8")
        messages.put((policy, result))
    except BaseException:
        # The parent waits for a message from each worker; what killed this one is the message.
        messages.put((policy, traceback.format_exc()))
        raise


def _own(directory: Path, policy: str) -> Path:
    """Return where a policy's files go: the first one's stand at the top."""
    return directory if policy == POLICIES[0] else directory / policy


def _summarize(policy: str, result: Run, path: PricePath) -> RunSummary:
    config = ExchangeConfig.from_text(configuration(policy))
    market = next(each for each in config.markets.values() if each.name == MARKET)
    asset = config.assets[market.settlement]
    return RunSummary(
        name=policy,
        recording=result.recording,
        market=market,
        unit=asset.unit,
        unit_name=ASSET,
        fund_start_units=FUND_START_UNITS,
        commands=result.commands,
        client_side_units=result.client_side_units,
        custody_side_units=result.custody_side_units,
        deposits_units=result.holdings_units,
        state_digest=result.state_digest,
        source_names=path.sources,
        reference_line=comparison_line(path, market),
    )


def _keep(directory: Path, policy: str, result: Run) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / LOG).write_bytes(result.log)
    (directory / CONFIG).write_text(configuration(policy), encoding="utf-8")
    (directory / DIGEST).write_text(f"{result.state_digest}\n", encoding="utf-8")
