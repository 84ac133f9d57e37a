"""The closed chart of accounts, and one double-entry posting between two of them."""

from enum import IntEnum
from typing import NamedTuple

import attrs

from perpkit.model.ids import AccountId, AssetId, FundId, MarketId, PositionId
from perpkit.units import Units


class Chart(IntEnum):
    """Every kind of ledger account there is. The last three are custody's side, the others clients' and the house's."""

    WALLET = 1
    ISOLATED = 2
    WITHDRAWAL = 3
    INSURANCE = 4
    FEES = 5
    DUST = 6
    SUSPENSE = 7
    INVENTORY = 8
    CONVERSION = 9
    RECEIVABLE = 10
    FUNDING = 11
    CCP = 12
    CUSTODY_HOT = 13
    CUSTODY_COLD = 14
    CUSTODY_IN_FLIGHT = 15

    # An enum hashes by its name, in Python; ledger accounts are looked up several times a fill.
    __hash__ = int.__hash__


CUSTODY_SIDE = frozenset((Chart.CUSTODY_HOT, Chart.CUSTODY_COLD, Chart.CUSTODY_IN_FLIGHT))
MAY_BE_NEGATIVE = frozenset((Chart.CCP, Chart.FUNDING, Chart.RECEIVABLE, Chart.CUSTODY_HOT))
"""The last two only after a reversed deposit: what is owed for it, and what it promised to withdrawals on their way."""


class LedgerAccount(NamedTuple):
    """A ledger account of one asset: its kind, and the ids that tell it from others of the kind."""

    chart: Chart
    asset: AssetId
    holder: int = 0
    market: MarketId = 0
    position_id: PositionId = 0


def wallet(account: AccountId, asset: AssetId) -> LedgerAccount:
    """Return an account's wallet."""
    return LedgerAccount(Chart.WALLET, asset, account)


def isolated_margin(account: AccountId, asset: AssetId, market: MarketId, position_id: PositionId) -> LedgerAccount:
    """Return the margin of one isolated position."""
    return LedgerAccount(Chart.ISOLATED, asset, account, market, position_id)


def withdrawal(withdrawal_id: int, asset: AssetId) -> LedgerAccount:
    """Return where one withdrawal waits."""
    return LedgerAccount(Chart.WITHDRAWAL, asset, withdrawal_id)


def insurance(fund: FundId, asset: AssetId) -> LedgerAccount:
    """Return an insurance sub-fund."""
    return LedgerAccount(Chart.INSURANCE, asset, fund)


def receivable(account: AccountId, asset: AssetId) -> LedgerAccount:
    """Return what an account, or (0) the operator, owes for deposits that were reversed: zero or below."""
    return LedgerAccount(Chart.RECEIVABLE, asset, account)


def of_market(chart: Chart, asset: AssetId, market: MarketId) -> LedgerAccount:
    """Return a ledger account that exists once a market: inventory, funding or ccp."""
    return LedgerAccount(chart, asset, 0, market)


def house(chart: Chart, asset: AssetId) -> LedgerAccount:
    """Return a ledger account that exists once an asset: fees, dust, suspense, custody."""
    return LedgerAccount(chart, asset)


@attrs.frozen
class Posting:
    """Move a positive amount: debit one account, credit another, of the same asset.

    Units:
        Accounting units. A debit lowers a client or house account and raises a custody account; a credit the reverse.
    """

    debit: LedgerAccount
    credit: LedgerAccount
    amount_units: Units
