// SPDX-License-Identifier: MIT
#include "tokenizer/special_tokens.h"

#include <string.h>

static bool special_before(const inki_special *a, const inki_special *b) {
    const size_t n = a->text.bytes < b->text.bytes ? a->text.bytes : b->text.bytes;
    const int order = memcmp(a->text.data, b->text.data, n);
    if (order != 0) return order < 0;
    return a->text.bytes != b->text.bytes ? a->text.bytes < b->text.bytes : a->id < b->id;
}

static void special_sift(inki_special *list, size_t n, size_t at) {
    const inki_special moving = list[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && special_before(&list[child], &list[child + 1])) child++;
        if (!special_before(&moving, &list[child])) break;
        list[at] = list[child];
    }
    list[at] = moving;
}

// Heapsort: the C library's qsort may allocate behind the caller's allocator, and may be quadratic.
static void special_sort(inki_special *list, size_t n) {
    for (size_t i = n / 2; i-- > 0;) special_sift(list, n, i);
    for (size_t end = n; end-- > 1;) {
        const inki_special last = list[end];
        list[end] = list[0];
        list[0] = last;
        special_sift(list, end, 0);
    }
}

void inki_specials_prepare(inki_specials *specials) {
    special_sort(specials->list, specials->n);
    uint32_t at = 0;
    specials->n_control = 0;
    for (unsigned b = 0; b < 257; b++) {
        while (at < specials->n && (uint8_t)specials->list[at].text.data[0] < b) at++;
        specials->first[b] = at;
    }
    for (uint32_t i = 0; i < specials->n; i++) specials->n_control += specials->list[i].control;
}

// First entry in [low, high), all longer than `depth` and equal before it, whose byte there is >=
// b.
static uint32_t special_bound(const inki_special *list, uint32_t low, uint32_t high, size_t depth,
                              unsigned b) {
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if ((uint8_t)list[middle].text.data[depth] < b)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The longest entry that s [n] begins with. The candidates are a range of the ordered list; each
// further byte of the text narrows it, so the cost does not grow with the number of entries.
static const inki_special *special_at(const inki_specials *specials, const uint8_t *s, size_t n,
                                      bool control) {
    const inki_special *list = specials->list, *best = NULL;
    uint32_t low = specials->first[s[0]], high = specials->first[s[0] + 1u];
    for (size_t depth = 1; low < high; depth++) {
        for (; low < high && list[low].text.bytes == depth; low++)
            if ((control || !list[low].control) && (best == NULL || best->text.bytes < depth))
                best = &list[low];
        if (depth == n) break;
        low = special_bound(list, low, high, depth, s[depth]);
        high = special_bound(list, low, high, depth, s[depth] + 1u);
    }
    return best;
}

const inki_special *inki_specials_find(const inki_specials *specials, const char *s, size_t n,
                                       size_t at, bool control, size_t *found) {
    if (specials->n == (control ? 0 : specials->n_control)) return NULL;
    const uint8_t *bytes = (const uint8_t *)s;
    for (; at < n; at++) {
        if (specials->first[bytes[at]] == specials->first[bytes[at] + 1u]) continue;
        const inki_special *best = special_at(specials, bytes + at, n - at, control);
        if (best == NULL) continue;
        *found = at;
        return best;
    }
    return NULL;
}
