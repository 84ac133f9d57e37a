"""One round in a process of its own: `python -I one_round.py ADAPTER MESSAGES COUNT RESULT [--read-only]`.

Runs in the environment of the package that is measured, so it needs the standard library alone. What it found goes
into the file RESULT, because a package may print what it likes.
"""

import gc
import importlib.util
import json
import os
import resource
import struct
import sys
import time
from functools import partial
from itertools import chain, islice
from pathlib import Path

ROW = struct.Struct("<6q")


def read_messages(path, count):
    """Return messages as tuples of six ints: kind, order id, side, price, size, account."""
    with Path(path).open("rb") as file:
        pieces = iter(partial(file.read, ROW.size * 4096), b"")
        return list(islice(chain.from_iterable(map(ROW.iter_unpack, pieces)), count))


def load(path):
    """Return an adapter as a module, without putting its directory in front of the packages that it imports."""
    spec = importlib.util.spec_from_file_location("adapter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_kib():
    """Return the most memory that this process has held."""
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # bytes on macOS
    # Not ru_maxrss: on Linux it remembers what the process that started this one held.
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def plain(number):
    """Return a number of whatever type a package counts in as one that JSON knows."""
    return int(number) if number == int(number) else float(number)


def measure(adapter, messages):
    """Replay the messages and say how long it took and what came of it."""
    replay, outcome = adapter.prepare(messages)
    gc.collect()
    gc.freeze()  # what was made before the clock started is not the collector's to look at again
    wall, cpu = time.perf_counter(), time.process_time()
    replay()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall, "cpu_s": cpu, "outcome": {name: plain(value) for name, value in outcome().items()}}


def main():
    path, messages_path, count, result_path, *read_only = sys.argv[1:]
    adapter = load(path)
    messages = read_messages(messages_path, int(count))
    if hasattr(adapter, "encode"):
        messages = adapter.encode(messages)
    python = ".".join(map(str, sys.version_info[:2]))
    found = {} if read_only else measure(adapter, messages)
    Path(result_path).write_text(json.dumps({**found, "peak_kib": peak_kib(), "python": python}), "utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads that a package leaves behind are not waited for


if __name__ == "__main__":
    main()
