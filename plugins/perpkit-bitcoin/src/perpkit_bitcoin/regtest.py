"""A chain in this process, whose every block Bitcoin Core's own consensus code checks. For tests and demonstrations.

Needs the extra `regtest`. There is no server and no network: the miner, and what waits for it, are here.
"""

import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pbk
from pbk.script import PrecomputedTransactionData

from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.chain import Block, BlockRef, Coin, Outpoint, Output
from perpkit.units import Units, div_ceil, div_floor
from perpkit_bitcoin.selection import dust_units, named
from perpkit_bitcoin.transaction import (
    Input,
    Transaction,
    compact,
    merkle_root,
    number,
    read_block,
    read_block_transactions,
    read_transaction,
    twice,
)

MINER = b"\x51"
"""The script under which the miner keeps its money: anyone may spend it."""

SUBSIDY_UNITS = 5_000_000_000
HALVING_BLOCKS = 150
MATURITY_BLOCKS = 100
RELAY_UNITS = 1_000
"""The least that 1,000 virtual bytes must pay to be relayed, and by which a replacement must pay more."""

REPLACEABLE_MAX = 0xFFFFFFFD
FIRST_SECOND = 1_296_688_602
BITS = 0x207FFFFF
TARGET = 0x7FFFFF << 232


class KernelChain:
    """A regtest chain and its only node. The same calls make the same blocks, hash for hash.

    Beside what every `ChainSource` does, a test plays the world with it: `pay` lets money arrive, `mine` makes blocks,
    `reorganise` replaces them, `fail_next` takes the node away. `close` it when done.

    What waits has been checked as a node would: scripts by Core's code, fees, dust, replacement by BIP-125. Of the
    other rules by which nodes relay, none is applied.

    Args:
        blocks: how many to begin with. The miner can pay out what is 100 blocks old.
    """

    def __init__(self, *, blocks: int = 110, fee_rate_units: Units = 1_000) -> None:
        self.fee_rate_units = fee_rate_units
        directory = tempfile.mkdtemp(prefix="perpkit-regtest-")
        self._verdicts: list[str] = []
        self._kernel: Any = _kernel(directory, pbk.ValidationInterfaceCallbacks(block_checked=self._checked))
        self._remove = weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        self._coins: dict[Outpoint, Coin] = {}
        self._mined: set[bytes] = set()
        self._mint: set[Outpoint] = set()
        self._waiting: dict[bytes, Transaction] = {}
        self._scans: dict[bytes, list[tuple[list[Outpoint], list[tuple[Outpoint, Output]]]]] = {}
        self._serial = 0
        self._failures = 0
        self.mine(blocks)

    def close(self) -> None:
        """Let go of the kernel, and remove its files."""
        self._kernel = None
        self._remove()

    def tip(self) -> BlockRef:
        """Return the last block."""
        self._answer()
        return self._tip()

    def block(self, height: int, /) -> Block:
        """Return a block by its height."""
        self._answer()
        return read_block(self.raw_block(height), height)

    def coins(self, scripts: Collection[bytes], at: BlockRef, /) -> Sequence[Coin]:
        """Return the coins as the kernel's own reader of blocks finds them.

        Cost:
            All outputs of all blocks, each read once in the life of the chain.
        """
        self._answer()
        if self.ref(at.height) != at:
            raise ChainError(f"block {at.hash.hex()} is not the one at height {at.height}")
        wanted = set(scripts)
        found: dict[Outpoint, Coin] = {}
        for height in range(1, at.height + 1):
            for spent, made in self._scan(height):
                for outpoint in spent:
                    found.pop(outpoint, None)
                for outpoint, output in made:
                    if output.script in wanted:
                        found[outpoint] = Coin(outpoint=outpoint, output=output, height=height)
        return list(found.values())

    def broadcast(self, raw: bytes, /) -> bytes:
        """Take a transaction into the next block. It replaces those it conflicts with, if they allow and it pays."""
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
        least_units = div_ceil(RELAY_UNITS * transaction.virtual_bytes, 1_000)
        needed_units = least_units + sum(self._fee(rival) for rival in rivals)
        if fee_units < needed_units:
            raise ChainError(f"{txid.hex()}: expected a fee of {needed_units} units at least, was {fee_units}")
        if stubborn := [each for each in rivals if min(spent.sequence for spent in each.inputs) > REPLACEABLE_MAX]:
            raise ChainError(f"{txid.hex()}: {stubborn[0].txid.hex()} waits and may not be replaced")
        self._check_scripts(transaction)
        self._replace(rivals, transaction)
        return txid

    def fee_rate(self, blocks: int, /) -> Units:  # noqa: ARG002 - the next block always has room
        """Return `fee_rate_units`, which a test may set."""
        self._answer()
        return self.fee_rate_units

    def previous(self, coin: Coin) -> bytes:
        """Return the transaction that made a coin, whole."""
        for transaction in read_block_transactions(self.raw_block(coin.height)):
            if transaction.txid == coin.outpoint.txid:
                return transaction.raw()
        raise ChainError(f"there is no transaction {coin.outpoint.txid.hex()} at height {coin.height}")

    def mine(self, count: int = 1, *, leave: Collection[bytes] = (), also: Iterable[bytes] = ()) -> BlockRef:
        """Make blocks. The first takes everything that waits, first come first served.

        Args:
            count: how many blocks to make.
            leave: ids of what no miner wants now. It goes on waiting, with what spends from it.
            also: transactions that a miner puts in although no node has relayed them.

        Raises:
            ChainError: the block breaks a rule of consensus. The chain is as it was.
        """
        left = set(leave)
        for txid, transaction in self._waiting.items():
            if any(spent.outpoint.txid in left for spent in transaction.inputs):
                left.add(txid)
        block = [*(each for txid, each in self._waiting.items() if txid not in left), *map(read_transaction, also)]
        for _ in range(count):
            self._append(self._tip(), block)
            block = []
        self._drop_orphans()
        return self._tip()

    def pay(self, script: bytes, amount_units: Units) -> Outpoint:
        """Let money arrive from outside, in the next block. Not even dust is refused: miners take what they like."""
        fee_units = 1_000
        taken = {spent.outpoint for each in self._waiting.values() for spent in each.inputs}
        old = self._tip().height + 1 - MATURITY_BLOCKS
        free = [each for each in self._coins.values() if each.output.script == MINER and each.outpoint not in taken]
        ripe = [each for each in free if each.outpoint not in self._mint or each.height <= old]
        chosen: list[Coin] = []
        left = -amount_units - fee_units
        # New money first: what descends from an earlier payment would vanish with it.
        for coin in sorted(ripe, key=lambda each: (each.outpoint not in self._mint, each.height, each.outpoint)):
            if left < 0:
                chosen.append(coin)
                left += coin.output.amount_units
        if left < 0 or amount_units <= 0:
            raise ChainError(f"expected an amount that the miner has, was {amount_units}; it lacks {-left}: mine more")
        inputs = tuple(Input(each.outpoint, b"", REPLACEABLE_MAX) for each in chosen)
        paid = Transaction(2, inputs, (Output(script, amount_units), Output(MINER, left)), 0)
        self._waiting[paid.txid] = paid
        return Outpoint(paid.txid, 0)

    def reorganise(self, depth: int, *, keep: bool = False, forget: Collection[bytes] = ()) -> BlockRef:
        """Replace the last blocks by one more than there were.

        Args:
            depth: how many blocks are replaced.
            keep: what was mined stays, at the same heights. Otherwise the new blocks are empty, and it waits again.
            forget: ids of what is neither mined nor waits, with all that spends from it: somebody took it back.
        """
        top = self._tip().height
        if not 0 < depth <= top:
            raise ChainError(f"expected a depth from 1 to {top}, was {depth}")
        heights = range(top - depth + 1, top + 1)
        undone = [read_block_transactions(self.raw_block(height))[1:] for height in heights]
        replaced = [[each for each in block if each.txid not in forget] for block in undone]
        self._waiting = {txid: each for txid, each in self._waiting.items() if txid not in forget}
        if not keep:
            self._waiting = {each.txid: each for block in replaced for each in block} | self._waiting
            replaced = [[] for _ in replaced]
        fork = self.ref(top - depth)
        self._recount(fork.height)
        for block in [*replaced, []]:
            fork = self._append(fork, self._payable(block), active=fork.height >= top)
        self._drop_orphans()
        return fork

    def fail_next(self, count: int = 1) -> None:
        """Let the node be away for its next questions."""
        self._failures = count

    def waiting(self) -> Sequence[bytes]:
        """Return the ids of what was broadcast and is not mined."""
        return tuple(self._waiting)

    def ref(self, height: int) -> BlockRef:
        """Return height and hash of a block of the active chain."""
        top = self._kernel.get_active_chain().height
        if not 0 <= height <= top:
            raise ChainError(f"expected a height from 0 to {top}, was {height}")
        return BlockRef(height, bytes(self._entry(height).block_hash)[::-1])

    def raw_block(self, height: int) -> bytes:
        """Return a block of the active chain as the network sends it."""
        return bytes(self._kernel.blocks[self._entry(self.ref(height).height)])

    def _answer(self) -> None:
        if self._failures:
            self._failures -= 1
            raise ChainError("the node does not answer")

    def _checked(self, _user: object, _block: object, state: Any) -> None:
        self._verdicts.append(state.block_validation_result.name)

    def _entry(self, height: int) -> Any:
        return self._kernel.get_active_chain().block_tree_entries[height]

    def _tip(self) -> BlockRef:
        return self.ref(self._kernel.get_active_chain().height)

    def _scan(self, height: int) -> list[tuple[list[Outpoint], list[tuple[Outpoint, Output]]]]:
        name = self.ref(height).hash
        if name not in self._scans:
            self._scans[name] = [
                (
                    [Outpoint(bytes(each.out_point.txid)[::-1], each.out_point.index) for each in found.inputs],
                    [
                        (Outpoint(bytes(found.txid)[::-1], vout), Output(bytes(each.script_pubkey), each.amount))
                        for vout, each in enumerate(found.outputs)
                    ],
                )
                for found in self._kernel.blocks[self._entry(height)].transactions
            ]
        return self._scans[name]

    def _append(self, parent: BlockRef, transactions: Sequence[Transaction], *, active: bool = True) -> BlockRef:
        """Make a block on another, and count its coins. It has to become the tip if it is to be `active`."""
        height = parent.height + 1
        made = self._counted(height, transactions)
        header, ref = self._header(parent, made)
        raw = header + compact(len(made)) + b"".join(each.raw() for each in made)
        self._verdicts.clear()
        self._kernel.process_block(pbk.Block(raw))
        if active and self._tip() != ref:
            self._recount(self._tip().height)
            raise ChainError(f"the block at height {height} is refused: {', '.join(self._verdicts) or 'not valid'}")
        return ref

    def _counted(self, height: int, transactions: Sequence[Transaction]) -> list[Transaction]:
        """Take a block's transactions into the count of coins; return them after the coinbase."""
        fees_units = 0
        for transaction in transactions:
            spent = [self._coins.pop(each.outpoint, None) for each in transaction.inputs]
            fees_units += sum(coin.output.amount_units for coin in spent if coin)
            fees_units -= sum(output.amount_units for output in transaction.outputs)
            self._count(transaction, height)
        reward_units = (SUBSIDY_UNITS >> div_floor(height, HALVING_BLOCKS)) + fees_units
        coinbase = self._coinbase(height, max(reward_units, 0), transactions)
        self._count(coinbase, height)
        return [coinbase, *transactions]

    def _count(self, transaction: Transaction, height: int) -> None:
        self._mined.add(transaction.txid)
        for vout, output in enumerate(transaction.outputs):
            outpoint = Outpoint(transaction.txid, vout)
            self._coins[outpoint] = Coin(outpoint=outpoint, output=output, height=height)
            if transaction.is_coinbase:
                self._mint.add(outpoint)

    def _recount(self, upto: int) -> None:
        """Count the coins of the active chain anew, as far as a height."""
        self._coins, self._mined, self._mint = {}, set(), set()
        for height in range(1, upto + 1):
            for transaction in read_block_transactions(self.raw_block(height)):
                for spent in transaction.inputs:
                    self._coins.pop(spent.outpoint, None)
                self._count(transaction, height)

    def _coinbase(self, height: int, reward_units: Units, transactions: Sequence[Transaction]) -> Transaction:
        """Return the transaction that pays the miner and commits to all witnesses."""
        self._serial += 1
        witnesses = merkle_root([bytes(32), *(twice(each.raw()) for each in transactions)])
        commitment = b"\x6a\x24\xaa\x21\xa9\xed" + twice(witnesses + bytes(32))
        script = _height_push(height) + b"\x08" + number(self._serial, 8)
        newborn = Input(Outpoint(bytes(32), 0xFFFFFFFF), script, 0xFFFFFFFF, (bytes(32),))
        return Transaction(2, (newborn,), (Output(MINER, reward_units), Output(commitment, 0)), 0)

    def _header(self, parent: BlockRef, transactions: Sequence[Transaction]) -> tuple[bytes, BlockRef]:
        height = parent.height + 1
        root = merkle_root([twice(each.stripped()) for each in transactions])
        start = number(1 << 29, 4) + parent.hash[::-1] + root + number(FIRST_SECOND + 600 * height, 4) + number(BITS, 4)
        nonce = 0
        while int.from_bytes(twice(header := start + number(nonce, 4)), "little") > TARGET:
            nonce += 1
        return header, BlockRef(height, twice(header)[::-1])

    def _payable(self, transactions: Sequence[Transaction]) -> list[Transaction]:
        """Return those whose coins are there, or are made by one of them."""
        made: set[bytes] = set()
        found = []
        for each in transactions:
            if all(spent.outpoint in self._coins or spent.outpoint.txid in made for spent in each.inputs):
                made.add(each.txid)
                found.append(each)
        return found

    def _output(self, outpoint: Outpoint) -> Output:
        """Return an output that is there to be spent, waiting ones included."""
        if coin := self._coins.get(outpoint):
            if outpoint in self._mint and coin.height > self._tip().height + 1 - MATURITY_BLOCKS:
                raise ChainError(f"{named(outpoint)} is too young to be spent")
            return coin.output
        maker = self._waiting.get(outpoint.txid)
        if maker and outpoint.vout < len(maker.outputs):
            return maker.outputs[outpoint.vout]
        raise ChainError(f"there is no coin {named(outpoint)}, or it is spent")

    def _fee(self, transaction: Transaction) -> Units:
        """Return what a transaction leaves to the miner."""
        if len({spent.outpoint for spent in transaction.inputs}) < max(len(transaction.inputs), 1):
            raise ChainError("expected inputs, each once")
        if transaction.lock_time:
            raise ChainError(f"expected no lock time, was {transaction.lock_time}")
        for output in transaction.outputs:
            if output.amount_units < dust_units(output.script):
                raise ChainError(f"an output of {output.amount_units} units is dust")
        spent_units = sum(self._output(spent.outpoint).amount_units for spent in transaction.inputs)
        return spent_units - sum(output.amount_units for output in transaction.outputs)

    def _check_scripts(self, transaction: Transaction) -> None:
        spent = [self._output(each.outpoint) for each in transaction.inputs]
        outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(each.script), each.amount_units) for each in spent]
        whole = pbk.Transaction(transaction.raw())
        data = PrecomputedTransactionData(whole, outputs)
        for position, each in enumerate(spent):
            script = pbk.ScriptPubkey(each.script)
            if not script.verify(each.amount_units, whole, data, position, pbk.ScriptVerificationFlags.ALL):
                raise ChainError(f"{transaction.txid.hex()}: input {position} does not satisfy its script")

    def _rivals(self, transaction: Transaction) -> list[Transaction]:
        """Return what waits and spends a coin that this spends too."""
        wanted = {spent.outpoint for spent in transaction.inputs}
        return [each for each in self._waiting.values() if any(spent.outpoint in wanted for spent in each.inputs)]

    def _replace(self, rivals: Sequence[Transaction], transaction: Transaction) -> None:
        for rival in rivals:
            del self._waiting[rival.txid]
        self._waiting[transaction.txid] = transaction
        self._drop_orphans()

    def _drop_orphans(self) -> None:
        """Forget what waits and is mined, or spends what is no longer there."""
        waiting, self._waiting = self._waiting, {}
        for txid, each in waiting.items():
            there = (spent.outpoint in self._coins or spent.outpoint.txid in self._waiting for spent in each.inputs)
            if txid not in self._mined and all(there):
                self._waiting[txid] = each


def _kernel(directory: str, callbacks: Any) -> Any:
    """Open Core's kernel, with everything in memory but the blocks."""
    context = pbk.make_context(pbk.ChainType.REGTEST, validation_callbacks=callbacks)
    options = pbk.ChainstateManagerOptions(context, directory, f"{directory}/blocks")
    options.update_block_tree_db_in_memory(True)
    options.update_chainstate_db_in_memory(True)
    options.set_worker_threads_num(0)
    return pbk.ChainstateManager(options)


def _height_push(height: int) -> bytes:
    """Return the words of a script that push a height (BIP-34)."""
    if height <= 16:
        return bytes((0x50 + height,))
    digits = height.to_bytes((height.bit_length() >> 3) + 1, "little")
    return bytes((len(digits),)) + digits
