// SPDX-License-Identifier: MIT
// An allocator for tests: counts, checks sizes, and can fail the n-th request.
#ifndef TESTS_HEAP_H
#define TESTS_HEAP_H

#include "inkling/inkling.h"

#include <stdatomic.h>

typedef struct heap {
    atomic_size_t live_bytes, peak_bytes, live_blocks, n_allocs;
    atomic_size_t fail_at;     // this request (1 is the first) fails, 0: none
    atomic_int wrong_releases; // released with another size than asked for
} heap;

ink_allocator heap_allocator(heap *h);

#endif
