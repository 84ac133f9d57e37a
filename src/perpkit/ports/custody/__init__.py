"""Custody: where the money really is. Called by the venue only, never inside `apply`; it may block.

`Custody` is what an exchange's venue needs. What a custody is made from has Protocols of its own, so that a chain, a
wallet, an HSM or a policy can be replaced one at a time: see `chain`, `wallet`, `people`, `policy`, `nomination`, `hsm`
and `signing`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from perpkit.model.command import Command
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased, WithdrawalReturned
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


@runtime_checkable
class ApprovingCustody(Custody, Protocol):
    """A custody that decides itself whether a held withdrawal may leave.

    Its `observe` tells `ApproveWithdrawal` when everybody needed has agreed, and `CancelWithdrawal` when not. A custody
    without this ability leaves the two commands to whoever embeds the exchange.
    """

    @abstractmethod
    def requested(self, held: WithdrawalHeld, /) -> None:
        """Begin to decide. Idempotent by id: the venue tells again after a crash what is still held."""
        ...

    @abstractmethod
    def returned(self, returned: WithdrawalReturned, /) -> None:
        """Forget a withdrawal that went back to its owner: cancelled, or recalled by a liquidation."""
        ...


@runtime_checkable
class RecountingCustody(Custody, Protocol):
    """A custody that can count what it holds a second time, by a way that shares nothing with `holdings`."""

    @abstractmethod
    def recount(self, asset: AssetId, /) -> Units:
        """Return the second count, at the same moment of the chain as `holdings`."""
        ...
