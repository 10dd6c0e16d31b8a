// SPDX-License-Identifier: MIT
// Products of float weights: sixteen sums an output, in four registers, with fused multiply-adds.
// A tile of four weight rows by one activation row or of two by two has 64 sums: all that the
// registers hold. Rows that are not there repeat the last one, and their results are dropped.
#include "kernels/levels.h"
#include "kernels/neon_inline.h"

#include "base/half.h"

#if defined(INKI_HAVE_NEON)
enum { FLOATS_NEON_CHUNK = 1024, FLOATS_NEON_BATCH = 32, FLOATS_NEON_DIRECT = 4 };

// Sixteen weights at p, of which the row has n more.
INKI_TEMPLATE void weights16_neon(uint32_t type, float32x4_t v[4], const uint8_t *p, size_t n) {
    if (type == INKI_F32) {
        inki_neon_load16(v, (const float *)(const void *)p, n);
        return;
    }
    if (type == INKI_F16) {
        inki_neon_halves16(v, p, n);
        return;
    }
    uint16_t end[16] = {0};
    if (n < 16) {
        memcpy(end, p, 2 * n);
        p = (const uint8_t *)end;
    }
    const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(p));
    const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(p + 16));
    v[0] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16));
    v[1] = vreinterpretq_f32_u32(vshll_high_n_u16(low, 16));
    v[2] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16));
    v[3] = vreinterpretq_f32_u32(vshll_high_n_u16(high, 16));
}

// sums[(r * n_x + b) * 4 ...] += weight row r times activation row b, over n columns.
INKI_TEMPLATE void floats_step_neon(uint32_t type, size_t n_w, size_t n_x, float32x4_t *sums,
                                    const uint8_t *const *w, const float *const *x, size_t k,
                                    size_t n) {
    const size_t bytes = type == INKI_F32 ? 4 : 2;
    float32x4_t a[2][4];
#pragma GCC unroll 2
    for (size_t b = 0; b < n_x; b++) inki_neon_load16(a[b], x[b] + k, n);
#pragma GCC unroll 4
    for (size_t r = 0; r < n_w; r++) {
        float32x4_t v[4];
        weights16_neon(type, v, w[r] + k * bytes, n);
#pragma GCC unroll 2
        for (size_t b = 0; b < n_x; b++)
#pragma GCC unroll 4
            for (size_t i = 0; i < 4; i++)
                sums[(r * n_x + b) * 4 + i] = vfmaq_f32(sums[(r * n_x + b) * 4 + i], v[i], a[b][i]);
    }
}
INKI_TEMPLATE void floats_tile_neon(uint32_t type, size_t n_w, size_t n_x, float32x4_t *total,
                                    const uint8_t *const *w, const float *const *x, size_t n) {
    float32x4_t sums[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) sums[i] = total[i];
    size_t k = 0;
    for (; k + 16 <= n; k += 16) floats_step_neon(type, n_w, n_x, sums, w, x, k, 16);
    if (k < n) floats_step_neon(type, n_w, n_x, sums, w, x, k, n - k);
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) total[i] = sums[i];
}

typedef struct floats_call_neon {
    float *out;
    size_t out_stride;
    const uint8_t *weights;
    size_t row_bytes;
    const uint8_t *acts;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols, n_batch;
} floats_call_neon;

static inline size_t floats_least_neon(size_t a, size_t b) { return a < b ? a : b; }
static const uint8_t *floats_row_neon(const floats_call_neon *c, size_t r) {
    return c->weights + floats_least_neon(r, c->n_rows - 1) * c->row_bytes;
}
static const float *floats_act_neon(const floats_call_neon *c, size_t b) {
    const uint8_t *row = c->acts + floats_least_neon(b, c->n_batch - 1) * c->act_stride;
    return (const float *)(const void *)row;
}
static void floats_put_neon(const floats_call_neon *c, size_t r, size_t b, const float32x4_t *sum) {
    if (r >= c->n_rows || b >= c->n_batch) return;
    const float f = inki_neon_fold(sum);
    c->out[b * c->out_stride + r] = c->bias != NULL ? f + c->bias[r] : f;
}
static void floats_zero_neon(float32x4_t *sums, size_t n) {
    for (size_t i = 0; i < n; i++) sums[i] = vdupq_n_f32(0);
}

// One activation row: nothing is used twice but the activations.
INKI_TEMPLATE void floats_one_neon(uint32_t type, const floats_call_neon *c) {
    const float *x[1] = {floats_act_neon(c, 0)};
    for (size_t r = 0; r < c->n_rows; r += 4) {
        const uint8_t *w[4] = {floats_row_neon(c, r), floats_row_neon(c, r + 1),
                               floats_row_neon(c, r + 2), floats_row_neon(c, r + 3)};
        float32x4_t sums[16];
        floats_zero_neon(sums, 16);
        floats_tile_neon(type, 4, 1, sums, w, x, c->n_cols);
        for (size_t i = 0; i < 4; i++) floats_put_neon(c, r + i, 0, sums + 4 * i);
    }
}

