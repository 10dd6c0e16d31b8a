// SPDX-License-Identifier: MIT
#include "filter/fold.h"

#include "filter/fold_tables.h"
#include "tokenizer/unicode_scripts.h"
#include "tokenizer/unicode_tables.h"

#include <stddef.h>

// How many of the rising list [n] are not above key.
static size_t count_to(const uint32_t *list, size_t n, uint32_t key) {
    size_t from = 0;
    while (from < n) {
        const size_t middle = (from + n) / 2;
        if (list[middle] <= key)
            from = middle + 1;
        else
            n = middle;
    }
    return from;
}

uint32_t inki_filter_fold(uint32_t c) {
    if (c < 0x80) return c - 'A' < 26 ? c + ('a' - 'A') : c;
    const size_t n = count_to(inki_filter_fold_ranges, INKI_FOLD_RANGES, c << 8 | 0xff);
    if (n == 0) return c;
    const uint32_t range = inki_filter_fold_ranges[n - 1];
    const uint32_t behind = c - (range >> 8);
    if (behind > (range >> 1 & 0x7f) || (range & behind & 1) != 0) return c;
    return (c & ~0xffffu) | ((c + inki_filter_fold_deltas[n - 1]) & 0xffff);
}

unsigned inki_filter_kind(uint32_t c) {
    static const uint8_t kinds[] = {INKI_KIND_OTHER, INKI_KIND_WORD, INKI_KIND_WORD,
                                    INKI_KIND_SPACE};
    if (c >= 0x80) {
        if (inki_unicode_is_unspaced(c)) return INKI_KIND_UNSPACED;
        const size_t n = count_to(inki_filter_kind_starts, INKI_KIND_STARTS, c << 2 | 3);
        const uint32_t start = n > 0 ? inki_filter_kind_starts[n - 1] & 3 : 0;
        if (start != 0) return start == 1 ? INKI_KIND_WORD : INKI_KIND_SKIP;
    }
    return kinds[inki_unicode_class(c)];
}
