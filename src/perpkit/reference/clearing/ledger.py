"""Double entry over the closed chart of accounts."""

from collections import ChainMap
from collections.abc import MutableMapping
from typing import Self

from perpkit.errors import InvariantError
from perpkit.model.ids import AssetId
from perpkit.model.ledger import CUSTODY_SIDE, MAY_BE_NEGATIVE, Chart, LedgerAccount, Posting
from perpkit.units import Units


class Ledger:
    """What every ledger account holds. A posting moves money between two accounts; nothing else changes a balance.

    Client and house accounts grow when credited, custody's when debited, so that both sides of an asset always sum
    to the same number: law 1, kept here as two running sums.
    """

    def __init__(self) -> None:
        self._balances: MutableMapping[LedgerAccount, Units] = {}
        self._client_side: dict[AssetId, Units] = {}
        self._custody_side: dict[AssetId, Units] = {}

    def overlay(self) -> Self:
        """Return a ledger that starts from this one and leaves it as it is.

        Cost:
            Constant: it holds only what changes.
        """
        above = type(self)()
        above._balances = ChainMap({}, self._balances)  # noqa: SLF001 - the same class
        return above

    def balance(self, account: LedgerAccount) -> Units:
        """Return what an account holds, 0 for one never touched."""
        return self._balances.get(account, 0)

    def sides(self, asset: AssetId) -> tuple[Units, Units]:
        """Return the sums of (client and house accounts, custody accounts)."""
        return self._client_side.get(asset, 0), self._custody_side.get(asset, 0)

    def post(self, posting: Posting) -> None:
        """Debit one account and credit another.

        Raises:
            InvariantError: the amount is not positive, the assets differ, or an account would go below zero.
        """
        if posting.amount_units <= 0 or posting.debit.asset != posting.credit.asset:
            raise InvariantError(f"posting: expected a positive amount of one asset, was {posting}")
        self._change(posting.debit, -posting.amount_units)
        self._change(posting.credit, posting.amount_units)

    def move(self, debit: LedgerAccount, credit: LedgerAccount, amount_units: Units) -> None:
        """Post an amount of either sign; zero posts nothing."""
        if amount_units > 0:
            self.post(Posting(debit, credit, amount_units))
        elif amount_units < 0:
            self.post(Posting(credit, debit, -amount_units))

    def state(self) -> list[list[int]]:
        """Return every balance that is not zero, sorted."""
        return [[*account, amount] for account, amount in sorted(self._balances.items()) if amount]

    def load(self, state: list[list[int]]) -> None:
        """Become what `state` returned."""
        self._balances, self._client_side, self._custody_side = {}, {}, {}
        for chart, asset, holder, market, position_id, amount in state:
            account = LedgerAccount(Chart(chart), asset, holder, market, position_id)
            self._change(account, -amount if account.chart in CUSTODY_SIDE else amount)

    def _change(self, account: LedgerAccount, credit_units: Units) -> None:
        custody = account.chart in CUSTODY_SIDE
        change = -credit_units if custody else credit_units
        side = self._custody_side if custody else self._client_side
        balance = self._balances.get(account, 0) + change
        if balance < 0 and account.chart not in MAY_BE_NEGATIVE:
            raise InvariantError(f"law 3: expected {account} to stay at or above zero, was {balance}")
        self._balances[account] = balance
        side[account.asset] = side.get(account.asset, 0) + change
