// SPDX-License-Identifier: MIT
#include "forward/attention.h"

#include "forward/stages.h"

#include <math.h>

typedef struct attention_stage {
    const inki_forward *forward;
    const inki_row *rows;
    uint32_t n_rows, layer;
    const float *qkv; // [n_rows, 3 n_embd]
    float *out;       // [n_rows, n_embd]
    float scale;
} attention_stage;

// Keys and values go through kv_type before anybody reads them, those of this very pass too: a
// prompt in one piece sees the same numbers as one token by token.
static void store_head(const attention_stage *s, uint32_t row, uint32_t head) {
    const inki_weights *w = s->forward->weights;
    const inki_kv *kv = s->rows[row].kv;
    const uint32_t page = s->rows[row].pos / INKI_TILE;
    const size_t at = s->rows[row].pos % INKI_TILE * kv->layout.row_bytes;
    const float *k = s->qkv + (3 * (size_t)row + 1) * w->n_embd + (size_t)head * w->head_dim;
    void (*store)(void *, const float *, size_t) =
        s->forward->kernels->kv_store[kv->layout.kv_type];
    store(inki_kv_keys(kv, page, s->layer, head) + at, k, w->head_dim);
    store(inki_kv_values(kv, page, s->layer, head) + at, k + w->n_embd, w->head_dim);
}

static void attend_head(const attention_stage *s, uint32_t row, uint32_t head) {
    const inki_weights *w = s->forward->weights;
    const inki_kernels *kernels = s->forward->kernels;
    const inki_kv *kv = s->rows[row].kv;
    const float *q = s->qkv + 3 * (size_t)row * w->n_embd + (size_t)head * w->head_dim;
    float *acc = s->out + (size_t)row * w->n_embd + (size_t)head * w->head_dim;
    inki_softmax state = {.max = -INFINITY, .sum = 0};
    for (uint32_t i = 0; i < w->head_dim; i++) acc[i] = 0;
    const uint32_t n_pos = s->rows[row].pos + 1;
    for (uint32_t begin = 0; begin < n_pos; begin += INKI_TILE) { // a tile is a page
        const uint32_t n = n_pos - begin < INKI_TILE ? n_pos - begin : INKI_TILE;
        kernels->attend[kv->layout.kv_type](acc, &state, q,
                                            inki_kv_keys(kv, begin / INKI_TILE, s->layer, head),
                                            inki_kv_values(kv, begin / INKI_TILE, s->layer, head),
                                            kv->layout.row_bytes, n, w->head_dim, s->scale);
    }
    kernels->scale(acc, 1.0f / state.sum, w->head_dim);
}

// Pairs of row and head, all rows of one head side by side: a part then has whole heads, whose work
// is alike (later rows see more positions than earlier ones), and meets a head's tiles again and
// again.
static void each_head(void *arg, uint32_t part, uint32_t n_parts,
                      void (*fn)(const attention_stage *, uint32_t row, uint32_t head)) {
    const attention_stage *s = (const attention_stage *)arg;
    size_t begin, end;
    inki_pool_share((size_t)s->n_rows * s->forward->weights->n_head, 1, part, n_parts, &begin,
                    &end);
    for (size_t i = begin; i < end; i++)
        fn(s, (uint32_t)(i % s->n_rows), (uint32_t)(i / s->n_rows));
}
static void store_part(void *arg, uint32_t part, uint32_t n_parts) {
    each_head(arg, part, n_parts, store_head);
}
static void attend_part(void *arg, uint32_t part, uint32_t n_parts) {
    each_head(arg, part, n_parts, attend_head);
}

void inki_forward_attention(const inki_forward *forward, const inki_row *rows, uint32_t n_rows,
                            uint32_t layer, const float *qkv, float *out) {
    const inki_weights *w = forward->weights;
    attention_stage stage = {.forward = forward,
                             .rows = rows,
                             .n_rows = n_rows,
                             .layer = layer,
                             .qkv = qkv,
                             .out = out,
                             .scale = 1.0f / sqrtf((float)w->head_dim)};
    size_t n_seen = 0; // positions that the rows look back on
    for (uint32_t r = 0; r < n_rows; r++) n_seen += (size_t)rows[r].pos + 1;
    const size_t n_new = (size_t)n_rows * w->n_embd;
    inki_pool_run(forward->pool, inki_forward_n_parts(forward, 2 * n_new), store_part, &stage);
    inki_pool_run(forward->pool, inki_forward_n_parts(forward, 2 * n_seen * w->n_embd), attend_part,
                  &stage);
}
