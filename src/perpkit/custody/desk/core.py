"""What all parts of a desk share: the ports, the terms, the log, and the state that the log adds up to."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import attrs

from perpkit.custody.desk import codec, entries
from perpkit.custody.desk.entries import Step
from perpkit.custody.desk.log import AuditLog
from perpkit.custody.desk.scan import Follower, View
from perpkit.custody.desk.state import DeskState
from perpkit.custody.desk.withdrawal import Withdrawal
from perpkit.custody.move import CHANGE, COLD, HOUSE
from perpkit.custody.policy import load_policy
from perpkit.errors import ConfigError, CustodyError
from perpkit.model.ids import AssetId
from perpkit.ports.custody.chain import BlockRef, ChainSource
from perpkit.ports.custody.hsm import Attestation
from perpkit.ports.custody.nomination import BeaconSource, Nominator
from perpkit.ports.custody.people import KeyPlace, Person, PersonName, SignatureScheme
from perpkit.ports.custody.policy import PolicyEngine
from perpkit.ports.custody.signing import HsmGate, Refusal
from perpkit.ports.custody.wallet import WalletBackend
from perpkit.units import HOUR_NS, MINUTE_NS, Nanos, Units


@attrs.frozen(kw_only=True)
class DeskTerms:
    """How long things may take, and from when on they count.

    `confirmations` make a transaction count; `from_height` is a block before the first money. `expiry_ns` is how long a
    withdrawal may wait before its release, `nomination_ns` how long one draw may take, `signing_ns` how long the
    nominated may take. Withdrawals of up to `hot_limit_units` leave from the hot wallet while it has enough.
    `resume_quorum` says how many people of each role end a halt.
    """

    confirmations: int = attrs.field(default=6, validator=attrs.validators.ge(1))
    from_height: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    fee_blocks: int = attrs.field(default=6, validator=attrs.validators.ge(1))
    expiry_ns: Nanos = attrs.field(default=24 * HOUR_NS, validator=attrs.validators.gt(0))
    nomination_ns: Nanos = attrs.field(default=6 * HOUR_NS, validator=attrs.validators.gt(0))
    signing_ns: Nanos = attrs.field(default=6 * HOUR_NS, validator=attrs.validators.gt(0))
    reconcile_ns: Nanos = attrs.field(default=5 * MINUTE_NS, validator=attrs.validators.gt(0))
    hot_limit_units: Units = attrs.field(default=0, validator=attrs.validators.ge(0))
    resume_quorum: Mapping[str, int] = attrs.field()

    @resume_quorum.validator
    def _some(self, _: object, value: Mapping[str, int]) -> None:
        if not value or min(value.values()) < 1:
            raise ConfigError(f"resume_quorum: expected so many people of each of some roles, was {dict(value)}")


@attrs.define(kw_only=True, eq=False)
class Core:
    """The parts of one desk, and the only way to its log.

    Args:
        asset: its name, in requests, policies and the log.
        asset_id: its number, in what the exchange is told.
        wallets: by name; deposits go to `cold`, and small withdrawals may leave from `hot`.
        gate: is given the desk's `facts`.
        log: may be shared by the desks of several assets; deposit ids are numbers of its entries.
        load: makes a policy of its text.

    Raises:
        ConfigError: no wallet is named `cold`.
        CustodyError: the log holds what no desk has written.
    """

    asset: str
    asset_id: AssetId
    chain: ChainSource
    wallets: Mapping[str, WalletBackend]
    gate: HsmGate
    policy: PolicyEngine
    nominator: Nominator
    beacon: BeaconSource
    people: Mapping[PersonName, Person]
    keys: tuple[KeyPlace, ...]
    scheme: SignatureScheme
    log: AuditLog
    clock: Callable[[], Nanos]
    terms: DeskTerms
    load: Callable[[str], PolicyEngine] = load_policy
    follower: Follower = attrs.field(init=False)
    state: DeskState = attrs.field(init=False)
    followed: BlockRef | None = attrs.field(init=False, default=None)
    sent_at: dict[int, tuple[BlockRef, bytes]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if COLD not in self.wallets:
            names = sorted(self.wallets)
            raise ConfigError(f"{self.asset}: expected a wallet named {COLD}, where deposits go; had {names}")
        self.follower = Follower(self.chain, tuple(self.wallets.values()), from_height=self.terms.from_height)
        self.state = DeskState(self.asset, self.asset_id)
        self.catch_up()
        self._watch_all()
        if self.state.adopted:
            # The gate may have been made anew with the first policy; what it has pinned it adopts without asking.
            self.policy = self.load(self.state.adopted.text)
            self.gate.adopt(self.state.adopted, self.policy)

    def note(self, step: Step) -> int:
        """Write a step into the log, durably, and take it into account; return the entry's number.

        Raises:
            CustodyError: it could not be kept, or may not follow what is known: then nothing is written, since a log
                with such an entry in it could never be read again.
        """
        if isinstance(step, entries.WithdrawalStep):
            deepcopy(self.state.withdrawals[step.withdrawal_id]).apply(step, 0, 0)
        kind, body = codec.encode(self.asset, step)
        number = self.log.append(kind, self.clock(), body).number
        self.catch_up()
        return number

    def catch_up(self) -> None:
        """Take into account what the log has and the state has not, such as after an append that was cut short."""
        self.state.catch_up(self.log)

    def wait(self, withdrawal: Withdrawal, refusal: Refusal) -> None:
        """Note what stands in a withdrawal's way, once for each reason."""
        known = withdrawal.waiting
        if known is None or (known.by, known.rule) != (refusal.by, refusal.rule):
            self.note(entries.Waited(withdrawal_id=withdrawal.request.withdrawal_id, refusal=refusal))

    def halt(self, reason: str, by: PersonName = "") -> None:
        """Let no money leave until a quorum resumes."""
        if self.state.halt is None or self.state.halt.reason != reason:
            self.note(entries.DeskHalted(reason=reason, by=by))

    def view(self) -> View:
        """Return how things stand at the depth that counts, as far as the chain was followed."""
        return self.follower.at_depth(self.terms.confirmations)

    def attestation(self) -> Attestation | None:
        """Return what the HSM shows for itself, or None when it cannot be asked."""
        try:
            return self.gate.attest()
        except CustodyError:
            return None

    def _watch_all(self) -> None:
        for owner, index in self.state.addresses.items():
            self.wallets[COLD].watch(owner, index + 1)
        for wallet in self.wallets.values():
            wallet.watch(CHANGE, self.state.change_next + 1)
        self.wallets[COLD].watch(HOUSE, self.state.change_next + 1)
