// SPDX-License-Identifier: MIT
// Reads untrusted little-endian bytes. The first failure sticks: after it every read gives 0 or
// NULL, and `failed_at` keeps the offset where it happened, so a parser may check once after
// several reads.
#ifndef INKI_BASE_CURSOR_H
#define INKI_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Text that is not 0-terminated.
typedef struct inki_str {
    const char *data;
    size_t bytes;
} inki_str;

bool inki_str_equal(inki_str s, const char *text);

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
// A 64-bit length and that many bytes, as GGUF writes text.
inki_str inki_cursor_str(inki_cursor *c);

// A run of n texts in that form, still in their file; walk it with a cursor over data [bytes].
typedef struct inki_str_run {
    const uint8_t *data;
    size_t bytes;
    uint64_t n;
} inki_str_run;

#endif
