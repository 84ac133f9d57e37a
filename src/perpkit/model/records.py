"""Commands and events as fixed 64-byte records, and back. Format 0: it may still change.

A record is a header (kind u16, flags u16, market u32) and seven signed 64-bit integers, little endian; a command's
first integer is its stamp. What does not fit one record (quotes, index sources, the rarer terms of an order) is a head
record that says how many records of its parts follow, so every frame is a multiple of 64 bytes.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import Any, TypeAlias

import attrs

from perpkit.errors import UnitsError
from perpkit.model import command as commands
from perpkit.model import event as events
from perpkit.model.cause import CancelReason, Cause, Law
from perpkit.model.command import Command
from perpkit.model.event import Event
from perpkit.model.market import MarketState
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import PositionMode
from perpkit.model.price import LeftOut, PriceState, Quote, SourceReading
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind

FORMAT = 0
RECORD = struct.Struct("<HHI7q")
STAMP_AT, STAMP_BYTES = 8, 8
"""Where a command's stamp stands in its record."""
Buffer: TypeAlias = bytes | bytearray | memoryview

_COMMANDS: dict[type[Any], int] = {
    commands.PlaceOrder: 1,
    commands.CancelOrder: 2,
    commands.SetPositionTerms: 3,
    commands.DepositObserved: 4,
    commands.CapitalObserved: 5,
    commands.RequestWithdrawal: 6,
    commands.ApproveWithdrawal: 7,
    commands.CancelWithdrawal: 8,
    commands.WithdrawalSent: 9,
    commands.HoldingsReported: 10,
    commands.IndexQuotes: 11,
    commands.SetMarketState: 12,
    commands.RunAudit: 13,
    commands.ResumeExchange: 14,
    commands.NoteFault: 15,
    commands.AmendOrder: 16,
    commands.CancelOrders: 17,
    commands.ClosePosition: 18,
    commands.ReversePosition: 19,
    commands.ClosePositions: 20,
    commands.CancelAllAfter: 21,
    commands.SetPositionMode: 22,
    commands.AdjustMargin: 23,
    commands.DepositReversed: 24,
}
_EVENTS: dict[type[Any], int] = {
    events.Rejected: 101,
    events.Duplicate: 102,
    events.OrderAccepted: 103,
    events.OrderRested: 104,
    events.OrderCancelled: 105,
    events.Filled: 106,
    events.PositionChanged: 107,
    events.FundingSettled: 108,
    events.TermsSet: 109,
    events.DepositCredited: 110,
    events.WithdrawalHeld: 111,
    events.WithdrawalReturned: 112,
    events.WithdrawalReleased: 113,
    events.WithdrawalSettled: 114,
    events.HoldingsCompared: 115,
    events.IndexUpdated: 116,
    events.MarkUpdated: 117,
    events.FundingAccrued: 118,
    events.MarketStateChanged: 119,
    events.LiquidationStarted: 120,
    events.LiquidationEnded: 121,
    events.TakenOver: 122,
    events.FundMoved: 123,
    events.FundReserved: 124,
    events.Deleveraged: 125,
    events.DeleveragingDone: 126,
    events.LossSocialized: 127,
    events.AuditCompleted: 128,
    events.BreachFound: 129,
    events.ExchangeResumed: 130,
    events.OrderAmended: 131,
    events.OrderWaits: 132,
    events.OrderTriggered: 133,
    events.OrderRefused: 134,
    events.PositionModeSet: 135,
    events.MarginAdjusted: 136,
    events.SwitchSet: 137,
    events.DepositReverted: 138,
}


@attrs.frozen(kw_only=True)
class OrderTerms:
    """The numbers of `PlaceOrder` that most orders do not have: a part of its frame, where one of them is not 0."""

    display_lots: int = 0
    expires_ns: int = 0
    value_limit_units: int = 0
    peg_offset_ticks: int = 0


_PARTS: dict[type[Any], int] = {Quote: 201, SourceReading: 202, OrderTerms: 203, Trigger: 204, Attached: 205}
_TERMS = tuple(field.name for field in attrs.fields(OrderTerms))

_PART_KINDS = frozenset(_PARTS.values())
# What follows a head, by the field that names it; the terms of an order have several kinds of parts.
_PART_OF = {
    "quotes": frozenset({_PARTS[Quote]}),
    "sources": frozenset({_PARTS[SourceReading]}),
    "attached": frozenset({_PARTS[OrderTerms], _PARTS[Trigger], _PARTS[Attached]}),
}

