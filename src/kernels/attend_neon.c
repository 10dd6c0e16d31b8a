// SPDX-License-Identifier: MIT
// Attention over a tile, and what is stored in it. Keys are columns, so lanes are positions there;
// values are rows, so lanes are dimensions. Four queries go together: each key and value is widened
// once for all of them.
#include "kernels/levels.h"
#include "kernels/neon_inline.h"

#include "base/half.h"
#include "inkling/inkling.h"

#if defined(INKI_HAVE_NEON)
#include <math.h>

// Four queries by sixteen positions (or dimensions), or one by 64, have sixteen registers of sums:
// enough of them for the additions not to wait for each other.
enum { ATTEND_NEON_Q = 4, ATTEND_NEON_SUMS = 16 };

// What one call knows of its tile.
typedef struct attend_neon {
    float *acc;
    size_t acc_stride;
    inki_softmax *state;
    const float *q;
    size_t q_stride;
    const uint8_t *keys, *values;
    size_t row_bytes, head_dim;
    float scale;
} attend_neon;

// Sixteen columns of dimension d from position `first` on.
INKI_TEMPLATE void attend_keys_neon(uint32_t kv_type, float32x4_t v[4], const uint8_t *k, size_t d,
                                    size_t first) {
    if (kv_type == INK_KV_F32)
        inki_neon_load16(v, (const float *)(const void *)k + d * INKI_TILE + first, 16);
    else if (kv_type == INK_KV_F16)
        inki_neon_halves16(v, k + 2 * (d * INKI_TILE + first), 16);
    else
        inki_neon_bytes16(v, (const int8_t *)k + 2 * INKI_TILE + d * INKI_TILE + first);
}

// Sixteen dimensions of a value row from `at` on, or the `n` that it has left.
INKI_TEMPLATE void attend_values_neon(uint32_t kv_type, float32x4_t v[4], const uint8_t *row,
                                      size_t at, size_t n) {
    if (kv_type == INK_KV_F32) {
        inki_neon_load16(v, (const float *)(const void *)row + at, n);
    } else if (kv_type == INK_KV_F16) {
        inki_neon_halves16(v, row + 2 * at, n);
    } else { // a block is whole, filled up with zeros
        const uint8_t *block = row + at / INKI_Q8_BLOCK * 34;
        uint16_t d;
        memcpy(&d, block, sizeof d);
        const float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(d)));
        inki_neon_bytes16(v, (const int8_t *)block + 2 + at % INKI_Q8_BLOCK);
        for (int i = 0; i < 4; i++) v[i] = vmulq_f32(v[i], scale);
    }
}

// s[4 (n_t i + j) ...] += q row i times keys of the j-th sixteen positions, over dimensions [0, n):
// one sum a position, in rising order.
INKI_TEMPLATE void attend_dims_neon(uint32_t kv_type, size_t n_q, size_t n_t, float32x4_t *s,
                                    const float *q, size_t q_stride, const uint8_t *k, size_t first,
                                    size_t n) {
    for (size_t d = 0; d < n; d++)
#pragma GCC unroll 4
        for (size_t j = 0; j < n_t; j++) {
            float32x4_t v[4];
            attend_keys_neon(kv_type, v, k, d, first + 16 * j);
#pragma GCC unroll 16
            for (size_t i = 0; i < 4 * n_q; i++) {
                float32x4_t *sum = &s[i / 4 * 4 * n_t + 4 * j + i % 4];
                *sum = vfmaq_n_f32(*sum, v[i % 4], q[i / 4 * q_stride + d]);
            }
        }
}

