"""The plain wallet keeps every law of a wallet, and its chain refuses what its locks do not allow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

import attrs
import pytest

from perpkit.custody.digest import canonical_bytes
from perpkit.custody.pretend.memory_chain import MemoryChain
from perpkit.custody.pretend.plain_transaction import PlainTransaction, read_transaction, spend_digest
from perpkit.custody.pretend.plain_wallet import CHANGE, INDEX_MAX, PlainKey, PlainWallet
from perpkit.custody.pretend.scheme import HmacPen, HmacScheme
from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.chain import Output
from perpkit.ports.custody.wallet import Owner, Partial, Purpose, UnsignedTransaction
from perpkit.testing.custody import WalletLaws

CLIENT = Owner(Purpose.CLIENT, 7)
SECRETS = {"a": b"alice", "b": b"bob", "c": b"carol", "hsm": b"device"}
PAYEE = b"\x07" * 32


def make_wallet(*, name: str = "cold", dust_units: int = 1, extra: bytes = b"", hsm: bool = True) -> PlainWallet:
    """A wallet of two of three keys and the HSM's."""
    return PlainWallet(
        name=name,
        threshold=2,
        keys={key: SECRETS[key] + extra for key in ("c", "a", "b")},
        hsm=("hsm", SECRETS["hsm"]) if hsm else None,
        scheme=HmacScheme(),
        dust_units=dust_units,
    )


def signature(key: str, unsigned: UnsignedTransaction) -> bytes:
    return PlainKey(HmacPen(SECRETS[key])).sign(unsigned)


def signed(wallet: PlainWallet, unsigned: UnsignedTransaction, keys: Collection[str] = ("a", "b", "hsm")) -> bytes:
    return wallet.finalize(
        unsigned, {key: Partial(key=key, txid=unsigned.txid, payload=signature(key, unsigned)) for key in keys}
    )


class TestPlainWallet(WalletLaws):
    def make_wallet(self) -> PlainWallet:
        return make_wallet(dust_units=self.dust_units)

    def make_stranger(self) -> PlainWallet:
        return make_wallet(extra=b"!")

    def sign(self, key: str, unsigned: UnsignedTransaction) -> bytes:
        return signature(key, unsigned)


class TestPlainWalletWithDust(TestPlainWallet):
    dust_units = 546


class TestPlainWalletWithoutHsm(TestPlainWallet):
    def make_wallet(self) -> PlainWallet:
        return make_wallet(hsm=False)


@pytest.fixture
def wallet() -> PlainWallet:
    wallet = make_wallet()
    wallet.watch(CLIENT, 3)
    wallet.watch(CHANGE, 3)
    return wallet


@pytest.fixture
def chain(wallet: PlainWallet) -> MemoryChain:
    """A chain on which the client has two coins, of 500,000 and 300,000 units."""
    chain = MemoryChain(wallet.check)
    chain.pay(wallet.script(CLIENT, 0), 500_000)
    chain.pay(wallet.script(CLIENT, 1), 300_000)
    chain.mine()
    return chain


@pytest.fixture
def unsigned(wallet: PlainWallet, chain: MemoryChain) -> UnsignedTransaction:
    """700,000 units leave, of which the network gets some."""
    coins = chain.coins(wallet.scripts(), chain.tip())
    return wallet.build(Output(PAYEE, 700_000), coins, change=2, fee_rate=1_000)


def test_a_script_depends_on_all_that_its_lock_asks_for(wallet: PlainWallet) -> None:
    three = PlainWallet(
        name="cold",
        threshold=3,
        keys={key: SECRETS[key] for key in ("c", "a", "b")},
        hsm=("hsm", SECRETS["hsm"]),
        scheme=HmacScheme(),
    )
    others = [make_wallet(name="hot"), make_wallet(hsm=False), make_wallet(extra=b"!"), three]
    assert len({each.script(CLIENT, 0) for each in [wallet, *others]}) == 5


