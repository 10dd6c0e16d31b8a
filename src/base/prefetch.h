// SPDX-License-Identifier: MIT
// Memory that is wanted soon.
#ifndef INKI_BASE_PREFETCH_H
#define INKI_BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { INKI_LINE = 64 };

// Asks for the lines of [from, from + bytes), from the first one's address on in steps of a line.
// An address and no pointer: it may lie behind an object, where no pointer may point, and even
// where nothing is.
static inline void inki_prefetch(uintptr_t from, size_t bytes) {
#if defined(__GNUC__)
    for (size_t i = 0; i < bytes; i += INKI_LINE) __builtin_prefetch((const void *)(from + i));
#else
    (void)from;
    (void)bytes;
#endif
}

#endif
