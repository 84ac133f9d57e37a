"""What happens to positions."""

import attrs

from perpkit.model.cause import Cause
from perpkit.model.ids import AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.position import PositionMode
from perpkit.units import Lots, Ticks, Units


@attrs.frozen(kw_only=True)
class Filled:
    """One side of a trade: the taker's, directly followed by the maker's, in the order makers were met.

    `size_lots` is signed: positive bought. `fee_units` is what was paid, negative for a rebate.
    """

    market: MarketId
    account: AccountId
    position_id: PositionId
    order_id: OrderId
    price_ticks: Ticks
    size_lots: Lots
    fee_units: Units
    maker: bool
    cause: Cause


@attrs.frozen(kw_only=True)
class PositionChanged:
    """A position after a fill, a take-over, a deleveraging or a settlement.

    `realized_units` is what this change brought; `unpaid_units` what the pool still owes for losses it could not pay.
    """

    market: MarketId
    account: AccountId
    position_id: PositionId
    size_lots: Lots
    cost_units: Units
    unpaid_units: Units
    realized_units: Units
    cause: Cause


@attrs.frozen(kw_only=True)
class FundingSettled:
    """Funding that was due was booked; positive: the position paid."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    amount_units: Units


@attrs.frozen(kw_only=True)
class TermsSet:
    """A position's margin mode and leverage were chosen."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    isolated: bool
    leverage: int


@attrs.frozen(kw_only=True)
class PositionModeSet:
    """How an account's positions in a market are told apart from now on."""

    market: MarketId
    account: AccountId
    mode: PositionMode


@attrs.frozen(kw_only=True)
class MarginAdjusted:
    """Margin moved to an isolated position, or (negative) from it; `margin_units` is what it has now."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    amount_units: Units
    margin_units: Units


@attrs.frozen(kw_only=True)
class TakenOver:
    """The house took a position over; `margin_units` is what was left of its margin and went with it."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    size_lots: Lots
    price_ticks: Ticks
    margin_units: Units


@attrs.frozen(kw_only=True)
class Deleveraged:
    """A winner's position was closed against inventory; `haircut_units` is what that cost it against the mark."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    size_lots: Lots
    price_ticks: Ticks
    haircut_units: Units


@attrs.frozen(kw_only=True)
class LossSocialized:
    """The last resort: this account's share of a loss that nobody else could pay."""

    market: MarketId
    account: AccountId
    asset: AssetId
    amount_units: Units


@attrs.frozen(kw_only=True)
class LiquidationStarted:
    """A pool was found below maintenance; `market` 0 means the account's cross pool."""

    market: MarketId
    account: AccountId
    asset: AssetId
    position_id: PositionId
    equity_units: Units
    maintenance_units: Units


@attrs.frozen(kw_only=True)
class LiquidationEnded:
    """A pool left liquidation after `steps`: cured, or empty."""

    market: MarketId
    account: AccountId
    asset: AssetId
    position_id: PositionId
    steps: int
