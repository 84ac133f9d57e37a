"""Insurance `protection`: one sub-fund for liquidations, one for accidents, and a bound on what one market may take."""

import json
from collections import Counter
from collections.abc import Sequence

import attrs

from perpkit.model.ids import FundId, MarketId
from perpkit.model.position import Balances
from perpkit.ports.context import ExchangeContext
from perpkit.ports.insurance import FundMove, Loss
from perpkit.units import SCALE, SECOND_NS, Nanos, Ppb, Units, div_floor

PENETRATION: FundId = 1
ACCIDENT: FundId = 2


@attrs.frozen(kw_only=True)
class ProtectionOptions:
    """How inflows are shared between the sub-funds, and how much one market may be paid.

    Units:
        `accident_share_ppb` is the part of each inflow that goes to the accident fund. `window_cap_units` is
        in accounting units of the market's settlement asset; 0 is no cap.
    """

    accident_share_ppb: Ppb = attrs.field(
        default=200_000_000, validator=[attrs.validators.ge(0), attrs.validators.le(SCALE)]
    )
    window_seconds: int = attrs.field(default=86_400, validator=attrs.validators.ge(1))
    window_cap_units: Units = attrs.field(default=0, validator=attrs.validators.ge(0))


class ProtectionInsurance:
    """Two sub-funds that never pay for each other's purpose.

    `PENETRATION` (1) pays what a liquidation lost beyond the margin. `ACCIDENT` (2) is built up for wicks and
    downtime; nothing that the waterfall asks for is one of those, so no draw touches it.

    In any `window_seconds` a market is paid at most `window_cap_units`, so that one manipulated market cannot
    empty the fund of all others; what it may not be paid is deleveraged.

    Rounds:
        The accident fund's part of an inflow down; the rest goes to penetration.

    Source:
        Two purposes apart: BitMEX's fund stood against deleveraging only, and Deribit paid for its index error
        of 31 October 2019 out of the company's money. The cap: dYdX v4 bounds what its fund may lose for one
        subaccount in a block; Hyperliquid, since JELLY (26 March 2025), caps its liquidator vault and
        deleverages when that loses beyond a threshold. Here the cap is each market's, over a rolling window.
    """

    def __init__(self, _context: ExchangeContext, options: ProtectionOptions) -> None:
        self._options = options
        self._window_ns = options.window_seconds * SECOND_NS
        self._paid_units: Counter[tuple[MarketId, Nanos]] = Counter()

    def funds(self) -> Sequence[FundId]:
        """Return the two sub-funds."""
        return (PENETRATION, ACCIDENT)

    def payable(self, loss: Loss, balances: Balances, /) -> Units:
        """Return the loss, or what the penetration fund holds or its market's window leaves, where that is less.

        Cost:
            With a cap, O(payments in the window), of all markets.
        """
        payable = min(loss.amount_units, balances[PENETRATION])
        cap_units = self._options.window_cap_units
        if not cap_units:
            return payable
        paid_units = sum([units for (market, _), units in self._window(loss).items() if market == loss.market])
        return max(0, min(payable, cap_units - paid_units))

    def draw(self, loss: Loss, balances: Balances, /) -> Sequence[FundMove]:
        """Return one draw of what is payable on the penetration fund, none when that is nothing."""
        amount = self.payable(loss, balances)
        if not amount:
            return ()
        if self._options.window_cap_units:
            self._paid_units = self._window(loss)
            self._paid_units[loss.market, loss.at_ns] += amount
        return (FundMove(fund=PENETRATION, amount_units=amount),)

    def receive(self, inflow: Loss, /) -> Sequence[FundMove]:
        """Return the accident fund's part of an inflow, and the rest; a part of nothing is left out."""
        accident = div_floor(inflow.amount_units * self._options.accident_share_ppb, SCALE)
        moves = (
            FundMove(fund=PENETRATION, amount_units=inflow.amount_units - accident),
            FundMove(fund=ACCIDENT, amount_units=accident),
        )
        return [move for move in moves if move.amount_units]

    def dump(self) -> bytes:
        """Return what each market was paid, and when."""
        paid = [[market, at_ns, units] for (market, at_ns), units in sorted(self._paid_units.items())]
        return json.dumps({"paid": paid}, separators=(",", ":")).encode()

    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        self._paid_units = Counter({(market, at_ns): units for market, at_ns, units in json.loads(state)["paid"]})

    def _window(self, loss: Loss) -> Counter[tuple[MarketId, Nanos]]:
        """Return what was paid in the window that ends with a loss, by market and time."""
        after_ns = loss.at_ns - self._window_ns
        return Counter({key: units for key, units in self._paid_units.items() if key[1] > after_ns})