// p[i] + first: scores of n_t times sixteen positions from `first` on.
INKI_TEMPLATE void attend_scores_neon(uint32_t kv_type, size_t n_q, size_t n_t,
                                      const attend_neon *a, const float *q, float p[][INKI_TILE],
                                      size_t first) {
    const size_t n_s = 4 * n_q * n_t;
    float32x4_t s[ATTEND_NEON_SUMS];
#pragma GCC unroll 16
    for (size_t i = 0; i < n_s; i++) s[i] = vdupq_n_f32(0);
    if (kv_type != INK_KV_Q8_0) {
        attend_dims_neon(kv_type, n_q, n_t, s, q, a->q_stride, a->keys, first, a->head_dim);
    } else { // a block's sum, then its scale
        const uint8_t *k = a->keys;
        for (size_t d = 0; d < a->head_dim; d += INKI_Q8_BLOCK, k += 34 * INKI_TILE) {
            const size_t left = a->head_dim - d;
            float32x4_t sum[ATTEND_NEON_SUMS], scale[16];
#pragma GCC unroll 16
            for (size_t i = 0; i < n_s; i++) sum[i] = vdupq_n_f32(0);
            attend_dims_neon(kv_type, n_q, n_t, sum, q + d, a->q_stride, k, first,
                             left < INKI_Q8_BLOCK ? left : INKI_Q8_BLOCK);
            for (size_t j = 0; j < n_t; j++)
                inki_neon_halves16(scale + 4 * j, k + 2 * (first + 16 * j), 16);
#pragma GCC unroll 16
            for (size_t i = 0; i < n_s; i++) s[i] = vfmaq_f32(s[i], sum[i], scale[i % (4 * n_t)]);
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < n_s; i++)
        vst1q_f32(&p[i / (4 * n_t)][first + 4 * (i % (4 * n_t))], vmulq_n_f32(s[i], a->scale));
}

// p [n_pos] from scores to weights; returns what the sums so far keep.
static float attend_softmax_neon(float p[INKI_TILE], inki_softmax *state, size_t n_pos) {
    const size_t n = (n_pos + 15) / 16 * 16;
    for (size_t t = n_pos; t < n; t++) p[t] = -INFINITY;
    float32x4_t most = vdupq_n_f32(state->max);
    // A NaN is no maximum: it stays among the scores and reaches the sum.
    for (size_t t = 0; t < n; t += 4) most = vmaxnmq_f32(most, vld1q_f32(p + t));
    const float max = vmaxnmvq_f32(most);
    const float32x4_t down = vdupq_n_f32(max);
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t t = 0; t < n; t += 16)
        for (size_t i = 0; i < 4; i++) {
            const float32x4_t e = inki_neon_exp(vsubq_f32(vld1q_f32(p + t + 4 * i), down));
            vst1q_f32(p + t + 4 * i, e);
            sum[i] = vaddq_f32(sum[i], e);
        }
    const float keep = vgetq_lane_f32(inki_neon_exp(vdupq_n_f32(state->max - max)), 0);
    state->sum = state->sum * keep + inki_neon_fold(sum);
    state->max = max;
    return keep;
}

// s[4 (n_t i + j) ...] += p * v over positions [from, to), j-th sixteen dimensions from `at` on; n
// of them are there, less than sixteen only where n_t is 1.
INKI_TEMPLATE void attend_positions_neon(uint32_t kv_type, size_t n_q, size_t n_t,
                                         const attend_neon *a, float32x4_t *s, float p[][INKI_TILE],
                                         size_t from, size_t to, size_t at, size_t n) {
    for (size_t t = from; t < to; t++)
#pragma GCC unroll 4
        for (size_t j = 0; j < n_t; j++) {
            float32x4_t v[4];
            attend_values_neon(kv_type, v, a->values + t * a->row_bytes, at + 16 * j, n);
#pragma GCC unroll 16
            for (size_t i = 0; i < 4 * n_q; i++) {
                float32x4_t *sum = &s[i / 4 * 4 * n_t + 4 * j + i % 4];
                *sum = vfmaq_n_f32(*sum, v[i % 4], p[i / 4][t]);
            }
        }
}

// acc = acc * keep + sum over positions of p * v, in rising positions; query i sees n_pos[i] of
// them. Those that not all see are added to each alone: a product with 0 is not nothing, since what
// it meets may be infinite.
INKI_TEMPLATE void attend_sum_neon(uint32_t kv_type, size_t n_q, size_t n_t, const attend_neon *a,
                                   float *acc, float p[][INKI_TILE], const float *keep,
                                   const size_t *n_pos, size_t at, size_t n) {
    float32x4_t s[ATTEND_NEON_SUMS];
    for (size_t i = 0; i < n_q; i++)
        for (size_t j = 0; j < n_t; j++)
            inki_neon_load16(s + 4 * (n_t * i + j), acc + i * a->acc_stride + at + 16 * j, n);
#pragma GCC unroll 16
    for (size_t i = 0; i < 4 * n_q * n_t; i++) s[i] = vmulq_n_f32(s[i], keep[i / (4 * n_t)]);
    attend_positions_neon(kv_type, n_q, n_t, a, s, p, 0, n_pos[0], at, n);
#pragma GCC unroll 4
    for (size_t i = 0; i < n_q; i++) {
        float *out = acc + i * a->acc_stride + at;
        if (i > 0)
            attend_positions_neon(kv_type, 1, 1, a, s + 4 * i, p + i, n_pos[0], n_pos[i], at, n);
        for (size_t j = 0; j < 4 * n_t && 4 * j < n * n_t; j++)
            inki_neon_store_n(out + 4 * j, s[4 * n_t * i + j], n_t > 1 ? 4 : n - 4 * j);
    }
}

