"""Commands and events as fixed 64-byte records, and back. Format 0: it may still change.

A record is a header (kind u16, flags u16, market u32) and seven signed 64-bit integers, little endian; a command's
first integer is its stamp. What does not fit one record (quotes, index sources) is a head record that says how many
records of its parts follow, so every frame is a multiple of 64 bytes.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any, TypeAlias

import attrs

from perpkit.errors import UnitsError
from perpkit.model import command as commands
from perpkit.model import event as events
from perpkit.model.cause import CancelReason, Cause, Law
from perpkit.model.command import Command
from perpkit.model.event import Event
from perpkit.model.market import MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import LeftOut, PriceState, Quote, SourceReading
from perpkit.model.reject import RejectReason

FORMAT = 0
RECORD = struct.Struct("<HHI7q")
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
}
_PARTS: dict[type[Any], int] = {Quote: 201, SourceReading: 202}

_PART_OF = {"quotes": _PARTS[Quote], "sources": _PARTS[SourceReading]}
_PART_KINDS = frozenset(_PARTS.values())

_Decoder: TypeAlias = Callable[[int], Any]
_FLAGS: dict[str, tuple[int, int, _Decoder]] = {
    # field: (shift, width in bits, decoder). A field stands here or among the seven integers, by its name alone.
    "side": (0, 1, lambda bit: Side.SELL if bit else Side.BUY),
    "time_in_force": (1, 2, TimeInForce),
    "is_market": (3, 1, bool),
    "post_only": (4, 1, bool),
    "reduce_only": (5, 1, bool),
    "isolated": (0, 1, bool),
    "maker": (1, 1, bool),
    "priced": (0, 1, bool),
    "recalled": (0, 1, bool),
    "cause": (2, 4, Cause),
    "left_out": (0, 4, LeftOut),
}
_ENUMS: dict[tuple[type[Any], str], type[IntEnum]] = {
    (commands.SetMarketState, "state"): MarketState,
    (events.MarketStateChanged, "state"): MarketState,
    (events.IndexUpdated, "state"): PriceState,
    (events.MarkUpdated, "state"): PriceState,
    (events.Rejected, "reason"): RejectReason,
    (events.OrderCancelled, "reason"): CancelReason,
    (events.BreachFound, "law"): Law,
}


@attrs.frozen
class _Layout:
    """Where the fields of one class stand in its record."""

    cls: type[Any]
    kind: int
    flags: tuple[tuple[str, int, int, _Decoder], ...]
    slots: tuple[tuple[str, _Decoder], ...]
    has_market: bool
    parts: str | None
    part_kind: int

    @classmethod
    def of(cls, record_class: type[Any], kind: int) -> "_Layout":
        names = [field.name for field in attrs.fields(record_class)]
        parts = next((name for name in names if name in ("quotes", "sources")), None)
        flags = tuple((name, *_FLAGS[name]) for name in names if name in _FLAGS)
        plain = [name for name in names if name not in _FLAGS and name not in ("market", parts)]
        if "time_ns" in plain:
            plain.remove("time_ns")
            plain.insert(0, "time_ns")
        slots = tuple((name, _ENUMS.get((record_class, name), int)) for name in plain)
        if len(slots) + (parts is not None) > 7:
            raise AssertionError(f"{record_class.__name__} does not fit a record: {plain}")
        return cls(record_class, kind, flags, slots, "market" in names, parts, _PART_OF.get(parts or "", 0))

    def pack(self, value: Any) -> bytes:
        flags = 0
        for name, shift, _, _ in self.flags:
            field = getattr(value, name)
            flags |= (int(field is Side.SELL) if isinstance(field, Side) else int(field)) << shift
        integers = [int(getattr(value, name)) for name, _ in self.slots]
        parts = getattr(value, self.parts) if self.parts else ()
        if self.parts:
            integers.append(len(parts))
        integers += [0] * (7 - len(integers))
        head = RECORD.pack(self.kind, flags, value.market if self.has_market else 0, *integers)
        return head + b"".join(_BY_CLASS[type(part)].pack(part) for part in parts)

    def build(self, flags: int, market: int, integers: tuple[int, ...], parts: tuple[Any, ...]) -> Any:
        fields = {name: decode((flags >> shift) & ((1 << width) - 1)) for name, shift, width, decode in self.flags}
        fields |= {name: decode(number) for (name, decode), number in zip(self.slots, integers, strict=False)}
        if self.has_market:
            fields["market"] = market
        if self.parts:
            fields[self.parts] = parts
        return self.cls(**fields)


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
        if layout.part_kind:
            count = integers[len(layout.slots)]
            if not 0 <= count * RECORD.size <= len(view) - at:
                raise UnitsError(f"record at byte {start}: expected as many parts as records follow, was {count}")
            for _ in range(count):
                parts.append(_build(at, *_read(view, at, layout.part_kind)))
                at += RECORD.size
        yield _build(start, layout, flags, market, integers, tuple(parts))


def _read(view: memoryview, at: int, part_kind: int = 0) -> tuple[_Layout, int, int, tuple[int, ...]]:
    """Return the layout, flags, market and integers of one record: a head, or a part of the kind that is due."""
    if at + RECORD.size > len(view):
        raise UnitsError(f"record at byte {at}: expected {RECORD.size} bytes, was {len(view) - at}")
    kind, flags, market, *integers = RECORD.unpack_from(view, at)
    layout = _BY_KIND.get(kind)
    if layout is None or (kind != part_kind if part_kind else kind in _PART_KINDS):
        raise UnitsError(
            f"record at byte {at}: expected {'kind ' + str(part_kind) if part_kind else 'a known kind'}, was {kind}"
        )
    return layout, flags, market, tuple(integers)


def _build(
    at: int, layout: _Layout, flags: int, market: int, integers: tuple[int, ...], parts: tuple[Any, ...] = ()
) -> Any:
    try:
        return layout.build(flags, market, integers, parts)
    except ValueError as error:
        raise UnitsError(f"record at byte {at}: {error}") from None
