"""Clients' money goes from the cold wallet to the hot one to the unit, at the house's expense, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest

from perpkit.custody.desk import refill, signing_step
from perpkit.custody.desk.withdrawal import State, Withdrawal
from perpkit.custody.digest import release_digest, request_digest, transcript_digest
from perpkit.custody.gate.draft import effects_of
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.move import CHANGE, HOUSE, script_of_move
from perpkit.custody.pretend.plain_wallet import PlainWallet
from perpkit.custody.pretend.scheme import HmacPen
from perpkit.model.command import DepositObserved, WithdrawalSent
from perpkit.ports.custody.chain import Outpoint, Output
from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.signing import Release
from perpkit.ports.custody.wallet import Effects, Owner, Purpose, UnsignedTransaction
from perpkit.units import HOUR_NS, Units

from .house import SCHEME, rule_of
from .office import Office, policy_text, secret, setup

REFILL = 'kind = "path"\nasset = "BTC"\nsource = "cold"\ntarget = "hot"\namount_max_units = 100_000'
SMALL = 'kind = "path"\nasset = "BTC"\nsource = "hot"\ntarget = "client"'
STRANGER = b"a script of nobody here"


def make_office(*house_units: Units, deposits_units: Sequence[Units] = (500_000,)) -> Office:
    """Return an office with a hot wallet, which may get 100,000 units at once, and coins of the house."""
    using = setup(policy_text(refill=REFILL, small=SMALL), hot=True, hot_limit_units=50_000)
    office = Office(using, deposits_units=deposits_units)
    for amount_units in house_units:
        office.chain.pay(office.script_of(office.desk.house_address()), amount_units)
    office.chain.mine(3)
    office.told()
    return office


def moved(office: Office, amount_units: Units = 80_000) -> Withdrawal:
    number = office.desk.move(amount_units, by="liam")
    assert isinstance(number, int)
    office.desk.advance()
    return office.desk.withdrawals[number]


def in_wallet(office: Office, name: str, *, house: bool = False) -> Units:
    view = office.desk._core.view()
    return sum(
        coin.output.amount_units
        for point, coin in view.coins.items()
        if view.received[point].wallet == name and (view.received[point].owner.purpose is Purpose.HOUSE) is house
    )


def drafted(office: Office, move: Withdrawal) -> Withdrawal:
    for _ in range(8):
        if move.draft is None:
            office.step()
    assert move.draft is not None
    return move


def test_exactly_the_amount_arrives_the_house_pays_and_nothing_of_the_ledger_changes() -> None:
    office = make_office(20_000)
    told = office.told()
    move = moved(office)
    office.until(State.CONFIRMED, move.request.withdrawal_id)
    assert move.draft is not None
    assert (in_wallet(office, "hot"), in_wallet(office, "cold")) == (80_000, 420_000)
    assert in_wallet(office, "cold", house=True) == 20_000 - move.draft.fee_units < 20_000
    assert office.desk.holdings() == office.desk.recount() == 500_000
    office.desk.reconcile()
    assert office.told() == told
    assert office.desk.halted is None


def test_small_withdrawals_leave_from_the_hot_wallet_after_it_was_filled() -> None:
    office = make_office(20_000)
    assert office.request(1, 50_000).request.source == "cold"
    office.until(State.CONFIRMED, moved(office).request.withdrawal_id)
    small = office.request(2, 50_000)
    assert small.request.source == "hot"
    office.until(State.APPROVED, 2)
    office.release(2, 50_000)
    office.until(State.CONFIRMED, 2)
    assert isinstance(office.told()[-1], WithdrawalSent)
    assert (in_wallet(office, "hot"), office.desk.holdings()) == (30_000, 450_000)
    assert office.desk.halted is None


def test_every_move_has_an_address_of_its_own_and_the_house_pays_again_from_what_came_back() -> None:
    office = make_office(20_000)
    first = moved(office)
    office.until(State.CONFIRMED, first.request.withdrawal_id)
    office.reopen()
    second = moved(office, 70_000)
    office.until(State.CONFIRMED, second.request.withdrawal_id)
    assert first.request.script != second.request.script
    assert in_wallet(office, "hot") == 150_000
    assert office.desk.holdings() == office.desk.recount() == 500_000
    assert not [each for each in office.told() if isinstance(each, DepositObserved) and each.account == 0]


@pytest.mark.parametrize("state", [State.JUDGED, State.NOMINATED, State.SIGNING, State.BROADCAST])
def test_a_desk_that_starts_anew_goes_on_with_a_move(state: State) -> None:
    office = make_office(20_000)
    number = moved(office).request.withdrawal_id
    for _ in range(30):
        office.desk.advance()
        if office.desk.withdrawals[number].state is state:
            break
        task = next(iter(office.desk.tasks()), None)
        answer = office.staff.members[task.person].answer(task) if task else None
        if answer:
            assert office.desk.answer(answer) is None
        else:
            office.chain.mine()
    assert office.desk.withdrawals[number].state is state
    office.reopen()
    office.until(State.CONFIRMED, number)
    assert office.desk.holdings() == office.desk.recount() == 500_000
    assert in_wallet(office, "hot") == 80_000


@pytest.mark.parametrize("house_units", [(), (3,)], ids=["none", "too few"])
def test_without_coins_of_the_house_for_the_fee_a_move_waits_and_says_why(house_units: tuple[Units, ...]) -> None:
    office = make_office(*house_units)
    move = moved(office)
    office.until(State.APPROVED, move.request.withdrawal_id)
    office.step()
    assert (move.state, move.drafts) == (State.APPROVED, [])
    assert move.waiting is not None
    assert "the house" in move.waiting.reason
    assert "fee" in move.waiting.reason
    office.chain.pay(office.script_of(office.desk.house_address()), 20_000)
    office.until(State.CONFIRMED, move.request.withdrawal_id)
    assert office.desk.holdings() == office.desk.recount() == 500_000


def test_more_than_the_cap_is_denied_and_nobody_is_told() -> None:
    office = make_office(20_000)
    told = office.told()
    move = moved(office, 100_001)
    assert move.state is State.DENIED
    assert "at most 100000 units" in move.reason
    assert office.told() == told


def test_a_move_that_nobody_approves_expires_and_nobody_is_told() -> None:
    office = make_office(20_000)
    told, move = office.told(), moved(office)
    office.now_ns += 24 * HOUR_NS
    office.desk.advance()
    assert move.state is State.EXPIRED
    assert office.told() == told


def test_whoever_asked_for_a_move_does_not_approve_it() -> None:
    office = make_office(20_000)
    number = office.desk.move(80_000, by="fay")
    assert isinstance(number, int)
    move = office.until(State.CONFIRMED, number)
    assert {each.person for each in move.approvals} == {"gus", "hana"}


def test_a_move_is_asked_for_by_somebody_who_is_known_and_where_there_is_a_hot_wallet() -> None:
    office = make_office(20_000)
    assert rule_of(office.desk.move(1_000, by="nobody")) == "person"
    assert rule_of(Office().desk.move(1_000, by="liam")) == "move"


def test_moves_that_are_asked_for_together_have_numbers_and_addresses_of_their_own() -> None:
    office = make_office(20_000, 20_000, deposits_units=(250_000, 250_000))
    both = [moved(office), moved(office, 70_000)]
    assert len({move.request.withdrawal_id for move in both}) == len({move.request.script for move in both}) == 2
    for move in both:
        office.until(State.CONFIRMED, move.request.withdrawal_id)
    office.chain.mine(3)
    office.desk.reconcile()
    assert in_wallet(office, "hot") == 150_000
    assert office.desk.halted is None


@pytest.mark.parametrize("deposits_units", [(500_000,), (50_000, 40_000)], ids=["small house", "large house"])
def test_a_move_is_drafted_anew_with_a_higher_fee_and_only_one_of_the_two_is_mined(
    deposits_units: Sequence[Units],
) -> None:
    office = make_office(6_000, 120_000, deposits_units=deposits_units)
    move = drafted(office, moved(office))
    office.step(mine=0)
    assert move.state is State.BROADCAST
    assert office.desk.replace(move.request.withdrawal_id, 5_000, "liam") is None
    office.step(mine=0)
    office.until(State.CONFIRMED, move.request.withdrawal_id)
    first, second = move.drafts
    assert second.fee_units > first.fee_units
    assert move.mined_txid == second.unsigned.txid
    assert in_wallet(office, "hot") == 80_000
    assert in_wallet(office, "cold", house=True) == 126_000 - second.fee_units
    assert office.desk.holdings() == office.desk.recount() == sum(deposits_units)


@pytest.fixture
def stolen(monkeypatch: pytest.MonkeyPatch) -> tuple[Office, Withdrawal]:
    """Return an office whose desk was taken over, with a move to a stranger's script that all but the gate let pass."""
    monkeypatch.setattr(refill, "script_of_move", lambda _hot, _number: STRANGER)
    office = make_office(20_000)
    return office, drafted(office, moved(office))


