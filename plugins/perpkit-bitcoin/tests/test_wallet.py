"""What a draft says of itself is worth nothing: every wallet works it out again."""

import attrs
import pytest

from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.wallet import Owner, Partial, Purpose, UnsignedTransaction
from perpkit_bitcoin import library
from perpkit_bitcoin.library import DraftInput, DraftOutput, Hint
from perpkit_bitcoin.scheme import EcdsaPen, der_of
from perpkit_bitcoin.selection import CHANGE_DUST_UNITS
from perpkit_bitcoin.signer import SeedKey, hsm_cosigner
from perpkit_bitcoin.transaction import Input, Transaction, read_transaction
from perpkit_bitcoin.wallet import BitcoinWallet

CLIENT = Owner(Purpose.CLIENT, 7)
CHANGE = Owner(Purpose.CHANGE, 0)
STRANGER = b"\x00\x14" + b"\x22" * 20


def previous_of(script: bytes, amount_units: int) -> Transaction:
    """Return a transaction out of nowhere that makes a coin."""
    spending = Input(Outpoint(b"\x77" * 32, 5), b"", 0xFFFFFFFF)
    return Transaction(2, (spending,), (Output(STRANGER, 9_000), Output(script, amount_units)), 0)


class Desk:
    """A wallet with one coin of 1 BTC, and what a dishonest desk makes of its draft."""

    def __init__(self, party) -> None:
        self.party = party
        self.made = previous_of(party.wallet().script(CLIENT, 3), 100_000_000)
        self.wallet = party.wallet(previous=lambda coin: self.made.raw())
        self.coin = Coin(outpoint=Outpoint(self.made.txid, 1), output=self.made.outputs[1], height=5)
        self.unsigned = self.build()
        self.draft = library.read_psbt(self.unsigned.payload).draft

    def build(self, amount_units: int = 40_000_000, *, fee_rate: int = 2_000) -> UnsignedTransaction:
        return self.wallet.build(Output(STRANGER, amount_units), [self.coin], change=2, fee_rate=fee_rate)

    def forged(self, **changes: object) -> UnsignedTransaction:
        payload = library.write_psbt(attrs.evolve(self.draft, **changes))
        return UnsignedTransaction(wallet="cold", txid=library.read_psbt(payload).txid, payload=payload)

    def with_input(self, **changes: object) -> UnsignedTransaction:
        return self.forged(inputs=(attrs.evolve(self.draft.inputs[0], **changes),))

    def with_change(self, change: DraftOutput) -> UnsignedTransaction:
        return self.forged(outputs=tuple(each if not each.hints else change for each in self.draft.outputs))


@pytest.fixture
def desk(party):
    return Desk(party)


def test_an_honest_draft_has_nothing_unknown(desk):
    effects = desk.party.wallet().describe(desk.unsigned)
    assert effects.unknown == ()
    assert effects.spends == ((desk.coin.outpoint, desk.coin.output),)
    assert [output.script for output in effects.payments] == [STRANGER]
    assert effects.change == (Output(desk.wallet.script(CHANGE, 2), 60_000_000),)


def test_a_wallet_that_watches_nothing_describes_a_draft_all_the_same(desk):
    offline = BitcoinWallet(desk.party.terms)
    assert not offline.scripts()
    assert offline.describe(desk.unsigned) == desk.wallet.describe(desk.unsigned)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sighash": 2}, "kind 2"),
        ({"sighash": 3}, "kind 3"),
        ({"sighash": 0x81}, "kind 129"),
        ({"sequence": 0xFFFFFFFF}, "sequence 0xffffffff"),
        ({"sequence": 0x00000001}, "sequence 0x1"),
        ({"spent": Output(STRANGER, 100_000_000)}, "not of this wallet"),
        ({"witness_script": b"\x51"}, "script or key paths"),
        ({"previous": None}, "no transaction that made it"),
        ({"previous": previous_of(STRANGER, 100_000_000).raw()}, "no transaction that made it"),
    ],
)
def test_an_input_that_is_not_as_the_wallet_makes_it_is_named_and_never_signed(desk, changes, what):
    unsigned = desk.with_input(**changes)
    (name,) = {each for each in desk.wallet.describe(unsigned).unknown if what in each}
    assert desk.coin.outpoint.txid.hex() in name
    with pytest.raises(CustodyError, match="nothing unknown"):
        desk.party.partials(desk.wallet, unsigned)


def test_an_amount_that_is_not_the_coins_is_noticed(desk):
    """Two drafts of one transaction, each with another amount played down, would together bleed a fee."""
    smaller = Output(desk.coin.output.script, 90_000_000)
    unsigned = desk.with_input(spent=smaller)
    assert unsigned.txid == desk.unsigned.txid
    assert desk.wallet.describe(unsigned).fee_units == desk.wallet.describe(desk.unsigned).fee_units - 10_000_000
    assert desk.wallet.describe(unsigned).unknown


