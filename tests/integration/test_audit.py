"""The books are audited after every command and, counted from nothing, on demand; and what follows from a breach."""

import json

import attrs
import pytest

from perpkit import Exchange, HaltedError, InvariantError, MarketState, RejectReason, Side
from perpkit.audit import replay, state_digest
from perpkit.bench.audit import bench_audit
from perpkit.engine.config import ExchangeConfig
from perpkit.model.cause import Law
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    HoldingsReported,
    ResumeExchange,
    RunAudit,
    SetMarketState,
    WithdrawalSent,
)
from perpkit.model.event import (
    AuditCompleted,
    BreachFound,
    DepositCredited,
    ExchangeResumed,
    IndexUpdated,
    LiquidationStarted,
    MarketStateChanged,
    MarkUpdated,
    OrderCancelled,
    TakenOver,
    WithdrawalReturned,
    WithdrawalSettled,
)
from perpkit.model.ledger import Chart, of_market, wallet
from perpkit.model.records import pack_all

BUY, SELL = Side.BUY, Side.SELL
OPEN, CANCEL_ONLY, HALTED = MarketState.OPEN, MarketState.CANCEL_ONLY, MarketState.HALTED


@pytest.fixture
def exchange(make_exchange):
    """Account 1 bought 50 at 100 from account 2 and bids for one more; account 3 has one withdrawal held, one sent."""
    made = make_exchange({}, {}, deposits={1: "1000", 2: "2000", 3: "1000"})
    made.place(2, "PERP-1", SELL, 50, 100)
    made.place(1, "PERP-1", BUY, 50, 100)
    made.place(1, "PERP-2", BUY, 1, 90)
    for withdrawal_id in (5, 6):
        made.withdraw(3, "COIN", "100", withdrawal_id=withdrawal_id)
    made.apply(ApproveWithdrawal(withdrawal_id=6, time_ns=made.clock_ns))
    return made


def do(exchange, command):
    return exchange.apply(attrs.evolve(command, time_ns=exchange.clock_ns))


def events(outcome, kind):
    return [event for event in outcome.events if isinstance(event, kind)]


def move(exchange, source, target, amount):
    """Move money behind the exchange's back, so that the running totals still agree."""
    state = json.loads(exchange.dump())
    ledger = {tuple(row[:-1]): row[-1] for row in state["clearing"]["ledger"]}
    for account, change in ((source, -amount), (target, amount)):
        ledger[tuple(account)] = ledger.get(tuple(account), 0) + change
    state["clearing"]["ledger"] = [[*account, units] for account, units in sorted(ledger.items())]
    exchange.load(json.dumps(state).encode())


OWN, NOWHERE = wallet(3, 1), wallet(99, 1)


@pytest.fixture
def breached(exchange):
    """The exchange after an audit found that 7 of account 3 are nowhere."""
    move(exchange, OWN, NOWHERE, 7)
    assert do(exchange, RunAudit()).rejected is None
    assert exchange.evidence
    return exchange


def resume(exchange, evidence=None, operator=1, second_operator=2):
    named = exchange.evidence if evidence is None else evidence
    return do(exchange, ResumeExchange(evidence=named, operator=operator, second_operator=second_operator))


# Totals, after every command


def lose_money(state):
    state.ledger._change(wallet(1, 1), -1)


def lose_custody(state):
    state.ledger._custody_side[1] -= 1


def lose_lot(state):
    state.sums[1].size_lots -= 1


def lose_cost(state):
    state.sums[1].costs_units -= 1


def lose_funding(state):
    state.ledger.move(of_market(Chart.FUNDING, 1, 1), wallet(1, 1), 1)


@pytest.mark.parametrize(
    ("lose", "told"),
    [
        (lose_money, "law 1, asset 1: .* was 3999, 4000, 4000"),
        (lose_custody, "law 1, asset 1: .* was 4000, 3999, 4000"),
        (lose_lot, "law 2, market 1: .* was -1 lots, 0 [+] 0 units"),
        (lose_cost, "law 2, market 1: .* was 0 lots, -1 [+] 0 units"),
        (lose_funding, "law 2, market 1: .* funding residue of 0 to 0 units, was -1000000000 billionths"),
    ],
)
def test_a_unit_that_clearing_loses_is_found_at_the_command_that_lost_it(exchange, monkeypatch, lose, told):
    place, orders = type(exchange.clearing).place, []

    def losing(self, command, *rest):
        done = place(self, command, *rest)
        orders.append(command)
        if len(orders) == 2:
            lose(self._state)
        return done

    monkeypatch.setattr(type(exchange.clearing), "place", losing)
    done = exchange.place(3, "PERP-1", BUY, 1, 90)
    with pytest.raises(InvariantError, match=told):
        exchange.place(3, "PERP-1", BUY, 1, 91)
    with pytest.raises(HaltedError, match=f"halted at command {done.sequence + 1}: law"):
        exchange.place(3, "PERP-1", BUY, 1, 92)


