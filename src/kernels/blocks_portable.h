// SPDX-License-Identifier: MIT
// What the portable kernels of all block types share: a piece of a weight row is unpacked once into
// integers, scales and minimums, and then becomes floats or meets up to BLOCK_TILE activation rows,
// whose sums wait in memory between pieces. Neither the pieces nor the tile change the order in
// which an output's terms are added. Once for all types: a call for each piece costs nothing beside
// it, and a copy for each type would cost a kilobyte and a half. Private to the portable kernels.
#ifndef INKI_KERNELS_BLOCKS_PORTABLE_H
#define INKI_KERNELS_BLOCKS_PORTABLE_H

#include "base/half.h"
#include "kernels/kernels.h"
#include "kernels/target.h"

// A piece is two blocks of 256 or sixteen of 32.
enum { BLOCK_PIECE = 512 };

// Weight k is scale[k / group] * q[k] - min[k / group]; a group has 32 or 16 columns. Types without
// minimums leave min alone. 16 bits, since a multiply-add of pairs exists for those.
typedef struct block_piece {
    int16_t q[BLOCK_PIECE];
    float scale[BLOCK_PIECE / 16], min[BLOCK_PIECE / 16];
} block_piece;

// Fills the piece from n blocks.
typedef void (*block_unpack_fn)(block_piece *restrict piece, const uint8_t *restrict blocks,
                                size_t n);

// What a type is made of.
typedef struct block_form {
    size_t elems, bytes; // of a block
    size_t group;
    bool has_min;
    block_unpack_fn unpack;
} block_form;

static inline float block_half(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return inki_f16_to_f32(h);
}

// A product of a table's slot, but for the form.
typedef struct block_product {
    float *out;
    size_t out_stride;
    const uint8_t *weights;
    size_t row_bytes;
    const uint8_t *acts;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols, n_batch;
} block_product;
void inki_kernels_block_matmul(const block_product *m, const block_form *form);
void inki_kernels_block_dequantize(float *out, const uint8_t *row, size_t n,
                                   const block_form *form);

// The two slots of a type: matmul_x_c and dequantize_x_c, from unpack_x_c and a block_form.
#define BLOCK_SLOTS(type, elems, bytes, group, has_min)                                            \
    static const block_form form_##type##_c = {elems, bytes, group, has_min, unpack_##type##_c};   \
    static void matmul_##type##_c(                                                                 \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        const block_product m = {out,        out_stride, weights, row_bytes, acts,                 \
                                 act_stride, bias,       n_rows,  n_cols,    n_batch};             \
        inki_kernels_block_matmul(&m, &form_##type##_c);                                           \
    }                                                                                              \
    static void dequantize_##type##_c(float *out, const void *row, size_t n) {                     \
        inki_kernels_block_dequantize(out, row, n, &form_##type##_c);                              \
    }

#endif
