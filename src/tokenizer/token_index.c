// SPDX-License-Identifier: MIT
#include "tokenizer/token_index.h"

#include <string.h>

bool inki_token_index_new(inki_token_index *index, uint32_t n, const inki_mem *mem) {
    size_t n_slots = 16;
    while (n_slots / 2 < n) n_slots *= 2;
    uint64_t *slots = inki_alloc_zero(mem, n_slots, sizeof *slots);
    if (slots == NULL) return false;
    *index = (inki_token_index){.slots = slots, .n_slots = n_slots};
    return true;
}

void inki_token_index_free(inki_token_index *index, const inki_mem *mem) {
    inki_release(mem, index->slots, index->n_slots, sizeof *index->slots);
    *index = (inki_token_index){0};
}

void inki_token_index_clear(inki_token_index *index) {
    memset(index->slots, 0, index->n_slots * sizeof *index->slots);
    index->max_probe = 0;
}

bool inki_token_index_put(inki_token_index *index, uint64_t hash, uint32_t number) {
    for (uint32_t probe = 0; probe < INKI_INDEX_MAX_PROBE && probe < index->n_slots; probe++) {
        uint64_t *slot = &index->slots[(size_t)(hash + probe) & (index->n_slots - 1)];
        if (*slot != 0) continue;
        *slot = hash >> 32 << 32 | ((uint64_t)number + 1);
        if (probe >= index->max_probe) index->max_probe = probe + 1;
        return true;
    }
    return false;
}

static inline uint64_t hash_word(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

static inline uint32_t hash_half_word(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

// Most texts have less than 17 bytes: their first and last words, which overlap, are all of them.
uint64_t inki_token_hash_text(const void *text, size_t bytes, uint64_t seed) {
    const uint8_t *p = text;
    uint64_t h = seed ^ bytes * 0xc2b2ae3d27d4eb4fu;
    for (size_t n = bytes; n > 16; n -= 8, p += 8) h = inki_mix64(h ^ hash_word(p));
    const uint8_t *end = (const uint8_t *)text + bytes;
    uint64_t first = 0, last = 0;
    if (bytes >= 8) {
        first = hash_word(p);
        last = hash_word(end - 8);
    } else if (bytes >= 4) {
        first = hash_half_word(p);
        last = hash_half_word(end - 4);
    } else if (bytes > 0) {
        first = (uint64_t)p[0] | (uint64_t)p[bytes / 2] << 8 | (uint64_t)p[bytes - 1] << 16;
    }
    return inki_mix64((h ^ first) * INKI_GOLDEN64 ^ (last << 32 | last >> 32));
}