def test_an_address_is_the_hash_of_what_a_person_can_write_down(wallet: PlainWallet) -> None:
    lock = (
        '{"hsm":{"hsm":"646576696365"},"keys":{"a":"616c696365","b":"626f62","c":"6361726f6c"},'
        '"path":"cold/CLIENT/7/0","threshold":2}'
    )
    script = hashlib.sha256(b"perpkit/" + b"\x0cplain-script" + lock.encode()).digest()
    checksum = hashlib.sha256(b"perpkit/" + b"\x0dplain-address" + f'"{script.hex()}"'.encode()).hexdigest()[:8]
    assert wallet.script(CLIENT, 0) == script
    assert wallet.address_of(script) == f"plain1{script.hex()}{checksum}"


def test_an_address_in_capitals_is_refused(wallet: PlainWallet) -> None:
    address = wallet.address_of(b"\xab" * 32)
    for wrong in (address.upper(), address.replace("ab", "AB"), address.replace("ab", "ab ")):
        with pytest.raises(CustodyError, match="mistyped"):
            wallet.script_of(wrong)


def test_the_network_takes_what_was_signed_and_the_figures_are_those_of_the_draft(
    wallet: PlainWallet, chain: MemoryChain, unsigned: UnsignedTransaction
) -> None:
    assert chain.broadcast(signed(wallet, unsigned)) == unsigned.txid
    chain.mine()
    effects = wallet.describe(unsigned)
    assert effects.virtual_bytes == len(read_transaction(signed(wallet, unsigned)).body)
    assert effects.fee_units == effects.virtual_bytes
    assert effects.payments == (Output(PAYEE, 700_000 - effects.fee_units),)
    assert [coin.output for coin in chain.coins(wallet.scripts(), chain.tip())] == [
        Output(wallet.script(CHANGE, 2), 100_000)
    ]
    assert [coin.output for coin in chain.coins([PAYEE], chain.tip())] == list(effects.payments)


@pytest.mark.parametrize(
    "keys", [(), ("a", "hsm"), ("a", "b"), ("a", "b", "c"), ("hsm",)], ids=lambda keys: "+".join(keys) or "none"
)
def test_the_network_refuses_what_too_few_signed(
    wallet: PlainWallet, chain: MemoryChain, unsigned: UnsignedTransaction, keys: tuple[str, ...]
) -> None:
    whole = read_transaction(signed(wallet, unsigned))
    short = attrs.evolve(whole, signatures={key: signature(key, unsigned) for key in keys})
    assert not wallet.verify(short.raw, unsigned)
    with pytest.raises(ChainError, match="needs good signatures of 2 of"):
        chain.broadcast(short.raw)
    assert chain.waiting() == ()


def test_the_network_refuses_a_lock_that_was_made_easier(
    wallet: PlainWallet, chain: MemoryChain, unsigned: UnsignedTransaction
) -> None:
    whole = read_transaction(signed(wallet, unsigned))
    easy = tuple(attrs.evolve(lock, threshold=0, hsm={}) for lock in whole.locks)
    for locks in (easy, whole.locks[:1], (), (whole.locks[1], whole.locks[0])):
        with pytest.raises(ChainError, match="lock"):
            chain.broadcast(attrs.evolve(whole, locks=locks).raw)


def test_the_network_refuses_another_payment_under_the_same_signatures(
    wallet: PlainWallet, chain: MemoryChain, unsigned: UnsignedTransaction
) -> None:
    whole = read_transaction(signed(wallet, unsigned))
    elsewhere = attrs.evolve(whole, outputs=(Output(b"\x66" * 32, 1), *whole.outputs[1:]))
    with pytest.raises(ChainError, match="needs good signatures"):
        chain.broadcast(elsewhere.raw)


