# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The order book in native speed: one core, and three ways in that do the same.

Attrs objects (the port), whole numbers (`place`, `cancel`, `reduce`), and runs of records (`apply`): each becomes a
record of `_matching`, and what comes out of it is said in the caller's terms.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.string cimport memcpy

from perpkit_fast._batch cimport PLACE, answers_to, dump_of
from perpkit_fast._levels cimport Ladder, Level, level_from
from perpkit_fast._matching cimport add_met, propose, reduce_order, rest, rest_of, settle
from perpkit_fast._orders cimport slot_of
from perpkit_fast._state cimport (
    ACCEPTED, Book, GTC, Met, ORDER_RESTS, OTHER_MARKET, OUT_OF_RANGE, Plan, Record, SELL, book_close, book_open,
    memory_of, price_of, refusal, self_trade_of, time_in_force_of, write_order,
)

from perpkit.errors import PluginError
from perpkit.model.cause import CancelReason
from perpkit.model.order import Level as ShownLevel
from perpkit.model.order import Match, MatchPlan, Order, SelfTrade, Side, TimeInForce

cdef object BUY_SIDE = Side.BUY
cdef object SELL_SIDE = Side.SELL
cdef tuple TIMES_IN_FORCE = (None, *TimeInForce)
cdef tuple SELF_TRADES = tuple(SelfTrade)
cdef dict REASONS = {int(reason): reason for reason in CancelReason}
cdef dict REFUSALS = {
    ORDER_RESTS: "an id of which no order rests",
    OUT_OF_RANGE: "a positive size and numbers within 62 bits",
    OTHER_MARKET: "an order of this book's market",
}


cdef int read_order(object order, Record* record) except -1:
    record.kind = PLACE
    record.flags = (
        (<int>order.side < 0) | (<int>order.time_in_force << 1) | (<int>order.reduce_only << 6)
        | (<int>order.self_trade << 12) | (<int>order.self_trade_by_owner << 15)
    )
    record.market = order.market
    record.id = order.id
    record.account = order.account
    record.position_id = order.position_id
    record.size_lots = order.size_lots
    record.price_ticks = order.price_ticks
    record.display_lots = order.display_lots
    record.hidden_lots = order.hidden_lots
    return 0


cdef object order_of(const Record* record):
    return Order(
        id=record.id,
        account=record.account,
        market=record.market,
        position_id=record.position_id,
        side=SELL_SIDE if record.flags & SELL else BUY_SIDE,
        size_lots=record.size_lots,
        price_ticks=record.price_ticks,
        time_in_force=TIMES_IN_FORCE[time_in_force_of(record.flags)],
        reduce_only=bool(record.flags & (1 << 6)),
        self_trade=SELF_TRADES[self_trade_of(record.flags)],
        self_trade_by_owner=bool(record.flags & (1 << 15)),
        display_lots=record.display_lots,
        hidden_lots=record.hidden_lots,
    )


cdef int load_order(Book* book, const Record* order) except -1:
    cdef uint32_t slot = slot_of(&book.orders, order.id)
    cdef int reason = refusal(book, order, slot)
    if reason == ACCEPTED and order.hidden_lots > order.size_lots:
        reason = OUT_OF_RANGE
    if reason == ACCEPTED and book.orders.slots[slot].order:
        reason = ORDER_RESTS
    if reason != ACCEPTED:
        raise refused(reason, order)
    if not rest(book, order, order.size_lots, order.hidden_lots, slot):
        raise MemoryError
    return 0


cdef object refused(int reason, const Record* order):
    numbers = (
        f"order {order.id}, market {order.market}, {order.size_lots} lots at {order.price_ticks} ticks, "
        f"{order.hidden_lots} hidden, {order.display_lots} displayed, flags {order.flags:#x}"
    )
    return PluginError(f"book: expected {REFUSALS[reason]}, was {numbers}")