def forged(office: Office, move: Withdrawal) -> Release:
    """Return a release as a gate that was taken over would sign it."""
    assert move.draft is not None
    release = Release(
        withdrawal_id=move.request.withdrawal_id,
        request=request_digest(move.request),
        txid=move.draft.unsigned.txid,
        policy=office.desk.policy.digest,
        nomination=transcript_digest(move.draft.nomination),
        nominated=move.draft.nomination.nominated,
        counter=1,
    )
    return attrs.evolve(release, signature=HmacPen(secret("hsm")).sign(release_digest(release)))


def test_the_gate_lets_no_move_go_to_a_stranger(stolen: tuple[Office, Withdrawal]) -> None:
    office, move = stolen
    assert rule_of(move.waiting) == "move-target"
    office.step()
    assert move.draft is not None
    assert move.draft.release is None


def test_a_signer_signs_no_move_to_a_stranger_even_for_the_gate(stolen: tuple[Office, Withdrawal]) -> None:
    office, move = stolen
    assert move.draft is not None
    for name in move.draft.nomination.nominated:
        signer = office.staff.members[name].signers["cold", f"cold-{name}"]
        assert rule_of(signer.sign(move.case(move.draft), forged(office, move))) == "move-target"


@pytest.mark.parametrize("knows_hot", [False, True])
def test_a_signer_who_does_not_know_the_hot_wallet_signs_no_move(knows_hot: bool) -> None:
    office = make_office(20_000)
    move = drafted(office, moved(office))
    assert move.draft is not None
    name = move.draft.nomination.nominated[0]
    wallets = office.world.wallets()
    signer = CarefulSigner(
        key=f"cold-{name}",
        person=name,
        wallet=wallets["cold"],
        gate_public=secret("hsm"),
        scheme=office.world.scheme,
        nominator=office.world.nominator,
        fee_max_units=9_000,
        sign=lambda _: b"",
        own=wallets if knows_hot else None,
    )
    answer = signer.review(move.case(move.draft), forged(office, move))
    assert isinstance(answer, Effects) if knows_hot else rule_of(answer) == "move-target"


