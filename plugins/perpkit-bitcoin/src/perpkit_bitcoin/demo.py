"""The world of `perpkit custody demo`: a regtest chain by Bitcoin Core's own rules, and everybody's keys.

Needs the extra `regtest`. The HSM is a SoftHSM2 token where perpkit-pkcs11 and SoftHSM2 are installed.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.hsm import HsmToken
from perpkit.ports.custody.people import KeyName, Pen, PersonName
from perpkit.ports.custody.wallet import Partial, UnsignedTransaction
from perpkit.simulate.custody.world import HSM_KEY, THRESHOLD
from perpkit_bitcoin import library
from perpkit_bitcoin.addresses import WalletTerms
from perpkit_bitcoin.library import AccountKey
from perpkit_bitcoin.regtest import KernelChain
from perpkit_bitcoin.scheme import EcdsaPen, EcdsaScheme
from perpkit_bitcoin.signer import SeedKey, hsm_cosigner
from perpkit_bitcoin.transaction import read_transaction
from perpkit_bitcoin.wallet import BitcoinWallet

NETWORK = "regtest"
PATH = "/48h/1h/0h/2h"
LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN = "5678"


class BitcoinWorld:
    """`perpkit.simulate.custody.World` on regtest."""

    title = "Bitcoin regtest, every block checked by Bitcoin Core's own consensus code"

    def __init__(self, holders: Collection[PersonName]) -> None:
        self._open = ExitStack()
        self._accounts = {name: AccountKey.of_seed(_secret(f"key of {name}"), PATH, NETWORK) for name in holders}
        self.scheme = EcdsaScheme()
        self.device, self.token = self._open.enter_context(_hsm())
        self.chain = KernelChain(fee_rate_units=2_000)
        self._open.callback(self.chain.close)

    def pen(self, person: PersonName, /) -> Pen:
        """Return a pen whose secret is a hash of a name: good enough for regtest only."""
        return EcdsaPen(_secret(person))

    def key_public(self, person: PersonName, /) -> bytes:
        """Return the extended public key, as the wallet's terms hold it."""
        return self._accounts[person].text.encode()

    def wallet(self) -> BitcoinWallet:
        """Return a wallet of P2WSH scripts that demand three people and the HSM."""
        terms = WalletTerms(
            name="cold",
            network=NETWORK,
            threshold=THRESHOLD,
            keys={name: account.text for name, account in self._accounts.items()},
            hsm=(HSM_KEY, self.token.public),
        )
        return BitcoinWallet(terms, previous=self.chain.previous)

    def partial(self, key: KeyName, unsigned: UnsignedTransaction, /) -> Partial:
        """Sign with somebody's seed, or with the HSM."""
        wallet = self.wallet()
        if key == HSM_KEY:
            return hsm_cosigner(self.token, wallet)(unsigned)
        payload = SeedKey(self._accounts[key], key, wallet).sign(unsigned)
        return Partial(key=key, txid=unsigned.txid, payload=payload)

    def imposter(self) -> HsmToken:
        """Return a token that was enrolled with one key and holds another."""
        memory = RamMemory()
        InsecureSoftHsm(EcdsaPen(_secret("the enrolled one")), self.scheme, memory=memory)
        return InsecureSoftHsm(EcdsaPen(_secret("imposter")), self.scheme, memory=memory)

    def payee(self, name: str, /) -> bytes:
        """Return a P2WPKH script."""
        public = EcdsaPen(_secret(f"payee {name}")).public
        return b"\x00\x14" + hashlib.new("ripemd160", hashlib.sha256(public).digest()).digest()

    def with_change_to(self, unsigned: UnsignedTransaction, script: bytes, /) -> UnsignedTransaction:
        """Put another script where the change goes, and keep the change's key paths beside it."""
        draft = library.read_psbt(unsigned.payload).draft
        change = {output.script for output in self.wallet().describe(unsigned).change}
        outputs = tuple(
            attrs.evolve(each, output=Output(script, each.output.amount_units))
            if each.output.script in change
            else each
            for each in draft.outputs
        )
        payload = library.write_psbt(attrs.evolve(draft, outputs=outputs))
        return attrs.evolve(unsigned, txid=library.read_psbt(payload).txid, payload=payload)

    def assembled(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /) -> bytes:
        """Finish the transaction with every key, then take out what is not there and say the last one twice."""
        every = {key: self.partial(key, unsigned) for key in (*self._accounts, HSM_KEY)}
        wallet = self.wallet()
        whole = read_transaction(wallet.finalize(unsigned, every))
        people = [key for key in wallet.keys if key in partials][:THRESHOLD]
        inputs = []
        for place, (_, leaf) in enumerate(wallet.sighashes(unsigned)):
            signed = [_signature(partials[key], place, leaf.publics[key]) for key in people]
            signed += signed[-1:] * (THRESHOLD - len(signed))
            device = _signature(partials[HSM_KEY], place, leaf.publics[HSM_KEY]) if HSM_KEY in partials else b""
            inputs.append(whole.inputs[place]._replace(witness=(b"", *signed, device, leaf.witness_script)))
        return attrs.evolve(whole, inputs=tuple(inputs)).raw()

    def close(self) -> None:
        """Close the chain, and remove the token."""
        self._open.close()


def _secret(name: str) -> bytes:
    return hashlib.sha256(f"perpkit demonstration: {name}".encode()).digest()


def _signature(partial: Partial, place: int, public: bytes) -> bytes:
    return library.signatures_of(partial.payload)[place][public]


@contextlib.contextmanager
def _hsm() -> Iterator[tuple[str, HsmToken]]:
    """Yield what the HSM is in words, and the HSM."""
    found = next((each for each in LIBRARIES if Path(each).is_file()), None)
    with contextlib.suppress(ImportError):
        from perpkit_pkcs11 import Pkcs11Token, enrol

        if found and shutil.which("softhsm2-util") and "SOFTHSM2_CONF" not in os.environ:
            with _soft_token() as label:
                enrolment = enrol(library=found, token=label, key="release", pin=PIN)
                yield (
                    "SoftHSM2 by PKCS#11: its files can be copied, so it is never called untampered",
                    Pkcs11Token(enrolment, PIN),
                )
            return
    yield "InsecureSoftHsm, a stand-in made of software", InsecureSoftHsm(EcdsaPen(_secret("hsm")), EcdsaScheme())


@contextlib.contextmanager
def _soft_token() -> Iterator[str]:
    """Make a SoftHSM2 token in a directory that goes away again."""
    with tempfile.TemporaryDirectory(prefix="perpkit-softhsm-") as home:
        tokens = Path(home) / "tokens"
        tokens.mkdir()
        configuration = Path(home) / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n", encoding="utf-8")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        try:
            command = ["softhsm2-util", "--init-token", "--free", "--label", "demo", "--so-pin", "1234", "--pin", PIN]
            subprocess.run(command, check=True, capture_output=True, timeout=30)  # noqa: S603 - fixed arguments
            yield "demo"
        finally:
            del os.environ["SOFTHSM2_CONF"]
