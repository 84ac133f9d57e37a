"""The gate lets go what is right, once, and each way to steal ends at a rule with a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from perpkit.custody.digest import change_digest, release_digest, request_digest
from perpkit.custody.gate.gate import ReleaseGate, nothing_told
from perpkit.custody.gate.gate_memory import GateMemory, RamMemory, SqliteMemory
from perpkit.custody.gate.refusals import REFUSALS, refuse
from perpkit.custody.gate.soft_hsm import IMPORTED, InsecureSoftHsm
from perpkit.custody.policy import load_policy
from perpkit.custody.pretend.plain_wallet import PlainWallet
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.policy import Approval
from perpkit.ports.custody.signing import Case, Release
from perpkit.ports.custody.wallet import Effects, Owner, Partial, Purpose, UnsignedTransaction
from perpkit.units import HOUR_NS

from .house import (
    HOLDERS,
    PEOPLE,
    POLICY,
    SCHEME,
    House,
    cold_wallet,
    key_of,
    pen_of,
    released,
    rule_of,
)


@pytest.fixture
def house() -> House:
    return House()


def test_a_withdrawal_that_is_in_order_is_released_cosigned_and_mined(house: House) -> None:
    case = house.case()
    release = released(house.gate.release(case))
    assert (release.withdrawal_id, release.txid, release.counter) == (1, case.unsigned.txid, 1)
    assert release.nominated == case.nomination.nominated
    assert SCHEME.verify(house.token.public, release_digest(release), release.signature)
    partials = house.partials(case)
    cosigned = house.gate.cosign(release, case.unsigned, partials)
    assert isinstance(cosigned, Partial)
    raw = house.wallet.finalize(case.unsigned, {**partials, "hsm-key": cosigned})
    house.chain.broadcast(raw)
    block = house.chain.block(house.chain.mine().height)
    effects = house.wallet.describe(case.unsigned)
    assert next(output for tx in block.transactions for output in tx.outputs) == Output(
        case.request.script, case.request.amount_units - effects.fee_units
    )


def test_each_release_has_a_number_of_its_own(house: House) -> None:
    numbers = [
        released(house.gate.release(house.case(request, unsigned=house.draft(request, use=(place,))))).counter
        for place, request in enumerate(house.request(number) for number in (1, 2, 3))
    ]
    assert numbers == [1, 2, 3]
    assert house.token.counter == 3


def test_the_same_draft_gets_the_same_release_again_and_after_a_restart_too(house: House) -> None:
    case = house.case()
    first = house.gate.release(case)
    assert house.gate.release(case) == first
    house.now_ns += 1_000 * HOUR_NS
    assert house.new_gate(token=house.new_token()).release(case) == first
    assert house.new_token().counter == 1


def test_another_draft_of_a_withdrawal_is_released_only_when_both_cannot_be_mined(house: House) -> None:
    request = house.request()
    first = house.case(request, unsigned=house.draft(request, use=(0, 1)))
    assert released(house.gate.release(first)).counter == 1
    elsewhere = attrs.evolve(first, unsigned=house.draft(request, use=(2,)))
    assert rule_of(house.gate.release(elsewhere)) == "released-before"
    assert rule_of(house.new_gate(token=house.new_token()).release(elsewhere)) == "released-before"
    dearer = attrs.evolve(first, unsigned=house.draft(request, use=(0, 2), fee_rate=2_000))
    assert released(house.gate.release(dearer)).counter == 2


def test_a_third_draft_has_to_exclude_the_second_as_well_as_the_first(house: House) -> None:
    """It shares a coin with the first, and none with the second: those two could both be mined."""
    request = house.request()
    first = house.case(request, unsigned=house.draft(request, use=(0, 1)))
    released(house.gate.release(first))
    released(house.gate.release(attrs.evolve(first, unsigned=house.draft(request, use=(0,), fee_rate=2_000))))
    third = attrs.evolve(first, unsigned=house.draft(request, use=(1, 2), fee_rate=3_000))
    assert rule_of(house.gate.release(third)) == "released-before"


def test_another_request_under_the_number_of_one_that_was_released_is_refused(house: House) -> None:
    released(house.gate.release(house.case()))
    other = house.request(amount_units=90_000)
    assert rule_of(house.gate.release(house.case(other))) == "released-before"


def test_under_quorum_of_approvals_nothing_is_released(house: House) -> None:
    answer = house.gate.release(house.case(by=("frank",)))
    assert rule_of(answer) == "policy"
    assert "expected approvals" in str(answer).lower()


def test_under_quorum_of_signatures_the_hsm_does_not_sign(house: House) -> None:
    case = house.case()
    release = released(house.gate.release(case))
    two = house.partials(case, case.nomination.nominated[:2])
    assert rule_of(house.gate.cosign(release, case.unsigned, two)) == "under-quorum"
    assert rule_of(house.gate.cosign(release, case.unsigned, {})) == "under-quorum"


def test_an_unnominated_signer_does_not_count_even_beside_enough_others(house: House) -> None:
    case = house.case()
    release = released(house.gate.release(case))
    stranger = next(name for name in HOLDERS if name not in release.nominated)
    instead = house.partials(case, (*release.nominated[:2], stranger))
    assert rule_of(house.gate.cosign(release, case.unsigned, instead)) == "nomination-signer"
    beside = house.partials(case, (*release.nominated, stranger))
    assert rule_of(house.gate.cosign(release, case.unsigned, beside)) == "nomination-signer"


def test_a_signature_under_anothers_name_or_on_another_draft_does_not_count(house: House) -> None:
    case = house.case()
    release = released(house.gate.release(case))
    good = dict(house.partials(case))
    key, other = (key_of(name) for name in release.nominated[:2])
    named = good | {key: good[other]}
    assert rule_of(house.gate.cosign(release, case.unsigned, named)) == "partial-bad"
    forged = good | {key: attrs.evolve(good[other], key=key)}
    assert rule_of(house.gate.cosign(release, case.unsigned, forged)) == "partial-bad"
    hsm = good | {"hsm-key": house.partial("hsm-key", case.unsigned)}
    assert rule_of(house.gate.cosign(release, case.unsigned, hsm)) == "partial-bad"


def test_a_release_is_not_replayed_for_another_draft(house: House) -> None:
    case = house.case()
    release = released(house.gate.release(case))
    theft = house.draft(case.request, script=b"the thief's")
    assert rule_of(house.gate.cosign(release, theft, house.partials(case))) == "release-draft"
    relabelled = attrs.evolve(theft, txid=case.unsigned.txid)
    assert rule_of(house.gate.cosign(release, relabelled, house.partials(case))) == "release-draft"


def test_a_release_with_an_older_counter_is_not_replayed(house: House) -> None:
    case = house.case()
    older = released(house.gate.release(case))
    dearer = attrs.evolve(case, unsigned=house.draft(case.request, fee_rate=2_000))
    newer = released(house.gate.release(dearer))
    assert rule_of(house.gate.cosign(older, case.unsigned, house.partials(case))) == "release-older"
    assert isinstance(house.gate.cosign(newer, dearer.unsigned, house.partials(dearer)), Partial)


def test_after_another_draw_for_the_same_draft_only_those_drawn_last_may_sign(house: House) -> None:
    case = house.case()
    first = released(house.gate.release(case))
    again = attrs.evolve(case, nomination=house.transcript(case.request, refused=first.nominated[:1]))
    second = released(house.gate.release(again))
    assert (second.counter, second.txid) == (2, first.txid)
    assert second.nominated == again.nomination.nominated
    assert rule_of(house.gate.cosign(first, case.unsigned, house.partials(case))) == "release-older"
    assert isinstance(house.gate.cosign(second, case.unsigned, house.partials(again)), Partial)


def test_a_release_is_not_replayed_for_another_request(house: House) -> None:
    first = released(house.gate.release(house.case()))
    request = house.request(2)
    second = house.case(request, unsigned=house.draft(request, use=(1,)))
    released(house.gate.release(second))
    assert rule_of(house.gate.cosign(first, second.unsigned, house.partials(second))) == "release-draft"
    renamed = attrs.evolve(first, withdrawal_id=2)
    assert rule_of(house.gate.cosign(renamed, second.unsigned, house.partials(second))) == "release-forged"


def test_a_release_that_the_gate_never_made_is_refused_although_its_key_signed(house: House) -> None:
    case = house.case()
    made = Release(
        withdrawal_id=1,
        request=request_digest(case.request),
        txid=case.unsigned.txid,
        policy=load_policy(POLICY).digest,
        nomination=bytes(32),
        nominated=case.nomination.nominated,
        counter=1,
    )
    signed = attrs.evolve(made, signature=house.token.sign(release_digest(made)))
    assert rule_of(house.gate.cosign(signed, case.unsigned, house.partials(case))) == "release-older"


class Meddling(PlainWallet):
    """A wallet that is told what to see in a draft."""

    def __init__(self, change: Callable[[Effects], Effects]) -> None:
        plain = cold_wallet()
        super().__init__(
            name="cold", threshold=3, keys=plain._publics, scheme=SCHEME, hsm=("hsm-key", pen_of("hsm-key").public)
        )
        self.change = change

    def describe(self, unsigned: UnsignedTransaction, /) -> Effects:
        return self.change(super().describe(unsigned))


def test_a_swapped_change_output_is_refused(house: House) -> None:
    """The desk drafts with a wallet whose change goes to the thief; the gate's own wallet does not derive that."""
    evil = PlainWallet(name="cold", threshold=1, keys={"thief-key": bytes(32)}, scheme=SCHEME)
    request = house.request()
    honest = house.draft(request)
    script = evil.script(Owner(Purpose.CHANGE, 0), 0)
    mine = house.wallet.script(Owner(Purpose.CHANGE, 0), 0)
    house.wallet.script = lambda *_: script  # type: ignore[method-assign]
    swapped = house.draft(request)
    assert mine.hex().encode() in honest.payload
    assert mine.hex().encode() not in swapped.payload
    assert rule_of(house.gate.release(house.case(request, unsigned=swapped))) == "draft-payment"


