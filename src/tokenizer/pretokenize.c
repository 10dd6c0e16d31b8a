// SPDX-License-Identifier: MIT
#include "tokenizer/pretokenize.h"

#include "base/utf8.h"
#include "tokenizer/unicode_tables.h"

static unsigned class_of_char(const uint8_t *s, size_t n, size_t *step) {
    const unsigned one = inki_unicode_byte_class[s[0]];
    *step = 1;
    if (one != INKI_CLASS_MULTI) return one;
    uint32_t c;
    const size_t length = inki_utf8_decode(s, n, &c);
    if (length == 0) return INKI_CLASS_OTHER;
    *step = length;
    return inki_unicode_class(c);
}

// First place at or after `at` where the class is not `wanted`.
static size_t end_of_class(const uint8_t *s, size_t n, size_t at, unsigned wanted) {
    while (at < n) {
        size_t step;
        if (class_of_char(s + at, n - at, &step) != wanted) break;
        at += step;
    }
    return at;
}

// s[0] is an apostrophe. Lower case only: the pattern has no i flag.
static size_t contraction(const uint8_t *s, size_t n) {
    if (n < 2) return 0;
    switch (s[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return n > 2 && s[2] == 'e' ? 3 : 0;
    case 'l': return n > 2 && s[2] == 'l' ? 3 : 0;
    default: return 0;
    }
}

// \s+(?!\S)|\s+ : blanks before a word leave their last one to it, though only U+0020 can join it.
static size_t blank_run(const uint8_t *s, size_t n) {
    size_t at = 0, last = 0;
    while (at < n) {
        size_t step;
        if (class_of_char(s + at, n - at, &step) != INKI_CLASS_SPACE) break;
        last = at;
        at += step;
    }
    return at < n && last > 0 ? last : at;
}

size_t inki_pretokenize_next(const uint8_t *s, size_t n) {
    size_t step;
    if (s[0] == '\'') {
        const size_t length = contraction(s, n);
        if (length > 0) return length;
    }
    if (s[0] == ' ' && n > 1) {
        const unsigned next = class_of_char(s + 1, n - 1, &step);
        if (next != INKI_CLASS_SPACE) return end_of_class(s, n, 1 + step, next);
    }
    const unsigned first = class_of_char(s, n, &step);
    return first == INKI_CLASS_SPACE ? blank_run(s, n) : end_of_class(s, n, step, first);
}
