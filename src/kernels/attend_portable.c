// SPDX-License-Identifier: MIT
// One query against one tile of keys and values, by online softmax: the sums so far are scaled down
// when a tile brings a larger score, so that no exponent ever overflows.
// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
#include "kernels/exp_inline.h"
#include "kernels/lanes.h"
#include "kernels/levels.h"

#include "inkling/inkling.h"

#include <math.h>

// Sixteen elements of a value row from `at` on, a multiple of 16; only the first n where the row
// ends.
typedef inki_lanes (*kv_load_fn)(const uint8_t *row, size_t at, size_t n);

INKI_TEMPLATE inki_lanes kv_load_f32(const uint8_t *row, size_t at, size_t n) {
    const float *x = (const float *)(const void *)row + at;
    return n == INKI_LANES ? inki_lanes_load(x) : inki_lanes_load_n(x, n);
}

INKI_TEMPLATE inki_lanes kv_load_f16(const uint8_t *row, size_t at, size_t n) {
    uint16_t h[INKI_LANES] = {0};
    float x[INKI_LANES];
    if (n == INKI_LANES)
        memcpy(h, row + 2 * at, sizeof h);
    else
        for (size_t i = 0; i < n; i++) memcpy(&h[i], row + 2 * (at + i), 2);
    for (int i = 0; i < INKI_LANES; i++) x[i] = inki_f16_to_f32(h[i]);
    return inki_lanes_load(x);
}

INKI_TEMPLATE inki_lanes kv_load_q8_0(const uint8_t *row, size_t at, size_t n) {
    (void)n; // the last block of a row is whole, filled up with zeros
    const uint8_t *block = row + at / 32 * 34;
    uint16_t d;
    memcpy(&d, block, sizeof d);
    const int8_t *q = (const int8_t *)(block + 2 + at % 32);
    float x[INKI_LANES];
    for (int i = 0; i < INKI_LANES; i++) x[i] = (float)q[i];
    return inki_lanes_mul(inki_lanes_splat(inki_f16_to_f32(d)), inki_lanes_load(x));
}

// Sixteen elements at p, where all sixteen are there.
INKI_TEMPLATE inki_lanes kv_whole_f32(const uint8_t *p) { return kv_load_f32(p, 0, INKI_LANES); }
INKI_TEMPLATE inki_lanes kv_whole_f16(const uint8_t *p) { return kv_load_f16(p, 0, INKI_LANES); }

// Scores of sixteen positions: products are added in rising dimensions, one sum a position.
typedef inki_lanes (*kv_score_fn)(const float *q, const uint8_t *k, size_t first, size_t head_dim);

INKI_TEMPLATE inki_lanes score_columns(const float *q, const uint8_t *k, size_t column_bytes,
                                       size_t n, inki_lanes (*load)(const uint8_t *)) {
    inki_lanes s = inki_lanes_splat(0);
    for (size_t d = 0; d < n; d++)
        s = inki_lanes_madd(s, inki_lanes_splat(q[d]), load(k + d * INKI_TILE * column_bytes));
    return s;
}

INKI_TEMPLATE inki_lanes score_f32(const float *q, const uint8_t *k, size_t first, size_t n) {
    return score_columns(q, k + first * 4, 4, n, kv_whole_f32);
}
INKI_TEMPLATE inki_lanes score_f16(const float *q, const uint8_t *k, size_t first, size_t n) {
    return score_columns(q, k + first * 2, 2, n, kv_whole_f16);
}
INKI_TEMPLATE inki_lanes kv_whole_i8(const uint8_t *p) {
    float x[INKI_LANES];
    for (int i = 0; i < INKI_LANES; i++) x[i] = (float)(int8_t)p[i];
    return inki_lanes_load(x);
}
// A block's sum first, then times its scale.
INKI_TEMPLATE inki_lanes score_q8_0(const float *q, const uint8_t *k, size_t first, size_t n) {
    inki_lanes s = inki_lanes_splat(0);
    for (size_t d = 0; d < n; d += 32, k += 34 * INKI_TILE) {
        const inki_lanes sum = score_columns(q + d, k + 2 * INKI_TILE + first, 1,
                                             n - d < 32 ? n - d : 32, kv_whole_i8);
        s = inki_lanes_madd(s, kv_whole_f16(k + first * 2), sum);
    }
    return s;
}