def test_change_that_would_count_as_somebodys_deposit_is_refused(house: House) -> None:
    own = Owner(Purpose.CLIENT, 66)
    wallet = Meddling(lambda effects: attrs.evolve(effects, change=(Output(wallet.script(own, 0), 200_000),)))
    wallet.watch(own, 1)
    house.gate._wallets["cold"] = wallet
    assert rule_of(house.gate.release(house.case())) == "draft-change"


def test_a_fee_that_bleeds_the_client_is_refused(house: House) -> None:
    request = house.request()
    bled = house.case(request, unsigned=house.draft(request, fee_rate=50_000))
    answer = house.gate.release(bled)
    assert rule_of(answer) == "policy"
    assert "fee" in str(answer)


@pytest.mark.parametrize(
    "shape",
    [
        lambda effects: attrs.evolve(effects, payments=(*effects.payments, Output(b"thief", 1))),
        lambda effects: attrs.evolve(effects, payments=()),
        lambda effects: attrs.evolve(effects, payments=(Output(b"thief", effects.payments[0].amount_units),)),
        lambda effects: attrs.evolve(effects, fee_units=effects.fee_units + 1),
        lambda effects: attrs.evolve(effects, fee_units=-1, payments=(Output(effects.payments[0].script, 100_001),)),
        lambda effects: attrs.evolve(effects, fee_units=100_000, payments=(Output(effects.payments[0].script, 0),)),
    ],
)
def test_a_draft_that_does_not_pay_exactly_what_was_asked_for_is_refused(
    house: House, shape: Callable[[Effects], Effects]
) -> None:
    case = house.case()
    house.gate._wallets["cold"] = Meddling(shape)
    assert rule_of(house.gate.release(case)) == "draft-payment"


