"""A signer who believes nobody: neither the desk, nor the gate alone, nor what was signed before."""

from collections.abc import Callable, Mapping

import attrs

from perpkit.custody.digest import draft_digest, release_digest, request_digest, transcript_digest
from perpkit.custody.gate.draft import effects_of, excludes_all, spent_by
from perpkit.custody.gate.gate_memory import GateMemory, RamMemory, read, written
from perpkit.custody.gate.refusals import refuse
from perpkit.ports.custody.chain import Outpoint
from perpkit.ports.custody.nomination import Nominator
from perpkit.ports.custody.people import KeyName, PersonName, SignatureScheme
from perpkit.ports.custody.signing import Case, Refusal, Release
from perpkit.ports.custody.wallet import Effects, Partial, UnsignedTransaction, WalletBackend
from perpkit.units import Units


@attrs.frozen(kw_only=True)
class _Signed:
    withdrawal_id: int
    request: bytes
    txid: bytes
    draft: bytes
    spends: tuple[Outpoint, ...]
    counter: int


class CarefulSigner:
    """Signs a draft only if it is what was asked for, what the gate let go, and what this person was drawn for.

    The wallet is this signer's own, made from the public descriptors. What was signed is remembered before a signature
    leaves: a second draft for a withdrawal is signed only when it shares a coin with each one before.

    Args:
        gate_public: the public key of the gate's HSM, as it was enrolled.
        fee_max_units: what a network fee may be at most, whatever the policy says.
        sign: makes the bytes of this key's signature on all of a draft; asked last.
        own: this signer's own copies of the house's wallets, by name; without the hot one no move to it is signed.
        memory: durable, and this signer's alone; without one, what was signed is forgotten with the process.

    Raises:
        CustodyError: the memory fails; nothing is signed then.
    """

    def __init__(
        self,
        *,
        key: KeyName,
        person: PersonName,
        wallet: WalletBackend,
        gate_public: bytes,
        scheme: SignatureScheme,
        nominator: Nominator,
        fee_max_units: Units,
        sign: Callable[[UnsignedTransaction], bytes],
        own: Mapping[str, WalletBackend] | None = None,
        memory: GateMemory | None = None,
    ) -> None:
        self._key = key
        self._person = person
        self._wallet = wallet
        self._gate_public = gate_public
        self._scheme = scheme
        self._nominator = nominator
        self._fee_max_units = fee_max_units
        self._sign = sign
        self._own = dict(own or {})
        self._memory = memory or RamMemory()
        self._signed = [read(text, _Signed) for text in self._memory.load().values()]

    @property
    def key(self) -> KeyName:
        """The key's name."""
        return self._key

    def review(self, case: Case, release: Release, /) -> Effects | Refusal:
        """Check the release, the draw and the draft; remember nothing."""
        refusal = self._released(case, release) or self._drawn(case, release)
        if refusal:
            return refusal
        effects = effects_of(case.request, case.unsigned, self._wallet, own=self._own, by=self._key)
        if isinstance(effects, Refusal):
            return effects
        if effects.fee_units > self._fee_max_units:
            return self._refuse("draft-fee", f"Expected at most {self._fee_max_units}, was {effects.fee_units}.")
        return self._second(case, release, effects) or effects

    def sign(self, case: Case, release: Release, /) -> Partial | Refusal:
        """Review, remember and sign; the same draft again as well."""
        effects = self.review(case, release)
        if isinstance(effects, Refusal):
            return effects
        signed = _Signed(
            withdrawal_id=case.request.withdrawal_id,
            request=release.request,
            txid=case.unsigned.txid,
            draft=draft_digest(case.unsigned),
            spends=spent_by(effects),
            counter=release.counter,
        )
        if signed not in self._signed:
            self._memory.save(f"{signed.withdrawal_id}/{signed.counter}/{signed.draft.hex()}", written(signed))
            self._signed.append(signed)
        return Partial(key=self._key, txid=case.unsigned.txid, payload=self._sign(case.unsigned))

    def _released(self, case: Case, release: Release) -> Refusal | None:
        if not self._scheme.verify(self._gate_public, release_digest(release), release.signature):
            return self._refuse("release-forged")
        asked = case.request.withdrawal_id, request_digest(case.request)
        if (release.withdrawal_id, release.request) != asked:
            return self._refuse("release-request")
        if case.unsigned.wallet != self._wallet.name:
            return self._refuse("wallet", f"It is of {case.unsigned.wallet}.")
        if release.txid != case.unsigned.txid:
            return self._refuse("release-draft")
        return None

    def _drawn(self, case: Case, release: Release) -> Refusal | None:
        if (release.nomination, release.nominated) != (transcript_digest(case.nomination), case.nomination.nominated):
            return self._refuse("release-nomination")
        if case.nomination.opening.request != release.request:
            return self._refuse("nomination-request")
        if not self._nominator.verify(case.nomination):
            return self._refuse("nomination-draw")
        if self._person not in release.nominated:
            return self._refuse("nomination-signer", f"It is {self._person}.")
        return None

    def _second(self, case: Case, release: Release, effects: Effects) -> Refusal | None:
        earlier = [each for each in self._signed if each.withdrawal_id == case.request.withdrawal_id]
        if any(each.counter > release.counter for each in earlier):
            return self._refuse("release-older")
        same = all(each.request == release.request for each in earlier)
        disguised = any(
            each.txid == case.unsigned.txid and each.draft != draft_digest(case.unsigned) for each in earlier
        )
        if not same or disguised or not excludes_all(spent_by(effects), [each.spends for each in earlier]):
            return self._refuse("signed-before")
        return None

    def _refuse(self, rule: str, detail: str = "") -> Refusal:
        return refuse(self._key, rule, detail)
