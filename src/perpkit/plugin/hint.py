"""The second half of a good error message: what the writer probably meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` when one of the choices is close to `word`, else nothing.

    Example:
        >>> did_you_mean("fsat", ["fast", "price-time"])
        "; did you mean 'fast'?"
    """
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
