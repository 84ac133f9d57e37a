"""A whole desk on the real thing: Core's consensus, a node over JSON-RPC, three of five people and an HSM."""

import json
from fractions import Fraction
from pathlib import Path

import attrs
import pytest

import perpkit_bitcoin
from perpkit import Registry
from perpkit.custody.desk.actors import Staff, WillingMember
from perpkit.custody.desk.address_book import destination_digest
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.desk.log import MemoryLog, verify_log
from perpkit.custody.desk.withdrawal import State
from perpkit.custody.digest import digest
from perpkit.custody.gate.gate_memory import RamMemory
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.setup import Setup, read_setup
from perpkit.engine import compose
from perpkit.engine.compose import build_journal
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.errors import ConfigError, CustodyError
from perpkit.model.command import (
    ApproveWithdrawal,
    DepositObserved,
    DepositReversed,
    ResumeExchange,
    WithdrawalSent,
)
from perpkit.model.event import BreachFound, HoldingsCompared, Rejected, WithdrawalHeld, WithdrawalReleased
from perpkit.model.market import MarketState
from perpkit.model.reject import RejectReason
from perpkit.ports.context import AssetSpec, ExchangeContext, Limits
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.people import KeyPlace
from perpkit.ports.custody.policy import Approval
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit.runtime import Venue
from perpkit.testing.builders import tables
from perpkit.units import HOUR_NS, Scale
from perpkit_bitcoin import library
from perpkit_bitcoin.chain import RpcChain
from perpkit_bitcoin.custody import build_custody, open_desk, open_token, wallet_terms
from perpkit_bitcoin.facade import Facade
from perpkit_bitcoin.options import BitcoinOptions
from perpkit_bitcoin.scheme import EcdsaPen, EcdsaScheme
from perpkit_bitcoin.signer import SeedKey
from perpkit_bitcoin.wallet import BitcoinWallet

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
HOLDERS = {"ann": "key-1", "ben": "key-2", "cleo": "key-3", "dora": "key-4", "eli": "key-5"}
ROLES = {**dict.fromkeys(HOLDERS, "signer"), "fay": "approver", "gus": "approver", "liam": "support"}
ROLES |= {"igor": "officer", "kira": "officer"}
ASSET = AssetSpec(id=1, name="BTC", unit=Scale(Fraction(1, 10**8)), deposits_max_units=1 << 60)
CONTEXT = ExchangeContext(markets={}, assets={1: ASSET}, limits=Limits(), taker_ppb={})


def pen_of(name: str) -> EcdsaPen:
    return EcdsaPen(digest("test-pen", name))


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


def test_a_deposit_comes_in_and_a_withdrawal_goes_out_to_the_unit(bank):
    bank.deposit(80_000_000)
    (deposit,) = [each for each in bank.told() if isinstance(each, DepositObserved)]
    assert (deposit.account, deposit.amount_units) == (7, 80_000_000)
    bank.custody.requested(WithdrawalHeld(withdrawal_id=1, account=7, asset=1, amount_units=30_000_000, destination=1))
    bank.until(State.APPROVED)
    assert [each for each in bank.told() if isinstance(each, ApproveWithdrawal)]
    bank.custody.release(
        WithdrawalReleased(withdrawal_id=1, account=7, asset=1, amount_units=30_000_000, destination=1)
    )
    bank.until(State.CONFIRMED)
    (sent,) = [each for each in bank.told() if isinstance(each, WithdrawalSent)]
    assert bank.custody.holdings(1) == bank.custody.recount(1) == 50_000_000
    assert bank.paid_units() == 30_000_000 - sent.network_fee_units
    assert 0 < sent.network_fee_units <= 9_000
    assert verify_log(json.loads(line) for line in bank.log.export()) is None
    assert bank.desk.halted is None


REFILL = """
[rules.refill]
kind = "path"
asset = "BTC"
source = "cold"
target = "hot"
amount_max_units = 30000000
"""


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


def test_a_refill_of_the_hot_wallet_is_mined_to_the_unit_and_the_house_pays(two_wallets):
    bank = two_wallets
    bank.deposit(80_000_000)
    bank.chain.pay(bank.cold.script_of(bank.desk.house_address()), 50_000)
    bank.chain.mine(3)
    told = bank.told()
    number = bank.desk.move(30_000_000, by="liam")
    bank.until(State.CONFIRMED, number)
    move = bank.desk.withdrawals[number]
    tip = bank.chain.tip()
    assert [coin.output.amount_units for coin in bank.chain.coins([move.request.script], tip)] == [30_000_000]
    house = [bank.cold.script(Owner(Purpose.HOUSE, 0), index) for index in range(4)]
    left_units = 50_000 - move.draft.fee_units
    assert [coin.output.amount_units for coin in bank.chain.coins(house, tip)] == [left_units]
    assert 0 < move.draft.fee_units <= 9_000
    assert bank.custody.holdings(1) == bank.custody.recount(1) == 80_000_000
    bank.desk.reconcile()
    assert bank.told() == told
    assert bank.desk.halted is None


