"""A wallet of one asset: its addresses, and transactions from the first draft to the finished one."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import attrs

from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.people import KeyName
from perpkit.units import Units


class Purpose(IntEnum):
    """Whose money it is. Each purpose has descriptors of its own."""

    CLIENT = 1
    FUND = 2
    HOUSE = 3
    CHANGE = 4


class Owner(NamedTuple):
    """Whose branch of addresses it is: an account, a fund, or (0) the house or change."""

    purpose: Purpose
    number: int


@attrs.frozen(kw_only=True)
class UnsignedTransaction:
    """A draft that everybody signs.

    `payload` is the wallet's own form of it, with everything an offline signer needs; `txid` is what its id will be,
    whatever the signatures, so that it names the transaction from the draft on.
    """

    wallet: str
    txid: bytes
    payload: bytes


@attrs.frozen(kw_only=True)
class Effects:
    """What a draft does if it is mined, as the one who asks works it out from the draft alone.

    `payments` are outputs that the wallet does not own, `change` those that it derives itself. `house_spends` are those
    of `spends` that are the house's coins, `house_change` what goes back to the house. `unknown` says what else is in
    it that should not be: an input that is not the wallet's, another kind of signature, a lock time.
    """

    spends: tuple[tuple[Outpoint, Output], ...]
    payments: tuple[Output, ...]
    change: tuple[Output, ...]
    fee_units: Units
    virtual_bytes: int
    unknown: tuple[str, ...] = ()
    house_spends: tuple[Outpoint, ...] = ()
    house_change: tuple[Output, ...] = ()


@attrs.frozen(kw_only=True)
class Partial:
    """What one key adds to a draft."""

    key: KeyName
    txid: bytes
    payload: bytes


class WalletBackend(Protocol):
    """Derives addresses and drafts transactions; holds no secret. Provisional.

    Each party makes one of its own from the public descriptors, and trusts no other party's answers.

    Raises:
        CustodyError: bytes that are not what they should be, or money that does not suffice.
    """

    name: str
    """`cold` or `hot`: what policies and requests call it."""

    threshold: int
    """How many keys beside the HSM's a transaction needs."""

    keys: tuple[KeyName, ...]
    """The keys that can take part, without the HSM's."""

    hsm_key: KeyName | None
    """The key without which nothing leaves, where the scripts demand one."""

    @abstractmethod
    def script(self, owner: Owner, index: int, /) -> bytes:
        """Return the script of an address of a branch. The same for ever."""
        ...

    @abstractmethod
    def owner_of(self, script: bytes, /) -> tuple[Owner, int] | None:
        """Return the branch and index of a script that `script` has derived, here or in an earlier life, or None.

        Only branches that `watch` was told of are looked at.
        """
        ...

    @abstractmethod
    def watch(self, owner: Owner, upto: int, /) -> None:
        """Know a branch's scripts below an index from now on."""
        ...

    @abstractmethod
    def scripts(self) -> Collection[bytes]:
        """Return every script that is watched."""
        ...

    @abstractmethod
    def address_of(self, script: bytes, /) -> str:
        """Return how people write a script."""
        ...

    @abstractmethod
    def script_of(self, address: str, /) -> bytes:
        """Return the script that an address means; refuse what is of another chain, or mistyped."""
        ...

    @abstractmethod
    def build(
        self,
        payment: Output,
        coins: Sequence[Coin],
        *,
        change: int,
        fee_rate: Units,
        spend: Collection[Outpoint] = (),
        fee_coins: Sequence[Coin] = (),
    ) -> UnsignedTransaction:
        """Draft a payment out of some coins. The network fee is part of the amount, so the receiver gets less by it.

        Args:
            payment: to whom, and how much leaves the wallet in all.
            coins: what may be spent.
            change: the index on the branch of change where the rest goes.
            spend: those of `coins` that must be spent: a replacement spends a coin of what it replaces, so that only
                one of the two can ever be mined.
            fee_coins: the house's. With any, they pay the fee, the receiver gets all of the payment, and what is left
                of them goes back to the house, on the index of the change.

        Units:
            `fee_rate` in units for 1,000 virtual bytes.

        Rounds:
            The fee up.

        Raises:
            CustodyError: the coins do not suffice, nothing would be left after the fee, or `fee_coins` are not the
                house's.
        """
        ...

    @abstractmethod
    def describe(self, unsigned: UnsignedTransaction, /) -> Effects:
        """Work out from a draft alone what it would do."""
        ...

    @abstractmethod
    def is_partial(self, unsigned: UnsignedTransaction, partial: Partial, /) -> bool:
        """Say whether a partial is a good signature of the key that it names on all of this draft."""
        ...

    @abstractmethod
    def finalize(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /) -> bytes:
        """Put the parts together into what the network takes.

        Raises:
            CustodyError: a part is missing or bad.
        """
        ...

    @abstractmethod
    def verify(self, raw: bytes, unsigned: UnsignedTransaction, /) -> bool:
        """Say whether a finished transaction does what its draft said and is completely signed.

        By another way than `finalize` made it.
        """
        ...
