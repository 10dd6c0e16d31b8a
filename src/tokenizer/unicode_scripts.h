// SPDX-License-Identifier: MIT
// Scripts that are written without blanks between words.
#ifndef INKI_UNICODE_SCRIPTS_H
#define INKI_UNICODE_SCRIPTS_H

#include <stdbool.h>
#include <stdint.h>

// Whether c belongs to Han, Hiragana, Katakana (half-width too), Thai, Lao, Khmer or Myanmar: their
// letters, digits, marks and own punctuation. Not Hangul, and not the punctuation that scripts
// share.
bool inki_unicode_is_unspaced(uint32_t c);

#endif