def test_a_draft_with_what_does_not_belong_there_or_that_cannot_be_read_is_refused(house: House) -> None:
    case = house.case()
    garbage = attrs.evolve(case, unsigned=attrs.evolve(case.unsigned, payload=b"{}"))
    assert rule_of(house.gate.release(garbage)) == "draft-unreadable"
    relabelled = attrs.evolve(case, unsigned=attrs.evolve(case.unsigned, txid=bytes(32)))
    assert rule_of(house.gate.release(relabelled)) == "draft-unreadable"
    house.gate._wallets["cold"] = Meddling(lambda effects: attrs.evolve(effects, unknown=("a lock time",)))
    answer = house.gate.release(case)
    assert rule_of(answer) == "draft-unknown"
    assert "a lock time" in str(answer)


def test_an_edited_policy_is_refused_because_the_gate_has_pinned_the_other(house: House) -> None:
    case = house.case()
    edited = load_policy(POLICY.replace("approver = 2 } }]", "approver = 1 } }]"))
    gate = house.new_gate(policy=edited)
    assert rule_of(gate.release(case)) == "policy-pinned"
    release = released(house.gate.release(case))
    assert rule_of(house.new_gate(policy=edited).cosign(release, case.unsigned, {})) == "policy-pinned"


LOOSER = POLICY.replace("amount_units = 1000000", "amount_units = 9000000")


