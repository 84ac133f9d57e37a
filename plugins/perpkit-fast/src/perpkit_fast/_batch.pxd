# cython: language_level=3
"""Runs of records: each command is done when its turn comes, and what came of it is written behind the others.

docs/reference/records.md says what stands where. A command that cannot be done is answered by a refusal and changes
nothing, so that what comes out does not depend on how a run was cut.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from perpkit_fast._levels cimport level_from
from perpkit_fast._matching cimport propose, reduce_order, rest_of, settle
from perpkit_fast._orders cimport Order, Orders, home_of, slot_of, tag_of
from perpkit_fast._state cimport (
    ACCEPTED, Book, Met, OTHER_MARKET, OUT_OF_RANGE, Plan, Record, UNKNOWN_KIND, UNKNOWN_ORDER, price_of, refusal,
    write_order,
)

cdef extern from "_bits.h":
    void load_soon(const void* address) nogil

cdef extern from "Python.h":
    # Declared anew, because Cython's own would count references to a bytes object that is not finished.
    PyObject* PyBytes_FromStringAndSize(const char* source, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** unfinished, Py_ssize_t size) except -1
    char* PyBytes_AS_STRING(PyObject* unfinished)


cdef struct Out:
    PyObject* bytes      # a bytes object that is still being written, longer than it will be
    Record* at           # what it holds
    size_t places
    size_t written


cdef enum:
    PLACE = 301
    REDUCE = 302
    CANCEL = 303
    PLACED = 311
    MATCHED = 312
    REDUCED = 313
    REFUSED = 314

    AHEAD = 4            # commands, between asking for a record, for its slot, for its order, and doing it


cdef inline int resize(Out* out, size_t places) except -1:
    if out.bytes == NULL:
        out.bytes = PyBytes_FromStringAndSize(NULL, places * sizeof(Record))
    else:
        _PyBytes_Resize(&out.bytes, places * sizeof(Record))
    if out.bytes == NULL:
        raise MemoryError
    out.at = <Record*>PyBytes_AS_STRING(out.bytes)
    out.places = places
    return 0


cdef inline int reserve(Out* out, size_t more) except -1:
    if out.written + more > out.places:
        resize(out, (out.written + more) * 2)
    return 0


cdef inline bytes taken(Out* out):
    """Return what was written, and forget it."""
    resize(out, out.written)
    cdef bytes written = <bytes>out.bytes
    Py_DECREF(written)
    out.bytes = NULL
    return written


cdef inline void write(
    Out* out, uint16_t kind, uint16_t flags, uint32_t market, int64_t first, int64_t second, int64_t third,
    int64_t fourth, int64_t fifth, int64_t sixth, int64_t seventh
) noexcept nogil:
    cdef Record* record = &out.at[out.written]
    out.written += 1
    record.kind = kind
    record.flags = flags
    record.market = market
    record.id = first
    record.account = second
    record.position_id = third
    record.size_lots = fourth
    record.price_ticks = fifth
    record.display_lots = sixth
    record.hidden_lots = seventh


cdef inline int place_record(Book* book, const Record* taker, uint32_t slot, Out* out) except -1:
    cdef Plan plan
    cdef uint32_t i
    cdef const Met* met
    cdef const Order* maker
    if not propose(book, taker, &plan):
        raise MemoryError
    reserve(out, plan.count + 1)
    write(
        out, PLACED, taker.flags, taker.market, taker.id, plan.count, plan.rest_lots, plan.cancel_lots,
        plan.prevented_lots, plan.reason, book.version,
    )
    settle(book, plan.count)
    for i in range(plan.count):
        met = &book.met[i]
        maker = &book.orders.at[met.order]
        write(
            out, MATCHED, met.prevented, taker.market, maker.id, maker.account, maker.position_id, met.size_lots,
            met.price_ticks, met.left_lots, taker.id,
        )
    if not rest_of(book, taker, &plan, slot):
        raise MemoryError
    return 0


cdef inline int reduce_record(Book* book, const Record* command, Out* out) noexcept:
    """Take lots off a resting order, or all of it; return why not."""
    cdef uint32_t slot = slot_of(&book.orders, command.id)
    cdef uint32_t at = book.orders.slots[slot].order
    cdef const Order* order = &book.orders.at[at]
    cdef int64_t lots = order.left_lots if command.kind == CANCEL else command.size_lots
    if command.market != book.market:
        return OTHER_MARKET
    if at == 0:
        return UNKNOWN_ORDER
    if not 0 <= lots <= order.left_lots:
        return OUT_OF_RANGE
    write(
        out, REDUCED, order.flags, command.market, order.id, order.account, order.position_id, lots,
        price_of(book.levels.at[order.level].key, order.flags), order.left_lots - lots, book.version,
    )
    reduce_order(book, at, lots, slot)
    return ACCEPTED


cdef inline int run_record(Book* book, const Record* command, Out* out) except -1:
    """Do one command and write what came of it."""
    cdef int reason = UNKNOWN_KIND
    cdef uint32_t slot   # looked for once the kind is known, which is what the processor can least foresee
    reserve(out, 1)
    if command.kind == PLACE:
        slot = slot_of(&book.orders, command.id)
        reason = refusal(book, command, slot)
        if reason == ACCEPTED:
            place_record(book, command, slot, out)
    elif command.kind == CANCEL or command.kind == REDUCE:
        reason = reduce_record(book, command, out)
    if reason != ACCEPTED:
        write(out, REFUSED, 0, command.market, command.id, reason, command.kind, 0, 0, 0, 0)
    return 0


cdef inline int dump_side(Book* book, int side, Out* out) except -1:
    """Write a side's orders in priority order, behind what is written already."""
    cdef uint32_t level = book.sides[side].best
    cdef uint32_t at
    while level:
        at = book.levels.at[level].head
        while at:
            reserve(out, 1)
            out.at[out.written].kind = PLACE
            write_order(book, at, &out.at[out.written])
            out.written += 1
            at = book.orders.at[at].behind
        level = level_from(&book.sides[side], &book.levels, book.levels.at[level].key + 1)
    return 0


