// SPDX-License-Identifier: MIT
// What block weights stand for, from the formats' definitions and in other code than src/ has.
#ifndef TESTS_TRUE_BLOCKS_H
#define TESTS_TRUE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

// All block types, ending with 0 (F32's number).
extern const uint32_t true_block_types[];

// Element i of a row of any weight type, exactly. If min is not NULL, it gets what was subtracted:
// the value is a product less it.
double true_weight(uint32_t type, const void *row, size_t i, double *min);

// Columns that share a scale: 32 or 16; 1 for float types.
size_t true_group(uint32_t type);

#endif
