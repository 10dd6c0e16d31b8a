// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *user, size_t bytes, size_t align) {
    (void)user;
    void *p = NULL;
    return posix_memalign(&p, align, bytes) == 0 ? p : NULL;
}

static void libc_release(void *user, void *memory, size_t bytes) {
    (void)user;
    (void)bytes;
    free(memory);
}

inki_mem inki_mem_from(const ink_allocator *allocator) {
    if (allocator == NULL || allocator->alloc == NULL || allocator->release == NULL)
        return (inki_mem){libc_alloc, libc_release, NULL};
    return (inki_mem){allocator->alloc, allocator->release, allocator->user};
}

bool inki_mul(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

void *inki_alloc(const inki_mem *mem, size_t n, size_t elem_bytes) {
    size_t bytes;
    if (!inki_mul(n, elem_bytes, &bytes) || bytes == 0) return NULL;
    return mem->alloc(mem->user, bytes, INKI_ALIGN);
}

void *inki_alloc_zero(const inki_mem *mem, size_t n, size_t elem_bytes) {
    void *p = inki_alloc(mem, n, elem_bytes);
    if (p != NULL) memset(p, 0, n * elem_bytes);
    return p;
}

void inki_release(const inki_mem *mem, void *memory, size_t n, size_t elem_bytes) {
    if (memory != NULL) mem->release(mem->user, memory, n * elem_bytes);
}

void *inki_arena_take(inki_arena *arena, size_t n, size_t elem_bytes) {
    size_t bytes;
    if (!inki_mul(n, elem_bytes, &bytes) || bytes > SIZE_MAX / 2 - arena->used) {
        arena->overflow = true;
        return NULL;
    }
    bytes = (bytes + INKI_ALIGN - 1) / INKI_ALIGN * INKI_ALIGN;
    void *piece = arena->base != NULL ? arena->base + arena->used : NULL;
    arena->used += bytes;
    return piece;
}
