// SPDX-License-Identifier: MIT
// Attention forward and backward, written once over vectors. A level's file defines VEC (a vector
// of WIDTH floats, 4, 8 or 16), KEPT (a choice of lanes), LEVEL(name) (the name with the level's
// own ending), how many registers a product may fill, and the steps on vectors; then includes this.
//
// All that costs is products of small blocks whose sums stay in registers: rows of the left side
// are spread out number by number, the right side lies in whole vectors. So keys are needed in
// columns (for scores) and in rows (for dq), and are laid out that way in `work` first.
//
// Orders: every sum over dimensions, keys or rows runs upwards, a (fused, where there is one)
// multiply-add a term. Sums of weights: one a lane, upwards, folded at the end.
//
// A weight above the diagonal is computed as 0 within a block, not left out: a NaN in a key or
// value can reach up to 15 rows before it.
#ifndef INKI_TRAIN_SELF_ATTENTION_BODY_H
#define INKI_TRAIN_SELF_ATTENTION_BODY_H

#include <math.h>
#include <string.h>

#include "base/exp_inline.h"

// --- products ------------------------------------------------------------------------------------

INKI_TEMPLATE void LEVEL(tile)(const inki_attention_product *p, size_t row, size_t column,
                               size_t a_row, size_t a_step, int n_rows, int n_vectors) {
    VEC sum[8][4];
    float *c = p->c + row * p->c_stride + column;
    const float *a = p->a + row * a_row, *b = p->b + column;
    INKI_UNROLL
    for (int i = 0; i < n_rows; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_vectors; j++) sum[i][j] = LEVEL(splat)(0.0f);
    }
    if (p->add) {
        INKI_UNROLL
        for (int i = 0; i < n_rows; i++) {
            INKI_UNROLL
            for (int j = 0; j < n_vectors; j++)
                sum[i][j] = LEVEL(load)(c + (size_t)i * p->c_stride + j * WIDTH);
        }
    }
    for (size_t k = p->k; k > 0; k--, a += a_step, b += p->b_stride) {
        VEC right[4];
        INKI_UNROLL
        for (int j = 0; j < n_vectors; j++) right[j] = LEVEL(load)(b + j * WIDTH);
        INKI_UNROLL
        for (int i = 0; i < n_rows; i++) {
            const VEC left = LEVEL(splat)(a[(size_t)i * a_row]);
            INKI_UNROLL
            for (int j = 0; j < n_vectors; j++) sum[i][j] = LEVEL(fma)(left, right[j], sum[i][j]);
        }
    }
    INKI_UNROLL
    for (int i = 0; i < n_rows; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_vectors; j++)
            LEVEL(store)(c + (size_t)i * p->c_stride + j * WIDTH, sum[i][j]);
    }
}

// A column of tiles as wide as the registers allow, then narrower ones: the right side's part stays
// in the first cache while all rows pass.
INKI_TEMPLATE void LEVEL(tiles)(const inki_attention_product *p, size_t a_row, size_t a_step) {
    size_t column = 0;
    for (; column + (WIDE_VECTORS - 1) * WIDTH < p->n; column += WIDE_VECTORS * WIDTH)
        for (size_t row = 0; row < p->m; row += WIDE_ROWS)
            LEVEL(tile)(p, row, column, a_row, a_step, WIDE_ROWS, WIDE_VECTORS);
    for (; column + WIDTH < p->n; column += 2 * WIDTH)
        for (size_t row = 0; row < p->m; row += PAIR_ROWS)
            LEVEL(tile)(p, row, column, a_row, a_step, PAIR_ROWS, 2);
    for (; column < p->n; column += WIDTH)
        for (size_t row = 0; row < p->m; row += 8) LEVEL(tile)(p, row, column, a_row, a_step, 8, 1);
}

INKI_APART void LEVEL(multiply)(const inki_attention_product *p) {
    LEVEL(tiles)(p, p->a_stride, 1);
}
INKI_APART void LEVEL(multiply_transposed)(const inki_attention_product *p) {
    LEVEL(tiles)(p, 1, p->a_stride);
}

// --- laying out ----------------------------------------------------------------------------------

static inline void LEVEL(copy_scaled)(float *to, const float *from, size_t n, float factor) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        LEVEL(store)(to + i, LEVEL(mul)(LEVEL(load)(from + i), LEVEL(splat)(factor)));
    for (; i < n; i++) to[i] = from[i] * factor;
}

