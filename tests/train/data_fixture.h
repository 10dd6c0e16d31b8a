// SPDX-License-Identifier: MIT
// A vocabulary in which a text can name each of its tokens, and texts of it: token number k is a
// pair of letters that nothing else contains, so that a test sees which token of which document it
// looks at.
#ifndef INKLING_TESTS_DATA_FIXTURE_H
#define INKLING_TESTS_DATA_FIXTURE_H

#include "tests/unit/vocab_fixture.h"
#include "train/data.h"

#include <stdio.h>

enum { N_PAIRS = 26 * 26, FIRST_PAIR = 256 };

typedef struct data_fixture {
    inki_tokenizer *tokenizer;
    int32_t end;
} data_fixture;

// filler: unused tokens before the end token, for a vocabulary of more than 2^16.
static inline void data_fixture_init(data_fixture *f, size_t filler, int has_end) {
    vocab_fixture vocab;
    const inki_mem mem = inki_mem_from(NULL);
    fixture_init(&vocab);
    for (int k = 0; k < N_PAIRS; k++) {
        const char left[2] = {(char)('A' + k / 26), 0}, right[2] = {(char)('a' + k % 26), 0};
        fixture_merge(&vocab, left, right);
    }
    for (size_t i = 0; i < filler; i++) {
        char name[32];
        const int n = snprintf(name, sizeof name, "zz%zu", i);
        run_add(&vocab.tokens, name, (size_t)n);
    }
    if (has_end) vocab.end_token = fixture_token(&vocab, "<|endoftext|>", 3);
    const inki_vocab made = fixture_vocab(&vocab);
    f->end = vocab.end_token;
    if (inki_tokenizer_new(&f->tokenizer, &made, &mem, NULL) != INK_OK) exit(3);
    fixture_free(&vocab);
}

static inline void data_fixture_free(data_fixture *f) { inki_tokenizer_free(f->tokenizer); }

typedef struct text {
    char *data;
    size_t n, cap;
} text;

static inline void text_add(text *t, const char *s, size_t n) {
    if (t->n + n > t->cap) {
        t->cap = 2 * (t->n + n);
        char *data = realloc(t->data, t->cap);
        if (data == NULL) exit(3);
        t->data = data;
    }
    memcpy(t->data + t->n, s, n);
    t->n += n;
}
static inline void text_put(text *t, const char *s) { text_add(t, s, strlen(s)); }
static inline void text_pair(text *t, int k) {
    text_add(t, (const char[2]){(char)('A' + k / 26), (char)('a' + k % 26)}, 2);
}
static inline void text_free(text *t) {
    free(t->data);
    *t = (text){0};
}

// Documents of pairs 0, 1, 2, …: document d has n_of[d] of them.
static inline void text_documents(text *t, const int *n_of, int n) {
    for (int d = 0, k = 0; d < n; d++) {
        if (d > 0) text_put(t, "<|endoftext|>");
        for (int j = 0; j < n_of[d]; j++) text_pair(t, k++);
    }
}

static inline ink_status data_from(inki_data **out, const data_fixture *f, const text *t,
                                   const inki_data_options *options, inki_pool *pool,
                                   ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str s = {t->data, t->n};
    return inki_data_new(out, f->tokenizer, &s, 1, NULL, 0, options, pool, &mem, error);
}

#endif
