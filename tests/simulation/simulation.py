"""One seed: worlds one after the other, each step applied, judged, and now and then forgotten and recovered."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from typing import Any
from unittest import mock

import attrs

from perpkit.engine import checkpoint
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.errors import HaltedError, PerpkitError, UnitsError
from perpkit.model.command import Command, IndexQuotes, NoteFault
from perpkit.model.event import Deleveraged, Duplicate, LossSocialized, Rejected
from perpkit.model.market import FINAL_STATES
from perpkit.model.reject import RejectReason

from .audit import check_inventory, check_sums, full_audit
from .faults import Faults, Step
from .flaky import WHIMS, PartFault, Switch, registry
from .mirror import Mirror
from .traffic import Traffic
from .world import World

WHOLLY_REFUSED = (RejectReason.EARLIER_STAMP, RejectReason.PLUGIN_FAULT)


@attrs.frozen(kw_only=True)
class Pace:
    """How often, in steps: a full audit, a snapshot and the exchange's own checkpoint exactly; the others on average.

    Those are a crash, a part told to fail and a look at a digest.
    """

    audit_every: int = 1_000
    snapshot_every: int = 250
    checkpoint_every: int = 100
    crash_every: int = 4_000
    part_fault_every: int = 1_000
    look_every: int = 400


BUSY = Pace(audit_every=250, crash_every=500, part_fault_every=100, look_every=50)
"""For short runs, that they meet everything as well."""


class SimulationError(Exception):
    """Something was not as it must be. Says where, and how to meet it again."""


@attrs.define
class Tally:
    """What happened, to be added up over seeds."""

    commands: Counter[str] = attrs.field(factory=Counter)
    refused: Counter[str] = attrs.field(factory=Counter)
    events: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[str] = attrs.field(factory=Counter)
    checks: Counter[str] = attrs.field(factory=Counter)

    def add(self, other: Tally) -> None:
        """Count another tally in."""
        for field in attrs.fields(Tally):
            getattr(self, field.name).update(getattr(other, field.name))


def _content(dump: bytes) -> dict[str, Any]:
    """Return a state without what a refused command may move."""
    state: dict[str, Any] = json.loads(dump)
    return {name: value for name, value in state.items() if name not in ("sequence", "clock_ns", "price_faults")}


class Simulation:
    """Runs one seed. The exchange changes with every world and every recovery."""

    def __init__(self, seed: int, commands: int, pace: Pace) -> None:
        self.tally = Tally()
        self._seed = seed
        self._commands = commands
        self._pace = pace
        self._draw = random.Random(seed)
        self._step = 0
        self._current: Any = None

    def run(self) -> Tally:
        """Apply as many commands as asked for.

        Raises:
            SimulationError: a promise was broken.
        """
        # Where parts fail as often as here, an exchange that goes back far does little else.
        often = {"COMMANDS_MIN": self._pace.checkpoint_every, "STATE_BYTES_A_COMMAND": sys.maxsize}
        try:
            with mock.patch.multiple(checkpoint, **often):
                while self._step < self._commands:
                    self._open_world()
                    self._live()
                    self._audit()
                    self.tally.faults.update(self._traffic.feed.faults)
        except Exception as error:
            raise SimulationError(self._where(error)) from error
        return self.tally

    def _where(self, error: Exception) -> str:
        busy = " --busy" if self._pace == BUSY else ""
        return (
            f"seed {self._seed}, step {self._step}: {type(error).__name__}: {error}\n"
            f"  command: {self._current!r}\n"
            f"  again: python -m tests.simulation.run --seed {self._seed} --commands {self._commands}{busy}"
        )

    def _open_world(self) -> None:
        draw = self._draw
        self._world = World(draw)
        whim = draw.choice(list(WHIMS)) if draw.random() < 0.2 else None
        self._switch = Switch(whim)
        self.tally.faults["foolish part"] += whim is not None
        self._registry = registry(self._switch)
        self._exchange = Exchange.of(self._world.config, self._registry)
        self._mirror = Mirror(self._world.config)
        self._traffic = Traffic(draw, self._world, self._mirror)
        self._faults = Faults(draw, self._traffic, self._mirror)
        self._told: PartFault | None = None
        self._snapshot()
        self.tally.checks["worlds"] += 1
        first_price = [self._traffic.quotes()] if draw.random() < 0.8 else []
        opening = [*self._world.opening(), *first_price]
        for command in opening[: self._commands - self._step]:
            self._apply(Step(command=command))

    def _live(self) -> None:
        """Go on until the world has lived its time, every market is settled, or enough was done."""
        while self._step < self._commands and not self._is_over():
            if self._draw.randrange(self._pace.part_fault_every) == 0:
                self._told = self._faults.part_fault()
            self._apply(self._faults.next(self._exchange.clock_ns))
            # While liquidations wait there is more to forget.
            crash_every = self._pace.crash_every // 20 if self._mirror.queue else self._pace.crash_every
            if self._draw.randrange(crash_every) == 0:
                self._crash()
            if self._draw.randrange(crash_every) == 0:
                self._snapshot()
            if self._step % self._pace.audit_every == 0:
                self._audit()
            if self._step % self._pace.snapshot_every == 0:
                self._snapshot()

    def _is_over(self) -> bool:
        lived = self._exchange.sequence >= self._world.lifetime
        return lived or all(state in FINAL_STATES for state in self._mirror.states.values())

    def _apply(self, step: Step) -> None:
        self._step += 1
        self._current = step.command
        self.tally.commands[type(step.command).__name__] += 1
        if step.fault:
            self.tally.faults[step.fault] += 1
        if step.malformed:
            self._apply_malformed(step.command)
            return
        chance = 6 if step.fault or self._told else 1
        looks = self._draw.randrange(self._pace.look_every) < chance
        before = self._exchange.dump() if looks else None
        precedes = self._exchange._core.behind or self._mirror.orders.time_acts(step.command.time_ns)
        self._switch.arm(self._told)
        try:
            outcome = self._exchange.apply(step.command)
        except PerpkitError:
            if not self._switch.fired:
                raise
            self._halted()
            return
        self._done.append((self._journaled(step.command, outcome), outcome))
        self._judge(step, outcome, before, precedes=precedes)
        self._mirror.take(step.command, outcome)
        self._count(outcome)
        if any(isinstance(event, Deleveraged | LossSocialized) for event in outcome.events):
            self._audit()
        check_sums(self._exchange, self._mirror, outcome)
        if isinstance(step.command, IndexQuotes) and outcome.rejected is None:
            check_inventory(self._exchange, self._world.config, self._mirror)
            if not self._exchange._core.behind:
                self._mirror.check_triggers()

    def _apply_malformed(self, command: Any) -> None:
        """What is malformed raises, and not even the sequence moves."""
        before = self._exchange.dump() if self._draw.randrange(self._pace.look_every) < 6 else None
        sequence = self._exchange.sequence
        try:
            self._exchange.apply(command)
        except UnitsError:
            assert self._exchange.sequence == sequence, "a malformed command has no number"
            assert not self._exchange.halted, "a malformed command halts nothing"
            assert before is None or before == self._exchange.dump(), "a malformed command changed something"
        else:
            raise AssertionError("a malformed command was accepted")

    def _judge(self, step: Step, outcome: Outcome, before: bytes | None, *, precedes: bool) -> None:
        """Hold what a step did against what must come of it."""
        rejected = outcome.rejected
        if self._switch.fired:
            assert self._told, "a fault that nobody asked for"
            name = f"{self._told.port}.{self._told.member} {self._told.how}"
            assert rejected is RejectReason.PLUGIN_FAULT, f"{name}, and the command was not refused"
            self.tally.faults[name] += 1
            self._forgive()
        else:
            assert rejected is not RejectReason.PLUGIN_FAULT, f"no part was at fault: {outcome.fault}"
            if step.reason:
                assert rejected is step.reason, f"{step.fault}: expected {step.reason}, was {rejected}"
            if step.repeats:
                duplicates = [event for event in outcome.events if isinstance(event, Duplicate)]
                assert [each.sequence for each in duplicates] == [step.repeats], f"{step.fault}: {outcome.events}"
        changes_nothing = rejected is not None or step.repeats
        # What time ends and what was left over goes before a command, unless it is out of time or taken back whole.
        if changes_nothing and (not precedes or rejected in WHOLLY_REFUSED):
            assert len(outcome.events) == 1, f"refused, and more: {outcome.events}"
            if before:
                assert _content(self._exchange.dump()) == _content(before), "a refused command changed something"
                self.tally.checks["refusals looked at"] += 1

    def _count(self, outcome: Outcome) -> None:
        if (rejected := outcome.rejected) is not None:
            self.tally.refused[rejected.text] += 1
        self.tally.events.update([type(event).__name__ for event in outcome.events])

    def _snapshot(self) -> None:
        """Keep the state; what is done from now on is the tail."""
        self._saved, self._done = self._exchange.dump(), list[tuple[Command, Outcome]]()

    def _crash(self) -> None:
        """Throw the exchange away, and go on with one recovered from snapshot and tail."""
        recovered = self._recover()
        assert recovered.dump() == self._exchange.dump(), "what was recovered is not what was lost"
        self._exchange = recovered
        self.tally.faults["crash"] += 1

    def _halted(self) -> None:
        """A part failed too often for prices, or with liquidations waiting: recover without the command that met it."""
        try:
            self._exchange.apply(self._current)
        except HaltedError:
            self.tally.faults["halt"] += 1
        else:
            raise AssertionError("an exchange that halted went on")
        halted, self._exchange = self._exchange.halted, self._recover()
        self._told = None
        waited = self._exchange._core.behind
        assert isinstance(self._current, IndexQuotes) or waited, f"only prices and liquidations halt: {halted}"

    def _forgive(self) -> None:
        """Mend the part that failed; now and then it will fail again at once."""
        if self._draw.random() < 0.7:
            self._told = None

    def _journaled(self, command: Command, outcome: Outcome) -> Command:
        """Return what a journal keeps: in the place of a command that a part failed, a note of that."""
        if outcome.rejected is not RejectReason.PLUGIN_FAULT:
            return command
        (refused,) = outcome.events
        assert isinstance(refused, Rejected)
        return NoteFault(part=refused.part, priced=isinstance(command, IndexQuotes), time_ns=command.time_ns)

    def _recover(self) -> Exchange:
        self._switch.arm(None)
        exchange = Exchange.of(self._world.config, self._registry)
        exchange.load(self._saved)
        for command, outcome in self._done:
            again = exchange.apply(command)
            assert again == outcome, f"{command} had other consequences: {again}, not {outcome}"
        return exchange

    def _audit(self) -> None:
        full_audit(self._exchange, self._world.config, self._mirror)
        self.tally.checks["full audits"] += 1
