// SPDX-License-Identifier: MIT
// Products of float weights: sixteen sums an output, in four registers, with fused multiply-adds.
// A tile of four weight rows by one activation row or of two by two has 64 sums: all that the
// registers hold. Rows that are not there repeat the last one, and their results are dropped.
#include "kernels/levels.h"
#include "kernels/neon_inline.h"

#include "base/half.h"

#if defined(INKI_HAVE_NEON)
enum { FLOATS_NEON_CHUNK = 1024, FLOATS_NEON_BATCH = 32, FLOATS_NEON_DIRECT = 4 };

// Sixteen weights.
INKI_TEMPLATE void weights16_neon(uint32_t type, float32x4_t v[4], const uint8_t *p) {
    if (type == INKI_F32) {
        inki_neon_load16(v, (const float *)(const void *)p, 16);
        return;
    }
    if (type == INKI_F16) {
        inki_neon_halves16(v, p, 16);
        return;
    }
    const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(p));
    const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(p + 16));
    v[0] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(low), 16));
    v[1] = vreinterpretq_f32_u32(vshll_high_n_u16(low, 16));
    v[2] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(high), 16));
    v[3] = vreinterpretq_f32_u32(vshll_high_n_u16(high, 16));
}

INKI_TEMPLATE size_t weight_bytes_neon(uint32_t type) { return type == INKI_F32 ? 4 : 2; }

// total[(r * n_x + b) * 4 ...] += weight row r times activation row b over n columns, a multiple of
// 16.
INKI_TEMPLATE void floats_loop_neon(uint32_t type, size_t n_w, size_t n_x, float32x4_t *total,
                                    const uint8_t *const *w, const float *const *x, size_t n) {
    float32x4_t sums[16];
    const uint8_t *row[4];
    const float *act[2];
#pragma GCC unroll 4
    for (size_t r = 0; r < n_w; r++) row[r] = w[r];
#pragma GCC unroll 2
    for (size_t b = 0; b < n_x; b++) act[b] = x[b];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) sums[i] = total[i];
    for (size_t k = 0; k < n; k += 16) {
        float32x4_t a[2][4];
#pragma GCC unroll 2
        for (size_t b = 0; b < n_x; b++) {
            inki_neon_load16(a[b], act[b], 16);
            act[b] += 16;
        }
#pragma GCC unroll 4
        for (size_t r = 0; r < n_w; r++) {
            float32x4_t v[4];
            if (n_w == 4) inki_neon_afresh(); // 16 registers of weights are not to spare
            weights16_neon(type, v, row[r]);
            row[r] += 16 * weight_bytes_neon(type);
#pragma GCC unroll 8
            for (size_t i = 0; i < 4 * n_x; i++) {
                float32x4_t *sum = &sums[4 * n_x * r + i];
                *sum = vfmaq_f32(*sum, v[i % 4], a[i / 4][i % 4]);
            }
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) total[i] = sums[i];
}

// A function each: what it holds in registers it then has for itself.
typedef void (*floats_loop_fn)(float32x4_t *total, const uint8_t *const *w, const float *const *x,
                               size_t n);
#define LOOP(name, type, n_w, n_x)                                                                 \
    static void name(float32x4_t *total, const uint8_t *const *w, const float *const *x,           \
                     size_t n) {                                                                   \
        floats_loop_neon(type, n_w, n_x, total, w, x, n);                                          \
    }
LOOP(loop_f32_4x1_neon, INKI_F32, 4, 1)
LOOP(loop_f32_2x2_neon, INKI_F32, 2, 2)
LOOP(loop_f16_4x1_neon, INKI_F16, 4, 1)
LOOP(loop_f16_2x2_neon, INKI_F16, 2, 2)
LOOP(loop_bf16_4x1_neon, INKI_BF16, 4, 1)
LOOP(loop_bf16_2x2_neon, INKI_BF16, 2, 2)
#undef LOOP

