// SPDX-License-Identifier: MIT
#include "gguf/gguf_sort.h"

#include <string.h>

static void sift_down(uint32_t *order, size_t root, size_t n, inki_gguf_less_fn less,
                      const void *items) {
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n) return;
        if (child + 1 < n && less(items, order[child], order[child + 1])) child++;
        if (!less(items, order[root], order[child])) return;
        const uint32_t moved = order[root];
        order[root] = order[child];
        order[child] = moved;
        root = child;
    }
}

// A heap sort: qsort may be quadratic or allocate behind the host's back, and a hash table can be
// filled with keys that collide by whoever writes the file.
void inki_gguf_sort(uint32_t *order, size_t n, inki_gguf_less_fn less, const void *items) {
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;) sift_down(order, i, n, less, items);
    for (size_t end = n; end > 1; end--) {
        const uint32_t largest = order[0];
        order[0] = order[end - 1];
        order[end - 1] = largest;
        sift_down(order, 0, end - 1, less, items);
    }
}

int inki_gguf_compare(inki_str a, inki_str b) {
    const size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    const int order = n > 0 ? memcmp(a.data, b.data, n) : 0;
    if (order != 0) return order < 0 ? -1 : 1;
    return a.bytes == b.bytes ? 0 : a.bytes < b.bytes ? -1 : 1;
}