def test_without_whole_inputs_the_amount_is_what_signatures_hold_it_to(desk):
    lax = desk.party.wallet(whole_inputs=False)
    unsigned = desk.with_input(spent=Output(desk.coin.output.script, 90_000_000), previous=None)
    assert not any("no transaction" in each for each in lax.describe(unsigned).unknown)
    honest = desk.with_input(previous=None)
    partial = desk.party.partial(lax, "key-1", unsigned)
    assert lax.is_partial(unsigned, partial)
    assert not lax.is_partial(honest, partial)


def test_hints_that_lead_nowhere_are_named(desk):
    hints = {public: Hint(hint.fingerprint, hint.path[:-1]) for public, hint in desk.draft.inputs[0].hints.items()}
    unsigned = desk.with_input(hints=hints)
    assert any("key paths" in each for each in desk.wallet.describe(unsigned).unknown)
    offline = BitcoinWallet(desk.party.terms)
    assert any("not of this wallet" in each for each in offline.describe(unsigned).unknown)


@pytest.mark.parametrize("changes", [{"lock_time": 5}, {"version": 1}])
def test_another_version_or_a_lock_time_is_unknown(desk, changes):
    assert any("lock time" in each for each in desk.wallet.describe(desk.forged(**changes)).unknown)


def test_the_same_coin_twice_is_unknown(desk):
    unsigned = desk.forged(inputs=desk.draft.inputs * 2)
    assert any("twice" in each for each in desk.wallet.describe(unsigned).unknown)


def test_more_money_out_than_in_is_unknown(desk):
    rich = desk.forged(outputs=(DraftOutput(output=Output(STRANGER, 200_000_000)),))
    assert any("a fee of -100000000" in each for each in desk.wallet.describe(rich).unknown)


def test_change_that_goes_to_a_stranger_is_a_payment(desk):
    """Even when the draft claims that it is the wallet's own."""
    (change,) = [each for each in desk.draft.outputs if each.hints]
    effects = desk.wallet.describe(desk.with_change(attrs.evolve(change, output=Output(STRANGER, 60_000_000))))
    assert effects.change == ()
    assert Output(STRANGER, 60_000_000) in effects.payments
    assert any("described as what it is not" in each for each in effects.unknown)


def test_change_that_goes_to_an_accounts_address_is_a_payment(desk):
    """The account would be credited with it as with a deposit."""
    own = Output(desk.wallet.script(CLIENT, 1), 60_000_000)
    leaf = desk.wallet.addresses.leaf(CLIENT, 1)
    for hints in ({}, leaf.hints):
        witness_script = leaf.witness_script if hints else None
        effects = desk.wallet.describe(
            desk.with_change(DraftOutput(output=own, hints=hints, witness_script=witness_script))
        )
        assert effects.change == ()
        assert own in effects.payments


def test_change_on_an_index_that_nobody_would_look_at_is_a_payment(desk):
    (change,) = [each for each in desk.draft.outputs if each.hints]
    far = {public: Hint(hint.fingerprint, (*hint.path[:-1], 1 << 24)) for public, hint in change.hints.items()}
    other = Output(desk.party.wallet(threshold=2).script(CHANGE, 1), 60_000_000)
    assert desk.wallet.describe(desk.with_change(attrs.evolve(change, hints=far, output=other))).change == ()


def psbt_with(payload: bytes, extra: bytes) -> bytes:
    """Slip a field into a PSBT's first map, after the transaction."""
    assert payload[:5] == b"psbt\xff"
    assert payload[5:7] == b"\x01\x00"
    length = payload[7]
    end = 8 + length
    if length == 0xFD:
        end = 10 + int.from_bytes(payload[8:10], "little")
    return payload[:end] + extra + payload[end:]


def test_fields_that_the_wallet_does_not_write_are_unknown(desk):
    payload = psbt_with(desk.unsigned.payload, b"\x02\xfc\x05\x01\x07")
    unsigned = attrs.evolve(desk.unsigned, payload=payload)
    assert desk.wallet.describe(unsigned).unknown == ("fields that this wallet does not write",)


def test_a_draft_that_is_signed_already_is_unknown(desk):
    signed = attrs.evolve(desk.unsigned, payload=desk.party.partial(desk.wallet, "key-1", desk.unsigned).payload)
    assert desk.wallet.describe(signed).unknown == ("fields that this wallet does not write",)


