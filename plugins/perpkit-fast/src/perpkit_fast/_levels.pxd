# cython: language_level=3
"""The price levels of one side, best first, over any range of prices.

A level is known by its key: the price on the sell side, minus the price on the buy side, so that the lowest key is the
best on both. Levels near the market stand in a window: an array with a place for every key, and above it three layers
of bits that say which places are taken, 64 to the word, so that the next level is found in three steps. The few levels
outside stand in sorted rows. A market that wanders off takes its window along, as soon as touching what is outside has
cost as much as moving all levels would; so a move costs nothing extra, and nobody can make it happen more often.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from perpkit_fast._rows cimport Row, Rows, add_to_rows, drop_from_rows, forget_rows, level_in_rows

cdef extern from "_bits.h":
    uint32_t first_bit(uint64_t word) nogil
    void load_soon(const void* address) nogil


cdef struct Level:
    int64_t key
    int64_t shown_lots
    uint32_t head        # first order of the queue; the next free level while this one is free
    uint32_t tail
    uint32_t shown_orders
    uint32_t hidden_orders   # that hide something


cdef struct Levels:
    Level* at            # place 0 is nobody
    uint32_t places
    uint32_t fresh
    uint32_t freed


cdef enum:
    FIRST_LEVELS = 256
    WINDOW = 1 << 18     # three layers of 64
    MOVE_AFTER = 64


cdef struct Ladder:
    int64_t base         # the key of the window's first place
    uint32_t best        # 0: no level
    uint32_t count
    int64_t lots         # of all orders, hidden ones too
    uint32_t* window
    uint64_t* bottom
    uint64_t top
    uint64_t[64] middle
    Rows outside         # the window
    uint64_t outside_touches


cdef inline bint levels_open(Levels* levels) noexcept nogil:
    levels.places = FIRST_LEVELS
    levels.fresh = 1
    levels.freed = 0
    levels.at = <Level*>calloc(levels.places, sizeof(Level))
    return levels.at != NULL


cdef inline void levels_close(Levels* levels) noexcept nogil:
    free(levels.at)
    levels.at = NULL


cdef inline bint ladder_open(Ladder* ladder) noexcept nogil:
    memset(ladder, 0, sizeof(Ladder))
    # Untouched pages of zeros cost nothing: a book takes the memory of the prices that it has seen.
    ladder.bottom = <uint64_t*>calloc(WINDOW >> 6, sizeof(uint64_t))
    ladder.window = <uint32_t*>calloc(WINDOW, sizeof(uint32_t))
    return ladder.bottom != NULL and ladder.window != NULL


cdef inline void ladder_close(Ladder* ladder) noexcept nogil:
    forget_rows(&ladder.outside)
    free(ladder.bottom)
    free(ladder.window)
    ladder.bottom, ladder.window = NULL, NULL


cdef inline size_t levels_memory(const Levels* levels) noexcept nogil:
    return levels.places * sizeof(Level)


cdef inline size_t ladder_memory(const Ladder* ladder) noexcept nogil:
    return (
        (WINDOW >> 6) * sizeof(uint64_t) + WINDOW * sizeof(uint32_t)
        + ladder.outside.count * sizeof(Row) + ladder.outside.places * sizeof(Row*)
    )


cdef inline bint in_window(const Ladder* ladder, int64_t key) noexcept nogil:
    return <uint64_t>key - <uint64_t>ladder.base < WINDOW


cdef inline void add_to_window(Ladder* ladder, int64_t key, uint32_t level) noexcept nogil:
    cdef uint64_t at = <uint64_t>key - <uint64_t>ladder.base
    ladder.window[at] = level
    ladder.bottom[at >> 6] |= <uint64_t>1 << (at & 63)
    ladder.middle[at >> 12] |= <uint64_t>1 << ((at >> 6) & 63)
    ladder.top |= <uint64_t>1 << (at >> 12)


cdef inline void drop_from_window(Ladder* ladder, int64_t key) noexcept nogil:
    cdef uint64_t at = <uint64_t>key - <uint64_t>ladder.base
    ladder.window[at] = 0
    ladder.bottom[at >> 6] &= ~(<uint64_t>1 << (at & 63))
    if ladder.bottom[at >> 6] == 0:
        ladder.middle[at >> 12] &= ~(<uint64_t>1 << ((at >> 6) & 63))
        if ladder.middle[at >> 12] == 0:
            ladder.top &= ~(<uint64_t>1 << (at >> 12))


cdef inline uint64_t from_bit(uint64_t word, uint64_t bit) noexcept nogil:
    """Return the bits of a word from one on, none of them from the 64th."""
    return word & (~<uint64_t>0 << bit) if bit < 64 else 0


cdef inline uint32_t level_in_window(const Ladder* ladder, uint64_t at) noexcept nogil:
    """Return the first level at a place of the window or behind it; 0 when there is none."""
    cdef uint64_t word
    if at >= WINDOW:
        return 0
    word = from_bit(ladder.bottom[at >> 6], at & 63)
    if word:
        return ladder.window[(at & ~<uint64_t>63) | first_bit(word)]
    at >>= 6
    word = from_bit(ladder.middle[at >> 6], (at & 63) + 1)
    if not word:
        at >>= 6
        word = from_bit(ladder.top, at + 1)
        if not word:
            return 0
        at = <uint64_t>first_bit(word)
        word = ladder.middle[at]
        at <<= 6
    at = (at & ~<uint64_t>63) | first_bit(word)
    return ladder.window[(at << 6) | first_bit(ladder.bottom[at])]


cdef inline uint32_t level_from(const Ladder* ladder, const Levels* levels, int64_t key) noexcept nogil:
    """Return the best level whose key is not below `key`; 0 when there is none."""
    cdef uint32_t inside = 0, outside
    if key < ladder.base:
        inside = level_in_window(ladder, 0)
    elif in_window(ladder, key):
        inside = level_in_window(ladder, <uint64_t>key - <uint64_t>ladder.base)
    if ladder.outside.count == 0:
        return inside
    outside = level_in_rows(&ladder.outside, key, False)
    if inside and (not outside or levels.at[inside].key < levels.at[outside].key):
        return inside
    return outside


cdef inline uint32_t level_of(Ladder* ladder, int64_t key) noexcept nogil:
    """Return the level of a key; 0 when there is none."""
    if in_window(ladder, key):
        return ladder.window[key - ladder.base]
    if ladder.outside.count == 0:
        return 0
    ladder.outside_touches += 1
    return level_in_rows(&ladder.outside, key, True)


cdef inline bint add_to_side(Ladder* ladder, int64_t key, uint32_t level) noexcept nogil:
    if in_window(ladder, key):
        add_to_window(ladder, key, level)
        return True
    ladder.outside_touches += 1
    return add_to_rows(&ladder.outside, key, level)


cdef inline bint move_window(Ladder* ladder, const Levels* levels) noexcept nogil:
    """Put the best level into the middle of the window, and every level where it then belongs."""
    cdef uint32_t moved = 0, row, column, level = level_in_window(ladder, 0)
    cdef uint32_t* all_levels = <uint32_t*>malloc(ladder.count * sizeof(uint32_t))
    if all_levels == NULL:
        return False
    while level:
        all_levels[moved] = level
        moved += 1
        drop_from_window(ladder, levels.at[level].key)
        level = level_in_window(ladder, 0)
    for row in range(ladder.outside.count):
        for column in range(ladder.outside.at[row].count):
            all_levels[moved] = ladder.outside.at[row].level[column]
            moved += 1
    forget_rows(&ladder.outside)
    ladder.base = levels.at[ladder.best].key - (WINDOW >> 1)
    for row in range(moved):
        if not add_to_side(ladder, levels.at[all_levels[row]].key, all_levels[row]):
            free(all_levels)
            return False
    free(all_levels)
    ladder.outside_touches = 0
    return True


cdef inline uint32_t add_level(Ladder* ladder, Levels* levels, int64_t key) noexcept nogil:
    """Return a new, empty level; 0 when there is no memory."""
    cdef uint32_t level
    cdef Level* grown
    if levels.freed:
        level = levels.freed
        levels.freed = levels.at[level].head
    else:
        if levels.fresh == levels.places:
            grown = <Level*>realloc(levels.at, <size_t>levels.places * 2 * sizeof(Level))
            if grown == NULL:
                return 0
            levels.at = grown
            levels.places *= 2
        level = levels.fresh
        levels.fresh += 1
    memset(&levels.at[level], 0, sizeof(Level))
    levels.at[level].key = key
    if ladder.count == 0:
        ladder.base = key - (WINDOW >> 1)
    if not add_to_side(ladder, key, level):
        return 0
    ladder.count += 1
    if ladder.best == 0 or key < levels.at[ladder.best].key:
        ladder.best = level
    if ladder.outside_touches > <uint64_t>ladder.count + MOVE_AFTER and not move_window(ladder, levels):
        return 0
    return level


cdef inline void drop_level(Ladder* ladder, Levels* levels, uint32_t level) noexcept nogil:
    cdef int64_t key = levels.at[level].key
    if in_window(ladder, key):
        drop_from_window(ladder, key)
    else:
        ladder.outside_touches += 1
        drop_from_rows(&ladder.outside, key)
    ladder.count -= 1
    if ladder.best == level:
        ladder.best = level_from(ladder, levels, key)
    levels.at[level].head = levels.freed
    levels.freed = level
