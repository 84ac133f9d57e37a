"""Many seeds on all cores; ends with what was reached, or with the seeds that failed.

```sh
python -m tests.simulation.run               # 20 million commands over 2,000 seeds
python -m tests.simulation.run --seeds 40    # the first 40 of them
python -m tests.simulation.run --seed 7      # one seed alone, with a traceback where it fails
```
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

from .simulation import BUSY, Pace, Simulation, SimulationError, Tally

SEEDS, COMMANDS = 2_000, 10_000


def run_seed(seed: int, *, commands: int, pace: Pace) -> Tally | str:
    """Run one seed; return what happened, or in words what failed."""
    gc.disable()  # a seed leaves next to nothing behind that only a collection would find
    try:
        return Simulation(seed, commands, pace).run()
    except SimulationError as error:
        return str(error)
    finally:
        gc.enable()
        gc.collect()


def run_all(seeds: Iterable[int], commands: int, pace: Pace, jobs: int) -> Iterator[Tally | str]:
    """Yield every seed's result as it comes."""
    with ProcessPoolExecutor(jobs) as pool:
        work = partial(run_seed, commands=commands, pace=pace)
        for future in as_completed([pool.submit(work, seed) for seed in seeds]):
            yield future.result()


def summary(total: Tally, seconds: float) -> str:
    """Tell what was reached, kind by kind."""
    commands = sum(total.commands.values())
    lines = [f"{commands:,} commands in {seconds:,.0f} s: {commands / seconds:,.0f} a second"]
    for title, counted in (
        ("commands", total.commands),
        ("refused", total.refused),
        ("events", total.events),
        ("faults", total.faults),
        ("checks", total.checks),
    ):
        lines.append(f"\n{title}: {sum(counted.values()):,}")
        lines += [f"{number:>14,}  {name}" for name, number in sorted(counted.items(), key=lambda pair: -pair[1])]
    return "\n".join(lines)


def _progress(seeds_done: int, seeds: int, commands: int, began: float) -> None:
    """Show how far it is: one line that stays in place on a terminal, one line every twentieth elsewhere."""
    rate = seeds_done * commands / max(time.monotonic() - began, 1e-9)
    left = (seeds - seeds_done) * commands / rate
    done, total = f"{seeds_done * commands:,}", f"{seeds * commands:,}"
    line = f"{seeds_done:,}/{seeds:,} seeds, {done}/{total} commands, {rate:,.0f} a second, {left:,.0f} s to go"
    if sys.stderr.isatty():
        print(f"\r{line:<100}", end="" if seeds_done < seeds else "\n", file=sys.stderr, flush=True)
    elif seeds_done * 20 // seeds > (seeds_done - 1) * 20 // seeds:
        print(line, file=sys.stderr, flush=True)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many seeds (default {SEEDS:,})")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--commands", type=int, default=COMMANDS, help=f"commands a seed (default {COMMANDS:,})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--busy", action="store_true", help="faults and audits at the pace of the short test")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 when a seed failed."""
    asked = _arguments(argv)
    pace = BUSY if asked.busy else Pace()
    began = time.monotonic()
    if asked.seed is not None:
        print(summary(Simulation(asked.seed, asked.commands, pace).run(), time.monotonic() - began))
        return 0
    total, failed = Tally(), 0
    seeds = range(asked.first, asked.first + asked.seeds)
    for done, result in enumerate(run_all(seeds, asked.commands, pace, asked.jobs), start=1):
        if isinstance(result, Tally):
            total.add(result)
        else:
            failed += 1
            print(f"\n{result}", file=sys.stderr)
        _progress(done, asked.seeds, asked.commands, began)
    print(summary(total, time.monotonic() - began))
    if failed:
        print(f"\n{failed:,} of {asked.seeds:,} seeds failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
