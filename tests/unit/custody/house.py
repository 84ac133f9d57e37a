"""A custody of five key holders, a cold wallet of three of them and the HSM, and a gate, for tests to attack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from perpkit.custody.digest import change_digest, request_digest
from perpkit.custody.draw.beacon import ChainBeacon
from perpkit.custody.draw.nomination import CommitReveal
from perpkit.custody.gate.gate import ReleaseGate
from perpkit.custody.gate.gate_memory import GateMemory, RamMemory
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.custody.policy import load_policy
from perpkit.custody.pretend.memory_chain import MemoryChain
from perpkit.custody.pretend.plain_wallet import PlainKey, PlainWallet
from perpkit.custody.pretend.scheme import HmacPen, HmacScheme
from perpkit.ports.custody.chain import Coin, Output
from perpkit.ports.custody.hsm import HsmToken
from perpkit.ports.custody.nomination import Transcript
from perpkit.ports.custody.people import KeyName, KeyPlace, Person, PersonName
from perpkit.ports.custody.policy import Approval, Facts, PolicyChange, PolicyEngine, Request, Stage
from perpkit.ports.custody.signing import Case, Release
from perpkit.ports.custody.wallet import Owner, Partial, Purpose, UnsignedTransaction
from perpkit.units import HOUR_NS

SCHEME = HmacScheme()
HOLDERS = ("alice", "bob", "carol", "dave", "erin")
OTHERS = ("frank", "grace", "heidi")
RECEIVER = b"the client's own script"
POLICY = """
version = 1
name = "cold"
[rules.pay-out]
kind = "path"
asset = "BTC"
source = "cold"
target = "client"
[rules.quorum]
kind = "quorum"
asset = "BTC"
tiers = [{ from_units = 0, roles = { approver = 2 } }]
[rules.shape]
kind = "shape"
asset = "BTC"
fee_max_units = 5000
fee_rate_max_units = 5000
[rules.day]
kind = "velocity"
asset = "BTC"
per = "wallet"
window_hours = 24
amount_units = 1000000
[rules.hsm]
kind = "hsm"
[rules.once]
kind = "idempotency"
[rules.incident]
kind = "halt"
[rules.change]
kind = "change"
roles = { approver = 2 }
delay_hours = 48
"""


def pen_of(name: str) -> HmacPen:
    return HmacPen(name.encode().ljust(32, b"."))


def secret_of(name: str) -> bytes:
    return f"secret of {name}".encode().ljust(32, b".")


def person(name: str) -> Person:
    roles = frozenset({"approver"}) if name in OTHERS else frozenset({"signer"})
    return Person(name=name, roles=roles, public=pen_of(name).public)


def key_of(name: PersonName) -> KeyName:
    return f"{name}-key"


def place_of(name: PersonName, *, online: bool = False) -> KeyPlace:
    public = pen_of(key_of(name)).public
    return KeyPlace(key=key_of(name), wallet="cold", person=name, place=f"{name}-safe", online=online, public=public)


PEOPLE = {name: person(name) for name in (*HOLDERS, *OTHERS)}
PLACES = tuple(place_of(name, online=name in ("alice", "bob")) for name in HOLDERS)


def cold_wallet(threshold: int = 3) -> PlainWallet:
    keys = {place.key: place.public for place in PLACES}
    return PlainWallet(
        name="cold", threshold=threshold, keys=keys, scheme=SCHEME, hsm=("hsm-key", pen_of("hsm-key").public)
    )


class House:
    """Everything in one place, so that a test can take out a piece and put in its own."""

    def __init__(self, *, coins_units: Sequence[int] = (300_000, 300_000, 300_000)) -> None:
        self.wallet = cold_wallet()
        self.wallet.watch(Owner(Purpose.CLIENT, 7), 1)
        self.chain = MemoryChain(self.wallet.check)
        script = self.wallet.script(Owner(Purpose.CLIENT, 7), 0)
        self.points = [self.chain.pay(script, amount_units) for amount_units in coins_units]
        self.chain.mine(10)
        self.nominator = CommitReveal()
        self.beacon = ChainBeacon(self.chain, 2)
        self.hsm_memory, self.gate_memory = RamMemory(), RamMemory()
        self.now_ns = 100 * HOUR_NS
        self.switched_off: frozenset[str] = frozenset()
        self.incident = False
        self.token = self.new_token()
        self.gate = self.new_gate()

    def new_token(self) -> InsecureSoftHsm:
        return InsecureSoftHsm(pen_of("hsm-key"), SCHEME, memory=self.hsm_memory)

    def new_gate(
        self, *, token: HsmToken | None = None, policy: PolicyEngine | None = None, memory: GateMemory | None = None
    ) -> ReleaseGate:
        return ReleaseGate(
            token=token or self.token,
            wallets={"cold": cold_wallet()},
            policy=policy or load_policy(POLICY),
            people=PEOPLE,
            keys=PLACES,
            nominator=self.nominator,
            beacon=self.beacon,
            scheme=SCHEME,
            cosigner=lambda unsigned: self.partial("hsm-key", unsigned),
            memory=memory or self.gate_memory,
            clock=lambda: self.now_ns,
            facts=self.facts,
        )

    def facts(self, _case: Case | None) -> Facts:
        return Facts(
            stage=Stage.REQUEST,
            now_ns=0,
            people={},
            keys=(),
            switched_off=self.switched_off,
            incident=self.incident,
        )

    def request(self, number: int = 1, amount_units: int = 100_000, initiator: str = "", **changes: object) -> Request:
        request = Request(
            withdrawal_id=number,
            asset="BTC",
            account=7,
            amount_units=amount_units,
            destination=1,
            script=RECEIVER,
            source="cold",
            target="client",
            initiator=initiator,
            requested_ns=self.now_ns,
        )
        return attrs.evolve(request, **changes)

    def draft(
        self,
        request: Request,
        *,
        script: bytes | None = None,
        fee_rate: int = 1_000,
        use: Iterable[int] = (0,),
    ) -> UnsignedTransaction:
        """Draft what a request asks for, out of coins by their places in `points`."""
        points = [self.points[place] for place in use]
        coins = [coin for coin in self.coins() if coin.outpoint in points]
        payment = Output(script or request.script, request.amount_units)
        return self.wallet.build(payment, coins, change=0, fee_rate=fee_rate, spend=points)

    def coins(self) -> Sequence[Coin]:
        return self.chain.coins(self.wallet.scripts(), self.chain.tip())

    def transcript(
        self,
        request: Request,
        *,
        without: Sequence[PersonName] = (),
        refused: Sequence[PersonName] = (),
        seats: int = 3,
        sequence: int = 1,
    ) -> Transcript:
        """Draw the signers of a request as it is done properly, all who hold keys taking part but those left out."""
        eligible = tuple(name for name in HOLDERS if name not in (*without, *refused))
        opening = self.nominator.open(
            sequence=sequence,
            request=request_digest(request),
            eligible=eligible,
            seats=seats,
            latest_round=self.beacon.latest(),
            attempt=len(refused) + 1,
        )
        commitments = {name: self.nominator.commitment(opening, name, secret_of(name)) for name in eligible}
        self.chain.mine(3)
        beacon = self.beacon.value(opening.round)
        assert beacon is not None
        drawn = self.nominator.draw(
            opening, commitments, {name: secret_of(name) for name in eligible}, beacon, tuple(refused)
        )
        return attrs.evolve(drawn, signatures={name: pen_of(name).sign(commitments[name]) for name in eligible})

    def approvals(self, digest: bytes, names: Iterable[PersonName] = ("frank", "grace")) -> tuple[Approval, ...]:
        return tuple(
            Approval(person=name, digest=digest, signature=pen_of(name).sign(digest), at_ns=self.now_ns)
            for name in names
        )

    def case(
        self,
        request: Request | None = None,
        *,
        unsigned: UnsignedTransaction | None = None,
        nomination: Transcript | None = None,
        by: Iterable[PersonName] = ("frank", "grace"),
    ) -> Case:
        request = request or self.request()
        return Case(
            request=request,
            unsigned=unsigned or self.draft(request),
            nomination=nomination or self.transcript(request),
            approvals=self.approvals(request_digest(request), by),
        )

    def change(self, text: str, *, by: Iterable[PersonName] = ("frank", "grace")) -> PolicyChange:
        change = PolicyChange(text=text, previous=load_policy(POLICY).digest, proposer="heidi", proposed_ns=self.now_ns)
        return attrs.evolve(change, approvals=self.approvals(change_digest(change), by))

    def partial(self, key: KeyName, unsigned: UnsignedTransaction) -> Partial:
        payload = PlainKey(pen_of(key)).sign(unsigned)
        return Partial(key=key, txid=unsigned.txid, payload=payload)

    def partials(self, case: Case, names: Iterable[PersonName] | None = None) -> Mapping[KeyName, Partial]:
        names = case.nomination.nominated if names is None else names
        return {key_of(name): self.partial(key_of(name), case.unsigned) for name in names}

    def signer(self, name: PersonName, memory: GateMemory | None = None) -> CarefulSigner:
        return CarefulSigner(
            key=key_of(name),
            person=name,
            wallet=cold_wallet(),
            gate_public=pen_of("hsm-key").public,
            scheme=SCHEME,
            nominator=CommitReveal(),
            fee_max_units=3_000,
            sign=PlainKey(pen_of(key_of(name))).sign,
            memory=memory,
        )


def rule_of(answer: object) -> str:
    """Return the rule of a refusal; what is no refusal has none."""
    return getattr(answer, "rule", f"none, but {type(answer).__name__}")


def released(answer: object) -> Release:
    """Return a release, and fail where there is none."""
    assert isinstance(answer, Release), answer
    return answer
