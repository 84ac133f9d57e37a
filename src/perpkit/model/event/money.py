"""What happens to deposits, withdrawals and funds, and to the books as a whole."""

import attrs

from perpkit.model.cause import Cause, Law
from perpkit.model.ids import AccountId, AssetId, FundId, MarketId
from perpkit.units import Lots, Units


@attrs.frozen(kw_only=True)
class DepositCredited:
    """Money came in: to an account, or, where that is 0, to an insurance fund.

    `suspended_units` of it, not in `amount_units`, wait in suspense: the asset's limit was met, or nobody is known
    whom to credit. `repaid_units`, which are in `amount_units`, pay what is owed for a deposit that was reversed.
    """

    deposit_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    suspended_units: Units
    repaid_units: Units = 0


@attrs.frozen(kw_only=True)
class DepositReverted:
    """A deposit is gone, whole: `amount_units`, what had waited in suspense included.

    `shortfall_units` of them the account, or the fund where that is 0, no longer had: it owes them, and every market
    halts.
    """

    deposit_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    shortfall_units: Units


@attrs.frozen(kw_only=True)
class WithdrawalHeld:
    """Money left a wallet and waits for custody's approval."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    destination: int


@attrs.frozen(kw_only=True)
class WithdrawalReturned:
    """Held money went back to the wallet: cancelled, or recalled because the account fell into breach."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    recalled: bool


@attrs.frozen(kw_only=True)
class WithdrawalReleased:
    """The point of no return: custody must send this once, however often it is asked."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    destination: int


@attrs.frozen(kw_only=True)
class WithdrawalSettled:
    """A released withdrawal left custody."""

    withdrawal_id: int
    account: AccountId
    asset: AssetId
    amount_units: Units
    network_fee_units: Units


@attrs.frozen(kw_only=True)
class HoldingsCompared:
    """What the ledger says custody holds, and what custody says."""

    asset: AssetId
    ledger_units: Units
    holdings_units: Units


@attrs.frozen(kw_only=True)
class FundMoved:
    """Money entered an insurance fund, or (negative) left it."""

    fund: FundId
    asset: AssetId
    market: MarketId
    amount_units: Units
    balance_units: Units
    cause: Cause


@attrs.frozen(kw_only=True)
class FundReserved:
    """The fund's money that stands behind the unrealised loss of inventory in a market, when it changed."""

    asset: AssetId
    market: MarketId
    reserved_units: Units


@attrs.frozen(kw_only=True)
class AuditCompleted:
    """A full sweep of the books: how much of them was counted again, and in how many places it did not agree."""

    accounts: int
    positions: int
    orders: int
    breaches: int


@attrs.frozen(kw_only=True)
class BreachFound:
    """The books do not agree; every market halts. Whoever resumes must name `evidence`.

    `market` and `asset` are 0 where the law is not about one.
    """

    law: Law
    market: MarketId
    asset: AssetId
    expected: int
    found: int
    evidence: int


@attrs.frozen(kw_only=True)
class ExchangeResumed:
    """Two operators answered for a breach; every halted market accepts cancels again."""

    evidence: int
    operator: int
    second_operator: int


@attrs.frozen(kw_only=True)
class DeleveragingDone:
    """One round of deleveraging: what had to be placed, what was not, and how fair it was."""

    market: MarketId
    size_lots: Lots
    unplaced_lots: Lots
    severity_units: Units
    haircut_units: Units
    overshoot_units: Units
