// SPDX-License-Identifier: MIT
// UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef INKI_BASE_UTF8_H
#define INKI_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

// Length of the character at s [n] and its code point in *c; 0 if the bytes there are not one.
size_t inki_utf8_decode(const uint8_t *s, size_t n, uint32_t *c);

// Writes code point c to out [4] and returns its length (1-4); c must be a scalar value.
size_t inki_utf8_encode(uint32_t c, char *out);

// Nonzero if s [n] could still become a character when more bytes follow: it is a proper, so far
// valid, beginning of one. n > 0.
int inki_utf8_is_prefix(const uint8_t *s, size_t n);

// How many of the bytes s [n] belong to no character.
size_t inki_utf8_count_invalid(const uint8_t *s, size_t n);

#endif
