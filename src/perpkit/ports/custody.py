"""Custody: where the money really is. Called by the venue only, never inside `apply`; it may block."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from perpkit.model.command import Command
from perpkit.model.event import WithdrawalReleased
from perpkit.model.ids import AssetId
from perpkit.units import Units


class Custody(Protocol):
    """Sends what was released, once, and reports what it saw. Provisional."""

    @abstractmethod
    def release(self, released: WithdrawalReleased, /) -> None:
        """Send a withdrawal. Idempotent by its id: the venue may ask again after a crash."""
        ...

    @abstractmethod
    def observe(self, after: int, /) -> tuple[Sequence[Command], int]:
        """Return what happened outside since a cursor, as commands, and the next cursor.

        At least once: the same observation may come again, with the same id. When nothing happened since the cursor,
        nothing is told. From 0, everything is told again.

        Units:
            `after` is 0, or a cursor that this returned. It grows with what is told, and outlives a restart.
        """
        ...

    @abstractmethod
    def holdings(self, asset: AssetId, /) -> Units:
        """Return what custody holds of an asset now: what it saw come in, less what it saw leave."""
        ...
