"""What every wallet of custody has to keep."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import suppress

import attrs

from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.people import KeyName
from perpkit.ports.custody.wallet import Owner, Partial, Purpose, UnsignedTransaction, WalletBackend
from perpkit.testing.custody.expect import refusing
from perpkit.units import Units, div_ceil

CLIENT = Owner(Purpose.CLIENT, 7)
CHANGE = Owner(Purpose.CHANGE, 0)
HOUSE = Owner(Purpose.HOUSE, 0)
OWNERS = (CLIENT, Owner(Purpose.CLIENT, 8), Owner(Purpose.FUND, 1), HOUSE, CHANGE)


class WalletLaws(ABC):
    """What a `WalletBackend` keeps."""

    dust_units: Units = 1
    """The smallest output that the wallet makes."""
    unit: Units = 1_000_000
    """Amounts are multiples of this. It has to be far above the network's fee."""
    fee_rate: Units = 2_000
    slack_bytes: int = 4
    """By how much the size that the fee was reckoned for may exceed the one that `describe` tells."""

    @abstractmethod
    def make_wallet(self) -> WalletBackend:
        """Make one party's wallet. Every call makes the same wallet, for another party."""
        ...

    @abstractmethod
    def make_stranger(self) -> WalletBackend:
        """Make a wallet of the same name and kind with other keys."""
        ...

    @abstractmethod
    def sign(self, key: KeyName, unsigned: UnsignedTransaction) -> bytes:
        """Return the payload of a key's partial, made by whoever holds the key."""
        ...

    def coin(self, wallet: WalletBackend, amount_units: Units, *, number: int = 1, owner: Owner = CLIENT) -> Coin:
        """Make up a coin of a branch, the client's unless told otherwise."""
        point = Outpoint(hashlib.sha256(b"%d" % number).digest(), number)
        return Coin(outpoint=point, output=Output(wallet.script(owner, number), amount_units), height=number)

    def test_an_address_is_the_same_in_every_partys_wallet(self) -> None:
        """Each party derives addresses itself, and money goes where all of them look."""
        mine, yours = self.make_wallet(), self.make_wallet()
        for owner in OWNERS:
            assert mine.script(owner, 3) == yours.script(owner, 3) == mine.script(owner, 3)

    def test_every_owner_and_index_has_an_address_of_its_own(self) -> None:
        """Whose money it is follows from where it lies."""
        wallets = self.make_wallet(), self.make_stranger()
        scripts = [each.script(owner, index) for each in wallets for owner in OWNERS for index in range(5)]
        assert len(set(scripts)) == len(scripts)
        assert len({wallets[0].address_of(script) for script in scripts}) == len(scripts)

    def test_what_is_watched_is_known_and_nothing_else(self) -> None:
        """A script is known from `watch` on; watching less takes nothing back."""
        wallet = self.make_wallet()
        assert not wallet.scripts()
        wallet.watch(CLIENT, 3)
        wallet.watch(CLIENT, 1)
        wallet.watch(CHANGE, 2)
        expected = [(CLIENT, 0), (CLIENT, 1), (CLIENT, 2), (CHANGE, 0), (CHANGE, 1)]
        assert set(wallet.scripts()) == {wallet.script(*place) for place in expected}
        for place in expected:
            assert wallet.owner_of(wallet.script(*place)) == place
        assert wallet.owner_of(wallet.script(CLIENT, 3)) is None
        assert wallet.owner_of(wallet.script(Owner(Purpose.CLIENT, 8), 0)) is None
        wallet.watch(CLIENT, 4)
        assert wallet.owner_of(wallet.script(CLIENT, 3)) == (CLIENT, 3)

    def test_an_address_leads_back_to_its_script_unless_it_was_mistyped(self) -> None:
        """One wrong letter anywhere is noticed."""
        wallet = self.make_wallet()
        script = self._payee()
        address = wallet.address_of(script)
        assert wallet.script_of(address) == script
        for place, old in enumerate(address):
            wrong = address[:place] + ("q" if old != "q" else "p") + address[place + 1 :]
            with refusing(CustodyError):
                wallet.script_of(wrong)
        for wrong in ("", address[:-1], address + "q", " " + address):
            with refusing(CustodyError):
                wallet.script_of(wrong)

    def test_exactly_the_amount_leaves_and_the_receiver_pays_the_fee(self) -> None:
        """So that holdings equal the ledger to the unit."""
        wallet, coins = self._funded(5, 3, 1)
        for amount_units in (self.unit, 5 * self.unit, 6 * self.unit + 1, 9 * self.unit):
            effects = self.make_wallet().describe(self._draft(wallet, coins, amount_units))
            spent_units = sum(output.amount_units for _, output in effects.spends)
            change_units = sum(output.amount_units for output in effects.change)
            assert effects.unknown == ()
            assert spent_units == amount_units + change_units
            assert effects.payments == (Output(self._payee(), amount_units - effects.fee_units),)
            assert {output.script for output in effects.change} <= {wallet.script(CHANGE, 4)}
            assert {(coin.outpoint, coin.output) for coin in coins} >= set(effects.spends)
            low = div_ceil(self.fee_rate * effects.virtual_bytes, 1_000)
            high = div_ceil(self.fee_rate * (effects.virtual_bytes + self.slack_bytes), 1_000)
            assert low <= effects.fee_units <= high

    def test_no_coin_is_spent_that_is_not_needed(self) -> None:
        """Every coin costs its receiver a fee."""
        wallet, coins = self._funded(5, 3, 3, 1)
        for amount_units in range(self.unit, 12 * self.unit + 1, self.unit):
            spends = wallet.describe(self._draft(wallet, coins, amount_units)).spends
            assert len({point for point, _ in spends}) == len(spends)
            amounts = [output.amount_units for _, output in spends]
            assert sum(amounts) - min(amounts) < amount_units + self.dust_units

    def test_change_is_never_too_small_to_be_spent(self) -> None:
        """Nor does it become a fee: then more than the amount would leave."""
        wallet, coins = self._funded(5, 1)
        whole_units = 6 * self.unit
        assert wallet.describe(self._draft(wallet, coins, whole_units)).change == ()
        (rest,) = wallet.describe(self._draft(wallet, coins, whole_units - self.dust_units)).change
        assert rest.amount_units == self.dust_units
        if self.dust_units > 1:
            with refusing(CustodyError):
                self._draft(wallet, coins, whole_units - self.dust_units + 1)
            effects = wallet.describe(self._draft(wallet, coins, 5 * self.unit - 1))
            assert [output.amount_units for output in effects.change] == [self.unit + 1]

    def test_what_does_not_suffice_is_refused(self) -> None:
        """No coins, too few of them, or an amount that the fee eats."""
        wallet, coins = self._funded(5, 1)
        for amount_units in (0, 1, 6 * self.unit + 1):
            with refusing(CustodyError):
                self._draft(wallet, coins, amount_units)
        with refusing(CustodyError):
            self._draft(wallet, [], self.unit)

    def test_a_draft_does_not_depend_on_who_makes_it_or_the_order_of_the_coins(self) -> None:
        """Signers may draft it again and compare."""
        wallet, coins = self._funded(3, 3, 3, 1)
        other, _ = self._funded()
        unsigned = self._draft(wallet, coins, 7 * self.unit)
        assert self._draft(other, coins[::-1], 7 * self.unit) == unsigned
        assert self._draft(wallet, coins, 7 * self.unit, payee=CLIENT).txid != unsigned.txid

    def test_money_of_another_wallet_is_noticed(self) -> None:
        """Neither built in, nor described as one's own."""
        stranger = self.make_stranger()
        stranger.watch(CLIENT, 2)
        coins = [self.coin(stranger, self.unit)]
        unsigned = stranger.build(Output(self._payee(), self.unit), coins, change=0, fee_rate=self.fee_rate)
        with suppress(CustodyError):
            assert self.make_wallet().describe(unsigned).unknown
        wallet, _ = self._funded()
        with refusing(CustodyError):
            self._draft(wallet, coins, self.unit)

    def test_an_output_to_a_client_of_the_house_is_a_payment_and_not_change(self) -> None:
        """It is another owner's money then."""
        wallet, coins = self._funded(5)
        effects = wallet.describe(self._draft(wallet, coins, self.unit, payee=CLIENT))
        assert [output.script for output in effects.payments] == [wallet.script(CLIENT, 0)]
        assert [output.script for output in effects.change] == [wallet.script(CHANGE, 4)]

    def test_a_signature_is_good_for_one_key_and_one_draft(self) -> None:
        """Under another key's name, draft or payload it is worthless."""
        wallet, coins = self._funded(5, 3)
        unsigned, other = (self._draft(wallet, coins, many * self.unit) for many in (7, 6))
        mixed = attrs.evolve(unsigned, payload=other.payload)
        broken = attrs.evolve(unsigned, payload=unsigned.payload[:-1])
        names = [*wallet.keys, *self._device(wallet)]
        for key, next_key in zip(names, names[1:] + names[:1], strict=True):
            partial = self._partial(key, unsigned)
            assert self.make_wallet().is_partial(unsigned, partial)
            assert not wallet.is_partial(other, partial)
            assert not wallet.is_partial(other, attrs.evolve(partial, txid=other.txid))
            assert not wallet.is_partial(mixed, partial)
            assert not wallet.is_partial(broken, partial)
            assert not wallet.is_partial(unsigned, attrs.evolve(partial, txid=other.txid))
            assert not wallet.is_partial(unsigned, attrs.evolve(partial, key=next_key))
            assert not wallet.is_partial(unsigned, attrs.evolve(partial, key="nobody"))
            assert not wallet.is_partial(unsigned, attrs.evolve(partial, payload=b""))

    def test_a_draft_whose_payload_was_changed_is_not_described(self) -> None:
        """The id that was released holds the payload to it."""
        wallet, coins = self._funded(5, 3)
        unsigned, other = (self._draft(wallet, coins, many * self.unit) for many in (7, 6))
        for payload in (other.payload, unsigned.payload[:-1], b""):
            with refusing(CustodyError):
                wallet.describe(attrs.evolve(unsigned, payload=payload))

    def test_a_completely_signed_transaction_is_finished_and_verified(self) -> None:
        """Whichever keys signed it, and only for its draft."""
        wallet, coins = self._funded(5, 3)
        unsigned, other = (self._draft(wallet, coins, many * self.unit) for many in (7, 6))
        raw = self._signed(wallet, unsigned, [*wallet.keys[-wallet.threshold :], *self._device(wallet)])
        assert self.make_wallet().verify(raw, unsigned)
        assert wallet.verify(self._signed(wallet, unsigned, [*wallet.keys, *self._device(wallet)]), unsigned)
        assert not wallet.verify(raw, other)
        assert not wallet.verify(raw, attrs.evolve(unsigned, payload=other.payload))
        assert not wallet.verify(raw[:-1], unsigned)
        assert not wallet.verify(b"", unsigned)

    def test_too_few_parts_or_a_bad_one_do_not_make_a_transaction(self) -> None:
        """Nor one without the HSM, where the scripts demand it."""
        wallet, coins = self._funded(5, 3)
        unsigned, other = (self._draft(wallet, coins, many * self.unit) for many in (7, 6))
        with refusing(CustodyError):
            self._signed(wallet, unsigned, [*wallet.keys[: wallet.threshold - 1], *self._device(wallet)])
        if self._device(wallet):
            with refusing(CustodyError):
                self._signed(wallet, unsigned, wallet.keys)
        first, *others = [*wallet.keys[: wallet.threshold], *self._device(wallet)]
        good = {key: self._partial(key, unsigned) for key in others}
        for bad in (self._partial(first, other), attrs.evolve(self._partial(first, unsigned), payload=b"")):
            with refusing(CustodyError):
                wallet.finalize(unsigned, good | {first: bad})

    def test_a_replacement_spends_a_coin_of_the_first(self) -> None:
        """Of the two, only one can ever be mined."""
        wallet, coins = self._funded(5, 3, 1)
        smallest = coins[-1].outpoint
        first = self._draft(wallet, coins[-1:], self.unit)
        second = self._draft(wallet, coins, self.unit, spend=[smallest], fee_rate=2 * self.fee_rate)
        assert smallest in dict(wallet.describe(second).spends)
        assert wallet.describe(second).fee_units > wallet.describe(first).fee_units
        with refusing(CustodyError):
            self._draft(wallet, coins[:-1], self.unit, spend=[smallest])

    def test_the_houses_coins_pay_the_fee_and_the_receiver_gets_the_whole_payment(self) -> None:
        """So that clients' money stays what it is when it moves between own wallets."""
        wallet, coins = self._funded(5, 3)
        house = [self._house_coin(wallet, number) for number in (8, 9)]
        for amount_units in (4 * self.unit, 8 * self.unit):
            payment = Output(self._payee(), amount_units)
            unsigned = wallet.build(payment, coins, change=4, fee_rate=self.fee_rate, fee_coins=house)
            effects = self.make_wallet().describe(unsigned)
            spent_units = {point: output.amount_units for point, output in effects.spends}
            house_units = sum(spent_units.pop(point) for point in effects.house_spends)
            low = div_ceil(self.fee_rate * effects.virtual_bytes, 1_000)
            assert (
                low <= effects.fee_units <= div_ceil(self.fee_rate * (effects.virtual_bytes + self.slack_bytes), 1_000)
            )
            assert effects.unknown == ()
            assert effects.payments == (payment,)
            assert [output.script for output in effects.house_change] == [wallet.script(HOUSE, 4)]
            assert house_units - effects.house_change[0].amount_units == effects.fee_units
            assert sum(spent_units.values()) == amount_units + sum(output.amount_units for output in effects.change)
            assert len(effects.house_spends) == 1
            raw = self._signed(wallet, unsigned, [*wallet.keys[: wallet.threshold], *self._device(wallet)])
            assert self.make_wallet().verify(raw, unsigned)

    def test_a_coin_of_the_house_is_told_wherever_it_is_spent(self) -> None:
        """Whoever signs sees it in a withdrawal as well, where it has no place."""
        wallet, coins = self._funded(1)
        coins.append(self._house_coin(wallet, 9))
        effects = self.make_wallet().describe(self._draft(wallet, coins, 2 * self.unit))
        assert effects.house_spends == (coins[1].outpoint,)
        assert wallet.describe(self._draft(wallet, coins[:1], self.unit)).house_spends == ()

    def test_a_fee_that_the_house_cannot_pay_is_paid_by_nobody_else(self) -> None:
        """Neither by clients' coins, nor by what would leave too little to spend."""
        wallet, coins = self._funded(5, 3)
        payment = Output(self._payee(), self.unit)
        for fee_coins in ([self._house_coin(wallet, 9, self.dust_units)], coins[1:]):
            with refusing(CustodyError):
                wallet.build(payment, coins[:1], change=4, fee_rate=self.fee_rate, fee_coins=fee_coins)

    def _house_coin(self, wallet: WalletBackend, number: int, amount_units: Units | None = None) -> Coin:
        wallet.watch(HOUSE, 10)
        return self.coin(wallet, self.unit if amount_units is None else amount_units, number=number, owner=HOUSE)

    def _payee(self) -> bytes:
        return self.make_stranger().script(CLIENT, 0)

    def _device(self, wallet: WalletBackend) -> list[KeyName]:
        return [wallet.hsm_key] if wallet.hsm_key else []

    def _funded(self, *many: int) -> tuple[WalletBackend, list[Coin]]:
        wallet = self.make_wallet()
        wallet.watch(CLIENT, 10)
        wallet.watch(CHANGE, 10)
        return wallet, [self.coin(wallet, each * self.unit, number=number) for number, each in enumerate(many, 1)]

    def _draft(
        self,
        wallet: WalletBackend,
        coins: Sequence[Coin],
        amount_units: Units,
        *,
        payee: Owner | None = None,
        spend: Collection[Outpoint] = (),
        fee_rate: Units | None = None,
    ) -> UnsignedTransaction:
        payment = Output(wallet.script(payee, 0) if payee else self._payee(), amount_units)
        rate = self.fee_rate if fee_rate is None else fee_rate
        return wallet.build(payment, coins, change=4, fee_rate=rate, spend=spend)

    def _partial(self, key: KeyName, unsigned: UnsignedTransaction) -> Partial:
        return Partial(key=key, txid=unsigned.txid, payload=self.sign(key, unsigned))

    def _signed(self, wallet: WalletBackend, unsigned: UnsignedTransaction, keys: Collection[KeyName]) -> bytes:
        return wallet.finalize(unsigned, {key: self._partial(key, unsigned) for key in keys})
