"""A chain seen from outside: blocks, coins, and a way to send."""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import attrs

from perpkit.units import Units


class BlockRef(NamedTuple):
    """A block by its height and its hash; 32 bytes in the order in which the chain's people write it."""

    height: int
    hash: bytes


class Outpoint(NamedTuple):
    """An output of a transaction, by its place among them."""

    txid: bytes
    vout: int


class Output(NamedTuple):
    """Money under a script: whoever satisfies the script may spend it."""

    script: bytes
    amount_units: Units


@attrs.frozen
class Coin:
    """An output that nobody has spent, and the height of the block that made it."""

    outpoint: Outpoint
    output: Output
    height: int


@attrs.frozen
class ChainTransaction:
    """A transaction of a block. A coinbase spends nothing: `inputs` is empty."""

    txid: bytes
    inputs: tuple[Outpoint, ...]
    outputs: tuple[Output, ...]


@attrs.frozen
class Block:
    """A block of the active chain."""

    ref: BlockRef
    previous: bytes
    transactions: tuple[ChainTransaction, ...]


class ChainSource(Protocol):
    """One node's view of a chain. Provisional.

    Units:
        Amounts in the chain's smallest unit, which is the accounting unit of the asset.

    Raises:
        ChainError: the node cannot be reached, or answered garbage. Nothing is known then; ask again later.
    """

    @abstractmethod
    def tip(self) -> BlockRef:
        """Return the last block of the active chain."""
        ...

    @abstractmethod
    def block(self, height: int, /) -> Block:
        """Return a block of the active chain. Another one may stand there after a reorganisation.

        Raises:
            ChainError: also when the chain is not that high.
        """
        ...

    @abstractmethod
    def coins(self, scripts: Collection[bytes], at: BlockRef, /) -> Sequence[Coin]:
        """Return the coins under some scripts as they stood after block `at`, by the node's own count.

        The second of two independent scans: it must not be made from `block` by the code that follows the blocks.

        Raises:
            ChainError: also when `at` is not of the active chain.
        """
        ...

    @abstractmethod
    def broadcast(self, raw: bytes, /) -> bytes:
        """Give the network a signed transaction; return its id. Idempotent: it may be known or mined already.

        Raises:
            ChainError: also when the node refuses it; the message says why.
        """
        ...

    @abstractmethod
    def fee_rate(self, blocks: int, /) -> Units:
        """Return what 1,000 virtual bytes cost to be mined within some blocks."""
        ...
