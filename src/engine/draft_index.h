// SPDX-License-Identifier: MIT
// Where in a text its last tokens stood before: chains of places where the same three tokens end,
// and where the same one stands, kept up to date as the text grows, is cut or changes.
// Source: Saxena, "Prompt Lookup Decoding", 2023 (drafts from what followed the same n-gram).
#ifndef INKI_ENGINE_DRAFT_INDEX_H
#define INKI_ENGINE_DRAFT_INDEX_H

#include "base/mem.h"

enum {
    INKI_INDEX_MATCH_MAX = 32, // longer ones count as this long
    INKI_INDEX_TRIES = 64      // so many earlier places of a chain are looked at, the latest first
};

typedef struct inki_draft_index {
    ink_token *tokens;   // [n] as they were last seen
    uint32_t *before[2]; // [n] the last place before it with the same hash, of three tokens and of
                         // one; 0: none
    uint32_t *latest[2]; // [1 << bits] the last place of all
    uint32_t n, cap, bits;
} inki_draft_index;

// Carves room for texts of up to n tokens; with a base, the index is empty after it.
void inki_draft_index_carve(inki_draft_index *index, inki_arena *arena, uint32_t n);
// The text is now tokens [n], n <= cap. Costs what changed, and a comparison of the rest.
void inki_draft_index_set(inki_draft_index *index, const ink_token *tokens, uint32_t n);
// Places where the end of the text stood before: what followed there, and how many tokens before it
// are those at the end. The first one has most of them, and is the latest of those.
typedef struct inki_draft_places {
    uint32_t n;
    uint32_t from[INKI_INDEX_TRIES];
    uint8_t match[INKI_INDEX_TRIES];
} inki_draft_places;

// The latest places of the last three tokens, or if there is none, of the last one. Returns how
// many tokens the first place has in common, at most INKI_INDEX_MATCH_MAX; 0: there is none.
uint32_t inki_draft_index_find(const inki_draft_index *index, inki_draft_places *places);

#endif
