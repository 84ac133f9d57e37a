"""What is ours on a chain, worked out from its blocks: the first of two counts."""

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.chain import Block, BlockRef, ChainSource, ChainTransaction, Coin, Outpoint
from perpkit.ports.custody.wallet import Owner, WalletBackend
from perpkit.units import Units


@attrs.frozen(kw_only=True)
class Received:
    """An output on a watched script. `own`: its transaction spends a coin of ours, so we may have sent it ourselves."""

    outpoint: Outpoint
    wallet: str
    owner: Owner
    index: int
    amount_units: Units
    txid: bytes
    block: BlockRef
    own: bool


@attrs.frozen(kw_only=True)
class View:
    """How things stood after a block, in the order of the chain, except for `coins`, which have none.

    `received` and `spent` hold everything since the follower's first block, `coins` what of it is left. `spent` names
    the transaction that spent a coin of ours; `mined` the block of each transaction that paid us or spent from us.
    """

    block: BlockRef
    coins: Mapping[Outpoint, Coin]
    received: Mapping[Outpoint, Received]
    spent: Mapping[Outpoint, bytes]
    mined: Mapping[bytes, BlockRef]


@attrs.frozen
class _Step:
    """What one block changed, so that it can be undone."""

    block: BlockRef
    previous: BlockRef
    made: tuple[Outpoint, ...]
    spent: tuple[Coin, ...]
    mined: tuple[bytes, ...]


@attrs.define
class _State:
    coins: dict[Outpoint, Coin] = attrs.field(factory=dict)
    received: dict[Outpoint, Received] = attrs.field(factory=dict)
    spent: dict[Outpoint, bytes] = attrs.field(factory=dict)
    mined: dict[bytes, BlockRef] = attrs.field(factory=dict)

    def copy(self) -> "_State":
        return _State(dict(self.coins), dict(self.received), dict(self.spent), dict(self.mined))

    def undo(self, step: _Step) -> None:
        for coin in step.spent:
            self.coins[coin.outpoint] = coin
            del self.spent[coin.outpoint]
        for point in step.made:
            del self.coins[point]
            del self.received[point]
        for txid in step.mined:
            del self.mined[txid]


class Follower:
    """Reads every block once, steps back over those that were reorganised, and tells what is ours at a depth.

    A script counts from the block on that is read after its wallet was told to watch it. So watch an address before
    anybody can pay to it, and all of them again before the first `follow` of a new process; after a mistake, `rescan`.

    Args:
        from_height: a block before the first money of ours; neither it nor anything before it is read.
        window_blocks: how many blocks can be undone, and the most confirmations that can be asked for. A deeper
            reorganisation is a scan from `from_height`.

    Cost:
        `follow` grows with the new blocks. Memory grows with what we ever received, and with the window.
    """

    def __init__(
        self,
        chain: ChainSource,
        wallets: Sequence[WalletBackend],
        *,
        from_height: int = 0,
        window_blocks: int = 144,
    ) -> None:
        self._chain = chain
        self._wallets = tuple(wallets)
        self._from_height = from_height
        self._window_blocks = window_blocks
        self._steps: deque[_Step] = deque(maxlen=window_blocks)
        self._state = _State()
        self._tip: BlockRef | None = None
        self._views: dict[int, View] = {}
        self._behind = True

    def follow(self) -> BlockRef:
        """Catch up with the chain, and return the tip that was reached.

        Raises:
            ChainError: the node cannot be reached. What was read stays read, and the next call goes on from there.
        """
        while (tip := self._chain.tip()) != self._tip or self._window_is_short(tip):
            self._behind = True
            if self._tip is None or self._tip == tip:
                self._restart()
                continue
            if tip.height > self._tip.height:
                block = self._chain.block(self._tip.height + 1)
                if block.previous == self._tip.hash:
                    self._read(block)
                    continue
            self._step_back()
        self._behind = False
        return tip

    def rescan(self) -> BlockRef:
        """Read everything again, as is needed for scripts that were watched too late; return the tip."""
        self._behind = True
        self._restart()
        return self.follow()

    def at_depth(self, confirmations: int) -> View:
        """Return how things stood after the block that has so many confirmations; the tip has one.

        While the chain is shorter than that, it is the empty view at `from_height`.

        Raises:
            ChainError: the last `follow` broke off, so that this could be a past that never was.

        Cost:
            Nothing when asked again for the same block. Otherwise it grows with what we ever received.
        """
        if self._behind or self._tip is None:
            raise ChainError("the chain was not read up to its tip; follow it first")
        if not 1 <= confirmations <= self._window_blocks:
            raise CustodyError(f"expected from 1 to {self._window_blocks} confirmations, was {confirmations}")
        undone = min(confirmations - 1, len(self._steps))
        block = self._steps[-undone].previous if undone else self._tip
        if (view := self._views.get(confirmations)) is None or view.block != block:
            state = self._state.copy()
            for place in range(1, undone + 1):
                state.undo(self._steps[-place])
            view = self._views[confirmations] = View(
                block=block,
                coins=MappingProxyType(state.coins),
                received=MappingProxyType(state.received),
                spent=MappingProxyType(state.spent),
                mined=MappingProxyType(state.mined),
            )
        return view

    def _window_is_short(self, tip: BlockRef) -> bool:
        """Say whether a reorganisation to a lower tip, which has more work all the same, used up what was kept."""
        return len(self._steps) < min(self._window_blocks, tip.height - self._from_height)

    def _restart(self) -> None:
        self._tip = self._chain.block(self._from_height).ref
        self._state = _State()
        self._steps.clear()
        self._views.clear()

    def _step_back(self) -> None:
        if not self._steps:
            self._restart()
            return
        step = self._steps.pop()
        self._state.undo(step)
        self._tip = step.previous

    def _read(self, block: Block) -> None:
        assert self._tip is not None
        made: list[Outpoint] = []
        spent: list[Coin] = []
        mined: list[bytes] = []
        for transaction in block.transactions:
            ours = [point for point in transaction.inputs if point in self._state.coins]
            received = self._received(transaction, block.ref, own=bool(ours))
            if not ours and not received:
                continue
            for point in ours:
                spent.append(self._state.coins.pop(point))
                self._state.spent[point] = transaction.txid
            for each, coin in received:
                made.append(each.outpoint)
                self._state.received[each.outpoint] = each
                self._state.coins[each.outpoint] = coin
            mined.append(transaction.txid)
            self._state.mined[transaction.txid] = block.ref
        self._steps.append(_Step(block.ref, self._tip, tuple(made), tuple(spent), tuple(mined)))
        self._tip = block.ref

    def _received(self, transaction: ChainTransaction, block: BlockRef, *, own: bool) -> list[tuple[Received, Coin]]:
        """Return the outputs of a transaction that are on watched scripts, of whichever wallet."""
        received = []
        for vout, output in enumerate(transaction.outputs):
            for wallet in self._wallets:
                if (place := wallet.owner_of(output.script)) is not None:
                    point = Outpoint(transaction.txid, vout)
                    owner, index = place
                    each = Received(
                        outpoint=point,
                        wallet=wallet.name,
                        owner=owner,
                        index=index,
                        amount_units=output.amount_units,
                        txid=transaction.txid,
                        block=block,
                        own=own,
                    )
                    received.append((each, Coin(outpoint=point, output=output, height=block.height)))
                    break
        return received
