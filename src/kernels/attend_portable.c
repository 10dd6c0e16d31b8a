// SPDX-License-Identifier: MIT
// One query against one tile of keys and values, by online softmax: the sums so
// far are scaled down when a tile brings a larger score, so that no exponent
// ever overflows. Source: Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018.
#include "base/exp_inline.h"
#include "kernels/lanes.h"
#include "kernels/levels.h"

#include "inkling/inkling.h"

#include <math.h>

enum { KV_ROWS = 64 }; // that are widened at a time

// Sixteen elements of each of n <= KV_ROWS rows, `stride` bytes apart, as
// floats.
typedef void (*kv_widen_fn)(float *restrict wide, const uint8_t *restrict from, size_t stride,
                            size_t n);
static void kv_widen_f32(float *restrict wide, const uint8_t *restrict from, size_t stride,
                         size_t n) {
    for (; n > 0; n--, wide += INKI_LANES, from += stride)
        memcpy(wide, from, INKI_LANES * sizeof *wide);
}
static void kv_widen_f16(float *restrict wide, const uint8_t *restrict from, size_t stride,
                         size_t n) {
    for (; n > 0; n--, wide += INKI_LANES, from += stride) {
        uint16_t h[INKI_LANES];
        memcpy(h, from, sizeof h);
        for (int i = 0; i < INKI_LANES; i++) wide[i] = inki_f16_to_f32(h[i]);
    }
}
static void kv_widen_i8(float *restrict wide, const uint8_t *restrict from, size_t stride,
                        size_t n) {
    for (; n > 0; n--, wide += INKI_LANES, from += stride)
        for (int i = 0; i < INKI_LANES; i++) wide[i] = (float)(int8_t)from[i];
}

// What the types differ in; bytes: of an element.
typedef struct kv_form {
    kv_widen_fn widen;
    size_t bytes;
    bool blocks;
} kv_form;

// A tile, and what a query needs of it.
typedef struct attend_tile {
    const kv_form *form;
    const uint8_t *keys, *values;
    size_t row_bytes, head_dim;
    float scale;
} attend_tile;

// s + sixteen columns of n <= KV_ROWS dimensions of the keys times the query's,
// in rising order.
static inki_lanes kv_dot(inki_lanes s, const attend_tile *tile, const float *q, const uint8_t *k,
                         size_t n) {
    float wide[KV_ROWS * INKI_LANES];
    tile->form->widen(wide, k, INKI_TILE * tile->form->bytes, n);
    for (size_t d = 0; d < n; d++)
        s = inki_lanes_madd(s, inki_lanes_splat(q[d]), inki_lanes_load(wide + d * INKI_LANES));
    return s;
}

// Scores of sixteen positions: products are added in rising dimensions, one sum
// a position; with blocks the sum of each, then times its scale.
static inki_lanes kv_score(const attend_tile *tile, const float *q, size_t first) {
    const kv_form *form = tile->form;
    const uint8_t *k = tile->keys;
    inki_lanes s = inki_lanes_splat(0);
    if (!form->blocks) {
        k += first * form->bytes;
        for (size_t d = 0, n; d < tile->head_dim; d += n, k += n * INKI_TILE * form->bytes) {
            n = tile->head_dim - d < KV_ROWS ? tile->head_dim - d : KV_ROWS;
            s = kv_dot(s, tile, q + d, k, n);
        }
        return s;
    }
    for (size_t d = 0; d < tile->head_dim; d += 32, k += 34 * INKI_TILE) {
        const size_t n = tile->head_dim - d < 32 ? tile->head_dim - d : 32;
        const inki_lanes sum =
            kv_dot(inki_lanes_splat(0), tile, q + d, k + 2 * INKI_TILE + first, n);
        float step[INKI_LANES];
        kv_widen_f16(step, k + 2 * first, 0, 1);
        s = inki_lanes_madd(s, inki_lanes_load(step), sum);
    }
    return s;
}

