"""`custody = "bitcoin"` by configuration: what it opens, what it refuses, and an exchange that runs on it."""

from fractions import Fraction

import attrs
import pytest

import perpkit_bitcoin
from perpkit import Registry
from perpkit.custody.desk.actors import Staff
from perpkit.custody.desk.desk_custody import DeskCustody
from perpkit.custody.setup import read_setup
from perpkit.engine import compose
from perpkit.engine.compose import build_journal
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.errors import ConfigError, CustodyError
from perpkit.model.command import ResumeExchange
from perpkit.model.event import BreachFound, DepositCredited, HoldingsCompared, Rejected
from perpkit.model.market import MarketState
from perpkit.model.reject import RejectReason
from perpkit.ports.context import AssetSpec, ExchangeContext, Limits
from perpkit.ports.custody.chain import Output
from perpkit.runtime import Venue
from perpkit.testing.builders import tables
from perpkit.units import Scale
from perpkit_bitcoin import library
from perpkit_bitcoin.custody import build_custody, open_token, wallet_terms
from perpkit_bitcoin.facade import Facade
from perpkit_bitcoin.options import BitcoinOptions
from perpkit_bitcoin.scheme import EcdsaPen
from perpkit_bitcoin.wallet import BitcoinWallet

ASSET = AssetSpec(id=1, name="BTC", unit=Scale(Fraction(1, 10**8)), deposits_max_units=1 << 60)
CONTEXT = ExchangeContext(markets={}, assets={1: ASSET}, limits=Limits(), taker_ppb={})


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


def test_what_is_lost_the_operator_makes_good_and_exchange_and_desk_go_on(bank, make_party, venue):
    lose_one_unit(bank, make_party, venue)
    (evidence, *_) = {each.evidence for each in events_of(venue.reconcile(), BreachFound)}
    desk = venue.custody.desks[1]
    bank.chain.pay(bank.cold.script_of(desk.capital_address(1)), 10_000)
    bank.chain.mine(3)
    (credited,) = events_of(venue.poll(), DepositCredited)
    assert credited.amount_units == 9_999
    Staff({name: bank.staff.members[name] for name in ("igor", "kira")}).attend(desk)
    desk.advance()
    assert desk.halted is None
    venue.submit(ResumeExchange(evidence=evidence, operator=1, second_operator=2))
    assert {(each.ledger_units, each.holdings_units) for each in events_of(venue.reconcile(), HoldingsCompared)} == {
        (80_009_999, 80_009_999)
    }
    assert set(venue.exchange.market_states.values()) == {MarketState.CANCEL_ONLY}


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
    table = {"public": EcdsaPen(bytes(31) + b"\1").public.hex(), "secret_file": str(tmp_path / "hsm.hex")}
    with pytest.raises(CustodyError, match="expected the public half"):
        open_token(table, tmp_path, "")