# The full sweep


def test_an_audit_of_sound_books_counts_them_and_changes_nothing(exchange, content):
    before = content(exchange)
    outcome = do(exchange, RunAudit())
    assert outcome.events == (AuditCompleted(accounts=3, positions=2, orders=1, breaches=0),)
    assert content(exchange) == before
    assert exchange.audit() == (outcome.events[0], [])


def test_what_the_totals_do_not_see_is_found_by_the_next_audit(exchange):
    move(exchange, OWN, NOWHERE, 7)
    assert exchange.place(3, "PERP-1", BUY, 1, 90).rejected is None
    assert exchange.quote("PERP-1", "101", time_ns=9).rejected is None
    completed, breach, *states = do(exchange, RunAudit()).events
    assert completed == AuditCompleted(accounts=3, positions=2, orders=2, breaches=1)
    assert breach == BreachFound(
        law=Law.CONSERVATION, market=0, asset=1, expected=4_000, found=3_993, evidence=exchange.evidence
    )
    assert states == [MarketStateChanged(market=market, state=HALTED) for market in (1, 2)]


def debt(exchange):
    balances = exchange.clearing._state.ledger._balances
    balances[wallet(3, 1)] -= 900
    balances[wallet(2, 1)] += 900


def widowed_size(exchange):
    exchange.clearing._state.accounts[1].positions[1, 0].size_lots += 1


def forgotten_order(exchange):
    exchange.clearing._state.accounts[1].orders.clear()


@pytest.mark.parametrize(
    ("tamper", "law", "count"),
    [(debt, Law.NO_DEBT, 1), (widowed_size, Law.ZERO_SUM, 3), (forgotten_order, Law.RESERVATIONS, 1)],
)
def test_each_law_that_the_sweep_counts_halts_the_exchange(exchange, tamper, law, count):
    tamper(exchange)
    outcome = do(exchange, RunAudit())
    assert events(outcome, AuditCompleted)[0].breaches == count
    assert [event.law for event in events(outcome, BreachFound)] == [law] * count
    assert {event.evidence for event in events(outcome, BreachFound)} == {exchange.evidence}
    assert exchange.market_states == {1: HALTED, 2: HALTED}


def test_holdings_that_are_not_what_the_ledger_says_halt_the_exchange(exchange):
    outcome = do(exchange, HoldingsReported(asset=1, holdings_units=3_999))
    (breach,) = events(outcome, BreachFound)
    assert (breach.law, breach.asset, breach.expected, breach.found) == (Law.HOLDINGS, 1, 4_000, 3_999)
    assert exchange.market_states == {1: HALTED, 2: HALTED}
    assert exchange.audit()[1] == []


# While a breach stands


def test_every_market_that_runs_is_halted_and_no_other_changes(make_exchange):
    states = [*MarketState]
    exchange = make_exchange(*[{}] * len(states), deposits={1: "10"})
    state = json.loads(exchange.dump())
    state["market_states"] = [[market, int(each)] for market, each in enumerate(states, start=1)]
    exchange.load(json.dumps(state).encode())
    do(exchange, HoldingsReported(asset=1, holdings_units=9))
    kept = {MarketState.SETTLING, MarketState.SETTLED}
    assert list(exchange.market_states.values()) == [each if each in kept else HALTED for each in states]


def test_nobody_trades_and_no_money_leaves_while_a_breach_stands(breached):
    assert breached.place(1, "PERP-1", SELL, 1, 100).rejected is RejectReason.MARKET_STATE
    assert breached.place(1, "PERP-1", SELL, 1, 100, reduce_only=True).rejected is RejectReason.MARKET_STATE
    assert breached.withdraw(3, "COIN", "1", withdrawal_id=9).rejected is RejectReason.BREACH_STANDS
    assert do(breached, ApproveWithdrawal(withdrawal_id=5)).rejected is RejectReason.BREACH_STANDS
    for state in (OPEN, CANCEL_ONLY, HALTED):
        assert do(breached, SetMarketState(market=1, state=state)).rejected is RejectReason.BREACH_STANDS
    assert breached.market_states == {1: HALTED, 2: HALTED}


