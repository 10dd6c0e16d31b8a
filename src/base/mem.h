// SPDX-License-Identifier: MIT
// Memory through the caller's allocator. All blocks are aligned to 64 bytes.
#ifndef INKI_BASE_MEM_H
#define INKI_BASE_MEM_H

#include "inkling/inkling.h"

#include <stdbool.h>

enum { INKI_ALIGN = 64 };

typedef struct inki_mem {
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*release)(void *user, void *memory, size_t bytes);
    void *user;
} inki_mem;

// The C library's allocator, or the caller's when `allocator` is not NULL.
inki_mem inki_mem_from(const ink_allocator *allocator);

// False on overflow; else *out = a * b.
bool inki_mul(size_t a, size_t b, size_t *out);

// n elements of elem_bytes, uninitialised; NULL on overflow, without memory, or for 0 bytes.
void *inki_alloc(const inki_mem *mem, size_t n, size_t elem_bytes);
// The same, zeroed.
void *inki_alloc_zero(const inki_mem *mem, size_t n, size_t elem_bytes);
// Releases what was allocated with the same n and elem_bytes. NULL is allowed.
void inki_release(const inki_mem *mem, void *memory, size_t n, size_t elem_bytes);

// A block carved into pieces. Run the same carving twice: with base NULL it only adds up (`used` is
// then the size to allocate), with a base it hands out the pieces.
typedef struct inki_arena {
    uint8_t *base;
    size_t used;
    bool overflow; // a size did not fit into size_t
} inki_arena;
// A piece of n elements aligned to 64 bytes; NULL while adding up.
void *inki_arena_take(inki_arena *arena, size_t n, size_t elem_bytes);

#endif
