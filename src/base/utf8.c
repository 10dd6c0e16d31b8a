// SPDX-License-Identifier: MIT
#include "base/utf8.h"

// The lead byte decides the length and the range of the second byte; that range is what shuts out
// overlong forms (E0, F0), surrogates (ED) and values above U+10FFFF (F4).
// Source: The Unicode Standard, table 3-7.
static size_t lead(uint8_t b, uint8_t *low, uint8_t *high) {
    *low = 0x80;
    *high = 0xbf;
    if (b < 0x80) return 1;
    if (b < 0xc2) return 0;
    if (b < 0xe0) return 2;
    if (b < 0xf0) {
        if (b == 0xe0) *low = 0xa0;
        if (b == 0xed) *high = 0x9f;
        return 3;
    }
    if (b > 0xf4) return 0;
    if (b == 0xf0) *low = 0x90;
    if (b == 0xf4) *high = 0x8f;
    return 4;
}

// How many of the leading bytes of s [n] fit the form that s[0] announces.
static size_t match(const uint8_t *s, size_t n, size_t length, uint8_t low, uint8_t high) {
    size_t i = 1;
    while (i < length && i < n && s[i] >= low && s[i] <= high) {
        low = 0x80;
        high = 0xbf;
        i++;
    }
    return i;
}

size_t inki_utf8_decode(const uint8_t *s, size_t n, uint32_t *c) {
    uint8_t low, high;
    if (n == 0) return 0;
    const size_t length = lead(s[0], &low, &high);
    if (length == 0 || match(s, n, length, low, high) != length) return 0;
    switch (length) {
    case 1: *c = s[0]; break;
    case 2: *c = (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f); break;
    case 3:
        *c = (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
        break;
    default:
        *c = (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 |
             (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    }
    return length;
}

size_t inki_utf8_encode(uint32_t c, char *out) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

int inki_utf8_is_prefix(const uint8_t *s, size_t n) {
    uint8_t low, high;
    const size_t length = lead(s[0], &low, &high);
    return length > n && match(s, n, length, low, high) == n;
}

size_t inki_utf8_count_invalid(const uint8_t *s, size_t n) {
    size_t bad = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const size_t step = inki_utf8_decode(s + i, n - i, &c);
        bad += step == 0;
        i += step > 0 ? step : 1;
    }
    return bad;
}