def test_a_withdrawal_that_spends_a_coin_of_the_house_is_let_go_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    office = make_office(600_000)
    office.approved(1, 60_000)
    monkeypatch.setattr(signing_step, "_choices", lambda _, free: [[coin for _, coin in free.values()]])
    withdrawal = office.release(1, 60_000)
    assert withdrawal.draft is not None
    assert (withdrawal.waiting.by, withdrawal.waiting.rule) == ("policy", "shape")
    case = withdrawal.case(withdrawal.draft)
    assert rule_of(office.desk._core.gate.release(case)) == "draft-house"
    name = case.nomination.nominated[0]
    signer = office.staff.members[name].signers["cold", f"cold-{name}"]
    assert rule_of(signer.review(case, forged(office, withdrawal))) == "draft-house"


OWN, PAYER = Outpoint(b"t", 0), Outpoint(b"t", 1)


class Describing(PlainWallet):
    """A wallet in whose opinion every draft does the same."""

    effects: Effects

    def describe(self, unsigned: UnsignedTransaction, /) -> Effects:
        return self.effects


def seen(target: str, number: int, change: Callable[[Describing], dict[str, object]]) -> object:
    """Return what is said of a draft of 1,000 units, 40 of fee, that is in order but for what is changed."""
    office_wallets = setup(hot=True).keys
    keys = {name: {each.key: each.public for each in office_wallets if each.wallet == name} for name in ("cold", "hot")}
    make = {name: Describing(name=name, threshold=2, keys=keys[name], scheme=SCHEME) for name in keys}
    cold, move = make["cold"], target == "hot"
    script = script_of_move(make["hot"], -1) if move else b"client"
    effects = Effects(
        spends=((OWN, Output(b"own", 1_500)), *([(PAYER, Output(b"house", 90))] if move else [])),
        payments=(Output(script, 1_000 if move else 960),),
        change=(Output(cold.script(CHANGE, 3), 500),),
        fee_units=40,
        virtual_bytes=100,
        house_spends=(PAYER,) if move else (),
        house_change=(Output(cold.script(HOUSE, 3), 50),) if move else (),
    )
    for owner in (CHANGE, HOUSE, Owner(Purpose.CLIENT, 7)):
        cold.watch(owner, 5)
    cold.effects = effects
    cold.effects = attrs.evolve(effects, **change(cold))
    request = Request(
        withdrawal_id=number, asset="BTC", account=0, amount_units=1_000, destination=0, script=script, source="cold",
        target=target, initiator="", requested_ns=0,
    )  # fmt: skip
    return effects_of(request, UnsignedTransaction(wallet="cold", txid=b"", payload=b""), cold, own=make, by="test")


