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

uint8_t inki_cursor_u8(inki_cursor *c) {
    const uint8_t *p = inki_cursor_take(c, 1);
    return p != NULL ? p[0] : 0;
}

uint16_t inki_cursor_u16(inki_cursor *c) {
    const uint8_t *p = inki_cursor_take(c, 2);
    return p != NULL ? (uint16_t)(p[0] | (unsigned)p[1] << 8) : (uint16_t)0;
}

uint32_t inki_cursor_u32(inki_cursor *c) {
    const uint8_t *p = inki_cursor_take(c, 4);
    return p != NULL ? inki_load_u32(p) : 0;
}

uint64_t inki_cursor_u64(inki_cursor *c) {
    const uint8_t *p = inki_cursor_take(c, 8);
    return p != NULL ? inki_load_u64(p) : 0;
}

inki_str inki_cursor_str_failed(inki_cursor *c) {
    if (!c->failed) c->failed_at = c->at; // the length is the lie: point at it
    c->failed = true;
    return (inki_str){"", 0};
}
