"""The vault with everything that a real custody has, over a pretend chain: policy, nomination, approvals, gate, log."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from perpkit.custody.desk.actors import Staff, WillingMember
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.desk.log import AuditLog, MemoryLog, SqliteLog
from perpkit.custody.digest import digest
from perpkit.custody.draw.beacon import ChainBeacon
from perpkit.custody.gate.gate import ReleaseGate
from perpkit.custody.gate.gate_memory import GateMemory, RamMemory, SqliteMemory
from perpkit.custody.gate.keys import check_keys
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.custody.policy import load_policy
from perpkit.custody.pretend.memory_chain import MemoryChain
from perpkit.custody.pretend.plain_wallet import PlainKey, PlainWallet
from perpkit.custody.pretend.scheme import HmacPen, HmacScheme
from perpkit.custody.setup import Setup, read_setup
from perpkit.errors import ConfigError
from perpkit.model.ids import AccountId, AssetId, FundId
from perpkit.ports.context import ExchangeContext
from perpkit.ports.custody.hsm import HsmToken
from perpkit.ports.custody.nomination import BeaconSource, Nominator
from perpkit.ports.custody.people import SignatureScheme
from perpkit.ports.custody.wallet import Partial, UnsignedTransaction
from perpkit.units import Nanos, Units

HSM_KEY = "hsm"
SIGNER_FEE_MAX_UNITS = 1 << 62
"""The pretend people leave the fee to the policy."""


@attrs.frozen(kw_only=True)
class _WalletTable:
    threshold: int
    hsm: bool = False
    dust_units: int = 1


class PretendWorld:
    """All that is outside one asset's desk and outlives it: chain, people with their keys, the HSM and its memory.

    INSECURE on purpose: by `HmacScheme` what the setup calls public is the secret itself, so that everybody's part can
    be played from it.

    Raises:
        ConfigError: the setup's keys keep nothing safe, or a table of it cannot be used.
    """

    def __init__(self, asset: str, asset_id: AssetId, setup: Setup, memory: Callable[[str], GateMemory]) -> None:
        self.asset = asset
        self.setup = setup
        self.scheme: SignatureScheme = HmacScheme()
        self.nominator: Nominator = setup.nomination.nominator()
        self._asset_id = asset_id
        self._hsm_public = _hex(setup.hsm, "public")
        wallets = self.wallets()
        check_keys(wallets, setup.keys, setup.people)
        self.chain: MemoryChain = MemoryChain(next(iter(wallets.values())).check)
        self.beacon: BeaconSource = ChainBeacon(self.chain, setup.nomination.beacon_depth)
        self.gate_memory: GateMemory = memory("gate")
        self.token: HsmToken = InsecureSoftHsm(
            HmacPen(self._hsm_public), self.scheme, serial=f"soft-{asset}", memory=memory("hsm")
        )
        self.staff: Staff = Staff({name: self._member(name) for name in setup.people})

    def wallets(self) -> dict[str, PlainWallet]:
        """Return the wallets as one party makes them of the setup, for itself."""
        return {name: self._wallet(name) for name in self.setup.wallets}

    def desk(self, log: AuditLog, clock: Callable[[], Nanos]) -> Desk:
        """Open a desk, and the gate before the HSM with it: as after a start of both their machines."""
        setup, desks = self.setup, list[Desk]()
        gate = ReleaseGate(
            token=self.token,
            wallets=self.wallets(),
            policy=load_policy(setup.policy),
            people=setup.people,
            keys=setup.keys,
            nominator=self.nominator,
            beacon=self.beacon,
            scheme=self.scheme,
            cosigner=self._cosign,
            memory=self.gate_memory,
            clock=clock,
            facts=lambda case: desks[0].facts(case),  # noqa: PLW0108 - there is no desk yet
        )
        desk = Desk(
            Core(
                asset=self.asset,
                asset_id=self._asset_id,
                chain=self.chain,
                wallets=self.wallets(),
                gate=gate,
                policy=load_policy(setup.policy),
                nominator=self.nominator,
                beacon=self.beacon,
                people=setup.people,
                keys=setup.keys,
                scheme=self.scheme,
                log=log,
                clock=clock,
                terms=setup.terms,
            )
        )
        desks.append(desk)
        return desk

    def _wallet(self, name: str) -> PlainWallet:
        try:
            table = _WalletTable(**self.setup.wallets[name])
        except TypeError as error:
            raise ConfigError(f"wallets.{name}: expected threshold, hsm and dust_units: {error}") from error
        keys = {each.key: each.public for each in self.setup.keys if each.wallet == name}
        return PlainWallet(
            name=name,
            threshold=table.threshold,
            keys=keys,
            scheme=self.scheme,
            hsm=(HSM_KEY, self._hsm_public) if table.hsm else None,
            dust_units=table.dust_units,
        )

    def _member(self, name: str) -> WillingMember:
        signers = [
            (
                (place.wallet, place.key),
                CarefulSigner(
                    key=place.key,
                    person=name,
                    wallet=self._wallet(place.wallet),
                    gate_public=self._hsm_public,
                    scheme=self.scheme,
                    nominator=self.nominator,
                    fee_max_units=SIGNER_FEE_MAX_UNITS,
                    sign=PlainKey(HmacPen(place.public)).sign,
                    own=self.wallets(),
                ),
            )
            for place in self.setup.keys
            if place.person == name
        ]
        public = self.setup.people[name].public
        return WillingMember(
            name,
            pen=HmacPen(public),
            nominator=self.nominator,
            secret=digest("pretend-secret", public),
            signers=signers,
        )

    def _cosign(self, unsigned: UnsignedTransaction) -> Partial:
        return Partial(key=HSM_KEY, txid=unsigned.txid, payload=PlainKey(self.token).sign(unsigned))


class EmbeddedVault(DeskCustody):
    """The embedded vault: desks over pretend chains, one for each of the exchange's assets.

    The chains are gone with the process. Over a log that is older than they are, the desks find that the chain took
    everything back, and halt.

    Args:
        setup: see `read_setup`. Amounts in it are in each asset's accounting units.
        directory: where log and memories are kept; empty keeps them in memory.
        clock: nanoseconds since 1970.

    Raises:
        ConfigError: the setup cannot be used.
        CustodyError: what is in the directory is damaged or was edited.
    """

    def __init__(
        self,
        context: ExchangeContext,
        setup: Setup,
        directory: str = "",
        *,
        clock: Callable[[], Nanos] = time.time_ns,
    ) -> None:
        self.clock = clock
        where = Path(directory) if directory else None
        if where:
            where.mkdir(parents=True, exist_ok=True)
        self._memories: list[SqliteMemory] = []
        self.log: AuditLog = SqliteLog(where / "custody.sqlite") if where else MemoryLog()
        self.worlds: Mapping[AssetId, PretendWorld] = {
            number: PretendWorld(asset.name, number, setup, self._memory(where, asset.name))
            for number, asset in context.assets.items()
        }
        super().__init__({number: world.desk(self.log, self._now_ns) for number, world in self.worlds.items()})

    def receive(self, account: AccountId, asset: AssetId, amount_units: Units) -> None:
        """Let money arrive for an account, and be mined deep enough."""
        self._pay(asset, self.desks[asset].deposit_address(account), amount_units)

    def receive_capital(self, fund: FundId, asset: AssetId, amount_units: Units) -> None:
        """Let the operator's money arrive for an insurance fund, and be mined deep enough."""
        self._pay(asset, self.desks[asset].capital_address(fund), amount_units)

    def close(self) -> None:
        """Close the files in the directory, if there is one."""
        for memory in self._memories:
            memory.close()
        if isinstance(self.log, SqliteLog):
            self.log.close()

    def attend(self) -> None:
        """Let everybody do what they are asked, and blocks be mined, until nothing comes of it any more."""
        for number, desk in self.desks.items():
            world, quiet = self.worlds[number], 0
            setup = world.setup
            while quiet <= setup.terms.confirmations + setup.nomination.rounds_ahead + setup.nomination.beacon_depth:
                before = self.log.head
                desk.advance()
                world.staff.attend(desk)
                desk.advance()
                world.chain.mine()
                quiet = quiet + 1 if self.log.head == before else 0

    def _memory(self, where: Path | None, asset: str) -> Callable[[str], GateMemory]:
        def make(name: str) -> GateMemory:
            if where is None:
                return RamMemory()
            self._memories.append(SqliteMemory(where / f"{name}-{asset}.sqlite"))
            return self._memories[-1]

        return make

    def _now_ns(self) -> Nanos:
        return self.clock()

    def _pay(self, asset: AssetId, address: str, amount_units: Units) -> None:
        world = self.worlds[asset]
        world.chain.pay(world.wallets()["cold"].script_of(address), amount_units)
        world.chain.mine(world.setup.terms.confirmations)


def embedded_vault(context: ExchangeContext, setup: str, directory: str) -> EmbeddedVault:
    """Return the vault that a setup file describes.

    Raises:
        ConfigError: the file cannot be used.
    """
    return EmbeddedVault(context, read_setup(setup), directory)


def _hex(table: Mapping[str, Any], key: str) -> bytes:
    try:
        return bytes.fromhex(table[key])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"hsm.{key}: expected bytes in hex: {error!r}") from error
