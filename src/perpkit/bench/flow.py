"""A stream of messages to one order book, and what has to come of it: what every book is measured on."""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import attrs
from sortedcontainers import SortedDict

from perpkit.model.order import Side
from perpkit.units import Lots, Ticks

MESSAGES = 1_000_000
SEED = 20261121
ACCOUNTS = 1_000
MID_TICKS = 50_000
WARM_MESSAGES = 8_000
LIVE_MIN, LIVE_TARGET = 500, 10_000
DEPTH_MEAN_TICKS = 14
LOTS_MAX = 100


class Kind(IntEnum):
    """What a message asks: a limit order, the cancel of one that rests, or a market order that fills whole."""

    LIMIT = 0
    CANCEL = 1
    MARKET = 2


class Message(NamedTuple):
    """One message. A cancel repeats the order that it ends, with what is left of it; a market order has price 0."""

    kind: Kind
    order_id: int
    side: Side
    price_ticks: Ticks
    size_lots: Lots
    account: int


@attrs.frozen(kw_only=True)
class Expected:
    """What price-time priority makes of a stream: the trades, in all and one by one, and the orders left."""

    trades: int
    lots: int
    notional: int
    resting: int
    trades_sha256: str


def flow(count: int = MESSAGES) -> tuple[Sequence[Message], Expected]:
    """Return a stream of messages and its outcome, the same for ever.

    Of a hundred messages about 55 rest, at a distance from the touch that is 14 ticks in the mean, 35 cancel an
    order picked from all that rest, and 10 take. Self-trade prevention has to be off.

    Source:
        The workload on which the peers were measured first; its outcome at a million messages is known.
    """
    sender = _Sender()
    messages = list(sender.messages(count))
    return messages, Expected(
        trades=sender.trades,
        lots=sender.lots,
        notional=sender.notional,
        resting=len(sender.live),
        trades_sha256=sender.digest.hexdigest(),
    )


class _Sender:
    """Knows the book that its messages make, so that it can cancel what is live and take what is there."""

    def __init__(self) -> None:
        self._draw = random.Random(SEED)
        # Keyed so that the best price of a side is the first.
        self._levels: dict[int, SortedDict[int, dict[int, None]]] = {1: SortedDict(), -1: SortedDict()}
        self._shown = {1: 0, -1: 0}
        self.live: dict[int, list[int]] = {}
        self._ids: list[int] = []
        self._place_of: dict[int, int] = {}
        self._last_id = 0
        self.trades = self.lots = self.notional = 0
        self.digest = hashlib.sha256()

    def messages(self, count: int) -> Iterator[Message]:
        """Yield message after message."""
        for number in range(count):
            kind = self._draw.random() if number >= WARM_MESSAGES else self._draw.random() * 0
            if kind < 0.55 or len(self._ids) < LIVE_MIN:
                yield self._add()
            elif kind < 0.9:
                yield self._cancel()
            else:
                yield self._take()

    def _best(self, side: int) -> Ticks | None:
        levels = self._levels[side]
        return -side * levels.peekitem(0)[0] if levels else None

    def _add(self) -> Message:
        side = -1 if self._draw.getrandbits(1) else 1
        account, order_id = self._draw.randrange(1, ACCOUNTS + 1), self._next_id()
        touch = self._best(-side)
        start = MID_TICKS + side if touch is None else touch
        price = start - side * (1 + int(math.log(1 - self._draw.random()) / math.log(1 - 1 / DEPTH_MEAN_TICKS)))
        size = min(LOTS_MAX, 1 + int(-math.log(1 - self._draw.random()) * 12))
        self._rest(order_id, side, price, size, account)
        return Message(Kind.LIMIT, order_id, Side(side), price, size, account)

    def _cancel(self) -> Message:
        order_id = self._ids[int(self._draw.random() * len(self._ids))]
        side, price, size, account = self.live[order_id]
        self._drop(order_id)
        return Message(Kind.CANCEL, order_id, Side(side), price, size, account)

    def _take(self) -> Message:
        draw = self._draw
        account, order_id = draw.randrange(1, ACCOUNTS + 1), self._next_id()
        bid, ask = self._best(1), self._best(-1)
        assert bid is not None
        assert ask is not None
        # The further the price has wandered, the more takers push it back.
        lean = max(-0.1, min(0.1, ((ask + bid) / 2 - MID_TICKS) / 2_000))
        side = 1 if draw.random() < 0.5 - lean else -1
        wanted = int(-math.log(1 - draw.random()) * 24 * (len(self._ids) / LIVE_TARGET)) + 1
        size = max(1, min(wanted, self._shown[-side] // 4))
        if draw.random() < 0.5:
            self._match(order_id, side, 1 << 40 if side > 0 else -1, size)
            return Message(Kind.MARKET, order_id, Side(side), 0, size, account)
        price = (ask if side > 0 else bid) + side * draw.randrange(4)
        left = self._match(order_id, side, price, size)
        if left:
            self._rest(order_id, side, price, left, account)
        return Message(Kind.LIMIT, order_id, Side(side), price, size, account)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _match(self, order_id: int, side: int, limit: Ticks, size: Lots) -> Lots:
        levels = self._levels[-side]
        while size and levels:
            key, level = levels.peekitem(0)
            price = side * key
            if side * (limit - price) < 0:
                break
            maker = next(iter(level))
            resting = self.live[maker]
            lots = min(size, resting[2])
            size -= lots
            resting[2] -= lots
            self._shown[-side] -= lots
            self.trades, self.lots, self.notional = self.trades + 1, self.lots + lots, self.notional + lots * price
            self.digest.update(b"%d,%d,%d,%d;" % (order_id, maker, price, lots))
            if not resting[2]:
                self._drop(maker)
        return size

    def _rest(self, order_id: int, side: int, price: Ticks, size: Lots, account: int) -> None:
        self.live[order_id] = [side, price, size, account]
        self._place_of[order_id] = len(self._ids)
        self._ids.append(order_id)
        self._shown[side] += size
        self._levels[side].setdefault(-side * price, {})[order_id] = None

    def _drop(self, order_id: int) -> None:
        side, price, size, _ = self.live.pop(order_id)
        self._shown[side] -= size
        place, last = self._place_of.pop(order_id), self._ids.pop()
        if last != order_id:
            self._ids[place], self._place_of[last] = last, place
        level = self._levels[side][-side * price]
        del level[order_id]
        if not level:
            del self._levels[side][-side * price]
