"""What a desk writes into its log: one class per kind of entry. The desk's state is what they add up to."""

import attrs

from perpkit.model.ids import AccountId
from perpkit.ports.custody.chain import BlockRef, Outpoint
from perpkit.ports.custody.nomination import Opening, Transcript
from perpkit.ports.custody.people import PersonName
from perpkit.ports.custody.policy import Approval, Decision, Destination, PolicyChange, Request
from perpkit.ports.custody.signing import Refusal, Release
from perpkit.ports.custody.wallet import Owner, Partial, UnsignedTransaction
from perpkit.units import Units


@attrs.frozen(kw_only=True)
class Requested:
    """A withdrawal was asked for; `released`: the exchange had let it go before anybody here was asked."""

    request: Request
    released: bool


@attrs.frozen(kw_only=True)
class Judged:
    """The policy was asked before anybody else."""

    withdrawal_id: int
    decision: Decision


@attrs.frozen(kw_only=True)
class TakenOn:
    """A person took on what the policy would not decide by machine."""

    withdrawal_id: int
    approval: Approval


@attrs.frozen(kw_only=True)
class Opened:
    """A draw of signers began. `refused` have spoilt earlier ones."""

    withdrawal_id: int
    opening: Opening
    refused: tuple[PersonName, ...]


@attrs.frozen(kw_only=True)
class Committed:
    """A person committed to a secret, and signed for it."""

    withdrawal_id: int
    person: PersonName
    commitment: bytes
    signature: bytes


@attrs.frozen(kw_only=True)
class Revealed:
    """A person revealed their secret, and signed for it."""

    withdrawal_id: int
    person: PersonName
    secret: bytes
    signature: bytes


@attrs.frozen(kw_only=True)
class Declined:
    """A person will not do what they were asked to."""

    withdrawal_id: int
    person: PersonName
    reason: str
    signature: bytes


@attrs.frozen(kw_only=True)
class Nominated:
    """The signers were drawn."""

    withdrawal_id: int
    transcript: Transcript


@attrs.frozen(kw_only=True)
class ApprovalGiven:
    """A person agreed to a withdrawal."""

    withdrawal_id: int
    approval: Approval


@attrs.frozen(kw_only=True)
class Approved:
    """Everybody needed has agreed: the exchange may let it go."""

    withdrawal_id: int


@attrs.frozen(kw_only=True)
class Released:
    """The exchange has let it go: the point of no return."""

    withdrawal_id: int


@attrs.frozen(kw_only=True)
class Drafted:
    """A transaction was drafted; its coins are for nobody else."""

    withdrawal_id: int
    unsigned: UnsignedTransaction
    spends: tuple[Outpoint, ...]
    fee_units: Units
    change: int


@attrs.frozen(kw_only=True)
class Granted:
    """The HSM gate lets the last draft be signed."""

    withdrawal_id: int
    release: Release


@attrs.frozen(kw_only=True)
class PartAdded:
    """A key signed the last draft."""

    withdrawal_id: int
    partial: Partial


@attrs.frozen(kw_only=True)
class Signed:
    """The last draft is completely signed."""

    withdrawal_id: int
    raw: bytes


@attrs.frozen(kw_only=True)
class Broadcast:
    """The network took the transaction."""

    withdrawal_id: int


@attrs.frozen(kw_only=True)
class Confirmed:
    """One of the withdrawal's transactions was mined, and deep enough."""

    withdrawal_id: int
    txid: bytes
    block: BlockRef


@attrs.frozen(kw_only=True)
class Expired:
    """It took too long."""

    withdrawal_id: int


@attrs.frozen(kw_only=True)
class Recalled:
    """The exchange gave the money back to its owner."""

    withdrawal_id: int


@attrs.frozen(kw_only=True)
class Stopped:
    """It cannot go on without people deciding."""

    withdrawal_id: int
    reason: str