// acc = acc * keep + sum over positions of p * v, sixteen columns at a time, so that their sums
// stay in registers. Positions are added in rising order.
INKI_TEMPLATE void kv_accumulate(float *acc, float keep, const float *p, const uint8_t *v,
                                 size_t row_bytes, size_t n_pos, size_t head_dim, kv_load_fn load) {
    size_t i = 0;
    for (; i + INKI_LANES <= head_dim; i += INKI_LANES) {
        inki_lanes s = inki_lanes_mul(inki_lanes_load(acc + i), inki_lanes_splat(keep));
        for (size_t t = 0; t < n_pos; t++)
            s = inki_lanes_madd(s, inki_lanes_splat(p[t]), load(v + t * row_bytes, i, INKI_LANES));
        inki_lanes_store(acc + i, s);
    }
    if (i == head_dim) return;
    inki_lanes s = inki_lanes_mul(inki_lanes_load_n(acc + i, head_dim - i), inki_lanes_splat(keep));
    for (size_t t = 0; t < n_pos; t++)
        s = inki_lanes_madd(s, inki_lanes_splat(p[t]), load(v + t * row_bytes, i, head_dim - i));
    float end[INKI_LANES];
    inki_lanes_store(end, s);
    memcpy(acc + i, end, (head_dim - i) * sizeof *acc);
}

INKI_TEMPLATE void attend_one(float *acc, inki_softmax *state, const float *q, const void *k,
                              const void *v, size_t row_bytes, size_t n_pos, size_t head_dim,
                              float scale, kv_score_fn score, kv_load_fn load) {
    float p[INKI_TILE];
    float max = state->max;
    for (size_t t = 0; t < n_pos; t += INKI_LANES)
        inki_lanes_store(p + t, inki_lanes_mul(score(q, (const uint8_t *)k, t, head_dim),
                                               inki_lanes_splat(scale)));
    for (size_t t = 0; t < n_pos; t++) max = p[t] > max ? p[t] : max;
    const size_t n = (n_pos + INKI_LANES - 1) / INKI_LANES * INKI_LANES;
    for (size_t t = n_pos; t < n; t++) p[t] = -INFINITY;
    inki_lanes sum = inki_lanes_splat(0);
    for (size_t t = 0; t < n; t += INKI_LANES) {
        for (size_t i = 0; i < INKI_LANES; i++) p[t + i] = inki_exp(p[t + i] - max);
        sum = inki_lanes_add(sum, inki_lanes_load(p + t));
    }
    const float keep = inki_exp(state->max - max);
    state->sum = state->sum * keep + inki_lanes_fold(sum);
    state->max = max;
    kv_accumulate(acc, keep, p, (const uint8_t *)v, row_bytes, n_pos, head_dim, load);
}

#define ATTEND_SLOT(name, kv_type, score, load)                                                    \
    static void name(float *acc, size_t acc_stride, inki_softmax *state, const float *q,           \
                     size_t q_stride, size_t n_q, const void *keys, const void *values,            \
                     size_t n_pos, size_t head_dim, float scale) {                                 \
        const size_t row_bytes = inki_kv_row_bytes(kv_type, head_dim);                             \
        for (size_t i = 0; i < n_q; i++) {                                                         \
            const size_t n = n_pos + i < INKI_TILE ? n_pos + i : INKI_TILE;                        \
            attend_one(acc + i * acc_stride, &state[i], q + i * q_stride, keys, values, row_bytes, \
                       n, head_dim, scale, score, load);                                           \
        }                                                                                          \
    }
ATTEND_SLOT(attend_f32_c, INK_KV_F32, score_f32, kv_load_f32)
ATTEND_SLOT(attend_f16_c, INK_KV_F16, score_f16, kv_load_f16)
ATTEND_SLOT(attend_q8_0_c, INK_KV_Q8_0, score_q8_0, kv_load_q8_0)
#undef ATTEND_SLOT

void inki_kernels_attend_portable(inki_kernels *table) {
    table->attend[INK_KV_F32] = attend_f32_c;
    table->attend[INK_KV_F16] = attend_f16_c;
    table->attend[INK_KV_Q8_0] = attend_q8_0_c;
}
