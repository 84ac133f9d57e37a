"""An order book for perpkit in native speed, offered as `fast`.

`perpkit_fast._matching` has what it does, and docs/reference/records.md the bytes of its records. What it offers beyond
the port is `perpkit.ports.book.FusedBook`.
"""

from collections.abc import Iterable

from perpkit.plugin import BOOK, NoOptions, Provider, hookimpl
from perpkit.ports import OrderBook
from perpkit.ports.book import FUSED

try:
    from perpkit_fast._book import FastBook
except ImportError as error:
    raise ImportError(
        "perpkit-fast: expected its compiled part, could not load it; install the package with a C compiler "
        f"and the headers of this Python at hand, or configure book = 'price-time' ({error})"
    ) from error

__all__ = ["FastBook", "perpkit_order_books"]


@hookimpl
def perpkit_order_books() -> Iterable[Provider[OrderBook]]:
    """Offer it under its name; its capability is `FusedBook`."""
    return [
        BOOK.provider(
            name="fast",
            build=FastBook,
            options=NoOptions,
            summary="price-time over native arrays",
            capabilities=frozenset({FUSED}),
        )
    ]
