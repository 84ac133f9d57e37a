"""A signer signs what was asked for, what the gate let go and what they were drawn for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from perpkit.custody.digest import release_digest, request_digest, transcript_digest
from perpkit.custody.gate.gate_memory import RamMemory, SqliteMemory
from perpkit.custody.gate.signer import CarefulSigner
from perpkit.custody.pretend.plain_wallet import PlainWallet
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.signing import Case, Release
from perpkit.ports.custody.wallet import Effects, Owner, Partial, Purpose, UnsignedTransaction

from .house import HOLDERS, SCHEME, House, cold_wallet, key_of, pen_of, released, rule_of


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def case(house: House) -> Case:
    return house.case()


@pytest.fixture
def release(house: House, case: Case) -> Release:
    return released(house.gate.release(case))


def drawn(house: House, release: Release, **changes: object) -> CarefulSigner:
    return house.signer(release.nominated[0], **changes)


def by_gate(release: Release, **changes: object) -> Release:
    """Return a release as a gate that was taken over would sign it."""
    changed = attrs.evolve(release, **changes)
    return attrs.evolve(changed, signature=pen_of("hsm-key").sign(release_digest(changed)))


def test_a_signer_who_was_drawn_reviews_and_signs(house: House, case: Case, release: Release) -> None:
    signer = drawn(house, release)
    effects = signer.review(case, release)
    assert isinstance(effects, Effects)
    assert effects.payments == (Output(case.request.script, case.request.amount_units - effects.fee_units),)
    partial = signer.sign(case, release)
    assert isinstance(partial, Partial)
    assert partial.key == signer.key == key_of(release.nominated[0])
    assert house.wallet.is_partial(case.unsigned, partial)
    assert signer.sign(case, release) == partial


def test_an_unnominated_signer_refuses(house: House, case: Case, release: Release) -> None:
    stranger = next(name for name in HOLDERS if name not in release.nominated)
    answer = house.signer(stranger).sign(case, release)
    assert rule_of(answer) == "nomination-signer"
    assert getattr(answer, "by", "") == key_of(stranger)


def test_a_release_that_the_pinned_gate_has_not_signed_is_refused(house: House, case: Case, release: Release) -> None:
    signer = drawn(house, release)
    thief = attrs.evolve(release, signature=pen_of("thief").sign(release_digest(release)))
    assert rule_of(signer.sign(case, thief)) == "release-forged"
    assert rule_of(signer.sign(case, attrs.evolve(release, counter=9))) == "release-forged"


def test_a_release_is_not_replayed_for_another_request(house: House, case: Case, release: Release) -> None:
    signer = drawn(house, release)
    other = attrs.evolve(case, request=house.request(amount_units=200_000))
    assert rule_of(signer.sign(other, release)) == "release-request"
    renamed = by_gate(release, withdrawal_id=2)
    assert rule_of(signer.sign(case, renamed)) == "release-request"


def test_a_release_is_not_replayed_for_another_draft(house: House, case: Case, release: Release) -> None:
    other = attrs.evolve(case, unsigned=house.draft(case.request, fee_rate=2_000))
    assert rule_of(drawn(house, release).sign(other, release)) == "release-draft"
    relabelled = attrs.evolve(case, unsigned=attrs.evolve(other.unsigned, txid=release.txid))
    assert rule_of(drawn(house, release).sign(relabelled, release)) == "draft-unreadable"


def test_a_release_with_an_older_counter_is_not_replayed(house: House, case: Case, release: Release) -> None:
    signer = drawn(house, release)
    dearer = attrs.evolve(case, unsigned=house.draft(case.request, fee_rate=2_000))
    newer = released(house.gate.release(dearer))
    assert isinstance(signer.sign(dearer, newer), Partial)
    assert rule_of(signer.sign(case, release)) == "release-older"


def test_a_draft_of_another_wallet_is_refused(house: House, case: Case, release: Release) -> None:
    other = attrs.evolve(case, unsigned=attrs.evolve(case.unsigned, wallet="hot"))
    assert rule_of(drawn(house, release).sign(other, release)) == "wallet"


def test_the_draw_is_done_again_even_when_the_gate_says_that_it_is_right(
    house: House, case: Case, release: Release
) -> None:
    signer = drawn(house, release)
    other = attrs.evolve(case, nomination=house.transcript(case.request, sequence=2))
    assert rule_of(signer.sign(other, release)) == "release-nomination"
    chosen = attrs.evolve(case.nomination, nominated=tuple(reversed(case.nomination.nominated)))
    taken_over = by_gate(release, nomination=transcript_digest(chosen), nominated=chosen.nominated)
    assert rule_of(signer.sign(attrs.evolve(case, nomination=chosen), taken_over)) == "nomination-draw"
    mixed = by_gate(release, nominated=tuple(reversed(release.nominated)))
    assert rule_of(signer.sign(case, mixed)) == "release-nomination"
    foreign = house.transcript(house.request(2))
    wrong = by_gate(release, nomination=transcript_digest(foreign), nominated=foreign.nominated)
    assert rule_of(signer.sign(attrs.evolve(case, nomination=foreign), wrong)) == "nomination-request"


def taken_over(house: House, case: Case, unsigned: UnsignedTransaction) -> tuple[Case, Release]:
    """Return a case with a draft that a gate under a thief's control lets go."""
    changed = attrs.evolve(case, unsigned=unsigned)
    honest = released(house.gate.release(case))
    return changed, by_gate(honest, txid=unsigned.txid, counter=honest.counter + 1)


