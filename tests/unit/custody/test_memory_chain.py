"""The chain in memory keeps every law of a chain, and does what a test tells it to do to the world."""

from __future__ import annotations

import attrs
import pytest

from perpkit.custody.pretend.memory_chain import THIEF, MemoryChain
from perpkit.custody.pretend.plain_transaction import PlainTransaction, read_transaction
from perpkit.custody.pretend.plain_wallet import CHANGE, PlainKey, PlainWallet
from perpkit.custody.pretend.scheme import HmacPen, HmacScheme
from perpkit.errors import ChainError
from perpkit.ports.custody.chain import BlockRef, Outpoint, Output
from perpkit.ports.custody.wallet import Owner, Partial, Purpose
from perpkit.testing.custody import ChainLaws

CLIENT = Owner(Purpose.CLIENT, 7)
ALICE, BOB = b"\xaa" * 32, b"\xbb" * 32


def make_wallet() -> PlainWallet:
    wallet = PlainWallet(name="hot", threshold=1, keys={"a": b"alice"}, scheme=HmacScheme())
    wallet.watch(CLIENT, 5)
    wallet.watch(CHANGE, 5)
    return wallet


WALLET = make_wallet()


class TestMemoryChain(ChainLaws):
    def make_chain(self) -> MemoryChain:
        return MemoryChain(WALLET.check)

    def mine(self, chain: MemoryChain, count: int) -> None:
        chain.mine(count)

    def pay(self, chain: MemoryChain, script: bytes, amount_units: int) -> Outpoint:
        point = chain.pay(script, amount_units)
        chain.mine()
        return point

    def reorganise(self, chain: MemoryChain, depth: int) -> None:
        chain.reorganise(depth)

    def script(self, number: int) -> bytes:
        return WALLET.script(CLIENT, number)

    def spend(self, chain: MemoryChain, outpoint: Outpoint, script: bytes, *, signed: bool = True) -> bytes:
        raw = spend(chain, outpoint, script)
        return raw if signed else attrs.evolve(read_transaction(raw), signatures={}).raw


def spend(chain: MemoryChain, point: Outpoint, script: bytes, *, fee_rate: int = 1_000) -> bytes:
    """Pay all of a mined coin to a script."""
    (coin,) = [each for each in chain.coins(WALLET.scripts(), chain.tip()) if each.outpoint == point]
    unsigned = WALLET.build(Output(script, coin.output.amount_units), [coin], change=0, fee_rate=fee_rate)
    payload = PlainKey(HmacPen(b"alice")).sign(unsigned)
    return WALLET.finalize(unsigned, {"a": Partial(key="a", txid=unsigned.txid, payload=payload)})


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain(WALLET.check)


@pytest.fixture
def point(chain: MemoryChain) -> Outpoint:
    """A coin of 1,000,000 units in block 1."""
    point = chain.pay(WALLET.script(CLIENT, 0), 1_000_000)
    chain.mine()
    return point


def history(chain: MemoryChain) -> list[BlockRef]:
    return [chain.block(height).ref for height in range(chain.tip().height + 1)]


def units(chain: MemoryChain, *scripts: bytes) -> int:
    return sum(coin.output.amount_units for coin in chain.coins(scripts, chain.tip()))


def test_the_same_calls_make_the_same_blocks() -> None:
    chains = [MemoryChain(WALLET.check) for _ in range(2)]
    for chain in chains:
        chain.pay(ALICE, 5)
        chain.mine(3)
        chain.reorganise(2)
    assert history(chains[0]) == history(chains[1])
    chains[0].pay(ALICE, 6)
    chains[1].pay(ALICE, 7)
    assert chains[0].mine() != chains[1].mine()


def test_two_payments_of_the_same_amount_are_two_coins(chain: MemoryChain) -> None:
    points = {chain.pay(ALICE, 5), chain.pay(ALICE, 5)}
    assert units(chain, ALICE) == 0
    chain.mine()
    assert {coin.outpoint for coin in chain.coins([ALICE], chain.tip())} == points
    assert units(chain, ALICE) == 10
    with pytest.raises(ChainError, match="above 0"):
        chain.pay(ALICE, 0)


def test_of_two_spends_the_first_wins_unless_the_second_pays_more(chain: MemoryChain, point: Outpoint) -> None:
    first, dear = spend(chain, point, ALICE), spend(chain, point, BOB, fee_rate=2_000)
    equal = spend(chain, point, BOB)
    chain.broadcast(first)
    with pytest.raises(ChainError, match="not above"):
        chain.broadcast(equal)
    txid = chain.broadcast(dear)
    with pytest.raises(ChainError, match="not above"):
        chain.broadcast(first)
    assert chain.waiting() == (txid,)
    chain.mine()
    assert units(chain, ALICE) == 0
    assert units(chain, BOB) > 990_000
    with pytest.raises(ChainError, match="there is no coin"):
        chain.broadcast(first)


def test_what_spent_from_a_replaced_transaction_is_gone_with_it(chain: MemoryChain, point: Outpoint) -> None:
    dear = spend(chain, point, BOB, fee_rate=2_000)
    parent = chain.broadcast(spend(chain, point, ALICE))
    chain.steal(Outpoint(parent, 0))
    assert len(chain.waiting()) == 2
    txid = chain.broadcast(dear)
    assert chain.waiting() == (txid,)
    chain.mine()
    assert units(chain, THIEF, ALICE) == 0
    assert units(chain, BOB) > 990_000


def test_nobody_wants_what_is_left_waiting_nor_what_spends_from_it(chain: MemoryChain, point: Outpoint) -> None:
    parent = chain.broadcast(spend(chain, point, ALICE))
    child = chain.steal(Outpoint(parent, 0))
    chain.pay(BOB, 5)
    chain.mine(2, leave=[parent])
    assert chain.waiting() == (parent, child)
    assert units(chain, BOB) == 5
    chain.mine()
    assert chain.waiting() == ()
    assert units(chain, THIEF) > 990_000


