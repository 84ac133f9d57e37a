"""A short run of the simulation: the same code, fewer commands, faults and audits at a busier pace."""

from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import Command
from perpkit.model.event import Event, Filled, OrderAmended, OrderCancelled, OrderRested, OrderTriggered, OrderWaits
from perpkit.model.reject import RejectReason

from . import run
from .flaky import MEMBERS
from .simulation import BUSY, Simulation, SimulationError, Tally

SEEDS, COMMANDS = 24, 800


@pytest.fixture(scope="module")
def total() -> Tally:
    """Return what happened over all seeds; that it comes back means that every check held."""
    return simulate(range(SEEDS), COMMANDS)


def simulate(seeds: range, commands: int) -> Tally:
    total = Tally()
    for seed in seeds:
        total.add(Simulation(seed, commands, BUSY).run())
    return total


def test_every_command_and_every_event_is_reached(total: Tally) -> None:
    # Only a journal says `NoteFault`; recoveries here say it as well.
    assert {kind.__name__ for kind in get_args(Command)} - set(total.commands) == {"NoteFault"}
    assert {kind.__name__ for kind in get_args(Event)} - set(total.events) == set()
    assert sum(total.commands.values()) == SEEDS * COMMANDS


def test_orders_and_transfers_are_refused_for_many_reasons(total: Tally) -> None:
    often = {
        RejectReason.EARLIER_STAMP,
        RejectReason.UNKNOWN_ORDER,
        RejectReason.PLUGIN_FAULT,
        RejectReason.CLIENT_ORDER_ID_REUSED,
        RejectReason.ID_REUSED,
        RejectReason.MARKET_STATE,
        RejectReason.NOTHING_TO_REDUCE,
        RejectReason.WOULD_CROSS,
        RejectReason.CANNOT_FILL,
        RejectReason.INSUFFICIENT_BALANCE,
        RejectReason.INSUFFICIENT_MARGIN,
        RejectReason.RATE_LIMITED,
        RejectReason.FLAGS_CONFLICT,
        RejectReason.POSITION_MODE,
        RejectReason.NO_REFERENCE_PRICE,
        RejectReason.TRIGGER_CROSSED,
        RejectReason.TOO_MANY_ORDERS,
        RejectReason.ORDER_CHECK,
        RejectReason.COST_CAP,
        RejectReason.TERMS_IN_USE,
        RejectReason.NOT_ISOLATED,
        RejectReason.LEVERAGE_TOO_HIGH,
        RejectReason.MARGIN_UNDER_STRESS,
    }
    assert {reason.text for reason in often} - set(total.refused) == set()


def test_faults_of_every_sort_are_met(total: Tally) -> None:
    assert {
        "crash",
        "duplicate order",
        "duplicate deposit",
        "duplicate withdrawal",
        "reordered",
        "overtaken",
        "cancel before its order",
        "earlier stamp",
        "malformed",
        "nonsense",
        "false holdings",
        "index outage",
        "index outlier",
        "price jump",
        "foolish part",
    } - set(total.faults) == set()
    failed = {name.partition(".")[0] for name in total.faults if "." in name}
    assert len(failed & set(MEMBERS)) >= len(MEMBERS) // 2, f"only {failed} failed"
    assert min(total.checks["refusals looked at"], total.checks["full audits"]) > SEEDS


def test_a_seed_draws_the_same_every_time() -> None:
    assert Simulation(3, 300, BUSY).run() == Simulation(3, 300, BUSY).run()


def forgets(kind: type[Any]) -> Any:
    """Return an `apply` that does not tell of one kind of event."""
    apply = Exchange.apply

    def sabotaged(exchange: Exchange, command: Command) -> Outcome:
        outcome = apply(exchange, command)
        return attrs.evolve(outcome, events=tuple(e for e in outcome.events if not isinstance(e, kind)))

    return sabotaged


@pytest.mark.parametrize("kind", [Filled, OrderAmended, OrderCancelled, OrderRested, OrderTriggered, OrderWaits])
def test_an_event_that_nobody_was_told_of_is_noticed(monkeypatch: pytest.MonkeyPatch, kind: type[Any]) -> None:
    monkeypatch.setattr(Exchange, "apply", forgets(kind))
    with pytest.raises(SimulationError, match=r"seed 1, step \d+: \w+Error: .*\n.*\n.*--seed 1 --commands 500"):
        Simulation(1, 500, BUSY).run()


@pytest.mark.parametrize(
    ("rule", "instead", "found"),
    [
        ("perpkit.model.matching.is_own", False, "a trade with oneself"),
        ("perpkit.engine.triggers.end", None, "lives past its end"),
        ("perpkit.engine.triggers.links.took", None, "rivals of"),
        ("perpkit.engine.triggers.rules.usable_price", 0, "a trigger was passed over"),
        (
            "perpkit.reference.clearing.arrival._closes_hedge",
            False,
            "resting orders as the events told|does not reduce",
        ),
        ("perpkit.reference.clearing.orders.trim_reduce_only", None, "reduce-only order"),
        ("perpkit.reference.book_price_time.hidden_of", 0, "what is shown|prices that are shown"),
    ],
)
def test_a_rule_that_is_not_kept_is_noticed(
    monkeypatch: pytest.MonkeyPatch, rule: str, instead: object, found: str
) -> None:
    monkeypatch.setattr(rule, lambda *_: instead)
    with pytest.raises(SimulationError, match=found):
        simulate(seeds=range(20), commands=500)


def test_a_recovery_that_leads_elsewhere_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Exchange.load

    def sabotaged(exchange: Exchange, state: bytes) -> None:
        load(exchange, state)
        exchange.deposit(1, "COIN", "1")

    monkeypatch.setattr(Exchange, "load", sabotaged)
    with pytest.raises(SimulationError, match=r"what was recovered|other consequences"):
        Simulation(1, 500, attrs.evolve(BUSY, crash_every=20)).run()


def test_the_command_line_tells_what_was_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seed", "1", "--commands", "60"]) == 0
    assert "60 commands in" in capsys.readouterr().out
    assert run.main(["--seeds", "2", "--commands", "60", "--jobs", "1", "--busy"]) == 0
    told = capsys.readouterr()
    assert "120 commands in" in told.out
    assert "2/2 seeds" in told.err
