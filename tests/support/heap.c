// SPDX-License-Identifier: MIT
#include "heap.h"

#include <stdlib.h>

// Each block remembers its size in front of itself, one alignment's width away.
typedef struct block_head {
    size_t bytes, align;
} block_head;

static void *heap_alloc(void *user, size_t bytes, size_t align) {
    heap *h = user;
    const size_t request = atomic_fetch_add(&h->n_allocs, 1) + 1;
    if (request == atomic_load(&h->fail_at)) return NULL;
    const size_t room = align > sizeof(block_head) ? align : 64;
    char *raw = NULL;
    if (posix_memalign((void **)&raw, room, room + bytes) != 0) return NULL;
    ((block_head *)(raw + room))[-1] = (block_head){bytes, room};
    const size_t live = atomic_fetch_add(&h->live_bytes, bytes) + bytes;
    size_t peak = atomic_load(&h->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&h->peak_bytes, &peak, live)) {}
    atomic_fetch_add(&h->live_blocks, 1);
    return raw + room;
}

static void heap_release(void *user, void *memory, size_t bytes) {
    heap *h = user;
    const block_head head = ((block_head *)memory)[-1];
    if (head.bytes != bytes) atomic_fetch_add(&h->wrong_releases, 1);
    atomic_fetch_sub(&h->live_bytes, head.bytes);
    atomic_fetch_sub(&h->live_blocks, 1);
    free((char *)memory - head.align);
}

ink_allocator heap_allocator(heap *h) {
    return (ink_allocator){
        .size = sizeof(ink_allocator), .alloc = heap_alloc, .release = heap_release, .user = h};
}