// The same over any number of columns: the end of the rows goes through copies filled up with
// zeros, whose products change no sum.
static void floats_tile_neon(floats_loop_fn loop, size_t bytes, size_t n_w, size_t n_x,
                             float32x4_t *total, const uint8_t *const *w, const float *const *x,
                             size_t n) {
    const size_t whole = n / 16 * 16;
    if (whole > 0) loop(total, w, x, whole);
    if (whole == n) return;
    float ends_w[4][16] = {{0}}, ends_x[2][16] = {{0}};
    const uint8_t *end_w[4];
    const float *end_x[2];
    for (size_t r = 0; r < n_w; r++) {
        memcpy(ends_w[r], w[r] + whole * bytes, (n - whole) * bytes);
        end_w[r] = (const uint8_t *)ends_w[r];
    }
    for (size_t b = 0; b < n_x; b++) {
        memcpy(ends_x[b], x[b] + whole, (n - whole) * sizeof(float));
        end_x[b] = ends_x[b];
    }
    loop(total, end_w, end_x, 16);
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
static void floats_one_neon(floats_loop_fn loop, size_t bytes, const floats_call_neon *c) {
    const float *x[1] = {floats_act_neon(c, 0)};
    for (size_t r = 0; r < c->n_rows; r += 4) {
        const uint8_t *w[4] = {floats_row_neon(c, r), floats_row_neon(c, r + 1),
                               floats_row_neon(c, r + 2), floats_row_neon(c, r + 3)};
        float32x4_t sums[16];
        floats_zero_neon(sums, 16);
        floats_tile_neon(loop, bytes, 4, 1, sums, w, x, c->n_cols);
        for (size_t i = 0; i < 4; i++) floats_put_neon(c, r + i, 0, sums + 4 * i);
    }
}

static void floats_put_2x2_neon(const floats_call_neon *c, size_t r, size_t b,
                                const float32x4_t *sums) {
    for (size_t i = 0; i < 4; i++) floats_put_neon(c, r + i / 2, b + i % 2, sums + 4 * i);
}

static void floats_few_neon(floats_loop_fn loop, size_t bytes, const floats_call_neon *c) {
    for (size_t first = 0; first < c->n_batch; first += FLOATS_NEON_BATCH)
        for (size_t r = 0; r < c->n_rows; r += 2) {
            const size_t end = floats_least_neon(first + FLOATS_NEON_BATCH, c->n_batch);
            const uint8_t *w[2] = {floats_row_neon(c, r), floats_row_neon(c, r + 1)};
            for (size_t b = first; b < end; b += 2) {
                const float *x[2] = {floats_act_neon(c, b), floats_act_neon(c, b + 1)};
                float32x4_t sums[16];
                floats_zero_neon(sums, 16);
                floats_tile_neon(loop, bytes, 2, 2, sums, w, x, c->n_cols);
                floats_put_2x2_neon(c, r, b, sums);
            }
        }
}

// wide [n] = the weights at w.
INKI_TEMPLATE void floats_widen_neon(uint32_t type, float *wide, const uint8_t *w, size_t n) {
    float32x4_t v[4];
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        weights16_neon(type, v, w + 2 * k);
        for (size_t i = 0; i < 4; i++) vst1q_f32(wide + k + 4 * i, v[i]);
    }
    for (; k < n; k++) {
        uint16_t h;
        memcpy(&h, w + 2 * k, sizeof h);
        wide[k] = type == INKI_F16 ? inki_f16_to_f32(h) : inki_bf16_to_f32(h);
    }
}

// Many: chunks of two weight rows are widened once, sums wait in memory between chunks.
INKI_TEMPLATE void floats_many_neon(uint32_t type, const floats_call_neon *c) {
    for (size_t first = 0; first < c->n_batch; first += FLOATS_NEON_BATCH)
        for (size_t r = 0; r < c->n_rows; r += 2) {
            const size_t n_b = floats_least_neon(FLOATS_NEON_BATCH, c->n_batch - first);
            float32x4_t sums[FLOATS_NEON_BATCH / 2 * 16];
            float wide[2][FLOATS_NEON_CHUNK];
            const uint8_t *w[2] = {(const uint8_t *)wide[0], (const uint8_t *)wide[1]};
            floats_zero_neon(sums, FLOATS_NEON_BATCH / 2 * 16);
            for (size_t k = 0; k < c->n_cols; k += FLOATS_NEON_CHUNK) {
                const size_t n = floats_least_neon(FLOATS_NEON_CHUNK, c->n_cols - k);
                for (size_t i = 0; i < 2; i++)
                    floats_widen_neon(type, wide[i], floats_row_neon(c, r + i) + 2 * k, n);
                for (size_t b = 0; b < n_b; b += 2) {
                    const float *x[2] = {floats_act_neon(c, first + b) + k,
                                         floats_act_neon(c, first + b + 1) + k};
                    floats_tile_neon(loop_f32_2x2_neon, 4, 2, 2, sums + b / 2 * 16, w, x, n);
                }
            }
            for (size_t b = 0; b < n_b; b += 2)
                floats_put_2x2_neon(c, r, first + b, sums + b / 2 * 16);
        }
}

#define FLOATS_SLOT(name, type, loop)                                                              \
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
            floats_one_neon(loop##_4x1_neon, weight_bytes_neon(type), &c);                         \
        else if (n_batch <= FLOATS_NEON_DIRECT || (type) == INKI_F32)                              \
            floats_few_neon(loop##_2x2_neon, weight_bytes_neon(type), &c);                         \
        else                                                                                       \
            floats_many_neon(type, &c);                                                            \
    }
FLOATS_SLOT(matmul_f32_neon, INKI_F32, loop_f32)
FLOATS_SLOT(matmul_f16_neon, INKI_F16, loop_f16)
FLOATS_SLOT(matmul_bf16_neon, INKI_BF16, loop_bf16)
#undef FLOATS_SLOT

void inki_floats_neon(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_neon;
    table->matmul[INKI_F16] = matmul_f16_neon;
    table->matmul[INKI_BF16] = matmul_bf16_neon;
}
#endif
