# cython: language_level=3
"""The orders that rest: two pooled arrays, and a hash table from order id to place in them.

An order is split by how often it is needed: what finding, linking and shrinking touch is half a cache line, the rest
of it lies beside. Place 0 is nobody, so memory that was never written says "none". Places that were freed are used
again, last freed first, and so the arrays are as long as the book was at its fullest.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc


cdef struct Order:
    int64_t id
    int64_t left_lots
    uint32_t before      # in its level's queue
    uint32_t behind      # in its level's queue; the next free place while this one is free
    uint32_t level
    uint16_t flags       # as in the record it came with
    uint16_t used_up     # an iceberg whose shown part was used up by the plan that is being applied


cdef struct Terms:
    int64_t account
    int64_t position_id
    int64_t hidden_lots
    int64_t display_lots


cdef struct Slot:
    uint32_t tag         # the upper half of the hashed id: says where the search for it begins
    uint32_t order       # 0: nothing here


cdef struct Orders:
    Order* at
    Terms* terms
    Slot* slots
    uint32_t places      # that `at` and `terms` have
    uint32_t fresh       # the first place that was never used
    uint32_t freed
    uint32_t count
    uint32_t slot_bits


cdef enum:
    FIRST_PLACES = 1024
    FIRST_SLOT_BITS = 11


cdef inline bint orders_open(Orders* orders) noexcept nogil:
    orders.places = FIRST_PLACES
    orders.fresh = 1
    orders.freed = orders.count = 0
    orders.slot_bits = FIRST_SLOT_BITS
    orders.at = <Order*>calloc(orders.places, sizeof(Order))
    orders.terms = <Terms*>calloc(orders.places, sizeof(Terms))
    orders.slots = <Slot*>calloc(<size_t>1 << orders.slot_bits, sizeof(Slot))
    return orders.at != NULL and orders.terms != NULL and orders.slots != NULL


cdef inline void orders_close(Orders* orders) noexcept nogil:
    free(orders.at)
    free(orders.terms)
    free(orders.slots)
    orders.at, orders.terms, orders.slots = NULL, NULL, NULL


cdef inline size_t orders_memory(const Orders* orders) noexcept nogil:
    return orders.places * (sizeof(Order) + sizeof(Terms)) + (<size_t>1 << orders.slot_bits) * sizeof(Slot)


cdef inline uint32_t tag_of(int64_t id) noexcept nogil:
    # Fibonacci hashing: ids that were given out one after another land far apart.
    return <uint32_t>((<uint64_t>id * <uint64_t>0x9E3779B97F4A7C15) >> 32)


cdef inline uint32_t home_of(const Orders* orders, uint32_t tag) noexcept nogil:
    return tag >> (32 - orders.slot_bits)


cdef inline uint32_t slot_of(const Orders* orders, int64_t id) noexcept nogil:
    """Return the slot of an order, or the empty one in which it would be."""
    cdef uint32_t mask = (<uint32_t>1 << orders.slot_bits) - 1
    cdef uint32_t tag = tag_of(id)
    cdef uint32_t slot = home_of(orders, tag)
    while orders.slots[slot].order:
        if orders.slots[slot].tag == tag and orders.at[orders.slots[slot].order].id == id:
            break
        slot = (slot + 1) & mask
    return slot


cdef inline uint32_t find_order(const Orders* orders, int64_t id) noexcept nogil:
    return orders.slots[slot_of(orders, id)].order


cdef inline void empty_slot(Orders* orders, uint32_t slot) noexcept nogil:
    """Move up who stands behind an emptied slot because it was taken: no mark stays, and searches stay short."""
    cdef uint32_t mask = (<uint32_t>1 << orders.slot_bits) - 1
    cdef uint32_t next_slot = slot
    cdef uint32_t home
    while True:
        next_slot = (next_slot + 1) & mask
        if not orders.slots[next_slot].order:
            break
        home = home_of(orders, orders.slots[next_slot].tag)
        if ((next_slot - home) & mask) >= ((next_slot - slot) & mask):
            orders.slots[slot] = orders.slots[next_slot]
            slot = next_slot
    orders.slots[slot].order = 0


cdef inline bint grow_slots(Orders* orders) noexcept nogil:
    cdef Slot* old = orders.slots
    cdef size_t old_count = <size_t>1 << orders.slot_bits
    cdef size_t i
    cdef uint32_t slot, mask
    cdef Slot* slots = <Slot*>calloc(old_count * 2, sizeof(Slot))
    if slots == NULL:
        return False
    orders.slots = slots
    orders.slot_bits += 1
    mask = (<uint32_t>1 << orders.slot_bits) - 1
    for i in range(old_count):
        if old[i].order:
            slot = home_of(orders, old[i].tag)
            while slots[slot].order:
                slot = (slot + 1) & mask
            slots[slot] = old[i]
    free(old)
    return True


cdef inline bint grow_places(Orders* orders) noexcept nogil:
    cdef size_t places = <size_t>orders.places * 2
    if places > <size_t>1 << 31:
        return False
    cdef Order* at = <Order*>realloc(orders.at, places * sizeof(Order))
    if at == NULL:
        return False
    orders.at = at
    cdef Terms* terms = <Terms*>realloc(orders.terms, places * sizeof(Terms))
    if terms == NULL:
        return False
    orders.terms = terms
    orders.places = <uint32_t>places
    return True


cdef inline uint32_t add_order(Orders* orders, int64_t id, uint32_t slot) noexcept nogil:
    """Return the place of a new order whose id belongs into an empty slot, 0 when there is no memory."""
    cdef uint32_t place = orders.freed
    if place:
        orders.freed = orders.at[place].behind
    else:
        if orders.fresh == orders.places and not grow_places(orders):
            return 0
        place = orders.fresh
        orders.fresh += 1
    orders.at[place].id = id
    orders.at[place].used_up = 0
    orders.slots[slot].tag = tag_of(id)
    orders.slots[slot].order = place
    orders.count += 1
    # Never more than half full, so a search ends, and is short.
    if <uint64_t>orders.count * 2 > <uint64_t>1 << orders.slot_bits and not grow_slots(orders):
        return 0
    return place


cdef inline void drop_order(Orders* orders, uint32_t place) noexcept nogil:
    """Forget an order; what is written in its place stays readable until the place is used again."""
    empty_slot(orders, slot_of(orders, orders.at[place].id))
    orders.at[place].behind = orders.freed
    orders.freed = place
    orders.count -= 1