static inline void floats_put_2x2_neon(const floats_call_neon *c, size_t r, size_t b,
                                       const float32x4_t *sums) {
    for (size_t i = 0; i < 4; i++) floats_put_neon(c, r + i / 2, b + i % 2, sums + 4 * i);
}

INKI_TEMPLATE void floats_few_neon(uint32_t type, const floats_call_neon *c) {
    for (size_t first = 0; first < c->n_batch; first += FLOATS_NEON_BATCH)
        for (size_t r = 0; r < c->n_rows; r += 2) {
            const size_t end = floats_least_neon(first + FLOATS_NEON_BATCH, c->n_batch);
            const uint8_t *w[2] = {floats_row_neon(c, r), floats_row_neon(c, r + 1)};
            for (size_t b = first; b < end; b += 2) {
                const float *x[2] = {floats_act_neon(c, b), floats_act_neon(c, b + 1)};
                float32x4_t sums[16];
                floats_zero_neon(sums, 16);
                floats_tile_neon(type, 2, 2, sums, w, x, c->n_cols);
                floats_put_2x2_neon(c, r, b, sums);
            }
        }
}

// Many: chunks of two weight rows are widened once, sums wait in memory between chunks.
INKI_TEMPLATE void floats_many_neon(uint32_t type, const floats_call_neon *c) {
    const size_t bytes = type == INKI_F32 ? 4 : 2;
    for (size_t first = 0; first < c->n_batch; first += FLOATS_NEON_BATCH)
        for (size_t r = 0; r < c->n_rows; r += 2) {
            const size_t n_b = floats_least_neon(FLOATS_NEON_BATCH, c->n_batch - first);
            float32x4_t sums[FLOATS_NEON_BATCH / 2 * 16];
            float wide[2][FLOATS_NEON_CHUNK];
            floats_zero_neon(sums, FLOATS_NEON_BATCH / 2 * 16);
            for (size_t k = 0; k < c->n_cols; k += FLOATS_NEON_CHUNK) {
                const size_t n = floats_least_neon(FLOATS_NEON_CHUNK, c->n_cols - k);
                const uint8_t *w[2];
                for (size_t i = 0; i < 2; i++) {
                    const uint8_t *row = floats_row_neon(c, r + i) + k * bytes;
                    for (size_t j = 0; j < n; j += 16) {
                        float32x4_t v[4];
                        weights16_neon(type, v, row + j * bytes, n - j);
                        for (size_t l = 0; l < 4; l++) vst1q_f32(wide[i] + j + 4 * l, v[l]);
                    }
                    w[i] = (const uint8_t *)wide[i];
                }
                for (size_t b = 0; b < n_b; b += 2) {
                    const float *x[2] = {floats_act_neon(c, first + b) + k,
                                         floats_act_neon(c, first + b + 1) + k};
                    floats_tile_neon(INKI_F32, 2, 2, sums + b / 2 * 16, w, x, n);
                }
            }
            for (size_t b = 0; b < n_b; b += 2)
                floats_put_2x2_neon(c, r, first + b, sums + b / 2 * 16);
        }
}

#define FLOATS_SLOT(name, type)                                                                    \
    static void name(float *out, size_t out_stride, const void *weights, size_t row_bytes,         \
                     const void *acts, size_t act_stride, const float *bias, size_t n_rows,        \
                     size_t n_cols, size_t n_batch) {                                              \
        const floats_call_neon c = {out,                                                           \
                                    out_stride,                                                    \
                                    (const uint8_t *)weights,                                      \
                                    row_bytes,                                                     \
                                    (const uint8_t *)acts,                                         \
                                    act_stride,                                                    \
                                    bias,                                                          \
                                    n_rows,                                                        \
                                    n_cols,                                                        \
                                    n_batch};                                                      \
        if (n_batch == 1)                                                                          \
            floats_one_neon(type, &c);                                                             \
        else if (n_batch <= FLOATS_NEON_DIRECT || (type) == INKI_F32)                              \
            floats_few_neon(type, &c);                                                             \
        else                                                                                       \
            floats_many_neon(type, &c);                                                            \
    }
FLOATS_SLOT(matmul_f32_neon, INKI_F32)
FLOATS_SLOT(matmul_f16_neon, INKI_F16)
FLOATS_SLOT(matmul_bf16_neon, INKI_BF16)
#undef FLOATS_SLOT

void inki_floats_neon(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_neon;
    table->matmul[INKI_F16] = matmul_f16_neon;
    table->matmul[INKI_BF16] = matmul_bf16_neon;
}
#endif
