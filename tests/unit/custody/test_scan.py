"""The follower says at every depth what a fresh look at all blocks says, whatever was reorganised in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpkit.custody.desk.scan import Follower, Received, View
from perpkit.custody.pretend.memory_chain import MemoryChain
from perpkit.custody.pretend.plain_transaction import PlainTransaction
from perpkit.custody.pretend.plain_wallet import CHANGE, PlainWallet
from perpkit.custody.pretend.scheme import HmacScheme
from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.chain import Block, BlockRef, Coin, Outpoint, Output
from perpkit.ports.custody.wallet import Owner, Purpose

CLIENT, HOUSE = Owner(Purpose.CLIENT, 7), Owner(Purpose.HOUSE, 0)
STRANGER = b"\x07" * 32
WINDOW_BLOCKS = 5


def make_wallet(name: str) -> PlainWallet:
    wallet = PlainWallet(name=name, threshold=1, keys={name: name.encode()}, scheme=HmacScheme())
    for owner in (CLIENT, HOUSE, CHANGE):
        wallet.watch(owner, 2)
    return wallet


COLD, HOT = make_wallet("cold"), make_wallet("hot")
SCRIPTS = [
    COLD.script(CLIENT, 0),
    COLD.script(CHANGE, 1),
    HOT.script(CLIENT, 1),
    HOT.script(HOUSE, 0),
    STRANGER,
    COLD.script(CLIENT, 2),  # not watched
]


class CountingChain(MemoryChain):
    """A chain that counts how many blocks were asked for. Anybody may spend anything."""

    def __init__(self) -> None:
        super().__init__(lambda *_: None)
        self.read = 0

    def block(self, height: int, /) -> Block:
        self.read += 1
        return super().block(height)


@pytest.fixture
def chain() -> CountingChain:
    return CountingChain()


@pytest.fixture
def follower(chain: CountingChain) -> Follower:
    return Follower(chain, [COLD, HOT], window_blocks=WINDOW_BLOCKS)


def move(chain: MemoryChain, point: Outpoint, *scripts: bytes) -> bytes:
    """Spend a coin: 5 units to each script."""
    return chain.broadcast(PlainTransaction(inputs=(point,), outputs=tuple(Output(each, 5) for each in scripts)).raw)


def naive(chain: MemoryChain, confirmations: int, from_height: int = 0) -> View:
    """Look at all blocks from the first to the one at a depth, once, with nothing remembered."""
    height = max(chain.tip().height - confirmations + 1, from_height)
    places = {
        wallet.script(owner, index): (wallet.name, owner, index)
        for wallet in (COLD, HOT)
        for owner in (CLIENT, HOUSE, CHANGE)
        for index in range(2)
    }
    received: dict[Outpoint, Received] = {}
    spent: dict[Outpoint, bytes] = {}
    mined: dict[bytes, BlockRef] = {}
    coins: dict[Outpoint, Coin] = {}
    for block in map(chain.block, range(from_height + 1, height + 1)):
        for transaction in block.transactions:
            own = [point for point in transaction.inputs if point in received]
            spent.update(dict.fromkeys(own, transaction.txid))
            mine = [vout for vout, output in enumerate(transaction.outputs) if output.script in places]
            for vout in mine:
                point, output = Outpoint(transaction.txid, vout), transaction.outputs[vout]
                wallet, owner, index = places[output.script]
                received[point] = Received(
                    outpoint=point,
                    wallet=wallet,
                    owner=owner,
                    index=index,
                    amount_units=output.amount_units,
                    txid=transaction.txid,
                    block=block.ref,
                    own=bool(own),
                )
                coins[point] = Coin(outpoint=point, output=output, height=block.ref.height)
            if own or mine:
                mined[transaction.txid] = block.ref
    left = {point: coin for point, coin in coins.items() if point not in spent}
    return View(block=chain.block(height).ref, coins=left, received=received, spent=spent, mined=mined)


def same(found: View, expected: View) -> None:
    for name in ("block", "coins", "received", "spent", "mined"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("received", "spent", "mined"):
        assert list(getattr(found, name)) == list(getattr(expected, name)), f"the order of {name}"


NAMES = ["pay", "pay", "spend", "spend", "mine", "mine", "reorganise", "follow", "fail"]
HISTORIES = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 11), st.integers(0, 11)), max_size=30)


def played(chain: MemoryChain, follower: Follower, history: list[tuple[str, int, int]]) -> Iterator[None]:
    """Play a history; yield whenever the follower has caught up."""
    points: list[Outpoint] = []
    for name, first, second in history:
        script = SCRIPTS[first % len(SCRIPTS)]
        height = chain.tip().height
        if name == "pay":
            points.append(chain.pay(script, 10))
        elif name == "spend" and points:
            with suppress(ChainError):  # it was spent before, or forgotten
                points.append(Outpoint(chain.steal(points[second % len(points)], script=script), 0))
        elif name == "mine":
            chain.mine(1 + first % 3)
        elif name == "reorganise" and height:
            forget = [point.txid for point in points[second:]]
            chain.reorganise(1 + first % min(height, 9), keep=second % 2 == 0, forget=forget)
        elif name == "fail":
            follow_with_failure(chain, follower, first)
        elif name == "follow":
            follower.follow()
            yield
    follower.follow()
    yield


def follow_with_failure(chain: MemoryChain, follower: Follower, answers: int) -> None:
    """Let the node go away after some answers."""
    asked = 0
    genuine = chain._answer

    def answer() -> None:
        nonlocal asked
        asked += 1
        if asked > answers:
            raise ChainError("gone")
        genuine()

    chain._answer = answer  # type: ignore[method-assign]
    try:
        follower.follow()
    except ChainError:
        pass
    finally:
        chain._answer = genuine  # type: ignore[method-assign]


@given(history=HISTORIES, from_height=st.sampled_from([0, 3]))
def test_at_every_depth_it_says_what_all_blocks_say(history: list[tuple[str, int, int]], from_height: int) -> None:
    chain = MemoryChain(lambda *_: None)
    chain.mine(from_height)
    follower = Follower(chain, [COLD, HOT], from_height=from_height, window_blocks=WINDOW_BLOCKS)
    for _ in played(chain, follower, history):
        for confirmations in range(1, WINDOW_BLOCKS + 1):
            same(follower.at_depth(confirmations), naive(chain, confirmations, from_height))


@given(history=HISTORIES)
def test_at_every_depth_its_coins_are_those_that_the_node_counts(history: list[tuple[str, int, int]]) -> None:
    chain = MemoryChain(lambda *_: None)
    follower = Follower(chain, [COLD, HOT], window_blocks=WINDOW_BLOCKS)
    scripts = [*COLD.scripts(), *HOT.scripts()]
    for _ in played(chain, follower, history):
        for confirmations in range(1, WINDOW_BLOCKS + 1):
            view = follower.at_depth(confirmations)
            assert {coin.outpoint: coin for coin in chain.coins(scripts, view.block)} == view.coins


def test_a_deposit_is_told_at_the_depth_that_it_has(chain: CountingChain, follower: Follower) -> None:
    point = chain.pay(COLD.script(CLIENT, 1), 10)
    paid = chain.mine()
    follower.follow()
    assert follower.at_depth(1).received[point] == Received(
        outpoint=point, wallet="cold", owner=CLIENT, index=1, amount_units=10, txid=point.txid, block=paid, own=False
    )
    assert follower.at_depth(2).received == {}
    assert follower.at_depth(2).block.height == 0
    chain.mine(2)
    follower.follow()
    assert point in follower.at_depth(3).coins
    assert point not in follower.at_depth(4).coins


def test_change_is_known_as_our_own_and_a_strangers_payment_to_it_is_not(
    chain: CountingChain, follower: Follower
) -> None:
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    foreign = chain.pay(STRANGER, 10)
    chain.mine()
    ours = move(chain, point, STRANGER, COLD.script(CHANGE, 0))
    theirs = move(chain, foreign, COLD.script(CHANGE, 0))
    chain.mine()
    follower.follow()
    view = follower.at_depth(1)
    assert {each.txid: each.own for each in view.received.values()} == {point.txid: False, ours: True, theirs: False}
    assert view.spent == {point: ours}
    assert list(view.mined) == [point.txid, ours, theirs]
    assert list(view.coins) == [Outpoint(ours, 1), Outpoint(theirs, 0)]


def test_a_coin_that_is_made_and_spent_in_one_block_is_told_as_both(chain: CountingChain, follower: Follower) -> None:
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    txid = move(chain, point, STRANGER)
    chain.mine()
    follower.follow()
    assert follower.at_depth(1).coins == {}
    assert follower.at_depth(1).spent == {point: txid}
    assert list(follower.at_depth(1).received) == [point]
    chain.reorganise(1, forget=[txid])
    chain.mine()
    follower.follow()
    assert list(follower.at_depth(1).coins) == [point]


def test_every_block_is_read_once(chain: CountingChain, follower: Follower) -> None:
    chain.mine(20)
    follower.follow()
    assert chain.read == 21
    follower.follow()
    assert chain.read == 21
    chain.mine(3)
    follower.follow()
    assert chain.read == 24


def test_a_reorganisation_costs_only_the_blocks_that_it_replaced(chain: CountingChain, follower: Follower) -> None:
    chain.mine(20)
    follower.follow()
    chain.read = 0
    chain.reorganise(3)
    follower.follow()
    assert chain.read <= 3 + 4 + 1


def test_a_reorganisation_deeper_than_the_window_is_read_from_the_beginning(
    chain: CountingChain, follower: Follower
) -> None:
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine(20)
    follower.follow()
    chain.reorganise(WINDOW_BLOCKS + 1)
    chain.read = 0
    follower.follow()
    assert chain.read >= 21
    assert point in follower.at_depth(1).coins


def test_the_same_view_is_told_until_there_is_another_block(chain: CountingChain, follower: Follower) -> None:
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine(3)
    follower.follow()
    first, deeper = follower.at_depth(1), follower.at_depth(3)
    follower.follow()
    assert follower.at_depth(1) is first
    assert follower.at_depth(3) is deeper
    txid = chain.steal(point)
    chain.mine()
    follower.follow()
    assert follower.at_depth(1).spent == {point: txid}
    assert point in first.coins
    assert first.spent == {}


def test_a_view_cannot_be_changed(chain: CountingChain, follower: Follower) -> None:
    follower.follow()
    with pytest.raises(TypeError):
        follower.at_depth(1).coins[Outpoint(b"", 0)] = None  # type: ignore[index]


def test_a_script_counts_from_the_next_block_and_a_rescan_finds_what_came_before(chain: CountingChain) -> None:
    wallet = PlainWallet(name="late", threshold=1, keys={"a": b"a"}, scheme=HmacScheme())
    follower = Follower(chain, [wallet])
    early = chain.pay(wallet.script(CLIENT, 0), 10)
    chain.mine()
    follower.follow()
    wallet.watch(CLIENT, 1)
    late = chain.pay(wallet.script(CLIENT, 0), 10)
    chain.mine()
    follower.follow()
    assert list(follower.at_depth(1).coins) == [late]
    assert follower.rescan() == chain.tip()
    assert list(follower.at_depth(1).coins) == [early, late]


def test_a_follower_that_broke_off_tells_nothing_until_it_has_caught_up(
    chain: CountingChain, follower: Follower
) -> None:
    with pytest.raises(ChainError, match="follow it first"):
        follower.at_depth(1)
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine(4)
    follower.follow()
    chain.reorganise(4, keep=True)
    follow_with_failure(chain, follower, 6)
    with pytest.raises(ChainError, match="follow it first"):
        follower.at_depth(1)
    follower.follow()
    assert point in follower.at_depth(5).coins


def test_a_node_that_is_away_leaves_what_was_known(chain: CountingChain, follower: Follower) -> None:
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine()
    follower.follow()
    chain.fail_next()
    with pytest.raises(ChainError, match="does not answer"):
        follower.follow()
    assert point in follower.at_depth(1).coins


def test_a_lower_chain_with_more_work_never_shortens_a_depth(chain: CountingChain, follower: Follower) -> None:
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine(20)
    follower.follow()
    for _ in range(3):
        chain._pop()
    assert follower.follow().height == 17
    assert follower.at_depth(WINDOW_BLOCKS).block == chain.block(17 - WINDOW_BLOCKS + 1).ref
    assert list(follower.at_depth(WINDOW_BLOCKS).coins) == [point]


@pytest.mark.parametrize("confirmations", [0, -1, WINDOW_BLOCKS + 1])
def test_a_depth_that_is_not_kept_is_refused(chain: CountingChain, follower: Follower, confirmations: int) -> None:
    chain.mine(20)
    follower.follow()
    with pytest.raises(CustodyError, match="from 1 to 5"):
        follower.at_depth(confirmations)
    assert follower.at_depth(WINDOW_BLOCKS).block.height == 16


def test_what_lies_at_or_below_the_first_height_is_not_read(chain: CountingChain) -> None:
    chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine()
    point = chain.pay(COLD.script(CLIENT, 0), 10)
    chain.mine(2)
    follower = Follower(chain, [COLD], from_height=1)
    follower.follow()
    assert list(follower.at_depth(1).coins) == [point]
    assert follower.at_depth(9).block == chain.block(1).ref
    with pytest.raises(ChainError):
        Follower(chain, [COLD], from_height=9).follow()