def test_a_policy_is_adopted_by_others_than_its_proposer_after_its_delay_and_stays_pinned(house: House) -> None:
    change, looser = house.change(LOOSER), load_policy(LOOSER)
    answer = house.gate.adopt(change, looser)
    assert rule_of(answer) == "change-policy"
    assert "48 hours" in str(answer)
    house.now_ns += 48 * HOUR_NS
    assert house.gate.adopt(change, looser) is None
    assert house.gate.adopt(change, looser) is None
    assert isinstance(house.gate.release(house.case()), Release)
    assert rule_of(house.new_gate().release(house.case())) == "policy-pinned"
    assert isinstance(house.new_gate(policy=looser).release(house.case(house.request(2))), Release)


def test_a_gate_that_starts_with_an_older_policy_adopts_again_what_it_had_pinned(house: House) -> None:
    change, looser = house.change(LOOSER), load_policy(LOOSER)
    house.now_ns += 48 * HOUR_NS
    assert house.gate.adopt(change, looser) is None
    gate = house.new_gate()
    assert gate.adopt(change, looser) is None
    assert isinstance(gate.release(house.case()), Release)


def test_a_change_of_policy_is_not_adopted_by_fewer_or_by_the_proposer_or_in_an_incident(house: House) -> None:
    looser = load_policy(LOOSER)
    for by in (("frank",), ("frank", "heidi")):
        change = house.change(LOOSER, by=by)
        house.now_ns += 48 * HOUR_NS
        assert rule_of(house.gate.adopt(change, looser)) == "change-policy"
    change = house.change(LOOSER)
    house.now_ns += 48 * HOUR_NS
    house.incident = True
    assert rule_of(house.gate.adopt(change, looser)) == "change-policy"


def test_a_change_of_policy_is_adopted_only_as_the_text_that_was_signed(house: House) -> None:
    change = house.change(LOOSER)
    house.now_ns += 48 * HOUR_NS
    assert rule_of(house.gate.adopt(change, load_policy(LOOSER.replace("9000000", "9900000")))) == "change-text"
    assert rule_of(house.gate.adopt(attrs.evolve(change, text="nonsense ="), load_policy(LOOSER))) == "change-text"
    other = LOOSER.replace("9000000", "9900000")
    assert rule_of(house.gate.adopt(attrs.evolve(change, text=other), load_policy(other))) == "approval-subject"
    stale = attrs.evolve(change, previous=bytes(32))
    assert rule_of(house.gate.adopt(stale, load_policy(LOOSER))) == "change-previous"
    forged = attrs.evolve(change.approvals[0], signature=bytes(32))
    unsigned = attrs.evolve(change, approvals=(forged, change.approvals[1]))
    assert rule_of(house.gate.adopt(unsigned, load_policy(LOOSER))) == "approval-signature"
    assert house.gate.adopt(change, load_policy(LOOSER)) is None


def test_a_gate_with_an_edited_policy_adopts_nothing(house: House) -> None:
    lax = POLICY.replace("roles = { approver = 2 }\ndelay_hours = 48", "roles = { approver = 1 }\ndelay_hours = 1")
    change = house.change(LOOSER)
    house.now_ns += 48 * HOUR_NS
    gate = house.new_gate(policy=load_policy(lax))
    stale = attrs.evolve(change, previous=load_policy(lax).digest)
    assert rule_of(gate.adopt(stale, load_policy(LOOSER))) == "policy-pinned"


def test_one_insider_with_two_hats_is_refused(house: House) -> None:
    request = house.request(initiator="frank")
    assert rule_of(house.gate.release(house.case(request))) == "two-hats"
    case = house.case()
    drawn = case.nomination.nominated[0]
    both = attrs.evolve(case, approvals=house.approvals(request_digest(case.request), ("frank", drawn)))
    assert rule_of(house.gate.release(both)) == "two-hats"
    initiated = house.request(initiator="alice")
    nomination = house.transcript(initiated)
    expected = "two-hats" if "alice" in nomination.nominated else "nomination-eligible"
    assert rule_of(house.gate.release(house.case(initiated, nomination=nomination))) == expected
    taken = attrs.evolve(case, taken_on=case.approvals[0])
    assert rule_of(house.gate.release(taken)) == "two-hats"
    fair = house.case(initiated, nomination=house.transcript(initiated, without=("alice",)))
    assert isinstance(house.gate.release(fair), Release)