cdef inline bytes answers_to(Book* book, object commands):
    """Do a run of commands, given as anything that lies in memory as one, and return what came of each."""
    cdef Py_buffer view
    cdef Out out
    cdef Record copy
    cdef const Record* command
    cdef size_t i, count
    cdef bint aligned
    cdef const Orders* orders = &book.orders
    memset(&out, 0, sizeof(Out))
    PyObject_GetBuffer(commands, &view, PyBUF_SIMPLE)
    try:
        if view.len % sizeof(Record):
            raise ValueError(f"book: expected records of {sizeof(Record)} bytes, was {view.len} bytes")
        count = view.len // sizeof(Record)
        aligned = <size_t>view.buf % 8 == 0   # whoever gave the bytes need not have seen to it
        resize(&out, count + (count >> 1) + 1)
        for i in range(count):
            command = <const Record*>view.buf + i
            if not aligned:
                memcpy(&copy, command, sizeof(Record))
                command = &copy
            elif i + 2 * AHEAD < count:
                # Not a function of its own: GCC leaves out calls of what does nothing but ask for memory.
                load_soon(command + 4 * AHEAD)
                load_soon(&orders.slots[home_of(orders, tag_of(command[2 * AHEAD].id))])
                load_soon(&orders.at[orders.slots[home_of(orders, tag_of(command[AHEAD].id))].order])
            run_record(book, command, &out)
        return taken(&out)
    finally:
        Py_XDECREF(out.bytes)
        PyBuffer_Release(&view)


cdef inline bytes dump_of(Book* book):
    """Return every resting order as a record, the buy side first."""
    cdef Out out
    memset(&out, 0, sizeof(Out))
    try:
        resize(&out, book.orders.count)
        dump_side(book, 0, &out)
        dump_side(book, 1, &out)
        return taken(&out)
    finally:
        Py_XDECREF(out.bytes)
