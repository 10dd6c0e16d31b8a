// SPDX-License-Identifier: MIT
// The first of the largest of x [n], n >= 1: the greedy choice, for measuring. In sixteens, which
// compilers make vectors of: one by one it would cost as much as a quarter of a small model's pass.
#ifndef CLI_LARGEST_H
#define CLI_LARGEST_H

#include <stddef.h>

static inline size_t cli_largest(const float *x, size_t n) {
    float most[16];
    for (size_t j = 0; j < 16; j++) most[j] = x[0];
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 16; j++) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
    for (; i < n; i++) most[0] = x[i] > most[0] ? x[i] : most[0];
    for (size_t j = 1; j < 16; j++) most[0] = most[j] > most[0] ? most[j] : most[0];
    for (i = 0; i + 1 < n && x[i] != most[0];) i++;
    return i;
}

#endif
