// SPDX-License-Identifier: MIT
// Packing of floats in plain C, for a level whose cells are floats; the file that includes it
// compiles it for its instruction set, TILE(name) being a name with the level behind it.
#ifndef INKI_TRAIN_GEMM_PACK_H
#define INKI_TRAIN_GEMM_PACK_H

#include "train/gemm_parts.h"

#include <string.h>

static void TILE(pack_row)(float *out, size_t pitch, const float *x, size_t n) {
    for (; n >= INKI_GEMM_LINE; n -= INKI_GEMM_LINE, x += INKI_GEMM_LINE, out += pitch)
        memcpy(out, x, INKI_GEMM_LINE * sizeof(float));
    if (n == 0) return;
    memset(out, 0, INKI_GEMM_LINE * sizeof(float));
    memcpy(out, x, n * sizeof(float));
}

static void TILE(pack_across)(float *out, size_t pitch, size_t step, const float *x,
                              const float *next, size_t n) {
    (void)next;
    for (; n >= pitch; n -= pitch, x += pitch, out += step)
        for (size_t i = 0; i < pitch; i++) out[i] = x[i];
    if (n == 0) return;
    for (size_t i = 0; i < pitch; i++) out[i] = i < n ? x[i] : 0;
}

static void TILE(pack_turned)(float *out, size_t pitch, const float *x, size_t x_stride,
                              size_t n_rows, size_t n_filled, size_t n) {
    for (size_t k = 0; k < n; k++, out += pitch) {
        for (size_t i = 0; i < n_rows; i++) out[i] = x[i * x_stride + k];
        for (size_t i = n_rows; i < n_filled; i++) out[i] = 0;
    }
}

#endif
