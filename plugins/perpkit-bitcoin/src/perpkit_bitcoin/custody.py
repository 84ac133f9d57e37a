"""The provider `bitcoin`: a custody desk over one's own node, out of a setup file."""

import os
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import attrs

from perpkit.custody.desk.core import Core
from perpkit.custody.desk.desk import Desk
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.desk.log import AuditLog, SqliteLog
from perpkit.custody.draw.beacon import ChainBeacon
from perpkit.custody.gate.gate import ReleaseGate
from perpkit.custody.gate.gate_memory import GateMemory, SqliteMemory
from perpkit.custody.gate.keys import check_keys
from perpkit.custody.gate.soft_hsm import InsecureSoftHsm
from perpkit.custody.policy import load_policy
from perpkit.custody.setup import Setup, read_setup
from perpkit.errors import ConfigError, CustodyError
from perpkit.model.ids import AssetId
from perpkit.ports.context import ExchangeContext
from perpkit.ports.custody.chain import ChainSource, Coin
from perpkit.ports.custody.hsm import HsmToken
from perpkit.units import Nanos
from perpkit_bitcoin.addresses import WalletTerms
from perpkit_bitcoin.chain import COIN, Node, RpcChain
from perpkit_bitcoin.library import AccountKey
from perpkit_bitcoin.options import BitcoinOptions
from perpkit_bitcoin.scheme import EcdsaPen, EcdsaScheme, EitherScheme
from perpkit_bitcoin.signer import hsm_cosigner
from perpkit_bitcoin.wallet import BitcoinWallet

HSM_KEY = "hsm"
"""What the HSM's key is called in every wallet."""


class WholeChain(ChainSource, Protocol):
    """A chain that has its transactions whole, for drafts that carry them."""

    @abstractmethod
    def previous(self, coin: Coin) -> bytes:
        """Return the transaction that made a coin."""
        ...


@attrs.frozen(kw_only=True)
class _WalletTable:
    network: str
    threshold: int
    keys: Mapping[str, str]
    hsm: bool = False
    whole_inputs: bool = True


def build_custody(context: ExchangeContext, options: BitcoinOptions) -> DeskCustody:
    """Open the desk that a setup file describes, for an exchange whose only asset is bitcoin.

    Raises:
        ConfigError: the exchange has other assets, or the setup cannot be used.
        CustodyError: the HSM is not there, or what is in the directory is damaged or was edited.
    """
    assets = list(context.assets.values())
    if len(assets) != 1 or assets[0].unit.step != Fraction(1, COIN):
        told = ", ".join(f"{each.name} in {each.unit.step}" for each in assets)
        raise ConfigError(f"bitcoin: expected one asset, in units of 0.00000001; the exchange has {told}")
    setup = read_setup(options.setup)
    where = Path(options.directory)
    where.mkdir(parents=True, exist_ok=True)
    networks = {terms.network for terms in wallet_terms(setup).values()}
    if len(networks) != 1:
        raise ConfigError(f"bitcoin: expected wallets of one network, were of {', '.join(sorted(networks))}")
    chain = RpcChain(_node(options), networks.pop(), fee_rate_default=options.fee_rate_default_units or None)
    desk = open_desk(
        assets[0].name,
        assets[0].id,
        setup,
        chain=chain,
        token=open_token(setup.hsm, where, os.environ.get(options.pin_env, "")),
        log=SqliteLog(where / "custody.sqlite"),
        gate_memory=SqliteMemory(where / "gate.sqlite"),
    )
    return DeskCustody({assets[0].id: desk})


