"""A state to come back to, for a command that a part's fault stopped half-way."""

import json
from collections.abc import Iterator

from perpkit.engine.core import Core
from perpkit.engine.snapshot import save
from perpkit.model.command import Command
from perpkit.model.event import Event
from perpkit.units import div_floor

COMMANDS_MIN = 1_000
STATE_BYTES_A_COMMAND = 50
"""A checkpoint is as old as it is large, so that taking one costs each command about the same."""


class Checkpoint:
    """A dump of the state, and the commands that were done since: doing them again leads to the state before a fault.

    That works for every part, because all of them give the same answers to the same questions; nothing has to keep
    records of how to undo itself.
    """

    def __init__(self, core: Core) -> None:
        self._state, self._since = b"", list[tuple[int, Command, tuple[Event, ...]]]()
        self.take(core)

    def take(self, core: Core) -> None:
        """Let the present be the state to come back to."""
        self._state = json.dumps(save(core)).encode()
        self._since.clear()

    def note(self, core: Core, command: Command, events: tuple[Event, ...]) -> None:
        """Remember a command that was done, and what it did.

        Cost:
            Constant; now and then a dump of the state.
        """
        self._since.append((core.sequence, command, events))
        if len(self._since) >= max(COMMANDS_MIN, div_floor(len(self._state), STATE_BYTES_A_COMMAND)):
            self.take(core)

    def state(self) -> bytes:
        """Return the state to come back to."""
        return self._state

    def since(self) -> Iterator[tuple[int, Command, tuple[Event, ...]]]:
        """Yield what was done after it: sequence, command, and the events that it must lead to again."""
        yield from self._since
