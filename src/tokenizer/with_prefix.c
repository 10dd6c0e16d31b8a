// SPDX-License-Identifier: MIT
#include "tokenizer/heal.h"
#include "tokenizer/tokenizer_parts.h"

#include <string.h>

// There is no table to search: a scan of all tokens costs 30 to 150 microseconds for GPT-2's, once
// for a suggestion, while a sorted index would cost memory, and time whenever a model is opened.
// Nearly all tokens differ in their first eight bytes, which one comparison tells.
uint32_t inki_tokenizer_with_prefix(const inki_tokenizer *t, const char *prefix, size_t n,
                                    uint64_t *set) {
    const size_t n_head = n < 8 ? n : 8, end = t->offsets[t->n_vocab];
    uint64_t head = 0, mask = 0;
    memcpy(&head, prefix, n_head);
    memset(&mask, 0xff, n_head);
    if (set != NULL) memset(set, 0, inki_tokenizer_set_words(t) * sizeof *set);
    uint32_t n_found = 0;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        const size_t at = t->offsets[id];
        uint64_t first = 0;
        if (end - at >= sizeof first)
            memcpy(&first, t->blob + at, sizeof first);
        else
            memcpy(&first, t->blob + at, end - at);
        if (((first ^ head) & mask) != 0) continue;
        if (t->offsets[id + 1] - at < n || t->kinds[id] != INKI_KIND_TEXT) continue;
        if (n > n_head && memcmp(t->blob + at, prefix, n) != 0) continue;
        if (set == NULL) return 1;
        set[id / 64] |= (uint64_t)1 << id % 64;
        n_found++;
    }
    return n_found;
}