def open_desk(
    asset: str,
    asset_id: AssetId,
    setup: Setup,
    *,
    chain: WholeChain,
    token: HsmToken,
    log: AuditLog,
    gate_memory: GateMemory,
    clock: Callable[[], Nanos] = time.time_ns,
) -> Desk:
    """Open a desk, and the gate before the HSM with wallets of its own. People sign by `EitherScheme`.

    Raises:
        ConfigError: the setup's keys keep nothing safe, or a wallet cannot be made of it.
    """
    terms = wallet_terms(setup)
    wallets = {name: BitcoinWallet(each, previous=chain.previous) for name, each in terms.items()}
    check_keys(wallets, setup.keys, setup.people)
    scheme, nominator = EitherScheme(), setup.nomination.nominator()
    beacon = ChainBeacon(chain, setup.nomination.beacon_depth)
    gate_wallets = {name: BitcoinWallet(each) for name, each in terms.items()}
    gated = [wallet for wallet in gate_wallets.values() if wallet.hsm_key]
    cosigners = {wallet.name: hsm_cosigner(token, wallet) for wallet in gated}
    desks: list[Desk] = []
    gate = ReleaseGate(
        token=token,
        wallets=gate_wallets,
        policy=load_policy(setup.policy),
        people=setup.people,
        keys=setup.keys,
        nominator=nominator,
        beacon=beacon,
        scheme=scheme,
        cosigner=lambda unsigned: cosigners[unsigned.wallet](unsigned),
        memory=gate_memory,
        clock=clock,
        facts=lambda case: desks[0].facts(case),  # noqa: PLW0108 - there is no desk yet
    )
    desk = Desk(
        Core(
            asset=asset,
            asset_id=asset_id,
            chain=chain,
            wallets=wallets,
            gate=gate,
            policy=load_policy(setup.policy),
            nominator=nominator,
            beacon=beacon,
            people=setup.people,
            keys=setup.keys,
            scheme=scheme,
            log=log,
            clock=clock,
            terms=setup.terms,
        )
    )
    desks.append(desk)
    return desk


def wallet_terms(setup: Setup) -> dict[str, WalletTerms]:
    """Return the terms of every wallet of a setup, as each signer reads them too.

    Raises:
        ConfigError: a table cannot be used, or its keys are not those that the setup says people hold.
    """
    return {name: _terms(name, table, setup) for name, table in setup.wallets.items()}


def open_token(table: Mapping[str, Any], where: Path, pin: str) -> HsmToken:
    """Return the HSM that a setup names: an enrolment of `perpkit-pkcs11`, or a secret in a file, which is INSECURE.

    Raises:
        ConfigError: the table names neither.
        CustodyError: the device is not there, or not the one that was enrolled.
    """
    if "library" in table:
        try:
            from perpkit_pkcs11 import Pkcs11Token
        except ImportError as error:
            raise ConfigError(f"hsm: expected perpkit-pkcs11 to be installed: {error}") from error
        token: HsmToken = Pkcs11Token.open(table, pin)
        return token
    if set(table) != {"public", "secret_file"}:
        raise ConfigError(f"hsm: expected an enrolment, or public and secret_file; had {', '.join(sorted(table))}")
    try:
        pen = EcdsaPen(bytes.fromhex(Path(table["secret_file"]).read_text("ascii")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"hsm.secret_file: expected a file of 32 bytes in hex: {type(error).__name__}") from None
    if pen.public.hex() != table["public"]:
        raise CustodyError("hsm.public: expected the public half of the secret, was another")
    return InsecureSoftHsm(pen, EcdsaScheme(), memory=SqliteMemory(where / "hsm.sqlite"))


def _node(options: BitcoinOptions) -> Node:
    return Node(
        url=options.url,
        cookie=Path(options.cookie).expanduser() if options.cookie else None,
        user=options.user,
        password=os.environ.get(options.password_env, ""),
    )


def _terms(name: str, table: Mapping[str, Any], setup: Setup) -> WalletTerms:
    try:
        read = _WalletTable(**table)
        public = bytes.fromhex(setup.hsm["public"]) if read.hsm else b""
        terms = WalletTerms(
            name=name,
            network=read.network,
            threshold=read.threshold,
            keys=dict(read.keys),
            hsm=(HSM_KEY, public) if read.hsm else None,
            whole_inputs=read.whole_inputs,
        )
        held = {each.key: each.public for each in setup.keys if each.wallet == name}
        extended = {key: AccountKey(text, read.network).own for key, text in read.keys.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"wallets.{name}: expected network, threshold, keys and hsm: {error}") from error
    if held != extended:
        raise ConfigError(
            f"wallets.{name}.keys: expected the keys that keys.{name} says people hold, each with the 33 bytes of its"
            f" extended key as public; differ {', '.join(sorted(key for key, _ in held.items() ^ extended.items()))}"
        )
    return terms