def test_a_swapped_change_output_is_refused_even_when_gate_and_desk_are_the_thiefs(house: House, case: Case) -> None:
    evil = PlainWallet(name="cold", threshold=1, keys={"thief-key": bytes(32)}, scheme=SCHEME)
    house.wallet.script = lambda *_: evil.script(Owner(Purpose.CHANGE, 0), 0)  # type: ignore[method-assign]
    theft, release = taken_over(house, case, house.draft(case.request))
    assert rule_of(drawn(house, release).sign(theft, release)) == "draft-payment"


def test_a_payment_to_somebody_else_is_refused_even_when_gate_and_desk_are_the_thiefs(house: House, case: Case) -> None:
    theft, release = taken_over(house, case, house.draft(case.request, script=b"the thief's"))
    assert rule_of(drawn(house, release).sign(theft, release)) == "draft-payment"


def test_a_fee_that_bleeds_the_client_is_refused_whatever_the_policy_says(house: House, case: Case) -> None:
    bled, release = taken_over(house, case, house.draft(case.request, fee_rate=20_000))
    answer = drawn(house, release).sign(bled, release)
    assert rule_of(answer) == "draft-fee"
    assert "at most 3000" in str(answer)


def test_a_fee_at_its_limit_is_signed(house: House, case: Case, release: Release) -> None:
    fee_units = house.wallet.describe(case.unsigned).fee_units
    for limit_units, good in ((fee_units, True), (fee_units - 1, False)):
        signer = drawn(house, release)
        signer._fee_max_units = limit_units
        assert isinstance(signer.review(case, release), Effects) is good


def test_another_draft_is_signed_only_when_both_cannot_be_mined_and_after_a_restart_too(
    house: House, case: Case, release: Release
) -> None:
    memory = RamMemory()
    assert isinstance(drawn(house, release, memory=memory).sign(case, release), Partial)
    for signer in (drawn(house, release, memory=memory), drawn(house, release, memory=memory)):
        elsewhere, anew = taken_over(house, case, house.draft(case.request, use=(1,)))
        assert rule_of(signer.sign(elsewhere, anew)) == "signed-before"
        dearer, anew = taken_over(house, case, house.draft(case.request, use=(0, 1), fee_rate=2_000))
        assert isinstance(signer.review(dearer, anew), Effects)
    assert isinstance(signer.sign(dearer, anew), Partial)
    third, last = taken_over(house, case, house.draft(case.request, use=(1,), fee_rate=3_000))
    assert rule_of(signer.sign(third, by_gate(last, counter=9))) == "signed-before"


def test_another_request_under_the_number_of_one_that_was_signed_is_refused(
    house: House, case: Case, release: Release
) -> None:
    signer = house.signer(release.nominated[0])
    assert isinstance(signer.sign(case, release), Partial)
    request = house.request(amount_units=90_000)
    sequence = 1
    other = house.case(request)
    while release.nominated[0] not in other.nomination.nominated:
        sequence += 1
        other = house.case(request, nomination=house.transcript(request, sequence=sequence))
    forged = by_gate(
        release,
        request=request_digest(request),
        txid=other.unsigned.txid,
        nomination=transcript_digest(other.nomination),
        nominated=other.nomination.nominated,
        counter=2,
    )
    assert rule_of(signer.sign(other, forged)) == "signed-before"


def test_looking_at_a_draft_is_not_remembered_as_signing_it(house: House, case: Case, release: Release) -> None:
    signer = drawn(house, release)
    assert isinstance(signer.review(case, release), Effects)
    elsewhere, anew = taken_over(house, case, house.draft(case.request, use=(1,)))
    assert isinstance(signer.sign(elsewhere, anew), Partial)


class Full:
    """A memory that has no room left."""

    load: Callable[[], dict[str, str]] = staticmethod(dict)

    def save(self, key: str, text: str, /) -> None:
        raise CustodyError(f"no room for {key}")


def test_nothing_is_signed_that_cannot_be_remembered(house: House, case: Case, release: Release) -> None:
    name = release.nominated[0]
    signed: list[UnsignedTransaction] = []
    signer = CarefulSigner(
        key=key_of(name),
        person=name,
        wallet=cold_wallet(),
        gate_public=pen_of("hsm-key").public,
        scheme=SCHEME,
        nominator=house.nominator,
        fee_max_units=3_000,
        sign=lambda unsigned: signed.append(unsigned) or b"",  # type: ignore[func-returns-value]
        memory=Full(),
    )
    with pytest.raises(CustodyError, match="no room"):
        signer.sign(case, release)
    assert not signed


def test_a_memory_in_a_file_keeps_what_was_signed(house: House, case: Case, release: Release, tmp_path: Path) -> None:
    memory = SqliteMemory(tmp_path / "signer.sqlite")
    assert isinstance(drawn(house, release, memory=memory).sign(case, release), Partial)
    memory.close()
    memory = SqliteMemory(tmp_path / "signer.sqlite")
    elsewhere, anew = taken_over(house, case, house.draft(case.request, use=(1,)))
    assert rule_of(drawn(house, release, memory=memory).sign(elsewhere, anew)) == "signed-before"
    memory.close()
