"""What every guard does: ask, name whom it asked when that goes wrong, and judge what came back."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import attrs

from perpkit.errors import PartFaultError

AskedT = ParamSpec("AskedT")
AnswerT = TypeVar("AnswerT")

INTEGER_BOUND = 1 << 62


@attrs.frozen
class Guard:
    """Stands before one part. `part` is its place in the manifest, `name` says whose code it is."""

    part: int
    name: str

    def ask(self, question: Callable[AskedT, AnswerT], *given: AskedT.args, **named: AskedT.kwargs) -> AnswerT:
        """Return the answer.

        Raises:
            PartFaultError: the part raised.
        """
        try:
            return question(*given, **named)
        except PartFaultError:
            raise  # one part may stand on another, which was already named
        except Exception as error:
            said = f"{question.__name__} raised {type(error).__name__}: {error}"
            raise self.fault(said) from error

    def unexpected(self, expected: str, found: object) -> PartFaultError:
        """Return the error for an answer that is not sound."""
        return self.fault(f"expected {expected}, was {found!r}")

    def fault(self, said: str) -> PartFaultError:
        """Return the error that names this part."""
        return PartFaultError(f"{self.name}: {said}", self.part)


def whole(value: object, low: int = 1 - INTEGER_BOUND, high: int = INTEGER_BOUND - 1) -> bool:
    """Whether a value is exactly an int, and within bounds."""
    return type(value) is int and low <= value <= high