def test_a_lie_about_what_is_spent_makes_a_signature_that_the_network_refuses(
    wallet: PlainWallet, chain: MemoryChain, unsigned: UnsignedTransaction
) -> None:
    fields = json.loads(unsigned.payload)
    fields["spent"][0][1] -= 100_000
    lie = attrs.evolve(unsigned, payload=canonical_bytes(fields))
    assert wallet.describe(lie).fee_units == wallet.describe(unsigned).fee_units - 100_000
    with pytest.raises(ChainError, match="needs good signatures"):
        chain.broadcast(signed(wallet, lie))


def test_change_is_only_what_the_wallet_derives_itself(wallet: PlainWallet, unsigned: UnsignedTransaction) -> None:
    fields = json.loads(unsigned.payload)
    fields["change"][1] = 1
    elsewhere = wallet.describe(attrs.evolve(unsigned, payload=canonical_bytes(fields)))
    assert elsewhere.change == ()
    assert [output.script for output in elsewhere.payments] == [PAYEE, wallet.script(CHANGE, 2)]


def test_change_cannot_be_hidden_at_an_index_that_nobody_would_find(
    wallet: PlainWallet, unsigned: UnsignedTransaction
) -> None:
    fields = json.loads(unsigned.payload)
    fields["change"][1] = INDEX_MAX + 1
    with pytest.raises(CustodyError, match="index"):
        wallet.describe(attrs.evolve(unsigned, payload=canonical_bytes(fields)))
    wallet.script(CHANGE, INDEX_MAX)


def forged(unsigned: UnsignedTransaction, **changed: object) -> UnsignedTransaction:
    """A draft that somebody wrote by hand, with the id that belongs to it."""
    fields = json.loads(unsigned.payload) | changed
    body = canonical_bytes(fields)
    transaction = PlainTransaction(
        inputs=tuple((bytes.fromhex(txid), vout) for txid, vout in fields["inputs"]),  # type: ignore[misc]
        outputs=tuple(Output(bytes.fromhex(script), amount) for script, amount in fields["outputs"]),
    )
    return UnsignedTransaction(wallet=unsigned.wallet, txid=transaction.txid, payload=body)


def test_a_hand_written_draft_is_seen_through(wallet: PlainWallet, unsigned: UnsignedTransaction) -> None:
    fields = json.loads(unsigned.payload)
    assert wallet.describe(forged(unsigned)) == wallet.describe(unsigned)
    twice = forged(unsigned, **{key: [fields[key][0]] * 2 for key in ("inputs", "spent", "origins")})
    assert wallet.describe(twice).unknown == ("a coin is spent twice",)
    negative = forged(unsigned, outputs=[[PAYEE.hex(), -5], fields["outputs"][1]])
    assert wallet.describe(negative).unknown == ("an output of -5 units",)
    foreign = forged(unsigned, origins=[fields["origins"][0], [["CLIENT", 8], 0]])
    assert wallet.describe(foreign).unknown == ("input 1 is not of cold",)
    for key, value in [("spent", fields["spent"][:1]), ("change", [None]), ("origins", [[["NOBODY", 0], 0]] * 2)]:
        with pytest.raises(CustodyError, match="draft"):
            wallet.describe(forged(unsigned, **{key: value}))


def test_a_draft_has_one_form(wallet: PlainWallet, unsigned: UnsignedTransaction) -> None:
    for payload in (unsigned.payload + b" ", unsigned.payload[:-1] + b',"more":1}'):
        with pytest.raises(CustodyError, match="payload is not that of the draft"):
            wallet.describe(attrs.evolve(unsigned, payload=payload))


def test_what_another_wallet_of_the_same_name_signed_completely_is_not_verified(wallet: PlainWallet) -> None:
    stranger = PlainWallet(name="cold", threshold=1, keys={"a": SECRETS["a"]}, scheme=HmacScheme())
    stranger.watch(CLIENT, 1)
    chain = MemoryChain(wallet.check)
    chain.pay(stranger.script(CLIENT, 0), 500_000)
    coins = chain.coins(stranger.scripts(), chain.mine())
    unsigned = stranger.build(Output(PAYEE, 500_000), coins, change=0, fee_rate=0)
    raw = signed(stranger, unsigned, ["a"])
    assert stranger.verify(raw, unsigned)
    assert not wallet.verify(raw, unsigned)
    assert chain.broadcast(raw) == unsigned.txid