// n_q queries from query `first` on; the first of them sees n positions.
INKI_TEMPLATE void attend_queries_neon(uint32_t kv_type, size_t n_q, const attend_neon *a,
                                       size_t first, size_t n) {
    const size_t wide = ATTEND_NEON_Q / n_q;
    float p[ATTEND_NEON_Q][INKI_TILE], keep[ATTEND_NEON_Q];
    size_t n_pos[ATTEND_NEON_Q], t = 0, at = 0;
    const float *q = a->q + first * a->q_stride;
    for (size_t i = 0; i < n_q; i++) n_pos[i] = n + i < INKI_TILE ? n + i : INKI_TILE;
    const size_t n_columns = (n_pos[n_q - 1] + 15) / 16 * 16;
    for (; wide > 1 && t + 16 * wide <= n_columns; t += 16 * wide)
        attend_scores_neon(kv_type, n_q, wide, a, q, p, t);
    for (; t < n_columns; t += 16) attend_scores_neon(kv_type, n_q, 1, a, q, p, t);
    for (size_t i = 0; i < n_q; i++)
        keep[i] = attend_softmax_neon(p[i], &a->state[first + i], n_pos[i]);
    float *acc = a->acc + first * a->acc_stride;
    for (; wide > 1 && at + 16 * wide <= a->head_dim; at += 16 * wide)
        attend_sum_neon(kv_type, n_q, wide, a, acc, p, keep, n_pos, at, 16);
    for (; at + 16 <= a->head_dim; at += 16)
        attend_sum_neon(kv_type, n_q, 1, a, acc, p, keep, n_pos, at, 16);
    if (at < a->head_dim)
        attend_sum_neon(kv_type, n_q, 1, a, acc, p, keep, n_pos, at, a->head_dim - at);
}

#define ATTEND_SLOT(name, kv_type)                                                                 \
    static void name##_four(const attend_neon *a, size_t first, size_t n) {                        \
        attend_queries_neon(kv_type, ATTEND_NEON_Q, a, first, n);                                  \
    }                                                                                              \
    static void name##_one(const attend_neon *a, size_t first, size_t n) {                         \
        attend_queries_neon(kv_type, 1, a, first, n);                                              \
    }                                                                                              \
    static void name(float *acc, size_t acc_stride, inki_softmax *state, const float *q,           \
                     size_t q_stride, size_t n_q, const void *keys, const void *values,            \
                     size_t n_pos, size_t head_dim, float scale) {                                 \
        const size_t row_bytes = inki_kv_row_bytes(kv_type, head_dim);                             \
        const attend_neon a = {acc,                                                                \
                               acc_stride,                                                         \
                               state,                                                              \
                               q,                                                                  \
                               q_stride,                                                           \
                               (const uint8_t *)keys,                                              \
                               (const uint8_t *)values,                                            \
                               row_bytes,                                                          \
                               head_dim,                                                           \
                               scale};                                                             \
        size_t i = 0;                                                                              \
        for (; i + ATTEND_NEON_Q <= n_q; i += ATTEND_NEON_Q) name##_four(&a, i, n_pos + i);        \
        for (; i < n_q; i++) name##_one(&a, i, n_pos + i);                                         \
    }
ATTEND_SLOT(attend_f32_neon, INK_KV_F32)
ATTEND_SLOT(attend_f16_neon, INK_KV_F16)
ATTEND_SLOT(attend_q8_0_neon, INK_KV_Q8_0)
#undef ATTEND_SLOT

// Four values as halves: FCVTN rounds to nearest even.
static void attend_store_halves_neon(uint16_t *to, size_t stride, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        uint16_t h[4];
        vst1_u16(h, vreinterpret_u16_f16(vcvt_f16_f32(inki_neon_load_n(x + i, n - i))));
        for (size_t j = 0; j < 4 && i + j < n; j++) to[(i + j) * stride] = h[j];
    }
}

static void store_key_f16_neon(void *keys, size_t pos, const float *x, size_t head_dim) {
    uint16_t *k = (uint16_t *)keys + pos;
    for (size_t d = 0; pos % 16 == 0 && d < head_dim; d++) {
        vst1q_u16(k + d * INKI_TILE, vdupq_n_u16(0));
        vst1q_u16(k + d * INKI_TILE + 8, vdupq_n_u16(0));
    }
    attend_store_halves_neon(k, INKI_TILE, x, head_dim);
}

static void store_value_f16_neon(void *values, size_t pos, const float *x, size_t head_dim) {
    attend_store_halves_neon((uint16_t *)values + pos * head_dim, 1, x, head_dim);
}

void inki_attend_neon(inki_kernels *table) {
    table->attend[INK_KV_F32] = attend_f32_neon;
    table->attend[INK_KV_F16] = attend_f16_neon;
    table->attend[INK_KV_Q8_0] = attend_q8_0_neon;
    table->store_key[INK_KV_F16] = store_key_f16_neon;
    table->store_value[INK_KV_F16] = store_value_f16_neon;
}
#endif
