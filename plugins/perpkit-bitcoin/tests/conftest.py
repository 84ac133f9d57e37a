"""Five people and an HSM, whose wallet every test may make anew."""

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

import attrs
import pytest

from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.wallet import Owner, Partial, Purpose, UnsignedTransaction
from perpkit_bitcoin.addresses import WalletTerms
from perpkit_bitcoin.library import AccountKey
from perpkit_bitcoin.regtest import KernelChain
from perpkit_bitcoin.scheme import EcdsaPen, EcdsaScheme
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
