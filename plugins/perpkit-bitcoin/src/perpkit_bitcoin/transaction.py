"""Transactions, blocks and signature digests as bytes, read and written here and nowhere else.

What a wallet's library has made is checked by this module, so it imports none of that library.
"""

import hashlib
from typing import NamedTuple

import attrs

from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Block, BlockRef, ChainTransaction, Outpoint, Output
from perpkit.units import div_ceil

SIGHASH_ALL = 1


class Input(NamedTuple):
    """An outpoint that is spent, and what satisfies its script."""

    outpoint: Outpoint
    script: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()


@attrs.frozen
class Transaction:
    """A transaction. Ids are in the order in which people write them, the reverse of their bytes in it."""

    version: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    lock_time: int

    @property
    def txid(self) -> bytes:
        """Return the id, which says nothing of witnesses."""
        return twice(self.stripped())[::-1]

    @property
    def is_coinbase(self) -> bool:
        """Whether it spends nothing, but makes new money."""
        return len(self.inputs) == 1 and self.inputs[0].outpoint == Outpoint(bytes(32), 0xFFFFFFFF)

    @property
    def virtual_bytes(self) -> int:
        """Return the size that fees are paid for: a byte of a witness counts a quarter."""
        return div_ceil(3 * len(self.stripped()) + len(self.raw()), 4)

    def stripped(self) -> bytes:
        """Return the bytes without witnesses."""
        return b"".join((number(self.version, 4), self._middle(), number(self.lock_time, 4)))

    def raw(self) -> bytes:
        """Return the bytes as the network sends them."""
        if not any(each.witness for each in self.inputs):
            return self.stripped()
        witnesses = b"".join(compact(len(each.witness)) + b"".join(map(sized, each.witness)) for each in self.inputs)
        return b"".join((number(self.version, 4), b"\x00\x01", self._middle(), witnesses, number(self.lock_time, 4)))

    def seen(self) -> ChainTransaction:
        """Return it as those see it who follow a chain."""
        spent = () if self.is_coinbase else tuple(each.outpoint for each in self.inputs)
        return ChainTransaction(self.txid, spent, self.outputs)

    def sighash(self, position: int, script: bytes, amount_units: int) -> bytes:
        """Return what a signature under SIGHASH_ALL signs, for an input that spends `amount_units` by `script`.

        Source:
            BIP-143.
        """
        spending = self.inputs[position]
        outpoints = b"".join(_outpoint(each.outpoint) for each in self.inputs)
        sequences = b"".join(number(each.sequence, 4) for each in self.inputs)
        return twice(
            b"".join(
                (
                    number(self.version, 4),
                    twice(outpoints),
                    twice(sequences),
                    _outpoint(spending.outpoint),
                    sized(script),
                    number(amount_units, 8),
                    number(spending.sequence, 4),
                    twice(b"".join(map(output_bytes, self.outputs))),
                    number(self.lock_time, 4),
                    number(SIGHASH_ALL, 4),
                )
            )
        )

    def _middle(self) -> bytes:
        inputs = b"".join(
            _outpoint(each.outpoint) + sized(each.script) + number(each.sequence, 4) for each in self.inputs
        )
        outputs = b"".join(map(output_bytes, self.outputs))
        return compact(len(self.inputs)) + inputs + compact(len(self.outputs)) + outputs


def read_transaction(raw: bytes) -> Transaction:
    """Read a transaction.

    Raises:
        CustodyError: the bytes are not one transaction, written the one way there is.
    """
    reader = _Reader(raw)
    found = _transaction(reader)
    if not reader.done or found.raw() != raw:
        raise CustodyError("expected one transaction, was followed by, or written with, more than it needs")
    return found


def read_block(raw: bytes, height: int) -> Block:
    """Read a block as those see it who follow a chain, with the check of `read_block_transactions`."""
    return Block(
        ref=BlockRef(height, twice(raw[:80])[::-1]),
        previous=raw[4:36][::-1],
        transactions=tuple(each.seen() for each in read_block_transactions(raw)),
    )


def read_block_transactions(raw: bytes) -> list[Transaction]:
    """Read a block's transactions, and check that its header commits to them.

    Raises:
        CustodyError: the bytes are not a block.
    """
    reader = _Reader(raw)
    header = reader.take(80)
    transactions = [_transaction(reader) for _ in range(reader.compact())]
    if not reader.done or merkle_root([twice(each.stripped()) for each in transactions]) != header[36:68]:
        raise CustodyError("expected a block, its transactions are not what its header says")
    return transactions


def merkle_root(hashes: list[bytes]) -> bytes:
    """Return the root of a tree of hashes in byte order; the last of an odd row is paired with itself."""
    if not hashes:
        raise CustodyError("expected a block of at least one transaction, was empty")
    while len(hashes) > 1:
        padded = hashes + hashes[len(hashes) - (len(hashes) & 1) :]
        hashes = [twice(left + right) for left, right in zip(padded[::2], padded[1::2], strict=True)]
    return hashes[0]


def twice(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def number(value: int, size: int) -> bytes:
    """Write a number, lowest byte first.

    Raises:
        CustodyError: it does not fit.
    """
    if not 0 <= value < 1 << (8 * size):
        raise CustodyError(f"expected a number of {size} bytes, was {value}")
    return value.to_bytes(size, "little")


def compact(value: int) -> bytes:
    """Write a count: one byte when it is small, else a mark and two, four or eight."""
    if value < 0xFD:
        return number(value, 1)
    power = 1 if value < 1 << 16 else 2 if value < 1 << 32 else 3
    return bytes((0xFC + power,)) + number(value, 1 << power)


def sized(data: bytes) -> bytes:
    """Write bytes after their count."""
    return compact(len(data)) + data


def output_bytes(output: Output) -> bytes:
    """Write an output."""
    return number(output.amount_units, 8) + sized(output.script)


def _outpoint(outpoint: Outpoint) -> bytes:
    return outpoint.txid[::-1] + number(outpoint.vout, 4)


def _transaction(reader: "_Reader") -> Transaction:
    version = reader.number(4)
    count = reader.compact()
    witnessed = count == 0
    if witnessed:
        if reader.take(1) != b"\x01":
            raise CustodyError("expected the mark of a transaction with witnesses, was something else")
        count = reader.compact()
    inputs = [
        Input(Outpoint(reader.take(32)[::-1], reader.number(4)), reader.sized(), reader.number(4)) for _ in range(count)
    ]
    amounts = [Output(amount_units=reader.number(8), script=reader.sized()) for _ in range(reader.compact())]
    if witnessed:
        inputs = [each._replace(witness=tuple(reader.sized() for _ in range(reader.compact()))) for each in inputs]
    return Transaction(version, tuple(inputs), tuple(amounts), reader.number(4))


class _Reader:
    """Takes bytes from the front, never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise CustodyError(f"expected {count} more bytes, the data ends after {len(self._data) - self._at}")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        first = self.number(1)
        return first if first < 0xFD else self.number(1 << (first - 0xFC))

    def sized(self) -> bytes:
        return self.take(self.compact())
