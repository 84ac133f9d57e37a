"""Given, when, then: a test of a whole exchange that reads like a story, and shows the exchange where it goes wrong."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import Command, IndexQuotes
from perpkit.model.event import Event, Filled
from perpkit.model.ids import HOUSE, AccountId, MarketId
from perpkit.model.ledger import LedgerAccount, insurance, wallet
from perpkit.model.market import MarketSpec, MarketState
from perpkit.model.order import Level, Side
from perpkit.model.reject import RejectReason
from perpkit.plugin import Registry
from perpkit.testing.builders import tables
from perpkit.units import HOUR_NS, SECOND_NS, Nanos, Scale

Number: TypeAlias = int | str | Decimal
"""A price, a size or an amount of money, in the units that people use."""

ASSET = "COIN"
_FREE = {
    "fees": {"provider": "maker-taker", "options": {"maker": "0", "taker": "0"}},
    "funding": "none",
}


class Scenario:
    """An exchange of `builders.tables`, without fees and funding unless keywords of `[exchange]` say otherwise.

    Example:
        >>> scenario = Scenario().given(deposits={1: 600, 2: 50_000}, price=100)
        >>> scenario = scenario.when.account(2).sells(100, at=100).when.account(1).buys(100, at=100)
        >>> scenario = scenario.then.account(1).holds(100).then.the_mark_is(100).then.the_books_balance()
    """

    def __init__(self, *markets: Mapping[str, Any], registry: Registry | None = None, **exchange: Any) -> None:
        self.exchange: Exchange = Exchange.of(tables(*markets, **{**_FREE, **exchange}), registry)
        self.outcome: Outcome = Outcome(sequence=0, events=())

    def given(self, *, deposits: Mapping[AccountId, Number], price: Number, fund: Number = 0) -> "Scenario":
        """Let accounts have money, every market a price, and the insurance fund, if need be, capital."""
        for account, amount in deposits.items():
            self.exchange.deposit(account, ASSET, amount)
        if fund:
            self.exchange.capital(ASSET, fund)
        for market in self.exchange.market_states:
            self.exchange.quote(self.market(market).name, price, time_ns=1)
        return self

    @property
    def when(self) -> "Doing":
        """Go on with what somebody does."""
        return Doing(self)

    @property
    def then(self) -> "Expecting":
        """Go on with what has to be true by now; what is told is what the last doing told."""
        return Expecting(self)

    def market(self, market: MarketId | str) -> MarketSpec:
        """Return the rules of a market, by its name or its id."""
        return self.exchange.market(market if isinstance(market, str) else f"PERP-{market}")

    def did(self, outcome: Outcome) -> "Scenario":
        """Remember what was told."""
        self.outcome = outcome
        return self

    def expect(self, what: str, expected: object, found: object) -> "Scenario":
        """Go on if it is so.

        Raises:
            AssertionError: with what was expected and found, and a picture of the exchange.
        """
        if expected != found:
            raise AssertionError(f"{what}: expected {expected}, was {found}\n\n{picture(self)}")
        return self


class Doing:
    """What may happen."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def account(self, account: AccountId, market: str = "PERP-1") -> "Trader":
        """Let an account do something in a market."""
        return Trader(self._scenario, account, market)

    def the_price_moves_to(self, price: Number, market: str = "PERP-1", *, after_seconds: int = 1) -> Scenario:
        """Let five sources agree on a price, a second later."""
        return self._scenario.did(
            self._scenario.exchange.quote(market, price, time_ns=self._later(after_seconds * SECOND_NS))
        )

    def time_passes(self, *, hours: int) -> Scenario:
        """Let time pass without a quote."""
        return self.comes(IndexQuotes(time_ns=self._later(hours * HOUR_NS)))

    def comes(self, command: Command) -> Scenario:
        """Let any command come."""
        return self._scenario.did(self._scenario.exchange.apply(command))

    def _later(self, by_ns: Nanos) -> Nanos:
        return self._scenario.exchange.clock_ns + by_ns