_Decoder: TypeAlias = Callable[[int], Any]
_FLAGS: dict[str, tuple[int, int, _Decoder]] = {
    # field: (shift, width in bits, decoder). A field stands here or among the seven integers, by its name alone.
    "side": (0, 1, lambda bit: Side.SELL if bit else Side.BUY),
    "time_in_force": (1, 3, TimeInForce),
    "is_market": (4, 1, bool),
    "post_only": (5, 1, bool),
    "reduce_only": (6, 1, bool),
    "slide": (7, 1, bool),
    "market_to_limit": (8, 1, bool),
    "hidden": (9, 1, bool),
    "pegged": (10, 1, bool),
    "close": (11, 1, bool),
    "self_trade": (12, 3, SelfTrade),
    "self_trade_by_owner": (15, 1, bool),
    "relation": (7, 2, Relation),
    "trigger_kind": (1, 2, TriggerKind),
    "kind": (1, 2, TriggerKind),
    "price_source": (3, 2, PriceSource),
    "buys": (0, 1, bool),
    "sells": (1, 1, bool),
    "by_position": (2, 1, bool),
    "kept_place": (0, 1, bool),
    "isolated": (0, 1, bool),
    "maker": (1, 1, bool),
    "priced": (0, 1, bool),
    "recalled": (0, 1, bool),
    "cause": (2, 4, Cause),
    "left_out": (0, 4, LeftOut),
}
_ENUMS: dict[tuple[type[Any], str], type[IntEnum]] = {
    (commands.SetMarketState, "state"): MarketState,
    (commands.SetPositionMode, "mode"): PositionMode,
    (events.PositionModeSet, "mode"): PositionMode,
    (events.MarketStateChanged, "state"): MarketState,
    (events.IndexUpdated, "state"): PriceState,
    (events.MarkUpdated, "state"): PriceState,
    (events.Rejected, "reason"): RejectReason,
    (events.OrderRefused, "reason"): RejectReason,
    (events.OrderCancelled, "reason"): CancelReason,
    (events.BreachFound, "law"): Law,
}


