"""The desks of all assets, as the one custody that a venue talks to."""

from collections.abc import Mapping, Sequence

from perpkit.custody.desk.desk import Desk
from perpkit.errors import ConfigError
from perpkit.model.command import Command
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased, WithdrawalReturned
from perpkit.model.ids import AssetId
from perpkit.units import Units


class DeskCustody:
    """A `Custody` that decides itself and can count twice, with a desk for each asset.

    All desks share one log, so that no two deposits have one id. What is told has the number of its entry, and a cursor
    is the number of the last entry that was told: it means the same after a restart.

    Raises:
        ConfigError: two desks have different logs, or there is none.
    """

    def __init__(self, desks: Mapping[AssetId, Desk]) -> None:
        if len({id(desk.log) for desk in desks.values()}) != 1:
            raise ConfigError("expected desks that share one log: deposit ids are numbers of its entries")
        self.desks: dict[AssetId, Desk] = dict(desks)

    def requested(self, held: WithdrawalHeld, /) -> None:
        """Begin to decide about a withdrawal."""
        self.desks[held.asset].requested(held)

    def release(self, released: WithdrawalReleased, /) -> None:
        """Let a withdrawal be signed and sent."""
        self.desks[released.asset].release(released)

    def returned(self, returned: WithdrawalReturned, /) -> None:
        """Forget a withdrawal that went back to its owner."""
        self.desks[returned.asset].returned(returned)

    def observe(self, after: int, /) -> tuple[Sequence[Command], int]:
        """Let every desk do what it can, and tell what the exchange has to know, in the order of the log."""
        for desk in self.desks.values():
            desk.advance()
        told = sorted((each for desk in self.desks.values() for each in desk.told(after)), key=lambda each: each[0])
        return tuple(command for _, command in told), told[-1][0] if told else after

    def holdings(self, asset: AssetId, /) -> Units:
        """Return what the blocks lead to at the depth that counts, as of the last `observe`."""
        return self.desks[asset].holdings()

    def recount(self, asset: AssetId, /) -> Units:
        """Return what the chain's own node counts after the same block."""
        return self.desks[asset].recount()
