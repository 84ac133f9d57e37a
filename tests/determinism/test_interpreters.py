"""The same log leads to the same state and the same events, whatever Python replays it."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPLAY = Path(__file__).with_name("replay.py")
OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER_VERSIONS = [version for version in ("3.11", "3.12", "3.13", "3.14", "3.15") if version != OWN_VERSION]
HASH_SEEDS = range(10)


@pytest.fixture(scope="module")
def replay_with(crash, packages, tmp_path_factory):
    """Return a function that replays the crash with an interpreter and returns its answer."""
    compiled = tmp_path_factory.mktemp("compiled")

    def run(python, hash_seed=0):
        settings = {
            "PYTHONHASHSEED": str(hash_seed),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(packages)]),
            "PYTHONPYCACHEPREFIX": str(compiled),  # so that nobody else's version is left in the tree
        }
        done = subprocess.run(
            [python, REPLAY, crash.folder],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_crash_meets_what_an_exchange_can_meet(crash):
    assert crash.kinds >= {
        "Deleveraged",
        "Filled",
        "FundMoved",
        "FundingAccrued",
        "FundingSettled",
        "LiquidationEnded",
        "LiquidationStarted",
        "MarginAdjusted",
        "OrderAmended",
        "OrderCancelled",
        "OrderRefused",
        "OrderTriggered",
        "OrderWaits",
        "PositionModeSet",
        "Rejected",
        "SwitchSet",
        "TakenOver",
        "WithdrawalReleased",
        "WithdrawalReturned",
        "WithdrawalSettled",
    }


def test_the_hash_seed_changes_nothing(crash, replay_with):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(lambda seed: replay_with(sys.executable, seed), HASH_SEEDS))
    assert len({answer["text_hash"] for answer in answers}) == len(HASH_SEEDS), "the seeds had no effect"
    for seed, answer in zip(HASH_SEEDS, answers, strict=True):
        assert answer["problems"] == []
        assert answer["replayed"] == crash.replayed, f"PYTHONHASHSEED={seed}"


@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_another_python_changes_nothing(crash, replay_with, version):
    answer = replay_with(interpreter(version))
    assert answer["python"] == version
    assert answer["problems"] == []
    assert answer["replayed"] == crash.replayed


def interpreter(version: str) -> str:
    """Return a Python of this version: named in PERPKIT_PYTHONS, on the path, or installed by pyenv."""
    named = os.environ.get("PERPKIT_PYTHONS", "").split(os.pathsep)
    installed = sorted(str(each) for each in Path.home().glob(f".pyenv/versions/{version}*/bin/python"))
    for candidate in (*filter(None, named), f"python{version}", *installed):
        if _version(candidate) == version:
            return candidate
    pytest.skip(f"no Python {version} on the path, in ~/.pyenv/versions or in PERPKIT_PYTHONS")


def _version(python: str) -> str:
    """Return what version a candidate is; nothing for one that is not there, or that only pretends to be."""
    tell = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    try:
        return subprocess.run(
            [python, "-c", tell], capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
