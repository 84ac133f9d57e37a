"""The exchange: a deterministic state machine. Same log and configuration, same events and digest."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs

from perpkit.engine import intake, inventory, laws, orders, pricing, triggers, waterfall
from perpkit.engine.checkpoint import Checkpoint
from perpkit.engine.compose import Manifest, Parts, compose
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.core import Core
from perpkit.engine.edge import Edge
from perpkit.engine.snapshot import restore, save
from perpkit.engine.sweep import Finding, sweep
from perpkit.errors import HaltedError, InvariantError, PartFaultError, UnitsError
from perpkit.model.command import Command, IndexQuotes, NoteFault, PlaceOrder
from perpkit.model.event import AuditCompleted, Event, Filled, Rejected, WithdrawalHeld, WithdrawalReleased
from perpkit.model.ids import AssetId, MarketId
from perpkit.model.market import MarketState
from perpkit.model.position import PoolKey
from perpkit.model.preview import Preview
from perpkit.model.reject import RejectReason
from perpkit.plugin import Registry
from perpkit.ports.clearing import Clearing
from perpkit.units import Nanos, div_floor


@attrs.frozen(kw_only=True)
class Outcome:
    """What one command did, in order. `fault` names the part and its fault where one refused the command."""

    sequence: int
    events: tuple[Event, ...]
    fault: str = attrs.field(default="", eq=False)

    @property
    def rejected(self) -> RejectReason | None:
        """Why the command was refused, None when it was not."""
        return next((event.reason for event in self.events if isinstance(event, Rejected)), None)

    @property
    def fills(self) -> tuple[Filled, ...]:
        """Both sides of every trade, in order."""
        return tuple(event for event in self.events if isinstance(event, Filled))


class Exchange(Edge):
    """A whole exchange around one `apply`. It knows ports only and holds no money itself.

    Example:
        >>> exchange = Exchange.of({
        ...     "assets": {"USDT": {"id": 1, "unit": "0.000001", "deposits_max": "1000000000"}},
        ...     "markets": {"BTC-PERP": {
        ...         "id": 1, "kind": "linear", "settlement": "USDT", "tick": "0.5", "lot": "0.001",
        ...         "price_min": "1000", "price_max": "200000", "order_max": "100", "open_interest_max": "1000",
        ...         "brackets": [{"up_to": "100000000", "initial": "5%", "maintenance": "2.5%"}],
        ...     }},
        ... })
        >>> exchange.deposit(account=1, asset="USDT", amount="10000").rejected is None
        True
    """

    def __init__(self, parts: Parts, config: ExchangeConfig) -> None:
        super().__init__(config)
        self._core = Core(parts, config)
        self._core.market_states = dict.fromkeys(sorted(config.markets), MarketState.OPEN)
        self._fault: BaseException | None = None
        self._checkpoint = Checkpoint(self._core)

    @classmethod
    def of(cls, config: ExchangeConfig | Mapping[str, object] | str | Path, registry: Registry | None = None) -> Self:
        """Compose an exchange from a configuration: a typed one, a mapping, or the path of a TOML file.

        Without a registry the parts come from perpkit alone. To use installed plugins give `Registry.discover()`.

        Raises:
            ConfigError: the configuration cannot be used.
            PluginError: a part is missing or does not keep its contract.
        """
        if isinstance(config, Mapping):
            config = ExchangeConfig.from_dict(config)
        elif not isinstance(config, ExchangeConfig):
            config = ExchangeConfig.from_toml(config)
        return cls(compose(config, registry or Registry.builtin()), config)

    @property
    def manifest(self) -> Manifest:
        """Whose code each part is."""
        return self._core.parts.manifest

    @property
    def clearing(self) -> Clearing:
        """The owner of money and size, to read from."""
        return self._core.parts.clearing

    @property
    def clock_ns(self) -> Nanos:
        """The stamp of the last accepted command."""
        return self._core.clock_ns

    @property
    def sequence(self) -> int:
        """How many commands were applied, refused ones included."""
        return self._core.sequence

    @property
    def assets(self) -> Sequence[AssetId]:
        """The assets it holds money in."""
        return tuple(self._core.config.assets)

    @property
    def market_states(self) -> Mapping[MarketId, MarketState]:
        """What each market accepts now."""
        return dict(self._core.market_states)

    @property
    def evidence(self) -> int:
        """What `ResumeExchange` must name while a breach of the books stands, else 0."""
        return self._core.evidence

    @property
    def due_ns(self) -> Nanos | None:
        """The next stamp at which time alone does something: funding, an order's end, a dead man's switch, or None."""
        stamps = (*self._core.funding_next_ns.values(), self._core.desk.first_ns)
        return min((stamp for stamp in stamps if stamp is not None), default=None)

    @property
    def halted(self) -> str:
        """What made the exchange stop for good, empty while nothing has."""
        return f"{type(self._fault).__name__}: {self._fault}" if self._fault else ""

    def held(self) -> tuple[WithdrawalHeld, ...]:
        """Return the withdrawals that are held and not yet released, by id."""
        return tuple(
            WithdrawalHeld(
                withdrawal_id=withdrawal_id,
                account=held.account,
                asset=held.asset,
                amount_units=held.amount_units,
                destination=held.destination,
            )
            for withdrawal_id, held in sorted(self._core.withdrawals.items())
            if not held.released
        )

    def outstanding(self) -> tuple[WithdrawalReleased, ...]:
        """Return the withdrawals that were released and that custody has not yet seen leave."""
        return tuple(
            WithdrawalReleased(
                withdrawal_id=withdrawal_id,
                account=held.account,
                asset=held.asset,
                amount_units=held.amount_units,
                destination=held.destination,
            )
            for withdrawal_id, held in sorted(self._core.withdrawals.items())
            if held.released
        )

    def apply(self, command: Command) -> Outcome:
        """Apply one command: the whole interface of an exchange. Everything else builds commands.

        Units:
            Integers only: ticks, lots, accounting units, nanoseconds; `perpkit.engine.edge` reads text.

        Rejects:
            As a `Rejected` event; the command itself changed nothing. Orders whose end has come and work that an
            earlier command left may go before it. See `RejectReason` for the order. A part that only answers and
            raises, or answers what cannot be, refuses the command as `plugin-fault`, whatever it had already caused.

        Raises:
            UnitsError: a field is of the wrong type or out of range; nothing was changed.
            PerpkitError: an owner failed in a write, or a law does not hold; the exchange is unusable then.

        Cost:
            One plan of the book and one or two readings of a pool an order; a scan of all accounts a mark. A dump of
            the state now and then, to come back to after a fault.
        """
        if self._fault:
            raise HaltedError(f"the exchange halted at command {self._core.sequence}: {self._fault}")
        intake.check_types(command)
        core = self._core
        core.sequence += 1
        core.events = []
        try:
            fault = self._attempt(core, command)
        except BaseException as error:
            self._fault = error
            raise
        outcome = Outcome(sequence=core.sequence, events=tuple(core.events), fault=fault)
        if not fault:
            self._checkpoint.note(core, command, outcome.events)
        return outcome

    def preview_order(self, command: PlaceOrder) -> Preview:
        """Return what an order would do if it came in now; `preview` takes text. Nothing changes.

        It speaks of the order alone: work that an earlier command left may go before it, and what its fills set off,
        such as pegged orders that follow and triggers that fire, comes after. An order that waits for a trigger is
        refused as it would be today, or else spoken of as if it fired now.

        Raises:
            UnitsError: a field is of the wrong type, or there is no such market or account.
            PartFaultError: a part only answers, and its answer cannot be; placing would be refused as `plugin-fault`.

        Example:
            >>> from perpkit.model.order import Side
            >>> from perpkit.testing import builders
            >>> exchange = builders.exchange(deposits={1: "100", 2: "100000"})
            >>> exchange.place(2, "PERP-1", Side.SELL, "3", "101").rejected
            >>> preview = exchange.preview(1, "PERP-1", Side.BUY, "5", "101")
            >>> preview.fills, preview.rest_lots, preview.after.thresholds.liquidation_ticks
            (((101, 3),), 2, 70)
            >>> exchange.preview(1, "PERP-1", Side.BUY, "50", "101").refused.text
            'insufficient-margin'

        Cost:
            As placing it, and copies of the accounts that would trade.
        """
        intake.check_types(command)
        refused = intake.refuse_unknown(self._core, command)
        if refused and refused.reason is not RejectReason.EARLIER_STAMP:
            raise UnitsError(f"preview: expected an order of a known account and market, was {refused.reason.text}")
        return orders.preview(self._core, command, refused)

    def check_totals(self) -> None:
        """Check the running totals, as is done after every command.

        Raises:
            InvariantError: law 1 or 2 does not hold.

        Cost:
            Constant for each asset and market.
        """
        laws.check(self._core)

    def audit(self) -> tuple[AuditCompleted, Sequence[Finding]]:
        """Count the whole books again, and return what was counted and where it does not agree. Changes nothing.

        Cost:
            O(accounts + positions + resting orders).
        """
        return sweep(self._core)

    def dump(self) -> bytes:
        """Return the whole state as canonical JSON: what the digest is taken of, and what `load` reads."""
        return json.dumps(save(self._core), sort_keys=True, separators=(",", ":")).encode()

    def load(self, state: bytes) -> None:
        """Become what `dump` wrote, under the same configuration."""
        saved: dict[str, Any] = json.loads(state)
        restore(self._core, saved)
        self._fault = None
        self._checkpoint.take(self._core)

    def _attempt(self, core: Core, command: Command) -> str:
        """Run a command; when a part's fault stops it, take everything back and say whose fault it was."""
        version, behind, faulted = core.parts.clearing.version, core.behind, core.price_faults
        try:
            self._run(core, command)
        except PartFaultError as error:
            priced = isinstance(command, IndexQuotes)
            faults = faulted + (priced or behind)
            if faults > core.config.limits.price_faults_max:
                raise
            # Prices and work from before change much; all else begins with a write of clearing, or with an event.
            if priced or behind or core.events or core.parts.clearing.version != version:
                self._undo(core)
            core.price_faults = faults
            core.events = [Rejected(reason=RejectReason.PLUGIN_FAULT, part=error.part)]
            return str(error)
        return ""

    def _undo(self, core: Core) -> None:
        """Go back to the checkpoint and do what was done since, up to the command that met a fault.

        The next checkpoint is there, as what failed once may well fail again.
        """
        sequence = core.sequence
        restore(core, json.loads(self._checkpoint.state()))
        for done, command, events in self._checkpoint.since():
            core.sequence, core.events = done, []
            self._run(core, command)
            if tuple(core.events) != events:
                raise InvariantError(f"command {done}: expected the same events again: a part now answers differently")
        core.sequence = sequence
        self._checkpoint.take(core)

    def _run(self, core: Core, command: Command) -> None:
        limits = core.config.limits
        handled: set[PoolKey] = {each.pool for each in core.queue}
        core.watched = done = 0
        refused = intake.refuse_unknown(core, command)
        works = refused is None and not isinstance(command, NoteFault)
        if works:
            triggers.end(core, command.time_ns)
            if core.behind:
                # What an earlier command left goes first, so that order flow cannot starve it.
                core.clock_ns = command.time_ns
                done = self._catch_up(core, max(1, div_floor(limits.work_max * limits.work_share_percent, 100)))
        answer = refused or intake.effect(core, command)
        if answer:
            core.events.append(answer)
        else:
            core.clock_ns = command.time_ns
        priced = False
        if isinstance(command, IndexQuotes) and not answer:
            priced, core.price_faults = True, 0
            moved = pricing.reprice(core, command.quotes, command.time_ns)
            if moved:
                waterfall.lock_breaches(core, moved, handled)
            triggers.prices_came(core)
        triggers.watch(core)
        if works and (done or priced or core.desk.due):
            self._work(core, limits.work_max - done, handled, priced=priced)
        laws.check(core)

    def _catch_up(self, core: Core, budget: int) -> int:
        """Spend a share of the work on what was left over; return how much."""
        done = waterfall.liquidate(core, budget)
        return done + triggers.work(core, budget - done)

    def _work(self, core: Core, budget: int, handled: set[PoolKey], *, priced: bool) -> None:
        """Fire, liquidate and work inventory until none causes anything more; a pool enters the queue once a command.

        Fills of triggers put new pools into the queue only with new prices, as other trades do.
        """
        while True:
            fired = triggers.work(core, budget)
            spent = waterfall.liquidate(core, budget - fired)
            worked = inventory.work_inventory(core)
            triggers.watch(core)
            budget -= fired + spent + worked
            if budget > 0 and (spent or worked or (fired and priced)):
                waterfall.lock_breaches(core, (), handled)
            if budget <= 0 or not core.behind:
                return