def test_one_person_who_approves_twice_is_one(house: House) -> None:
    assert rule_of(house.gate.release(house.case(by=("frank", "frank")))) == "approval-twice"


def test_approvals_are_by_people_who_are_known_over_this_very_request(house: House) -> None:
    case = house.case()
    frank, grace = case.approvals
    other = house.approvals(request_digest(house.request(amount_units=1)), ("frank",))[0]
    for forged, rule in (
        (attrs.evolve(frank, person="mallory"), "approval-person"),
        (other, "approval-subject"),
        (attrs.evolve(other, digest=frank.digest), "approval-signature"),
        (attrs.evolve(grace, person="frank"), "approval-signature"),
    ):
        assert rule_of(house.gate.release(attrs.evolve(case, approvals=(forged, grace)))) == rule


def test_a_replaced_hsm_key_is_refused(house: House) -> None:
    token = InsecureSoftHsm(pen_of("thief"), SCHEME, memory=house.hsm_memory)
    answer = house.new_gate(token=token).release(house.case())
    assert rule_of(answer) == "hsm-unhealthy"
    assert "its key is another one" in str(answer)


def test_an_imported_hsm_key_is_refused(house: House) -> None:
    token = InsecureSoftHsm(pen_of("hsm-key"), SCHEME, memory=house.hsm_memory, attributes=IMPORTED)
    case = house.case()
    assert rule_of(house.new_gate(token=token).release(case)) == "hsm-unhealthy"
    release = released(house.gate.release(case))
    cosigned = house.new_gate(token=token).cosign(release, case.unsigned, house.partials(case))
    assert rule_of(cosigned) == "hsm-unhealthy"


def test_an_hsm_whose_counter_went_back_is_refused(house: House) -> None:
    case = house.case()
    for number, place in ((1, 0), (2, 1)):
        request = house.request(number)
        released(house.gate.release(house.case(request, unsigned=house.draft(request, use=(place,)))))
    house.hsm_memory.save("counter", "0")
    assert rule_of(house.new_gate(token=house.new_token()).release(case)) == "hsm-counter"


def test_a_gate_whose_memory_was_put_back_or_lost_is_refused(house: House) -> None:
    case = house.case()
    released(house.gate.release(case))
    assert rule_of(house.new_gate(token=house.new_token(), memory=RamMemory()).release(case)) == "hsm-counter"


def test_a_nomination_is_for_this_request_and_for_as_many_as_have_to_sign(house: House) -> None:
    request = house.request()
    other = house.transcript(house.request(2))
    assert rule_of(house.gate.release(house.case(request, nomination=other))) == "nomination-request"
    for seats in (2, 4, 5):
        more = house.transcript(request, seats=seats)
        assert rule_of(house.gate.release(house.case(request, nomination=more))) == "nomination-seats"


def test_a_nomination_that_was_not_drawn_or_by_another_beacon_is_refused(house: House) -> None:
    request = house.request()
    good = house.transcript(request)
    chosen = tuple(name for name in HOLDERS if name not in good.nominated[:1])[:3]
    assert rule_of(house.gate.release(house.case(request, nomination=attrs.evolve(good, nominated=chosen)))) == (
        "nomination-draw"
    )
    own = house.nominator.draw(good.opening, good.commitments, good.reveals, b"\1" * 32, ())
    ground = attrs.evolve(own, signatures=good.signatures)
    assert rule_of(house.gate.release(house.case(request, nomination=ground))) == "nomination-beacon"
    early = attrs.evolve(good.opening, round=house.chain.tip().height + 100)
    commitments = {name: house.nominator.commitment(early, name, good.reveals[name]) for name in early.eligible}
    drawn = house.nominator.draw(early, commitments, good.reveals, good.beacon, ())
    signed = attrs.evolve(drawn, signatures={name: pen_of(name).sign(commitments[name]) for name in early.eligible})
    assert rule_of(house.gate.release(house.case(request, nomination=signed))) == "nomination-beacon"


def test_a_desk_cannot_commit_and_reveal_in_other_peoples_names(house: House) -> None:
    """It knows the beacon, and tries secrets for everybody until those it likes are drawn: but it cannot sign."""
    request = house.request()
    good = house.transcript(request)
    for number in range(1_000):
        secrets = {name: number.to_bytes(32, "big") for name in HOLDERS}
        commitments = {name: house.nominator.commitment(good.opening, name, secrets[name]) for name in HOLDERS}
        forged = house.nominator.draw(good.opening, commitments, secrets, good.beacon, ())
        if set(forged.nominated) == {"alice", "bob", "carol"}:
            break
    assert house.nominator.verify(forged)
    for signatures in ({}, good.signatures):
        answer = house.gate.release(house.case(request, nomination=attrs.evolve(forged, signatures=signatures)))
        assert rule_of(answer) == "nomination-signature"


