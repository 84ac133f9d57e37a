"""A chain in memory, for simulation, tests and teaching: it mines when told, and reorganises when told."""

from collections.abc import Callable, Collection, Sequence

from perpkit.custody.digest import digest
from perpkit.custody.pretend.plain_transaction import PlainTransaction, read_transaction
from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.chain import Block, BlockRef, Coin, Outpoint, Output
from perpkit.units import Units

THIEF = digest("plain-script", "whoever stole it")
"""Where stolen money goes."""


class MemoryChain:
    """A chain and its only node, in one process. The same calls make the same blocks, hash for hash.

    Beside what every `ChainSource` does, a test plays the world with it: `pay` lets money arrive, `mine` makes blocks,
    `reorganise` replaces them, `steal` takes a coin that nobody released, `fail_next` takes the node away.

    `coins` is counted from when each coin was made and spent, not from the blocks.

    Args:
        check: raises `CustodyError` when a transaction may not spend these outputs, such as `PlainWallet.check`.

    Raises:
        ChainError: the node is away, or there is no such block, coin or depth.

    Example:
        >>> chain = MemoryChain(lambda transaction, spent: None)
        >>> coin = chain.pay(b"somebody's script", 5)
        >>> chain.mine().height, len(chain.coins([b"somebody's script"], chain.tip()))
        (1, 1)
        >>> chain.reorganise(1).height, len(chain.coins([b"somebody's script"], chain.tip()))
        (2, 0)
        >>> chain.waiting() == (coin.txid,)
        True
    """

    def __init__(
        self, check: Callable[[PlainTransaction, Sequence[Output]], None], *, fee_rate_units: Units = 1_000
    ) -> None:
        self.fee_rate_units = fee_rate_units
        self._check = check
        self._blocks: list[Block] = []
        self._contents: list[tuple[PlainTransaction, ...]] = []
        self._waiting: dict[bytes, PlainTransaction] = {}
        self._mined: set[bytes] = set()
        self._made: dict[Outpoint, Coin] = {}
        self._spent: dict[Outpoint, int] = {}
        self._under: dict[bytes, list[Outpoint]] = {}
        self._serial = 0
        self._branch = 0
        self._failures = 0
        self._append(())

    def tip(self) -> BlockRef:
        """Return the last block."""
        self._answer()
        return self._blocks[-1].ref

    def block(self, height: int, /) -> Block:
        """Return a block by its height."""
        self._answer()
        if not 0 <= height < len(self._blocks):
            raise ChainError(f"expected a height from 0 to {len(self._blocks) - 1}, was {height}")
        return self._blocks[height]

    def coins(self, scripts: Collection[bytes], at: BlockRef, /) -> Sequence[Coin]:
        """Return the coins that were made up to a block and not spent up to it.

        Cost:
            All outputs that ever lay under the scripts.
        """
        self._answer()
        if at.height >= len(self._blocks) or self._blocks[at.height].ref != at:
            raise ChainError(f"block {at.hash.hex()} is not the one at height {at.height}")
        made = (self._made[point] for script in sorted(set(scripts)) for point in self._under.get(script, ()))
        return [
            coin
            for coin in made
            if coin.height <= at.height and self._spent.get(coin.outpoint, len(self._blocks)) > at.height
        ]

    def broadcast(self, raw: bytes, /) -> bytes:
        """Take a transaction into the next block. It replaces those it conflicts with if it pays a higher fee."""
        self._answer()
        try:
            transaction = read_transaction(raw)
        except CustodyError as error:
            raise ChainError(str(error)) from error
        txid = transaction.txid
        if txid in self._waiting or txid in self._mined:
            return txid
        fee_units = self._fee(transaction)
        rivals = self._rivals(transaction)
        if rivals and any(point not in self._made for point in transaction.inputs):
            raise ChainError("what replaces another may spend only what is mined")
        if any(fee_units <= self._fee(rival) for rival in rivals):
            raise ChainError(f"a fee of {fee_units} units is not above that of {rivals[0].txid.hex()}, which waits")
        try:
            self._check(transaction, [self._output(point) for point in transaction.inputs])
        except CustodyError as error:
            raise ChainError(f"{txid.hex()} is not allowed to spend what it spends: {error}") from error
        for rival in rivals:
            del self._waiting[rival.txid]
        self._waiting[txid] = transaction
        self._drop_orphans()
        return txid

    def fee_rate(self, _blocks: int, /) -> Units:
        """Return `fee_rate_units`, which a test may set."""
        self._answer()
        return self.fee_rate_units

    def mine(self, count: int = 1, *, leave: Collection[bytes] = ()) -> BlockRef:
        """Make blocks. The first takes everything that waits, first come first served.

        Args:
            count: how many blocks to make.
            leave: ids of what no miner wants now. It goes on waiting, with what spends from it.
        """
        for _ in range(count):
            waiting, left = self._waiting, set(leave)
            self._waiting = {}
            for txid, transaction in waiting.items():
                if txid in left or any(point.txid in left for point in transaction.inputs):
                    left.add(txid)
                    self._waiting[txid] = transaction
            self._append(tuple(each for txid, each in waiting.items() if txid not in left))
        return self._blocks[-1].ref

    def pay(self, script: bytes, amount_units: Units) -> Outpoint:
        """Let money arrive from outside, in the next block."""
        if amount_units <= 0:
            raise ChainError(f"expected an amount above 0 units, was {amount_units}")
        self._serial += 1
        paid = PlainTransaction(inputs=(), outputs=(Output(script, amount_units),), serial=self._serial)
        self._waiting[paid.txid] = paid
        return Outpoint(paid.txid, 0)

    def steal(self, outpoint: Outpoint, *, script: bytes = THIEF) -> bytes:
        """Let somebody with all the keys take a coin, in the next block; return the transaction's id."""
        stolen = PlainTransaction(inputs=(outpoint,), outputs=(Output(script, self._output(outpoint).amount_units),))
        for rival in self._rivals(stolen):
            del self._waiting[rival.txid]
        self._waiting[stolen.txid] = stolen
        self._drop_orphans()
        return stolen.txid

    def reorganise(self, depth: int, *, keep: bool = False, forget: Collection[bytes] = ()) -> BlockRef:
        """Replace the last blocks by one more than there were.

        Args:
            depth: how many blocks are replaced.
            keep: what was mined stays, at the same heights. Otherwise the new blocks are empty, and it waits again.
            forget: ids of what is neither mined nor waits, with all that spends from it: somebody took it back.
        """
        if not 0 < depth < len(self._blocks):
            raise ChainError(f"expected a depth from 1 to {len(self._blocks) - 1}, was {depth}")
        self._branch += 1
        undone = [self._pop() for _ in range(depth)][::-1]
        replaced = [[each for each in block if each.txid not in forget] for block in undone]
        self._waiting = {txid: each for txid, each in self._waiting.items() if txid not in forget}
        if not keep:
            self._waiting = {each.txid: each for block in replaced for each in block} | self._waiting
            replaced = [[] for _ in replaced]
        for block in [*replaced, []]:
            self._append(tuple(block))
        self._drop_orphans()
        return self._blocks[-1].ref

    def fail_next(self, count: int = 1) -> None:
        """Let the node be away for its next questions."""
        self._failures = count

    def waiting(self) -> Sequence[bytes]:
        """Return the ids of what was broadcast and is not mined."""
        return tuple(self._waiting)

    def _answer(self) -> None:
        if self._failures:
            self._failures -= 1
            raise ChainError("the node does not answer")

    def _append(self, offered: Sequence[PlainTransaction]) -> None:
        """Add a block of those transactions whose coins are there."""
        height = len(self._blocks)
        taken: list[PlainTransaction] = []
        for transaction in offered:
            if all(point in self._made and point not in self._spent for point in transaction.inputs):
                self._spent.update(dict.fromkeys(transaction.inputs, height))
                for vout, output in enumerate(transaction.outputs):
                    point = Outpoint(transaction.txid, vout)
                    self._made[point] = Coin(outpoint=point, output=output, height=height)
                    self._under.setdefault(output.script, []).append(point)
                self._mined.add(transaction.txid)
                taken.append(transaction)
        previous = self._blocks[-1].ref.hash if self._blocks else bytes(32)
        mined = tuple(each.on_chain() for each in taken)
        name = digest("memory-block", (height, previous, self._branch, [each.txid for each in mined]))
        self._blocks.append(Block(ref=BlockRef(height, name), previous=previous, transactions=mined))
        self._contents.append(tuple(taken))

    def _pop(self) -> tuple[PlainTransaction, ...]:
        self._blocks.pop()
        undone = self._contents.pop()
        for transaction in reversed(undone):
            self._mined.remove(transaction.txid)
            for vout, output in enumerate(transaction.outputs):
                del self._made[Outpoint(transaction.txid, vout)]
                self._under[output.script].remove(Outpoint(transaction.txid, vout))
            for point in transaction.inputs:
                del self._spent[point]
        return undone

    def _rivals(self, transaction: PlainTransaction) -> list[PlainTransaction]:
        """Return what waits and spends a coin that this spends too."""
        return [each for each in self._waiting.values() if not set(each.inputs).isdisjoint(transaction.inputs)]

    def _drop_orphans(self) -> None:
        """Forget what waits and spends what is no longer there."""
        waiting, self._waiting = self._waiting, {}
        for txid, each in waiting.items():
            if all(
                point.txid in self._waiting or (point in self._made and point not in self._spent)
                for point in each.inputs
            ):
                self._waiting[txid] = each

    def _output(self, outpoint: Outpoint) -> Output:
        """Return an output that is there to be spent, waiting ones included."""
        if outpoint in self._made and outpoint not in self._spent:
            return self._made[outpoint].output
        if outpoint.txid in self._waiting and 0 <= outpoint.vout < len(self._waiting[outpoint.txid].outputs):
            return self._waiting[outpoint.txid].outputs[outpoint.vout]
        raise ChainError(f"there is no coin {outpoint.txid.hex()}:{outpoint.vout}, or it is spent")

    def _fee(self, transaction: PlainTransaction) -> Units:
        """Return what a transaction leaves to the miner, if it makes no money."""
        if not transaction.inputs or len(set(transaction.inputs)) < len(transaction.inputs):
            raise ChainError("expected inputs, each once")
        if any(output.amount_units <= 0 for output in transaction.outputs):
            raise ChainError("expected outputs above 0 units")
        spent_units = sum(self._output(point).amount_units for point in transaction.inputs)
        if spent_units < transaction.paid_units:
            raise ChainError(f"{transaction.paid_units} units cannot be paid from {spent_units}")
        return spent_units - transaction.paid_units
