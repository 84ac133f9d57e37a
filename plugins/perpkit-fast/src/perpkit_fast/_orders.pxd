# cython: language_level=3
"""The orders that rest: a pooled array, and a hash table from order id to place in it.

An order is one cache line, because whoever looks at a part of it soon wants another. Place 0 is nobody, so memory that
was never written says "none". Places that were freed are used again, last freed first, and so the array is as long as
the book was at its fullest.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset


cdef struct Order:
    int64_t id
    int64_t account
    int64_t position_id
    int64_t left_lots
    int64_t hidden_lots  # of what is left
    int64_t display_lots
    uint32_t before      # in its level's queue
    uint32_t behind      # in its level's queue; the next free place while this one is free
    uint32_t level
    uint16_t flags       # as in the record it came with


cdef struct Slot:
    uint32_t tag         # the upper half of the hashed id: says where the search for it begins
    uint32_t order       # 0: nothing here


cdef struct Orders:
    Order* at
    Slot* slots
    void* memory         # that `at` lies in, from the first whole cache line on
    uint32_t places
    uint32_t fresh       # the first place that was never used
    uint32_t freed
    uint32_t count
    uint32_t last_slot   # one less than there are, which is a power of two
    uint32_t slot_shift  # a hash without so many of its lower bits is a slot


cdef enum:
    FIRST_PLACES = 1024
    PLACES_MAX = 1 << 30
    FIRST_SLOT_BITS = 12
    HASH_BITS = 32
    LINE = 64            # bytes


cdef inline bint make_places(Orders* orders, uint32_t places) noexcept nogil:
    """Make room for so many orders, with those that are there; False when there is no memory."""
    cdef size_t skipped = <uintptr_t>orders.at - <uintptr_t>orders.memory
    cdef void* memory = realloc(orders.memory, (<size_t>places + 1) * sizeof(Order))
    if memory == NULL:
        return False
    orders.memory = memory
    orders.at = <Order*>((<uintptr_t>memory + LINE - 1) & ~<uintptr_t>(LINE - 1))
    if <uintptr_t>orders.at - <uintptr_t>memory != skipped:
        memmove(orders.at, <char*>memory + skipped, orders.places * sizeof(Order))
    orders.places = places
    return True


cdef inline bint slots_open(Orders* orders, uint32_t bits) noexcept nogil:
    orders.slots = <Slot*>calloc(<size_t>1 << bits, sizeof(Slot))
    orders.last_slot = <uint32_t>((<size_t>1 << bits) - 1)
    orders.slot_shift = HASH_BITS - bits
    return orders.slots != NULL


cdef inline bint orders_open(Orders* orders) noexcept nogil:
    orders.fresh = 1
    orders.freed = orders.count = 0
    orders.at, orders.memory, orders.places = NULL, NULL, 0
    if not slots_open(orders, FIRST_SLOT_BITS) or not make_places(orders, FIRST_PLACES):
        return False
    memset(orders.at, 0, sizeof(Order))
    return True


cdef inline void orders_close(Orders* orders) noexcept nogil:
    free(orders.memory)
    free(orders.slots)
    orders.memory, orders.slots = NULL, NULL


cdef inline size_t orders_memory(const Orders* orders) noexcept nogil:
    return (<size_t>orders.places + 1) * sizeof(Order) + (<size_t>orders.last_slot + 1) * sizeof(Slot)


cdef inline uint32_t tag_of(int64_t id) noexcept nogil:
    # Fibonacci hashing: ids that were given out one after another land far apart.
    return <uint32_t>((<uint64_t>id * <uint64_t>0x9E3779B97F4A7C15) >> 32)


cdef inline uint32_t home_of(const Orders* orders, uint32_t tag) noexcept nogil:
    return tag >> orders.slot_shift


cdef inline uint32_t slot_of(const Orders* orders, int64_t id) noexcept nogil:
    """Return the slot of an order, or the empty one in which it would be."""
    cdef uint32_t tag = tag_of(id)
    cdef uint32_t slot = home_of(orders, tag)
    while orders.slots[slot].order:
        if orders.slots[slot].tag == tag and orders.at[orders.slots[slot].order].id == id:
            break
        slot = (slot + 1) & orders.last_slot
    return slot


cdef inline void empty_slot(Orders* orders, uint32_t slot) noexcept nogil:
    """Move up who stands behind an emptied slot because it was taken: no mark stays, and searches stay short."""
    cdef uint32_t next_slot = slot
    cdef uint32_t home
    while True:
        next_slot = (next_slot + 1) & orders.last_slot
        if not orders.slots[next_slot].order:
            break
        home = home_of(orders, orders.slots[next_slot].tag)
        if ((next_slot - home) & orders.last_slot) >= ((next_slot - slot) & orders.last_slot):
            orders.slots[slot] = orders.slots[next_slot]
            slot = next_slot
    orders.slots[slot].order = 0


cdef inline bint grow_slots(Orders* orders) noexcept nogil:
    cdef Orders old = orders[0]
    cdef size_t i
    cdef uint32_t slot
    if not slots_open(orders, HASH_BITS + 1 - old.slot_shift):
        orders[0] = old
        return False
    for i in range(<size_t>old.last_slot + 1):
        if old.slots[i].order:
            slot = home_of(orders, old.slots[i].tag)
            while orders.slots[slot].order:
                slot = (slot + 1) & orders.last_slot
            orders.slots[slot] = old.slots[i]
    free(old.slots)
    return True


cdef inline uint32_t add_order(Orders* orders, int64_t id, uint32_t slot) noexcept nogil:
    """Return the place of a new order whose id belongs into an empty slot, 0 when there is no memory."""
    cdef uint32_t place = orders.freed
    if place:
        orders.freed = orders.at[place].behind
    else:
        if orders.fresh == orders.places and (orders.places == PLACES_MAX or not make_places(orders, orders.places * 2)):
            return 0
        place = orders.fresh
        orders.fresh += 1
    orders.at[place].id = id
    orders.slots[slot].tag = tag_of(id)
    orders.slots[slot].order = place
    orders.count += 1
    # Never more than a quarter full, so a search ends, and mostly where it began.
    if orders.count > orders.last_slot >> 2 and not grow_slots(orders):
        return 0
    return place


cdef inline void drop_order(Orders* orders, uint32_t place, uint32_t slot) noexcept nogil:
    """Forget an order; what is written in its place stays readable until the place is used again."""
    empty_slot(orders, slot)
    orders.at[place].behind = orders.freed
    orders.freed = place
    orders.count -= 1