def test_nobody_who_holds_a_key_is_left_out_of_the_draw_without_a_reason(house: House) -> None:
    request = house.request()
    narrow = house.transcript(request, without=("dave", "erin"))
    answer = house.gate.release(house.case(request, nomination=narrow))
    assert rule_of(answer) == "nomination-eligible"
    assert "dave, erin" in str(answer)
    pretended = Approval(person="erin", digest=request_digest(request), signature=bytes(32), at_ns=0)
    without_erin = house.case(request, nomination=house.transcript(request, without=("erin",)))
    assert rule_of(house.gate.release(attrs.evolve(without_erin, taken_on=pretended))) == "approval-signature"


def test_nobody_is_in_the_draw_who_holds_no_key_or_initiated_the_request(house: House) -> None:
    request = house.request(initiator="alice")
    lucky = house.transcript(request)
    while "alice" in lucky.nominated:
        lucky = house.transcript(request, sequence=lucky.opening.sequence + 1)
    assert rule_of(house.gate.release(house.case(request, nomination=lucky))) == "nomination-eligible"
    narrow = House()
    narrow.gate._keys = narrow.gate._keys[:-1]
    answer = narrow.gate.release(narrow.case(by=("frank", "grace")))
    assert rule_of(answer) == "nomination-eligible"
    assert "See erin." in str(answer)


def test_initiator_approvers_and_those_who_refused_are_left_out_of_the_draw(house: House) -> None:
    request = house.request(initiator="dave")
    without_initiator = house.transcript(request, without=("dave",))
    assert isinstance(house.gate.release(house.case(request, nomination=without_initiator)), Release)
    request = house.request(2)
    approved = house.case(
        request,
        unsigned=house.draft(request, use=(1,)),
        nomination=house.transcript(request, without=("erin",)),
        by=("frank", "grace", "erin"),
    )
    assert isinstance(house.gate.release(approved), Release)
    request = house.request(3)
    again = house.transcript(request, refused=("carol",))
    assert again.opening.attempt == 2
    spoilt = house.case(request, unsigned=house.draft(request, use=(2,)), nomination=again)
    assert isinstance(house.gate.release(spoilt), Release)


def test_a_draft_of_another_wallet_than_the_money_is_asked_from_is_refused(house: House) -> None:
    case = house.case()
    elsewhere = attrs.evolve(case, unsigned=attrs.evolve(case.unsigned, wallet="warm"))
    assert rule_of(house.gate.release(elsewhere)) == "wallet"
    house.gate._wallets["hot"] = house.gate._wallets["cold"]
    request = house.request(source="hot")
    assert rule_of(house.gate.release(house.case(request))) == "wallet"


def test_what_the_gate_let_go_counts_against_its_limits_whatever_the_desk_says(house: House) -> None:
    rich = House(coins_units=(900_000, 900_000))
    first = rich.request(1, 600_000)
    released(rich.gate.release(rich.case(first)))
    dearer = rich.case(first, unsigned=rich.draft(first, fee_rate=2_000))
    released(rich.gate.release(dearer))
    second = rich.case(rich.request(2, 600_000), unsigned=rich.draft(rich.request(2, 600_000), use=(1,)))
    gate = rich.new_gate(token=rich.new_token())
    assert rule_of(gate.release(second)) == "policy"
    rich.now_ns += 25 * HOUR_NS
    assert isinstance(gate.release(second), Release)


def test_what_only_the_desk_can_know_is_believed_when_it_is_a_reason_to_stop(house: House) -> None:
    case = house.case()
    house.switched_off = frozenset({"all"})
    assert rule_of(house.gate.release(case)) == "policy"


STEP_UP = POLICY + '[rules.large]\nkind = "step-up"\nasset = "BTC"\nrole = "officer"\nfrom_units = 50000\n'