// Rows [begin, end), those from n on being 0, times factor.
static void LEVEL(lay_rows)(float *to, size_t width, const inki_attention_rows *x, size_t begin,
                            size_t end, float factor) {
    for (size_t i = begin; i < end; i++, to += width) {
        const size_t filled = i < x->n ? x->head_dim : 0;
        if (filled > 0) LEVEL(copy_scaled)(to, x->data + i * x->stride, filled, factor);
        memset(to + filled, 0, (width - filled) * sizeof *to);
    }
}

// Rows [begin, begin + 64) as columns, those from n on being 0.
static void LEVEL(lay_columns)(float *to, const inki_attention_rows *rows, size_t begin) {
    const size_t left = rows->n - begin, stride = rows->stride, head_dim = rows->head_dim;
    const size_t n_rows = left < ATTENTION_KEYS ? left : ATTENTION_KEYS;
    const float *x = rows->data + begin * stride;
    size_t row = 0;
    for (; row + WIDTH <= n_rows; row += WIDTH) {
        size_t d = 0;
        for (; d + 4 <= head_dim; d += 4)
            LEVEL(turn)(to + d * ATTENTION_KEYS + row, x + row * stride + d, stride);
        for (; d < head_dim; d++)
            for (size_t i = row; i < row + WIDTH; i++)
                to[d * ATTENTION_KEYS + i] = x[i * stride + d];
    }
    for (size_t d = 0; row < ATTENTION_KEYS && d < head_dim; d++)
        for (size_t i = row; i < ATTENTION_KEYS; i++)
            to[d * ATTENTION_KEYS + i] = i < n_rows ? x[i * stride + d] : 0.0f;
}

// --- dropout -------------------------------------------------------------------------------------

// Which of WIDTH weights from element `index` on stay.
static inline KEPT LEVEL(kept_from)(const inki_attention_drop *drop, uint64_t index) {
    static const uint32_t steps[16] = {
#define STEP(i) (uint32_t)(0x9e3779b1ull * (i))
        STEP(0), STEP(1),  STEP(2),  STEP(3),  STEP(4),  STEP(5),  STEP(6), STEP(7), STEP(8),
        STEP(9), STEP(10), STEP(11), STEP(12), STEP(13), STEP(14), STEP(15)
#undef STEP
    };
    const uint32_t low = (uint32_t)index, high = (uint32_t)(index >> 32);
    const uint32_t seed = low * 0x9e3779b1u + drop->key_low + high * 0x85ebca77u;
    if (low <= UINT32_MAX - (WIDTH - 1)) return LEVEL(kept)(drop, seed, steps);
    uint32_t carried[16]; // the high half changes on the way
    for (uint32_t i = 0; i < WIDTH; i++) carried[i] = steps[i] + (low + i < low ? 0x85ebca77u : 0u);
    return LEVEL(kept)(drop, seed, carried);
}

// --- forward -------------------------------------------------------------------------------------

// Scores of row r of the block, which is row i of the sequence, become weights against the largest
// score so far; what was summed against a smaller one is scaled down.
INKI_TEMPLATE void LEVEL(weigh_row)(inki_attention_ahead *w, size_t r, size_t i, size_t key,
                                    size_t n_keys, bool masked) {
    float *s = w->score + r * ATTENTION_KEYS;
    VEC top = LEVEL(splat)(-INFINITY), sum = LEVEL(load)(w->sum + r * ATTENTION_STEP);
    const float *ramp = masked ? inki_attention_ramp + ATTENTION_KEYS - (i - key + 1) : NULL;
    for (size_t t = 0; t < n_keys; t += WIDTH) {
        VEC x = LEVEL(load)(s + t);
        if (masked) {
            x = LEVEL(add)(x, LEVEL(load)(ramp + t));
            LEVEL(store)(s + t, x);
        }
        top = LEVEL(max)(top, x);
    }
    const float old = w->max[r], found = LEVEL(fold_max)(top), max = found > old ? found : old;
    if (max > old && key > 0) {
        const VEC less = LEVEL(splat)(inki_exp(old - max));
        float *acc = w->acc + r * w->width;
        sum = LEVEL(mul)(sum, less);
        for (size_t d = 0; d < w->width; d += WIDTH)
            LEVEL(store)(acc + d, LEVEL(mul)(LEVEL(load)(acc + d), less));
    }
    w->max[r] = max;
    const VEC down = LEVEL(splat)(max);
    const uint64_t index = w->head->first + (uint64_t)i * w->head->n + key;
    for (size_t t = 0; t < n_keys; t += WIDTH) {
        VEC p = LEVEL(exp)(LEVEL(sub)(LEVEL(load)(s + t), down));
        sum = LEVEL(add)(sum, p);
        if (w->drop.on) p = LEVEL(only)(LEVEL(kept_from)(&w->drop, index + t), p);
        LEVEL(store)(s + t, p);
    }
    LEVEL(store)(w->sum + r * ATTENTION_STEP, sum);
}

