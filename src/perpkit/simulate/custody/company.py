"""A custody company over a world: people and their keys, the gate, the desk, and the exchange that it serves."""

from collections.abc import Mapping
from importlib.resources import files

import attrs

from perpkit.custody.desk.actors import Staff, WillingMember
from perpkit.custody.desk.address_book import destination_digest
from perpkit.custody.desk.core import Core, DeskTerms
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.desk.log import MemoryLog
from perpkit.custody.draw.beacon import ChainBeacon
from perpkit.custody.draw.nomination import CommitReveal
from perpkit.custody.gate.gate import ReleaseGate
from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.gate.keys import check_keys
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.policy import load_policy
from perpkit.engine.compose import build_journal
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.model.ids import AssetId
from perpkit.plugin import Registry
from perpkit.ports.custody.hsm import HsmToken
from perpkit.ports.custody.people import KeyPlace, Person, PersonName
from perpkit.ports.custody.policy import Approval, Facts
from perpkit.ports.custody.signing import Case
from perpkit.ports.custody.wallet import WalletBackend
from perpkit.runtime import Venue
from perpkit.simulate.custody.world import HSM_KEY, World
from perpkit.simulate.world import ASSET, configuration
from perpkit.units import HOUR_NS, MINUTE_NS, Nanos, Units

PLACES: Mapping[PersonName, tuple[str, bool]] = {
    "sara": ("a vault in Zurich", False),
    "seth": ("a vault in Singapore", False),
    "sofia": ("a vault in Toronto", False),
    "sven": ("the operations room", True),
    "suri": ("the laptop on duty", True),
}
"""Who holds a key of the cold wallet, where it is, and whether that place is online."""

ROLES: Mapping[PersonName, frozenset[str]] = {
    "tara": frozenset({"treasurer"}),
    "theo": frozenset({"treasurer"}),
    "olga": frozenset({"officer"}),
    "omar": frozenset({"officer"}),
    "uma": frozenset({"support"}),
    **dict.fromkeys(PLACES, frozenset({"signer"})),
}
"""Everybody who works here, and as what."""

ADA = 1
"""The account whose owner takes money out."""

CONFIRMATIONS = 3
FEE_MAX_UNITS: Units = 20_000
START_NS: Nanos = 1_767_225_600 * 10**9 + 9 * HOUR_NS


def policy_text() -> str:
    """Return the policy by which the company works."""
    return (files("perpkit.simulate.custody") / "policy.toml").read_text("utf-8")


@attrs.define
class Clock:
    """Time, which passes when somebody says so."""

    now_ns: Nanos = START_NS

    def __call__(self) -> Nanos:
        """Return the time."""
        return self.now_ns


class Company:
    """Everything that a withdrawal passes through, in one process. What is apart in life has a copy of its own here."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock: Clock = Clock()
        self.nominator: CommitReveal = CommitReveal()
        self.beacon: ChainBeacon = ChainBeacon(world.chain, 1)
        self.people: dict[PersonName, Person] = {
            name: Person(name=name, roles=roles, public=world.pen(name).public) for name, roles in ROLES.items()
        }
        self.keys: tuple[KeyPlace, ...] = tuple(
            KeyPlace(key=name, wallet="cold", person=name, place=place, online=online, public=world.key_public(name))
            for name, (place, online) in PLACES.items()
        )
        check_keys({"cold": world.wallet()}, self.keys, self.people)
        config, registry = ExchangeConfig.from_text(configuration("stepped")), Registry.builtin()
        exchange = Exchange.of(config, registry)
        self.asset: AssetId = exchange.asset(ASSET).id
        self.log: MemoryLog = MemoryLog()
        self.gate_memory: RamMemory = RamMemory()
        self.gate: ReleaseGate = self.new_gate(world.token, policy_text())
        self.wallet: WalletBackend = world.wallet()
        self.desk: Desk = Desk(
            Core(
                asset=ASSET,
                asset_id=self.asset,
                chain=world.chain,
                wallets={"cold": self.wallet},
                gate=self.gate,
                policy=load_policy(policy_text()),
                nominator=self.nominator,
                beacon=self.beacon,
                people=self.people,
                keys=self.keys,
                scheme=world.scheme,
                log=self.log,
                clock=self.clock,
                terms=DeskTerms(confirmations=CONFIRMATIONS, resume_quorum={"officer": 2}, expiry_ns=7 * 24 * HOUR_NS),
            )
        )
        self.signers: dict[PersonName, CarefulSigner] = {name: self._signer(name) for name in PLACES}
        self.staff: Staff = Staff(
            {
                name: WillingMember(
                    name,
                    pen=world.pen(name),
                    nominator=self.nominator,
                    secret=world.pen(f"{name}'s dice").public,
                    signers=[(("cold", name), self.signers[name])] if name in PLACES else [],
                )
                for name in ROLES
            }
        )
        journal = build_journal(config, registry, exchange.manifest, "")
        self.venue: Venue = Venue(exchange, DeskCustody({self.asset: self.desk}), journal, clock=self.clock)

    def new_gate(self, token: HsmToken, policy: str) -> ReleaseGate:
        """Return a gate with the memory of the one there is: as it would be after a restart."""
        return ReleaseGate(
            token=token,
            wallets={"cold": self.world.wallet()},
            policy=load_policy(policy),
            people=self.people,
            keys=self.keys,
            nominator=self.nominator,
            beacon=self.beacon,
            scheme=self.world.scheme,
            cosigner=lambda unsigned: self.world.partial(HSM_KEY, unsigned),
            memory=self.gate_memory,
            clock=self.clock,
            facts=self._facts,
        )

    def mine(self, blocks: int) -> None:
        """Let blocks be found, one every ten minutes."""
        self.world.chain.mine(blocks)
        self.clock.now_ns += blocks * 10 * MINUTE_NS

    def introduce(self, number: int, address: str) -> None:
        """Enter a destination of Ada's into the address book, as support agreed on the telephone."""
        script = self.world.wallet().script_of(address)
        wanted = destination_digest(ASSET, number, ADA, script)
        agreed = Approval(
            person="uma", digest=wanted, signature=self.world.pen("uma").sign(wanted), at_ns=self.clock.now_ns
        )
        refusal = self.desk.add_destination(number, ADA, address, [agreed])
        assert refusal is None, refusal

    def _facts(self, case: Case | None) -> Facts:
        return self.desk.facts(case)

    def _signer(self, name: PersonName) -> CarefulSigner:
        return CarefulSigner(
            key=name,
            person=name,
            wallet=self.world.wallet(),
            gate_public=self.world.token.public,
            scheme=self.world.scheme,
            nominator=self.nominator,
            fee_max_units=FEE_MAX_UNITS,
            sign=lambda unsigned: self.world.partial(name, unsigned).payload,
        )
