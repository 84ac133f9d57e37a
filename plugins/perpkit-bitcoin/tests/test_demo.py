"""`perpkit custody demo` on the real rules: mined by Bitcoin Core's code, and every theft fails."""

import re
import subprocess
import sys
import time

SECONDS_MAX = 30


def test_the_demonstration_ends_with_a_mined_transaction_and_a_list_of_thefts_that_failed() -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "perpkit", "custody", "demo"]
    played = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    took = time.monotonic() - began
    assert played.returncode == 0, played.stderr
    (txid,) = re.findall(r"^mined  ([0-9a-f]{64})$", played.stdout, re.MULTILINE)
    assert f"{txid} is in block " in played.stdout.replace("\n" + " " * 10, " ")
    assert "Bitcoin Core's own consensus code" in played.stdout
    assert "9 of 9 thefts failed" in played.stdout
    assert "input 0 does not satisfy its" in played.stdout
    assert took < SECONDS_MAX
