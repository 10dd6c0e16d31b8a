// SPDX-License-Identifier: MIT
// What the levels of attention share: sizes of blocks, the causal mask, dropout. Private to
// train/self_attention*.c.
#ifndef INKI_TRAIN_SELF_ATTENTION_PARTS_H
#define INKI_TRAIN_SELF_ATTENTION_PARTS_H

#include "train/ops.h"
#include "train/self_attention.h"

// Keys go in blocks of 64, rows (of queries) in blocks of 32, and of 16 along the diagonal, so that
// little above it is computed. Columns of a head and rows are padded with zeros to 16.
enum { ATTENTION_KEYS = 64, ATTENTION_ROWS = 32, ATTENTION_STEP = 16 };

static inline size_t inki_attention_padded(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

// 64 times 0, 64 times -infinity: added to scores, read from 64 - v on, it leaves the first v of
// them.
extern const float inki_attention_ramp[2 * ATTENTION_KEYS];

// inki_train_hash in two steps: a seed for a row's stretch, and what a lane adds to it.
typedef struct inki_attention_drop {
    bool on;
    uint32_t key_low, key_high, threshold; // dropped below it
    float factor;                          // of what is kept: 1 / (1 - p); 1 when off
} inki_attention_drop;

static inline inki_attention_drop inki_attention_drop_of(const inki_attention_head *head) {
    const double limit = (double)head->dropout * 4294967296.0;
    const uint32_t whole = (uint32_t)limit;
    return (inki_attention_drop){.on = head->dropout > 0.0f,
                                 .key_low = (uint32_t)head->key,
                                 .key_high = (uint32_t)(head->key >> 32),
                                 .threshold = whole + ((double)whole < limit),
                                 .factor = 1.0f / (1.0f - head->dropout)};
}

// One product of blocks: c [m, n] = a [m, k] b [k, n], or += with add. m a multiple of 16; rows of
// b and c are padded to whole vectors. a's element (i, j) is a[i * a_stride + j]; in the product of
// a transpose it is a[j * a_stride + i].
typedef struct inki_attention_product {
    float *c;
    const float *a, *b;
    size_t c_stride, a_stride, b_stride;
    size_t m, n, k;
    bool add;
} inki_attention_product;

// A head's columns of a sequence's rows.
typedef struct inki_attention_rows {
    const float *data;
    size_t stride, n, head_dim;
} inki_attention_rows;

static inline inki_attention_rows inki_attention_rows_of(const inki_attention_head *head,
                                                         const float *data) {
    return (inki_attention_rows){data, head->stride, head->n, head->head_dim};
}

// Of the pass forward, in `work`.
typedef struct inki_attention_ahead {
    const inki_attention_head *head;
    inki_attention_rows queries;
    inki_attention_drop drop;
    size_t width;  // head_dim, padded to 16
    float *keys;   // [blocks][head_dim][64]
    float *values; // [n padded to 64][width]
    float *q;      // [32][width], times scale
    float *score;  // [32][64]: scores, then weights
    float *acc;    // [32][width]: sums of weight times value
    float *sum;    // [32][16]: sums of weights, lane by lane
    float *max;    // [32]
} inki_attention_ahead;

// Of the pass backward.
typedef struct inki_attention_back {
    const inki_attention_head *head;
    inki_attention_drop drop;
    size_t width;
    float *q, *dout, *dq;   // [n padded to 64][width]; q times scale
    float *log_sum, *delta; // [n padded to 64]; delta: sum over a row of dout * out
    // Of one block of keys: columns [head_dim][64], rows [64][width].
    float *key_columns, *value_columns;
    float *key_rows, *dk, *dv;
    float *weight, *dscore; // [32][64]
} inki_attention_back;

static inline size_t inki_attention_ahead_floats(size_t n, size_t head_dim) {
    const size_t width = inki_attention_padded(head_dim, ATTENTION_STEP);
    return 2 * inki_attention_padded(n, ATTENTION_KEYS) * width +
           ATTENTION_ROWS * (2 * width + ATTENTION_KEYS + ATTENTION_STEP + 1);
}
static inline size_t inki_attention_back_floats(size_t n, size_t head_dim) {
    const size_t width = inki_attention_padded(head_dim, ATTENTION_STEP);
    return inki_attention_padded(n, ATTENTION_KEYS) * (3 * width + 2) + 5 * ATTENTION_KEYS * width +
           2 * ATTENTION_ROWS * ATTENTION_KEYS;
}

static inline inki_attention_ahead inki_attention_ahead_of(const inki_attention_head *head,
                                                           float *work) {
    const size_t width = inki_attention_padded(head->head_dim, ATTENTION_STEP);
    const size_t all = inki_attention_padded(head->n, ATTENTION_KEYS) * width;
    inki_attention_ahead w = {.head = head,
                              .queries = inki_attention_rows_of(head, head->q),
                              .drop = inki_attention_drop_of(head),
                              .width = width,
                              .keys = work};
    w.values = w.keys + all;
    w.q = w.values + all;
    w.acc = w.q + ATTENTION_ROWS * width;
    w.score = w.acc + ATTENTION_ROWS * width;
    w.sum = w.score + ATTENTION_ROWS * ATTENTION_KEYS;
    w.max = w.sum + ATTENTION_ROWS * ATTENTION_STEP;
    return w;
}

static inline inki_attention_back inki_attention_back_of(const inki_attention_head *head,
                                                         float *work) {
    const size_t width = inki_attention_padded(head->head_dim, ATTENTION_STEP);
    const size_t n = inki_attention_padded(head->n, ATTENTION_KEYS);
    inki_attention_back w = {
        .head = head, .drop = inki_attention_drop_of(head), .width = width, .q = work};
    w.dout = w.q + n * width;
    w.dq = w.dout + n * width;
    w.log_sum = w.dq + n * width;
    w.delta = w.log_sum + n;
    w.key_columns = w.delta + n;
    w.value_columns = w.key_columns + ATTENTION_KEYS * width;
    w.key_rows = w.value_columns + ATTENTION_KEYS * width;
    w.dk = w.key_rows + ATTENTION_KEYS * width;
    w.dv = w.dk + ATTENTION_KEYS * width;
    w.weight = w.dv + ATTENTION_KEYS * width;
    w.dscore = w.weight + ATTENTION_ROWS * ATTENTION_KEYS;
    return w;
}

void inki_attention_portable(inki_attention_fns *fns);
void inki_attention_avx2(inki_attention_fns *fns);
void inki_attention_avx512(inki_attention_fns *fns);
void inki_attention_neon(inki_attention_fns *fns);

#endif
