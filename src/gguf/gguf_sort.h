// SPDX-License-Identifier: MIT
// Sorting of indices, inside this room only.
#ifndef INKI_GGUF_SORT_H
#define INKI_GGUF_SORT_H

#include "base/cursor.h"

// Whether item a comes before item b.
typedef bool (*inki_gguf_less_fn)(const void *items, uint32_t a, uint32_t b);

// Fills order [n] with 0 to n - 1 and sorts it. Steps: at most about 2 n log2 n whatever the items
// are; needs no memory.
void inki_gguf_sort(uint32_t *order, size_t n, inki_gguf_less_fn less, const void *items);

// -1, 0, 1: byte by byte; of two texts of which one begins the other the shorter comes first.
int inki_gguf_compare(inki_str a, inki_str b);

#endif
