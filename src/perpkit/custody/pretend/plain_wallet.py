"""A wallet of the pretend chain: everything that a real one does, in JSON that people can read."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import attrs

from perpkit.custody.digest import canonical_bytes, digest
from perpkit.custody.pretend.plain_transaction import (
    Lock,
    PlainTransaction,
    check_unlocked,
    read_inputs,
    read_outputs,
    read_transaction,
    spend_digest,
)
from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.people import KeyName, SignatureScheme
from perpkit.ports.custody.wallet import Effects, Owner, Partial, Purpose, UnsignedTransaction
from perpkit.units import Units, div_ceil

PREFIX = "plain1"
CHANGE = Owner(Purpose.CHANGE, 0)
HOUSE = Owner(Purpose.HOUSE, 0)
INDEX_MAX = (1 << 24) - 1
"""Few enough to try them all: change sent to an index that nobody was told of can be found again."""


class SignsDigests(Protocol):
    """A pen, or an HSM."""

    def sign(self, digest: bytes, /) -> bytes:
        """Sign a digest of 32 bytes."""
        ...


@attrs.frozen
class PlainKey:
    """A key of a plain wallet, on the machine of whoever holds it."""

    pen: SignsDigests

    def sign(self, unsigned: UnsignedTransaction) -> bytes:
        """Sign all that a draft spends. Who it pays is the holder's to look at before."""
        return self.pen.sign(_Draft.read(unsigned).signed)


