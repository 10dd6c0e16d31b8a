// SPDX-License-Identifier: MIT
// Vocabularies made in a test: runs of GGUF text, the byte-to-unicode form, an allocator that
// fails.
#ifndef INKLING_TESTS_VOCAB_FIXTURE_H
#define INKLING_TESTS_VOCAB_FIXTURE_H

#include "fail_mem.h"
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef struct text_run {
    uint8_t *data;
    size_t bytes, cap;
    uint64_t n;
} text_run;

static inline void run_add(text_run *run, const char *text, size_t bytes) {
    if (run->bytes + bytes + 8 > run->cap) {
        run->cap = 2 * (run->bytes + bytes + 8);
        uint8_t *data = realloc(run->data, run->cap);
        if (data == NULL) exit(3);
        run->data = data;
    }
    for (unsigned i = 0; i < 8; i++)
        run->data[run->bytes++] = (uint8_t)((uint64_t)bytes >> (8 * i));
    if (bytes > 0) memcpy(run->data + run->bytes, text, bytes);
    run->bytes += bytes;
    run->n++;
}
static inline void run_add_text(text_run *run, const char *text) {
    run_add(run, text, strlen(text));
}

// Writes the visible form of bytes [n] to out [2 n] and returns its length. The mapping is counted
// out as the reference does: visible Latin-1 bytes stay, the others are numbered from 256 on.
static inline size_t visible_form(const uint8_t *bytes, size_t n, char *out) {
    unsigned form[256], next = 256;
    for (unsigned b = 0; b < 256; b++) {
        const int stays = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xff && b != 0xad);
        form[b] = stays ? b : next++;
    }
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned c = form[bytes[i]];
        if (c >= 0x80) out[used++] = (char)(0xc0 | c >> 6);
        out[used++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    return used;
}

typedef struct vocab_fixture {
    text_run tokens, merges;
    uint8_t *types; // 4 bytes each once one was set
    int32_t end_token;
} vocab_fixture;

// The 256 bytes in order: a byte's id is the byte.
static inline void fixture_init(vocab_fixture *f) {
    *f = (vocab_fixture){.end_token = -1};
    for (unsigned b = 0; b < 256; b++) {
        const uint8_t byte = (uint8_t)b;
        char form[2];
        run_add(&f->tokens, form, visible_form(&byte, 1, form));
    }
}

// Adds the token of both parts, in the visible form, and the merge that makes it; returns its id.
static inline int32_t fixture_merge(vocab_fixture *f, const char *left, const char *right) {
    char text[512];
    const size_t a = strlen(left), b = strlen(right);
    if (a + b + 1 > sizeof text) exit(3);
    memcpy(text, left, a);
    memcpy(text + a, right, b);
    run_add(&f->tokens, text, a + b);
    text[a] = ' ';
    memcpy(text + a + 1, right, b);
    run_add(&f->merges, text, a + 1 + b);
    return (int32_t)f->tokens.n - 1;
}

// Adds a token of this type; all before it are normal unless they were given one.
static inline int32_t fixture_token(vocab_fixture *f, const char *text, uint8_t type) {
    const size_t known = f->types != NULL ? (size_t)f->tokens.n : 0;
    run_add_text(&f->tokens, text);
    uint8_t *types = realloc(f->types, (size_t)f->tokens.n * 4);
    if (types == NULL) exit(3);
    f->types = types;
    for (size_t i = known; i < f->tokens.n; i++) memcpy(types + i * 4, (uint8_t[4]){1, 0, 0, 0}, 4);
    types[4 * (f->tokens.n - 1)] = type;
    return (int32_t)f->tokens.n - 1;
}

static inline inki_vocab fixture_vocab(const vocab_fixture *f) {
    return (inki_vocab){
        .pre = {"gpt-2", 5},
        .tokens = {f->tokens.data, f->tokens.bytes, f->tokens.n},
        .types = f->types,
        .n_types = f->types != NULL ? f->tokens.n : 0,
        .merges = {f->merges.data, f->merges.bytes, f->merges.n},
        .end_token = f->end_token,
    };
}

static inline void fixture_free(vocab_fixture *f) {
    free(f->tokens.data);
    free(f->merges.data);
    free(f->types);
}

// A fixed sequence of random numbers. Source: Marsaglia 2003, xorshift.
static inline uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