@attrs.frozen(kw_only=True)
class Retried:
    """People decided that a stopped withdrawal begins anew: judged, nominated and approved again."""

    withdrawal_id: int


@attrs.frozen(kw_only=True)
class Waited:
    """Something stands in the way for now; it is tried again."""

    withdrawal_id: int
    refusal: Refusal


@attrs.frozen(kw_only=True)
class AnswerRefused:
    """Somebody answered what was not asked, or wrongly. It changed nothing."""

    person: PersonName
    task: bytes
    refusal: Refusal


@attrs.frozen(kw_only=True)
class Credited:
    """Money came in and is deep enough. The entry's number is the deposit's id; owner CHANGE: nobody knows whose.

    `restores_units` of it take the place of coins that are missing, and are credited to nobody.
    """

    owner: Owner
    index: int
    outpoint: Outpoint
    amount_units: Units
    block: BlockRef
    restores_units: Units = 0


@attrs.frozen(kw_only=True)
class Reversed:
    """The chain took back what was credited."""

    deposit_id: int


@attrs.frozen(kw_only=True)
class Counted:
    """Both counts of the coins, and what the log says there must be."""

    block: BlockRef
    counted_units: Units
    recounted_units: Units
    expected_units: Units


@attrs.frozen(kw_only=True)
class DeskHalted:
    """No money leaves until people say so."""

    reason: str
    by: PersonName


@attrs.frozen(kw_only=True)
class Decided:
    """A person agrees to what an entry, by its number, has put to the people: a halt's end, a retry, a change."""

    subject: int
    approval: Approval


@attrs.frozen(kw_only=True)
class DeskResumed:
    """A quorum ended a halt."""

    halt: int


@attrs.frozen(kw_only=True)
class SwitchedOff:
    """The policy is told that an asset or a wallet is switched off, until people say otherwise."""

    what: str
    reason: str
    by: PersonName


@attrs.frozen(kw_only=True)
class SwitchedOn:
    """A quorum ended that."""

    what: str


@attrs.frozen(kw_only=True)
class AddressIssued:
    """Somebody was told an address of a branch."""

    owner: Owner
    index: int


@attrs.frozen(kw_only=True)
class DestinationAdded:
    """The address book grew."""

    destination: Destination


@attrs.frozen(kw_only=True)
class DestinationRemoved:
    """A destination is never paid again."""

    number: int
    by: PersonName


@attrs.frozen(kw_only=True)
class AccountChanged:
    """Something about an account changed: `password`, `two-factor`, `e-mail`, `device`."""

    account: AccountId
    what: str


@attrs.frozen(kw_only=True)
class PolicyProposed:
    """Somebody proposes another policy."""

    change: PolicyChange


@attrs.frozen(kw_only=True)
class PolicyAgreed:
    """The policy agrees to be changed; the gate is asked next. `change` has every approval."""

    change: PolicyChange


@attrs.frozen(kw_only=True)
class PolicyAdopted:
    """The gate has pinned the new policy."""


@attrs.frozen(kw_only=True)
class PolicyRefused:
    """The proposal is dropped."""

    refusal: Refusal


WithdrawalStep = (
    Judged
    | TakenOn
    | Opened
    | Committed
    | Revealed
    | Declined
    | Nominated
    | ApprovalGiven
    | Approved
    | Released
    | Drafted
    | Granted
    | PartAdded
    | Signed
    | Broadcast
    | Confirmed
    | Expired
    | Recalled
    | Stopped
    | Retried
    | Waited
)
MoneyStep = Credited | Reversed
AddressStep = AddressIssued | DestinationAdded | DestinationRemoved | AccountChanged
PolicyStep = PolicyProposed | PolicyAgreed | PolicyAdopted | PolicyRefused
HaltStep = DeskHalted | DeskResumed | SwitchedOff | SwitchedOn
Step = WithdrawalStep | MoneyStep | AddressStep | PolicyStep | HaltStep | Requested | AnswerRefused | Counted | Decided