def fields_reader(names: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    """Return what reads several fields of an object at once, much faster than one by one."""
    if not names:
        return lambda _: ()
    read = attrgetter(*names)
    return read if len(names) > 1 else lambda value: (read(value),)


@attrs.frozen
class _Layout:
    """Where the fields of one class stand in its record."""

    cls: type[Any]
    kind: int
    flags: tuple[tuple[str, int, int, _Decoder], ...]
    slots: tuple[tuple[str, _Decoder], ...]
    has_market: bool
    parts: str | None
    part_kinds: frozenset[int]
    read_flags: Callable[[Any], Sequence[int]]
    read_slots: Callable[[Any], Sequence[int]]

    @classmethod
    def of(cls, record_class: type[Any], kind: int) -> "_Layout":
        names = [field.name for field in attrs.fields(record_class)]
        parts = next((name for name in names if name in _PART_OF), None)
        flags = tuple((name, *_FLAGS[name]) for name in names if name in _FLAGS)
        apart = {*_FLAGS, "market", "trigger", parts, *(_TERMS if parts == "attached" else ())}
        plain = [name for name in names if name not in apart]
        if "time_ns" in plain:
            plain.remove("time_ns")
            plain.insert(0, "time_ns")
        slots = tuple((name, _ENUMS.get((record_class, name), int)) for name in plain)
        if len(slots) + (parts is not None) > 7:
            raise AssertionError(f"{record_class.__name__} does not fit a record: {plain}")
        return cls(
            record_class,
            kind,
            flags,
            slots,
            "market" in names,
            parts,
            _PART_OF.get(parts or "", frozenset()),
            fields_reader([name for name, *_ in flags]),
            fields_reader([name for name, _ in slots]),
        )

    def pack(self, value: Any) -> bytes:
        flags = 0
        for field, (_, shift, _, _) in zip(self.read_flags(value), self.flags, strict=True):
            if field:
                flags |= (field is Side.SELL if isinstance(field, Side) else field) << shift
        integers = list(self.read_slots(value))
        parts: Sequence[Any] = ()
        if self.parts:
            parts = _order_parts(value) if self.parts == "attached" else getattr(value, self.parts)
            integers.append(len(parts))
        integers += [0] * (7 - len(integers))
        head = RECORD.pack(self.kind, flags, value.market if self.has_market else 0, *integers)
        return head + b"".join(_BY_CLASS[type(part)].pack(part) for part in parts)

    def build(self, flags: int, market: int, integers: tuple[int, ...], parts: tuple[Any, ...]) -> Any:
        fields = {name: decode((flags >> shift) & ((1 << width) - 1)) for name, shift, width, decode in self.flags}
        fields |= {name: decode(number) for (name, decode), number in zip(self.slots, integers, strict=False)}
        if self.has_market:
            fields["market"] = market
        if self.parts == "attached":
            fields |= _order_fields(parts)
        elif self.parts:
            fields[self.parts] = parts
        return self.cls(**fields)


def _order_parts(order: commands.PlaceOrder) -> list[Any]:
    """Return what follows the head of an order: its rarer terms, its trigger, and each attached order with its own."""
    terms = {name: value for name in _TERMS if (value := getattr(order, name))}
    parts: list[Any] = [OrderTerms(**terms)] if terms else []
    if order.trigger:
        parts.append(order.trigger)
    for each in order.attached:
        parts += [each, each.trigger] if each.trigger else [each]
    return parts


def _order_fields(parts: tuple[Any, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    attached: list[Attached] = []
    for part in parts:
        if isinstance(part, OrderTerms):
            fields |= attrs.asdict(part)
        elif isinstance(part, Attached):
            attached.append(part)
        elif attached:
            attached[-1] = attrs.evolve(attached[-1], trigger=part)
        else:
            fields["trigger"] = part
    return fields | {"attached": tuple(attached)}


_BY_CLASS = {cls: _Layout.of(cls, kind) for cls, kind in (_COMMANDS | _EVENTS | _PARTS).items()}
_BY_KIND = {layout.kind: layout for layout in _BY_CLASS.values()}


def pack(value: Command | Event) -> bytes:
    """Return a command or an event as records.

    Raises:
        UnitsError: an integer does not fit 64 bits, or a market id 32.

    Example:
        >>> from perpkit.model.command import ApproveWithdrawal
        >>> len(pack(ApproveWithdrawal(withdrawal_id=7)))
        64
    """
    try:
        return _BY_CLASS[type(value)].pack(value)
    except struct.error as error:
        raise UnitsError(f"record: expected integers of at most 64 bits, was {value!r}: {error}") from None


def pack_all(values: Iterable[Command | Event]) -> bytes:
    """Return many as one run of records."""
    return b"".join(pack(value) for value in values)


def unpack(data: Buffer) -> Iterator[Any]:
    """Yield the commands or events of a run of records, decoded one by one as they are asked for.

    Raises:
        UnitsError: the data ends inside a frame, or a record is of an unknown kind.
    """
    view, at = memoryview(data), 0
    while at < len(view):
        layout, flags, market, integers = _read(view, at)
        start, at = at, at + RECORD.size
        parts = []
        if layout.part_kinds:
            count = integers[len(layout.slots)]
            if not 0 <= count * RECORD.size <= len(view) - at:
                raise UnitsError(f"record at byte {start}: expected as many parts as records follow, was {count}")
            for _ in range(count):
                parts.append(_build(at, *_read(view, at, layout.part_kinds)))
                at += RECORD.size
        yield _build(start, layout, flags, market, integers, tuple(parts))


def _read(
    view: memoryview, at: int, part_kinds: frozenset[int] = frozenset()
) -> tuple[_Layout, int, int, tuple[int, ...]]:
    """Return the layout, flags, market and integers of one record: a head, or a part of a kind that is due."""
    if at + RECORD.size > len(view):
        raise UnitsError(f"record at byte {at}: expected {RECORD.size} bytes, was {len(view) - at}")
    kind, flags, market, *integers = RECORD.unpack_from(view, at)
    layout = _BY_KIND.get(kind)
    if layout is None or (kind not in part_kinds if part_kinds else kind in _PART_KINDS):
        due = f"kind {' or '.join(map(str, sorted(part_kinds)))}" if part_kinds else "a known kind"
        raise UnitsError(f"record at byte {at}: expected {due}, was {kind}")
    return layout, flags, market, tuple(integers)


def _build(
    at: int, layout: _Layout, flags: int, market: int, integers: tuple[int, ...], parts: tuple[Any, ...] = ()
) -> Any:
    try:
        return layout.build(flags, market, integers, parts)
    except ValueError as error:
        raise UnitsError(f"record at byte {at}: {error}") from None
