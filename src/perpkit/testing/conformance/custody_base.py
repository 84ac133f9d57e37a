"""What the rules of custody share: money that comes and goes, people who agree, and what custody says of it."""

from collections.abc import Sequence
from functools import cache

import attrs
from hypothesis import strategies as st

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.model.command import ApproveWithdrawal, CancelWithdrawal, Command, DepositObserved, WithdrawalSent
from perpkit.model.event import (
    BreachFound,
    HoldingsCompared,
    WithdrawalHeld,
    WithdrawalReleased,
    WithdrawalReturned,
)
from perpkit.model.ids import AccountId, AssetId
from perpkit.plugin import Registry
from perpkit.ports import Custody, ExchangeContext
from perpkit.ports.custody import ApprovingCustody
from perpkit.ports.journal import JournalContext
from perpkit.runtime import Venue
from perpkit.runtime.journal import MemoryJournal, MemoryOptions
from perpkit.runtime.venue import RECONCILE_ROUNDS
from perpkit.testing.builders import config, exchange_context
from perpkit.testing.conformance.base import OutsideConformance
from perpkit.testing.fakes import HandClock
from perpkit.units import Units, div_floor

RECEIVE = "receive"
"""The capability of a custody that has a method `receive(account, asset, amount_units)`, by which money arrives."""

DURABLE = "durable"
"""The capability of a custody that knows after a crash what it knew before."""

APPROVING = "approving"
"""The capability of a custody that decides itself whether a withdrawal may leave. It has `receive` too."""

RECOUNTING = "recounting"
"""The capability of a custody that can count what it holds a second time. It has `receive` too."""

REORGANISES = "reorganises"
"""The capability of a custody whose chain may take a deposit back. It has `receive` too."""

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


def decisions(seen: Sequence[Command]) -> list[tuple[type[Command], int]]:
    """Return what was decided on which withdrawal, sorted."""
    found = (each for each in told(seen) if isinstance(each, ApproveWithdrawal | CancelWithdrawal))
    return sorted(((type(each), each.withdrawal_id) for each in found), key=str)


def approving(custody: Custody) -> ApprovingCustody:
    """Return the custody as one that approves."""
    assert isinstance(custody, ApprovingCustody)
    return custody


def held(withdrawal: WithdrawalReleased) -> WithdrawalHeld:
    """Return the event by which a withdrawal is asked for, long before it is released."""
    return WithdrawalHeld(**attrs.asdict(withdrawal))


def returned(withdrawal: WithdrawalReleased) -> WithdrawalReturned:
    """Return the event by which it goes back to its owner instead."""
    fields = attrs.asdict(withdrawal, filter=lambda field, _: field.name != "destination")
    return WithdrawalReturned(**fields, recalled=True)


def at_rest(custody: Custody) -> tuple[Sequence[Command], dict[AssetId, Units]]:
    """Return what custody saw and what it holds, when it saw nothing in between: as a venue asks."""
    for _ in range(RECONCILE_ROUNDS):
        seen, held = custody.observe(0)[0], {asset: custody.holdings(asset) for asset in (1, 2)}
        if told(custody.observe(0)[0]) == told(seen):
            return seen, held
    raise AssertionError("custody saw something between each pair of questions")


