"""A busy machine is no defect: the time that one example takes says nothing. What was not built is skipped."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("perpkit-fast", settings(), deadline=None)
settings.load_profile("perpkit-fast")

try:
    import numpy  # noqa: ICN001, F401

    import perpkit_fast  # noqa: F401
except ImportError as error:
    missing = str(error)
else:
    missing = ""


class Unbuilt(pytest.Module):
    """Stands for tests that could not even be imported."""

    def collect(self):
        pytest.skip(missing, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Take the place of every file of tests while something is missing."""
    return Unbuilt.from_parent(parent, path=module_path) if missing else None
