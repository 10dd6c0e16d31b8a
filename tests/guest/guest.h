// SPDX-License-Identifier: MIT
// What the tests of a good guest share: a small model in memory and its greedy continuation.
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include "inkling/inkling.h"
#include "support/tiny_model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants the five above first.
#include <cmocka.h>

enum { GUEST_TOKENS = 24, GUEST_TEXT = 4096 };

typedef struct guest_text {
    char text[GUEST_TEXT];
    size_t bytes;
} guest_text;

static inline int guest_collect(void *user, const ink_piece *piece) {
    guest_text *out = user;
    assert_true(out->bytes + piece->bytes < GUEST_TEXT);
    memcpy(out->text + out->bytes, piece->text, piece->bytes);
    out->bytes += piece->bytes;
    return 0;
}

// The model, made once: 64 wide so that every thread of a small pool gets a part of the work.
static inline ink_source guest_source(void) {
    static uint8_t *data;
    static size_t bytes;
    if (!data) {
        tiny_model model = tiny_model_defaults();
        model.n_embd = 64;
        model.n_ff = 256;
        data = tiny_model_bytes(&model, &bytes);
        assert_non_null(data);
    }
    return (ink_source){
        .size = sizeof(ink_source), .kind = INK_SOURCE_MEMORY, .data = data, .bytes = bytes};
}

// An engine over it that continues greedily and never chooses the end.
static inline ink_engine *guest_open(uint32_t n_threads) {
    const ink_source source = guest_source();
    ink_runtime_options runtime;
    ink_runtime_options_init(&runtime, sizeof runtime);
    runtime.n_threads = n_threads;
    runtime.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ink_generate_options generate;
    ink_generate_options_init(&generate, sizeof generate);
    generate.n_tokens = GUEST_TOKENS;
    generate.flags = INK_GENERATE_NO_END;
    ink_options options;
    ink_options_init(&options, sizeof options);
    options.source = &source;
    options.runtime = &runtime;
    options.generate = &generate;
    options.chain = "greedy";
    ink_engine *engine = ink_open(NULL, &options);
    assert_non_null(engine);
    assert_string_equal(ink_engine_error(engine)->message, "");
    return engine;
}

static inline void guest_generate(ink_engine *engine, guest_text *out) {
    out->bytes = 0;
    const ink_status status =
        ink_generate(engine, "The quick brown fox, and what it did next", guest_collect, out);
    assert_string_equal(ink_engine_error(engine)->message, "");
    assert_int_equal(status, INK_OK);
    assert_int_equal(ink_engine_result(engine)->n_generated, GUEST_TOKENS);
    assert_true(out->bytes > 0);
}

static inline void guest_assert_same(const guest_text *a, const guest_text *b) {
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->text, b->text, a->bytes);
}

// Entries of a folder of /proc/self, "." and ".." not counted; -1 where there is no /proc.
static inline int guest_count(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    int n = -2;
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

// Which sanitizer this program runs under; they have threads and mappings of their own.
#if defined(__SANITIZE_THREAD__)
#define GUEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GUEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GUEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUEST_ASAN 1
#endif
#endif
#ifndef GUEST_TSAN
#define GUEST_TSAN 0
#endif
#ifndef GUEST_ASAN
#define GUEST_ASAN 0
#endif
#define GUEST_SANITIZED (GUEST_ASAN || GUEST_TSAN)

#endif
