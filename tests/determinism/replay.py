"""Replay the log in a folder and print what it leads to, on whatever Python runs this: replay.py FOLDER."""

import json
import sys
from pathlib import Path

# Some platforms lack these, so the core does without. Whoever imports one of them here gets an ImportError.
DISPENSABLE = ("matplotlib", "multiprocessing", "rich", "sqlite3", "ssl")


def main(folder: Path) -> None:
    """Print where this is, and the digests of the state and of the events."""
    sys.modules.update(dict.fromkeys(DISPENSABLE))
    import attrs

    from perpkit import ExchangeConfig, Registry
    from perpkit.audit import replay

    registry = Registry.builtin()
    replayed = replay((folder / "crash.log").read_bytes(), ExchangeConfig.from_toml(folder / "exchange.toml"), registry)
    answer = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "platform": sys.platform,
        "pointer_bits": sys.maxsize.bit_length() + 1,
        "text_hash": hash("perpkit"),
        "problems": [str(problem) for problem in registry.problems],
        "replayed": attrs.asdict(replayed),
    }
    print(json.dumps(answer))


main(Path(sys.argv[1]))
