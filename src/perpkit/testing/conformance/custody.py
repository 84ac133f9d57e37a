"""What a custody has to keep."""

from collections.abc import Sequence
from functools import cache

import attrs
from hypothesis import given
from hypothesis import strategies as st

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.model.command import ApproveWithdrawal, Command, DepositObserved, RequestWithdrawal, WithdrawalSent
from perpkit.model.event import BreachFound, HoldingsCompared, WithdrawalReleased
from perpkit.model.ids import AccountId, AssetId
from perpkit.plugin import CUSTODY, Registry
from perpkit.ports import Custody, ExchangeContext
from perpkit.ports.journal import JournalContext
from perpkit.runtime import Venue
from perpkit.runtime.journal import MemoryJournal, MemoryOptions
from perpkit.runtime.venue import RECONCILE_ROUNDS
from perpkit.testing.builders import config, exchange_context
from perpkit.testing.conformance.base import OutsideConformance, law, rule
from perpkit.testing.fakes import HandClock
from perpkit.units import Units

RECEIVE = "receive"
"""The capability of a custody that has a method `receive(account, asset, amount_units)`, by which money arrives."""

DURABLE = "durable"
"""The capability of a custody that knows after a crash what it knew before."""

JOURNAL = JournalContext(directory="", config_digest="00" * 32, manifest=())
"""For a journal in memory, of its own each time."""

STEPS = st.one_of(
    st.tuples(st.just("receive"), st.integers(1, 3), st.integers(1, 1_000)),
    st.tuples(st.just("withdraw"), st.integers(1, 3), st.integers(1, 500)),
    st.tuples(st.sampled_from(("poll", "crash")), st.just(0), st.just(0)),
)


@cache
def parts() -> tuple[ExchangeConfig, Registry]:
    """Return what an exchange is made from; made once, since a law makes many."""
    return config(), Registry.builtin()


def released(
    withdrawal_id: int, amount_units: Units, *, asset: AssetId = 1, account: AccountId = 1
) -> WithdrawalReleased:
    """Return the event that asks for a withdrawal to be sent."""
    return WithdrawalReleased(
        withdrawal_id=withdrawal_id, account=account, asset=asset, amount_units=amount_units, destination=7
    )


def told(seen: Sequence[Command]) -> set[Command]:
    """Return what was seen: once, though it may come twice, and without stamps, which are the venue's affair."""
    return {attrs.evolve(each, time_ns=0) for each in seen}


def deposits(seen: Sequence[Command]) -> list[tuple[AccountId, AssetId, Units]]:
    """Return whose deposits were seen, sorted."""
    found = (each for each in told(seen) if isinstance(each, DepositObserved))
    return sorted((each.account, each.asset, each.amount_units) for each in found)


def sent(seen: Sequence[Command]) -> list[int]:
    """Return which withdrawals were seen to leave, sorted."""
    return sorted(each.withdrawal_id for each in told(seen) if isinstance(each, WithdrawalSent))


def at_rest(custody: Custody) -> tuple[Sequence[Command], dict[AssetId, Units]]:
    """Return what custody saw and what it holds, when it saw nothing in between: as a venue asks."""
    for _ in range(RECONCILE_ROUNDS):
        seen, held = custody.observe(0)[0], {asset: custody.holdings(asset) for asset in (1, 2)}
        if told(custody.observe(0)[0]) == told(seen):
            return seen, held
    raise AssertionError("custody saw something between each pair of questions")


