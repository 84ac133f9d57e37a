"""What a custody has to keep."""

from hypothesis import example, given
from hypothesis import strategies as st

from perpkit.engine.exchange import Exchange
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    DepositObserved,
    DepositReversed,
    RequestWithdrawal,
    WithdrawalSent,
)
from perpkit.model.ids import AccountId, AssetId
from perpkit.model.ledger import wallet
from perpkit.plugin import CUSTODY
from perpkit.ports.custody import RecountingCustody
from perpkit.runtime import Venue
from perpkit.runtime.venue import RECONCILE_ROUNDS
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.custody_base import (
    APPROVING,
    DURABLE,
    RECEIVE,
    RECOUNTING,
    REORGANISES,
    STEPS,
    CustodyBase,
    approving,
    at_rest,
    decisions,
    deposits,
    held,
    parts,
    returned,
    sent,
    told,
)
from perpkit.testing.fakes import HandClock
from perpkit.units import Units

__all__ = ["APPROVING", "DURABLE", "RECEIVE", "RECOUNTING", "REORGANISES", "CustodyConformance"]


class CustodyConformance(CustodyBase):
    """Sends what was released, once, and reports what it saw; see `perpkit.ports.custody`.

    Most rules need money that arrives. A simulated custody has `receive` and declares the capability of that name;
    the suite of another one overrides `receive` and declares it too, and where the outside needs a push, `settle`. One
    that approves says in `refuse` how people say no; one whose chain reorganises, in `take_back`, how it does.
    """

    port = CUSTODY
    code = "CUSTODY"

    @rule(10, "before anything arrives it has seen nothing and holds nothing")
    def test_empty(self) -> None:
        """Of each asset."""
        custody = self.made()
        assert list(custody.observe(0)[0]) == []
        assert self.holdings(custody) == (0, 0)

    @rule(20, "what arrives is observed, to whom it belongs, and held", needs=RECEIVE)
    def test_deposit(self) -> None:
        """Each asset by itself."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        self.arrive(custody, 4, 2, 70)
        assert self.deposits(custody.observe(0)[0]) == [(3, 1, 500), (4, 2, 70)]
        assert self.holdings(custody) == (500, 70)

    @rule(30, "every deposit has an id of its own", needs=RECEIVE)
    def test_deposit_ids(self) -> None:
        """Even one that equals another: the second with an id is not credited."""
        custody = self.made()
        for _ in range(3):
            self.arrive(custody, 3, 1, 500)
        seen, _ = custody.observe(0)
        assert len({each.deposit_id for each in seen if isinstance(each, DepositObserved)}) == 3

    @rule(40, "whoever follows the cursor hears of everything", needs=RECEIVE)
    def test_cursor(self) -> None:
        """Whether or not something happened in between."""
        custody, cursor, heard = self.made(), 0, list[tuple[AccountId, AssetId, Units]]()
        for amounts in ((1,), (2, 3), (), (4,)):
            for amount in amounts:
                self.arrive(custody, 3, 1, amount)
            seen, cursor = custody.observe(cursor)
            heard += self.deposits(seen)
        assert {amount for _, _, amount in heard} == {1, 2, 3, 4}

    @rule(45, "when nothing happened since the cursor, nothing is told")
    def test_rest(self) -> None:
        """What comes again comes to an end: a venue compares the ledger when there is nothing more to hear."""
        custody, cursor = self.made(), 0
        if RECEIVE in self.capabilities:
            self.arrive(custody, 3, 1, 500)
        for _ in range(RECONCILE_ROUNDS):
            seen, cursor = custody.observe(cursor)
        assert list(seen) == []

    @rule(50, "whoever asks from the beginning is told everything again, with the same ids", needs=RECEIVE)
    def test_again(self) -> None:
        """An exchange that comes back asks like that, and knows by the ids what it heard before."""
        custody = self.made()
        for amount in (1, 2, 3):
            self.arrive(custody, 3, 1, amount)
        first, cursor = custody.observe(0)
        custody.observe(cursor)
        again, _ = custody.observe(0)
        assert told(again) == told(first)
        assert self.deposits(again) == [(3, 1, 1), (3, 1, 2), (3, 1, 3)]

    @rule(60, "a released withdrawal leaves, and is seen to leave", needs=RECEIVE)
    def test_release(self) -> None:
        """With all that was asked for: a network fee is part of the amount."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        self.arrive(custody, 3, 2, 500)
        _, cursor = custody.observe(0)
        self.release(custody, self.released(8, 300))
        (left,) = (each for each in told(custody.observe(cursor)[0]) if isinstance(each, WithdrawalSent))
        assert left.withdrawal_id == 8
        assert 0 <= left.network_fee_units <= 300 * self.unit_units
        assert self.holdings(custody) == (200, 500)

    @rule(70, "a withdrawal leaves once, however often it is asked for", needs=RECEIVE)
    def test_release_again(self) -> None:
        """A venue asks again after a crash. Another withdrawal of the same amount is another one."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        for withdrawal in (self.released(8, 100), self.released(8, 100), self.released(9, 100), self.released(8, 100)):
            self.release(custody, withdrawal)
        assert self.holdings(custody) == (300, 0)
        assert sent(custody.observe(0)[0]) == [8, 9]

    @rule(80, "it holds what it saw come in, less what it saw leave", needs=RECEIVE)
    @law
    @given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 2), st.integers(1, 99)), max_size=8))
    def test_holdings(self, steps: list[tuple[bool, AssetId, int]]) -> None:
        """At every moment: the ledger is compared with it, and a difference halts the exchange."""
        custody, amounts = self.made(), dict[int, tuple[AssetId, Units]]()
        for asset in (1, 2):
            self.arrive(custody, 3, asset, 1_000)
        for number, (comes_in, asset, amount) in enumerate(steps, start=1):
            if comes_in:
                self.arrive(custody, 3, asset, amount)
            else:
                amounts[number] = asset, amount * self.unit_units
                withdrawal = self.released(number, amount, asset=asset)
                self.ask(custody, withdrawal)
                custody.release(withdrawal)
            seen, held = at_rest(custody)
            for each in (1, 2):
                came = sum(units for _, its_asset, units in deposits(seen) if its_asset == each)
                left = sum(units for its_asset, units in map(amounts.__getitem__, sent(seen)) if its_asset == each)
                assert held[each] == came - left
        self.clean_up()

    @rule(90, "what it knew before a crash it knows after", needs=DURABLE)
    def test_crash(self) -> None:
        """What it sent it does not send again, and what it saw it tells again with the same ids."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        self.release(custody, self.released(8, 100))
        before, _ = custody.observe(0)
        back = self.recovered(custody)
        self.release(back, self.released(8, 100))
        assert self.holdings(back) == (400, 0)
        assert told(back.observe(0)[0]) == told(before)

    @rule(100, "what everybody needed agrees to is approved, and does not leave before its release", needs=APPROVING)
    def test_approval(self) -> None:
        """The exchange may recall it until then."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        self.ask(custody, self.released(8, 300))
        seen, _ = custody.observe(0)
        assert (decisions(seen), sent(seen)) == ([(ApproveWithdrawal, 8)], [])
        assert self.holdings(custody) == (500, 0)

    @rule(110, "a request is decided once, however often it is told", needs=APPROVING)
    def test_request_again(self) -> None:
        """Over a crash too, where it knows afterwards what it knew before."""
        custody, cursor = self.made(), 0
        self.arrive(custody, 3, 1, 500)
        approving(custody).requested(held(self.released(8, 300)))
        self.ask(custody, self.released(8, 300))
        seen, cursor = custody.observe(cursor)
        assert decisions(seen) == [(ApproveWithdrawal, 8)]
        if DURABLE in self.capabilities:
            custody = self.recovered(custody)
        self.ask(custody, self.released(8, 300))
        assert decisions(custody.observe(cursor)[0]) == []

    @rule(120, "a request that is refused is cancelled, and not approved", needs=APPROVING)
    def test_refusal(self) -> None:
        """The money goes back to its owner."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        approving(custody).requested(held(self.released(8, 300)))
        self.refuse(custody, 8)
        self.settle(custody)
        assert decisions(custody.observe(0)[0]) == [(CancelWithdrawal, 8)]

    @rule(130, "what went back to its owner is not approved", needs=APPROVING)
    def test_returned(self) -> None:
        """Whoever is still to agree is not asked any more. Others are not touched."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        approving(custody).requested(held(self.released(8, 200)))
        approving(custody).returned(returned(self.released(8, 200)))
        self.ask(custody, self.released(9, 200))
        assert (ApproveWithdrawal, 8) not in decisions(custody.observe(0)[0])
        assert (ApproveWithdrawal, 9) in decisions(custody.observe(0)[0])

    @rule(140, "what went back to its owner does not leave", needs=APPROVING)
    def test_nothing_leaves(self) -> None:
        """Even if it had been approved."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        self.ask(custody, self.released(8, 200))
        approving(custody).returned(returned(self.released(8, 200)))
        self.settle(custody)
        assert sent(custody.observe(0)[0]) == []
        assert self.holdings(custody) == (500, 0)

    @rule(150, "its two counts agree while nothing happens", needs=RECOUNTING)
    def test_recount(self) -> None:
        """Of each asset, with money that came in, that left, and that a fee took."""
        custody = self.made()
        assert isinstance(custody, RecountingCustody)
        for asset, amount in ((1, 500), (2, 70)):
            self.arrive(custody, 3, asset, amount)
        self.release(custody, self.released(8, 300))
        assert (custody.recount(1), custody.recount(2)) == (custody.holdings(1), custody.holdings(2))
        assert self.holdings(custody) == (200, 70)

    @rule(160, "a deposit that its chain takes back is told reversed, once, and held no longer", needs=REORGANISES)
    def test_reversal(self) -> None:
        """By its id; the others stay."""
        custody, cursor = self.made(), 0
        self.arrive(custody, 3, 1, 500)
        _, cursor = custody.observe(cursor)
        self.arrive(custody, 4, 1, 70)
        seen, cursor = custody.observe(cursor)
        (last,) = (each for each in told(seen) if isinstance(each, DepositObserved) and each.account == 4)
        self.take_back(custody)
        after, cursor = custody.observe(cursor)
        assert [each.deposit_id for each in told(after) if isinstance(each, DepositReversed)] == [last.deposit_id]
        assert self.holdings(custody) == (500, 0)
        assert list(custody.observe(cursor)[0]) == []

    @rule(170, "a deposit that comes after a reversal has an id of its own", needs=REORGANISES)
    def test_deposit_after_reversal(self) -> None:
        """Though it be the same money once more: the id that was reversed is not credited again."""
        custody = self.made()
        self.arrive(custody, 3, 1, 500)
        self.take_back(custody)
        self.arrive(custody, 3, 1, 500)
        seen = told(custody.observe(0)[0])
        assert len({each.deposit_id for each in seen if isinstance(each, DepositObserved)}) == 2
        assert self.holdings(custody) == (500, 0)

    @rule(190, "an exchange that hears of a reversal agrees with what it holds", needs=REORGANISES)
    def test_venue_and_reversal(self) -> None:
        """Whether it follows, or hears all of it at once."""
        custody = self.made()
        follows = self.venue(custody)
        for account in (3, 4):
            self.arrive(custody, account, 1, 500)
            follows.poll()
        self.take_back(custody)
        for venue in (follows, self.venue(custody)):
            self.agrees(venue)
            balances = [venue.exchange.clearing.balance(wallet(account, 1)) for account in (3, 4)]
            assert balances == [500 * self.unit_units, 0]

    @rule(200, "an exchange that hears it, over crashes of its own, agrees with what it holds", needs=RECEIVE)
    @law
    @given(steps=st.lists(STEPS, max_size=8))
    @example(steps=[("receive", 1, 800), ("poll", 0, 0), ("withdraw", 1, 300), ("crash", 0, 0), ("poll", 0, 0)])
    def test_venue(self, steps: list[tuple[str, AccountId, Units]]) -> None:
        """Nothing is credited twice, nothing is sent twice, nothing is lost."""
        custody = self.made()
        venue = self.venue(custody)
        for number, (what, account, amount) in enumerate(steps, start=1):
            if what == "receive":
                self.arrive(custody, account, 1, amount)
            elif what == "withdraw":
                units = amount * self.unit_units
                venue.submit(RequestWithdrawal(withdrawal_id=number, account=account, asset=1, amount_units=units))
                if APPROVING not in self.capabilities:
                    venue.submit(ApproveWithdrawal(withdrawal_id=number))
            elif what == "poll":
                venue.poll()
            else:
                venue, _ = Venue.recover(Exchange.of(*parts()), custody, venue.journal, clock=HandClock())
            self.settle(custody)
        for _ in range(RECONCILE_ROUNDS):
            if venue.poll():
                self.settle(custody)
        self.agrees(venue)
        assert not venue.exchange.held()
        assert not venue.exchange.outstanding()
        self.clean_up()
