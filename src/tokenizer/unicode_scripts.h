// SPDX-License-Identifier: MIT
// Scripts that are written without blanks between words.
#ifndef INKI_UNICODE_SCRIPTS_H
#define INKI_UNICODE_SCRIPTS_H

#include <stdbool.h>
#include <stdint.h>

bool inki_unicode_search_unspaced(uint32_t c);

// Whether c belongs to Han, Hiragana, Katakana (half-width too), Thai, Lao, Khmer or Myanmar: their
// letters, digits, marks and own punctuation. Not Hangul, and not the punctuation that scripts
// share.
static inline bool inki_unicode_is_unspaced(uint32_t c) {
    // Most of what is asked for, without a search: up to Thai and Lao, Han, Hiragana, Hangul.
    if (c < 0x0e01) return false;
    if (c <= 0x0eff) return c < 0x0e3b || c > 0x0e3f;
    if ((c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3041 && c <= 0x309f)) return true;
    if (c >= 0xac00 && c <= 0xd7ff) return false;
    return inki_unicode_search_unspaced(c);
}

#endif