def test_money_comes_in_orders_go_out_and_prices_go_on_while_a_breach_stands(breached):
    (credited,) = breached.deposit(4, "COIN", "50").events
    assert isinstance(credited, DepositCredited)
    assert breached.clearing.balance(wallet(4, 1)) == 50
    (order,) = breached.clearing.orders(2, BUY)
    assert events(breached.cancel(1, "PERP-2", order.id), OrderCancelled)
    assert events(do(breached, CancelWithdrawal(withdrawal_id=5)), WithdrawalReturned)
    assert events(do(breached, WithdrawalSent(withdrawal_id=6)), WithdrawalSettled)
    assert [type(event) for event in breached.quote("PERP-1", "101", time_ns=9).events] == [IndexUpdated, MarkUpdated]


def test_nobody_is_liquidated_while_a_breach_stands_and_then_those_who_still_have_to_be(breached):
    """Account 1 has 1,000 and is long 50 from 100: at 84 it has 200 left and needs 210, at 81 it has 50."""
    assert not events(breached.quote("PERP-1", "84", time_ns=9), LiquidationStarted)
    move(breached, NOWHERE, OWN, 7)
    assert resume(breached).rejected is None
    outcome = breached.quote("PERP-1", "81", time_ns=10)
    assert [event.account for event in events(outcome, TakenOver)] == [1]


def test_who_waited_to_be_liquidated_when_the_breach_was_found_waits_on(make_exchange):
    """Accounts 1, 4 and 5 fall together, and each command has work for one of them."""
    limits = {"work_max": 1, "work_share_percent": 100}
    exchange = make_exchange({}, deposits={1: "1000", 2: "9000", 4: "1000", 5: "1000"}, limits=limits)
    exchange.place(2, "PERP-1", SELL, 150, 100)
    for account in (1, 4, 5):
        exchange.place(account, "PERP-1", BUY, 50, 100)
    outcomes = [
        exchange.quote("PERP-1", "84", time_ns=2),
        do(exchange, HoldingsReported(asset=1, holdings_units=0)),
        do(exchange, RunAudit()),
        exchange.quote("PERP-1", "83", time_ns=3),
        exchange.deposit(6, "COIN", "1"),
        resume(exchange),
        exchange.quote("PERP-1", "84", time_ns=4),
    ]
    taken = [[event.account for event in events(outcome, TakenOver)] for outcome in outcomes]
    assert taken == [[1], [4], [], [], [], [], [5]]


def test_evidence_keeps_its_number_while_the_breach_stands_and_what_is_found_later_joins_it(breached):
    number = breached.evidence
    assert {event.evidence for event in events(do(breached, RunAudit()), BreachFound)} == {number}
    outcome = do(breached, HoldingsReported(asset=1, holdings_units=1))
    assert {event.evidence for event in events(outcome, BreachFound)} == {number}
    assert not events(outcome, MarketStateChanged)
    assert breached.evidence == number


def test_evidence_is_numbered_by_what_was_found_and_when(make_exchange):
    def number(holdings, commands_before):
        exchange = make_exchange({}, deposits={1: "10"})
        for _ in range(commands_before):
            do(exchange, RunAudit())
        do(exchange, HoldingsReported(asset=1, holdings_units=holdings))
        return exchange.evidence

    assert number(9, 0) == number(9, 0)
    assert len({number(9, 0), number(8, 0), number(9, 1)}) == 3
    assert all(0 < number(holdings, 0) < 1 << 62 for holdings in range(9))


# Going on


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"evidence": 0}, RejectReason.NO_SUCH_BREACH),
        ({"evidence": 1}, RejectReason.NO_SUCH_BREACH),
        ({"second_operator": 1}, RejectReason.OPERATORS_NOT_DISTINCT),
        ({"operator": 0}, RejectReason.OPERATORS_NOT_DISTINCT),
        ({"second_operator": 0}, RejectReason.OPERATORS_NOT_DISTINCT),
        ({"operator": -1}, RejectReason.OPERATORS_NOT_DISTINCT),
        ({"evidence": 1, "second_operator": 1}, RejectReason.NO_SUCH_BREACH),
    ],
)
def test_going_on_takes_the_right_number_and_two_operators(breached, content, changes, reason):
    before = content(breached)
    assert resume(breached, **changes).rejected is reason
    assert content(breached) == before


