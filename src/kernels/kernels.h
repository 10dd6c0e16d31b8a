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
size_t inki_act_row_bytes(inki_act_form form, size_t n);
// INKI_ACT_Q8, n a multiple of 32: int8 q[n], float d[n / 32], int16 sum[n / 16]. A value is d * q;
// sum k is that of q[16 k] to q[16 k + 15], for weights that are stored above a zero point.
static inline const float *inki_act_scales(const void *row, size_t n) {
    return (const float *)(const void *)((const uint8_t *)row + n);
}
static inline const int16_t *inki_act_sums(const void *row, size_t n) {
    return (const int16_t *)(const void *)((const uint8_t *)row + n + n / 8);
}

// The KV cache holds, for each head, tiles of INKI_TILE positions; a tile has two halves of
// INKI_TILE * inki_kv_row_bytes bytes each, aligned to 64.
// Values: a row for each position.
//   F16: half v[64][head_dim]. F32: float. Q8_0: blocks of 32 (the last may be short, padded
//   with 0), 34 bytes each: half d, int8 q[32].
// Keys: a column for each position, so that the scores of neighbours lie side by side in a vector.
//   F16: half k[head_dim][64]. F32: float. Q8_0: for each block of 32 dimensions (the last one
//   padded with 0) half d[64], int8 q[32][64].
size_t inki_kv_row_bytes(uint32_t kv_type, size_t head_dim);

// Writes key x [head_dim] as column pos of a tile. Where pos is a multiple of 16, the 15 columns
// after it become zero: columns may be read in sixteens once the first of them is there.
typedef void (*inki_store_key_fn)(void *keys, size_t pos, const float *x, size_t head_dim);
// Writes value x [head_dim] as row pos.
typedef void (*inki_store_value_fn)(void *values, size_t pos, const float *x, size_t head_dim);

// Copies columns [0, n) of a head's keys, rounded up to sixteen.
void inki_kv_copy_keys(uint32_t kv_type, void *to, const void *from, size_t n, size_t head_dim);

// Queries of one head against a tile, by online softmax, each as if it were alone.
// q, acc: n_q >= 1 rows of head_dim floats, *_stride floats apart. acc starts as 0.
// state [n_q]: running maximum, running sum; starts as -INFINITY, 0.
// Query 0 sees the tile's first n_pos positions (1 to 64), each next query one more, at most 64.
// A query meets tiles in rising order, all but its last one full.
typedef struct inki_softmax {
    float max, sum;
} inki_softmax;
typedef void (*inki_attend_fn)(float *acc, size_t acc_stride, inki_softmax *state, const float *q,
                               size_t q_stride, size_t n_q, const void *keys, const void *values,
                               size_t n_pos, size_t head_dim, float scale);

typedef struct inki_kernels {
    const char *name; // level: "portable", "avx2", ...
    // Multiplications that are worth another thread: some 2 to 5 microseconds of work. Handing them
    // over and waiting for them costs a few tenths.
    uint32_t part_work;
    inki_matmul_fn matmul[INKI_TENSOR_TYPES]; // NULL: a type without kernels
    // out [n] = the row's values; n a multiple of the type's block.
    void (*dequantize[INKI_TENSOR_TYPES])(float *out, const void *row, size_t n);
    // out: an INKI_ACT_Q8 row of x [n], n a multiple of 32; scale = max|x| / 127 a block.
    void (*quantize_act)(void *out, const float *x, size_t n);
    // out [n] = (x - mean) / sqrt(variance + eps) * gain + bias. May not overlap.
    void (*layer_norm)(float *out, const float *x, const float *gain, const float *bias, size_t n,
                       float eps);
    void (*gelu)(float *x, size_t n);                              // in place, the tanh form
    void (*add)(float *x, const float *y, float factor, size_t n); // x += factor * y
    void (*scale)(float *x, float factor, size_t n);               // x *= factor
    inki_store_key_fn store_key[INKI_KV_TYPES];
    inki_store_value_fn store_value[INKI_KV_TYPES];
    inki_attend_fn attend[INKI_KV_TYPES];
    // Nonzero if all of x [n] is finite.
    int (*all_finite)(const float *x, size_t n);
} inki_kernels;

// Instruction-set levels, in rising order within an architecture. A level needs all those below it,
// in the machine and in the mask: bit 1 << level (ink_cpu_level in the public header). Portable is
// always there.
#define INKI_LEVEL_MAP(X)                                                                          \
    X(PORTABLE, "portable")                                                                        \
    X(AVX2, "avx2")             /* AVX2, FMA, F16C */                                              \
    X(AVX512, "avx512")         /* AVX-512 F, BW, DQ, VL */                                        \
    X(AVX512VNNI, "avx512vnni") /* and VNNI, VBMI */                                               \
    X(NEON, "neon")             /* AArch64's baseline */                                           \
    X(DOTPROD, "dotprod")       /* sdot */                                                         \
    X(I8MM, "i8mm")             /* smmla */
typedef enum inki_level {
#define INKI_LEVEL_ENUM(name, text) INKI_LEVEL_##name,
    INKI_LEVEL_MAP(INKI_LEVEL_ENUM)
#undef INKI_LEVEL_ENUM
        INKI_LEVELS
} inki_level;
const char *inki_level_name(uint32_t level);  // NULL: no such level
int32_t inki_level_by_name(const char *name); // -1: none
uint32_t inki_cpu_levels(void);               // bits of the levels that this machine has
// The bits of `level` and all below it: what a mask must have for it.
uint32_t inki_level_mask(uint32_t level);

// Fills the table with the best that the machine and `mask` allow.
void inki_kernels_init(inki_kernels *table, uint32_t mask);

// Weights for the writer side (convert): quantises x [n] into a row of `type` by rounding each
// value to the type's nearest (F32, F16, BF16, Q8_0, Q4_0; n a multiple of its block). False: no
// such quantiser.
bool inki_quantize_row(uint32_t type, void *row, const float *x, size_t n);
// Whether a row of such a type can have a value of this magnitude: the scale of a block is a half,
// types without blocks hold the numbers themselves.
bool inki_quantize_holds(uint32_t type, float largest);

#endif