def test_what_is_no_psbt_at_all_is_refused_whatever_it_is(desk):
    payload = desk.unsigned.payload
    for place in range(0, len(payload), 7):
        cut = attrs.evolve(desk.unsigned, payload=payload[:place])
        with pytest.raises(CustodyError):
            desk.wallet.describe(cut)
        flipped = payload[:place] + bytes((payload[place] ^ 0x55,)) + payload[place + 1 :]
        try:
            assert desk.wallet.describe(attrs.evolve(desk.unsigned, payload=flipped)).unknown, place
        except CustodyError:
            continue


@pytest.mark.parametrize("mark", [0x02, 0x03, 0x81, 0x82, 0x83, 0x00])
def test_a_signature_of_another_kind_than_all_is_no_partial(desk, mark):
    """A good one, for what it signs: under SIGHASH_NONE the outputs could still be anything."""
    key = "key-1"
    account, leaf = desk.party.accounts[key], desk.wallet.addresses.leaf(CLIENT, 3)
    scope = library._parsed(desk.unsigned.payload)
    digest = scope.tx.sighash_segwit(0, scope.inputs[0].witness_script, 100_000_000, mark)
    signature = der_of(account.sign(leaf.path, bytes(digest))) + bytes((mark,))
    payload = library.write_psbt(desk.draft, [{leaf.publics[key]: signature}])
    partial = Partial(key=key, txid=desk.unsigned.txid, payload=payload)
    assert not desk.wallet.is_partial(desk.unsigned, partial)
    with pytest.raises(CustodyError, match="good signature of key-1"):
        desk.wallet.finalize(desk.unsigned, desk.party.partials(desk.wallet, desk.unsigned) | {key: partial})


def test_the_psbt_of_somebody_elses_library_is_a_partial(desk):
    """As a hardware wallet makes it: it finds its keys by the fingerprint and path that the draft names."""
    from embit import bip32, psbt

    scope = psbt.PSBT.parse(desk.unsigned.payload)
    assert scope.sign_with(bip32.HDKey.from_seed(bytes([0, 2]) * 16)) == 1
    partial = Partial(key="key-2", txid=desk.unsigned.txid, payload=scope.serialize())
    assert desk.wallet.is_partial(desk.unsigned, partial)
    assert not desk.wallet.is_partial(desk.unsigned, attrs.evolve(partial, key="key-1"))


def test_a_key_signs_only_where_it_belongs(desk, make_party):
    mine, others = desk.party.accounts["key-1"], make_party(world=1).accounts["key-1"]
    for account in (others, desk.party.accounts["key-2"], library.AccountKey(mine.text, "regtest")):
        with pytest.raises(CustodyError, match="private key behind key-1"):
            SeedKey(account, "key-1", desk.wallet)


def test_an_hsm_that_is_not_the_one_in_the_scripts_does_not_cosign(make_party):
    party = make_party(hsm=True)
    for other in (make_party(world=1, hsm=True), party):
        wallet = other.wallet() if other is not party else make_party().wallet()
        with pytest.raises(CustodyError, match="expected the HSM"):
            hsm_cosigner(party.token, wallet)


def test_coins_of_the_wallet_need_a_source_of_their_transactions(desk):
    blind = desk.party.wallet()
    with pytest.raises(CustodyError, match="source of whole transactions"):
        blind.build(Output(STRANGER, 40_000_000), [desk.coin], change=0, fee_rate=1_000)


def test_fees_are_for_the_size_with_every_signature_at_its_longest(desk):
    unsigned = desk.build(fee_rate=1_000)
    effects = desk.wallet.describe(unsigned)
    # 125 bytes four times, a marker of 2, and 3 or 4 signatures of 73 with 176 or 211 bytes around them: in quarters.
    assert effects.fee_units == effects.virtual_bytes == (252 if desk.party.hsm else 225)
    raw = desk.party.finish(desk.wallet, unsigned)
    assert 0 <= effects.virtual_bytes - read_transaction(raw).virtual_bytes <= 2


def test_a_fee_rate_below_zero_is_refused(desk):
    with pytest.raises(CustodyError, match="fee of 0 or more"):
        desk.build(fee_rate=-1)


def test_a_receiver_of_dust_is_refused_with_the_numbers(desk):
    fee_units = desk.wallet.describe(desk.build()).fee_units
    assert desk.wallet.describe(desk.build(fee_units + 294)).payments == (Output(STRANGER, 294),)
    with pytest.raises(CustodyError, match=f"at least 294 units .* fee of {fee_units} leave 293"):
        desk.build(fee_units + 293)


def test_change_of_dust_is_refused_with_the_numbers(desk):
    assert CHANGE_DUST_UNITS == 330
    with pytest.raises(CustodyError, match=r"99999671 units, or of 100000001 .* 1 together have 100000000"):
        desk.build(100_000_000 - 329)
    assert desk.wallet.describe(desk.build(100_000_000 - 330)).change[0].amount_units == 330


