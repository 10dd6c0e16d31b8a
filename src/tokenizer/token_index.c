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

uint64_t inki_token_hash_text(const void *text, size_t bytes, uint64_t seed) {
    const uint8_t *p = text;
    uint64_t h = inki_token_mix(seed ^ bytes);
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = inki_token_mix(h ^ word);
    }
    uint64_t tail = 0;
    memcpy(&tail, p, bytes);
    return inki_token_mix(h ^ tail);
}
