"""What goes wrong, drawn from the seed: commands twice, too late, too early, malformed; parts that fail; crashes."""

from __future__ import annotations

import random
from collections import deque
from decimal import Decimal
from typing import Any

import attrs

from perpkit.model.command import (
    AdjustMargin,
    ApproveWithdrawal,
    CancelAllAfter,
    CancelOrder,
    CancelOrders,
    Command,
    DepositObserved,
    HoldingsReported,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
)
from perpkit.model.market import ContractKind
from perpkit.model.order import Side
from perpkit.model.reject import RejectReason
from perpkit.units import Nanos

from .flaky import MEMBERS, PartFault, ways
from .mirror import Mirror
from .traffic import Traffic

_WRONG_TYPES = (1.5, float("nan"), None, "7", Decimal(1), True, ContractKind.LINEAR)
_OUT_OF_RANGE = (1 << 62, -(1 << 62))


@attrs.frozen(kw_only=True)
class Step:
    """A command to apply, and what must come of it when it is a fault.

    `reason`: it is refused so. `malformed`: it raises. `repeats`: it is a duplicate of what that command did.
    """

    command: Any
    fault: str = ""
    reason: RejectReason | None = None
    malformed: bool = False
    repeats: int = 0


class Faults:
    """Draws the next step: mostly what the traffic sends, now and then something that must do no harm."""

    def __init__(self, draw: random.Random, traffic: Traffic, mirror: Mirror) -> None:
        self._draw = draw
        self._traffic = traffic
        self._mirror = mirror
        self._late: deque[tuple[int, Command]] = deque()
        self._deposits: deque[DepositObserved] = deque(maxlen=50)
        self._steps = 0
        kinds = {
            self._duplicate_order: 5,
            self._reused_order_id: 3,
            self._duplicate_deposit: 3,
            self._duplicate_withdrawal: 3,
            self._earlier_stamp: 8,
            self._reordered: 8,
            self._malformed: 8,
            self._nonsense: 6,
            self._false_holdings: 1,
        }
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def next(self, clock_ns: Nanos) -> Step:
        """Return the next step; `clock_ns` is the stamp of the last accepted command."""
        self._steps += 1
        if self._mirror.evidence:
            # Much is refused while a breach stands, for that reason alone.
            return self._resume() if self._draw.random() < 0.2 else Step(command=self._sent())
        if self._late and self._late[0][0] <= self._steps:
            return self._deliver_late(clock_ns)
        if self._draw.random() < 0.05:
            step = self._draw.choices(self._kinds, self._weights)[0](clock_ns)
            if step:
                return step
        return Step(command=self._sent())

    def part_fault(self) -> PartFault:
        """Draw how a part will fail."""
        port = self._draw.choice(list(MEMBERS))
        member = self._draw.choice(MEMBERS[port])
        return PartFault(
            port=port,
            member=member,
            how=self._draw.choice(ways(port, member)),
            first=self._draw.choice((0, 0, 0, 1, 5)),
            pick=self._draw.randrange(1 << 16),
        )

    def _sent(self) -> Command:
        command = self._traffic.next()
        if isinstance(command, DepositObserved):
            self._deposits.append(command)
        return command

    def _now(self, command: Any) -> Any:
        return attrs.evolve(command, time_ns=self._traffic.now_ns)

    def _duplicate_order(self, _clock_ns: Nanos) -> Step | None:
        known = self._mirror.again()
        if not known:
            return None
        command, sequence = self._draw.choice(known)
        return Step(command=self._now(command), fault="duplicate order", repeats=sequence)

    def _reused_order_id(self, _clock_ns: Nanos) -> Step | None:
        known = self._mirror.again()
        if not known:
            return None
        command, _ = self._draw.choice(known)
        other = attrs.evolve(self._now(command), position_id=command.position_id + 1)
        return Step(command=other, fault="reused order id", reason=RejectReason.CLIENT_ORDER_ID_REUSED)

    def _duplicate_deposit(self, _clock_ns: Nanos) -> Step | None:
        if not self._deposits:
            return None
        again = self._now(self._draw.choice(self._deposits))
        if again.deposit_id not in self._mirror.deposits:
            return None
        return Step(command=again, fault="duplicate deposit", reason=RejectReason.ID_REUSED)

    def _duplicate_withdrawal(self, _clock_ns: Nanos) -> Step | None:
        if not self._mirror.withdrawals:
            return None
        withdrawal_id = self._draw.choice(list(self._mirror.withdrawals))
        if self._mirror.withdrawals[withdrawal_id].released:
            again: Command = ApproveWithdrawal(withdrawal_id=withdrawal_id, time_ns=self._traffic.now_ns)
            return Step(command=again, fault="duplicate approval", reason=RejectReason.UNKNOWN_WITHDRAWAL)
        again = RequestWithdrawal(
            withdrawal_id=withdrawal_id, account=1, asset=1, amount_units=1, time_ns=self._traffic.now_ns
        )
        return Step(command=again, fault="duplicate withdrawal", reason=RejectReason.ID_REUSED)

    def _earlier_stamp(self, clock_ns: Nanos) -> Step:
        late = attrs.evolve(self._traffic.next(), time_ns=clock_ns - self._draw.choice((1, 1, 1 << 40)))
        return Step(command=late, fault="earlier stamp", reason=RejectReason.EARLIER_STAMP)

    def _reordered(self, _clock_ns: Nanos) -> Step | None:
        """Hold a command back, so that others overtake it; what follows from it may even come first."""
        command = self._sent()
        self._late.append((self._steps + self._draw.randint(1, 5), command))
        now_ns = self._traffic.now_ns
        if isinstance(command, PlaceOrder) and command.client_order_id:
            first: Command = CancelOrder(
                account=command.account,
                market=command.market,
                client_order_id=command.client_order_id,
                time_ns=now_ns,
            )
            known = command.account in self._mirror.accounts
            reason = RejectReason.UNKNOWN_ORDER if known else RejectReason.UNKNOWN_ACCOUNT
            return Step(command=first, fault="cancel before its order", reason=reason)
        if isinstance(command, RequestWithdrawal):
            first = ApproveWithdrawal(withdrawal_id=command.withdrawal_id, time_ns=now_ns)
            return Step(command=first, fault="approval before its request", reason=RejectReason.UNKNOWN_WITHDRAWAL)
        return None

    def _deliver_late(self, clock_ns: Nanos) -> Step:
        _, command = self._late.popleft()
        if self._draw.random() < 0.5:
            return Step(command=self._now(command), fault="reordered")
        earlier = command.time_ns < clock_ns
        return Step(command=command, fault="overtaken", reason=RejectReason.EARLIER_STAMP if earlier else None)

    def _malformed(self, _clock_ns: Nanos) -> Step:
        draw, command = self._draw, self._traffic.next()
        if draw.random() < 0.1:
            return Step(command=draw.choice((None, "buy", 7, {})), fault="no command", malformed=True)
        if isinstance(command, IndexQuotes) and command.quotes and draw.random() < 0.7:
            wrong: Any = list(command.quotes)
            if draw.random() < 0.7:
                wrong = (draw.choice((None, self._spoiled(command.quotes[0]))), *command.quotes)
            return Step(command=attrs.evolve(command, quotes=wrong), fault="malformed quotes", malformed=True)
        return Step(command=self._spoiled(command), fault="malformed", malformed=True)

    def _spoiled(self, record: Any) -> Any:
        """Return a record with one field of a wrong type, or out of range."""
        field = self._draw.choice([each for each in attrs.fields(type(record)) if each.name != "quotes"])
        wrong: list[Any] = [value for value in _WRONG_TYPES if type(value) is not field.type]
        if field.name == "trigger":
            wrong.remove(None)
            wrong += [self._spoiled(record.trigger)] if record.trigger else []
        if field.name == "attached":
            wrong += [[], (None,), *((self._spoiled(each),) for each in record.attached)]
        if field.type is int:
            wrong += _OUT_OF_RANGE
        return attrs.evolve(record, **{field.name: self._draw.choice(wrong)})

    def _nonsense(self, _clock_ns: Nanos) -> Step:
        """Well-formed, and impossible whatever the state is."""
        order = PlaceOrder(account=1, market=1, side=Side.BUY, size_lots=1, price_ticks=1)
        choices: list[tuple[Any, RejectReason]] = [
            (attrs.evolve(order, market=99), RejectReason.UNKNOWN_MARKET),
            (attrs.evolve(order, account=10**9), RejectReason.UNKNOWN_ACCOUNT),
            (attrs.evolve(order, account=0), RejectReason.UNKNOWN_ACCOUNT),
            (RequestWithdrawal(withdrawal_id=1, account=1, asset=9, amount_units=1), RejectReason.UNKNOWN_ASSET),
            (ApproveWithdrawal(withdrawal_id=-5), RejectReason.UNKNOWN_WITHDRAWAL),
            (CancelOrder(account=1, market=1, order_id=1 << 60), RejectReason.UNKNOWN_ORDER),
            (CancelOrders(account=1, market=99), RejectReason.UNKNOWN_MARKET),
            (CancelAllAfter(account=10**9, after_ns=1), RejectReason.UNKNOWN_ACCOUNT),
            (AdjustMargin(account=0, market=1, amount_units=1), RejectReason.UNKNOWN_ACCOUNT),
            (DepositObserved(deposit_id=-1, account=1, asset=1, amount_units=0), RejectReason.AMOUNT_NOT_POSITIVE),
        ]
        command, reason = self._draw.choice(choices)
        return Step(command=self._now(command), fault="nonsense", reason=reason)

    def _false_holdings(self, _clock_ns: Nanos) -> Step:
        """Custody reports other holdings than the ledger says."""
        asset = self._draw.choice(list(self._mirror.custody_units))
        false = self._mirror.custody_units[asset] + self._draw.choice((-1, 1))
        return Step(
            command=HoldingsReported(asset=asset, holdings_units=false, time_ns=self._traffic.now_ns),
            fault="false holdings",
        )

    def _resume(self) -> Step:
        """Two operators go on; or one alone tries, or two who saw other evidence."""
        operators, evidence = self._draw.choice(((1, 2), (1, 2), (3, 3))), self._mirror.evidence
        reason = None if operators[0] != operators[1] else RejectReason.OPERATORS_NOT_DISTINCT
        if self._draw.random() < 0.2:
            evidence, reason = evidence + 1, RejectReason.NO_SUCH_BREACH
        if reason is None:
            for market in self._mirror.states:
                self._traffic.reopen(market, self._draw.randint(1, 20))
        command = ResumeExchange(
            evidence=evidence, operator=operators[0], second_operator=operators[1], time_ns=self._traffic.now_ns
        )
        return Step(command=command, fault="resumed" if reason is None else "resumed wrongly", reason=reason)