def test_whether_a_person_has_taken_it_on_the_gate_sees_by_their_signature() -> None:
    house = House()
    people = PEOPLE | {"olga": attrs.evolve(PEOPLE["heidi"], name="olga", roles=frozenset({"officer"}))}
    people["olga"] = attrs.evolve(people["olga"], public=pen_of("olga").public)
    house.gate_memory = RamMemory()
    gate = house.new_gate(policy=load_policy(STEP_UP))
    gate._people.update(people)
    case = house.case()
    assert rule_of(gate.release(case)) == "policy"
    signed = house.approvals(request_digest(case.request), ("olga", "heidi"))
    assert rule_of(gate.release(attrs.evolve(case, taken_on=signed[1]))) == "policy"
    forged = attrs.evolve(signed[0], signature=bytes(32))
    assert rule_of(gate.release(attrs.evolve(case, taken_on=forged))) == "approval-signature"
    assert isinstance(gate.release(attrs.evolve(case, taken_on=signed[0])), Release)


def test_without_facts_from_the_desk_rules_that_need_them_deny() -> None:
    house = House()
    text = POLICY + '[rules.fresh]\nkind = "reconciliation"\nminutes = 10\n'
    house.facts = nothing_told  # type: ignore[method-assign]
    gate = house.new_gate(policy=load_policy(text), memory=RamMemory())
    assert rule_of(gate.release(house.case())) == "policy"


class Crashing:
    """A memory, or a token, that ends the process before or after one of its writes."""

    def __init__(self, inner: Any, name: str, at: int, *, after: bool) -> None:
        self.inner, self.name, self.left, self.after = inner, name, at, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return self._crash(found) if name == self.name else found

    def _crash(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def crashing(*args: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise KeyboardInterrupt
            answer = call(*args)
            if self.left == 0:
                raise KeyboardInterrupt
            return answer

        return crashing


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "name", "at"), [("memory", "save", 1), ("memory", "save", 2), ("token", "advance", 1)]
)
def test_after_a_crash_anywhere_a_release_comes_once_and_other_drafts_stay_out(
    part: str, name: str, at: int, *, after: bool
) -> None:
    house = House()
    case = house.case()
    parts: Mapping[str, Any] = {
        part: Crashing(getattr(house, {"memory": "gate_memory"}.get(part, part)), name, at, after=after)
    }
    with pytest.raises(KeyboardInterrupt):
        house.new_gate(**parts).release(case)
    gate = house.new_gate(token=house.new_token())
    release = released(gate.release(case))
    assert gate.release(case) == release
    remembered = house.new_gate(token=house.new_token())
    assert remembered.release(case) == release
    elsewhere = attrs.evolve(case, unsigned=house.draft(case.request, use=(1,)))
    assert rule_of(remembered.release(elsewhere)) == "released-before"
    next_one = house.request(2)
    following = house.case(next_one, unsigned=house.draft(next_one, use=(2,)))
    assert released(remembered.release(following)).counter > release.counter
    assert isinstance(remembered.cosign(release, case.unsigned, house.partials(case)), Partial)


def test_a_draft_that_a_crash_kept_from_leaving_still_excludes_others(house: House) -> None:
    case = house.case()
    with pytest.raises(KeyboardInterrupt):
        house.new_gate(memory=Crashing(house.gate_memory, "save", 1, after=True)).release(case)
    elsewhere = attrs.evolve(case, unsigned=house.draft(case.request, use=(1,)))
    assert rule_of(house.new_gate(token=house.new_token()).release(elsewhere)) == "released-before"


def test_a_kill_switch_thrown_during_a_crash_is_heeded_after_it(house: House) -> None:
    case = house.case()
    with pytest.raises(KeyboardInterrupt):
        house.new_gate(memory=Crashing(house.gate_memory, "save", 1, after=True)).release(case)
    house.switched_off = frozenset({"all"})
    assert rule_of(house.new_gate(token=house.new_token()).release(case)) == "policy"


def test_a_counter_that_another_gate_counts_too_is_noticed(house: House) -> None:
    case = house.case()
    gate = house.new_gate()
    house.token.advance()
    assert rule_of(gate.release(case)) == "hsm-counter"


class Jumping(InsecureSoftHsm):
    """A token that somebody else counts with in the same moment."""

    def advance(self) -> int:
        super().advance()
        return super().advance()


def test_a_counter_that_jumps_is_a_fault_and_nothing_leaves(house: House) -> None:
    token = Jumping(pen_of("hsm-key"), SCHEME, memory=house.hsm_memory)
    with pytest.raises(CustodyError, match="expected the HSM to count 1, was 2"):
        house.new_gate(token=token).release(house.case())


