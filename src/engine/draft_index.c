// SPDX-License-Identifier: MIT
#include "engine/draft_index.h"

#include "base/mix.h"

#include <string.h>

// Tokens that the places of a chain have in common: a long match is not missed for the many short
// ones, and where there is no long one a short one is better than none.
static const uint32_t chain_tokens[2] = {3, 1};

void inki_draft_index_carve(inki_draft_index *x, inki_arena *arena, uint32_t n) {
    uint32_t bits = 4;
    while (bits < 31 && (uint32_t)1 << bits < n) bits++;
    x->tokens = inki_arena_take(arena, n, sizeof *x->tokens);
    for (int k = 0; k < 2; k++) {
        x->before[k] = inki_arena_take(arena, n, sizeof *x->before[k]);
        x->latest[k] = inki_arena_take(arena, (size_t)1 << bits, sizeof *x->latest[k]);
        if (arena->base != NULL) memset(x->latest[k], 0, sizeof *x->latest[k] << bits);
    }
    x->n = 0;
    x->cap = n;
    x->bits = bits;
}

// That of the tokens which end at place i; NULL: it has not so many before it.
static uint32_t *chain_of(const inki_draft_index *x, int k, uint32_t i) {
    uint64_t hash = 0;
    if (i < chain_tokens[k]) return NULL;
    for (uint32_t j = 0; j < chain_tokens[k]; j++)
        hash = inki_mix64(hash + (uint32_t)x->tokens[i - j]);
    return &x->latest[k][hash >> (64 - x->bits)];
}

void inki_draft_index_set(inki_draft_index *x, const ink_token *tokens, uint32_t n) {
    uint32_t same = 0;
    const uint32_t most = n < x->n ? n : x->n;
    // The usual case is one comparison at the speed of memory.
    if (memcmp(x->tokens, tokens, most * sizeof *tokens) == 0) same = most;
    while (same < most && x->tokens[same] == tokens[same]) same++;
    // From the end on, each place is the first of its chain.
    while (x->n > same) {
        x->n--;
        for (int k = 0; k < 2; k++) {
            uint32_t *latest = chain_of(x, k, x->n);
            if (latest != NULL) *latest = x->before[k][x->n];
        }
    }
    for (; x->n < n; x->n++) {
        x->tokens[x->n] = tokens[x->n];
        for (int k = 0; k < 2; k++) {
            uint32_t *latest = chain_of(x, k, x->n);
            if (latest == NULL) continue;
            x->before[k][x->n] = *latest;
            *latest = x->n;
        }
    }
}

uint32_t inki_draft_index_find(const inki_draft_index *x, inki_draft_places *places) {
    uint32_t longest = 0, best = 0;
    places->n = 0;
    for (int k = 0; k < 2 && longest == 0; k++) {
        if (x->n <= chain_tokens[k]) continue;
        const ink_token *last = x->tokens + x->n - 1;
        uint32_t i = x->before[k][x->n - 1];
        for (int tries = INKI_INDEX_TRIES; i > 0 && tries > 0; i = x->before[k][i], tries--) {
            uint32_t n = 0;
            while (n < INKI_INDEX_MATCH_MAX && n <= i && x->tokens[i - n] == last[-(ptrdiff_t)n])
                n++;
            if (n < chain_tokens[k]) continue;
            places->from[places->n] = i + 1;
            places->match[places->n] = (uint8_t)n;
            if (n > longest) {
                longest = n;
                best = places->n;
            }
            places->n++;
        }
    }
    if (best > 0) {
        const uint32_t from = places->from[best];
        places->from[best] = places->from[0];
        places->match[best] = places->match[0];
        places->from[0] = from;
        places->match[0] = (uint8_t)longest;
    }
    return longest;
}