class Trader:
    """What an account may do."""

    def __init__(self, scenario: Scenario, account: AccountId, market: str) -> None:
        self._scenario, self._exchange = scenario, scenario.exchange
        self._account, self._market = account, market

    def buys(self, size: Number, *, at: Number | None = None, **flags: Any) -> Scenario:
        """Place a buy order, without a price a market order; `flags` are those of `Exchange.place`."""
        return self._places(Side.BUY, size, at, flags)

    def sells(self, size: Number, *, at: Number | None = None, **flags: Any) -> Scenario:
        """Place a sell order."""
        return self._places(Side.SELL, size, at, flags)

    def cancels(self, client_order_id: int) -> Scenario:
        """Cancel an order by the number that it was placed with."""
        outcome = self._exchange.cancel(self._account, self._market, client_order_id=client_order_id)
        return self._scenario.did(outcome)

    def isolates(self, *, leverage: int) -> Scenario:
        """Choose a margin of its own for the position to come."""
        return self._scenario.did(
            self._exchange.set_terms(self._account, self._market, isolated=True, leverage=leverage)
        )

    def deposits(self, amount: Number) -> Scenario:
        """Send money in."""
        return self._scenario.did(self._exchange.deposit(self._account, ASSET, amount))

    def withdraws(self, amount: Number, *, withdrawal_id: int) -> Scenario:
        """Ask for money out."""
        return self._scenario.did(self._exchange.withdraw(self._account, ASSET, amount, withdrawal_id=withdrawal_id))

    def _places(self, side: Side, size: Number, at: Number | None, flags: dict[str, Any]) -> Scenario:
        return self._scenario.did(self._exchange.place(self._account, self._market, side, size, at, **flags))


