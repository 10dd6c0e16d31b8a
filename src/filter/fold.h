// SPDX-License-Identifier: MIT
// Characters as the word filter compares them.
#ifndef INKI_FILTER_FOLD_H
#define INKI_FILTER_FOLD_H

#include <stdint.h>

enum {
    INKI_KIND_OTHER = 0,
    INKI_KIND_WORD = 1,     // a letter or digit, or a combining mark on one
    INKI_KIND_UNSPACED = 2, // of a script written without blanks
    INKI_KIND_SPACE = 3,    // Unicode's White_Space
    INKI_KIND_SKIP = 4      // Unicode's Default_Ignorable_Code_Point: not seen, so passed over
};

// Unicode's simple case folding.
uint32_t inki_filter_fold(uint32_t c);
// INKI_KIND_*. A character and what it folds to have the same.
unsigned inki_filter_kind(uint32_t c);

#endif