INKI_APART void LEVEL(weigh_full)(inki_attention_ahead *w, size_t first, size_t r, size_t n_rows,
                                  size_t key) {
    for (const size_t end = r + n_rows; r < end; r++)
        LEVEL(weigh_row)(w, r, first + r, key, ATTENTION_KEYS, false);
}
INKI_APART void LEVEL(weigh_masked)(inki_attention_ahead *w, size_t first, size_t r, size_t n_rows,
                                    size_t key, size_t n_keys) {
    for (const size_t end = r + n_rows; r < end; r++)
        LEVEL(weigh_row)(w, r, first + r, key, n_keys, true);
}

// Rows [r, r + n_rows) of the block that begins at row `first`, against the keys from `key` on.
static void LEVEL(ahead_block)(inki_attention_ahead *w, size_t first, size_t r, size_t n_rows,
                               size_t key, size_t n_keys) {
    const size_t width = w->width, head_dim = w->head->head_dim;
    float *score = w->score + r * ATTENTION_KEYS;
    const inki_attention_product scores = {.c = score,
                                           .c_stride = ATTENTION_KEYS,
                                           .a = w->q + r * width,
                                           .a_stride = width,
                                           .b = w->keys + key * head_dim,
                                           .b_stride = ATTENTION_KEYS,
                                           .m = n_rows,
                                           .n = n_keys,
                                           .k = head_dim};
    const inki_attention_product sums = {.c = w->acc + r * width,
                                         .c_stride = width,
                                         .a = score,
                                         .a_stride = ATTENTION_KEYS,
                                         .b = w->values + key * width,
                                         .b_stride = width,
                                         .m = n_rows,
                                         .n = head_dim,
                                         .k = n_keys,
                                         .add = key > 0};
    LEVEL(multiply)(&scores);
    if (first + r >= key + ATTENTION_KEYS)
        LEVEL(weigh_full)(w, first, r, n_rows, key);
    else
        LEVEL(weigh_masked)(w, first, r, n_rows, key, n_keys);
    LEVEL(multiply)(&sums);
}

static void LEVEL(ahead_rows)(inki_attention_ahead *w, size_t first) {
    const inki_attention_head *head = w->head;
    const size_t left = inki_attention_padded(head->n, ATTENTION_STEP) - first;
    const size_t n_rows = left < ATTENTION_ROWS ? left : ATTENTION_ROWS;
    LEVEL(lay_rows)(w->q, w->width, &w->queries, first, first + n_rows, head->scale);
    memset(w->sum, 0, ATTENTION_ROWS * ATTENTION_STEP * sizeof *w->sum);
    for (size_t r = 0; r < n_rows; r++) w->max[r] = -INFINITY;
    size_t key = 0;
    for (; key + ATTENTION_KEYS <= first; key += ATTENTION_KEYS)
        LEVEL(ahead_block)(w, first, 0, n_rows, key, ATTENTION_KEYS);
    for (size_t r = 0; r < n_rows; r += ATTENTION_STEP)
        LEVEL(ahead_block)(w, first, r, ATTENTION_STEP, key, first + r + ATTENTION_STEP - key);
    for (size_t r = 0; r < n_rows && first + r < head->n; r++) {
        const float sum = LEVEL(fold_sum)(LEVEL(load)(w->sum + r * ATTENTION_STEP));
        const float factor = w->drop.factor / sum;
        float *out = head->out + (first + r) * head->out_stride;
        LEVEL(copy_scaled)(out, w->acc + r * w->width, head->head_dim, factor);
        head->log_sum[first + r] = w->max[r] + (float)log((double)sum);
    }
}

static void LEVEL(forward)(const inki_attention_head *head, void *work) {
    inki_attention_ahead w = inki_attention_ahead_of(head, work);
    const size_t n = inki_attention_padded(head->n, ATTENTION_STEP);
    const inki_attention_rows k = inki_attention_rows_of(head, head->k);
    const inki_attention_rows v = inki_attention_rows_of(head, head->v);
    for (size_t key = 0; key < n; key += ATTENTION_KEYS)
        LEVEL(lay_columns)(w.keys + key * head->head_dim, &k, key);
    LEVEL(lay_rows)(w.values, w.width, &v, 0, n, 1.0f);
    for (size_t first = 0; first < n; first += ATTENTION_ROWS) LEVEL(ahead_rows)(&w, first);
}