def test_more_inputs_than_the_network_relays_are_refused(make_party):
    wallet = make_party().wallet(whole_inputs=False)
    coins = [
        Coin(outpoint=Outpoint(number.to_bytes(32, "big"), 0), output=Output(wallet.script(CLIENT, 1), 1_000), height=1)
        for number in range(800)
    ]
    with pytest.raises(CustodyError, match=r"800 inputs weigh .* gather small coins first"):
        wallet.build(Output(STRANGER, 800_000), coins, change=0, fee_rate=1)


def test_every_purpose_and_account_has_a_branch_of_its_own(party):
    """An account's id is longer than a step of a path, and none of it may be lost."""
    wallet = party.wallet()
    numbers = [0, 1, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (3 << 40) | 1, (1 << 62) - 1]
    owners = [Owner(purpose, number) for purpose in Purpose for number in numbers]
    assert len({wallet.script(owner, 0) for owner in owners}) == len(owners)
    assert len({wallet.descriptor(owner) for owner in owners}) == len(owners)
    for owner, index in ((Owner(Purpose.CLIENT, 1 << 62), 0), (Owner(Purpose.CLIENT, -1), 0), (CLIENT, -1)):
        with pytest.raises(CustodyError):
            wallet.script(owner, index)
    with pytest.raises(CustodyError, match="index from 0 to"):
        wallet.script(CLIENT, 1 << 24)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "another network"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "another network"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "another network"),
        ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "another network"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081", "mistyped"),
        ("bcrt1Qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "mistyped"),
        ("bcrt1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", "mistyped"),
        ("", "mistyped"),
        ("ſ", "mistyped"),
    ],
)
def test_an_address_of_another_network_or_with_a_typo_is_refused(make_party, address, why):
    with pytest.raises(CustodyError, match=why):
        make_party().wallet().script_of(address)


def test_every_kind_of_address_in_use_is_understood(make_party):
    wallet = make_party().wallet()
    for script in (
        b"\x76\xa9\x14" + b"\x01" * 20 + b"\x88\xac",
        b"\xa9\x14" + b"\x02" * 20 + b"\x87",
        b"\x00\x14" + b"\x03" * 20,
        b"\x00\x20" + b"\x04" * 32,
        b"\x51\x20" + b"\x05" * 32,
    ):
        assert wallet.script_of(wallet.address_of(script)) == script
    assert wallet.script_of(wallet.address_of(script).upper()) == script
    with pytest.raises(CustodyError, match="has an address"):
        wallet.address_of(b"\x51")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"network": "regtests"}, "a network of main"),
        ({"network": "main"}, "extended key for main"),
        ({"threshold": 0}, "threshold between 1"),
        ({"threshold": 6}, "was 6 of 5"),
        ({"hsm": ("key-1", EcdsaPen(b"\x01" * 32).public)}, "a name of its own"),
        ({"hsm": ("hsm", b"\x05" * 33)}, "HSM key of 33 bytes"),
        ({"hsm": ("hsm", EcdsaPen(b"\x01" * 32).public[:-1])}, "HSM key of 33 bytes"),
    ],
)
def test_terms_that_cannot_be_are_refused(make_party, changes, what):
    with pytest.raises(ConfigError, match=what):
        make_party().wallet(**changes)


def test_keys_that_cannot_be_are_refused(make_party):
    party = make_party()
    good = party.terms.keys
    private = library.AccountKey.of_seed(b"\x05" * 32, "/48h/1h/0h/2h", "regtest")
    secret = private.text.split("]")[0] + "]" + private._key.to_base58()
    for text, what in (
        (good["key-2"], "there twice"),
        (secret, "a secret no longer"),
        (good["key-1"].split("]")[1], "was written otherwise"),
        (good["key-1"][:-1], "extended key after"),
        (good["key-1"] + "/0/*", "was written otherwise"),
    ):
        with pytest.raises(ConfigError, match=what) as caught:
            party.wallet(keys={**good, "key-1": text})
        assert secret not in str(caught.value)


def test_the_names_of_a_draft_are_its_inputs_and_outputs(desk):
    """What `describe` reads is what the network would read of the same draft."""
    raw = read_transaction(desk.wallet.transaction(desk.unsigned).raw())
    effects = desk.wallet.describe(desk.unsigned)
    assert raw.txid == desk.unsigned.txid
    assert [each.outpoint for each in raw.inputs] == [outpoint for outpoint, _ in effects.spends]
    assert set(raw.outputs) == {*effects.payments, *effects.change}
    assert isinstance(desk.draft.inputs[0], DraftInput)
