"""Insurance `pool`: one fund an asset that pays every loss while it lasts."""

from collections.abc import Sequence

from perpkit.model.ids import FundId
from perpkit.model.position import Balances
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext
from perpkit.ports.insurance import FundMove, Loss
from perpkit.units import Units

POOL: FundId = 1


class PoolInsurance:
    """Everything in, everything out, in one sub-fund; it remembers nothing."""

    def __init__(self, _context: ExchangeContext, _options: NoOptions) -> None: ...

    def funds(self) -> Sequence[FundId]:
        """Return the one sub-fund."""
        return (POOL,)

    def payable(self, loss: Loss, balances: Balances, /) -> Units:
        """Return the loss, or what the fund holds where that is less."""
        return min(loss.amount_units, balances[POOL])

    def draw(self, loss: Loss, balances: Balances, /) -> Sequence[FundMove]:
        """Return one draw of what is payable, none when that is nothing."""
        amount = self.payable(loss, balances)
        return (FundMove(fund=POOL, amount_units=amount),) if amount else ()

    def receive(self, inflow: Loss, /) -> Sequence[FundMove]:
        """Return one move of the whole inflow."""
        return (FundMove(fund=POOL, amount_units=inflow.amount_units),)

    def dump(self) -> bytes:
        """Return the empty state."""
        return b"{}"

    def load(self, _state: bytes, /) -> None:
        """Take the empty state."""
