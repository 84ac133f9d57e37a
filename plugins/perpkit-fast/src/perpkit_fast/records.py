"""Commands for the book and its answers as 64-byte records, packed and read one by one.

docs/reference/records.md has the bytes. Runs of them are quicker as arrays: see `perpkit_fast.arrays`.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

import attrs

from perpkit.errors import UnitsError
from perpkit.model.cause import CancelReason
from perpkit.model.ids import MarketId, OrderId
from perpkit.model.order import Match, MatchPlan, Order, SelfTrade, Side, TimeInForce
from perpkit.model.records import RECORD, Buffer
from perpkit.units import Lots, Ticks


class Kind(IntEnum):
    """What a record is: a command to the book, or its answer to one."""

    PLACE = 301
    REDUCE = 302
    CANCEL = 303
    PLACED = 311
    MATCHED = 312
    REDUCED = 313
    REFUSED = 314


class Refusal(IntEnum):
    """Why a command was not done."""

    UNKNOWN_ORDER = 1
    ORDER_RESTS = 2
    OUT_OF_RANGE = 3
    OTHER_MARKET = 4
    UNKNOWN_KIND = 5


@attrs.frozen(kw_only=True)
class Reduced:
    """`size_lots` came off a resting order, which has `left_lots`. `version` is that of the book before."""

    order_id: OrderId
    size_lots: Lots
    left_lots: Lots
    price_ticks: Ticks
    version: int


@attrs.frozen(kw_only=True)
class Refused:
    """A command of this kind, for this order, was not done and changed nothing."""

    order_id: OrderId
    reason: Refusal
    kind: int


def flags_of(
    *,
    time_in_force: TimeInForce = TimeInForce.GTC,
    reduce_only: bool = False,
    self_trade: SelfTrade = SelfTrade.OFF,
    self_trade_by_owner: bool = False,
) -> int:
    """Return the flags of an order but its side, each at the bits where commands of the exchange have it.

    Example:
        >>> flags_of(time_in_force=TimeInForce.IOC, self_trade=SelfTrade.CANCEL_MAKER)
        8196
    """
    return time_in_force << 1 | reduce_only << 6 | self_trade << 12 | self_trade_by_owner << 15


def pack_place(order: Order) -> bytes:
    """Return an order as the record by which it arrives, or is loaded.

    Raises:
        UnitsError: a number does not fit its place.
    """
    flags = (order.side is Side.SELL) | flags_of(
        time_in_force=order.time_in_force,
        reduce_only=order.reduce_only,
        self_trade=order.self_trade,
        self_trade_by_owner=order.self_trade_by_owner,
    )
    return _pack(
        Kind.PLACE,
        flags,
        order.market,
        order.id,
        order.account,
        order.position_id,
        order.size_lots,
        order.price_ticks,
        order.display_lots,
        order.hidden_lots,
    )


def pack_reduce(market: MarketId, order_id: OrderId, by_lots: Lots) -> bytes:
    """Return the record that takes lots off a resting order.

    Raises:
        UnitsError: a number does not fit its place.
    """
    return _pack(Kind.REDUCE, 0, market, order_id, 0, 0, by_lots, 0, 0, 0)


def pack_cancel(market: MarketId, order_id: OrderId) -> bytes:
    """Return the record that takes a resting order out.

    Raises:
        UnitsError: a number does not fit its place.
    """
    return _pack(Kind.CANCEL, 0, market, order_id, 0, 0, 0, 0, 0, 0)


def unpack_orders(records: Buffer) -> Iterator[Order]:
    """Yield the orders of a run of records, as `FusedBook.dump_records` wrote it, made as they are asked for."""
    for _, flags, market, order_id, account, position_id, size, price, display, hidden in RECORD.iter_unpack(records):
        yield Order(
            id=order_id,
            account=account,
            market=market,
            position_id=position_id,
            side=Side.SELL if flags & 1 else Side.BUY,
            size_lots=size,
            price_ticks=price,
            time_in_force=TimeInForce(flags >> 1 & 7),
            reduce_only=bool(flags >> 6 & 1),
            self_trade=SelfTrade(flags >> 12 & 7),
            self_trade_by_owner=bool(flags >> 15),
            display_lots=display,
            hidden_lots=hidden,
        )


def unpack_answers(commands: Buffer, answers: Buffer) -> Iterator[MatchPlan | Reduced | Refused]:
    """Yield what came of each command of a run, made as it is asked for: the plan that was committed, or why not.

    Raises:
        UnitsError: the answers are not those to these commands.
    """
    said = RECORD.iter_unpack(answers)
    view = memoryview(commands).tobytes()
    for at in range(0, len(view), RECORD.size):
        kind, _, _, order_id, *rest = next(said)
        if kind == Kind.PLACED:
            count, rest_lots, cancel_lots, prevented_lots, reason, version = rest
            (taker,) = unpack_orders(view[at : at + RECORD.size])
            matches = tuple(
                Match(
                    maker=maker,
                    maker_account=account,
                    maker_position_id=position_id,
                    price_ticks=price,
                    size_lots=size,
                    prevented=bool(flags & 1),
                )
                for _, flags, _, maker, account, position_id, size, price, _, _ in (next(said) for _ in range(count))
            )
            yield MatchPlan(
                taker=taker,
                version=version,
                matches=matches,
                rest_lots=rest_lots,
                cancel_lots=cancel_lots,
                prevented_lots=prevented_lots,
                cancel_reason=CancelReason(reason),
            )
        elif kind == Kind.REDUCED:
            _, _, size, price, left, version = rest
            yield Reduced(order_id=order_id, size_lots=size, left_lots=left, price_ticks=price, version=version)
        elif kind == Kind.REFUSED:
            yield Refused(order_id=order_id, reason=Refusal(rest[0]), kind=rest[1])
        else:
            raise UnitsError(f"answers: expected the kind of an answer, was {kind}")


def _pack(kind: Kind, flags: int, market: MarketId, *integers: int) -> bytes:
    try:
        return RECORD.pack(kind, flags, market, *integers)
    except struct.error as error:
        raise UnitsError(f"{kind.name}: expected integers of at most 64 bits, was {integers}: {error}") from None
