"""Phase 8: the laws that are O(1) totals, checked after every command."""

from perpkit.engine.core import Core
from perpkit.errors import InvariantError
from perpkit.units import SCALE


def check(core: Core) -> None:
    """Check conservation and zero sum over running sums; the ledger itself asserts that nothing goes below zero.

    Raises:
        InvariantError: law 1 or 2 does not hold; the message names it and both numbers.

    Cost:
        Constant for each asset and market.
    """
    clearing = core.parts.clearing
    for asset in core.config.assets:
        client_side, custody_side = clearing.conservation(asset)
        deposited = core.deposits_units.get(asset, 0)
        if not client_side == custody_side == deposited:
            raise InvariantError(
                f"law 1, asset {asset}: expected client side = custody side = deposits less withdrawals, "
                f"was {client_side}, {custody_side}, {deposited}"
            )
    for market in core.config.markets:
        totals = clearing.totals(market)
        if totals.size_lots or totals.costs_units + totals.ccp_units:
            raise InvariantError(
                f"law 2, market {market}: expected sizes that sum to 0 and costs + ccp = 0, "
                f"was {totals.size_lots} lots, {totals.costs_units} + {totals.ccp_units} units"
            )
        residue = SCALE * totals.funding_paid_units - totals.funding_base_scaled
        if not 0 <= residue <= SCALE * totals.funding_settlements:
            raise InvariantError(
                f"law 2, market {market}: expected a funding residue of 0 to {totals.funding_settlements} units, "
                f"was {residue} billionths"
            )