def test_a_desk_that_starts_anew_tells_the_same_and_goes_on(bank):
    bank.deposit(80_000_000)
    held = WithdrawalHeld(withdrawal_id=1, account=7, asset=1, amount_units=30_000_000, destination=1)
    bank.custody.requested(held)
    bank.until(State.NOMINATED)
    before = bank.told()
    bank.custody = bank.reopened()
    assert bank.told() == before
    bank.until(State.APPROVED)


def test_a_deposit_that_the_chain_takes_back_is_told(bank):
    bank.deposit(80_000_000)
    (deposit,) = [each for each in bank.told() if isinstance(each, DepositObserved)]
    bank.chain.reorganise(3, forget=[bank.chain.block(bank.chain.tip().height - 2).transactions[1].txid])
    bank.chain.mine(3)
    assert DepositReversed(deposit_id=deposit.deposit_id) in bank.told()
    assert bank.custody.holdings(1) == bank.custody.recount(1) == 0


def test_the_provider_opens_what_the_files_describe_and_opens_it_again(files, chain, tmp_path, monkeypatch):
    monkeypatch.setenv("PERPKIT_BITCOIN_PASSWORD", "regtest")
    with Facade(chain) as facade:
        options = BitcoinOptions(
            setup=str(files),
            directory=str(tmp_path / "desk"),
            url=facade.node.url,
            user="perpkit",
            fee_rate_default_units=1_000,
        )
        custody = build_custody(CONTEXT, options)
        address = custody.desks[1].deposit_address(7)
        chain.pay(BitcoinWallet(wallet_terms(read_setup(files))["cold"]).script_of(address), 4_000_000)
        chain.mine(3)
        assert [each.amount_units for each in custody.observe(0)[0]] == [4_000_000]
        with pytest.raises(CustodyError, match="no other process has open"):
            build_custody(CONTEXT, options)


def test_a_configuration_picks_it_by_name(files, chain, tmp_path, monkeypatch):
    monkeypatch.setenv("PASSWORD_OF_THE_NODE", "regtest")
    with Facade(chain) as facade:
        options = {"setup": str(files), "directory": str(tmp_path / "desk"), "url": facade.node.url}
        options |= {"user": "perpkit", "password_env": "PASSWORD_OF_THE_NODE"}
        made = tables(custody={"provider": "bitcoin", "options": options})
        for asset in made["assets"].values():
            asset |= {"unit": "0.00000001", "deposits_max": "21000000"}
        config = ExchangeConfig.from_dict(made)
        custody = compose.build_custody(config, Registry.of(perpkit_bitcoin))
        assert isinstance(custody, DeskCustody)
        assert custody.observe(0) == ((), 0)
        assert custody.holdings(1) == custody.recount(1) == 0


@pytest.fixture
def venue(bank, chain, files, tmp_path, monkeypatch):
    """Return an exchange whose custody is `bitcoin` by configuration, with money of account 7."""
    monkeypatch.setenv("PERPKIT_BITCOIN_PASSWORD", "regtest")
    with Facade(chain) as facade:
        options = {"setup": str(files), "directory": str(tmp_path / "desk"), "url": facade.node.url, "user": "perpkit"}
        made = tables(custody={"provider": "bitcoin", "options": options})
        for asset in made["assets"].values():
            asset |= {"unit": "0.00000001", "deposits_max": "21000000"}
        config, registry = ExchangeConfig.from_dict(made), Registry.of(perpkit_bitcoin)
        exchange = Exchange.of(config, registry)
        custody = compose.build_custody(config, registry)
        venue = Venue(exchange, custody, build_journal(config, registry, exchange.manifest, ""), clock=lambda: 1)
        chain.pay(bank.cold.script_of(custody.desks[1].deposit_address(7)), 80_000_000)
        chain.mine(3)
        venue.poll()
        yield venue


def events_of(outcomes, kind):
    return [event for outcome in outcomes for event in outcome.events if isinstance(event, kind)]


