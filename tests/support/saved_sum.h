// SPDX-License-Identifier: MIT
// The checksum at the end of a saved session, written down once more: docs/FORMATS.md.
#ifndef TESTS_SAVED_SUM_H
#define TESTS_SAVED_SUM_H

#include "base/checksum.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// data [bytes], more than a head. Where its counts say nonsense there are no pages.
static inline uint64_t saved_sum(const uint8_t *data, size_t bytes) {
    enum { PAGE_BYTES = 80, N_PAST = 88, HEAD_BYTES = 256, TILE = 64, N_MOST = 1 << 20 };
    uint64_t page_bytes, n_past, n_pages = 0;
    memcpy(&page_bytes, data + PAGE_BYTES, sizeof page_bytes);
    memcpy(&n_past, data + N_PAST, sizeof n_past);
    if (n_past < N_MOST && page_bytes < bytes) n_pages = (n_past + TILE - 1) / TILE;
    if (n_pages * page_bytes > bytes - HEAD_BYTES - 8) n_pages = 0;
    const uint8_t *page = data + bytes - 8 - n_pages * page_bytes;
    inki_checksum sum;
    inki_checksum_init(&sum);
    inki_checksum_add(&sum, data, (size_t)(page - data));
    for (; n_pages > 0; n_pages--, page += page_bytes) {
        const uint64_t own = inki_checksum_of(page, (size_t)page_bytes);
        inki_checksum_add(&sum, &own, sizeof own);
    }
    return inki_checksum_end(&sum);
}

#endif