// --- backward ------------------------------------------------------------------------------------

// Scores of a row become weights (those dropped 0), derivatives by weights become derivatives by
// scores. delta is the sum over the row of weight times derivative, dropped or not.
INKI_TEMPLATE void LEVEL(derive_row)(const inki_attention_back *w, size_t r, size_t i, size_t key,
                                     size_t n_keys, bool masked) {
    float *s = w->weight + r * ATTENTION_KEYS, *ds = w->dscore + r * ATTENTION_KEYS;
    const VEC down = LEVEL(splat)(w->log_sum[i]), delta = LEVEL(splat)(w->delta[i]);
    const VEC factor = LEVEL(splat)(w->drop.factor);
    const float *ramp = masked ? inki_attention_ramp + ATTENTION_KEYS - (i - key + 1) : NULL;
    const uint64_t index = w->head->first + (uint64_t)i * w->head->n + key;
    for (size_t t = 0; t < n_keys; t += WIDTH) {
        VEC x = LEVEL(sub)(LEVEL(load)(s + t), down), d = LEVEL(load)(ds + t);
        if (masked) x = LEVEL(add)(x, LEVEL(load)(ramp + t));
        VEC p = LEVEL(exp)(x), kept = p;
        if (w->drop.on) {
            const KEPT lanes = LEVEL(kept_from)(&w->drop, index + t);
            d = LEVEL(only)(lanes, LEVEL(mul)(d, factor));
            kept = LEVEL(only)(lanes, p);
        }
        LEVEL(store)(s + t, kept);
        LEVEL(store)(ds + t, LEVEL(mul)(p, LEVEL(sub)(d, delta)));
    }
}

INKI_APART void LEVEL(derive_full)(const inki_attention_back *w, size_t row, size_t n_rows,
                                   size_t key) {
    for (size_t r = 0; r < n_rows; r++)
        LEVEL(derive_row)(w, r, row + r, key, ATTENTION_KEYS, false);
}
INKI_APART void LEVEL(derive_masked)(const inki_attention_back *w, size_t row, size_t n_rows,
                                     size_t key, size_t n_keys) {
    for (size_t r = 0; r < n_rows; r++) LEVEL(derive_row)(w, r, row + r, key, n_keys, true);
}

// c [n_rows, n_keys] = rows of x against columns of keys or values.
static void LEVEL(against_columns)(const inki_attention_back *w, float *c, const float *x,
                                   const float *columns, size_t n_rows, size_t n_keys) {
    const inki_attention_product p = {.c = c,
                                      .c_stride = ATTENTION_KEYS,
                                      .a = x,
                                      .a_stride = w->width,
                                      .b = columns,
                                      .b_stride = ATTENTION_KEYS,
                                      .m = n_rows,
                                      .n = n_keys,
                                      .k = w->head->head_dim};
    LEVEL(multiply)(&p);
}

// dx [n_keys] += what each row of x, weighted, gives to each key.
static void LEVEL(give_to_keys)(const inki_attention_back *w, float *dx, const float *weights,
                                const float *x, size_t n_rows, size_t n_keys) {
    const inki_attention_product p = {.c = dx,
                                      .c_stride = w->width,
                                      .a = weights,
                                      .a_stride = ATTENTION_KEYS,
                                      .b = x,
                                      .b_stride = w->width,
                                      .m = n_keys,
                                      .n = w->head->head_dim,
                                      .k = n_rows,
                                      .add = true};
    LEVEL(multiply_transposed)(&p);
}

