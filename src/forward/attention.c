// SPDX-License-Identifier: MIT
#include "forward/attention.h"

#include "forward/stages.h"

#include <math.h>
#include <string.h>

typedef struct attention_stage {
    const inki_forward *forward;
    const inki_row *rows;
    uint32_t n_rows, layer;
    const float *qkv; // [n_rows, 3 n_embd]
    float *out;       // [n_rows, n_embd]
    float scale;
} attention_stage;

// Rows of one cache that meet a tile together: it is read and widened once for all of them.
enum { QUERY_BLOCK = 16, HEAD_BLOCK = 64 };
enum { WORK_OF_POSITION = 8, WORK_OF_HEAD = 1 << 14 };

// Keys and values go through kv_type before anybody reads them, those of this very pass too: a
// prompt in one piece sees the same numbers as one token by token.
static void store_head(const attention_stage *s, uint32_t row, uint32_t head) {
    const inki_weights *w = s->forward->weights;
    const inki_kernels *kernels = s->forward->kernels;
    const inki_kv *kv = s->rows[row].kv;
    const uint32_t page = s->rows[row].pos / INKI_TILE, at = s->rows[row].pos % INKI_TILE;
    const float *k = s->qkv + (3 * (size_t)row + 1) * w->n_embd + (size_t)head * w->head_dim;
    const uint32_t type = kv->layout.kv_type;
    kernels->store_key[type](inki_kv_keys(kv, page, s->layer, head), at, k, w->head_dim);
    kernels->store_value[type](inki_kv_values(kv, page, s->layer, head), at, k + w->n_embd,
                               w->head_dim);
}

// Heads [begin, end), at most HEAD_BLOCK, of rows [row, row + n) of one cache, n <= QUERY_BLOCK.
// Page by page: the tiles of a page's heads lie side by side, so the memory is read straight on,
// each kernel fetching what the next one needs.
static void attend_block(const attention_stage *s, uint32_t row, uint32_t n, size_t begin,
                         size_t end) {
    const inki_weights *w = s->forward->weights;
    const inki_kernels *kernels = s->forward->kernels;
    const inki_kv *kv = s->rows[row].kv;
    const size_t n_embd = w->n_embd, head_dim = w->head_dim;
    const float *q = s->qkv + 3 * row * n_embd;
    float *acc = s->out + row * n_embd;
    inki_softmax state[HEAD_BLOCK][QUERY_BLOCK];
    for (uint32_t i = 0; i < n; i++) {
        for (size_t h = begin; h < end; h++)
            state[h - begin][i] = (inki_softmax){.max = -INFINITY, .sum = 0};
        memset(acc + i * n_embd + begin * head_dim, 0, (end - begin) * head_dim * sizeof *acc);
    }
    const uint32_t pos = s->rows[row].pos;
    for (uint32_t tile = 0; tile < pos + n; tile += INKI_TILE) { // a tile is a page
        const uint32_t first = tile > pos ? tile - pos : 0;      // the first row that sees it
        const uint32_t n_seen = pos + first + 1 - tile;
        for (size_t h = begin; h < end; h++)
            kernels->attend[kv->layout.kv_type](
                acc + first * n_embd + h * head_dim, n_embd, &state[h - begin][first],
                q + 3 * first * n_embd + h * head_dim, 3 * n_embd, n - first,
                inki_kv_keys(kv, tile / INKI_TILE, s->layer, (uint32_t)h),
                inki_kv_values(kv, tile / INKI_TILE, s->layer, (uint32_t)h),
                n_seen < INKI_TILE ? n_seen : INKI_TILE, head_dim, s->scale);
    }
    for (uint32_t i = 0; i < n; i++)
        for (size_t h = begin; h < end; h++)
            kernels->scale(acc + i * n_embd + h * head_dim, 1.0f / state[h - begin][i].sum,
                           head_dim);
}

// Rows [row, row_end) for heads [begin, end). Many rows of one cache meet a head after the other,
// whose tiles stay in the cache meanwhile.
static void attend_heads(const attention_stage *s, uint32_t row, uint32_t row_end, size_t begin,
                         size_t end) {
    while (row < row_end) {
        uint32_t next = row + 1; // the first row of another cache
        while (next < row_end && s->rows[next].kv == s->rows[row].kv) next++;
        const size_t step = next - row > QUERY_BLOCK ? 1 : HEAD_BLOCK;
        for (size_t h = begin; h < end; h += step)
            for (uint32_t r = row; r < next; r += QUERY_BLOCK)
                attend_block(s, r, next - r < QUERY_BLOCK ? next - r : QUERY_BLOCK, h,
                             end - h < step ? end : h + step);
        row = next;
    }
}

// Whole heads: a key that is the first of sixteen clears the columns after it, so the rows of a
// head are stored in order.
static void store_part(void *arg, uint32_t part, uint32_t n_parts) {
    const attention_stage *s = (const attention_stage *)arg;
    size_t begin, end;
    inki_pool_share(s->forward->weights->n_head, 1, part, n_parts, &begin, &end);
    for (size_t head = begin; head < end; head++)
        for (uint32_t row = 0; row < s->n_rows; row++) store_head(s, row, (uint32_t)head);
}

// Pairs of row and head, all rows of one head side by side: a part then has whole heads, whose work
// is alike (later rows see more positions than earlier ones), and meets a head's tiles again and
// again.
static void attend_part(void *arg, uint32_t part, uint32_t n_parts) {
    const attention_stage *s = (const attention_stage *)arg;
    size_t begin, end;
    inki_pool_share((size_t)s->n_rows * s->forward->weights->n_head, 1, part, n_parts, &begin,
                    &end);
    const size_t n_rows = s->n_rows;
    while (begin < end) { // the rest of a head, whole heads together, the beginning of a head
        const size_t row = begin % n_rows, head = begin / n_rows;
        const bool whole = row == 0 && end - begin >= n_rows;
        const size_t n_heads = whole ? (end - begin) / n_rows : 1;
        const size_t n = n_rows - row < end - begin ? n_rows - row : end - begin;
        attend_heads(s, (uint32_t)row, (uint32_t)(row + n), head, head + n_heads);
        begin += n_heads * n;
    }
}

// Where the parts are whole heads, a part reads only what it stores itself: no hand-shake between.
static void whole_heads_part(void *arg, uint32_t part, uint32_t n_parts) {
    store_part(arg, part, n_parts);
    attend_part(arg, part, n_parts);
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
    // In multiplications of a matrix, which are several to one of these; a head of a row costs some
    // for itself, its key and value to be stored among them.
    const size_t work =
        WORK_OF_POSITION * n_seen * w->n_embd + (size_t)WORK_OF_HEAD * n_rows * w->n_head;
    const uint32_t n_parts = inki_forward_n_parts(forward, work);
    if (w->n_head % n_parts == 0) {
        inki_pool_run(forward->pool, n_parts, whole_heads_part, &stage);
        return;
    }
    inki_pool_run(forward->pool, n_parts, store_part, &stage);
    inki_pool_run(forward->pool, n_parts, attend_part, &stage);
}
