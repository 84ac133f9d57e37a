"""Fees `maker-taker`: one rate for the order that waited, one for the order that came."""

import attrs

from perpkit.errors import ConfigError
from perpkit.model.ids import AccountId
from perpkit.ports.context import MarketContext
from perpkit.units import Ppb, ppb


@attrs.frozen(kw_only=True)
class MakerTakerOptions:
    """Rates as text, such as "0.075%" or "0.00075"; a negative maker rate is a rebate."""

    maker: str = "0"
    taker: str = "0.075%"


class MakerTakerFees:
    """The same two rates for every account.

    Raises:
        ConfigError: the rebate is higher than the taker fee that has to pay for it.
        UnitsError: a rate is not a number, or finer than one part per billion.
    """

    def __init__(self, _context: MarketContext, options: MakerTakerOptions) -> None:
        self._maker_ppb = ppb(options.maker, "maker")
        self._taker_ppb = ppb(options.taker, "taker")
        if self._maker_ppb + self._taker_ppb < 0:
            raise ConfigError(
                f"maker-taker: expected maker + taker of zero or more, so that no trade costs the house "
                f"money, was {options.maker} + {options.taker}"
            )

    def rate_ppb(self, _account: AccountId, maker: bool, /) -> Ppb:
        """Return the rate of one of the two sides of a fill."""
        return self._maker_ppb if maker else self._taker_ppb
