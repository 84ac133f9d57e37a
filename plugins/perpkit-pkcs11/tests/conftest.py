"""SoftHSM2 as the device: a library that keeps tokens in files. What it says of itself is believed, never more."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpkit_pkcs11 import Enrolment, Pkcs11Token, enrol

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN = "5678"


@pytest.fixture(scope="session")
def library() -> str:
    """Return where SoftHSM2's library is."""
    found = [each for each in (os.environ.get("PERPKIT_PKCS11_LIBRARY", ""), *LIBRARIES) if Path(each).is_file()]
    if not found or not shutil.which("softhsm2-util"):
        if os.environ.get("CI"):
            pytest.fail("SoftHSM2 is missing: .ci/run should have installed it")
        pytest.skip(
            "SoftHSM2 is not installed (Debian: softhsm2); PERPKIT_PKCS11_LIBRARY says where another library is"
        )
    return found[0]


@pytest.fixture(scope="session")
def tokens(library: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a directory with one token, `custody`. The library looks for tokens once a process."""
    home = tmp_path_factory.mktemp("softhsm")
    (home / "tokens").mkdir()
    (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(home / "softhsm2.conf"))
        command = ["softhsm2-util", "--init-token", "--free", "--label", "custody", "--so-pin", "1234", "--pin", PIN]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        yield home


NUMBERS = itertools.count(1)


@pytest.fixture
def enrolment(library: str, tokens: Path) -> Enrolment:
    """Return a key of its own, made in the token."""
    return enrol(library=library, token="custody", key=f"release-{next(NUMBERS)}", pin=PIN)


@pytest.fixture
def token(enrolment: Enrolment) -> Pkcs11Token:
    """Return that token, opened."""
    return Pkcs11Token(enrolment, PIN)
