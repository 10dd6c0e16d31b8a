// SPDX-License-Identifier: MIT
// Rows of block types without a quantiser.
#ifndef TESTS_RANDOM_BLOCKS_H
#define TESTS_RANDOM_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

// Any bytes are a valid block, as long as its halves are finite. Fills rows of n elements, n_bytes
// altogether, with random bytes and random halves of magnitude 2^low to 2^high and either sign
// (-24 and 15: all that there are, zero now and then).
void random_blocks(uint32_t type, void *rows, size_t n_bytes, int low, int high, uint64_t seed);

// The same with scales such as weights of a model may have.
void random_row(uint32_t type, void *row, size_t n_bytes, uint64_t seed);

#endif
