// SPDX-License-Identifier: MIT
// What a filter is made of. One block: the struct, the list, the bytes.
#ifndef INKI_FILTER_PARTS_H
#define INKI_FILTER_PARTS_H

#include "filter/filter.h"

#include <stdatomic.h>

struct ink_filter {
    atomic_uint refs;
    uint32_t n;
    inki_mem mem;
    size_t block_bytes, reach;
    // Phrases with a 0 byte each: folded, in UTF-8, without ignorable characters, white space
    // inside as one U+0020, none outside.
    const uint8_t *text;
    uint32_t phrases[]; // [n] where each begins; sorted by their bytes, all different
};

// Longest run of white space and ignorable characters inside a phrase in a text.
enum { INKI_FILTER_GAP = 64 };

#endif
