"""The gate before the HSM: it lets nothing be signed that it has not worked out again itself."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from perpkit.custody.digest import change_digest, draft_digest, release_digest, request_digest, transcript_digest
from perpkit.custody.gate.draft import effects_of, excludes_all, spent_by
from perpkit.custody.gate.gate_memory import GateMemory, read, written
from perpkit.custody.gate.refusals import refuse
from perpkit.custody.policy import load_policy
from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.chain import Outpoint
from perpkit.ports.custody.hsm import Attestation, HsmToken
from perpkit.ports.custody.nomination import BeaconSource, Nominator, Transcript
from perpkit.ports.custody.people import KeyName, KeyPlace, Person, PersonName, SignatureScheme
from perpkit.ports.custody.policy import Approval, Facts, Past, PolicyChange, PolicyEngine, Request, Stage, Verdict
from perpkit.ports.custody.signing import Case, Refusal, Release
from perpkit.ports.custody.wallet import Effects, Partial, UnsignedTransaction, WalletBackend
from perpkit.units import Nanos

_POLICY = "policy"


@attrs.frozen(kw_only=True)
class _Released:
    """What the gate remembers of a release. Without a signature, it was remembered and has not left yet."""

    request: Request
    draft: bytes
    spends: tuple[Outpoint, ...]
    at_ns: Nanos
    release: Release


def nothing_told(_case: Case | None) -> Facts:
    """Return facts of which nothing is known, so that every rule that needs one denies."""
    return Facts(stage=Stage.RELEASE, now_ns=0, people={}, keys=())


class ReleaseGate:
    """Stands before the HSM's key and believes the desk nothing that it can know itself.

    Its own are people, keys, wallets, clock, beacon, policy and memory. The policy is pinned by its digest the first
    time, and only `adopt` moves the pin. Of `facts` it takes what only the exchange and the desk can know: what is
    switched off, whether an incident is open, the address book's entry, changes about the account, the wallet's total,
    and the last reconciliation. All else it works out itself; earlier requests are those that it has let go, counted
    from then, and whether somebody has taken the request on it sees by their signature. Without `facts`, rules that
    need one of these deny.

    Each release is remembered before the HSM counts it and counted before it is signed. So count and memory are in step
    but for one number after a crash; when they are not, one of them was put back, and nothing is released any more.

    Args:
        token: the HSM; its counter is this gate's alone.
        cosigner: adds the HSM's signature to a draft, where the wallet's scripts demand one.
        memory: durable, and no other process's.
        facts: asked for each case, and with None for a change of policy.
        load: makes a policy of its text, so that what is adopted is what was approved.

    Raises:
        CustodyError: the HSM or the memory fails. Ask again: nothing has left that is not remembered.

    Cost:
        A release takes time in proportion to all that were ever made: the policy is shown each.
    """

    def __init__(
        self,
        *,
        token: HsmToken,
        wallets: Mapping[str, WalletBackend],
        policy: PolicyEngine,
        people: Mapping[PersonName, Person],
        keys: Sequence[KeyPlace],
        nominator: Nominator,
        beacon: BeaconSource,
        scheme: SignatureScheme,
        cosigner: Callable[[UnsignedTransaction], Partial] | None,
        memory: GateMemory,
        clock: Callable[[], Nanos],
        facts: Callable[[Case | None], Facts] = nothing_told,
        load: Callable[[str], PolicyEngine] = load_policy,
    ) -> None:
        self._token = token
        self._wallets = dict(wallets)
        self._policy = policy
        self._people = dict(people)
        self._keys = tuple(keys)
        self._nominator = nominator
        self._beacon = beacon
        self._scheme = scheme
        self._cosigner = cosigner
        self._memory = memory
        self._clock = clock
        self._facts = facts
        self._load = load
        remembered = dict(memory.load())
        if _POLICY not in remembered:
            memory.save(_POLICY, written(policy.digest))
        self._pin = read(remembered.pop(_POLICY, written(policy.digest)), bytes)
        loaded = [read(text, _Released) for text in remembered.values()]
        # By counter, in order: so the memory's keys are, and what comes later is added at the end.
        self._released = {each.release.counter: each for each in loaded}

    def attest(self) -> Attestation:
        """Ask the device, over a number that nobody has seen before."""
        return self._token.attest(secrets.token_bytes(32))

    def release(self, case: Case, /) -> Release | Refusal:
        """Judge a case from the start, unless it is one that was let go already."""
        attestation = self.attest()
        if refusal := self._device(attestation) or self._pinned():
            return refusal
        asked, drawn = request_digest(case.request), transcript_digest(case.nomination)
        for made, draft in ((known.release, known.draft) for known in self._signed(case.request.withdrawal_id)):
            if (draft, made.request, made.nomination) == (draft_digest(case.unsigned), asked, drawn):
                return made
        source, wallet = case.request.source, self._wallets.get(case.unsigned.wallet)
        if wallet is None or (source in self._wallets and source != case.unsigned.wallet):
            return refuse("gate", "wallet", f"It is of {case.unsigned.wallet}, and money is taken from {source}.")
        refusal = (
            self._approved(case.approvals, asked)
            or self._approved(_taken_on(case), asked)
            or self._segregated(case)
            or self._drawn(case, asked, wallet)
        )
        if refusal:
            return refusal
        effects = effects_of(case.request, case.unsigned, wallet, own=self._wallets, by="gate")
        if isinstance(effects, Refusal):
            return effects
        refusal = self._allowed(case, effects, attestation) or self._only(case, asked, effects)
        return refusal or self._let(case, effects)

    def cosign(
        self, release: Release, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /
    ) -> Partial | Refusal:
        """Add the HSM's signature to the draft of the last release for a withdrawal.

        Raises:
            CustodyError: also when the wallet's scripts demand no signature of an HSM.
        """
        wallet = self._wallets.get(unsigned.wallet)
        if refusal := self._device(self.attest()) or self._pinned():
            return refusal
        if not self._scheme.verify(self._token.public, release_digest(release), release.signature):
            return refuse("gate", "release-forged")
        known = self._signed(release.withdrawal_id)
        if not known or known[-1].release != release:
            return refuse("gate", "release-older")
        if wallet is None or known[-1].draft != draft_digest(unsigned):
            return refuse("gate", "release-draft")
        for key, partial in partials.items():
            if partial.key != key or key not in wallet.keys or not wallet.is_partial(unsigned, partial):
                return refuse("gate", "partial-bad", f"It names {key}.")
            if self._holder(wallet, key) not in release.nominated:
                return refuse("gate", "nomination-signer", f"It is the holder of {key}.")
        signers = {self._holder(wallet, key) for key in partials}
        if len(signers) < wallet.threshold:
            return refuse("gate", "under-quorum", f"{len(signers)} of {wallet.threshold} have.")
        if self._cosigner is None or wallet.hsm_key is None:
            raise CustodyError(f"the scripts of {wallet.name} demand no signature of the HSM: do not ask for one")
        return self._cosigner(unsigned)

    def adopt(self, change: PolicyChange, policy: PolicyEngine, /) -> Refusal | None:
        """Pin another policy, if the pinned one allows it, by people who signed for it; None when it is pinned."""
        try:
            approved = self._load(change.text).digest
        except ConfigError as error:
            return refuse("gate", "change-text", str(error))
        if approved != policy.digest:
            return refuse("gate", "change-text")
        if policy.digest != self._pin:
            if refusal := self._pinned():
                return refusal
            if change.previous != self._pin:
                return refuse("gate", "change-previous")
            if refusal := self._approved(change.approvals, change_digest(change)):
                return refusal
            decision = self._policy.change(change, self._own_facts(None))
            if decision.verdict is not Verdict.ALLOW:
                return refuse("gate", "change-policy", "; ".join(decision.reasons))
            self._memory.save(_POLICY, written(policy.digest))
            self._pin = policy.digest
        self._policy = policy
        return None

    def _device(self, attestation: Attestation) -> Refusal | None:
        if not attestation.healthy:
            return refuse("gate", "hsm-unhealthy", "; ".join(attestation.problems))
        last = self._last
        if not max(0, last - 1) <= self._token.counter <= last:
            return refuse("gate", "hsm-counter", f"{self._token.counter} were counted and {last} are remembered.")
        return None

    def _pinned(self) -> Refusal | None:
        if self._policy.digest == self._pin:
            return None
        return refuse("gate", "policy-pinned", f"{self._pin.hex()} is pinned.")

    def _approved(self, approvals: Collection[Approval], subject: bytes) -> Refusal | None:
        """Refuse approvals that are not all by people who are known, each once, of this very subject."""
        for approval in approvals:
            if approval.person not in self._people:
                return refuse("gate", "approval-person", f"It is {approval.person}.")
            if approval.digest != subject:
                return refuse("gate", "approval-subject", f"It is that of {approval.person}.")
            if not self._scheme.verify(self._people[approval.person].public, subject, approval.signature):
                return refuse("gate", "approval-signature", f"It is that of {approval.person}.")
        if len({approval.person for approval in approvals}) < len(approvals):
            return refuse("gate", "approval-twice")
        return None

    def _segregated(self, case: Case) -> Refusal | None:
        agreed = [approval.person for approval in (*case.approvals, *_taken_on(case))]
        parts = [case.request.initiator, *agreed, *case.nomination.nominated]
        twice = sorted({name for name in parts if name and parts.count(name) > 1})
        return refuse("gate", "two-hats", f"It is {twice[0]}.") if twice else None

    def _drawn(self, case: Case, asked: bytes, wallet: WalletBackend) -> Refusal | None:
        transcript = case.nomination
        opening = transcript.opening
        if opening.request != asked:
            return refuse("gate", "nomination-request")
        if opening.seats != wallet.threshold:
            return refuse("gate", "nomination-seats", f"Expected {wallet.threshold}, was {opening.seats}.")
        for person in opening.eligible:
            if not self._committed(transcript, person):
                return refuse("gate", "nomination-signature", f"It is {person}.")
        if not self._nominator.verify(transcript):
            return refuse("gate", "nomination-draw")
        if self._beacon.value(opening.round) != transcript.beacon:
            return refuse("gate", "nomination-beacon", f"The round is {opening.round}.")
        if wrong := self._wrongly_drawn(case, transcript, wallet):
            return refuse("gate", "nomination-eligible", f"See {', '.join(wrong)}.")
        return None

    def _committed(self, transcript: Transcript, person: PersonName) -> bool:
        if person not in self._people or person not in transcript.commitments:
            return False
        signature = transcript.signatures.get(person, b"")
        return self._scheme.verify(self._people[person].public, transcript.commitments[person], signature)

    def _wrongly_drawn(self, case: Case, transcript: Transcript, wallet: WalletBackend) -> list[PersonName]:
        """Return who was in the draw and may not be, or was left out for no reason that the case shows."""
        holders = {place.person for place in self._keys if place.wallet == wallet.name and place.key in wallet.keys}
        eligible = set(transcript.opening.eligible)
        agreed = {approval.person for approval in (*case.approvals, *_taken_on(case))}
        excused = {case.request.initiator, *agreed, *transcript.refused}
        return sorted((holders - eligible - excused) | (eligible - (holders - {case.request.initiator})))

    def _allowed(self, case: Case, effects: Effects, attestation: Attestation) -> Refusal | None:
        facts = attrs.evolve(
            self._own_facts(case),
            past=self._past(case.request.withdrawal_id),
            attestation=attestation,
            approvals=case.approvals,
            nomination=case.nomination,
            effects=effects,
            # A draft in place of an earlier one of this withdrawal is for `_only` to judge.
            signed={
                each.release.request: each.release.txid
                for each in self._released.values()
                if each.release.withdrawal_id != case.request.withdrawal_id
            },
        )
        decision = self._policy.evaluate(case.request, facts)
        if decision.verdict is Verdict.STEP_UP and self._has_taken_on(case, decision.step_up):
            decision = self._policy.evaluate(case.request, attrs.evolve(facts, stepped_up=True))
        return None if decision.verdict is Verdict.ALLOW else refuse("gate", "policy", "; ".join(decision.reasons))

    def _has_taken_on(self, case: Case, roles: Collection[str]) -> bool:
        return any(self._people[approval.person].roles.issuperset(roles) for approval in _taken_on(case))

    def _own_facts(self, case: Case | None) -> Facts:
        told = self._facts(case)
        return Facts(
            stage=Stage.RELEASE,
            now_ns=self._clock(),
            people=self._people,
            keys=self._keys,
            switched_off=told.switched_off,
            incident=told.incident,
            destination=told.destination,
            changes=told.changes,
            wallet_units=told.wallet_units,
            reconciled_ns=told.reconciled_ns,
        )

    def _past(self, withdrawal_id: int) -> tuple[Past, ...]:
        """Return what was let go, each withdrawal once, from its first release on."""
        first: dict[int, _Released] = {}
        for each in self._released.values():
            first.setdefault(each.release.withdrawal_id, each)
        return tuple(
            Past(
                account=each.request.account,
                asset=each.request.asset,
                source=each.request.source,
                target=each.request.target,
                amount_units=each.request.amount_units,
                at_ns=each.at_ns,
            )
            for number, each in first.items()
            if number != withdrawal_id
        )

    def _only(self, case: Case, asked: bytes, effects: Effects) -> Refusal | None:
        known = self._of(case.request.withdrawal_id)
        # The same transaction in another form would show signers other amounts than the first did.
        disguised = any(
            each.release.txid == case.unsigned.txid and each.draft != draft_digest(case.unsigned) for each in known
        )
        same = all(each.release.request == asked for each in known)
        if same and not disguised and excludes_all(spent_by(effects), [each.spends for each in known]):
            return None
        return refuse("gate", "released-before", f"It was {known[-1].release.txid.hex()}.")

    def _let(self, case: Case, effects: Effects) -> Release:
        """Remember, count, sign, remember the signature. What a crash leaves unsigned has used up its number."""
        last = self._last
        self._count(last)
        release = Release(
            withdrawal_id=case.request.withdrawal_id,
            request=request_digest(case.request),
            txid=case.unsigned.txid,
            policy=self._pin,
            nomination=transcript_digest(case.nomination),
            nominated=case.nomination.nominated,
            counter=last + 1,
        )
        known = _Released(
            request=case.request,
            draft=draft_digest(case.unsigned),
            spends=spent_by(effects),
            at_ns=self._clock(),
            release=release,
        )
        self._remember(known)
        self._count(release.counter)
        signed = attrs.evolve(release, signature=self._token.sign(release_digest(release)))
        self._remember(attrs.evolve(known, release=signed))
        return signed

    def _count(self, upto: int) -> None:
        if self._token.counter < upto and self._token.advance() != upto:
            raise CustodyError(
                f"expected the HSM to count {upto}, was {self._token.counter}: is it another gate's too?"
            )

    def _remember(self, known: _Released) -> None:
        self._memory.save(f"release/{known.release.counter:020}", written(known))
        self._released[known.release.counter] = known

    @property
    def _last(self) -> int:
        return next(reversed(self._released), 0)

    def _of(self, withdrawal_id: int) -> list[_Released]:
        return [each for each in self._released.values() if each.release.withdrawal_id == withdrawal_id]

    def _signed(self, withdrawal_id: int) -> list[_Released]:
        return [each for each in self._of(withdrawal_id) if each.release.signature]

    def _holder(self, wallet: WalletBackend, key: KeyName) -> PersonName | None:
        return next((place.person for place in self._keys if (place.wallet, place.key) == (wallet.name, key)), None)


def _taken_on(case: Case) -> tuple[Approval, ...]:
    return () if case.taken_on is None else (case.taken_on,)
