"""Phases 1 and 2: the stamp, what every command is checked for, and its own effect."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, get_args

import attrs

from perpkit.engine import breach, transfers
from perpkit.engine.core import Core, Window
from perpkit.engine.guard.base import INTEGER_BOUND
from perpkit.errors import UnitsError
from perpkit.model.cause import CancelReason
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    CancelWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    HoldingsReported,
    IndexQuotes,
    NoteFault,
    PlaceOrder,
    RequestWithdrawal,
    ResumeExchange,
    RunAudit,
    SetMarketState,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.event import Duplicate, Rejected
from perpkit.model.market import MarketState
from perpkit.model.price import Quote
from perpkit.model.records import pack
from perpkit.model.reject import RejectReason

FINAL_STATES = (MarketState.SETTLING, MarketState.SETTLED)

_FIELDS: dict[type[Any], list[tuple[str, type[Any]]]] = {
    # What exact type each field must have; quotes are checked one by one.
    record: [
        (field.name, field.type if isinstance(field.type, type) and issubclass(field.type, bool | IntEnum) else int)
        for field in attrs.fields(record)
        if field.name != "quotes"
    ]
    for record in (*get_args(Command), Quote)
}


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


def _check_fields(value: Any) -> None:
    for name, kind in _FIELDS[type(value)]:
        found = getattr(value, name)
        if kind is not int:
            if type(found) is not kind:
                raise UnitsError(f"{type(value).__name__}.{name}: expected {kind.__name__}, was {found!r}")
        elif type(found) is not int:
            raise UnitsError(f"{type(value).__name__}.{name}: expected an int, was {type(found).__name__} {found!r}")
        elif not -INTEGER_BOUND < found < INTEGER_BOUND:
            raise UnitsError(
                f"{type(value).__name__}.{name}: expected less than 2^62 in magnitude, was of {found.bit_length()} bits"
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
    if market is not None and market not in core.config.markets:
        return Rejected(reason=RejectReason.UNKNOWN_MARKET)
    if asset is not None and asset not in core.config.assets:
        return Rejected(reason=RejectReason.UNKNOWN_ASSET)
    if isinstance(command, PlaceOrder | CancelOrder | SetPositionTerms | RequestWithdrawal) and (
        not core.parts.clearing.has_account(command.account)
    ):
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


def _place(core: Core, command: PlaceOrder) -> Rejected | Duplicate | None:
    content = b""
    if command.client_order_id:
        content = pack(attrs.evolve(command, time_ns=0))
        known = core.windows.get(command.account, Window()).seen.get(command.client_order_id)
        if known and known[0] != content:
            return Rejected(reason=RejectReason.CLIENT_ORDER_ID_REUSED)
        if known:
            return Duplicate(account=command.account, client_order_id=command.client_order_id, sequence=known[1])
    asset = core.config.markets[command.market].settlement
    state, locked = core.market_states[command.market], core.locked(command.account, asset)
    refused = _take(core, core.parts.clearing.place(command, core.sequence, state, locked))
    if refused is None and content:
        _remember(core, command, content)
    return refused


def _remember(core: Core, command: PlaceOrder, content: bytes) -> None:
    seen = core.windows.setdefault(command.account, Window()).seen
    seen[command.client_order_id] = (content, core.sequence)
    if len(seen) > core.config.limits.client_order_ids_kept:
        del seen[next(iter(seen))]


def _cancel(core: Core, command: CancelOrder) -> Rejected | None:
    return _take(core, core.parts.clearing.cancel(command, CancelReason.REQUESTED))


def _set_terms(core: Core, command: SetPositionTerms) -> Rejected | None:
    if core.market_states[command.market] in FINAL_STATES:
        return Rejected(reason=RejectReason.MARKET_STATE)
    return _take(core, core.parts.clearing.set_position_terms(command))


def _set_market_state(core: Core, command: SetMarketState) -> Rejected | None:
    """An operator may not undo a settlement, nor start one (that is the last resort's), nor pass over a breach."""
    if core.evidence:
        return Rejected(reason=RejectReason.BREACH_STANDS)
    if core.market_states[command.market] in FINAL_STATES or command.state in FINAL_STATES:
        return Rejected(reason=RejectReason.MARKET_STATE)
    core.set_market_state(command.market, command.state)
    return None


def _take(core: Core, events: Any) -> Rejected | None:
    """Collect the events of a write, or return its refusal."""
    if events and isinstance(events[0], Rejected):
        return events[0]
    core.events += events
    return None


def _run_audit(core: Core, _command: RunAudit) -> None:
    breach.audit(core)


def _note_fault(core: Core, command: NoteFault) -> Rejected:
    core.price_faults += command.priced or bool(core.queue)
    return Rejected(reason=RejectReason.PLUGIN_FAULT, part=command.part)


def _let_time_pass(_core: Core, _command: IndexQuotes) -> None:
    """Quotes have no effect of their own; repricing comes after, also when there are none."""


_EFFECTS: dict[type[Any], Callable[[Core, Any], Rejected | Duplicate | None]] = {
    PlaceOrder: _place,
    CancelOrder: _cancel,
    SetPositionTerms: _set_terms,
    DepositObserved: transfers.deposit,
    CapitalObserved: transfers.capital,
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
