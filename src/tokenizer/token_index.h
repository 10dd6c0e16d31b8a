// SPDX-License-Identifier: MIT
// A hash index from 64-bit hashes to numbers 0..n-1; the keys themselves stay with the caller, who
// compares them. Open addressing, half full at most.
//
// Files choose the keys, so a chain may not grow with their number: an insertion that would look at
// more than INKI_INDEX_MAX_PROBE slots is refused, and the caller starts again with another seed.
#ifndef INKI_TOKEN_INDEX_H
#define INKI_TOKEN_INDEX_H

#include "base/mem.h"
#include "base/mix.h"

enum { INKI_INDEX_MAX_PROBE = 256, INKI_INDEX_SEEDS = 8 };
#define INKI_INDEX_NONE UINT32_MAX

typedef struct inki_token_index {
    uint64_t *slots;    // high half: high half of the hash; low half: number + 1, or 0
    size_t n_slots;     // a power of two
    uint32_t max_probe; // slots that the longest insertion looked at
} inki_token_index;

// Room for n numbers, n < 2^30. False without memory. A freed or zeroed index may be freed.
bool inki_token_index_new(inki_token_index *index, uint32_t n, const inki_mem *mem);
void inki_token_index_free(inki_token_index *index, const inki_mem *mem);
void inki_token_index_clear(inki_token_index *index);
// False: the chain is too long.
bool inki_token_index_put(inki_token_index *index, uint64_t hash, uint32_t number);

uint64_t inki_token_hash_text(const void *text, size_t bytes, uint64_t seed);

static inline uint64_t inki_token_hash_pair(uint32_t left, uint32_t right, uint64_t seed) {
    return inki_mix64(((uint64_t)left << 32 | right) ^ seed);
}
static inline uint64_t inki_token_seed(uint32_t attempt) { // 0: of the first attempt
    return attempt == 0 ? INKI_GOLDEN64 : inki_mix64(attempt);
}

// The next number whose hash probably is `hash`, or INKI_INDEX_NONE. *probe is 0 before the first
// call.
static inline uint32_t inki_token_index_next(const inki_token_index *index, uint64_t hash,
                                             uint32_t *probe) {
    while (*probe < index->max_probe) {
        const uint64_t slot = index->slots[(size_t)(hash + (*probe)++) & (index->n_slots - 1)];
        if (slot == 0) break;
        if (slot >> 32 == hash >> 32) return (uint32_t)slot - 1;
    }
    return INKI_INDEX_NONE;
}

#endif
