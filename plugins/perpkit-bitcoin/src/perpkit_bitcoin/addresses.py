"""The scripts of a wallet: what it is made of, and every address that follows from it."""

from collections.abc import Collection, Iterable, Mapping

import attrs

from perpkit.errors import ConfigError, CustodyError
from perpkit.ports.custody.people import KeyName
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit_bitcoin import library
from perpkit_bitcoin.library import AccountKey, Hint, Path
from perpkit_bitcoin.witness import lock_script

NETWORKS = ("main", "test", "signet", "regtest")
KEYS_MAX = 15
WORD_BITS = 31
INDEX_MAX = (1 << 24) - 1
"""Few enough to try them all: money on an index that nobody was told of can be found again."""


@attrs.frozen(kw_only=True)
class WalletTerms:
    """What everybody who takes part must know of a wallet; nothing in it is secret, and nothing may change.

    `keys` are extended public keys with their origin, `[fingerprint/48h/0h/0h/2h]xpub…`; `hsm` is the name of the HSM's
    key and its 33 bytes. A token cannot derive keys, so that the HSM's is the same in every script. `whole_inputs`:
    drafts carry the transactions that made their coins, and one without them is `unknown`.
    """

    name: str
    network: str
    threshold: int
    keys: Mapping[KeyName, str]
    hsm: tuple[KeyName, bytes] | None = None
    whole_inputs: bool = True

    def __attrs_post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ConfigError(f"{self.name}: expected a network of {', '.join(NETWORKS)}, was {self.network!r}")
        if not 1 <= self.threshold <= len(self.keys) <= KEYS_MAX:
            raise ConfigError(
                f"{self.name}: expected a threshold between 1 and the number of keys, which is {KEYS_MAX} at most;"
                f" was {self.threshold} of {len(self.keys)}"
            )
        if self.hsm and (self.hsm[0] in self.keys or not library.is_public_key(self.hsm[1])):
            raise ConfigError(f"{self.name}: expected an HSM key of 33 bytes and a name of its own, was {self.hsm}")


@attrs.frozen
class Leaf:
    """An address: its script, what the script hides, which key is whose, and the way there from each person's key."""

    script: bytes
    witness_script: bytes
    publics: Mapping[KeyName, bytes]
    hints: Mapping[bytes, Hint]
    path: Path


class Addresses:
    """Every address of a wallet, derived when it is asked for and then remembered.

    The steps below each person's key are purpose, account and index; an account's id is longer than a step, and takes
    two. Without an HSM the scripts are `wsh(sortedmulti(k,…))`, else `wsh(and_v(v:pk(HSM),multi(k,…)))`.

    Raises:
        ConfigError: a key is not what it should be, or is there twice.
    """

    def __init__(self, terms: WalletTerms) -> None:
        self.terms = terms
        self._accounts = {name: AccountKey(text, terms.network) for name, text in terms.keys.items()}
        if any(account.is_private for account in self._accounts.values()):
            raise ConfigError(f"{terms.name}: expected public keys, one of them is private: it is a secret no longer")
        if len({account.public((0, 0)) for account in self._accounts.values()}) < len(self._accounts):
            raise ConfigError(f"{terms.name}: expected keys that differ, one of them is there twice")
        self._leaves: dict[tuple[Owner, int], Leaf] = {}
        self._known: dict[bytes, tuple[Owner, int]] = {}
        self._upto: dict[Owner, int] = {}

    def leaf(self, owner: Owner, index: int) -> Leaf:
        """Derive an address.

        Cost:
            One point addition a key.
        """
        if found := self._leaves.get((owner, index)):
            return found
        if not 0 <= index <= INDEX_MAX:
            raise CustodyError(f"{self.terms.name}: expected an index from 0 to {INDEX_MAX}, was {index}")
        path = (*_branch(owner), index)
        publics = {name: account.public(path) for name, account in self._accounts.items()}
        witness_script = self._witness_script(publics.values())
        leaf = self._leaves[owner, index] = Leaf(
            script=lock_script(witness_script),
            witness_script=witness_script,
            publics=publics | ({self.terms.hsm[0]: self.terms.hsm[1]} if self.terms.hsm else {}),
            hints={publics[name]: account.below(path) for name, account in self._accounts.items()},
            path=path,
        )
        return leaf

    def watch(self, owner: Owner, upto: int) -> None:
        """Know a branch's scripts below an index from now on."""
        for index in range(self._upto.get(owner, 0), upto):
            self._known[self.leaf(owner, index).script] = (owner, index)
        self._upto[owner] = max(upto, self._upto.get(owner, 0))

    def watched(self, script: bytes) -> tuple[Owner, int] | None:
        """Return where a watched script is derived."""
        return self._known.get(script)

    def scripts(self) -> Collection[bytes]:
        """Return every script that is watched."""
        return self._known.keys()

    def place(self, script: bytes, hints: Mapping[bytes, Hint]) -> tuple[Owner, int] | None:
        """Return where a script is derived: as it is watched, or where a hint leads to it."""
        if known := self._known.get(script):
            return known
        for hint in hints.values():
            place = _place_of(hint.path[-4:])
            if place and self.leaf(*place).script == script:
                return place
        return None

    def descriptor(self, owner: Owner) -> str:
        """Return a branch as other wallets read it (BIP-380)."""
        path = "".join(f"/{step}" for step in _branch(owner))
        several = ",".join(f"{account.text}{path}/*" for account in self._accounts.values())
        if not self.terms.hsm:
            return library.with_checksum(f"wsh(sortedmulti({self.terms.threshold},{several}))")
        gate = self.terms.hsm[1].hex()
        return library.with_checksum(f"wsh(and_v(v:pk({gate}),multi({self.terms.threshold},{several})))")

    def _witness_script(self, publics: Iterable[bytes]) -> bytes:
        """Return what an address demands: `[<hsm> CHECKSIGVERIFY] <k> <key>… <n> CHECKMULTISIG`."""
        gate = b"\x21" + self.terms.hsm[1] + b"\xad" if self.terms.hsm else b""
        ordered = list(publics) if self.terms.hsm else sorted(publics)
        keys = b"".join(b"\x21" + public for public in ordered)
        return gate + bytes((0x50 + self.terms.threshold,)) + keys + bytes((0x50 + len(ordered), 0xAE))


def _branch(owner: Owner) -> Path:
    """Return the steps from a person's key to a branch."""
    high, low = owner.number >> WORD_BITS, owner.number & ((1 << WORD_BITS) - 1)
    if not 0 <= high < 1 << WORD_BITS:
        raise CustodyError(f"expected a number from 0 to below 2^{2 * WORD_BITS}, was {owner.number}")
    return (int(owner.purpose), high, low)


def _place_of(steps: Path) -> tuple[Owner, int] | None:
    """Return the branch and index to which the last steps of a path lead."""
    if len(steps) < 4 or steps[0] not in list(Purpose) or max(steps) >> WORD_BITS or steps[3] > INDEX_MAX:
        return None
    purpose, high, low, index = steps
    return Owner(Purpose(purpose), high << WORD_BITS | low), index
