// SPDX-License-Identifier: MIT
// Merging inside one word: lowest rank first, leftmost on ties.
#ifndef INKI_BPE_H
#define INKI_BPE_H

#include "tokenizer/token_index.h"

typedef struct inki_bpe_merge {
    int32_t left, right, result;
} inki_bpe_merge;

typedef struct inki_bpe {
    int32_t byte_ids[256];
    inki_bpe_merge *merges; // [n_merges], the index is the rank
    uint32_t n_merges;
    inki_token_index pairs; // (left, right) → rank
    uint64_t seed;
} inki_bpe;

// Where ids go: as many as fit into out [cap], all are counted.
typedef struct inki_bpe_sink {
    int32_t *out;
    size_t cap, n;
    uint64_t
        steps; // work done: pairs looked up or compared, places that an entry of the queue moved
} inki_bpe_sink;

static inline void inki_bpe_emit(inki_bpe_sink *sink, int32_t id) {
    if (sink->n < sink->cap) sink->out[sink->n] = id;
    sink->n++;
}

// Rank of the merge of left and right, or INKI_INDEX_NONE.
static inline uint32_t inki_bpe_rank(const inki_bpe *bpe, int32_t left, int32_t right) {
    const uint64_t hash = inki_token_hash_pair((uint32_t)left, (uint32_t)right, bpe->seed);
    uint32_t probe = 0, rank;
    while ((rank = inki_token_index_next(&bpe->pairs, hash, &probe)) != INKI_INDEX_NONE)
        if (bpe->merges[rank].left == left && bpe->merges[rank].right == right) break;
    return rank;
}

// 32-bit numbers of working memory that a word of n bytes needs; 0 for a short one. n < 2^31.
size_t inki_bpe_work_numbers(size_t n);
// Sends the ids of word [n] to the sink; at most 4 n log2 n steps. n > 0.
// work [inki_bpe_work_numbers(n)]; may be NULL for a short word.
void inki_bpe_word(const inki_bpe *bpe, const uint8_t *word, size_t n, uint32_t *work,
                   inki_bpe_sink *sink);

#endif
