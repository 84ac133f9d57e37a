"""On Bitcoin Core's own consensus code: what may leave a wallet, and what may not whoever wants it."""

from collections.abc import Callable

import attrs
import pytest

from perpkit.errors import ChainError
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit_bitcoin import library
from perpkit_bitcoin.regtest import HALVING_BLOCKS, MATURITY_BLOCKS, SUBSIDY_UNITS, KernelChain
from perpkit_bitcoin.scheme import ORDER, compact_of, der_of, is_low
from perpkit_bitcoin.transaction import Transaction, read_transaction

CLIENT = Owner(Purpose.CLIENT, 7)
CHANGE = Owner(Purpose.CHANGE, 0)


def with_witness(raw: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Change the witness of the first input; the id stays what it is."""
    found = read_transaction(raw)
    first = found.inputs[0]._replace(witness=tuple(change(list(found.inputs[0].witness))))
    return attrs.evolve(found, inputs=(first, *found.inputs[1:])).raw()


def refused(funded, raw: bytes) -> None:
    """No node relays it, no block may hold it, and the chain is as it was."""
    tip = funded.chain.tip()
    with pytest.raises(ChainError, match="does not satisfy its script"):
        funded.chain.broadcast(raw)
    with pytest.raises(ChainError, match="is refused: CONSENSUS"):
        funded.chain.mine(also=[raw])
    assert funded.chain.tip() == tip
    assert len(funded.coins) == 2


def test_a_draft_becomes_a_transaction_that_is_mined(funded):
    unsigned = funded.draft()
    effects = funded.wallet.describe(unsigned)
    raw = funded.party.finish(funded.wallet, unsigned)
    assert funded.wallet.verify(raw, unsigned)
    assert funded.chain.broadcast(raw) == unsigned.txid
    funded.chain.mine()
    (change,) = funded.coins
    assert change.output == Output(funded.wallet.script(CHANGE, 1), 30_000_000)
    (paid,) = funded.chain.coins([funded.stranger], funded.chain.tip())
    assert paid.output.amount_units == 100_000_000 - effects.fee_units
    assert len(effects.spends) == 2


def test_change_is_money_like_any_other(funded):
    for index in (1, 2, 3):
        payment = Output(funded.stranger, 20_000_000)
        unsigned = funded.wallet.build(payment, funded.coins, change=index, fee_rate=1_500)
        funded.chain.broadcast(funded.party.finish(funded.wallet, unsigned))
        funded.chain.mine()
    assert sum(coin.output.amount_units for coin in funded.coins) == 70_000_000


@pytest.mark.parametrize(
    "keys", [("key-1", "key-2", "key-3"), ("key-5", "key-1", "key-3"), ("key-4", "key-5", "key-2")]
)
def test_any_three_of_the_five_will_do_in_any_order(funded, keys):
    unsigned = funded.draft()
    needed = [*keys, *(["hsm"] if funded.party.hsm else [])]
    raw = funded.wallet.finalize(unsigned, funded.party.partials(funded.wallet, unsigned, needed[::-1]))
    assert funded.wallet.verify(raw, unsigned)
    assert funded.chain.broadcast(raw) == unsigned.txid
    funded.chain.mine()
    assert len(funded.coins) == 1


def drop(place: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda items: items[:place] + items[place + 1 :]


def put(place: int, other: int | bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda items: [
        (items[other] if isinstance(other, int) else other) if at == place else item for at, item in enumerate(items)
    ]


def flip(place: int, byte: int) -> Callable[[list[bytes]], list[bytes]]:
    def change(items: list[bytes]) -> list[bytes]:
        wrong = bytearray(items[place])
        wrong[byte] ^= 1
        return [bytes(wrong) if at == place else item for at, item in enumerate(items)]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(drop(1), id="one signature too few"),
        pytest.param(put(2, b""), id="one signature empty"),
        pytest.param(put(2, 1), id="one signature twice"),
        pytest.param(flip(1, 20), id="a signature tampered with"),
        pytest.param(flip(3, 40), id="another signature tampered with"),
        pytest.param(flip(4, 50), id="the script tampered with, or the HSM's signature"),
        pytest.param(lambda items: [items[0], items[2], items[1], *items[3:]], id="signatures in another order"),
        pytest.param(lambda items: [*items[:-1], b"\x51"], id="a script that anyone satisfies"),
        pytest.param(lambda _: [], id="no witness at all"),
    ],
)
def test_a_witness_that_is_not_whole_and_good_is_refused_by_consensus_and_by_verify(funded, change):
    unsigned = funded.draft()
    raw = with_witness(funded.party.finish(funded.wallet, unsigned), change)
    assert read_transaction(raw).txid == unsigned.txid
    assert not funded.wallet.verify(raw, unsigned)
    refused(funded, raw)


@pytest.mark.parametrize("instead", [b"", 1, 2, 3], ids=["nothing", "key-1", "key-2", "key-3"])
def test_nothing_leaves_without_the_hsm_whoever_signs(chain, make_party, instead):
    party = make_party(hsm=True)
    wallet = party.wallet(previous=chain.previous)
    chain.pay(wallet.script(CLIENT, 0), 90_000_000)
    chain.mine()
    coins = chain.coins(wallet.scripts(), chain.tip())
    unsigned = wallet.build(Output(b"\x00\x14" + b"\x22" * 20, 90_000_000), coins, change=0, fee_rate=2_000)
    raw = with_witness(party.finish(wallet, unsigned), put(4, instead))
    assert not wallet.verify(raw, unsigned)
    with pytest.raises(ChainError, match="CONSENSUS"):
        chain.mine(also=[raw])


def test_nothing_leaves_by_the_hsm_alone(chain, make_party):
    party = make_party(hsm=True)
    wallet = party.wallet(previous=chain.previous)
    chain.pay(wallet.script(CLIENT, 0), 90_000_000)
    chain.mine()
    coins = chain.coins(wallet.scripts(), chain.tip())
    unsigned = wallet.build(Output(b"\x00\x14" + b"\x22" * 20, 90_000_000), coins, change=0, fee_rate=2_000)
    raw = with_witness(
        party.finish(wallet, unsigned), lambda items: [b"", items[4], items[4], items[4], items[4], items[5]]
    )
    assert not wallet.verify(raw, unsigned)
    with pytest.raises(ChainError, match="CONSENSUS"):
        chain.mine(also=[raw])


def test_an_output_swapped_after_signing_is_refused(funded):
    unsigned = funded.draft()
    found = read_transaction(funded.party.finish(funded.wallet, unsigned))
    thief = b"\x00\x14" + b"\x66" * 20
    for place in range(2):
        outputs = list(found.outputs)
        outputs[place] = Output(thief, outputs[place].amount_units)
        raw = attrs.evolve(found, outputs=tuple(outputs)).raw()
        assert not funded.wallet.verify(raw, unsigned)
        refused(funded, raw)


def resigned(funded, unsigned, mark: int) -> tuple[Transaction, list[bytes]]:
    """Sign the first input anew by every key under another kind of signature, and return it with those."""
    scope = library._parsed(unsigned.payload)
    found = read_transaction(funded.party.finish(funded.wallet, unsigned))
    amount_units = scope.inputs[0].witness_utxo.value
    digest = bytes(scope.tx.sighash_segwit(0, scope.inputs[0].witness_script, amount_units, mark))
    _, leaf = funded.wallet.sighashes(unsigned)[0]
    people = sorted(
        list(funded.party.accounts)[:3], key=lambda name: found.inputs[0].witness[-1].index(leaf.publics[name])
    )
    signatures = [funded.party.accounts[name].sign(leaf.path, digest) for name in people]
    signatures += [funded.party.token.sign(digest)] if funded.party.hsm else []
    return found, [der_of(each) + bytes((mark,)) for each in signatures]


def test_what_consensus_takes_under_sighash_none_this_wallet_does_not(funded):
    """Whoever relays it could have put in any output: so it must never be made."""
    unsigned = funded.draft()
    found, signatures = resigned(funded, unsigned, 2)
    witness = (b"", *signatures, found.inputs[0].witness[-1])
    raw = attrs.evolve(found, inputs=(found.inputs[0]._replace(witness=witness), *found.inputs[1:])).raw()
    assert not funded.wallet.verify(raw, unsigned)
    funded.chain.mine(also=[raw])
    assert len(funded.coins) == 1


def test_what_consensus_takes_with_s_in_the_upper_half_this_wallet_does_not(funded):
    """Anybody could change it on its way, and no node relays it."""
    unsigned = funded.draft()
    partials = funded.party.partials(funded.wallet, unsigned)
    raw = funded.wallet.finalize(unsigned, partials)

    def upper(signature: bytes) -> bytes:
        form = compact_of(signature[:-1])
        assert is_low(form)
        return der_of(form[:32] + (ORDER - int.from_bytes(form[32:], "big")).to_bytes(32, "big")) + signature[-1:]

    high = with_witness(raw, lambda items: [items[0], upper(items[1]), *items[2:]])
    assert not funded.wallet.verify(high, unsigned)
    for key, partial in partials.items():
        signed = [
            {public: upper(each) for public, each in scope.items()} for scope in library.signatures_of(partial.payload)
        ]
        payload = library.write_psbt(library.read_psbt(unsigned.payload).draft, signed)
        assert not funded.wallet.is_partial(unsigned, attrs.evolve(partial, payload=payload)), key
    funded.chain.mine(also=[high])
    assert len(funded.coins) == 1


def test_of_a_payment_and_its_replacement_one_is_mined(funded):
    first = funded.draft(fee_rate=1_000)
    forced = [outpoint for outpoint, _ in funded.wallet.describe(first).spends][:1]
    second = funded.draft(fee_rate=5_000, spend=forced)
    cheap, dear = (funded.party.finish(funded.wallet, each) for each in (first, second))
    funded.chain.broadcast(cheap)
    funded.chain.broadcast(dear)
    assert funded.chain.waiting() == (second.txid,)
    with pytest.raises(ChainError, match="expected a fee"):
        funded.chain.broadcast(cheap)
    with pytest.raises(ChainError, match="is refused"):
        funded.chain.mine(also=[cheap])
    funded.chain.mine()
    with pytest.raises(ChainError, match="there is no coin"):
        funded.chain.broadcast(cheap)
    (paid,) = funded.chain.coins([funded.stranger], funded.chain.tip())
    assert paid.outpoint.txid == second.txid


def test_a_replacement_that_pays_hardly_more_is_refused(funded):
    first = funded.draft(fee_rate=2_000)
    funded.chain.broadcast(funded.party.finish(funded.wallet, first))
    hardly = funded.draft(fee_rate=2_900)
    with pytest.raises(ChainError, match="expected a fee"):
        funded.chain.broadcast(funded.party.finish(funded.wallet, hardly))
    assert funded.chain.waiting() == (first.txid,)


def test_a_reorganisation_takes_a_payment_back_and_it_waits_again(funded):
    before = funded.coins
    unsigned = funded.draft()
    raw = funded.party.finish(funded.wallet, unsigned)
    funded.chain.broadcast(raw)
    funded.chain.mine(3)
    gone = funded.chain.tip()
    funded.chain.reorganise(3)
    assert funded.chain.tip().height == gone.height + 1
    assert funded.coins == before
    assert funded.chain.waiting() == (unsigned.txid,)
    assert funded.chain.broadcast(raw) == unsigned.txid
    funded.chain.mine()
    assert [coin.output.amount_units for coin in funded.coins] == [30_000_000]


def test_a_deposit_that_is_taken_back_is_gone_with_all_that_it_paid_for(funded):
    for coin in funded.coins:
        assert coin.height == funded.chain.tip().height
    unsigned = funded.draft()
    funded.chain.broadcast(funded.party.finish(funded.wallet, unsigned))
    funded.chain.mine()
    funded.chain.reorganise(2, keep=True, forget=[funded.wallet.describe(unsigned).spends[0][0].txid])
    assert unsigned.txid not in funded.chain.waiting()
    assert len(funded.coins) == 1
    with pytest.raises(ChainError, match="there is no coin"):
        funded.chain.broadcast(funded.party.finish(funded.wallet, unsigned))


def test_what_was_mined_stays_at_its_height_when_the_world_keeps_it(funded):
    before = funded.coins
    funded.chain.mine(2)
    gone = funded.chain.tip()
    funded.chain.reorganise(3, keep=True)
    assert funded.coins == before
    assert funded.chain.block(gone.height).ref != gone


def test_the_same_calls_make_the_same_chain(make_party):
    script = make_party().wallet().script(CLIENT, 0)
    names = []
    for _ in range(2):
        chain = KernelChain(blocks=103)
        chain.pay(script, 5_000)
        chain.mine(2)
        chain.reorganise(1)
        names.append(chain.tip().hash)
        chain.close()
    assert names[0] == names[1]


def test_the_miner_has_what_is_old_enough_and_no_more(chain, make_party):
    script = make_party().wallet().script(CLIENT, 0)
    ripe = chain.tip().height + 1 - MATURITY_BLOCKS
    assert ripe < HALVING_BLOCKS
    with pytest.raises(ChainError, match="mine more"):
        chain.pay(script, ripe * SUBSIDY_UNITS)
    chain.pay(script, ripe * SUBSIDY_UNITS - 1_000)
    with pytest.raises(ChainError, match="mine more"):
        chain.pay(script, 1_000)
    chain.mine()
    (coin,) = chain.coins([script], chain.tip())
    assert coin.output.amount_units == ripe * SUBSIDY_UNITS - 1_000


def test_dust_and_a_fee_that_is_too_small_are_not_relayed_but_may_be_mined(funded):
    cheap = funded.draft(fee_rate=900)
    raw = funded.party.finish(funded.wallet, cheap)
    with pytest.raises(ChainError, match="expected a fee"):
        funded.chain.broadcast(raw)
    funded.chain.pay(funded.wallet.script(CLIENT, 4), 100)
    funded.chain.mine(also=[raw])
    assert sorted(coin.output.amount_units for coin in funded.coins) == [100, 30_000_000]


def test_the_node_can_be_away(chain):
    chain.fail_next(2)
    for ask in (chain.tip, lambda: chain.fee_rate(1)):
        with pytest.raises(ChainError, match="does not answer"):
            ask()
    assert chain.tip().height == 110
