// SPDX-License-Identifier: MIT
// Stages of learning a vocabulary, for bpe_*.c and their tests: text → counted words → one row of
// tokens → merges.
//
// Ids here are those of the vocabulary that comes out: bytes in GPT-2's order, then merges.
#ifndef INKI_TRAIN_BPE_PARTS_H
#define INKI_TRAIN_BPE_PARTS_H

#include "train/bpe_train.h"

#include "tokenizer/token_index.h"

#define INKI_BPE_EDGE    UINT32_MAX          // in a row: between words
#define INKI_BPE_INNER   (UINT32_MAX - 1)    // in a row: inside a token
#define INKI_BPE_MAX_ROW ((uint64_t)1 << 31) // places in a row

typedef struct inki_bpe_progress {
    int (*call)(void *user, double fraction);
    void *user;
    double from, share; // the stage is this part of the whole
} inki_bpe_progress;
// Tells it; true: the caller wants to stop.
bool inki_bpe_tell(const inki_bpe_progress *progress, double fraction);

// ---- words (bpe_count.c)

typedef struct inki_bpe_word {
    const uint8_t *data; // where it stood first; in the caller's text
    uint64_t count;
    uint32_t bytes; // 2 or more: a word of one byte has nothing to merge
} inki_bpe_word;

typedef struct inki_bpe_words {
    inki_bpe_word *list; // [cap], n of them; each text once, in no particular order
    uint32_t n, cap;
    inki_token_index index; // text → place in the list
    uint32_t attempt;       // which seed the index has
    uint64_t seed;
} inki_bpe_words;

// Errors: INK_E_NOMEM, INK_E_LIMIT, INK_E_CANCELLED.
ink_status inki_bpe_count(inki_bpe_words *out, size_t *n_invalid, const inki_str *texts,
                          size_t n_texts, inki_pool *pool, const inki_mem *mem,
                          const inki_bpe_progress *progress, ink_error *error);
void inki_bpe_words_free(inki_bpe_words *words, const inki_mem *mem);
// The end of a piece of text s [n] that begins at `begin` and has at least `bytes`: no word and no
// "<|endoftext|>" lies across it, and words before and behind it are the same when each side is cut
// into words alone. n where there is no such place.
size_t inki_bpe_border(const uint8_t *s, size_t n, size_t begin, size_t bytes);

// ---- the row (bpe_row.c)

// All words one behind the other, EDGE before and behind each. A token of several bytes takes as
// many places: its id stands at the first and the last, INNER between.
typedef struct inki_bpe_row {
    uint32_t *ids; // [n]
    uint32_t n;
    // Words are ordered by how often they stand: places from starts[i] to starts[i + 1] weigh
    // weights[i].
    uint32_t *starts;  // [n_ranges + 1]
    uint64_t *weights; // [n_ranges]
    uint32_t n_ranges;
} inki_bpe_row;

// Errors: INK_E_NOMEM, INK_E_LIMIT.
ink_status inki_bpe_row_new(inki_bpe_row *out, const inki_bpe_words *words, const inki_mem *mem,
                            ink_error *error);
void inki_bpe_row_free(inki_bpe_row *row, const inki_mem *mem);

uint8_t inki_bpe_byte_of(uint32_t id); // of the first 256 tokens

// ---- pairs of neighbours (bpe_pairs.c)

typedef struct inki_bpe_pair {
    uint32_t left, right;
    uint64_t count;    // 0: gone
    uint32_t first, n; // its places
} inki_bpe_pair;

typedef struct inki_bpe_entry {
    uint64_t count;
    uint32_t pair;
} inki_bpe_entry;

// A pair's count can only fall once the round is over that made the younger of its tokens: nothing
// else makes a token. So a pair that stands once then is never looked at again, and places are
// written once; those that are no longer true are found out when they are read.
typedef struct inki_bpe_pairs {
    const inki_bpe_row *row;
    const uint16_t *lengths; // of tokens, in bytes
    inki_bpe_pair *list;     // [cap]
    uint32_t n, cap, n_gone; // n_gone of them do not count any more
    inki_token_index index;  // (left, right) → place in the list
    uint64_t seed;
    inki_bpe_entry *heap; // [cap] of those with level or more, best first; counts may have fallen
    uint32_t n_heap;
    uint64_t level;
    uint32_t *places; // [places_cap] where left begins; a pair's rise
    uint32_t n_places, places_cap;
    uint64_t steps; // places and pairs looked at; moves in the heap are left out, their number
                    // depends on the order of words
    inki_mem mem;
} inki_bpe_pairs;

// Fills it with the pairs of single bytes. row and lengths stay the caller's.
ink_status inki_bpe_pairs_new(inki_bpe_pairs *out, const inki_bpe_row *row, const uint16_t *lengths,
                              const inki_mem *mem, ink_error *error);
void inki_bpe_pairs_free(inki_bpe_pairs *pairs);
// Place of the best pair in the list, or INKI_INDEX_NONE when none stands twice.
uint32_t inki_bpe_pairs_best(inki_bpe_pairs *pairs);
// Room for so many more pairs and places. *moved: places in the list are others now.
ink_status inki_bpe_pairs_reserve(inki_bpe_pairs *pairs, uint32_t n_pairs, uint32_t n_places,
                                  bool *moved, ink_error *error);
// Within reserved room: a new pair, whose n places the caller writes from *first on.
ink_status inki_bpe_pairs_add(inki_bpe_pairs *pairs, uint32_t left, uint32_t right, uint64_t count,
                              uint32_t n, uint32_t *first, ink_error *error);
// The pair stands `by` times less; one that is not listed is none of our business.
void inki_bpe_pairs_lower(inki_bpe_pairs *pairs, uint32_t left, uint32_t right, uint64_t by);
// It will not be the best again; its places stay until the next reserve.
void inki_bpe_pairs_drop(inki_bpe_pairs *pairs, uint32_t number);

// ---- merges (bpe_merge.c)

typedef struct inki_bpe_merges {
    uint32_t *left, *right; // [cap]
    uint32_t n, cap;
    uint64_t steps;
} inki_bpe_merges;

// At most n_merges of them. The row is used up.
ink_status inki_bpe_learn(inki_bpe_merges *out, inki_bpe_row *row, uint32_t n_merges,
                          const inki_mem *mem, const inki_bpe_progress *progress, ink_error *error);
void inki_bpe_merges_free(inki_bpe_merges *merges, const inki_mem *mem);
// The bytes of a token → out [INKI_BPE_MAX_TOKEN]; returns how many.
size_t inki_bpe_token_bytes(const inki_bpe_merges *merges, uint32_t id, uint8_t *out);

#endif
