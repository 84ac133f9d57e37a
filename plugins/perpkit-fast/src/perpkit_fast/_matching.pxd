# cython: language_level=3
"""What a book does: propose, settle, rest, reduce. Every way in leads here.

The rules are those of `perpkit.model.matching`, and the order of things that of the reference book. A proposal only
writes down whom the taker meets; settling goes through that list. So a plan that is asked for and thrown away and an
order that is executed at once run the same lines.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport realloc

from perpkit_fast._levels cimport Ladder, Level, add_level, drop_level, level_from, level_of
from perpkit_fast._orders cimport Order, add_order, drop_order, slot_of
from perpkit_fast._state cimport (
    BY_OWNER, Book, CANCEL_BOTH, CANCEL_TAKER, DECREMENT, FOK, GTC, IMMEDIATE, Met, OWNER_MASK, Plan, Record,
    SELF_TRADE, SELL, WORK_LIMIT, key_of, price_of, self_trade_of, time_in_force_of,
)


cdef inline bint is_own(const Record* taker, int64_t maker_account) noexcept nogil:
    cdef int64_t differs = taker.account ^ maker_account
    return (differs & OWNER_MASK if taker.flags & BY_OWNER else differs) == 0


cdef inline Met* add_met(Book* book, Plan* plan, uint32_t order) noexcept nogil:
    cdef uint32_t places
    cdef Met* grown
    if plan.count == book.met_places:
        places = book.met_places * 2 + 64
        grown = <Met*>realloc(book.met, places * sizeof(Met))
        if grown == NULL:
            return NULL
        book.met = grown
        book.met_places = places
    cdef Met* met = &book.met[plan.count]
    plan.count += 1
    met.order = order
    met.prevented = met.used_up = 0
    return met


cdef inline int meet(Book* book, const Record* taker, Plan* plan, const Level* level, bint hidden) noexcept nogil:
    """Meet what is shown at a level, or what is hidden. Return 1 to go on, 0 when all is said, -1 without memory."""
    cdef uint32_t at = level.head
    cdef int64_t price_ticks = price_of(level.key, ~taker.flags)
    cdef uint16_t self_trade = self_trade_of(taker.flags)
    cdef const Order* order
    cdef int64_t lots
    cdef bint own, goes
    cdef Met* met
    while at:
        order = &book.orders.at[at]
        lots = order.hidden_lots if hidden else order.left_lots - order.hidden_lots
        own = self_trade and is_own(taker, order.account)
        goes = own and self_trade != DECREMENT
        # Of a maker that goes away whole, what is hidden went with what was shown, one round earlier.
        if lots and not (goes and hidden and order.left_lots != lots):
            if plan.count == book.fills_max:
                plan.reason = WORK_LIMIT
                return 0
            if own and self_trade == CANCEL_TAKER:
                plan.reason = SELF_TRADE
                return 0
            met = add_met(book, plan, at)
            if met == NULL:
                return -1
            met.price_ticks = price_ticks
            met.prevented = own
            if goes:
                met.size_lots = order.left_lots
                if self_trade == CANCEL_BOTH:
                    plan.reason = SELF_TRADE
                    return 0
            else:
                met.size_lots = plan.left_lots if plan.left_lots < lots else lots
                plan.left_lots -= met.size_lots
                if own:
                    plan.prevented_lots += met.size_lots
                if plan.left_lots == 0:
                    return 0
        at = order.behind
    return 1


cdef inline bint meet_levels(Book* book, const Record* taker, Plan* plan, uint32_t level, int64_t limit) noexcept nogil:
    """Meet level after level up to a limit; False when there is no memory."""
    cdef int goes_on
    while level and book.levels.at[level].key <= limit:
        goes_on = meet(book, taker, plan, &book.levels.at[level], False)
        if goes_on == 1 and book.levels.at[level].hidden_orders:
            goes_on = meet(book, taker, plan, &book.levels.at[level], True)
        if goes_on != 1:
            return goes_on == 0
        level = level_from(&book.sides[1 - (taker.flags & SELL)], &book.levels, book.levels.at[level].key + 1)
    return True


cdef inline bint propose(Book* book, const Record* taker, Plan* plan) noexcept nogil:
    """Write down whom a taker would meet, and what becomes of it; False when there is no memory."""
    cdef int64_t limit = key_of(taker.price_ticks, ~taker.flags)
    cdef uint16_t time_in_force = time_in_force_of(taker.flags)
    cdef uint32_t level = book.sides[1 - (taker.flags & SELL)].best
    plan.left_lots = taker.size_lots
    plan.prevented_lots = 0
    plan.reason = IMMEDIATE
    plan.count = 0
    if level and book.levels.at[level].key <= limit:
        if not meet_levels(book, taker, plan, level, limit):
            return False
        if time_in_force == FOK and (plan.left_lots or plan.prevented_lots):
            plan.count = 0
            plan.left_lots = taker.size_lots
            plan.prevented_lots = 0
    plan.rest_lots = plan.left_lots if time_in_force == GTC and plan.reason == IMMEDIATE else 0
    plan.cancel_lots = plan.left_lots - plan.rest_lots
    return True


cdef inline void unlink(Book* book, Level* level, uint32_t at) noexcept nogil:
    cdef Order* order = &book.orders.at[at]
    if order.before:
        book.orders.at[order.before].behind = order.behind
    else:
        level.head = order.behind
    if order.behind:
        book.orders.at[order.behind].before = order.before
    else:
        level.tail = order.before


cdef inline void link_last(Book* book, Level* level, uint32_t at) noexcept nogil:
    book.orders.at[at].before = level.tail
    book.orders.at[at].behind = 0
    if level.tail:
        book.orders.at[level.tail].behind = at
    else:
        level.head = at
    level.tail = at


cdef inline void shrink(Book* book, Order* order, int64_t left_lots, int64_t hidden_lots) noexcept nogil:
    cdef Level* level = &book.levels.at[order.level]
    level.shown_lots -= order.left_lots - order.hidden_lots - (left_lots - hidden_lots)
    level.shown_orders -= order.left_lots != order.hidden_lots and left_lots == hidden_lots
    level.hidden_orders -= order.hidden_lots != 0 and hidden_lots == 0
    book.sides[order.flags & SELL].lots -= order.left_lots - left_lots
    order.left_lots = left_lots
    order.hidden_lots = hidden_lots


cdef inline void take_out(Book* book, uint32_t at, uint32_t slot) noexcept nogil:
    cdef Order* order = &book.orders.at[at]
    cdef Level* level = &book.levels.at[order.level]
    shrink(book, order, 0, 0)
    unlink(book, level, at)
    if level.head == 0:
        drop_level(&book.sides[order.flags & SELL], &book.levels, order.level)
    drop_order(&book.orders, at, slot)


cdef inline void show_anew(Book* book, uint32_t at) noexcept nogil:
    """Show the next part of an iceberg, behind whoever waits at its price."""
    cdef Order* order = &book.orders.at[at]
    cdef Level* level = &book.levels.at[order.level]
    cdef int64_t shown_lots = order.display_lots if order.display_lots < order.left_lots else order.left_lots
    order.hidden_lots = order.left_lots - shown_lots
    if order.hidden_lots == 0:
        level.hidden_orders -= 1
    level.shown_orders += 1
    level.shown_lots += shown_lots
    unlink(book, level, at)
    link_last(book, level, at)


cdef inline void settle_met(Book* book, uint32_t count) noexcept nogil:
    cdef uint32_t i
    cdef Met* met
    cdef Order* order
    cdef bint any_used_up = False
    for i in range(count):
        met = &book.met[i]
        order = &book.orders.at[met.order]
        met.left_lots = order.left_lots - met.size_lots
        if met.left_lots == 0:
            take_out(book, met.order, slot_of(&book.orders, order.id))
        else:
            shrink(book, order, met.left_lots, min(order.hidden_lots, met.left_lots))
            met.used_up = order.display_lots and order.hidden_lots == order.left_lots
            any_used_up |= met.used_up
    if any_used_up:
        for i in range(count):
            order = &book.orders.at[book.met[i].order]
            # One that was met in both its parts is used up twice, shown anew once.
            if book.met[i].used_up and order.left_lots and order.hidden_lots == order.left_lots:
                show_anew(book, book.met[i].order)


cdef inline void settle(Book* book, uint32_t count) noexcept nogil:
    """Take off every maker what the plan says, then show anew what was used up, in the order in which it was."""
    book.version += 1
    if count:
        settle_met(book, count)


cdef inline void reduce_order(Book* book, uint32_t at, int64_t by_lots, uint32_t slot) noexcept nogil:
    """Take lots off a resting order, what it hides first; it goes with its last lot. `slot` is where its id is."""
    cdef Order* order = &book.orders.at[at]
    book.version += 1
    if by_lots == order.left_lots:
        take_out(book, at, slot)
    else:
        shrink(book, order, order.left_lots - by_lots, max(order.hidden_lots - by_lots, 0))


cdef inline bint rest(
    Book* book, const Record* order, int64_t lots, int64_t hidden_lots, uint32_t slot
) noexcept nogil:
    """Put an order behind the others at its price; False when there is no memory."""
    cdef Ladder* side = &book.sides[order.flags & SELL]
    cdef int64_t key = key_of(order.price_ticks, order.flags)
    cdef uint32_t level = level_of(side, key)
    cdef uint32_t at = add_order(&book.orders, order.id, slot)
    if at == 0:
        return False
    if level == 0:
        level = add_level(side, &book.levels, key)
        if level == 0:
            return False
    cdef Order* resting = &book.orders.at[at]
    cdef Level* queue = &book.levels.at[level]
    resting.account = order.account
    resting.position_id = order.position_id
    resting.left_lots = lots
    resting.hidden_lots = hidden_lots
    resting.display_lots = order.display_lots
    resting.level = level
    resting.flags = order.flags
    queue.shown_lots += lots - hidden_lots
    queue.shown_orders += lots != hidden_lots
    queue.hidden_orders += hidden_lots != 0
    side.lots += lots
    link_last(book, queue, at)
    return True


cdef inline bint rest_of(Book* book, const Record* taker, const Plan* plan, uint32_t slot) noexcept nogil:
    """Rest what a plan leaves of a taker: as it came where that is all of it, else shown anew.

    `slot` is where its id belonged before the plan was settled.
    """
    cdef int64_t lots = plan.rest_lots
    cdef int64_t hidden_lots = taker.hidden_lots
    if lots == 0:
        return True
    if hidden_lots and lots != taker.size_lots:
        hidden_lots = lots - taker.display_lots if taker.display_lots < lots else 0
    if plan.count:
        slot = slot_of(&book.orders, taker.id)
    return rest(book, taker, lots, hidden_lots if hidden_lots < lots else lots, slot)