// Columns [at, at + 16) of the values, as far as they are there.
static void kv_widen_values(float *restrict wide, const attend_tile *tile, size_t at,
                            size_t n_pos) {
    const kv_form *form = tile->form;
    const size_t left = tile->head_dim - at, stride = tile->row_bytes;
    const uint8_t *from = tile->values + at * form->bytes;
    if (form->blocks) { // the last one of a row is whole, filled up with zeros
        from = tile->values + at / 32 * 34;
        form->widen(wide, from + 2 + at % 32, stride, n_pos);
        for (size_t t = 0; t < n_pos; t++, from += stride, wide += INKI_LANES) {
            uint16_t d;
            memcpy(&d, from, sizeof d);
            const float scale = inki_f16_to_f32(d);
            for (int i = 0; i < INKI_LANES; i++) wide[i] *= scale;
        }
    } else if (left >= INKI_LANES) {
        form->widen(wide, from, stride, n_pos);
    } else {
        for (size_t t = 0; t < n_pos; t++, from += stride, wide += INKI_LANES) {
            uint8_t end[INKI_LANES * sizeof(float)] = {0};
            memcpy(end, from, left * form->bytes);
            form->widen(wide, end, 0, 1);
        }
    }
}

// acc = acc * keep + sum over positions of p * v, sixteen columns at a time, so
// that their sums stay in registers. Positions are added in rising order.
static void kv_accumulate(float *acc, float keep, const float *p, const attend_tile *tile,
                          size_t n_pos) {
    float wide[KV_ROWS * INKI_LANES];
    for (size_t i = 0; i < tile->head_dim; i += INKI_LANES) {
        const size_t left = tile->head_dim - i, n = left < INKI_LANES ? left : INKI_LANES;
        float end[INKI_LANES] = {0};
        memcpy(end, acc + i, n * sizeof *acc);
        kv_widen_values(wide, tile, i, n_pos);
        inki_lanes s = inki_lanes_mul(inki_lanes_load(end), inki_lanes_splat(keep));
        for (size_t t = 0; t < n_pos; t++)
            s = inki_lanes_madd(s, inki_lanes_splat(p[t]), inki_lanes_load(wide + t * INKI_LANES));
        inki_lanes_store(end, s);
        memcpy(acc + i, end, n * sizeof *acc);
    }
}

static void kv_attend(float *acc, inki_softmax *state, const float *q, const attend_tile *tile,
                      size_t n_pos) {
    float p[INKI_TILE];
    float max = state->max;
    for (size_t t = 0; t < n_pos; t += INKI_LANES)
        inki_lanes_store(p + t,
                         inki_lanes_mul(kv_score(tile, q, t), inki_lanes_splat(tile->scale)));
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
    kv_accumulate(acc, keep, p, tile, n_pos);
}

#define ATTEND_SLOT(name, kv_type, ...)                                                            \
    static void name(float *acc, size_t acc_stride, inki_softmax *state, const float *q,           \
                     size_t q_stride, size_t n_q, const void *keys, const void *values,            \
                     size_t n_pos, size_t head_dim, float scale) {                                 \
        static const kv_form form = {__VA_ARGS__};                                                 \
        const size_t row_bytes = inki_kv_row_bytes(kv_type, head_dim);                             \
        const attend_tile tile = {&form, keys, values, row_bytes, head_dim, scale};                \
        for (size_t i = 0; i < n_q; i++)                                                           \
            kv_attend(acc + i * acc_stride, &state[i], q + i * q_stride, &tile,                    \
                      n_pos + i < INKI_TILE ? n_pos + i : INKI_TILE);                              \
    }
ATTEND_SLOT(attend_f32_c, INK_KV_F32, kv_widen_f32, 4, false)
ATTEND_SLOT(attend_f16_c, INK_KV_F16, kv_widen_f16, 2, false)
ATTEND_SLOT(attend_q8_0_c, INK_KV_Q8_0, kv_widen_i8, 1, true)
#undef ATTEND_SLOT

void inki_kernels_attend_portable(inki_kernels *table) {
    table->attend[INK_KV_F32] = attend_f32_c;
    table->attend[INK_KV_F16] = attend_f16_c;
    table->attend[INK_KV_Q8_0] = attend_q8_0_c;
}
