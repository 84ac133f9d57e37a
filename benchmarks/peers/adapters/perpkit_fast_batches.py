"""Records of 64 bytes, 4,096 in a call, made before the clock; the records that answer are kept, and read after it."""

import struct

from perpkit.model.order import Side
from perpkit.plugin import BOOK, NoOptions, Registry
from perpkit.testing.builders import market_context

LIMIT, CANCEL = 0, 1
GTC, IOC, SELL = 1 << 1, 2 << 1, 1
PLACE_RECORD, CANCEL_RECORD, MATCHED_RECORD = 301, 303, 312
ANY_PRICE_TICKS = {1: 1 << 40, -1: 1}
BATCH = 4_096
RECORD = struct.Struct("<HHI7q")  # kind, flags, market, id, account, position id, size, price, display, hidden


def encode(messages):
    records = [record(*message) for message in messages]
    return [b"".join(records[start : start + BATCH]) for start in range(0, len(records), BATCH)]


def record(kind, order_id, side, price, size, account):
    if kind == CANCEL:
        return RECORD.pack(CANCEL_RECORD, 0, 1, order_id, 0, 0, 0, 0, 0, 0)
    flags = (GTC if kind == LIMIT else IOC) | (SELL if side < 0 else 0)
    limit = price if kind == LIMIT else ANY_PRICE_TICKS[side]
    return RECORD.pack(PLACE_RECORD, flags, 1, order_id, account, 0, size, limit, 0, 0)


def prepare(batches):
    book = Registry.discover().get(BOOK, "fast").build(market_context(), NoOptions())
    answers = []

    def replay():
        answers.extend(map(book.apply, batches))

    def outcome():
        answered = (row for answer in answers for row in RECORD.iter_unpack(answer) if row[0] == MATCHED_RECORD)
        fills = [(size, price) for _, _, _, _, _, _, size, price, _, _ in answered]
        return {
            "trades": len(fills),
            "lots": sum(size for size, _ in fills),
            "notional": sum(size * price for size, price in fills),
            "left_lots": sum(order.size_lots for side in Side for order in book.orders(side)),
        }

    return replay, outcome
