"""The embedded vault: custody in memory, for simulation, tests and teaching."""

from collections.abc import Sequence

from perpkit.model.command import CapitalObserved, Command, DepositObserved, HoldingsReported, WithdrawalSent
from perpkit.model.event import WithdrawalReleased
from perpkit.model.ids import AccountId, AssetId, FundId
from perpkit.plugin import NoOptions
from perpkit.ports.context import ExchangeContext
from perpkit.units import Units


class Vault:
    """Holds what came in, sends what was released once, and remembers everything it saw as a list of commands."""

    def __init__(self, context: ExchangeContext, _options: NoOptions) -> None:
        self._holdings: dict[AssetId, Units] = dict.fromkeys(context.assets, 0)
        self._seen: list[Command] = []
        self._sent: set[int] = set()
        self._inflows = 0

    def receive(self, account: AccountId, asset: AssetId, amount_units: Units) -> int:
        """Let money arrive for an account, as if from outside; return the deposit's id."""
        self._inflows += 1
        self._holdings[asset] += amount_units
        self._seen.append(
            DepositObserved(deposit_id=self._inflows, account=account, asset=asset, amount_units=amount_units)
        )
        return self._inflows

    def receive_capital(self, fund: FundId, asset: AssetId, amount_units: Units) -> int:
        """Let the operator's money arrive for an insurance fund; return the deposit's id."""
        self._inflows += 1
        self._holdings[asset] += amount_units
        self._seen.append(CapitalObserved(deposit_id=self._inflows, fund=fund, asset=asset, amount_units=amount_units))
        return self._inflows

    def lose(self, asset: AssetId, amount_units: Units) -> None:
        """Let money disappear that nobody released: what a reconciliation is there to find."""
        self._holdings[asset] -= amount_units

    def release(self, released: WithdrawalReleased, /) -> None:
        """Send a withdrawal, the first time it is asked for."""
        if released.withdrawal_id in self._sent:
            return
        self._sent.add(released.withdrawal_id)
        self._holdings[released.asset] -= released.amount_units
        self._seen.append(WithdrawalSent(withdrawal_id=released.withdrawal_id))

    def observe(self, after: int, /) -> tuple[Sequence[Command], int]:
        """Return what was seen since the cursor, which counts observations."""
        return tuple(self._seen[after:]), len(self._seen)

    def holdings(self, asset: AssetId, /) -> Units:
        """Return what the vault holds."""
        return self._holdings[asset]

    def report(self, asset: AssetId) -> HoldingsReported:
        """Return the holdings of an asset as a command, for comparison with the ledger."""
        return HoldingsReported(asset=asset, holdings_units=self._holdings[asset])
