"""Wallets and chains keep the laws that all of custody's do."""

from collections.abc import Iterator

import pytest

from perpkit.ports.custody.chain import ChainSource, Coin, Outpoint, Output
from perpkit.ports.custody.wallet import Owner, Purpose, UnsignedTransaction
from perpkit.testing.custody import ChainLaws, WalletLaws
from perpkit_bitcoin.chain import RpcChain
from perpkit_bitcoin.facade import Facade
from perpkit_bitcoin.regtest import KernelChain
from perpkit_bitcoin.selection import CHANGE_DUST_UNITS
from perpkit_bitcoin.wallet import BitcoinWallet

CLIENT = Owner(Purpose.CLIENT, 7)


class TestWallet(WalletLaws):
    """With coins made up by the laws, which no whole transaction has made."""

    dust_units = CHANGE_DUST_UNITS
    slack_bytes = 0
    hsm = False

    @pytest.fixture(autouse=True)
    def _party(self, make_party):
        self.party, self.stranger = make_party(hsm=self.hsm), make_party(world=1, hsm=self.hsm)

    def make_wallet(self) -> BitcoinWallet:
        return BitcoinWallet(self.party.wallet(whole_inputs=False).terms)

    def make_stranger(self) -> BitcoinWallet:
        return BitcoinWallet(self.stranger.wallet(whole_inputs=False).terms)

    def sign(self, key: str, unsigned: UnsignedTransaction) -> bytes:
        return self.party.partial(self.make_wallet(), key, unsigned).payload


class TestHsmWallet(TestWallet):
    """The same where the scripts demand an HSM."""

    hsm = True


class TestHotWallet(TestWallet):
    """The same where any one key of several will do."""

    @pytest.fixture(autouse=True)
    def _party(self, make_party):
        self.party, self.stranger = make_party(threshold=1), make_party(world=1, threshold=1)


class TestKernelChain(ChainLaws):
    @pytest.fixture(autouse=True)
    def _wallet(self, make_party) -> Iterator[None]:
        self.party = make_party()
        self.wallet = self.party.wallet(whole_inputs=False)
        self.kernels: list[KernelChain] = []
        yield
        for kernel in self.kernels:
            kernel.close()

    def make_chain(self) -> ChainSource:
        self.kernels.append(KernelChain())
        return self.kernels[-1]

    def mine(self, chain: ChainSource, count: int) -> None:
        self.kernels[-1].mine(count)

    def pay(self, chain: ChainSource, script: bytes, amount_units: int) -> Outpoint:
        paid = self.kernels[-1].pay(script, amount_units)
        self.kernels[-1].mine()
        return paid

    def reorganise(self, chain: ChainSource, depth: int) -> None:
        self.kernels[-1].reorganise(depth)

    def script(self, number: int) -> bytes:
        return self.wallet.script(CLIENT, number)

    def spend(self, chain: ChainSource, outpoint: Outpoint, script: bytes, *, signed: bool = True) -> bytes:
        coin = Coin(outpoint=outpoint, output=Output(self.script(1), self.amount_units), height=1)
        unsigned = self.wallet.build(Output(script, self.amount_units), [coin], change=0, fee_rate=1_000)
        return self.party.finish(self.wallet, unsigned) if signed else self.wallet.transaction(unsigned).raw()


class TestRpcChain(TestKernelChain):
    """The same chain, as a node tells it."""

    @pytest.fixture(autouse=True)
    def _node(self, _wallet) -> Iterator[None]:
        self.facades: list[Facade] = []
        yield
        for facade in self.facades:
            facade.__exit__()

    def make_chain(self) -> ChainSource:
        super().make_chain()
        self.facades.append(Facade(self.kernels[-1]).__enter__())
        return RpcChain(self.facades[-1].node, "regtest", fee_rate_default=1_000)
