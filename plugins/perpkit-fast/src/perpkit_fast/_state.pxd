# cython: language_level=3
"""One book in memory: its orders, its two sides, and the record by which orders come in and go out.

Every way in makes a `Record` of what it is given, so that whatever is refused is refused here, once.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from perpkit_fast._levels cimport (
    Ladder, Levels, ladder_close, ladder_memory, ladder_open, levels_close, levels_memory, levels_open,
)
from perpkit_fast._orders cimport Order, Orders, orders_close, orders_memory, orders_open


cdef struct Record:
    # What docs/reference/records.md calls an order: 64 bytes, the same in memory, in a batch and in a dump.
    uint16_t kind
    uint16_t flags
    uint32_t market
    int64_t id
    int64_t account
    int64_t position_id
    int64_t size_lots
    int64_t price_ticks
    int64_t display_lots
    int64_t hidden_lots


cdef struct Met:
    int64_t size_lots
    int64_t price_ticks
    int64_t left_lots    # of the maker, once it is settled
    uint32_t order
    uint16_t prevented
    uint16_t used_up     # it leaves an iceberg that shows nothing


cdef struct Plan:
    int64_t left_lots
    int64_t rest_lots
    int64_t cancel_lots
    int64_t prevented_lots
    int64_t reason
    uint32_t count


cdef struct Book:
    Orders orders
    Levels levels
    Ladder[2] sides      # by the bit of the side: buy, sell
    Met* met
    uint32_t met_places
    uint32_t market
    int64_t fills_max
    int64_t version


cdef enum:
    SELL = 1
    GTC = 1
    FOK = 3
    TIMES_IN_FORCE = 0b111110   # a bit for each that there is
    SELF_TRADES = 0b11111
    CANCEL_TAKER = 1
    CANCEL_BOTH = 3
    DECREMENT = 4
    BY_OWNER = 1 << 15

    IMMEDIATE = 2        # cancel reasons
    WORK_LIMIT = 3
    SELF_TRADE = 10

    ACCEPTED = 0         # why a record was refused
    UNKNOWN_ORDER = 1
    ORDER_RESTS = 2
    OUT_OF_RANGE = 3
    OTHER_MARKET = 4
    UNKNOWN_KIND = 5

cdef extern from "_bits.h":
    const int64_t BOUND        # every number of an order is below it, and so is what rests on one side
    const int64_t OWNER_MASK   # the part of an account id that is its owner


cdef inline bint book_open(Book* book, uint32_t market, int64_t fills_max) noexcept nogil:
    memset(book, 0, sizeof(Book))
    book.market = market
    book.fills_max = fills_max
    return (
        orders_open(&book.orders) and levels_open(&book.levels)
        and ladder_open(&book.sides[0]) and ladder_open(&book.sides[1])
    )


cdef inline void book_close(Book* book) noexcept nogil:
    orders_close(&book.orders)
    levels_close(&book.levels)
    ladder_close(&book.sides[0])
    ladder_close(&book.sides[1])
    free(book.met)
    book.met = NULL


cdef inline size_t memory_of(const Book* book) noexcept nogil:
    return (
        orders_memory(&book.orders) + levels_memory(&book.levels) + ladder_memory(&book.sides[0])
        + ladder_memory(&book.sides[1]) + book.met_places * sizeof(Met)
    )


cdef inline int64_t key_of(int64_t price_ticks, uint16_t flags) noexcept nogil:
    """Return what the levels of an order's side are sorted by."""
    cdef int64_t sign = <int64_t>(flags & SELL) - 1   # no bit of it is set on the sell side, all are on the buy side
    return (price_ticks ^ sign) - sign


cdef inline int64_t price_of(int64_t key, uint16_t flags) noexcept nogil:
    return key_of(key, flags)


cdef inline uint16_t time_in_force_of(uint16_t flags) noexcept nogil:
    return (flags >> 1) & 7


cdef inline uint16_t self_trade_of(uint16_t flags) noexcept nogil:
    return (flags >> 12) & 7


cdef inline bint in_range(const Book* book, const Record* order) noexcept nogil:
    """Whether an order's numbers are such that nothing overflows or goes astray later."""
    return (
        0 < order.size_lots < BOUND - book.sides[order.flags & SELL].lots
        and -BOUND < order.price_ticks < BOUND
        and <uint64_t>(order.display_lots | order.hidden_lots) < <uint64_t>BOUND
        and (TIMES_IN_FORCE >> time_in_force_of(order.flags)) & 1
        and (SELF_TRADES >> self_trade_of(order.flags)) & 1
    )


cdef inline int refusal(const Book* book, const Record* taker, uint32_t slot) noexcept nogil:
    """Say why an order cannot be taken at all; `slot` is where its id is, or would be."""
    if taker.market != book.market:
        return OTHER_MARKET
    if not in_range(book, taker):
        return OUT_OF_RANGE
    if book.orders.slots[slot].order and time_in_force_of(taker.flags) == GTC:
        return ORDER_RESTS
    return ACCEPTED


cdef inline void write_order(const Book* book, uint32_t at, Record* record) noexcept nogil:
    """Write a resting order as the record that would load it."""
    cdef const Order* order = &book.orders.at[at]
    record.flags = order.flags
    record.market = book.market
    record.id = order.id
    record.account = order.account
    record.position_id = order.position_id
    record.size_lots = order.left_lots
    record.price_ticks = price_of(book.levels.at[order.level].key, order.flags)
    record.display_lots = order.display_lots
    record.hidden_lots = order.hidden_lots
