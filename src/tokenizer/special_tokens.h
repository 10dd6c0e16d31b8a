// SPDX-License-Identifier: MIT
// Finds tokens that are read in the text as they are, before any word is cut.
#ifndef INKI_SPECIAL_TOKENS_H
#define INKI_SPECIAL_TOKENS_H

#include "base/cursor.h"
#include "base/mem.h"

enum { INKI_SPECIAL_MAX_BYTES = 1024 }; // bounds the work at each byte of the text

typedef struct inki_special {
    inki_str text; // 1 to INKI_SPECIAL_MAX_BYTES bytes
    int32_t id;
    bool control; // only read when the caller asks for special tokens
} inki_special;

typedef struct inki_specials {
    inki_special *list; // [n], ordered by text
    uint32_t n, n_control;
    uint32_t first[257]; // list[first[b]] .. list[first[b + 1] - 1] begin with byte b
} inki_specials;

// Orders list [n] and fills the rest; the list stays the caller's.
void inki_specials_prepare(inki_specials *specials);

// The first place in s [n], from `at` on, where one stands; the longest one there, the lowest id of
// equal ones. NULL if there is none; else *found is the place.
const inki_special *inki_specials_find(const inki_specials *specials, const char *s, size_t n,
                                       size_t at, bool control, size_t *found);

#endif
