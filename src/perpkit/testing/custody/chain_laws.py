"""What every chain of custody has to keep."""

from abc import ABC, abstractmethod
from collections.abc import Collection

from perpkit.errors import ChainError
from perpkit.ports.custody.chain import BlockRef, ChainSource, Outpoint, Output
from perpkit.testing.custody.expect import refusing
from perpkit.units import Units


class ChainLaws(ABC):
    """What a `ChainSource` keeps. The hooks are what the world does to the chain behind it."""

    amount_units: Units = 1_000_000

    @abstractmethod
    def make_chain(self) -> ChainSource:
        """Make a chain of at least one block, where the scripts of `script` hold nothing."""
        ...

    @abstractmethod
    def mine(self, chain: ChainSource, count: int) -> None:
        """Make blocks, with all that was broadcast in the first of them."""
        ...

    @abstractmethod
    def pay(self, chain: ChainSource, script: bytes, amount_units: Units) -> Outpoint:
        """Let money arrive, in a block of its own, and make it fit to be spent."""
        ...

    @abstractmethod
    def reorganise(self, chain: ChainSource, depth: int) -> None:
        """Replace the last blocks by more of them, without what was in them."""
        ...

    @abstractmethod
    def script(self, number: int) -> bytes:
        """Return one of any number of scripts that `spend` can satisfy."""
        ...

    @abstractmethod
    def spend(self, chain: ChainSource, outpoint: Outpoint, script: bytes, *, signed: bool = True) -> bytes:
        """Return a transaction of a coin of `amount_units` on `script(1)` that pays most of it to another script."""
        ...

    def test_blocks_are_numbered_and_linked(self) -> None:
        """By height without gaps, each naming the one before."""
        chain = self.make_chain()
        before = chain.tip()
        self.mine(chain, 3)
        assert chain.tip().height == before.height + 3
        assert chain.block(before.height).ref == before
        for height in range(max(1, before.height), chain.tip().height + 1):
            block = chain.block(height)
            assert block.ref.height == height
            assert block.previous == chain.block(height - 1).ref.hash
            assert len(block.ref.hash) == 32
        assert chain.block(chain.tip().height).ref == chain.tip()

    def test_there_is_no_block_above_the_tip_or_below_the_first(self) -> None:
        """A negative height is no way to count from the end."""
        chain = self.make_chain()
        for height in (chain.tip().height + 1, -1):
            with refusing(ChainError):
                chain.block(height)

    def test_a_block_tells_of_money_that_came_in(self) -> None:
        """Under the outpoint where it lies, to the unit."""
        chain = self.make_chain()
        point = self.pay(chain, self.script(1), self.amount_units)
        assert self._outputs(chain)[point] == Output(self.script(1), self.amount_units)

    def test_coins_are_counted_as_they_stood_after_a_block(self) -> None:
        """Of the past, too: as if nothing had happened since."""
        chain = self.make_chain()
        before = chain.tip()
        point = self.pay(chain, self.script(1), self.amount_units)
        paid = chain.tip()
        txid = chain.broadcast(self.spend(chain, point, self.script(2)))
        assert self._points(chain, [1], paid) == {point}
        self.mine(chain, 1)
        spent = chain.tip()
        assert self._points(chain, [1, 2], before) == set()
        assert self._points(chain, [1, 2], paid) == {point}
        assert {each.txid for each in self._points(chain, [1, 2], spent)} == {txid}
        assert self._points(chain, [1], spent) == self._points(chain, [], paid) == set()
        (coin,) = chain.coins([self.script(1), self.script(1)], paid)
        assert coin.output == Output(self.script(1), self.amount_units)
        assert point in self._outputs(chain, coin.height, coin.height)

    def test_a_transaction_of_a_block_names_what_it_spends(self) -> None:
        """That is how a follower sees money leave."""
        chain = self.make_chain()
        point = self.pay(chain, self.script(1), self.amount_units)
        txid = chain.broadcast(self.spend(chain, point, self.script(2)))
        self.mine(chain, 1)
        (found,) = [each for each in chain.block(chain.tip().height).transactions if each.txid == txid]
        assert found.inputs == (point,)

    def test_broadcasting_again_is_harmless_before_and_after_it_is_mined(self) -> None:
        """After a crash nobody knows whether it was sent."""
        chain = self.make_chain()
        point = self.pay(chain, self.script(1), self.amount_units)
        raw = self.spend(chain, point, self.script(2))
        txid = chain.broadcast(raw)
        assert chain.broadcast(raw) == txid
        self.mine(chain, 1)
        assert chain.broadcast(raw) == txid
        self.mine(chain, 2)
        assert chain.broadcast(raw) == txid
        assert len(self._points(chain, [2], chain.tip())) == 1

    def test_what_is_not_signed_or_no_transaction_is_refused(self) -> None:
        """And it moves no coin in the blocks that follow."""
        chain = self.make_chain()
        point = self.pay(chain, self.script(1), self.amount_units)
        for raw in (self.spend(chain, point, self.script(2), signed=False), b"", b"\x00" * 100):
            with refusing(ChainError):
                chain.broadcast(raw)
        self.mine(chain, 1)
        assert self._points(chain, [1, 2], chain.tip()) == {point}

    def test_a_coin_is_spent_once(self) -> None:
        """The second one is refused once the first is mined."""
        chain = self.make_chain()
        point = self.pay(chain, self.script(1), self.amount_units)
        first, second = (self.spend(chain, point, self.script(number)) for number in (2, 3))
        chain.broadcast(first)
        self.mine(chain, 1)
        with refusing(ChainError):
            chain.broadcast(second)

    def test_what_was_reorganised_is_gone(self) -> None:
        """Its blocks are refused, and the coins are as they were before."""
        chain = self.make_chain()
        kept = self.pay(chain, self.script(1), self.amount_units)
        before = chain.tip()
        chain.broadcast(self.spend(chain, kept, self.script(2)))
        self.mine(chain, 1)
        gone = chain.tip()
        self.reorganise(chain, 1)
        assert chain.tip().height > gone.height
        assert chain.block(gone.height).ref != gone
        assert chain.block(before.height).ref == before
        assert self._points(chain, [1, 2], before) == {kept}
        with refusing(ChainError):
            chain.coins([self.script(1)], gone)
        with refusing(ChainError):
            chain.coins([self.script(1)], BlockRef(chain.tip().height + 1, gone.hash))
        assert self._points(chain, [1, 2], chain.block(gone.height).ref) == {kept}

    def test_the_fee_rate_is_a_whole_number_above_zero(self) -> None:
        """However soon it has to be mined."""
        chain = self.make_chain()
        assert all(type(chain.fee_rate(blocks)) is int and chain.fee_rate(blocks) > 0 for blocks in (1, 6, 100))

    def _points(self, chain: ChainSource, numbers: Collection[int], at: BlockRef) -> set[Outpoint]:
        coins = chain.coins([self.script(number) for number in numbers], at)
        assert len({coin.outpoint for coin in coins}) == len(coins)
        return {coin.outpoint for coin in coins}

    def _outputs(self, chain: ChainSource, low: int = 1, high: int | None = None) -> dict[Outpoint, Output]:
        return {
            Outpoint(transaction.txid, vout): output
            for height in range(low, (chain.tip().height if high is None else high) + 1)
            for transaction in chain.block(height).transactions
            for vout, output in enumerate(transaction.outputs)
        }
