// SPDX-License-Identifier: MIT
// Written by tools/gen_unicode.py; change that. Unicode 15.0.0.
// Source: UnicodeData.txt and PropList.txt of the Unicode Character Database, (c) Unicode, Inc.,
// https://www.unicode.org/license.txt
// clang-format off
#ifndef INKI_UNICODE_TABLES_H
#define INKI_UNICODE_TABLES_H

#include <stdint.h>

// The classes that GPT-2's pattern tells apart: general category L*, N*, property White_Space.
enum {
    INKI_CLASS_OTHER = 0,
    INKI_CLASS_LETTER = 1,
    INKI_CLASS_NUMBER = 2,
    INKI_CLASS_SPACE = 3,
    INKI_CLASS_MULTI = 4 // only in inki_unicode_byte_class: part of a longer character, or broken
};

enum { INKI_UNICODE_LIMIT = 0x32400 }; // from here on all are INKI_CLASS_OTHER

extern const uint8_t inki_unicode_byte_class[256];
extern const uint8_t inki_unicode_index[804];
extern const uint8_t inki_unicode_blocks[127][64]; // 2 bits a code point, 256 in a block

static inline unsigned inki_unicode_class(uint32_t c) {
    if (c >= INKI_UNICODE_LIMIT) return INKI_CLASS_OTHER;
    const uint8_t four = inki_unicode_blocks[inki_unicode_index[c >> 8]][c >> 2 & 63];
    return (unsigned)four >> (c & 3) * 2 & 3u;
}

#endif