def test_nothing_is_cosigned_where_the_scripts_do_not_demand_it(house: House) -> None:
    case = house.case()
    release = released(house.gate.release(case))
    house.gate._cosigner = None
    with pytest.raises(CustodyError, match="demand no signature of the HSM"):
        house.gate.cosign(release, case.unsigned, house.partials(case))


def test_a_memory_in_a_file_keeps_everything_and_is_held_by_one_process_only(tmp_path: Path) -> None:
    house = House()
    case = house.case()
    path = tmp_path / "gate.sqlite"
    memory = SqliteMemory(path)
    first = house.new_gate(memory=memory).release(case)
    with pytest.raises(CustodyError, match="no other process has open"):
        SqliteMemory(path)
    memory.close()
    again = SqliteMemory(path)
    assert house.new_gate(memory=again, token=house.new_token()).release(case) == first
    again.close()


def test_a_memory_that_is_damaged_edited_or_full_is_a_fault(tmp_path: Path, house: House) -> None:
    (tmp_path / "garbage").write_bytes(b"no database" * 100)
    with pytest.raises(CustodyError, match="expected an SQLite file"):
        SqliteMemory(tmp_path / "garbage")
    with pytest.raises(CustodyError, match="cannot be opened"):
        SqliteMemory(tmp_path / "nowhere" / "gate.sqlite")
    for key, text in ((f"release/{1:020}", '{"release": 1}'), ("policy", "nonsense")):
        edited = RamMemory()
        edited.save(key, text)
        with pytest.raises(CustodyError, match="the memory is damaged"):
            house.new_gate(memory=edited)
    memory = SqliteMemory(tmp_path / "full.sqlite")
    memory._database.execute("PRAGMA query_only = ON")
    with pytest.raises(CustodyError, match="expected an SQLite file with room"):
        memory.save("policy", "00")
    memory.close()


def test_memories_load_in_order_of_keys(tmp_path: Path) -> None:
    file = SqliteMemory(tmp_path / "some.sqlite")
    memories: list[GateMemory] = [RamMemory(), file]
    for memory in memories:
        for key in ("b", "c", "a", "b"):
            memory.save(key, key.upper())
        assert list(memory.load().items()) == [("a", "A"), ("b", "B"), ("c", "C")]
    file.close()


def test_every_refusal_of_gate_and_signer_has_a_sentence() -> None:
    source = "".join(
        (Path(ReleaseGate.__init__.__code__.co_filename).parent / name).read_text("utf-8")
        for name in ("gate.py", "signer.py", "draft.py")
    )
    assert not [rule for rule in REFUSALS if f'"{rule}"' not in source]
    assert refuse("gate", "policy", "No.").reason == f"{REFUSALS['policy']} No."
    with pytest.raises(KeyError):
        refuse("gate", "whim")


def test_what_people_sign_is_apart_for_each_kind(house: House) -> None:
    case, change = house.case(), house.change(LOOSER)
    assert change_digest(change) == change_digest(attrs.evolve(change, approvals=()))
    assert change_digest(change) != change_digest(attrs.evolve(change, proposed_ns=change.proposed_ns + 1))
    assert request_digest(case.request) != request_digest(attrs.evolve(case.request, amount_units=1))
    release = released(house.gate.release(case))
    assert release_digest(release) == release_digest(attrs.evolve(release, signature=b""))
    assert release_digest(release) != release_digest(attrs.evolve(release, counter=2))


def disguised(case: Case, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Return a case whose draft is the same transaction in another form, and let wallets read either."""
    describe = PlainWallet.describe

    def lenient(wallet: PlainWallet, unsigned: UnsignedTransaction) -> Effects:
        return describe(wallet, attrs.evolve(unsigned, payload=unsigned.payload.rstrip()))

    monkeypatch.setattr(PlainWallet, "describe", lenient)
    return attrs.evolve(case, unsigned=attrs.evolve(case.unsigned, payload=case.unsigned.payload + b" "))


def test_the_same_transaction_in_another_form_is_neither_released_nor_signed_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each form could play down another amount, so that nobody sees the whole fee."""
    case = house.case()
    release = released(house.gate.release(case))
    signer = house.signer(release.nominated[0])
    assert isinstance(signer.sign(case, release), Partial)
    other = disguised(case, monkeypatch)
    assert rule_of(house.gate.release(other)) == "released-before"
    assert rule_of(signer.sign(other, release)) == "signed-before"
