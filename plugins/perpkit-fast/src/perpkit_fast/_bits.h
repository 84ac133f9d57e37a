/* Bounds, and what C compilers spell differently: the first set bit of a word, and a hint to load a line. */
#ifndef PERPKIT_FAST_BITS_H
#define PERPKIT_FAST_BITS_H

#include <stdint.h>

#define BOUND ((int64_t)1 << 62)
#define OWNER_MASK (((int64_t)1 << 40) - 1)

#if defined(_MSC_VER)
#include <intrin.h>
static __forceinline uint32_t first_bit(uint64_t word) {
    unsigned long found;
    _BitScanForward64(&found, word);
    return found;
}
#if defined(_M_X64)
#define load_soon(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#else
#define load_soon(address) ((void)(address))
#endif
#else
#define first_bit(word) ((uint32_t)__builtin_ctzll(word))
#define load_soon(address) __builtin_prefetch(address)
#endif

#endif
