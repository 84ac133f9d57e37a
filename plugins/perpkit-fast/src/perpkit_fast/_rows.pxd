# cython: language_level=3
"""Keys and their levels in sorted rows of at most `ROW`: for the few levels that lie far from the market.

Adding and dropping moves what stands behind in the row; a full row is split, an empty one freed.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove


cdef enum:
    ROW = 128


cdef struct Row:
    uint32_t count
    int64_t[ROW] key
    uint32_t[ROW] level


cdef struct Rows:
    Row** at
    uint32_t count       # of rows; none of them is empty
    uint32_t places


cdef struct Place:
    uint32_t row
    uint32_t column


cdef inline void forget_rows(Rows* rows) noexcept nogil:
    cdef uint32_t row
    for row in range(rows.count):
        free(rows.at[row])
    free(rows.at)
    rows.at = NULL
    rows.count = rows.places = 0


cdef inline Place place_in_rows(const Rows* rows, int64_t key) noexcept nogil:
    """Return where the first key that is not below `key` stands; one past the end when there is none."""
    cdef Place place
    cdef uint32_t low = 0, high = rows.count, middle
    cdef const Row* row
    while low < high:
        middle = (low + high) >> 1
        row = rows.at[middle]
        if row.key[row.count - 1] < key:
            low = middle + 1
        else:
            high = middle
    place.row, place.column = low, 0
    if low == rows.count:
        return place
    row = rows.at[low]
    low, high = 0, row.count
    while low < high:
        middle = (low + high) >> 1
        if row.key[middle] < key:
            low = middle + 1
        else:
            high = middle
    place.column = low
    return place


cdef inline uint32_t level_in_rows(const Rows* rows, int64_t key, bint exactly) noexcept nogil:
    """Return the level of a key, or the first that is not below it; 0 when there is none."""
    cdef Place place = place_in_rows(rows, key)
    if place.row == rows.count:
        return 0
    cdef const Row* row = rows.at[place.row]
    if exactly and row.key[place.column] != key:
        return 0
    return row.level[place.column]


cdef inline bint add_row(Rows* rows, uint32_t at) noexcept nogil:
    cdef Row** grown
    cdef uint32_t places
    if rows.count == rows.places:
        places = rows.places * 2 + 8
        grown = <Row**>realloc(rows.at, places * sizeof(Row*))
        if grown == NULL:
            return False
        rows.at, rows.places = grown, places
    cdef Row* row = <Row*>calloc(1, sizeof(Row))
    if row == NULL:
        return False
    memmove(&rows.at[at + 1], &rows.at[at], (rows.count - at) * sizeof(Row*))
    rows.at[at] = row
    rows.count += 1
    return True


cdef inline void shift_row(Row* to, uint32_t at, Row* source, uint32_t start, uint32_t count) noexcept nogil:
    memmove(&to.key[at], &source.key[start], count * sizeof(int64_t))
    memmove(&to.level[at], &source.level[start], count * sizeof(uint32_t))


cdef inline bint add_to_rows(Rows* rows, int64_t key, uint32_t level) noexcept nogil:
    cdef Place place = place_in_rows(rows, key)
    cdef Row* row
    if place.row == rows.count:
        if rows.count == 0:
            if not add_row(rows, 0):
                return False
        else:
            place.row -= 1
            place.column = rows.at[place.row].count
    row = rows.at[place.row]
    if row.count == ROW:
        if not add_row(rows, place.row + 1):
            return False
        shift_row(rows.at[place.row + 1], 0, row, ROW >> 1, ROW >> 1)
        rows.at[place.row + 1].count = row.count = ROW >> 1
        if place.column > ROW >> 1:
            place.column -= ROW >> 1
            row = rows.at[place.row + 1]
    shift_row(row, place.column + 1, row, place.column, row.count - place.column)
    row.key[place.column] = key
    row.level[place.column] = level
    row.count += 1
    return True


cdef inline void drop_from_rows(Rows* rows, int64_t key) noexcept nogil:
    cdef Place place = place_in_rows(rows, key)
    cdef Row* row = rows.at[place.row]
    row.count -= 1
    shift_row(row, place.column, row, place.column + 1, row.count - place.column)
    if row.count == 0:
        free(row)
        rows.count -= 1
        memmove(
            &rows.at[place.row], &rows.at[place.row + 1], (rows.count - place.row) * sizeof(Row*)
        )
