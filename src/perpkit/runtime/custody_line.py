"""The venue's line to custody: what it has to hear, in order, and what it saw. A line that is down loses nothing."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

from perpkit.errors import CustodyError
from perpkit.model.command import Command, HoldingsReported
from perpkit.model.event import WithdrawalHeld, WithdrawalReleased, WithdrawalReturned
from perpkit.model.ids import AssetId
from perpkit.ports import Custody
from perpkit.ports.custody import ApprovingCustody, RecountingCustody

ForCustody: TypeAlias = WithdrawalHeld | WithdrawalReleased | WithdrawalReturned

logger: logging.Logger = logging.getLogger(__name__)


class CustodyLine:
    """Tells custody of withdrawals and asks what it saw.

    `faults` counts how often it could not hear or answer: a chain's node that is down must not stop the exchange.
    """

    def __init__(self, custody: Custody) -> None:
        self.faults: int = 0
        self._custody = custody
        self._unheard: dict[int, list[ForCustody]] = {}
        self._cursor = 0
        self._anew = False

    def tell(self, event: ForCustody) -> None:
        """Let custody hear of a withdrawal; what it cannot take now waits, and so does what follows on the same one."""
        if waiting := self._unheard.get(event.withdrawal_id):
            waiting.append(event)
            return
        custody = self._custody
        try:
            if isinstance(event, WithdrawalReleased):
                custody.release(event)
            elif isinstance(custody, ApprovingCustody):
                custody.requested(event) if isinstance(event, WithdrawalHeld) else custody.returned(event)
        except CustodyError as fault:
            self.note(f"{type(event).__name__} {event.withdrawal_id}", fault)
            self._unheard[event.withdrawal_id] = [event]

    def tell_again(self) -> None:
        """Tell what custody could not take before."""
        unheard, self._unheard = self._unheard, {}
        for event in chain.from_iterable(unheard.values()):
            self.tell(event)

    def ask_anew(self) -> None:
        """Let the next `observe` begin from the start: what a breach had refused is to be done after all."""
        self._anew = True

    def observe(self) -> tuple[Sequence[Command], int]:
        """Return what custody saw since what was `heard`, and the cursor behind it."""
        if self._anew:
            self._cursor, self._anew = 0, False
        return self._custody.observe(self._cursor)

    def heard(self, cursor: int) -> None:
        """Go on from a cursor: what came before it is done."""
        self._cursor = cursor

    def reports(self, assets: Iterable[AssetId]) -> Iterator[HoldingsReported]:
        """Ask what custody holds, and for its second count where it has one."""
        for asset in assets:
            yield HoldingsReported(asset=asset, holdings_units=self._custody.holdings(asset))
            if isinstance(self._custody, RecountingCustody):
                yield HoldingsReported(asset=asset, holdings_units=self._custody.recount(asset))

    def note(self, what: str, fault: CustodyError) -> None:
        """Log and count that custody could not do something."""
        self.faults += 1
        logger.warning("%s: custody cannot now, and is asked again at the next tick: %s", what, fault)
