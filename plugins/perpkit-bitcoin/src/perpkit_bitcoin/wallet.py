"""A wallet of several keys, and of an HSM's where its scripts demand one."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import attrs

from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.people import KeyName
from perpkit.ports.custody.wallet import Effects, Owner, Partial, Purpose, UnsignedTransaction
from perpkit.units import Units, div_ceil
from perpkit_bitcoin import library
from perpkit_bitcoin.addresses import Addresses, Leaf, WalletTerms
from perpkit_bitcoin.library import Draft, DraftInput, DraftOutput
from perpkit_bitcoin.scheme import EcdsaScheme, compact_of, der_of
from perpkit_bitcoin.selection import choose, dust_units, named, virtual_bytes, witness_bytes
from perpkit_bitcoin.transaction import SIGHASH_ALL, Input, Transaction, read_transaction
from perpkit_bitcoin.witness import satisfies

SEQUENCE = 0xFFFFFFFD
"""The sequence number of every input: a transaction with a higher fee may replace this one (BIP-125)."""

CHANGE = Owner(Purpose.CHANGE, 0)
HOUSE = Owner(Purpose.HOUSE, 0)


class BitcoinWallet:
    """P2WSH addresses and PSBTs. Each account, fund, the house and change have a branch of addresses of their own.

    Without an HSM the scripts are `wsh(sortedmulti(k,…))`, which every hardware wallet knows; with one they are
    `wsh(and_v(v:pk(HSM),multi(k,…)))`, so that the chain itself refuses what the HSM has not signed.

    Drafts are PSBTs (BIP-174), partials are the same PSBT with a key's signatures, as wallets of every maker return it.
    Everything is signed under SIGHASH_ALL, lock times are 0, and inputs and outputs are in the order of BIP-69, which
    gives away nothing. Coins are chosen as `selection.choose` says.

    Args:
        previous: where the transaction that made a coin is found, for who drafts with `whole_inputs`.
    """

    def __init__(self, terms: WalletTerms, *, previous: Callable[[Coin], bytes] | None = None) -> None:
        self.terms = terms
        self.name = terms.name
        self.threshold = terms.threshold
        self.keys = tuple(terms.keys)
        self.hsm_key = terms.hsm[0] if terms.hsm else None
        self.addresses = Addresses(terms)
        self._previous = previous

    def script(self, owner: Owner, index: int, /) -> bytes:
        """Return the script of an address: a hash of what it demands."""
        return self.addresses.leaf(owner, index).script

    def owner_of(self, script: bytes, /) -> tuple[Owner, int] | None:
        """Return the branch and index of a watched script."""
        return self.addresses.watched(script)

    def watch(self, owner: Owner, upto: int, /) -> None:
        """Derive what is not yet known."""
        self.addresses.watch(owner, upto)

    def scripts(self) -> Collection[bytes]:
        """Return every script that is watched."""
        return self.addresses.scripts()

    def address_of(self, script: bytes, /) -> str:
        """Return the address of a script."""
        return library.address_of(script, self.terms.network)

    def script_of(self, address: str, /) -> bytes:
        """Return the script of an address. The old kinds of address are the same on all networks but the main one."""
        return library.script_of(address, self.terms.network)

    def descriptor(self, owner: Owner) -> str:
        """Return a branch as other wallets read it, for a second opinion or for the day this one is gone."""
        return self.addresses.descriptor(owner)

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
        """Draft a payment.

        Rounds:
            The fee up, of the size that the transaction has with every signature at its longest.

        Raises:
            CustodyError: also when the receiver, or change, would get so little that the network does not relay it.
        """
        if payment.amount_units <= 0 or fee_rate < 0:
            raise CustodyError(f"expected an amount above 0, was {payment.amount_units}, at a fee of 0 or more")
        chosen, left = choose(coins, payment.amount_units, spend)
        inputs = [self._input(coin) for coin in chosen]
        kept = [self._own(CHANGE, change, left)] if left else []
        paid, every = payment, [payment, *(each.output for each in kept)]
        if fee_coins:
            payers, back = self._house(fee_coins, inputs, every, change, fee_rate)
            inputs, kept = [*inputs, *payers], [*kept, back]
        else:
            paid = self._less_fee(payment, inputs, every, fee_rate)
        if paid.amount_units < dust_units(paid.script):
            raise CustodyError(
                f"expected at least {dust_units(paid.script)} units for the receiver, {payment.amount_units} less a fee"
                f" of {payment.amount_units - paid.amount_units} leave {paid.amount_units}"
            )
        inputs = sorted(inputs, key=lambda each: each.outpoint)
        outputs = sorted([DraftOutput(output=paid), *kept], key=lambda each: each.output[::-1])
        payload = library.write_psbt(Draft(inputs=tuple(inputs), outputs=tuple(outputs)))
        return UnsignedTransaction(wallet=self.name, txid=library.read_psbt(payload).txid, payload=payload)

    def describe(self, unsigned: UnsignedTransaction, /) -> Effects:
        """Derive every input and all change again, by the paths that the draft names.

        Only outputs on the branches of change and of the house are kept. One that pays another branch of this wallet
        is a payment: who slips in an account's own address would be credited with it.
        """
        draft = self._draft(unsigned)
        spends = tuple((each.outpoint, each.spent) for each in draft.inputs)
        outputs = [each.output for each in draft.outputs]
        owners = [self._keeper(each) for each in draft.outputs]
        payers = [self.addresses.place(each.spent.script, each.hints) for each in draft.inputs]
        fee_units = sum(spent.amount_units for _, spent in spends) - sum(each.amount_units for each in outputs)
        return Effects(
            spends=spends,
            payments=tuple(output for output, owner in zip(outputs, owners, strict=True) if owner is None),
            change=tuple(output for output, owner in zip(outputs, owners, strict=True) if owner == CHANGE),
            fee_units=fee_units,
            virtual_bytes=virtual_bytes([self._witness_bytes(each.witness_script) for each in draft.inputs], outputs),
            unknown=(*self._unknown(unsigned, draft), *([f"a fee of {fee_units}"] if fee_units < 0 else [])),
            house_spends=tuple(
                outpoint
                for (outpoint, _), place in zip(spends, payers, strict=True)
                if place and place[0].purpose is Purpose.HOUSE
            ),
            house_change=tuple(output for output, owner in zip(outputs, owners, strict=True) if owner == HOUSE),
        )

    def sighashes(self, unsigned: UnsignedTransaction) -> list[tuple[bytes, Leaf]]:
        """Return what is to be signed for each input, and its address.

        Raises:
            CustodyError: there is something unknown in the draft, and so nothing to sign.
        """
        draft = self._draft(unsigned)
        if unknown := tuple(self._unknown(unsigned, draft)):
            raise CustodyError(f"{self.name}: expected a draft with nothing unknown in it, has {'; '.join(unknown)}")
        places = [self.addresses.place(each.spent.script, each.hints) for each in draft.inputs]
        return [
            (digest, self.addresses.leaf(*place))
            for digest, place in zip(library.read_psbt(unsigned.payload).sighashes, places, strict=True)
            if place
        ]

    def transaction(self, unsigned: UnsignedTransaction) -> Transaction:
        """Return the transaction that a draft will become, without its witnesses."""
        draft = self._draft(unsigned)
        return Transaction(
            draft.version,
            tuple(Input(each.outpoint, b"", each.sequence) for each in draft.inputs),
            tuple(each.output for each in draft.outputs),
            draft.lock_time,
        )

    def partial(self, unsigned: UnsignedTransaction, key: KeyName, signatures: Sequence[bytes]) -> Partial:
        """Put a key's signatures, one for each input and as `EcdsaScheme` has them, into the form of a partial."""
        marked = [
            {leaf.publics[key]: der_of(signature) + bytes((SIGHASH_ALL,))}
            for (_, leaf), signature in zip(self.sighashes(unsigned), signatures, strict=True)
        ]
        return Partial(key=key, txid=unsigned.txid, payload=library.write_psbt(self._draft(unsigned), marked))

    def is_partial(self, unsigned: UnsignedTransaction, partial: Partial, /) -> bool:
        """Say whether a key has signed every input under SIGHASH_ALL, in DER, with s in the lower half.

        Signatures of other keys in the same PSBT are passed over: each partial stands for one key.
        """
        return self._signatures(unsigned, partial) is not None

    def finalize(self, unsigned: UnsignedTransaction, partials: Mapping[KeyName, Partial], /) -> bytes:
        """Put as many signatures as the scripts demand into the witnesses, in the order of their keys."""
        signed = {}
        for key, partial in partials.items():
            signatures = self._signatures(unsigned, partial) if partial.key == key else None
            if signatures is None:
                raise CustodyError(f"{self.name}: expected a good signature of {key} on every input, it is not")
            signed[key] = signatures
        people = [key for key in self.keys if key in signed]
        if len(people) < self.threshold or (self.hsm_key and self.hsm_key not in signed):
            raise CustodyError(
                f"{self.name}: expected signatures of {self.threshold} keys"
                f"{f' and of {self.hsm_key}' if self.hsm_key else ''}, signed have {', '.join(signed) or 'none'}"
            )
        enough = people[: self.threshold]
        made = self.transaction(unsigned)
        inputs = list(made.inputs)
        for position, (_, leaf) in enumerate(self.sighashes(unsigned)):
            ordered = sorted(enough, key=lambda key: leaf.witness_script.index(leaf.publics[key]))
            last = [self.hsm_key] if self.hsm_key else []
            witness = (b"", *(signed[key][position] for key in [*ordered, *last]), leaf.witness_script)
            inputs[position] = inputs[position]._replace(witness=witness)
        return attrs.evolve(made, inputs=tuple(inputs)).raw()

    def verify(self, raw: bytes, unsigned: UnsignedTransaction, /) -> bool:
        """Read the transaction, its digests and its scripts by code that had no part in making it."""
        try:
            transaction = read_transaction(raw)
            effects = self.describe(unsigned)
        except CustodyError:
            return False
        return (
            not effects.unknown
            and transaction.txid == unsigned.txid
            and tuple(each.outpoint for each in transaction.inputs) == tuple(outpoint for outpoint, _ in effects.spends)
            and all(
                satisfies(transaction, position, spent.script, spent.amount_units)
                for position, (_, spent) in enumerate(effects.spends)
            )
        )

    def _witness_bytes(self, witness_script: bytes) -> int:
        return witness_bytes(witness_script, self.threshold + (self.hsm_key is not None))

    def _input(self, coin: Coin) -> DraftInput:
        place = self.owner_of(coin.output.script)
        if not place:
            raise CustodyError(f"{self.name}: expected coins of this wallet, {named(coin.outpoint)} is not watched")
        if self.terms.whole_inputs and not self._previous:
            raise CustodyError(
                f"{self.name}: expected a source of whole transactions, as whole_inputs demands; has none"
            )
        leaf = self.addresses.leaf(*place)
        return DraftInput(
            outpoint=coin.outpoint,
            sequence=SEQUENCE,
            spent=coin.output,
            witness_script=leaf.witness_script,
            hints=leaf.hints,
            previous=self._previous(coin) if self._previous else None,
        )

    def _draft(self, unsigned: UnsignedTransaction) -> Draft:
        reading = library.read_psbt(unsigned.payload)
        if reading.txid != unsigned.txid:
            raise CustodyError(f"{self.name}: expected the draft of {unsigned.txid.hex()}, the payload is of another")
        return reading.draft

    def _keeper(self, paying: DraftOutput) -> Owner | None:
        """Return the branch on which an output stays with the wallet; None when it is a payment."""
        place = self.addresses.place(paying.output.script, paying.hints)
        return place[0] if place and place[0] in (CHANGE, HOUSE) else None

    def _own(self, owner: Owner, index: int, amount_units: Units) -> DraftOutput:
        leaf = self.addresses.leaf(owner, index)
        output = Output(leaf.script, amount_units)
        return DraftOutput(output=output, witness_script=leaf.witness_script, hints=leaf.hints)

    def _less_fee(
        self, output: Output, inputs: Sequence[DraftInput], outputs: Sequence[Output], fee_rate: Units
    ) -> Output:
        """Take the network fee of a transaction from one of its outputs."""
        size = virtual_bytes([self._witness_bytes(each.witness_script) for each in inputs], outputs)
        return Output(output.script, output.amount_units - div_ceil(fee_rate * size, 1_000))

    def _house(
        self,
        fee_coins: Sequence[Coin],
        inputs: Sequence[DraftInput],
        outputs: Sequence[Output],
        change: int,
        fee_rate: Units,
    ) -> tuple[list[DraftInput], DraftOutput]:
        """Return the fewest of the house's coins that pay the fee, and what goes back to the house."""
        places = [self.owner_of(coin.output.script) for coin in fee_coins]
        if any(place is None or place[0].purpose is not Purpose.HOUSE for place in places):
            raise CustodyError(f"{self.name}: expected coins of the house for the fee, were others among them")
        payers: list[DraftInput] = []
        total_units = 0
        for coin in sorted(set(fee_coins), key=lambda coin: (-coin.output.amount_units, coin.outpoint)):
            payers.append(self._input(coin))
            total_units += coin.output.amount_units
            gross = self._own(HOUSE, change, total_units)
            back = self._less_fee(gross.output, [*inputs, *payers], [*outputs, gross.output], fee_rate)
            if back.amount_units >= dust_units(back.script):
                return payers, attrs.evolve(gross, output=back)
        raise CustodyError(
            f"{self.name}: the house's coins of {total_units} units do not suffice for the network fee and an output of"
            " what is left"
        )

    def _unknown(self, unsigned: UnsignedTransaction, draft: Draft) -> Iterator[str]:
        if not draft.inputs or len({each.outpoint for each in draft.inputs}) < len(draft.inputs):
            yield "no inputs, or the same one twice"
        if draft.version != 2 or draft.lock_time != 0:
            yield f"version {draft.version} and lock time {draft.lock_time} in place of 2 and 0"
        for spending in draft.inputs:
            yield from self._unknown_input(spending)
        for paying in draft.outputs:
            expected = DraftOutput(output=paying.output)
            place = self.addresses.place(paying.output.script, paying.hints)
            if place and place[0] in (CHANGE, HOUSE):
                expected = self._own(*place, paying.output.amount_units)
            if paying != expected:
                yield f"the output of {paying.output.amount_units} units is described as what it is not"
        if not library.read_psbt(unsigned.payload).whole:
            yield "fields that this wallet does not write"

    def _unknown_input(self, spending: DraftInput) -> Iterator[str]:
        name = f"input {named(spending.outpoint)}"
        if spending.sighash != SIGHASH_ALL:
            yield f"{name}: signatures of kind {spending.sighash} in place of SIGHASH_ALL"
        if spending.sequence != SEQUENCE:
            yield f"{name}: sequence {spending.sequence:#x} in place of {SEQUENCE:#x}"
        place = self.addresses.place(spending.spent.script, spending.hints)
        if place is None:
            yield f"{name} is not of this wallet"
            return
        leaf = self.addresses.leaf(*place)
        if (spending.witness_script, spending.hints) != (leaf.witness_script, leaf.hints):
            yield f"{name}: a script or key paths that are not those of its address"
        if spending.previous is None and not self.terms.whole_inputs:
            return
        if spending.previous is None or not _made(spending.previous, spending.outpoint, spending.spent):
            yield f"{name}: no transaction that made it, or one that made something else"

    def _signatures(self, unsigned: UnsignedTransaction, partial: Partial) -> list[bytes] | None:
        """Return a key's signatures as witnesses hold them, if all are good."""
        if partial.txid != unsigned.txid or partial.key not in (*self.keys, self.hsm_key):
            return None
        try:
            asked = self.sighashes(unsigned)
            given = library.signatures_of(partial.payload)
            signatures = [signed[leaf.publics[partial.key]] for (_, leaf), signed in zip(asked, given, strict=True)]
            good = all(
                signature[-1:] == bytes((SIGHASH_ALL,))
                and EcdsaScheme().verify(leaf.publics[partial.key], digest, compact_of(signature[:-1]))
                for (digest, leaf), signature in zip(asked, signatures, strict=True)
            )
        except (CustodyError, KeyError, ValueError):
            return None
        return signatures if good else None


def _made(previous: bytes, outpoint: Outpoint, spent: Output) -> bool:
    """Say whether a transaction made a coin."""
    try:
        transaction = read_transaction(previous)
    except CustodyError:
        return False
    return transaction.txid == outpoint.txid and transaction.outputs[outpoint.vout : outpoint.vout + 1] == (spent,)