@cython.final
cdef class FastBook:
    """Price-time priority over native arrays; see `perpkit.ports.book` for what it promises.

    Beside the port it takes whole numbers and runs of records: see `perpkit.ports.book.FusedBook`. An order whose
    numbers do not fit 62 bits, of another market, or, where it might rest, of an id that rests already, is refused.
    """

    certified = True         # by tests/test_same_to_the_bit.py and tests/test_oracle.py
    cdef Book book
    cdef object planned      # the plan that `book.met`, `taker` and `native` still hold
    cdef Record taker
    cdef Plan native

    def __cinit__(self, context, options=None, /):
        if not book_open(&self.book, context.market.id, context.limits.order_fills_max):
            raise MemoryError

    def __dealloc__(self):
        book_close(&self.book)

    def plan(self, taker, /):
        """See `OrderBook.plan`."""
        cdef Plan* plan = &self.native
        cdef Met* met
        cdef uint32_t i
        cdef list matches = []
        self.planned = None
        read_order(taker, &self.taker)
        self.check(&self.taker, planned=True)
        self.propose(&self.taker, plan)
        for i in range(plan.count):
            met = &self.book.met[i]
            matches.append(
                Match(
                    self.book.orders.at[met.order].id,
                    self.book.orders.at[met.order].account,
                    self.book.orders.at[met.order].position_id,
                    met.price_ticks,
                    met.size_lots,
                    bool(met.prevented),
                )
            )
        self.planned = MatchPlan(
            taker,
            self.book.version,
            tuple(matches),
            plan.rest_lots,
            plan.cancel_lots,
            plan.prevented_lots,
            REASONS[plan.reason],
        )
        return self.planned

    def commit(self, plan, /):
        """See `OrderBook.commit`."""
        cdef uint32_t slot = 0
        if plan.version != self.book.version:
            raise PluginError(f"book: expected a plan of version {self.book.version}, was {plan.version}; plan again")
        if plan is not self.planned:
            self.read_plan(plan)
        if self.native.rest_lots:
            slot = self.check(&self.taker, planned=False)
        self.settle(&self.taker, &self.native, slot)

    def reduce(self, order_id, by_lots, /):
        """See `OrderBook.reduce`."""
        cdef uint32_t slot = self.find(order_id)
        cdef uint32_t at = self.book.orders.slots[slot].order
        cdef int64_t left_lots = self.book.orders.at[at].left_lots
        cdef int64_t lots = by_lots
        if not 0 <= lots <= left_lots:
            raise PluginError(f"book: expected at most the {left_lots} lots that order {order_id} has, was {by_lots}")
        self.take_off(at, lots, slot)
        return left_lots - lots

    def best(self, side, /):
        """See `OrderBook.best`."""
        cdef uint16_t sell = <int>side < 0
        cdef uint32_t level = self.book.sides[sell].best
        return price_of(self.book.levels.at[level].key, sell) if level else None

    def levels(self, side, count, /):
        """See `OrderBook.levels`."""
        cdef uint16_t sell = <int>side < 0
        cdef Ladder* ladder = &self.book.sides[sell]
        cdef const Level* level
        cdef uint32_t at = ladder.best
        cdef int64_t wanted = count
        cdef list shown = []
        while at and len(shown) < wanted:
            level = &self.book.levels.at[at]
            if level.shown_orders:
                shown.append(
                    ShownLevel(
                        price_ticks=price_of(level.key, sell), size_lots=level.shown_lots, orders=level.shown_orders
                    )
                )
            at = level_from(ladder, &self.book.levels, level.key + 1)
        return tuple(shown)

    def orders(self, side, /):
        """See `OrderBook.orders`. The iterator refuses to go on once the book has changed."""
        return RestingOrders(self, <int>side < 0)

    def load(self, orders, /):
        """See `OrderBook.load`."""
        cdef list records = []
        cdef Record record
        for order in orders:
            read_order(order, &record)
            records.append(PyBytes_FromStringAndSize(<char*>&record, sizeof(Record)))
        self.load_records(b"".join(records))

    def place(
        self,
        int64_t id,
        int64_t account,
        int side,
        int64_t size_lots,
        int64_t price_ticks,
        uint16_t flags=GTC << 1,
        int64_t position_id=0,
        int64_t display_lots=0,
        int64_t hidden_lots=0,
        /,
    ):
        """Plan and commit in one: see `FusedBook.place`."""
        cdef Record record
        cdef Plan plan
        cdef tuple fills
        record.kind = PLACE
        record.flags = (flags & ~SELL) | (side < 0)
        record.market = self.book.market
        record.id = id
        record.account = account
        record.position_id = position_id
        record.size_lots = size_lots
        record.price_ticks = price_ticks
        record.display_lots = display_lots
        record.hidden_lots = hidden_lots
        cdef uint32_t slot = self.check(&record, planned=False)
        self.propose(&record, &plan)
        fills = self.fills(plan.count) if plan.count else ()
        self.settle(&record, &plan, slot)
        return plan.rest_lots, plan.cancel_lots, plan.prevented_lots, plan.reason, fills

    def cancel(self, int64_t order_id, /):
        """Take a resting order out: see `FusedBook.cancel`."""
        cdef uint32_t slot = self.find(order_id)
        cdef uint32_t at = self.book.orders.slots[slot].order
        cdef int64_t left_lots = self.book.orders.at[at].left_lots
        self.take_off(at, left_lots, slot)
        return left_lots

    def apply(self, commands, /):
        """Do what a run of records says: see `FusedBook.apply`."""
        self.planned = None
        return answers_to(&self.book, commands)

    def dump_records(self):
        """Return every resting order as a record: see `FusedBook.dump_records`."""
        return dump_of(&self.book)

    def load_records(self, records, /):
        """Replace the content by these orders: see `FusedBook.load_records`."""
        cdef Book fresh
        cdef Book old
        cdef Record record
        cdef bytes copy = memoryview(records).tobytes()
        cdef const char* read = copy
        cdef size_t i
        if len(copy) % sizeof(Record):
            raise ValueError(f"book: expected records of {sizeof(Record)} bytes, was {len(copy)} bytes")
        if not book_open(&fresh, self.book.market, self.book.fills_max):
            book_close(&fresh)
            raise MemoryError
        try:
            fresh.version = self.book.version + 1
            for i in range(<size_t>len(copy) // sizeof(Record)):
                memcpy(&record, read + i * sizeof(Record), sizeof(Record))
                load_order(&fresh, &record)
            old, self.book, fresh = self.book, fresh, self.book
            self.planned = None
        finally:
            book_close(&fresh)

    @property
    def memory_bytes(self):
        """See `FusedBook.memory_bytes`."""
        return memory_of(&self.book)

    cdef uint32_t check(self, const Record* taker, bint planned) except? 0:
        """Refuse an order that cannot be taken; one that is only planned may bear the id of one that rests.

        Return where its id belongs.
        """
        cdef uint32_t slot = slot_of(&self.book.orders, taker.id)
        cdef int reason = refusal(&self.book, taker, slot)
        if reason != ACCEPTED and not (planned and reason == ORDER_RESTS):
            raise refused(reason, taker)
        return slot

    cdef int propose(self, const Record* taker, Plan* plan) except -1:
        self.planned = None
        if not propose(&self.book, taker, plan):
            raise MemoryError
        return 0

    cdef int settle(self, const Record* taker, const Plan* plan, uint32_t slot) except -1:
        self.planned = None
        settle(&self.book, plan.count)
        if not rest_of(&self.book, taker, plan, slot):
            raise MemoryError
        return 0

    cdef uint32_t find(self, object order_id) except? 0:
        """Return the slot of an order that rests."""
        cdef uint32_t slot = slot_of(&self.book.orders, <int64_t>order_id)
        if self.book.orders.slots[slot].order == 0:
            raise KeyError(order_id)
        return slot

    cdef void take_off(self, uint32_t at, int64_t lots, uint32_t slot) noexcept:
        self.planned = None
        reduce_order(&self.book, at, lots, slot)

    cdef int read_plan(self, object plan) except -1:
        """Take over a plan that somebody made, or kept while another was asked for."""
        cdef Met* met
        cdef uint32_t at
        cdef int64_t lots
        cdef dict taken = {}
        self.planned = None
        self.native.count = 0
        self.native.rest_lots = plan.rest_lots
        read_order(plan.taker, &self.taker)
        for match in plan.matches:
            at, lots = self.book.orders.slots[self.find(match.maker)].order, match.size_lots
            taken[at] = taken.get(at, 0) + lots
            if lots <= 0 or taken[at] > self.book.orders.at[at].left_lots:
                raise PluginError(f"book: expected a match of lots that rest, was {match}; plan again")
            met = add_met(&self.book, &self.native, at)
            if met == NULL:
                raise MemoryError
            met.size_lots = lots
        return 0

    cdef tuple fills(self, uint32_t count):
        cdef uint32_t i
        cdef Met* met
        cdef list found = []
        for i in range(count):
            met = &self.book.met[i]
            found.append(
                (
                    self.book.orders.at[met.order].id,
                    self.book.orders.at[met.order].account,
                    self.book.orders.at[met.order].position_id,
                    met.price_ticks,
                    met.size_lots,
                    bool(met.prevented),
                )
            )
        return tuple(found)


@cython.final
cdef class RestingOrders:
    """The orders of one side in priority order, made when they are asked for."""

    cdef FastBook of
    cdef uint16_t sell
    cdef int64_t version
    cdef uint32_t level
    cdef uint32_t at
    cdef bint begun

    def __cinit__(self, FastBook of, bint sell):
        self.of, self.sell = of, sell

    def __iter__(self):
        return self

    def __next__(self):
        cdef Book* book = &self.of.book
        cdef Record record
        if not self.begun:
            self.begun = True
            self.version = book.version
            self.step(book.sides[self.sell].best)
        if self.at == 0:
            raise StopIteration
        if self.version != book.version:
            raise RuntimeError("book: expected a book at rest, was one that changed while its orders were read")
        write_order(book, self.at, &record)
        self.at = book.orders.at[self.at].behind
        if self.at == 0:
            self.step(level_from(&book.sides[self.sell], &book.levels, book.levels.at[self.level].key + 1))
        return order_of(&record)

    cdef void step(self, uint32_t level) noexcept:
        self.level = level
        self.at = self.of.book.levels.at[level].head if level else 0
