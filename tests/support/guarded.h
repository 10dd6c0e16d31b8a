// SPDX-License-Identifier: MIT
// Memory that ends where a page without access begins: one byte read or written too far ends the
// program. And numbers that are hard on kernels.
#ifndef TESTS_GUARDED_H
#define TESTS_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct guarded {
    void *data; // its last byte is the last before the guard
    void *map;
    size_t map_bytes;
} guarded;
guarded guarded_new(size_t bytes);
// INKLING_TEST_GUARDS=soft: the page behind may be read, and is full of NaN. For emulators that
// load whole vectors where an instruction's mask asks for a part.
bool guards_are_soft(void);
void guarded_seal(const guarded *g); // from now on read-only
void guarded_free(guarded *g);

// What a buffer holds before a kernel writes to it: a NaN that no arithmetic makes.
#define CANARY_BITS 0x7fa5c3e1u
void canary_fill(float *x, size_t n);
bool canary_is(float x);

enum hard_kind { HARD_PLAIN, HARD_ZERO, HARD_TINY, HARD_HUGE, HARD_MIXED, HARD_CANCEL, HARD_KINDS };
const char *hard_name(enum hard_kind kind);
// x [n] of that kind; the same seed gives the same numbers.
void hard_fill(float *x, size_t n, enum hard_kind kind, uint64_t seed);

// The values that bytes stand for, from the formats' definitions and in other code than src/ has.
double true_half(uint16_t h);
// Element i of a row of `type`, in double precision.
double true_value(uint32_t type, const void *row, size_t i);
// Dimension i of a stored value, a row; and of key `pos`, a column of a tile (INK_KV_*).
double true_kv(uint32_t kv_type, const void *row, size_t i);
double true_key(uint32_t kv_type, const void *keys, size_t pos, size_t i);
// Of an INKI_ACT_Q8 row of n values.
double true_act(const void *row, size_t n, size_t i);

#endif