class CustodyBase(OutsideConformance[Custody, ExchangeContext]):
    """How to reach what stands behind a custody; a suite says it for its own."""

    unit_units: int = 1
    """What every amount is multiplied by: on a chain the smallest has to be worth more than a network fee."""

    def context(self) -> ExchangeContext:
        """Return two assets of whole units."""
        context = exchange_context()
        return attrs.evolve(context, assets={1: context.assets[1], 2: attrs.evolve(context.assets[1], id=2, name="B")})

    def receive(self, custody: Custody, account: AccountId, asset: AssetId, amount_units: Units) -> None:
        """Let money arrive from outside, until custody has seen it."""
        custody.receive(account, asset, amount_units)  # type: ignore[attr-defined]

    def settle(self, custody: Custody) -> None:
        """Let the outside do what custody asked of it: agree, sign, mine, confirm."""

    def refuse(self, custody: Custody, withdrawal_id: int) -> None:
        """Let people refuse a withdrawal that was asked for; for the capability `approving`."""
        raise NotImplementedError(f"{type(self).__qualname__}: say how {type(custody).__qualname__} is told no")

    def take_back(self, custody: Custody) -> None:
        """Let the chain take back the deposit that came last, until custody has seen it; for `reorganises`."""
        raise NotImplementedError(f"{type(self).__qualname__}: say how the chain of {type(custody).__qualname__} does")

    def recovered(self, custody: Custody) -> Custody:
        """Return the custody that comes back after this one crashed; for the capability `durable`."""
        raise NotImplementedError(f"{type(self).__qualname__}: say how {type(custody).__qualname__} comes back")

    def released(
        self, withdrawal_id: int, amount: int, *, asset: AssetId = 1, account: AccountId = 1
    ) -> WithdrawalReleased:
        """Return the event that asks for a withdrawal to be sent."""
        return WithdrawalReleased(
            withdrawal_id=withdrawal_id,
            account=account,
            asset=asset,
            amount_units=amount * self.unit_units,
            destination=7,
        )

    def arrive(self, custody: Custody, account: AccountId, asset: AssetId, amount: int) -> None:
        """Let so many units of the suite arrive."""
        self.receive(custody, account, asset, amount * self.unit_units)

    def ask(self, custody: Custody, withdrawal: WithdrawalReleased) -> None:
        """Let a custody that approves decide first."""
        if APPROVING in self.capabilities:
            approving(custody).requested(held(withdrawal))
            self.settle(custody)

    def release(self, custody: Custody, withdrawal: WithdrawalReleased) -> None:
        """Release a withdrawal and let it leave."""
        self.ask(custody, withdrawal)
        custody.release(withdrawal)
        self.settle(custody)

    def deposits(self, seen: Sequence[Command]) -> list[tuple[AccountId, AssetId, int]]:
        """Return whose deposits were seen, in units of the suite, sorted."""
        assert all(amount % self.unit_units == 0 for _, _, amount in deposits(seen))
        return [(account, asset, div_floor(amount, self.unit_units)) for account, asset, amount in deposits(seen)]

    def holdings(self, custody: Custody) -> tuple[int, int]:
        """Return what is held of each asset, in units of the suite."""
        both = custody.holdings(1), custody.holdings(2)
        assert all(amount % self.unit_units == 0 for amount in both)
        return div_floor(both[0], self.unit_units), div_floor(both[1], self.unit_units)

    def venue(self, custody: Custody) -> Venue:
        """Stand a venue round a custody and a new exchange."""
        return Venue(Exchange.of(*parts()), custody, MemoryJournal(JOURNAL, MemoryOptions()), clock=HandClock())

    def exercise(self, part: Custody) -> list[object]:
        """Take in, send, send again, look."""
        if RECEIVE in self.capabilities:
            for asset, amount in ((1, 500), (2, 70), (1, 30)):
                self.arrive(part, 3, asset, amount)
            for withdrawal in (self.released(8, 100), self.released(9, 50, asset=2), self.released(8, 100)):
                self.release(part, withdrawal)
        seen, _ = part.observe(0)
        return [self.deposits(seen), sent(seen), *self.holdings(part)]

    def agrees(self, venue: Venue) -> None:
        """Reconcile, and find that nothing differs."""
        events = [event for outcome in venue.reconcile() for event in outcome.events]
        compared = [event for event in events if isinstance(event, HoldingsCompared)]
        assert compared
        assert all(each.ledger_units == each.holdings_units for each in compared)
        assert not any(isinstance(event, BreachFound) for event in events)
