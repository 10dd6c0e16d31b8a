// SPDX-License-Identifier: MIT
// What the portable kernels of all block types share: a piece of a weight row is unpacked once into
// integers, scales and minimums, and then becomes floats or meets up to BLOCK_TILE activation rows,
// whose sums wait in memory between pieces. Neither the pieces nor the tile change the order in
// which an output's terms are added. Private to the portable kernels.
#ifndef INKI_KERNELS_BLOCKS_INLINE_H
#define INKI_KERNELS_BLOCKS_INLINE_H

#include "base/half.h"
#include "kernels/kernels.h"
#include "kernels/target.h"

// A piece is two blocks of 256 or sixteen of 32.
enum { BLOCK_PIECE = 512, BLOCK_TILE = 32 };

// Weight k is scale[k / group] * q[k] - min[k / group]; a group has 32 or 16 columns. Types without
// minimums leave min alone. 16 bits, since a multiply-add of pairs exists for those.
typedef struct block_piece {
    int16_t q[BLOCK_PIECE];
    float scale[BLOCK_PIECE / 16], min[BLOCK_PIECE / 16];
} block_piece;

// Fills the piece from n blocks.
typedef void (*block_unpack_fn)(block_piece *piece, const uint8_t *blocks, size_t n);

// What a type is made of: constants, so that they are filled in where the templates are inlined.
typedef struct block_form {
    size_t elems, bytes; // of a block
    size_t group;
    bool has_min;
} block_form;

static inline float block_half(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return inki_f16_to_f32(h);
}

static inline int32_t block_dot(const int16_t *restrict w, const int8_t *restrict x) {
    int32_t sum = 0; // exact, so its order is the compiler's to choose
    for (int i = 0; i < 32; i++) sum += w[i] * (int16_t)x[i];
    return sum;
}
static inline int32_t block_dot_half(const int16_t *restrict w, const int8_t *restrict x) {
    int32_t sum = 0;
#if defined(__GNUC__)
#pragma GCC unroll 1 // gcc would unroll it before it could vectorise it
#endif
    for (int i = 0; i < 16; i++) sum += w[i] * (int16_t)x[i];
    return sum;
}

// The sum of n groups of a piece with one activation row, added to `sum`; a group's product first,
// then its minimum.
INKI_TEMPLATE float block_sum(float sum, const block_piece *p, const int8_t *x,
                              const float *x_scale, const int16_t *x_sum, size_t n,
                              block_form form) {
    for (size_t i = 0; i < n; i++) {
        const size_t k = i * form.group;
        const float d = x_scale[k / INKI_Q8_BLOCK];
        const int32_t dot =
            form.group == 32 ? block_dot(p->q + k, x + k) : block_dot_half(p->q + k, x + k);
        sum += p->scale[i] * d * (float)dot;
        if (!form.has_min) continue;
        const int q_sum = form.group == 32 ? x_sum[2 * i] + x_sum[2 * i + 1] : x_sum[i];
        sum -= p->min[i] * (d * (float)q_sum);
    }
    return sum;
}

// sums [n_batch] = a weight row times the rows of acts; n_batch <= BLOCK_TILE.
INKI_TEMPLATE void block_row(float *sums, const uint8_t *w, const uint8_t *acts, size_t act_stride,
                             size_t n_cols, size_t n_batch, block_form form,
                             block_unpack_fn unpack) {
    block_piece piece;
    for (size_t b = 0; b < n_batch; b++) sums[b] = 0;
    for (size_t k = 0; k < n_cols; k += BLOCK_PIECE) {
        const size_t n = n_cols - k < BLOCK_PIECE ? n_cols - k : BLOCK_PIECE;
        unpack(&piece, w + k / form.elems * form.bytes, n / form.elems);
        for (size_t b = 0; b < n_batch; b++) {
            const uint8_t *act = acts + b * act_stride;
            sums[b] = block_sum(sums[b], &piece, (const int8_t *)act + k,
                                inki_act_scales(act, n_cols) + k / INKI_Q8_BLOCK,
                                inki_act_sums(act, n_cols) + k / 16, n / form.group, form);
        }
    }
}

INKI_TEMPLATE void block_matmul(float *out, size_t out_stride, const void *weights,
                                size_t row_bytes, const void *acts, size_t act_stride,
                                const float *bias, size_t n_rows, size_t n_cols, size_t n_batch,
                                block_form form, block_unpack_fn unpack) {
    for (size_t b = 0; b < n_batch; b += BLOCK_TILE) {
        const size_t n = n_batch - b < BLOCK_TILE ? n_batch - b : BLOCK_TILE;
        for (size_t r = 0; r < n_rows; r++) {
            float sums[BLOCK_TILE];
            block_row(sums, (const uint8_t *)weights + r * row_bytes,
                      (const uint8_t *)acts + b * act_stride, act_stride, n_cols, n, form, unpack);
            for (size_t i = 0; i < n; i++)
                out[(b + i) * out_stride + r] = bias != NULL ? sums[i] + bias[r] : sums[i];
        }
    }
}

INKI_TEMPLATE void block_dequantize(float *restrict out, const uint8_t *row, size_t n,
                                    block_form form, block_unpack_fn unpack) {
    block_piece piece;
    for (size_t k = 0; k < n; k += form.elems, row += form.bytes) {
        unpack(&piece, row, 1);
        for (size_t g = 0; g < form.elems; g += 16) // a fixed count inside: vectorised at -O2 too
            for (size_t i = 0; i < 16; i++) {
                const float v = piece.scale[g / form.group] * (float)piece.q[g + i];
                out[k + g + i] = form.has_min ? v - piece.min[g / form.group] : v;
            }
    }
}

// The two slots of a type: matmul_x_c and dequantize_x_c, from unpack_x_c and a block_form.
#define BLOCK_SLOTS(type, ...)                                                                     \
    static void matmul_##type##_c(                                                                 \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        block_matmul(out, out_stride, weights, row_bytes, acts, act_stride, bias, n_rows, n_cols,  \
                     n_batch, (block_form){__VA_ARGS__}, unpack_##type##_c);                       \
    }                                                                                              \
    static void dequantize_##type##_c(float *out, const void *row, size_t n) {                     \
        block_dequantize(out, (const uint8_t *)row, n, (block_form){__VA_ARGS__},                  \
                         unpack_##type##_c);                                                       \
    }

#endif