def test_where_no_breach_stands_there_is_none_to_go_on_from(exchange):
    assert resume(exchange, evidence=0).rejected is RejectReason.NO_SUCH_BREACH
    assert resume(exchange, evidence=7).rejected is RejectReason.NO_SUCH_BREACH


def test_two_operators_go_on_to_cancels_only_and_open_the_markets_one_by_one(breached):
    number = breached.evidence
    resumed, *states = resume(breached, operator=8, second_operator=9).events
    assert resumed == ExchangeResumed(evidence=number, operator=8, second_operator=9)
    assert states == [MarketStateChanged(market=market, state=CANCEL_ONLY) for market in (1, 2)]
    assert breached.place(1, "PERP-1", BUY, 1, 90).rejected is RejectReason.MARKET_STATE
    assert do(breached, SetMarketState(market=1, state=OPEN)).rejected is None
    assert breached.place(1, "PERP-1", BUY, 1, 90).rejected is None
    assert breached.place(1, "PERP-2", BUY, 1, 90).rejected is RejectReason.MARKET_STATE
    assert do(breached, ApproveWithdrawal(withdrawal_id=5)).rejected is None
    assert resume(breached, evidence=number).rejected is RejectReason.NO_SUCH_BREACH


def test_who_goes_on_without_mending_is_halted_again_by_the_next_audit(breached):
    first = breached.evidence
    resume(breached)
    do(breached, SetMarketState(market=1, state=OPEN))
    assert [event.found for event in events(do(breached, RunAudit()), BreachFound)] == [3_993]
    assert breached.market_states == {1: HALTED, 2: HALTED}
    assert breached.evidence not in (0, first)
    assert resume(breached, evidence=first).rejected is RejectReason.NO_SUCH_BREACH


def test_who_goes_on_after_mending_goes_on(breached):
    move(breached, NOWHERE, OWN, 7)
    resume(breached)
    do(breached, SetMarketState(market=1, state=OPEN))
    assert not events(do(breached, RunAudit()), BreachFound)
    assert breached.market_states == {1: OPEN, 2: CANCEL_ONLY}
    assert breached.evidence == 0


# Across a restart


def test_a_breach_stands_in_a_dump_too(breached, make_exchange):
    other = make_exchange({}, {})
    other.load(breached.dump())
    assert (other.evidence, other.dump()) == (breached.evidence, breached.dump())
    assert other.withdraw(3, "COIN", "1", withdrawal_id=9).rejected is RejectReason.BREACH_STANDS
    assert resume(other, evidence=breached.evidence).rejected is None


@pytest.mark.parametrize("resumed", [False, True])
def test_a_replay_meets_the_same_breach_and_leads_to_the_same_state(make_tables, monkeypatch, resumed):
    config, commands = ExchangeConfig.from_dict(make_tables({}, {})), []
    exchange, apply = Exchange.of(config), Exchange.apply

    def recording(self, command):
        commands.append(command)
        return apply(self, command)

    with monkeypatch.context() as patched:
        patched.setattr(Exchange, "apply", recording)
        exchange.deposit(1, "COIN", "1000")
        exchange.quote("PERP-1", "100", time_ns=1)
        do(exchange, HoldingsReported(asset=1, holdings_units=999))
        exchange.place(1, "PERP-1", BUY, 1, 90)
        if resumed:
            resume(exchange)
            do(exchange, SetMarketState(market=1, state=OPEN))
            exchange.place(1, "PERP-1", BUY, 1, 90)
    again = replay(pack_all(commands), config)
    assert again.commands == exchange.sequence == (7 if resumed else 4)
    assert again.state_digest == state_digest(exchange)
    assert bool(exchange.evidence) is not resumed


# What it costs


def test_the_bench_reports_every_figure_of_it():
    turns = []
    result = bench_audit(rounds=1, commands=20, accounts=20, progress=lambda done, total: turns.append((done, total)))
    assert turns == [(1, 1)]
    assert (result.accounts, result.rounds, result.sweeps_a_minute) == (20, 1, 4)
    assert all(each >= 0 for each in (result.command_us, result.totals_us, result.sweep_ms, result.cost_percent))
    assert result.met is (result.cost_percent <= 10)
    assert len(result.lines()) == 5
