// SPDX-License-Identifier: MIT
// Memory that runs out, for what takes an inki_mem.
#ifndef TESTS_FAIL_MEM_H
#define TESTS_FAIL_MEM_H

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

// Counts blocks and bytes, and fails the n-th allocation (0: none).
typedef struct fail_mem {
    size_t n_calls, fail_at, n_blocks, n_bytes;
} fail_mem;

static inline void *fail_mem_alloc(void *user, size_t bytes, size_t align) {
    fail_mem *m = user;
    if (++m->n_calls == m->fail_at) return NULL;
    void *p = NULL;
    if (posix_memalign(&p, align, bytes) != 0) return NULL;
    memset(p, 0xa5, bytes); // whoever trusts fresh memory to be 0 shall see
    m->n_blocks++;
    m->n_bytes += bytes;
    return p;
}
static inline void fail_mem_release(void *user, void *memory, size_t bytes) {
    fail_mem *m = user;
    m->n_blocks--;
    m->n_bytes -= bytes;
    free(memory);
}
static inline inki_mem fail_mem_over(fail_mem *m) {
    return (inki_mem){fail_mem_alloc, fail_mem_release, m};
}

#endif
