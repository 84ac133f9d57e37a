"""What thieves try while a withdrawal waits for its signatures, and what stops each of them."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from perpkit.custody.desk.withdrawal import Draft, Withdrawal
from perpkit.custody.digest import release_digest, request_digest
from perpkit.custody.gate.keys import check_keys
from perpkit.errors import ChainError, ConfigError
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.people import KeyName, PersonName
from perpkit.ports.custody.policy import Approval
from perpkit.ports.custody.signing import Case, Refusal, Release
from perpkit.ports.custody.wallet import Partial, UnsignedTransaction
from perpkit.simulate.custody.company import Company, policy_text
from perpkit.simulate.custody.world import HSM_KEY, THRESHOLD
from perpkit.units import Units


@attrs.frozen(kw_only=True)
class Theft:
    """Something that was tried. `stops` says who stopped it and why; a theft that nothing stopped has none."""

    name: str
    attempt: str
    stops: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether it was stopped."""
        return bool(self.stops)


def thefts(company: Company, withdrawal: Withdrawal) -> Iterator[Theft]:
    """Try everything on a withdrawal that has a release and lacks only signatures.

    Nothing of it changes what the honest would do next.
    """
    draft = withdrawal.draft
    assert draft is not None
    assert draft.release is not None
    thief = _Thief(company, withdrawal.case(draft), draft, draft.release)
    yield thief.under_quorum()
    yield thief.not_nominated()
    yield thief.replayed_release()
    yield thief.swapped_change()
    yield thief.fee_bleed()
    yield thief.edited_policy()
    yield thief.two_hats()
    yield thief.replaced_hsm()
    yield thief.everything_online()


@attrs.frozen
class _Thief:
    company: Company
    case: Case
    draft: Draft
    release: Release

    def under_quorum(self) -> Theft:
        few = self._partials(self.case.nomination.nominated[: THRESHOLD - 1])
        return Theft(
            name="under quorum",
            attempt="two of the three nominated sign; the thief has the HSM's machine as well",
            stops=(
                *_refusal(self.company.gate.cosign(self.release, self.draft.unsigned, few)),
                *self._forced(self.draft.unsigned, {**few, **self._partials([HSM_KEY])}),
            ),
        )

    def not_nominated(self) -> Theft:
        drawn = self.case.nomination.nominated
        other = next(name for name in self.company.signers if name not in drawn)
        return Theft(
            name="signer who was not nominated",
            attempt=f"{other} signs in place of {drawn[-1]}",
            stops=(
                *_refusal(self.company.signers[other].sign(self.case, self.release)),
                *_refusal(
                    self.company.gate.cosign(self.release, self.draft.unsigned, self._partials([*drawn[:-1], other]))
                ),
            ),
        )

    def replayed_release(self) -> Theft:
        old = self.company.desk.withdrawals[1].draft
        assert old is not None
        assert old.release is not None
        signer = self.case.nomination.nominated[0]
        return Theft(
            name="replayed release",
            attempt="the release of the first withdrawal is shown again, for the second",
            stops=(
                *_refusal(self.company.signers[signer].sign(self.case, old.release)),
                *_refusal(self.company.gate.cosign(old.release, self.draft.unsigned, {})),
            ),
        )

    def swapped_change(self) -> Theft:
        world = self.company.world
        swapped = world.with_change_to(self.draft.unsigned, world.payee("thief"))
        return Theft(
            name="swapped change output",
            attempt="the change goes to the thief; then with a release that the stolen HSM has signed",
            stops=self._tampered(swapped),
        )

    def fee_bleed(self) -> Theft:
        bleeding = self._drafted_again(fee_rate_units=1_000_000)
        return Theft(
            name="fee bleed",
            attempt="the draft pays a miner, who is the thief's friend; then with a stolen HSM's release",
            stops=self._tampered(bleeding),
        )

    def edited_policy(self) -> Theft:
        edited = policy_text().replace("treasurer = 2", "treasurer = 1")
        gate = self.company.new_gate(self.company.world.token, edited)
        return Theft(
            name="edited policy",
            attempt="the policy file asks for one treasurer in place of two, and the gate is started anew",
            stops=_refusal(gate.release(self.case)),
        )

    def two_hats(self) -> Theft:
        insider = self.case.nomination.nominated[0]
        wanted = request_digest(self.case.request)
        approved = Approval(
            person=insider,
            digest=wanted,
            signature=self.company.world.pen(insider).sign(wanted),
            at_ns=self.company.clock.now_ns,
        )
        case = attrs.evolve(
            self.case, unsigned=self._drafted_again(fee_rate_units=3_000), approvals=(self.case.approvals[0], approved)
        )
        return Theft(
            name="one insider with two hats",
            attempt=f"{insider}, who signs, gives the second approval too, for a draft with a higher fee",
            stops=_refusal(self.company.gate.release(case)),
        )

    def replaced_hsm(self) -> Theft:
        gate = self.company.new_gate(self.company.world.imposter(), policy_text())
        return Theft(
            name="HSM key replaced",
            attempt="another device is plugged in, with a key that was made elsewhere",
            stops=_refusal(gate.release(self.case)),
        )

    def everything_online(self) -> Theft:
        online = [key.key for key in self.company.keys if key.online]
        careless = [attrs.evolve(key, online=True) for key in self.company.keys]
        try:
            check_keys({"cold": self.company.wallet}, careless, self.company.people)
            stops: tuple[str, ...] = ()
        except ConfigError as error:
            stops = (f"setup refuses more keys online: {error}",)
        return Theft(
            name="everything online taken at once",
            attempt=f"desk, gate, HSM and the keys of {' and '.join(online)} sign what the thief wants",
            stops=(*self._forced(self.draft.unsigned, self._partials([*online, HSM_KEY])), *stops),
        )

    def _tampered(self, unsigned: UnsignedTransaction) -> tuple[str, ...]:
        """Show another draft to the gate, then, with a forged release, to a nominated signer."""
        case = attrs.evolve(self.case, unsigned=unsigned)
        forged = attrs.evolve(self.release, txid=unsigned.txid)
        forged = attrs.evolve(forged, signature=self.company.world.token.sign(release_digest(forged)))
        signer = self.company.signers[self.case.nomination.nominated[0]]
        return (*_refusal(self.company.gate.release(case)), *_refusal(signer.sign(case, forged)))

    def _drafted_again(self, *, fee_rate_units: Units) -> UnsignedTransaction:
        """Draft the same payment out of the same coins, for another fee."""
        wallet, request, chain = self.company.wallet, self.case.request, self.company.world.chain
        spends = [outpoint for outpoint, _ in wallet.describe(self.draft.unsigned).spends]
        coins = chain.coins(wallet.scripts(), chain.tip())
        return wallet.build(
            Output(request.script, request.amount_units),
            [coin for coin in coins if coin.outpoint in spends],
            change=0,
            fee_rate=fee_rate_units,
            spend=spends,
        )

    def _partials(self, keys: Sequence[KeyName | PersonName]) -> Mapping[KeyName, Partial]:
        return {key: self.company.world.partial(key, self.draft.unsigned) for key in keys}

    def _forced(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial]) -> tuple[str, ...]:
        """Send a transaction as it is, past desk and gate."""
        try:
            self.company.world.chain.broadcast(self.company.world.assembled(unsigned, partials))
        except ChainError as error:
            return (f"the chain: {error}",)
        return ()


def _refusal(answer: object) -> tuple[str, ...]:
    return (f"{answer.by} by {answer.rule}: {answer.reason}",) if isinstance(answer, Refusal) else ()