def test_a_theft_needs_no_signature_and_beats_what_waits(chain: MemoryChain, point: Outpoint) -> None:
    chain.broadcast(spend(chain, point, ALICE))
    txid = chain.steal(point)
    assert chain.steal(point) == txid
    assert chain.waiting() == (txid,)
    chain.mine()
    assert units(chain, THIEF) == 1_000_000
    with pytest.raises(ChainError, match="there is no coin"):
        chain.steal(point)


def test_reorganised_transactions_wait_again(chain: MemoryChain, point: Outpoint) -> None:
    txid = chain.broadcast(spend(chain, point, ALICE))
    chain.mine(2)
    assert chain.reorganise(3).height == 4
    assert chain.waiting() == (point.txid, txid)
    assert units(chain, WALLET.script(CLIENT, 0), ALICE) == 0
    chain.mine()
    assert units(chain, ALICE) > 990_000


def test_reorganised_transactions_may_stay_where_they_were(chain: MemoryChain, point: Outpoint) -> None:
    txid = chain.broadcast(spend(chain, point, ALICE))
    chain.mine()
    before = history(chain)
    chain.reorganise(2, keep=True)
    after = history(chain)
    assert len(after) == len(before) + 1
    assert (after[0], {*after[1:]} & {*before}) == (before[0], set())
    assert [[each.txid for each in chain.block(height).transactions] for height in (1, 2, 3)] == [
        [point.txid],
        [txid],
        [],
    ]


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_forgotten_is_gone_with_all_that_spends_from_it(
    chain: MemoryChain, point: Outpoint, keep: bool
) -> None:
    raw = spend(chain, point, ALICE)
    parent = chain.broadcast(raw)
    chain.mine()
    chain.steal(Outpoint(parent, 0))
    chain.mine()
    chain.steal(Outpoint(chain.pay(BOB, 7).txid, 0))
    chain.reorganise(2, keep=keep, forget=[parent])
    chain.mine()
    assert units(chain, ALICE) == 0
    assert units(chain, THIEF) == 7
    assert units(chain, WALLET.script(CLIENT, 0)) == 1_000_000
    assert chain.broadcast(raw) == parent


def test_what_waits_and_spends_from_what_is_forgotten_is_gone_too(chain: MemoryChain, point: Outpoint) -> None:
    parent = chain.broadcast(spend(chain, point, ALICE))
    chain.mine()
    chain.steal(Outpoint(parent, 0))
    chain.reorganise(1, forget=[parent])
    assert chain.waiting() == ()


def test_what_waits_may_be_forgotten(chain: MemoryChain, point: Outpoint) -> None:
    txid = chain.broadcast(spend(chain, point, ALICE))
    chain.mine(leave=[txid])
    chain.reorganise(1, forget=[txid])
    assert chain.waiting() == ()


@pytest.mark.parametrize("depth", [0, -1, 2])
def test_the_first_block_stays(chain: MemoryChain, depth: int) -> None:
    chain.mine()
    with pytest.raises(ChainError, match="depth"):
        chain.reorganise(depth)


def test_a_node_that_is_away_answers_nothing_and_comes_back(chain: MemoryChain, point: Outpoint) -> None:
    tip, raw = chain.tip(), spend(chain, point, ALICE)
    asked = (
        chain.tip,
        lambda: chain.block(0),
        lambda: chain.coins([ALICE], tip),
        lambda: chain.broadcast(raw),
        lambda: chain.fee_rate(1),
    )
    chain.fail_next(5)
    for ask in asked:
        with pytest.raises(ChainError, match="does not answer"):
            ask()
    assert chain.tip() == tip
    assert chain.waiting() == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"inputs": ()}, "expected inputs"),
        ({"inputs": "twice"}, "expected inputs, each once"),
        ({"outputs": (Output(ALICE, 1_000_001),)}, "cannot be paid"),
        ({"outputs": (Output(ALICE, 1_000_001), Output(BOB, -1))}, "above 0"),
        ({"inputs": (Outpoint(bytes(32), 0),)}, "there is no coin"),
    ],
)
def test_money_is_not_made(chain: MemoryChain, point: Outpoint, change: dict[str, object], complaint: str) -> None:
    if change.get("inputs") == "twice":
        change = {"inputs": (point, point)}
    free = MemoryChain(lambda *_: None)
    assert free.pay(WALLET.script(CLIENT, 0), 1_000_000) == point
    free.mine()
    good = PlainTransaction(inputs=(point,), outputs=(Output(ALICE, 1_000_000),))
    with pytest.raises(ChainError, match=complaint):
        free.broadcast(attrs.evolve(good, **change).raw)
    free.broadcast(good.raw)


def test_a_replacement_cannot_spend_from_what_it_replaces(chain: MemoryChain, point: Outpoint) -> None:
    free = MemoryChain(lambda *_: None)
    free.pay(WALLET.script(CLIENT, 0), 1_000_000)
    free.mine()
    first = PlainTransaction(inputs=(point,), outputs=(Output(ALICE, 1_000_000),))
    knot = PlainTransaction(inputs=(point, Outpoint(first.txid, 0)), outputs=(Output(BOB, 5),))
    free.broadcast(first.raw)
    with pytest.raises(ChainError, match="only what is mined"):
        free.broadcast(knot.raw)
    assert free.waiting() == (first.txid,)


def test_the_fee_rate_is_what_a_test_says(chain: MemoryChain) -> None:
    chain.fee_rate_units = 7_000
    assert chain.fee_rate(6) == 7_000