@attrs.frozen(kw_only=True)
class _Draft:
    """What a payload holds: the transaction, and for each input and output whose it is said to be."""

    inputs: tuple[Outpoint, ...]
    outputs: tuple[Output, ...]
    spent: tuple[Output, ...]
    origins: tuple[tuple[Owner, int], ...]
    change: tuple[int | None, ...]

    @property
    def transaction(self) -> PlainTransaction:
        return PlainTransaction(inputs=self.inputs, outputs=self.outputs)

    @property
    def signed(self) -> bytes:
        return spend_digest(self.transaction.txid, self.spent)

    @classmethod
    def read(cls, unsigned: UnsignedTransaction) -> "_Draft":
        try:
            fields = json.loads(unsigned.payload)
            draft = cls(
                inputs=read_inputs(fields["inputs"]),
                outputs=read_outputs(fields["outputs"]),
                spent=read_outputs(fields["spent"]),
                origins=tuple((Owner(Purpose[name], number), index) for (name, number), index in fields["origins"]),
                change=tuple(fields["change"]),
            )
            good = (
                canonical_bytes(draft) == unsigned.payload
                and draft.transaction.txid == unsigned.txid
                and len(draft.inputs) == len(draft.spent) == len(draft.origins)
                and len(draft.outputs) == len(draft.change)
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CustodyError(f"expected a draft, was {unsigned.payload[:60]!r}: {error!r}") from error
        if not good:
            raise CustodyError(f"the payload is not that of the draft {unsigned.txid.hex()}")
        return draft


class PlainWallet:
    """Addresses and drafts of the pretend chain. What a key and the HSM are asked for is hashed into every script.

    A signature is whatever the scheme checks; with `HmacScheme`, whose public halves are the secrets, all of it is for
    simulation only. The keys of an input become known when it is spent.

    Coins are taken largest first, and of equal ones the oldest, until they suffice; one that is not on a watched
    script of this wallet is refused. Change below `dust_units` is never made: another coin is taken.
    """

    def __init__(
        self,
        *,
        name: str,
        threshold: int,
        keys: Mapping[KeyName, bytes],
        scheme: SignatureScheme,
        hsm: tuple[KeyName, bytes] | None = None,
        dust_units: Units = 1,
    ) -> None:
        if not 1 <= threshold <= len(keys):
            raise CustodyError(f"expected a threshold from 1 to {len(keys)} keys, was {threshold}")
        if hsm is not None and hsm[0] in keys:
            raise CustodyError(f"the HSM's key {hsm[0]} is among the others: it would count twice")
        self.name = name
        self.threshold = threshold
        self.keys: tuple[KeyName, ...] = tuple(keys)
        self.hsm_key: KeyName | None = None if hsm is None else hsm[0]
        self._publics = dict(keys)
        self._hsm = {} if hsm is None else {hsm[0]: hsm[1]}
        self._scheme = scheme
        self._dust_units = max(dust_units, 1)
        self._known: dict[bytes, tuple[Owner, int]] = {}
        self._upto: dict[Owner, int] = {}

    def script(self, owner: Owner, index: int, /) -> bytes:
        """Return the hash of the lock of an address."""
        return self._lock(owner, index).script

    def owner_of(self, script: bytes, /) -> tuple[Owner, int] | None:
        """Return the branch and index of a watched script, or None."""
        return self._known.get(script)

    def watch(self, owner: Owner, upto: int, /) -> None:
        """Know a branch's scripts below an index from now on."""
        for index in range(self._upto.get(owner, 0), upto):
            self._known[self.script(owner, index)] = owner, index
            self._upto[owner] = index + 1

    def scripts(self) -> Collection[bytes]:
        """Return every script that is watched."""
        return self._known.keys()

    def address_of(self, script: bytes, /) -> str:
        """Return the script in hex between a prefix and a checksum."""
        return f"{PREFIX}{script.hex()}{digest('plain-address', script)[:4].hex()}"

    def script_of(self, address: str, /) -> bytes:
        """Return the script that an address means."""
        if address.startswith(PREFIX) and address.isascii():
            try:
                script = bytes.fromhex(address[len(PREFIX) : -8])
            except ValueError:
                script = b""
            if script and self.address_of(script) == address:
                return script
        raise CustodyError(f"expected an address that starts with {PREFIX} and was not mistyped, was {address!r}")

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
        """Draft a payment: to the receiver first, then change, if any, then what goes back to the house.

        Coins of the house that pay the fee are spent first.

        Rounds:
            The fee up, over the size that the draft would have without a fee.
        """
        chosen = self._choose(payment.amount_units, coins, spend)
        rest_units = sum(coin.output.amount_units for coin in chosen) - payment.amount_units
        kept = [Output(self.script(CHANGE, change), rest_units)] if rest_units else []
        if fee_coins:
            payers, back = self._house(fee_coins, chosen, [payment, *kept], change=change, fee_rate=fee_rate)
            chosen, kept = [*payers, *chosen], [*kept, back]
        else:
            payment = self._less_fee(payment, chosen, [payment, *kept], fee_rate)
        draft = _Draft(
            inputs=tuple(coin.outpoint for coin in chosen),
            outputs=(payment, *kept),
            spent=tuple(coin.output for coin in chosen),
            origins=tuple(self._known[coin.output.script] for coin in chosen),
            change=(None, *(change for _ in kept)),
        )
        return UnsignedTransaction(wallet=self.name, txid=draft.transaction.txid, payload=canonical_bytes(draft))

    def describe(self, unsigned: UnsignedTransaction, /) -> Effects:
        """Derive every input and the change again, and believe of the draft only where to look."""
        draft = self._read(unsigned)
        unknown = [
            f"input {place} is not of {self.name}"
            for place, (output, origin) in enumerate(zip(draft.spent, draft.origins, strict=True))
            if self.script(*origin) != output.script
        ]
        change: list[Output] = []
        house_change: list[Output] = []
        payments: list[Output] = []
        for output, index in zip(draft.outputs, draft.change, strict=True):
            if index is not None and self.script(CHANGE, index) == output.script:
                change.append(output)
            elif index is not None and self.script(HOUSE, index) == output.script:
                house_change.append(output)
            else:
                payments.append(output)
            if output.amount_units <= 0:
                unknown.append(f"an output of {output.amount_units} units")
        if len(set(draft.inputs)) < len(draft.inputs):
            unknown.append("a coin is spent twice")
        spent_units = sum(output.amount_units for output in draft.spent)
        return Effects(
            spends=tuple(zip(draft.inputs, draft.spent, strict=True)),
            payments=tuple(payments),
            change=tuple(change),
            fee_units=spent_units - draft.transaction.paid_units,
            virtual_bytes=len(draft.transaction.body),
            unknown=tuple(unknown),
            house_spends=tuple(
                point
                for point, (owner, _) in zip(draft.inputs, draft.origins, strict=True)
                if owner.purpose is Purpose.HOUSE
            ),
            house_change=tuple(house_change),
        )

    def is_partial(self, unsigned: UnsignedTransaction, partial: Partial, /) -> bool:
        """Check the signature with the public half of the key that it names."""
        public = (self._publics | self._hsm).get(partial.key)
        try:
            signed = self._read(unsigned).signed
        except CustodyError:
            return False
        return (
            public is not None
            and partial.txid == unsigned.txid
            and self._scheme.verify(public, signed, partial.payload)
        )

    def finalize(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /) -> bytes:
        """Add as many signatures as are needed, those of the first keys by name, and the HSM's."""
        for key, partial in sorted(partials.items()):
            if partial.key != key or not self.is_partial(unsigned, partial):
                raise CustodyError(f"the part of {key} is not a good signature of {unsigned.txid.hex()}")
        signers = sorted(partials.keys() & self._publics.keys())
        if len(signers) < self.threshold or not self._hsm.keys() <= partials.keys():
            raise CustodyError(
                f"expected parts of {self.threshold} of {self.keys} and of {tuple(self._hsm)}, had {sorted(partials)}"
            )
        draft = self._read(unsigned)
        return attrs.evolve(
            draft.transaction,
            locks=tuple(self._lock(*origin) for origin in draft.origins),
            signatures={key: partials[key].payload for key in [*signers[: self.threshold], *self._hsm]},
        ).raw

    def verify(self, raw: bytes, unsigned: UnsignedTransaction, /) -> bool:
        """Ask what the chain would ask, of the bytes that are about to be sent."""
        try:
            draft = self._read(unsigned)
            transaction = read_transaction(raw)
            self.check(transaction, draft.spent)
        except CustodyError:
            return False
        return transaction.txid == unsigned.txid and not self.describe(unsigned).unknown

    def check(self, transaction: PlainTransaction, spent: Sequence[Output]) -> None:
        """Refuse what may not spend these outputs, of whichever wallet: a chain's consensus, for `MemoryChain`."""
        check_unlocked(self._scheme, transaction, spent)

    def _lock(self, owner: Owner, index: int) -> Lock:
        if not 0 <= index <= INDEX_MAX:
            raise CustodyError(f"expected an index from 0 to {INDEX_MAX}, was {index}")
        return Lock(
            path=f"{self.name}/{owner.purpose.name}/{owner.number}/{index}",
            threshold=self.threshold,
            keys=self._publics,
            hsm=self._hsm,
        )

    def _read(self, unsigned: UnsignedTransaction) -> _Draft:
        if unsigned.wallet != self.name:
            raise CustodyError(f"expected a draft of {self.name}, was one of {unsigned.wallet}")
        return _Draft.read(unsigned)

    def _less_fee(self, output: Output, coins: Sequence[Coin], outputs: Sequence[Output], fee_rate: Units) -> Output:
        """Take the network fee of a transaction from one of its outputs."""
        gross = PlainTransaction(inputs=tuple(coin.outpoint for coin in coins), outputs=tuple(outputs))
        net_units = output.amount_units - div_ceil(fee_rate * len(gross.body), 1_000)
        if net_units < self._dust_units:
            raise CustodyError(f"of {output.amount_units} units, {net_units} would be left after the network's fee")
        return Output(output.script, net_units)

    def _house(
        self,
        fee_coins: Sequence[Coin],
        coins: Sequence[Coin],
        outputs: Sequence[Output],
        *,
        change: int,
        fee_rate: Units,
    ) -> tuple[list[Coin], Output]:
        """Return the fewest of the house's coins that pay the fee, and what goes back to the house."""
        known = [self._known.get(coin.output.script) for coin in fee_coins]
        if any(place is None or place[0].purpose is not Purpose.HOUSE for place in known):
            raise CustodyError(f"expected coins of the house of {self.name} for the fee, were others among them")
        payers: list[Coin] = []
        largest = sorted({coin.outpoint: coin for coin in fee_coins}.values(), key=lambda each: _order(each, ()))
        for coin in largest:
            payers.append(coin)
            gross = Output(self.script(HOUSE, change), sum(each.output.amount_units for each in payers))
            try:
                return payers, self._less_fee(gross, [*coins, *payers], [*outputs, gross], fee_rate)
            except CustodyError as error:
                shortage = error
        raise CustodyError(f"the house's coins do not suffice for the network's fee: {shortage}")

    def _choose(self, amount_units: Units, coins: Sequence[Coin], spend: Collection[Outpoint]) -> list[Coin]:
        """Return the coins to spend, in the order in which they are taken."""
        by_point = {coin.outpoint: coin for coin in coins}
        if foreign := [coin for coin in by_point.values() if coin.output.script not in self._known]:
            raise CustodyError(f"{foreign[0].outpoint} is not a coin of {self.name}")
        if missing := sorted(set(spend) - by_point.keys()):
            raise CustodyError(f"{missing[0]} has to be spent, and is not among the coins")
        chosen: list[Coin] = []
        total_units = 0
        for coin in sorted(by_point.values(), key=lambda each: _order(each, spend)):
            if coin.outpoint not in spend and (
                total_units == amount_units or total_units >= amount_units + self._dust_units
            ):
                break
            chosen.append(coin)
            total_units += coin.output.amount_units
        if total_units != amount_units and total_units < amount_units + self._dust_units:
            raise CustodyError(
                f"{total_units} units do not suffice for {amount_units}, or leave change below {self._dust_units}"
            )
        return chosen


def _order(coin: Coin, spend: Collection[Outpoint]) -> tuple[bool, int, int, Outpoint]:
    """Sort what has to be spent first, then the largest first, of equal ones the oldest."""
    return coin.outpoint not in spend, -coin.output.amount_units, coin.height, coin.outpoint
