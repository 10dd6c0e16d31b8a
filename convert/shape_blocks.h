// SPDX-License-Identifier: MIT
// Random rows of each tensor type, made at the speed of memory: no quantiser is run.
#ifndef INKI_CONVERT_SHAPE_BLOCKS_H
#define INKI_CONVERT_SHAPE_BLOCKS_H

#include "base/tensor_type.h"

typedef struct inki_shape_random {
    uint64_t state;
} inki_shape_random;

// Fills out [n_blocks blocks of `type`], aligned to 8, with values of either sign and magnitudes
// about 0.02, as weights have them: activations stay finite through any number of layers.
// False: a type that is not made here.
bool inki_shape_fill(inki_shape_random *random, uint32_t type, void *out, size_t n_blocks);

#endif
