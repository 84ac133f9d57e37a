"""Libraries that share no code with this one come to the same addresses, and finish the same transactions."""

import base64

import pytest

from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit_bitcoin.transaction import read_transaction

bdk = pytest.importorskip("bdkpython")

OWNERS = [
    Owner(Purpose.CLIENT, 7),
    Owner(Purpose.CLIENT, (3 << 40) | 7),
    Owner(Purpose.FUND, 1),
    Owner(Purpose.HOUSE, 0),
    Owner(Purpose.CHANGE, 0),
]


@pytest.mark.parametrize("threshold", [1, 3, 5])
@pytest.mark.parametrize("hsm", [False, True])
def test_bdk_derives_the_same_addresses_from_a_branchs_descriptor(make_party, threshold, hsm):
    wallet = make_party(threshold=threshold, hsm=hsm).wallet()
    for owner in OWNERS:
        descriptor = bdk.Descriptor(wallet.descriptor(owner), bdk.NetworkKind.TEST)
        for index in (0, 1, 1_000, (1 << 24) - 1):
            theirs = str(descriptor.derive_address(index, bdk.Network.REGTEST))
            assert theirs == wallet.address_of(wallet.script(owner, index))


@pytest.mark.parametrize("hsm", [False, True])
def test_embit_compiles_the_same_scripts_from_a_branchs_descriptor(make_party, hsm):
    from embit.descriptor import Descriptor

    wallet = make_party(hsm=hsm).wallet()
    for owner in OWNERS:
        descriptor = Descriptor.from_string(wallet.descriptor(owner))
        for index in (0, 1, 1_000):
            assert descriptor.derive(index).witness_script().data == wallet.addresses.leaf(owner, index).witness_script


def test_bdk_puts_the_same_partials_together_into_what_the_chain_takes(funded):
    unsigned = funded.draft()
    partials = funded.party.partials(funded.wallet, unsigned)
    first, *others = [bdk.Psbt(base64.b64encode(each.payload).decode()) for each in partials.values()]
    for other in others:
        first = first.combine(other)
    finished = first.finalize()
    assert finished.could_finalize, [str(each) for each in finished.errors or []]
    raw = bytes(finished.psbt.extract_tx().serialize())
    assert raw == funded.wallet.finalize(unsigned, partials)
    assert funded.wallet.verify(raw, unsigned)
    assert funded.chain.broadcast(raw) == unsigned.txid
    funded.chain.mine()
    assert len(funded.coins) == 1


def test_bdk_does_not_finish_what_lacks_a_signature(funded):
    unsigned = funded.draft()
    partials = list(funded.party.partials(funded.wallet, unsigned).values())
    first, *others = [bdk.Psbt(base64.b64encode(each.payload).decode()) for each in partials[1:]]
    for other in others:
        first = first.combine(other)
    assert not first.finalize().could_finalize


def test_bdk_reads_a_draft_and_its_fee_as_this_wallet_does(funded):
    unsigned = funded.draft()
    theirs = bdk.Psbt(base64.b64encode(unsigned.payload).decode())
    effects = funded.wallet.describe(unsigned)
    assert theirs.fee() == effects.fee_units
    raw = bytes(theirs.extract_tx_unchecked_fee_rate().serialize())
    assert read_transaction(raw) == funded.wallet.transaction(unsigned)