def test_a_draft_of_another_wallet_is_refused(wallet: PlainWallet, unsigned: UnsignedTransaction) -> None:
    with pytest.raises(CustodyError, match="one of hot"):
        wallet.describe(attrs.evolve(unsigned, wallet="hot"))


def test_coins_are_taken_largest_first_and_of_equal_ones_the_oldest(wallet: PlainWallet) -> None:
    chain = MemoryChain(wallet.check)
    for amount_units in (20_000, 40_000, 40_000, 30_000):
        chain.pay(wallet.script(CLIENT, 0), amount_units)
        chain.mine()
    coins = chain.coins(wallet.scripts(), chain.tip())

    def heights(amount_units: int, *must: int) -> list[int]:
        spend = [coin.outpoint for coin in coins if coin.height in must]
        unsigned = wallet.build(Output(PAYEE, amount_units), coins, change=0, fee_rate=1_000, spend=spend)
        by_point = {coin.outpoint: coin.height for coin in coins}
        return [by_point[point] for point, _ in wallet.describe(unsigned).spends]

    assert heights(40_000) == [2]
    assert heights(40_001) == [2, 3]
    assert heights(90_000) == [2, 3, 4]
    assert heights(40_000, 1) == [1, 2]
    assert heights(15_000, 1) == [1]


def test_the_fee_is_rounded_up(wallet: PlainWallet, chain: MemoryChain) -> None:
    coins = chain.coins(wallet.scripts(), chain.tip())
    for fee_rate, thousandths in ((0, 0), (1, 1), (999, 999)):
        unsigned = wallet.build(Output(PAYEE, 500_000), coins, change=0, fee_rate=fee_rate)
        effects = wallet.describe(unsigned)
        assert effects.fee_units == -(-effects.virtual_bytes * thousandths // 1_000)


@pytest.mark.parametrize(("threshold", "hsm"), [(0, "hsm"), (4, "hsm"), (2, "a")])
def test_a_wallet_that_could_not_work_or_would_count_a_key_twice_is_refused(threshold: int, hsm: str) -> None:
    keys = {key: SECRETS[key] for key in ("a", "b", "c")}
    with pytest.raises(CustodyError):
        PlainWallet(name="cold", threshold=threshold, keys=keys, hsm=(hsm, b"device"), scheme=HmacScheme())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"inputs":[],"locks":[],"outputs":[["07",1.5]],"serial":0,"signatures":{}}',
        b'{"inputs":[],"locks":[],"outputs":[["07",true]],"serial":0,"signatures":{}}',
        b'{"inputs":[],"locks":[],"outputs":[["07","1"]],"serial":0,"signatures":{}}',
        b'{"inputs":[],"locks":[],"outputs":[["07",1]],"serial":0, "signatures":{}}',
        b'{"inputs":[],"locks":[],"more":1,"outputs":[["07",1]],"serial":0,"signatures":{}}',
        b'{"inputs":[],"locks":[],"outputs":[["0A",1]],"serial":0,"signatures":{}}',
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_a_transaction_has_one_form_and_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(CustodyError, match="plain transaction"):
        read_transaction(raw)


def test_a_transaction_comes_back_from_its_bytes(wallet: PlainWallet, unsigned: UnsignedTransaction) -> None:
    raw = signed(wallet, unsigned)
    assert read_transaction(raw).raw == raw
    assert read_transaction(raw).txid == unsigned.txid


def test_what_is_signed_names_every_unit_that_is_spent() -> None:
    spent = [Output(PAYEE, 5), Output(PAYEE, 6)]
    digests = {spend_digest(b"1", spent), spend_digest(b"2", spent), spend_digest(b"1", spent[::-1])}
    assert len(digests | {spend_digest(b"1", [Output(PAYEE, 5), Output(PAYEE, 7)])}) == 4
