// SPDX-License-Identifier: MIT
// The table of kernels: arithmetic on rows of numbers. Kernels know no model and no threads; the
// caller cuts the work. Portable C fills the table first, then each instruction set overwrites what
// it has.
//
// Same bytes (docs/NUMERICS.md): every output number is made by the same sequence of operations,
// whatever the number of rows or columns in a call, so that a batch gives what single rows give.
#ifndef INKI_KERNELS_H
#define INKI_KERNELS_H

#include "base/tensor_type.h"

enum { INKI_KV_TYPES = 3, INKI_TILE = 64, INKI_MAX_HEAD_DIM = 1024, INKI_Q8_BLOCK = 32 };

// out[b * out_stride + r] = dot(weights row r, activations row b) + (bias ? bias[r] : 0)
// for r < n_rows, b < n_batch.
// weights [n_rows, n_cols] at row_bytes each, in the type of the slot.
// acts [n_batch, n_cols] in the form inki_act_form(type), act_stride bytes apart.
typedef void (*inki_matmul_fn)(float *out, size_t out_stride, const void *weights, size_t row_bytes,
                               const void *acts, size_t act_stride, const float *bias,
                               size_t n_rows, size_t n_cols, size_t n_batch);

// Activations of float weights stay floats; those of block types become signed bytes, a row at a
// time.
typedef enum inki_act_form { INKI_ACT_F32, INKI_ACT_Q8 } inki_act_form;
inki_act_form inki_act_form_of(uint32_t type);
// Bytes of an activation row of n values, a multiple of 64.
// INKI_ACT_Q8: int8 q[n], then (from the next multiple of 4) float d[n / 32]; value = d * q.
size_t inki_act_row_bytes(inki_act_form form, size_t n);

// A row of one head's key or value in the KV cache: head_dim values.
// F16: halves. F32: floats. Q8_0: blocks of 32 (the last may be short, padded with 0), 34 bytes
// each.
size_t inki_kv_row_bytes(uint32_t kv_type, size_t head_dim);

// One query against a tile of n_pos <= 64 positions of one head, by online softmax.
// state: running maximum, running sum (start: -INFINITY, 0); acc [head_dim] (start: 0).
// k, v: n_pos rows in the slot's kv type, kv_row_bytes apart.
// Tiles come in rising order and begin at absolute multiples of 64.
typedef struct inki_softmax {
    float max, sum;
} inki_softmax;
typedef void (*inki_attend_fn)(float *acc, inki_softmax *state, const float *q, const void *k,
                               const void *v, size_t kv_row_bytes, size_t n_pos, size_t head_dim,
                               float scale);

typedef struct inki_kernels {
    const char *name;                         // level: "portable", "avx2", ...
    inki_matmul_fn matmul[INKI_TENSOR_TYPES]; // NULL: a type without kernels
    // out [n] = the row's values; n a multiple of the type's block.
    void (*dequantize[INKI_TENSOR_TYPES])(float *out, const void *row, size_t n);
    // out: an INKI_ACT_Q8 row of x [n], n a multiple of 32; scale = max|x| / 127 a block.
    void (*quantize_act)(void *out, const float *x, size_t n);
    // out [n] = (x - mean) / sqrt(variance + eps) * gain + bias. May not overlap.
    void (*layer_norm)(float *out, const float *x, const float *gain, const float *bias, size_t n,
                       float eps);
    void (*gelu)(float *x, size_t n);                // in place, the tanh form
    void (*add)(float *x, const float *y, size_t n); // x += y
    void (*scale)(float *x, float factor, size_t n); // x *= factor
    // Writes x [head_dim] as a row of the KV cache.
    void (*kv_store[INKI_KV_TYPES])(void *row, const float *x, size_t head_dim);
    inki_attend_fn attend[INKI_KV_TYPES];
    // Nonzero if all of x [n] is finite.
    int (*all_finite)(const float *x, size_t n);
} inki_kernels;

// Fills the table with the best that the machine and `mask` allow.
void inki_kernels_init(inki_kernels *table, uint32_t mask);

// Weights for the writer side (convert): quantises x [n] into a row of `type` (F32, F16, BF16,
// Q8_0, Q4_0; n a multiple of its block). False: no such quantiser.
bool inki_quantize_row(uint32_t type, void *row, const float *x, size_t n);

#endif
