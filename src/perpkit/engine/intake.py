"""Phases 1 and 2: the stamp, what every command is checked for, and its own effect."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, get_args

import attrs

from perpkit.engine import breach, orders, transfers, triggers
from perpkit.engine.core import Core
from perpkit.engine.guard.base import INTEGER_BOUND
from perpkit.errors import UnitsError
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    ApproveWithdrawal,
    CancelAllAfter,
    CancelOrder,
    CancelOrders,
    CancelWithdrawal,
    CapitalObserved,
    ClosePosition,
    ClosePositions,
    Command,
    DepositObserved,
    DepositReversed,
    HoldingsReported,
    IndexQuotes,
    NoteFault,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
    ReversePosition,
    RunAudit,
    SetMarketState,
    SetPositionMode,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.event import Duplicate, Rejected
from perpkit.model.market import FINAL_STATES
from perpkit.model.price import Quote
from perpkit.model.records import fields_reader
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import Attached, Trigger

# A deposit opens its account; every other command of an account needs one.
_OF_AN_ACCOUNT = tuple(each for each in get_args(Command) if each is not DepositObserved and hasattr(each, "account"))

_FIELDS: dict[type[Any], list[tuple[str, type[Any]]]] = {
    # What exact type each field must have; quotes are checked one by one.
    record: [
        (field.name, field.type if isinstance(field.type, type) and issubclass(field.type, bool | IntEnum) else int)
        for field in attrs.fields(record)
        if field.name not in ("quotes", "trigger", "attached")
    ]
    for record in (*get_args(Command), Quote, Trigger, Attached)
}

_VALUES = {record: fields_reader([name for name, _ in fields]) for record, fields in _FIELDS.items()}


def check_types(command: Command) -> None:
    """Refuse what is not an integer of at most 62 bits where one is due, before anything else looks at it.

    Raises:
        UnitsError: a float, a bool for a number, NaN, text, an enum of another kind, or out of range.
    """
    if not isinstance(command, Command):
        raise UnitsError(f"command: expected a command of perpkit.model.command, was {command!r}")
    _check_fields(command)
    if isinstance(command, IndexQuotes):
        if type(command.quotes) is not tuple:
            raise UnitsError(f"IndexQuotes.quotes: expected a tuple, was {type(command.quotes).__name__}")
        for quote in command.quotes:
            if type(quote) is not Quote:
                raise UnitsError(f"quotes: expected Quote, was {quote!r}")
            _check_fields(quote)
    if isinstance(command, PlaceOrder):
        _check_trigger(command.trigger)
        if type(command.attached) is not tuple:
            raise UnitsError(f"PlaceOrder.attached: expected a tuple, was {type(command.attached).__name__}")
        for attached in command.attached:
            if type(attached) is not Attached:
                raise UnitsError(f"attached: expected Attached, was {attached!r}")
            _check_fields(attached)
            _check_trigger(attached.trigger)


def _check_trigger(trigger: Trigger | None) -> None:
    if trigger is None:
        return
    if type(trigger) is not Trigger:
        raise UnitsError(f"trigger: expected Trigger, was {trigger!r}")
    _check_fields(trigger)


def _check_fields(value: Any) -> None:
    record = type(value)
    for (name, kind), found in zip(_FIELDS[record], _VALUES[record](value), strict=True):
        if type(found) is not kind:
            expected = "an int" if kind is int else kind.__name__
            raise UnitsError(f"{record.__name__}.{name}: expected {expected}, was {type(found).__name__} {found!r}")
        if kind is int and not -INTEGER_BOUND < found < INTEGER_BOUND:
            raise UnitsError(
                f"{record.__name__}.{name}: expected less than 2^62 in magnitude, was of {found.bit_length()} bits"
            )


def refuse_unknown(core: Core, command: Command) -> Rejected | None:
    """Refuse an earlier stamp and ids that do not exist, in the order of the table.

    Rejects:
        earlier-stamp, unknown-market, unknown-asset, unknown-account; for quotes price-out-of-bounds.
    """
    if command.time_ns < core.clock_ns:
        return Rejected(reason=RejectReason.EARLIER_STAMP)
    if isinstance(command, IndexQuotes):
        return _refuse_quotes(core, command)
    market, asset = getattr(command, "market", None), getattr(command, "asset", None)
    every_market = market == 0 and isinstance(command, CancelOrders | ClosePositions)
    if market is not None and market not in core.config.markets and not every_market:
        return Rejected(reason=RejectReason.UNKNOWN_MARKET)
    if asset is not None and asset not in core.config.assets:
        return Rejected(reason=RejectReason.UNKNOWN_ASSET)
    if isinstance(command, _OF_AN_ACCOUNT) and not core.parts.clearing.has_account(command.account):
        return Rejected(reason=RejectReason.UNKNOWN_ACCOUNT)
    return None


def _refuse_quotes(core: Core, command: IndexQuotes) -> Rejected | None:
    if any(quote.market not in core.config.markets for quote in command.quotes):
        return Rejected(reason=RejectReason.UNKNOWN_MARKET)
    if any(quote.price_ticks <= 0 or quote.weight < 0 for quote in command.quotes):
        return Rejected(reason=RejectReason.PRICE_OUT_OF_BOUNDS)
    return None


def effect(core: Core, command: Command) -> Rejected | Duplicate | None:
    """Do what a command itself asks; what it causes comes after."""
    return _EFFECTS[type(command)](core, command)


def _set_market_state(core: Core, command: SetMarketState) -> Rejected | None:
    """An operator may not undo a settlement, nor start one (that is the last resort's), nor pass over a breach."""
    if core.evidence:
        return Rejected(reason=RejectReason.BREACH_STANDS)
    if core.market_states[command.market] in FINAL_STATES or command.state in FINAL_STATES:
        return Rejected(reason=RejectReason.MARKET_STATE)
    core.set_market_state(command.market, command.state)
    return None


def _run_audit(core: Core, _command: RunAudit) -> None:
    breach.audit(core)


def _note_fault(core: Core, command: NoteFault) -> Rejected:
    core.price_faults += command.priced or core.behind
    return Rejected(reason=RejectReason.PLUGIN_FAULT, part=command.part)


def _let_time_pass(_core: Core, _command: IndexQuotes) -> None:
    """Quotes have no effect of their own; repricing comes after, also when there are none."""


_EFFECTS: dict[type[Any], Callable[[Core, Any], Rejected | Duplicate | None]] = {
    PlaceOrder: orders.place,
    AmendOrder: orders.amend,
    CancelOrder: orders.cancel,
    CancelOrders: orders.cancel_many,
    ClosePosition: orders.close,
    ReversePosition: orders.reverse,
    ClosePositions: orders.close_all,
    CancelAllAfter: triggers.set_switch,
    SetPositionTerms: orders.set_terms,
    SetPositionMode: orders.set_mode,
    AdjustMargin: orders.adjust_margin,
    DepositObserved: transfers.deposit,
    CapitalObserved: transfers.capital,
    DepositReversed: transfers.reverse,
    RequestWithdrawal: transfers.request,
    ApproveWithdrawal: transfers.approve,
    CancelWithdrawal: transfers.cancel,
    WithdrawalSent: transfers.sent,
    HoldingsReported: transfers.compare_holdings,
    IndexQuotes: _let_time_pass,
    SetMarketState: _set_market_state,
    RunAudit: _run_audit,
    ResumeExchange: breach.resume,
    NoteFault: _note_fault,
}
