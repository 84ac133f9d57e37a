"""The records of the book as numpy knows them: every type below is 64 bytes and may be laid over the same memory.

Example:
    >>> import numpy as np
    >>> from perpkit_fast import FastBook
    >>> from perpkit.testing.builders import market_context
    >>> commands = np.zeros(2, COMMAND)
    >>> commands["kind"], commands["market"], commands["id"] = 301, 1, [1, 2]
    >>> commands["flags"] = [1 << 1, 1 << 1 | 1]   # good till cancelled: buy, sell
    >>> commands["size_lots"], commands["price_ticks"] = [5, 3], 100
    >>> answers = np.frombuffer(FastBook(market_context()).apply(commands), ANSWER)
    >>> answers["kind"].tolist()
    [311, 311, 312]
    >>> matched = answers[answers["kind"] == 312].view(MATCHED)
    >>> matched["id"].tolist(), matched["size_lots"].tolist(), matched["left_lots"].tolist()
    ([1], [3], [2])
"""

import numpy as np

_HEADER = [("kind", "<u2"), ("flags", "<u2"), ("market", "<u4"), ("id", "<i8")]


def _record(*names: str) -> np.dtype[np.void]:
    return np.dtype([*_HEADER, *((name, "<i8") for name in names)])


COMMAND = _record("account", "position_id", "size_lots", "price_ticks", "display_lots", "hidden_lots")
"""A command, and an order as it is dumped."""

PLACED = _record("matches", "rest_lots", "cancel_lots", "prevented_lots", "reason", "version")
MATCHED = _record("account", "position_id", "size_lots", "price_ticks", "left_lots", "taker")
REDUCED = _record("account", "position_id", "size_lots", "price_ticks", "left_lots", "version")
REFUSED = _record("reason", "of_kind", "zero_1", "zero_2", "zero_3", "zero_4")

ANSWER = np.dtype([*_HEADER, ("numbers", "<i8", (6,))])
"""Any answer, before one has looked at its kind."""
