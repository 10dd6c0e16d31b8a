// SPDX-License-Identifier: MIT
// Learnt vocabularies in a test: as a tokenizer, and held against each other.
#ifndef TESTS_LEARNED_TOKENIZER_H
#define TESTS_LEARNED_TOKENIZER_H

#include "tests/unit/vocab_fixture.h"
#include "train/bpe_train.h"

// The status of inki_tokenizer_new.
static inline ink_status learned_tokenizer(inki_tokenizer **out, const inki_learned_vocab *v,
                                           ink_error *error) {
    text_run tokens = {0}, merges = {0};
    for (uint32_t i = 0; i < v->n_tokens; i++)
        run_add(&tokens, v->tokens[i].data, v->tokens[i].bytes);
    for (uint32_t i = 0; i < v->n_merges; i++)
        run_add(&merges, v->merges[i].data, v->merges[i].bytes);
    const inki_vocab vocab = {
        .pre = {"gpt-2", 5},
        .tokens = {tokens.data, tokens.bytes, tokens.n},
        .merges = {merges.data, merges.bytes, merges.n},
        .end_token = v->end_token,
    };
    const inki_mem mem = inki_mem_from(NULL);
    const ink_status status = inki_tokenizer_new(out, &vocab, &mem, error);
    free(tokens.data);
    free(merges.data);
    return status;
}

static inline bool same_strings(const inki_str *a, const inki_str *b, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (a[i].bytes != b[i].bytes || memcmp(a[i].data, b[i].data, a[i].bytes) != 0) return false;
    return true;
}

static inline bool same_vocab(const inki_learned_vocab *a, const inki_learned_vocab *b) {
    return a->n_tokens == b->n_tokens && a->n_merges == b->n_merges &&
           a->end_token == b->end_token && same_strings(a->tokens, b->tokens, a->n_tokens) &&
           same_strings(a->merges, b->merges, a->n_merges);
}

#endif
