# cython: language_level=3
"""What a book does: propose, settle, rest, reduce. Every way in leads here.

The rules are those of `perpkit.model.matching`, and the order of things that of the reference book. A proposal only
writes down whom the taker meets; settling goes through that list. So a plan that is asked for and thrown away and an
order that is executed at once run the same lines.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport realloc

from perpkit_fast._levels cimport Ladder, Level, add_level, drop_level, level_from, level_of
from perpkit_fast._orders cimport Order, Terms, add_order, drop_order, slot_of
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
    cdef const Order* order
    cdef int64_t lots
    cdef bint own, goes
    cdef Met* met
    cdef uint16_t self_trade = self_trade_of(taker.flags)
    while at:
        order = &book.orders.at[at]
        lots = order.left_lots
        if hidden:
            lots = book.orders.terms[at].hidden_lots
        elif level.hidden_orders:
            lots -= book.orders.terms[at].hidden_lots
        own = self_trade and is_own(taker, book.orders.terms[at].account)
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
            met.price_ticks = price_of(level.key, ~taker.flags)
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


cdef inline bint propose(Book* book, const Record* taker, Plan* plan) noexcept nogil:
    """Write down whom a taker would meet, and what becomes of it; False when there is no memory."""
    cdef Ladder* other = &book.sides[1 - (taker.flags & SELL)]
    cdef int64_t limit = key_of(taker.price_ticks, ~taker.flags)
    cdef uint16_t time_in_force = time_in_force_of(taker.flags)
    cdef uint32_t level = other.best
    cdef int goes_on = 1
    plan.left_lots = taker.size_lots
    plan.prevented_lots = 0
    plan.reason = IMMEDIATE
    plan.count = 0
    while level and book.levels.at[level].key <= limit:
        goes_on = meet(book, taker, plan, &book.levels.at[level], False)
        if goes_on == 1 and book.levels.at[level].hidden_orders:
            goes_on = meet(book, taker, plan, &book.levels.at[level], True)
        if goes_on != 1:
            break
        level = level_from(other, &book.levels, book.levels.at[level].key + 1)
    if time_in_force == FOK and (plan.left_lots or plan.prevented_lots):
        plan.count = 0
        plan.left_lots = taker.size_lots
        plan.prevented_lots = 0
    plan.rest_lots = plan.left_lots if time_in_force == GTC and plan.reason == IMMEDIATE else 0
    plan.cancel_lots = plan.left_lots - plan.rest_lots
    return goes_on >= 0


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


cdef inline void shrink(Book* book, uint32_t at, int64_t by_lots, bint hidden_first) noexcept nogil:
    """Take lots off an order, from what it hides first or last; it goes with its last lot."""
    cdef Order* order = &book.orders.at[at]
    cdef Level* level = &book.levels.at[order.level]
    cdef Ladder* side = &book.sides[order.flags & SELL]
    cdef Terms* terms
    cdef int64_t shown_lots = by_lots, shown_before, hidden_lots = 0
    if level.hidden_orders:
        terms = &book.orders.terms[at]
        shown_before = order.left_lots - terms.hidden_lots
        if hidden_first:
            hidden_lots = terms.hidden_lots - by_lots if by_lots < terms.hidden_lots else 0
        else:
            hidden_lots = order.left_lots - by_lots
            if terms.hidden_lots < hidden_lots:
                hidden_lots = terms.hidden_lots
        if terms.hidden_lots and not hidden_lots:
            level.hidden_orders -= 1
        terms.hidden_lots = hidden_lots
        shown_lots = shown_before - (order.left_lots - by_lots - hidden_lots)
        if shown_before and shown_lots == shown_before:
            level.shown_orders -= 1
    elif by_lots == order.left_lots:
        level.shown_orders -= 1
    level.shown_lots -= shown_lots
    side.lots -= by_lots
    order.left_lots -= by_lots
    if order.left_lots == 0:
        unlink(book, level, at)
        if level.head == 0:
            drop_level(side, &book.levels, order.level)
        drop_order(&book.orders, at)


cdef inline void show_anew(Book* book, uint32_t at) noexcept nogil:
    """Show the next part of an iceberg, behind whoever waits at its price."""
    cdef Order* order = &book.orders.at[at]
    cdef Terms* terms = &book.orders.terms[at]
    cdef Level* level = &book.levels.at[order.level]
    cdef int64_t shown_lots = terms.display_lots if terms.display_lots < order.left_lots else order.left_lots
    terms.hidden_lots = order.left_lots - shown_lots
    if terms.hidden_lots == 0:
        level.hidden_orders -= 1
    level.shown_orders += 1
    level.shown_lots += shown_lots
    unlink(book, level, at)
    link_last(book, level, at)


cdef inline void settle(Book* book, uint32_t count) noexcept nogil:
    """Take off every maker what the plan says, then show anew what was used up, in the order in which it was."""
    cdef uint32_t i
    cdef Met* met
    cdef Order* order
    cdef Terms* terms
    cdef bint any_used_up = False
    book.version += 1
    for i in range(count):
        met = &book.met[i]
        order = &book.orders.at[met.order]
        met.left_lots = order.left_lots - met.size_lots
        if met.left_lots and book.levels.at[order.level].hidden_orders:
            shrink(book, met.order, met.size_lots, False)
            terms = &book.orders.terms[met.order]
            if terms.display_lots and terms.hidden_lots == order.left_lots and not order.used_up:
                met.used_up = order.used_up = 1
                any_used_up = True
        else:
            shrink(book, met.order, met.size_lots, False)
    if any_used_up:
        for i in range(count):
            if book.met[i].used_up:
                book.orders.at[book.met[i].order].used_up = 0
                if book.orders.at[book.met[i].order].left_lots:
                    show_anew(book, book.met[i].order)


cdef inline void reduce_order(Book* book, uint32_t at, int64_t by_lots) noexcept nogil:
    """Take lots off a resting order, what it hides first."""
    book.version += 1
    shrink(book, at, by_lots, True)


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
    cdef Terms* terms = &book.orders.terms[at]
    cdef Level* queue = &book.levels.at[level]
    resting.left_lots = lots
    resting.level = level
    resting.flags = order.flags
    terms.account = order.account
    terms.position_id = order.position_id
    terms.hidden_lots = hidden_lots
    terms.display_lots = order.display_lots
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
