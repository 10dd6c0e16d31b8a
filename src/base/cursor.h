// SPDX-License-Identifier: MIT
// Reads untrusted little-endian bytes. The first failure sticks: after it every read gives 0 or
// NULL, and `failed_at` keeps the offset where it happened, so a parser may check once after
// several reads.
#ifndef INKI_BASE_CURSOR_H
#define INKI_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Text that is not 0-terminated.
typedef struct inki_str {
    const char *data;
    size_t bytes;
} inki_str;

bool inki_str_equal(inki_str s, const char *text);
static inline bool inki_ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

typedef struct inki_cursor {
    const uint8_t *data;
    size_t bytes, at;
    size_t failed_at;
    bool failed;
} inki_cursor;

static inline inki_cursor inki_cursor_over(const void *data, size_t bytes) {
    return (inki_cursor){.data = (const uint8_t *)data, .bytes = bytes};
}
static inline size_t inki_cursor_left(const inki_cursor *c) {
    return c->failed ? 0 : c->bytes - c->at;
}

// The next n bytes, borrowed, or NULL if there are fewer.
const uint8_t *inki_cursor_take(inki_cursor *c, size_t n);
uint8_t inki_cursor_u8(inki_cursor *c);
uint16_t inki_cursor_u16(inki_cursor *c);
uint32_t inki_cursor_u32(inki_cursor *c);
uint64_t inki_cursor_u64(inki_cursor *c);

// Little-endian numbers, wherever they lie: compilers make one load of it.
static inline uint32_t inki_load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t inki_load_u64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

// A 64-bit length and that many bytes, as GGUF writes text. Inline: a vocabulary has 100,000 of
// them, and each open walks them more than once.
inki_str inki_cursor_str_failed(inki_cursor *c);
static inline inki_str inki_cursor_str(inki_cursor *c) {
    if (c->failed || c->bytes - c->at < 8) return inki_cursor_str_failed(c);
    const uint8_t *p = c->data + c->at;
    const uint64_t n = inki_load_u64(p);
    if (n > c->bytes - c->at - 8) return inki_cursor_str_failed(c);
    c->at += 8 + (size_t)n;
    return (inki_str){(const char *)p + 8, (size_t)n};
}

// A run of n texts in that form, still in their file; walk it with a cursor over data [bytes].
typedef struct inki_str_run {
    const uint8_t *data;
    size_t bytes;
    uint64_t n;
} inki_str_run;

#endif
