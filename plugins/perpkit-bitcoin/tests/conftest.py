"""Five people and an HSM, whose wallet every test may make anew, and a desk over a node with everybody who answers."""

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path

import attrs
import pytest

from perpkit.custody.desk.actors import Staff, WillingMember
from perpkit.custody.desk.address_book import destination_digest
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.desk.log import MemoryLog
from perpkit.custody.desk.withdrawal import State
from perpkit.custody.digest import digest
from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.custody.setup import Setup, read_setup
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.people import KeyPlace
from perpkit.ports.custody.policy import Approval
from perpkit.ports.custody.wallet import Owner, Partial, Purpose, UnsignedTransaction
from perpkit.units import HOUR_NS
from perpkit_bitcoin.addresses import WalletTerms
from perpkit_bitcoin.chain import RpcChain
from perpkit_bitcoin.custody import open_desk, wallet_terms
from perpkit_bitcoin.facade import Facade
from perpkit_bitcoin.library import AccountKey
from perpkit_bitcoin.regtest import KernelChain
from perpkit_bitcoin.scheme import EcdsaPen, EcdsaScheme, SchnorrPen
from perpkit_bitcoin.signer import SeedKey, hsm_cosigner
from perpkit_bitcoin.wallet import BitcoinWallet

PATH = "/48h/1h/0h/2h"
CLIENT = Owner(Purpose.CLIENT, 7)
CHANGE = Owner(Purpose.CHANGE, 0)


@lru_cache
def accounts_of(world: int) -> dict[str, AccountKey]:
    seeds = {f"key-{number}": bytes([world, number]) * 16 for number in range(1, 6)}
    return {name: AccountKey.of_seed(seed, PATH, "regtest") for name, seed in seeds.items()}


@attrs.frozen
class Party:
    """Who holds the keys. `world` numbers them, so that two parties share none."""

    world: int = 0
    threshold: int = 3
    hsm: bool = False

    @property
    def accounts(self) -> dict[str, AccountKey]:
        return accounts_of(self.world)

    @property
    def token(self) -> InsecureSoftHsm:
        return InsecureSoftHsm(EcdsaPen(bytes([self.world, 9]) * 16), EcdsaScheme())

    @property
    def terms(self) -> WalletTerms:
        return WalletTerms(
            name="cold",
            network="regtest",
            threshold=self.threshold,
            keys={name: account.text for name, account in self.accounts.items()},
            hsm=("hsm", self.token.public) if self.hsm else None,
        )

    @property
    def everyone(self) -> list[str]:
        return [*list(self.accounts)[: self.threshold], *(["hsm"] if self.hsm else [])]

    def wallet(self, *, previous: Callable[[Coin], bytes] | None = None, **changes: object) -> BitcoinWallet:
        wallet = BitcoinWallet(attrs.evolve(self.terms, **changes), previous=previous)
        wallet.watch(CLIENT, 10)
        wallet.watch(CHANGE, 10)
        return wallet

    def partial(self, wallet: BitcoinWallet, key: str, unsigned: UnsignedTransaction) -> Partial:
        if key == "hsm":
            return hsm_cosigner(self.token, wallet)(unsigned)
        payload = SeedKey(self.accounts[key], key, wallet).sign(unsigned)
        return Partial(key=key, txid=unsigned.txid, payload=payload)

    def partials(
        self, wallet: BitcoinWallet, unsigned: UnsignedTransaction, keys: Collection[str] = ()
    ) -> dict[str, Partial]:
        return {key: self.partial(wallet, key, unsigned) for key in keys or self.everyone}

    def finish(self, wallet: BitcoinWallet, unsigned: UnsignedTransaction) -> bytes:
        return wallet.finalize(unsigned, self.partials(wallet, unsigned))


@pytest.fixture(params=[False, True], ids=["without HSM", "with HSM"])
def party(request: pytest.FixtureRequest) -> Party:
    return Party(hsm=request.param)


@pytest.fixture
def make_party() -> type[Party]:
    return Party


@pytest.fixture
def chain() -> Iterator[KernelChain]:
    chain = KernelChain()
    yield chain
    chain.close()


