"""What every guard does: ask, name whom it asked when that goes wrong, and judge what came back."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import attrs

from perpkit.errors import PartFaultError

AskedT = ParamSpec("AskedT")
AnswerT = TypeVar("AnswerT")

INTEGER_BOUND = 1 << 62
SHOWN_CHARACTERS = 500


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
            asked = getattr(question, "__name__", "a member")
            raise self.fault(f"{asked} raised {type(error).__name__}: {_shown(error, str)}") from error

    def judge(self, answer: object, expected: str, sound: Callable[[], bool]) -> None:
        """Refuse an answer that is not sound, or of which that cannot even be asked.

        Raises:
            PartFaultError: with what was expected and what was found.
        """
        try:
            if sound():
                return
        except Exception as error:
            raise self.unexpected(expected, answer) from error
        raise self.unexpected(expected, answer)

    def unexpected(self, expected: str, found: object) -> PartFaultError:
        """Return the error for an answer that is not sound."""
        return self.fault(f"expected {expected}, was {_shown(found)}")

    def fault(self, said: str) -> PartFaultError:
        """Return the error that names this part."""
        return PartFaultError(f"{self.name}: {said}", self.part)


def same(value: object, expected: int) -> bool:
    """Whether a value is exactly an int, and this one: 1.0 and True equal 1 and are not."""
    return type(value) is int and value == expected


def _shown(value: object, to_text: Callable[[object], str] = repr) -> str:
    """Return a value as text, however odd: an answer may be of a kind that cannot be printed."""
    try:
        return to_text(value)[:SHOWN_CHARACTERS]
    except Exception:  # noqa: BLE001 - whatever a stranger's repr raises
        return f"a {type(value).__name__} that cannot be shown"


def whole(value: object, low: int = 1 - INTEGER_BOUND, high: int = INTEGER_BOUND - 1) -> bool:
    """Whether a value is exactly an int, and within bounds."""
    return type(value) is int and low <= value <= high
