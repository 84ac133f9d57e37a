"""An exchange whose money is in the embedded vault: policy, nomination, approvals, HSM and chain, by configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perpkit import Exchange, ExchangeConfig, Side, Venue
from perpkit.audit import replay, state_digest
from perpkit.custody import Vault
from perpkit.custody.desk.address_book import destination_digest
from perpkit.custody.desk.log import verify_log
from perpkit.custody.desk.tasks import TaskKind
from perpkit.custody.desk.withdrawal import State
from perpkit.custody.pretend.embedded import EmbeddedVault
from perpkit.custody.setup import read_setup
from perpkit.engine.compose import build_custody
from perpkit.errors import ConfigError, CustodyError
from perpkit.model.cause import Law
from perpkit.model.command import IndexQuotes, PlaceOrder, RequestWithdrawal
from perpkit.model.event import BreachFound, HoldingsCompared
from perpkit.model.ledger import wallet
from perpkit.model.price import Quote
from perpkit.plugin import Registry
from perpkit.ports import JournalContext
from perpkit.ports.custody import ApprovingCustody, RecountingCustody
from perpkit.ports.custody.policy import Approval
from perpkit.runtime.journal import MemoryJournal, MemoryOptions
from perpkit.runtime.venue import Pace
from perpkit.testing.fakes import HandClock
from perpkit.units import HOUR_NS, MINUTE_NS

EXAMPLES = Path(__file__).parents[2] / "examples/custody"
RECEIVER = b"the client's own script"
POLICY = """
version = 1
name = "vault"
[rules.pay-out]
kind = "path"
asset = "COIN"
source = "cold"
target = "client"
[rules.book]
kind = "destination"
delay_hours = 1
roles = { officer = 1 }
[rules.quorum]
kind = "quorum"
asset = "COIN"
tiers = [{ from_units = 0, roles = { approver = 2 } }]
[rules.hats]
kind = "segregation"
[rules.drawn]
kind = "nomination"
seats = 2
[rules.shape]
kind = "shape"
asset = "COIN"
fee_max_units = 300
fee_rate_max_units = 1000
[rules.hsm]
kind = "hsm"
[rules.fresh]
kind = "reconciliation"
minutes = 10
[rules.off]
kind = "halt"
"""
ROLES = {"ann": "signer", "ben": "signer", "cleo": "signer", "fay": "approver", "gus": "approver"} | {
    "igor": "officer",
    "kira": "officer",
}


def setup_text(*, online: str = "false", threshold: int = 2) -> str:
    people = [f'[people.{name}]\nroles = ["{role}"]\npublic = "{hexed(name)}"' for name, role in ROLES.items()]
    keys = [
        f'[keys.cold.key-{name}]\nperson = "{name}"\nplace = "{name}"\nonline = {online}\n'
        f'public = "{hexed("key" + name)}"'
        for name in ("ann", "ben", "cleo")
    ]
    head = 'policy = "policy.toml"\n[terms]\nconfirmations = 2\nresume_quorum = { officer = 2 }'
    wallets = f'[hsm]\npublic = "{hexed("hsm")}"\n[wallets.cold]\nthreshold = {threshold}\nhsm = true'
    return "\n".join([head, wallets, *people, *keys])


def hexed(name: str) -> str:
    return name.encode().ljust(32, b".").hex()


class Place:
    """A venue with the vault, and what outlives it. Account 1 has 1,000, account 2 100,000; the mark is 100."""

    def __init__(self, tables: dict[str, Any], directory: Path) -> None:
        (directory / "policy.toml").write_text(POLICY)
        (directory / "vault.toml").write_text(setup_text())
        options = {"setup": str(directory / "vault.toml")}
        self.config = ExchangeConfig.from_dict(
            {**tables, "exchange": {**tables["exchange"], "custody": {"provider": "vault", "options": options}}}
        )
        self.clock = HandClock(1_000 * HOUR_NS)
        custody = build_custody(self.config, Registry.builtin())
        assert isinstance(custody, EmbeddedVault)
        self.vault = custody
        self.vault.clock = self.clock
        self.desk, self.world = self.vault.desks[1], self.vault.worlds[1]
        context = JournalContext(directory="", config_digest="0" * 64, manifest=[])
        self.journal = MemoryJournal(context, MemoryOptions())
        self.venue = self.fresh()
        wanted = destination_digest("COIN", 7, 1, RECEIVER)
        approval = Approval(
            person="igor", digest=wanted, signature=self.world.staff.members["igor"].pen.sign(wanted), at_ns=0
        )
        address = self.world.wallets()["cold"].address_of(RECEIVER)
        assert self.desk.add_destination(7, 1, address, [approval]) is None
        self.clock.turn(HOUR_NS)
        self.vault.receive(1, 1, 1_000)
        self.vault.receive(2, 1, 100_000)
        self.venue.poll()
        self.quote(100)

    def fresh(self) -> Venue:
        pace = Pace(audit_every_ns=0, reconcile_every_ns=10 * MINUTE_NS)
        self.venue, _ = Venue.recover(Exchange.of(self.config), self.vault, self.journal, clock=self.clock, pace=pace)
        return self.venue

    def quote(self, price: int) -> None:
        stamp = self.clock()
        quotes = tuple(Quote(market=1, source=s, price_ticks=price, weight=1, at_ns=stamp) for s in (1, 2, 3))
        assert self.venue.submit(IndexQuotes(quotes=quotes)).rejected is None

    def trade(self, lots: int) -> None:
        for account, side in ((2, Side.SELL), (1, Side.BUY)):
            order = PlaceOrder(account=account, market=1, side=side, size_lots=lots, price_ticks=100)
            assert self.venue.submit(order).rejected is None

    def request(self, amount: int = 400, number: int = 5) -> None:
        request = RequestWithdrawal(withdrawal_id=number, account=1, asset=1, amount_units=amount, destination=7)
        assert self.venue.submit(request).rejected is None

    def days_work(self) -> None:
        """Let people answer, blocks be mined and the exchange hear of it, until all is quiet."""
        for _ in range(3):
            self.vault.attend()
            self.venue.poll()

    def resume(self) -> None:
        for task in self.desk.tasks():
            if task.kind is TaskKind.RESUME:
                assert self.desk.answer(self.world.staff.members[task.person].answer(task)) is None
        self.desk.advance()

    def compared(self) -> list[HoldingsCompared]:
        events = [event for outcome in self.venue.reconcile() for event in outcome.events]
        return [event for event in events if isinstance(event, HoldingsCompared)]

    def agrees(self) -> bool:
        """Whether ledger, blocks and node agree to the unit, the log is sound, and a replay leads to the same state."""
        counts = {(each.ledger_units, each.holdings_units) for each in self.compared()}
        again = replay(self.venue.log(), self.config)
        return (
            counts == {(self.vault.holdings(1), self.vault.recount(1))}
            and again.state_digest == state_digest(self.venue.exchange)
            and verify_log(map(json.loads, self.vault.log.export())) is None
            and not self.venue.exchange.evidence
        )


@pytest.fixture
def place(make_tables: Callable[..., dict[str, Any]], tmp_path: Path) -> Place:
    return Place(make_tables(), tmp_path)


def test_a_withdrawal_goes_from_the_request_to_the_mined_transaction_and_is_written_off(place: Place) -> None:
    assert isinstance(place.vault, ApprovingCustody)
    assert isinstance(place.vault, RecountingCustody)
    place.request()
    assert [held.withdrawal_id for held in place.venue.exchange.held()] == [5]
    place.days_work()
    assert (place.venue.exchange.held(), place.venue.exchange.outstanding()) == ((), ())
    assert place.desk.withdrawals[5].state is State.CONFIRMED
    (coin,) = place.world.chain.coins([RECEIVER], place.world.chain.tip())
    (draft,) = place.desk.withdrawals[5].drafts
    assert coin.output.amount_units + draft.fee_units == 400
    assert place.vault.holdings(1) == 100_600
    assert place.venue.exchange.clearing.balance(wallet(1, 1)) == 600
    assert place.agrees()


def test_what_the_policy_denies_goes_back_to_its_owner(place: Place) -> None:
    request = RequestWithdrawal(withdrawal_id=5, account=1, asset=1, amount_units=400, destination=8)
    assert place.venue.submit(request).rejected is None
    place.days_work()
    assert place.desk.withdrawals[5].state is State.DENIED
    assert place.venue.exchange.clearing.balance(wallet(1, 1)) == 1_000
    assert place.agrees()


def test_a_liquidation_before_the_release_recalls_the_money_and_it_never_leaves(place: Place) -> None:
    place.trade(50)
    place.request()
    place.quote(91)
    place.days_work()
    assert place.desk.withdrawals[5].state is State.RECALLED
    assert place.world.chain.coins([RECEIVER], place.world.chain.tip()) == []
    assert place.agrees()


def test_a_liquidation_after_the_release_comes_too_late_and_the_money_is_gone_once(place: Place) -> None:
    place.trade(50)
    place.request()
    while not place.venue.exchange.outstanding():
        place.desk.advance()
        place.world.staff.attend(place.desk)
        place.world.chain.mine()
        place.venue.poll()
    place.quote(91)
    place.days_work()
    assert place.desk.withdrawals[5].state is State.CONFIRMED
    assert len(place.world.chain.coins([RECEIVER], place.world.chain.tip())) == 1
    assert place.agrees()


def test_one_missing_unit_halts_the_exchange_and_the_desk_and_the_desk_resumes_only_by_quorum(place: Place) -> None:
    place.vault.receive(2, 1, 1)
    place.venue.poll()
    assert place.agrees()
    point = next(p for p, each in place.desk._core.state.deposits.items() if each.amount_units == 1)
    stolen = place.world.chain.steal(point)
    place.world.chain.mine(2)
    place.clock.turn(10 * MINUTE_NS)
    events = [event for outcome in place.venue.tick() for event in outcome.events]
    assert HoldingsCompared(asset=1, ledger_units=101_001, holdings_units=101_000) in events
    breaches = [event for event in events if isinstance(event, BreachFound)]
    assert {(each.law, each.expected, each.found) for each in breaches} == {(Law.HOLDINGS, 101_001, 101_000)}
    assert place.venue.exchange.evidence
    assert place.desk.halted
    assert "there must be 101001" in place.desk.halted.reason
    place.world.chain.reorganise(2, forget=[stolen])
    place.desk.advance()
    assert place.desk.halted
    place.resume()
    assert place.desk.halted is None


def test_a_deposit_that_a_deep_reorganisation_takes_back_is_reversed_in_the_ledger(place: Place) -> None:
    place.vault.receive(2, 1, 500)
    place.venue.poll()
    assert place.venue.exchange.clearing.balance(wallet(2, 1)) == 100_500
    place.world.chain.reorganise(2)
    place.venue.poll()
    assert place.venue.exchange.clearing.balance(wallet(2, 1)) == 100_000
    assert place.agrees()
    place.world.chain.mine(2)
    place.venue.poll()
    assert place.venue.exchange.clearing.balance(wallet(2, 1)) == 100_500
    assert place.agrees()


@pytest.mark.parametrize("rounds", range(8))
def test_a_venue_that_crashes_at_any_time_goes_on_with_the_same_custody(place: Place, rounds: int) -> None:
    place.request()
    for _ in range(rounds):
        place.desk.advance()
        place.world.staff.attend(place.desk)
        place.world.chain.mine()
        place.venue.poll()
    place.fresh()
    place.days_work()
    assert place.venue.exchange.outstanding() == ()
    assert len(place.world.chain.coins([RECEIVER], place.world.chain.tip())) == 1
    assert place.agrees()


def context(make_tables: Callable[..., dict[str, Any]], **options: str) -> ExchangeConfig:
    tables = make_tables(exchange={"custody": {"provider": "vault", "options": options}})
    return ExchangeConfig.from_dict(tables)


def test_without_a_setup_the_vault_is_the_bare_one(make_tables: Callable[..., dict[str, Any]]) -> None:
    assert isinstance(build_custody(context(make_tables), Registry.builtin()), Vault)


def test_the_log_is_kept_in_the_directory_and_an_edited_one_is_refused(
    make_tables: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "vault.toml").write_text(setup_text())
    config = context(make_tables, setup=str(tmp_path / "vault.toml"), directory=str(tmp_path / "kept"))
    vault = build_custody(config, Registry.builtin())
    assert isinstance(vault, EmbeddedVault)
    vault.receive(1, 1, 1_000)
    seen, cursor = vault.observe(0)
    assert (len(seen), cursor) == (1, seen[0].deposit_id)  # type: ignore[union-attr]
    vault.close()
    again = build_custody(config, Registry.builtin())
    assert isinstance(again, EmbeddedVault)
    assert [entry.kind for entry in again.log.entries()] == ["address-issued", "credited", "counted"]
    # The pretend chain is gone with its process, and nobody pretends that the money is there.
    again.observe(cursor)
    assert again.desks[1].halted
    again.close()
    raw = (tmp_path / "kept/custody.sqlite").read_bytes()
    (tmp_path / "kept/custody.sqlite").write_bytes(raw.replace(b'"amount_units":1000', b'"amount_units":9000'))
    with pytest.raises(CustodyError, match="entry 2 is not as it was written"):
        build_custody(config, Registry.builtin())


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda text: text.replace("confirmations = 2", 'confirmations = "2"'), "terms.confirmations: expected int"),
        (lambda text: text.replace("[hsm]", "[hms]"), "hms"),
        (lambda text: text.replace("resume_quorum = { officer = 2 }", ""), "resume_quorum: expected a value"),
        (lambda text: text.replace('"policy.toml"', '"none.toml"'), "policy: expected a file beside this one"),
        (lambda text: text.replace("[wallets.cold]", "[wallets.warm]"), "expected one named 'cold'"),
        (lambda text: text + "[", "expected a setup file in TOML"),
        (lambda text: text.replace('place = "ann"', "place = 5"), "keys.cold.key-ann.place: expected str"),
        (lambda text: text.replace(hexed("ann"), "xyz"), "people.ann.public"),
        (lambda text: text.replace("confirmations = 2", "confirmations = 0"), "confirmations"),
        (lambda text: text.replace("hsm = true", "hsn = true"), "wallets.cold"),
        (lambda _: setup_text(online="true"), "are online, and 2 are enough"),
        (lambda _: setup_text(threshold=1), "needs from 2 to 3 signatures"),
    ],
)
def test_a_setup_that_cannot_be_used_says_why(
    make_tables: Callable[..., dict[str, Any]], tmp_path: Path, edit: Callable[[str], str], complaint: str
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "vault.toml").write_text(edit(setup_text()))
    with pytest.raises(ConfigError, match=complaint):
        build_custody(context(make_tables, setup=str(tmp_path / "vault.toml")), Registry.builtin())


def test_a_setup_file_that_is_not_there_is_named(make_tables: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: expected a setup file"):
        build_custody(context(make_tables, setup="missing.toml"), Registry.builtin())


def test_the_example_setup_can_be_used() -> None:
    setup = read_setup(EXAMPLES / "vault.toml")
    assert {name: table["threshold"] for name, table in setup.wallets.items()} == {"cold": 3, "hot": 2}
    assert sum(place.online for place in setup.keys if place.wallet == "cold") == 2
