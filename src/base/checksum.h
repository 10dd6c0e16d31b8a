// SPDX-License-Identifier: MIT
// A 64-bit checksum against damage, not against forgers: bytes that differ in one of their 8-byte
// words never have the same one, others by chance, once in 2^64. It does not depend on how the
// bytes are cut into pieces. Files have it, so it stays as it is.
#ifndef INKI_BASE_CHECKSUM_H
#define INKI_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

enum { INKI_CHECKSUM_LANES = 4, INKI_CHECKSUM_BLOCK = 32 };

typedef struct inki_checksum {
    uint64_t lanes[INKI_CHECKSUM_LANES];
    uint64_t n; // bytes so far
    uint8_t rest[INKI_CHECKSUM_BLOCK];
} inki_checksum;

void inki_checksum_init(inki_checksum *sum);
void inki_checksum_add(inki_checksum *sum, const void *data, size_t bytes);
uint64_t inki_checksum_end(const inki_checksum *sum); // of all so far; may be gone on with
uint64_t inki_checksum_of(const void *data, size_t bytes);

#endif