class CustodyConformance(OutsideConformance[Custody, ExchangeContext]):
    """Sends what was released, once, and reports what it saw; see `perpkit.ports.custody`.

    Most rules need money that arrives. A simulated custody has `receive` and declares the capability of that name;
    the suite of another one overrides `receive` and declares it too, and where the outside needs a push, `settle`.
    """

    port = CUSTODY
    code = "CUSTODY"

    def context(self) -> ExchangeContext:
        """Return two assets of whole units."""
        context = exchange_context()
        return attrs.evolve(context, assets={1: context.assets[1], 2: attrs.evolve(context.assets[1], id=2, name="B")})

    def receive(self, custody: Custody, account: AccountId, asset: AssetId, amount_units: Units) -> None:
        """Let money arrive from outside, until custody has seen it."""
        custody.receive(account, asset, amount_units)  # type: ignore[attr-defined]

    def settle(self, custody: Custody) -> None:
        """Let the outside do what custody asked of it: sign, mine, confirm."""

    def recovered(self, custody: Custody) -> Custody:
        """Return the custody that comes back after this one crashed; for the capability `durable`."""
        raise NotImplementedError(f"{type(self).__qualname__}: say how {type(custody).__qualname__} comes back")

    def release(self, custody: Custody, withdrawal: WithdrawalReleased) -> None:
        """Release a withdrawal and let it leave."""
        custody.release(withdrawal)
        self.settle(custody)

    def exercise(self, part: Custody) -> list[object]:
        """Take in, send, send again, look."""
        if RECEIVE in self.capabilities:
            for asset, amount in ((1, 500), (2, 70), (1, 30)):
                self.receive(part, 3, asset, amount)
            for withdrawal in (released(8, 100), released(9, 50, asset=2), released(8, 100)):
                self.release(part, withdrawal)
        seen, _ = part.observe(0)
        return [deposits(seen), sent(seen), part.holdings(1), part.holdings(2)]

    @rule(10, "before anything arrives it has seen nothing and holds nothing")
    def test_empty(self) -> None:
        """Of each asset."""
        custody = self.made()
        assert list(custody.observe(0)[0]) == []
        assert (custody.holdings(1), custody.holdings(2)) == (0, 0)

    @rule(20, "what arrives is observed, to whom it belongs, and held", needs=RECEIVE)
    def test_deposit(self) -> None:
        """Each asset by itself."""
        custody = self.made()
        self.receive(custody, 3, 1, 500)
        self.receive(custody, 4, 2, 70)
        assert deposits(custody.observe(0)[0]) == [(3, 1, 500), (4, 2, 70)]
        assert (custody.holdings(1), custody.holdings(2)) == (500, 70)

    @rule(30, "every deposit has an id of its own", needs=RECEIVE)
    def test_deposit_ids(self) -> None:
        """Even one that equals another: the second with an id is not credited."""
        custody = self.made()
        for _ in range(3):
            self.receive(custody, 3, 1, 500)
        seen, _ = custody.observe(0)
        assert len({each.deposit_id for each in seen if isinstance(each, DepositObserved)}) == 3

    @rule(40, "whoever follows the cursor hears of everything", needs=RECEIVE)
    def test_cursor(self) -> None:
        """Whether or not something happened in between."""
        custody, cursor, heard = self.made(), 0, list[tuple[AccountId, AssetId, Units]]()
        for amounts in ((1,), (2, 3), (), (4,)):
            for amount in amounts:
                self.receive(custody, 3, 1, amount)
            seen, cursor = custody.observe(cursor)
            heard += deposits(seen)
        assert {amount for _, _, amount in heard} == {1, 2, 3, 4}

    @rule(45, "when nothing happened since the cursor, nothing is told")
    def test_rest(self) -> None:
        """What comes again comes to an end: a venue compares the ledger when there is nothing more to hear."""
        custody, cursor = self.made(), 0
        if RECEIVE in self.capabilities:
            self.receive(custody, 3, 1, 500)
        for _ in range(RECONCILE_ROUNDS):
            seen, cursor = custody.observe(cursor)
        assert list(seen) == []

    @rule(50, "whoever asks from the beginning is told everything again, with the same ids", needs=RECEIVE)
    def test_again(self) -> None:
        """An exchange that comes back asks like that, and knows by the ids what it heard before."""
        custody = self.made()
        for amount in (1, 2, 3):
            self.receive(custody, 3, 1, amount)
        first, cursor = custody.observe(0)
        custody.observe(cursor)
        again, _ = custody.observe(0)
        assert told(again) == told(first)
        assert deposits(again) == [(3, 1, 1), (3, 1, 2), (3, 1, 3)]

    @rule(60, "a released withdrawal leaves, and is seen to leave", needs=RECEIVE)
    def test_release(self) -> None:
        """With all that was asked for: a network fee is part of the amount."""
        custody = self.made()
        self.receive(custody, 3, 1, 500)
        self.receive(custody, 3, 2, 500)
        _, cursor = custody.observe(0)
        self.release(custody, released(8, 300))
        (left,) = told(custody.observe(cursor)[0])
        assert isinstance(left, WithdrawalSent)
        assert left.withdrawal_id == 8
        assert 0 <= left.network_fee_units <= 300
        assert (custody.holdings(1), custody.holdings(2)) == (200, 500)

    @rule(70, "a withdrawal leaves once, however often it is asked for", needs=RECEIVE)
    def test_release_again(self) -> None:
        """A venue asks again after a crash. Another withdrawal of the same amount is another one."""
        custody = self.made()
        self.receive(custody, 3, 1, 500)
        for withdrawal in (released(8, 100), released(8, 100), released(9, 100), released(8, 100)):
            self.release(custody, withdrawal)
        assert custody.holdings(1) == 300
        assert sent(custody.observe(0)[0]) == [8, 9]

    @rule(80, "it holds what it saw come in, less what it saw leave", needs=RECEIVE)
    @law
    @given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 2), st.integers(1, 99)), max_size=8))
    def test_holdings(self, steps: list[tuple[bool, AssetId, Units]]) -> None:
        """At every moment: the ledger is compared with it, and a difference halts the exchange."""
        custody, amounts = self.made(), dict[int, tuple[AssetId, Units]]()
        for asset in (1, 2):
            self.receive(custody, 3, asset, 1_000)
        for number, (comes_in, asset, amount) in enumerate(steps, start=1):
            if comes_in:
                self.receive(custody, 3, asset, amount)
            else:
                amounts[number] = asset, amount
                custody.release(released(number, amount, asset=asset))
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
        self.receive(custody, 3, 1, 500)
        self.release(custody, released(8, 100))
        before, _ = custody.observe(0)
        back = self.recovered(custody)
        self.release(back, released(8, 100))
        assert back.holdings(1) == 400
        assert told(back.observe(0)[0]) == told(before)

    @rule(200, "an exchange that hears it, over crashes of its own, agrees with what it holds", needs=RECEIVE)
    @law
    @given(steps=st.lists(STEPS, max_size=8))
    def test_venue(self, steps: list[tuple[str, AccountId, Units]]) -> None:
        """Nothing is credited twice, nothing is sent twice, nothing is lost."""
        custody, journal = self.made(), MemoryJournal(JOURNAL, MemoryOptions())
        clock = HandClock()
        venue = Venue(Exchange.of(*parts()), custody, journal, clock=clock)
        for number, (what, account, amount) in enumerate(steps, start=1):
            if what == "receive":
                self.receive(custody, account, 1, amount)
            elif what == "withdraw":
                request = RequestWithdrawal(withdrawal_id=number, account=account, asset=1, amount_units=amount)
                venue.submit_all([request, ApproveWithdrawal(withdrawal_id=number)])
            elif what == "poll":
                venue.poll()
            else:
                venue, _ = Venue.recover(Exchange.of(*parts()), custody, journal, clock=clock)
            self.settle(custody)
        events = [event for outcome in venue.reconcile() for event in outcome.events]
        (compared,) = (event for event in events if isinstance(event, HoldingsCompared))
        assert compared.ledger_units == compared.holdings_units
        assert not any(isinstance(event, BreachFound) for event in events)
        assert venue.exchange.outstanding() == ()
        self.clean_up()
