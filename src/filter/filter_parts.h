// SPDX-License-Identifier: MIT
// What a filter is made of. One block: the struct, the list, the bytes.
#ifndef INKI_FILTER_PARTS_H
#define INKI_FILTER_PARTS_H

#include "filter/filter.h"

#include <stdatomic.h>

// Folded, in UTF-8, without ignorable characters, white space inside as one U+0020, none outside.
typedef struct inki_phrase {
    uint32_t at; // in ink_filter.text
    uint32_t bytes;
} inki_phrase;

struct ink_filter {
    atomic_uint refs;
    uint32_t n;
    inki_mem mem;
    size_t block_bytes, reach;
    const uint8_t *text;
    inki_phrase
        phrases[]; // [n] by their bytes, all different; a shorter one before its longer ones
};

// Longest run of white space and ignorable characters inside a phrase in a text.
enum { INKI_FILTER_GAP = 64 };

#endif