def lose_one_unit(bank, make_party, venue):
    """Let everybody together, outside of all rules, leave a miner one satoshi of a coin that goes back to change."""
    party = make_party(hsm=True)
    wallet = party.wallet(previous=bank.chain.previous)
    (coin,) = bank.chain.coins(wallet.scripts(), bank.chain.tip())
    draft = wallet.build(Output(bank.receiver, 1_000_000), [coin], change=0, fee_rate=2_000)
    read = library.read_psbt(draft.payload).draft
    (change,) = (each for each in read.outputs if each.output.script != bank.receiver)
    rest = attrs.evolve(change, output=Output(change.output.script, coin.output.amount_units - 1))
    payload = library.write_psbt(attrs.evolve(read, outputs=(rest,)))
    draft = attrs.evolve(draft, txid=library.read_psbt(payload).txid, payload=payload)
    assert wallet.describe(draft).fee_units == 1
    bank.chain.mine(also=[party.finish(wallet, draft)])
    bank.chain.mine(2)


def test_an_exchange_runs_on_it_and_halts_when_one_satoshi_is_missing(bank, make_party, venue):
    assert {(each.ledger_units, each.holdings_units) for each in events_of(venue.reconcile(), HoldingsCompared)} == {
        (80_000_000, 80_000_000)
    }
    assert set(venue.exchange.market_states.values()) == {MarketState.OPEN}
    lose_one_unit(bank, make_party, venue)
    breaches = events_of(venue.reconcile(), BreachFound)
    assert {(each.expected, each.found) for each in breaches} == {(80_000_000, 79_999_999)}
    assert set(venue.exchange.market_states.values()) == {MarketState.HALTED}


def test_neither_exchange_nor_desk_goes_on_without_a_quorum(bank, make_party, venue):
    lose_one_unit(bank, make_party, venue)
    (evidence, *_) = {each.evidence for each in events_of(venue.reconcile(), BreachFound)}
    alone = venue.submit(ResumeExchange(evidence=evidence, operator=1, second_operator=1))
    assert [each.reason for each in events_of([alone], Rejected)] == [RejectReason.OPERATORS_NOT_DISTINCT]
    assert set(venue.exchange.market_states.values()) == {MarketState.HALTED}
    two = venue.submit(ResumeExchange(evidence=evidence, operator=1, second_operator=2))
    assert not events_of([two], Rejected)
    assert set(venue.exchange.market_states.values()) == {MarketState.CANCEL_ONLY}

    desk = venue.custody.desks[1]
    desk.reconcile()
    halt = desk.halted
    assert halt is not None
    assert "79999999" in halt.reason
    officers = bank.staff.members
    for name, resumed in (("igor", False), ("kira", True)):
        Staff({name: officers[name]}).attend(desk)
        desk.advance()
        assert (desk.halted != halt) is resumed


@pytest.mark.parametrize(
    "assets",
    [
        {},
        {1: ASSET, 2: attrs.evolve(ASSET, id=2, name="USD")},
        {1: attrs.evolve(ASSET, unit=Scale(Fraction(1, 10**6)))},
    ],
)
def test_an_exchange_with_other_assets_or_units_is_refused(assets, tmp_path):
    options = BitcoinOptions(setup="nowhere", directory=str(tmp_path))
    with pytest.raises(ConfigError, match=r"expected one asset, in units of 0\.00000001"):
        build_custody(attrs.evolve(CONTEXT, assets=assets), options)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('network = "regtest"', 'network = "mainnet"', "a network of main"),
        ("threshold = 3", 'threshold = "three"', "wallets.cold: expected network"),
        ("hsm = true", "hsm = true\ncolour = 3", "wallets.cold: expected network"),
        ('key-1 = "[', 'key-9 = "[', "differ key-1, key-9"),
    ],
)
def test_a_wallet_that_the_setup_describes_wrongly_is_refused(files, old, new, what):
    files.write_text(files.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=what):
        wallet_terms(read_setup(files))


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({}, "expected an enrolment"),
        ({"public": "00", "secret": "11"}, "expected an enrolment"),
        ({"public": "00", "secret_file": "nowhere"}, "a file of 32 bytes in hex"),
    ],
)
def test_an_hsm_that_is_described_wrongly_is_refused(table, what, tmp_path):
    with pytest.raises(ConfigError, match=what):
        open_token(table, tmp_path, "")


def test_an_hsm_with_another_key_than_the_setups_is_refused(files, tmp_path):
    table = {"public": pen_of("somebody").public.hex(), "secret_file": str(tmp_path / "hsm.hex")}
    with pytest.raises(CustodyError, match="expected the public half"):
        open_token(table, tmp_path, "")