class Expecting:
    """What may be expected of an exchange, and of what it told last."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario, self._clearing = scenario, scenario.exchange.clearing

    def account(self, account: AccountId, market: str = "PERP-1") -> "Holder":
        """Expect something of an account."""
        return Holder(self._scenario, account, market)

    def the_mark_is(self, price: Number, market: str = "PERP-1") -> Scenario:
        """Expect a mark."""
        spec = self._scenario.market(market)
        found = spec.tick.format(self._clearing.marks()[spec.id].price_ticks)
        return self._scenario.expect(f"the mark of {market}", _plain(spec.tick, price), found)

    def the_book_has(
        self,
        *,
        bids: Sequence[tuple[Number, Number]] = (),
        asks: Sequence[tuple[Number, Number]] = (),
        market: str = "PERP-1",
    ) -> Scenario:
        """Expect all levels of the book, as (price, size), best first."""
        spec = self._scenario.market(market)
        for name, side, levels in (("bids", Side.BUY, bids), ("asks", Side.SELL, asks)):
            expected = [f"{_plain(spec.lot, size)} at {_plain(spec.tick, price)}" for price, size in levels]
            found = [_at(spec, level) for level in self._clearing.levels(spec.id, side, 1_000)]
            self._scenario.expect(f"the {name} of {market}", expected, found)
        return self._scenario

    def the_fund_has(self, amount: Number) -> Scenario:
        """Expect what the first insurance fund holds."""
        return _money(self._scenario, "the insurance fund", insurance(1, 1), amount)

    def the_market_is(self, state: MarketState, market: str = "PERP-1") -> Scenario:
        """Expect what a market accepts."""
        found = self._scenario.exchange.market_states[self._scenario.market(market).id]
        return self._scenario.expect(f"the state of {market}", state.name, found.name)

    def it_is_accepted(self) -> Scenario:
        """Expect that the last command was not refused."""
        refused = self._scenario.outcome.rejected
        return self._scenario.expect("the last command", "accepted", refused.text if refused else "accepted")

    def it_is_refused(self, reason: RejectReason) -> Scenario:
        """Expect that the last command was refused, and why."""
        refused = self._scenario.outcome.rejected
        return self._scenario.expect("the last command", reason.text, refused.text if refused else "accepted")

    def it_tells(self, kind: type[Event], **fields: object) -> Scenario:
        """Expect an event of the last command, with these fields among its own."""
        events = [event for event in self._scenario.outcome.events if isinstance(event, kind)]
        told = any(all(getattr(event, name) == value for name, value in fields.items()) for event in events)
        return self._scenario.expect(f"{kind.__name__} with {fields}, of {events}", "told", "told" if told else "not")

    def the_books_balance(self) -> Scenario:
        """Expect that everything, counted again, agrees."""
        self._scenario.exchange.check_totals()
        return self._scenario.expect("the audit's findings", [], list(self._scenario.exchange.audit()[1]))


class Holder:
    """What may be expected of an account."""

    def __init__(self, scenario: Scenario, account: AccountId, market: str) -> None:
        self._scenario, self._account, self._spec = scenario, account, scenario.market(market)

    def holds(self, size: Number, *, position_id: int = 0) -> Scenario:
        """Expect a position, signed: a short is negative."""
        spec = self._spec
        exposures = self._scenario.exchange.clearing.pool(self._account, spec.settlement).exposures
        held = [e.size_lots for e in exposures if (e.market, e.position_id) == (spec.id, position_id)]
        what = f"the position of account {self._account} in {spec.name}"
        return self._scenario.expect(what, _plain(spec.lot, size), spec.lot.format(sum(held)))

    def has(self, amount: Number) -> Scenario:
        """Expect money in the wallet."""
        account = wallet(self._account, self._spec.settlement)
        return _money(self._scenario, f"the wallet of account {self._account}", account, amount)

    def traded(self, size: Number, *, at: Number) -> Scenario:
        """Expect that the last command made the account trade, signed: what it sold is negative."""
        spec, own = self._spec, (self._account, self._spec.id)
        found = [_at(spec, fill) for fill in self._scenario.outcome.fills if (fill.account, fill.market) == own]
        expected = [f"{_plain(spec.lot, size)} at {_plain(spec.tick, at)}"]
        return self._scenario.expect(f"the trades of account {self._account} in {spec.name}", expected, found)


def _plain(scale: Scale, number: Number) -> str:
    """Return a number as the exchange would write it."""
    return scale.format(scale.parse(number))


def _at(spec: MarketSpec, traded: Filled | Level) -> str:
    return f"{spec.lot.format(traded.size_lots)} at {spec.tick.format(traded.price_ticks)}"


def _money(scenario: Scenario, what: str, account: LedgerAccount, amount: Number) -> Scenario:
    unit = scenario.exchange.asset(ASSET).unit
    found = unit.format(scenario.exchange.clearing.balance(account))
    return scenario.expect(what, _plain(unit, amount), found)


def picture(scenario: Scenario) -> str:
    """Return the exchange as text: each market's ladder, what accounts have and need, and what was told last."""
    exchange, clearing = scenario.exchange, scenario.exchange.clearing
    lines = [f"after command {exchange.sequence}, at {exchange.clock_ns} ns"]
    for market, state in exchange.market_states.items():
        spec, mark = scenario.market(market), clearing.marks()[market]
        lines.append(f"{spec.name}: {state.name}, mark {spec.tick.format(mark.price_ticks)} {mark.state.name}")
        for name, side in (("ask", Side.SELL), ("bid", Side.BUY)):
            rungs = [f"  {name} {_at(spec, level)}" for level in clearing.levels(market, side, 10)]
            lines += rungs[::side]  # the dearest on top
    unit = exchange.asset(ASSET).unit
    for account in (*clearing.accounts(), HOUSE):
        pool, need = clearing.pool(account, 1), clearing.need(account, 1)
        lines.append(
            f"account {account}: wallet {unit.format(pool.wallet_units)}, equity {unit.format(need.equity_units)}, "
            f"needs {unit.format(need.initial_units)} to trade, {unit.format(need.maintenance_units)} to stay"
        )
        for held in pool.exposures:
            spec = scenario.market(held.market)
            lines.append(
                f"  {spec.name}/{held.position_id}: {spec.lot.format(held.size_lots)} at a cost of "
                f"{unit.format(held.cost_units)}, owes {unit.format(held.unpaid_units)}, {held.open_orders} orders"
            )
    lines.append(f"fund: {unit.format(clearing.balance(insurance(1, 1)))}")
    return "\n".join([*lines, "told last:", *(f"  {event}" for event in scenario.outcome.events)])
