"""What laws say in the place of a test runner's own words."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refusing(kind: type[Exception]) -> Iterator[None]:
    """Expect a fault of a kind."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}, and nothing was raised")