@pytest.mark.parametrize(("target", "number"), [("hot", -1), ("client", 1)])
def test_a_draft_that_is_in_order_is_seen_as_such(target: str, number: int) -> None:
    assert isinstance(seen(target, number, lambda _: {}), Effects)


@pytest.mark.parametrize(
    ("target", "number", "change", "rule"),
    [
        ("hot", -2, lambda _: {}, "move-target"),
        ("hot", 1, lambda _: {}, "move-target"),
        ("hot", -(1 << 40), lambda _: {}, "move-target"),
        ("hot", -1, lambda _: {"payments": (Output(b"else", 1_000),)}, "draft-payment"),
        ("hot", -1, lambda it: {"payments": (it.effects.payments[0]._replace(amount_units=960),)}, "draft-payment"),
        ("hot", -1, lambda it: {"payments": it.effects.payments * 2}, "draft-payment"),
        ("hot", -1, lambda _: {"payments": ()}, "draft-payment"),
        ("hot", -1, lambda _: {"fee_units": -1}, "draft-payment"),
        ("hot", -1, lambda it: {"house_change": (Output(it.script(HOUSE, 3), 51),)}, "draft-house"),
        ("hot", -1, lambda it: {"house_change": (Output(it.script(HOUSE, 3), 49),)}, "draft-house"),
        ("hot", -1, lambda _: {"house_spends": (), "house_change": ()}, "draft-house"),
        ("hot", -1, lambda _: {"fee_units": 41}, "draft-house"),
        ("hot", -1, lambda it: {"change": (Output(it.script(CHANGE, 3), 499),)}, "draft-house"),
        ("hot", -1, lambda it: {"change": (Output(it.script(HOUSE, 3), 500),)}, "draft-change"),
        ("hot", -1, lambda it: {"house_change": (Output(it.script(CHANGE, 3), 50),)}, "draft-change"),
        ("hot", -1, lambda it: {"change": (Output(it.script(Owner(Purpose.CLIENT, 7), 3), 500),)}, "draft-change"),
        ("client", 1, lambda _: {"house_spends": (OWN,)}, "draft-house"),
        ("client", 1, lambda it: {"house_change": (Output(it.script(HOUSE, 3), 0),)}, "draft-house"),
        ("client", 1, lambda it: {"change": (Output(it.script(CHANGE, 3), 499),)}, "draft-house"),
    ],
)
def test_a_move_is_looked_at_as_strictly_as_a_withdrawal(
    target: str, number: int, change: Callable[[Describing], dict[str, object]], rule: str
) -> None:
    assert rule_of(seen(target, number, change)) == rule