@attrs.frozen
class Funded:
    """A wallet with coins on a chain, and a draft that pays a stranger 1 BTC out of them."""

    party: Party
    chain: KernelChain
    wallet: BitcoinWallet
    stranger: bytes

    @property
    def coins(self) -> list[Coin]:
        return list(self.chain.coins(self.wallet.scripts(), self.chain.tip()))

    def draft(
        self, amount_units: int = 100_000_000, *, fee_rate: int = 2_000, spend: Collection[Outpoint] = ()
    ) -> UnsignedTransaction:
        payment = Output(self.stranger, amount_units)
        return self.wallet.build(payment, self.coins, change=1, fee_rate=fee_rate, spend=spend)


@pytest.fixture
def funded(party: Party, chain: KernelChain) -> Funded:
    wallet = party.wallet(previous=chain.previous)
    for index, amount_units in enumerate((80_000_000, 50_000_000)):
        chain.pay(wallet.script(CLIENT, index), amount_units)
    chain.mine()
    return Funded(party, chain, wallet, Party(world=1).wallet().script(CLIENT, 0))


POLICY = """
version = 1
name = "tests"
[rules.pay-out]
kind = "path"
asset = "BTC"
source = "cold"
target = "client"
[rules.book]
kind = "destination"
delay_hours = 1
roles = { support = 1 }
[rules.quorum]
kind = "quorum"
asset = "BTC"
tiers = [{ from_units = 0, roles = { approver = 2 } }]
[rules.hats]
kind = "segregation"
[rules.drawn]
kind = "nomination"
seats = 3
[rules.shape]
kind = "shape"
asset = "BTC"
fee_max_units = 9000
fee_rate_max_units = 90000
[rules.hsm]
kind = "hsm"
[rules.once]
kind = "idempotency"
[rules.fresh]
kind = "reconciliation"
minutes = 10
[rules.off]
kind = "halt"
[rules.change]
kind = "change"
roles = { officer = 2 }
delay_hours = 1
"""
REFILL = """
[rules.refill]
kind = "path"
asset = "BTC"
source = "cold"
target = "hot"
amount_max_units = 30000000
"""
HOLDERS = {"ann": "key-1", "ben": "key-2", "cleo": "key-3", "dora": "key-4", "eli": "key-5"}
ROLES = {**dict.fromkeys(HOLDERS, "signer"), "fay": "approver", "gus": "approver", "liam": "support"}
ROLES |= {"igor": "officer", "kira": "officer"}


def pen_of(name: str) -> EcdsaPen | SchnorrPen:
    """Return what a person signs with: officers prefer BIP-340."""
    return (SchnorrPen if ROLES[name] == "officer" else EcdsaPen)(digest("test-pen", name))


@pytest.fixture
def files(make_party, tmp_path) -> Path:
    """Write a setup file, the policy and the HSM's secret; return the setup's path."""
    party = make_party(hsm=True)
    lines = ['policy = "policy.toml"', "[terms]", "confirmations = 3", "resume_quorum = { officer = 2 }"]
    for name, role in ROLES.items():
        lines += [f"[people.{name}]", f'roles = ["{role}"]', f'public = "{pen_of(name).public.hex()}"']
    lines += ["[hsm]", f'public = "{party.token.public.hex()}"', f'secret_file = "{tmp_path}/hsm.hex"']
    lines += ["[wallets.cold]", 'network = "regtest"', "threshold = 3", "hsm = true", "[wallets.cold.keys]"]
    lines += [f'{key} = "{text}"' for key, text in party.terms.keys.items()]
    for name, key in HOLDERS.items():
        lines += [f"[keys.cold.{key}]", f'person = "{name}"', f'place = "safe of {name}"', "online = false"]
        lines += [f'public = "{party.accounts[key].own.hex()}"']
    (tmp_path / "setup.toml").write_text("\n".join(lines))
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "hsm.hex").write_text((bytes([0, 9]) * 16).hex())
    return tmp_path / "setup.toml"


