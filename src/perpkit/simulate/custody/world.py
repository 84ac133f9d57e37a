"""What a demonstration plays on: a chain, a wallet, and everybody's keys. Thieves can ask it for what they need."""

import json
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import attrs

from perpkit.custody.digest import canonical_bytes, digest
from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.custody.pretend.memory_chain import MemoryChain
from perpkit.custody.pretend.plain_transaction import PlainTransaction, read_inputs, read_outputs, read_transaction
from perpkit.custody.pretend.plain_wallet import PlainKey, PlainWallet
from perpkit.custody.pretend.scheme import HmacPen, HmacScheme
from perpkit.ports.custody.chain import BlockRef, ChainSource, Outpoint
from perpkit.ports.custody.hsm import HsmToken
from perpkit.ports.custody.people import KeyName, Pen, PersonName, SignatureScheme
from perpkit.ports.custody.wallet import Partial, UnsignedTransaction, WalletBackend
from perpkit.units import Units

HSM_KEY = "hsm"
THRESHOLD = 3


class PlayChain(ChainSource, Protocol):
    """A chain that does what it is told."""

    @abstractmethod
    def mine(self, count: int = 1, *, leave: Collection[bytes] = ()) -> BlockRef:
        """Make blocks of all that waits."""
        ...

    @abstractmethod
    def pay(self, script: bytes, amount_units: Units) -> Outpoint:
        """Let money arrive in the next block."""
        ...


class World(Protocol):
    """A chain and the secrets of all who use it. Keys of the wallet are named after those who hold them."""

    title: str
    device: str
    """What stands in for the HSM, in words."""
    chain: PlayChain
    scheme: SignatureScheme
    token: HsmToken

    @abstractmethod
    def pen(self, person: PersonName, /) -> Pen:
        """Return what a person signs with, as themselves."""
        ...

    @abstractmethod
    def key_public(self, person: PersonName, /) -> bytes:
        """Return the public half of a person's key of the wallet."""
        ...

    @abstractmethod
    def wallet(self) -> WalletBackend:
        """Return a wallet of one's own, made from what is public. Three of the keys and the HSM's open it."""
        ...

    @abstractmethod
    def partial(self, key: KeyName, unsigned: UnsignedTransaction, /) -> Partial:
        """Sign a draft with a key, without looking at it."""
        ...

    @abstractmethod
    def imposter(self) -> HsmToken:
        """Return another device in place of the HSM, with a key that was made elsewhere."""
        ...

    @abstractmethod
    def payee(self, name: str, /) -> bytes:
        """Return a script of somebody outside."""
        ...

    @abstractmethod
    def with_change_to(self, unsigned: UnsignedTransaction, script: bytes, /) -> UnsignedTransaction:
        """Return a draft whose change goes to a script, described as if all were well."""
        ...

    @abstractmethod
    def assembled(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /) -> bytes:
        """Put signatures into a transaction as well as it goes, however few they are."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""
        ...


class PlainWorld:
    """`World` in memory: nothing to install, and nothing is safe. Its keys are HMACs."""

    title = "a pretend chain in memory"
    device = "InsecureSoftHsm, a stand-in made of software"

    def __init__(self, holders: Collection[PersonName]) -> None:
        self._holders = tuple(holders)
        self.scheme: SignatureScheme = HmacScheme()
        self.token: HsmToken = InsecureSoftHsm(self.pen(HSM_KEY), self.scheme)
        self.chain: PlayChain = MemoryChain(self.wallet().check, fee_rate_units=2_000)

    def pen(self, person: PersonName, /) -> HmacPen:
        """Return a pen whose secret is a name."""
        return HmacPen(f"secret of {person}".encode())

    def key_public(self, person: PersonName, /) -> bytes:
        """Return the public half of the key, which for HMACs is the secret."""
        return self._key(person).public

    def wallet(self) -> PlainWallet:
        """Return a wallet with everybody's keys."""
        return PlainWallet(
            name="cold",
            threshold=THRESHOLD,
            keys={name: self.key_public(name) for name in self._holders},
            scheme=self.scheme,
            hsm=(HSM_KEY, self.token.public),
        )

    def partial(self, key: KeyName, unsigned: UnsignedTransaction, /) -> Partial:
        """Sign with a pen, or with the HSM."""
        signs: Any = self.token if key == HSM_KEY else self._key(key)
        return Partial(key=key, txid=unsigned.txid, payload=PlainKey(signs).sign(unsigned))

    def imposter(self) -> HsmToken:
        """Return a token that was enrolled with the old key and holds another one."""
        memory = RamMemory()
        InsecureSoftHsm(self.pen(HSM_KEY), self.scheme, memory=memory)
        return InsecureSoftHsm(self.pen("imposter"), self.scheme, memory=memory)

    def payee(self, name: str, /) -> bytes:
        """Return a script that is nothing but a name."""
        return digest("payee", name)

    def with_change_to(self, unsigned: UnsignedTransaction, script: bytes, /) -> UnsignedTransaction:
        """Put another script under the last output."""
        fields = json.loads(unsigned.payload)
        fields["outputs"][-1][0] = script.hex()
        made = PlainTransaction(inputs=read_inputs(fields["inputs"]), outputs=read_outputs(fields["outputs"]))
        return attrs.evolve(unsigned, txid=made.txid, payload=canonical_bytes(fields))

    def assembled(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /) -> bytes:
        """Finish the transaction with every key, and leave only the signatures that there are."""
        every = {key: self.partial(key, unsigned) for key in (*self._holders, HSM_KEY)}
        whole = read_transaction(self.wallet().finalize(unsigned, every))
        return attrs.evolve(whole, signatures={key: partial.payload for key, partial in partials.items()}).raw

    def close(self) -> None:
        """Nothing is open."""

    def _key(self, person: PersonName) -> HmacPen:
        return HmacPen(f"wallet key of {person}".encode())
