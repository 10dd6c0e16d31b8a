// SPDX-License-Identifier: MIT
#include "base/cursor.h"

#include <string.h>

bool inki_str_equal(inki_str s, const char *text) {
    const size_t n = strlen(text);
    return s.bytes == n && (n == 0 || memcmp(s.data, text, n) == 0);
}

const uint8_t *inki_cursor_take(inki_cursor *c, size_t n) {
    if (c->failed || n > c->bytes - c->at) {
        if (!c->failed) c->failed_at = c->at;
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->data + c->at;
    c->at += n;
    return p;
}

// Byte by byte: the file may be unaligned and the machine big-endian; compilers make one load of
// it.
static uint64_t little(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t inki_cursor_u8(inki_cursor *c) { return (uint8_t)little(inki_cursor_take(c, 1), 1); }
uint16_t inki_cursor_u16(inki_cursor *c) { return (uint16_t)little(inki_cursor_take(c, 2), 2); }
uint32_t inki_cursor_u32(inki_cursor *c) { return (uint32_t)little(inki_cursor_take(c, 4), 4); }
uint64_t inki_cursor_u64(inki_cursor *c) { return little(inki_cursor_take(c, 8), 8); }

inki_str inki_cursor_str(inki_cursor *c) {
    const size_t start = c->at;
    const uint64_t n = inki_cursor_u64(c);
    if (!c->failed && n > c->bytes - c->at) { // the length is the lie: point at it
        c->failed = true;
        c->failed_at = start;
    }
    const uint8_t *p = inki_cursor_take(c, (size_t)n);
    return p != NULL ? (inki_str){(const char *)p, (size_t)n} : (inki_str){"", 0};
}