class Bank:
    """A desk over a node, with everybody who answers. Account 7 may be paid at destination 1."""

    def __init__(self, party, chain, facade, setup: Setup) -> None:
        self.chain, self.setup, self.now_ns = chain, setup, 1_000 * HOUR_NS
        self.rpc = RpcChain(facade.node, "regtest", fee_rate_default=2_000)
        self.log, self.memory = MemoryLog(), RamMemory()
        self.token = party.token
        self.cold = BitcoinWallet(party.terms)
        self.custody = self.reopened()
        self.staff = Staff({name: self.member(party, name) for name in ROLES})
        self.receiver = make_receiver(party)
        address = BitcoinWallet(party.terms).address_of(self.receiver)
        wanted = destination_digest("BTC", 1, 7, self.receiver)
        approval = Approval(person="liam", digest=wanted, signature=pen_of("liam").sign(wanted), at_ns=self.now_ns)
        assert self.desk.add_destination(1, 7, address, [approval]) is None
        self.now_ns += HOUR_NS

    @property
    def desk(self):
        return self.custody.desks[1]

    def reopened(self) -> DeskCustody:
        """Return a desk over the same log, as after a start."""
        desk = open_desk(
            "BTC",
            1,
            self.setup,
            chain=self.rpc,
            token=self.token,
            log=self.log,
            gate_memory=self.memory,
            clock=lambda: self.now_ns,
        )
        return DeskCustody({1: desk})

    def member(self, party, name: str) -> WillingMember:
        signers = []
        if key := HOLDERS.get(name):
            wallet = BitcoinWallet(wallet_terms(self.setup)["cold"])
            signer = CarefulSigner(
                key=key,
                person=name,
                wallet=wallet,
                gate_public=party.token.public,
                scheme=EcdsaScheme(),
                nominator=self.setup.nomination.nominator(),
                fee_max_units=9_000,
                sign=SeedKey(party.accounts[key], key, wallet).sign,
                own={each: BitcoinWallet(terms) for each, terms in wallet_terms(self.setup).items()},
            )
            signers = [(("cold", key), signer)]
        return WillingMember(
            name,
            pen=pen_of(name),
            nominator=self.setup.nomination.nominator(),
            secret=digest("test-secret", name),
            signers=signers,
        )

    def deposit(self, amount_units: int, *, blocks: int = 3) -> None:
        script = BitcoinWallet(wallet_terms(self.setup)["cold"]).script_of(self.desk.deposit_address(7))
        self.chain.pay(script, amount_units)
        self.chain.mine(blocks)

    def told(self) -> list[object]:
        return list(self.custody.observe(0)[0])

    def until(self, state: State, number: int = 1) -> None:
        for _ in range(14):
            self.custody.observe(0)
            if self.desk.withdrawals[number].state is state:
                return
            self.staff.attend(self.desk)
            self.custody.observe(0)
            self.chain.mine()
        raise AssertionError(f"expected {state}, was {self.desk.withdrawals[number]}")

    def paid_units(self) -> int:
        return sum(coin.output.amount_units for coin in self.chain.coins([self.receiver], self.chain.tip()))


def make_receiver(party) -> bytes:
    return attrs.evolve(party, world=1).wallet().script_of("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")


@pytest.fixture
def bank(make_party, chain, files):
    with Facade(chain) as facade:
        yield Bank(make_party(hsm=True), chain, facade, read_setup(files))


@pytest.fixture
def two_wallets(make_party, chain, files):
    """Return a bank with a hot wallet of two of three other keys, which may get 0.3 BTC at once."""
    setup, hot = read_setup(files), make_party(world=1, threshold=2)
    held = dict(list(HOLDERS.items())[:3])
    places = tuple(
        KeyPlace(key=key, wallet="hot", person=name, place=f"desk of {name}", online=True, public=hot.accounts[key].own)
        for name, key in held.items()
    )
    table = {"network": "regtest", "threshold": 2, "keys": {key: hot.terms.keys[key] for key in held.values()}}
    setup = attrs.evolve(
        setup, keys=setup.keys + places, wallets={**setup.wallets, "hot": table}, policy=setup.policy + REFILL
    )
    with Facade(chain) as facade:
        yield Bank(make_party(hsm=True), chain, facade, setup)
