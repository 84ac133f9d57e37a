"""What signs drafts: a person's seed, and the HSM."""

from collections.abc import Callable

from perpkit.errors import CustodyError
from perpkit.ports.custody.hsm import HsmToken
from perpkit.ports.custody.people import KeyName
from perpkit.ports.custody.wallet import Partial, UnsignedTransaction
from perpkit_bitcoin.library import AccountKey
from perpkit_bitcoin.scheme import low_s
from perpkit_bitcoin.wallet import BitcoinWallet


class SeedKey:
    """A person's key of a wallet, on that person's machine.

    It signs what it is given, if nothing in it is unknown to the wallet: `perpkit.custody.gate.signer.CarefulSigner`
    looks at whom it pays first, and takes `sign` as its key.

    Args:
        account: the person's extended private key, as `AccountKey.of_seed` derives it.
        wallet: the signer's own copy of the wallet, made from its public terms.
    """

    def __init__(self, account: AccountKey, key: KeyName, wallet: BitcoinWallet) -> None:
        if not account.is_private or wallet.terms.keys.get(key) != account.text:
            raise CustodyError(f"expected the private key behind {key} of {wallet.name}, was another")
        self._account = account
        self._key = key
        self._wallet = wallet

    def sign(self, unsigned: UnsignedTransaction) -> bytes:
        """Sign every input; return the payload of the key's partial."""
        asked = self._wallet.sighashes(unsigned)
        signatures = [self._account.sign(leaf.path, digest) for digest, leaf in asked]
        return self._wallet.partial(unsigned, self._key, signatures).payload


def hsm_cosigner(token: HsmToken, wallet: BitcoinWallet) -> Callable[[UnsignedTransaction], Partial]:
    """Return what an HSM gate calls to add its own signature to a draft that it has released.

    Raises:
        CustodyError: the token's key is not the one in the wallet's scripts.
    """
    if wallet.terms.hsm is None or wallet.terms.hsm[1] != token.public:
        raise CustodyError(f"{wallet.name}: expected the HSM whose key is in its scripts, was {token.public.hex()}")
    name = wallet.terms.hsm[0]

    def cosign(unsigned: UnsignedTransaction) -> Partial:
        signatures = [low_s(token.sign(digest)) for digest, _ in wallet.sighashes(unsigned)]
        partial = wallet.partial(unsigned, name, signatures)
        if not wallet.is_partial(unsigned, partial):
            raise CustodyError(f"{wallet.name}: expected good signatures of {name}, the token gave others")
        return partial

    return cosign