static void LEVEL(back_block)(const inki_attention_back *w, size_t row, size_t n_rows, size_t key,
                              size_t n_keys) {
    const size_t at = row * w->width;
    const inki_attention_product to_queries = {.c = w->dq + at,
                                               .c_stride = w->width,
                                               .a = w->dscore,
                                               .a_stride = ATTENTION_KEYS,
                                               .b = w->key_rows,
                                               .b_stride = w->width,
                                               .m = n_rows,
                                               .n = w->head->head_dim,
                                               .k = n_keys,
                                               .add = key > 0};
    LEVEL(against_columns)(w, w->weight, w->q + at, w->key_columns, n_rows, n_keys);
    LEVEL(against_columns)(w, w->dscore, w->dout + at, w->value_columns, n_rows, n_keys);
    if (row >= key + ATTENTION_KEYS)
        LEVEL(derive_full)(w, row, n_rows, key);
    else
        LEVEL(derive_masked)(w, row, n_rows, key, n_keys);
    LEVEL(give_to_keys)(w, w->dv, w->weight, w->dout + at, n_rows, n_keys);
    LEVEL(give_to_keys)(w, w->dk, w->dscore, w->q + at, n_rows, n_keys);
    LEVEL(multiply)(&to_queries);
}

// Keys outside, queries inside: dk and dv of a block are complete when the next one begins, and
// only dq goes through memory more than once.
static void LEVEL(back_keys)(const inki_attention_back *w, size_t key) {
    const inki_attention_head *head = w->head;
    const size_t n = inki_attention_padded(head->n, ATTENTION_STEP), head_dim = head->head_dim;
    const inki_attention_rows k = inki_attention_rows_of(head, head->k);
    const inki_attention_rows v = inki_attention_rows_of(head, head->v);
    LEVEL(lay_columns)(w->key_columns, &k, key);
    LEVEL(lay_columns)(w->value_columns, &v, key);
    LEVEL(lay_rows)(w->key_rows, w->width, &k, key, key + ATTENTION_KEYS, 1.0f);
    memset(w->dk, 0, ATTENTION_KEYS * w->width * sizeof *w->dk);
    memset(w->dv, 0, ATTENTION_KEYS * w->width * sizeof *w->dv);
    size_t row = key;
    for (; row < key + ATTENTION_KEYS && row < n; row += ATTENTION_STEP)
        LEVEL(back_block)(w, row, ATTENTION_STEP, key, row + ATTENTION_STEP - key);
    for (; row < n; row += ATTENTION_ROWS) {
        const size_t n_rows = n - row < ATTENTION_ROWS ? n - row : ATTENTION_ROWS;
        LEVEL(back_block)(w, row, n_rows, key, ATTENTION_KEYS);
    }
    for (size_t j = 0; j < ATTENTION_KEYS && key + j < head->n; j++) {
        const size_t at = (key + j) * head->stride;
        LEVEL(copy_scaled)(head->dk + at, w->dk + j * w->width, head_dim, 1.0f);
        LEVEL(copy_scaled)(head->dv + at, w->dv + j * w->width, head_dim, w->drop.factor);
    }
}

// A row's sum of dout * out; 0 and a score of -infinity for those that only fill a block up.
static void LEVEL(lay_sums)(const inki_attention_back *w, size_t n) {
    const inki_attention_head *head = w->head;
    for (size_t i = 0; i < n; i++) {
        w->log_sum[i] = i < head->n ? head->log_sum[i] : INFINITY;
        w->delta[i] = 0.0f;
        if (i >= head->n) continue;
        const float *dout = w->dout + i * w->width, *out = head->out + i * head->out_stride;
        VEC sum = LEVEL(splat)(0.0f);
        size_t d = 0;
        for (; d + WIDTH <= head->head_dim; d += WIDTH)
            sum = LEVEL(fma)(LEVEL(load)(dout + d), LEVEL(load)(out + d), sum);
        w->delta[i] = LEVEL(fold_sum)(sum);
        for (; d < head->head_dim; d++) w->delta[i] += dout[d] * out[d];
    }
}

static void LEVEL(backward)(const inki_attention_head *head, void *work) {
    inki_attention_back w = inki_attention_back_of(head, work);
    const size_t n = inki_attention_padded(head->n, ATTENTION_STEP);
    const inki_attention_rows q = inki_attention_rows_of(head, head->q);
    inki_attention_rows dout = inki_attention_rows_of(head, head->dout);
    dout.stride = head->out_stride;
    LEVEL(lay_rows)(w.q, w.width, &q, 0, n, head->scale);
    LEVEL(lay_rows)(w.dout, w.width, &dout, 0, n, 1.0f);
    LEVEL(lay_sums)(&w, n);
    for (size_t key = 0; key < n; key += ATTENTION_KEYS) LEVEL(back_keys)(&w, key);
    for (size_t i = 0; i < head->n; i++) {
        float *dq = head->dq + i * head->stride;
        LEVEL(copy_scaled)(dq, w.dq + i * w.width, head->head_dim, head->scale);
    }
}

#endif
