// SPDX-License-Identifier: MIT
// A layer forward and backward. Every array is walked in whole rows or, where rows are summed, in
// columns, so that no sum depends on how threads share the work.
#include "train/net_parts.h"

#include "base/mix.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { SITE_ATTENTION = 1, SITE_ATTN_OUT = 2, SITE_FFN_OUT = 3 };
// Columns are shared in cache lines.
enum { COLUMN_GRAIN = 16 };

uint64_t inki_net_site(const inki_net *net, uint32_t layer, uint32_t site) {
    return inki_mix64(net->batch.dropout_key + (((uint64_t)layer << 8) + site) * INKI_GOLDEN64);
}

void inki_net_parts(const inki_net *net, inki_part_fn fn, void *arg) {
    inki_pool_run(net->compute.pool, net->n_threads, fn, arg);
}

// --- rows ----------------------------------------------------------------------------------------

typedef struct row_work {
    const inki_net *net;
    void (*rows)(const struct row_work *w, size_t begin, size_t end);
    size_t n_rows, n; // n: values in a row
    float *y;
    const float *x, *from;
    inki_norm_stats *stats;
    const inki_net_norm *norm;
    uint64_t key;
} row_work;

static void row_part(void *arg, uint32_t part, uint32_t n_parts) {
    const row_work *w = (const row_work *)arg;
    size_t begin, end;
    inki_pool_share(w->n_rows, 1, part, n_parts, &begin, &end);
    if (begin < end) w->rows(w, begin, end);
}

static uint64_t first_element(const row_work *w, size_t row) {
    const inki_net *net = w->net;
    return (net->batch.first_sequence * net->options.n_seq + row) * w->n;
}

static void norm_rows(const row_work *w, size_t begin, size_t end) {
    for (size_t r = begin; r < end; r++)
        w->net->ops.norm(w->y + r * w->n, w->stats + r, w->x + r * w->n, w->norm->gain,
                         w->norm->bias, w->n, w->net->options.shape.norm_eps);
}

void inki_net_apply_norm(inki_net *net, float *out, inki_norm_stats *stats, const float *x,
                         const inki_net_norm *norm, size_t n_rows) {
    row_work w = {.net = net,
                  .rows = norm_rows,
                  .n_rows = n_rows,
                  .n = net->options.shape.n_embd,
                  .y = out,
                  .x = x,
                  .stats = stats,
                  .norm = norm};
    inki_net_parts(net, row_part, &w);
}

static void norm_back_rows(const row_work *w, size_t begin, size_t end) {
    for (size_t r = begin; r < end; r++)
        w->net->ops.norm_back(w->y + r * w->n, w->from + r * w->n, w->x + r * w->n, w->stats + r,
                              w->norm->gain, w->n);
}

// y = from + dropout(x)
static void residual_rows(const row_work *w, size_t begin, size_t end) {
    const size_t at = begin * w->n, n = (end - begin) * w->n;
    if (w->y != w->from) memcpy(w->y + at, w->from + at, n * sizeof *w->y);
    w->net->ops.add_dropped(w->y + at, w->x + at, n, w->net->dropout, w->key,
                            first_element(w, begin));
}

// y = dropout(x)
static void dropped_rows(const row_work *w, size_t begin, size_t end) {
    const size_t at = begin * w->n, n = (end - begin) * w->n;
    memcpy(w->y + at, w->x + at, n * sizeof *w->y);
    w->net->ops.dropout(w->y + at, n, w->net->dropout, w->key, first_element(w, begin));
}

static void gelu_rows(const row_work *w, size_t begin, size_t end) {
    w->net->ops.gelu(w->y + begin * w->n, w->x + begin * w->n, (end - begin) * w->n);
}

// y = y * gelu'(x)
static void gelu_back_rows(const row_work *w, size_t begin, size_t end) {
    float *y = w->y + begin * w->n;
    w->net->ops.gelu_back(y, y, w->x + begin * w->n, (end - begin) * w->n);
}

static void run_rows(inki_net *net, void (*rows)(const row_work *, size_t, size_t), float *y,
                     const float *x, const float *from, size_t n, uint64_t key) {
    row_work w = {.net = net,
                  .rows = rows,
                  .n_rows = net->n_rows,
                  .n = n,
                  .y = y,
                  .x = x,
                  .from = from,
                  .key = key};
    inki_net_parts(net, row_part, &w);
}

// --- columns -------------------------------------------------------------------------------------

typedef struct column_work {
    const inki_net *net;
    size_t n_rows, n;
    float *sums;
    const float *dy, *x;
    const inki_norm_stats *stats;
    const inki_net_norm *norm;
} column_work;

static void column_part(void *arg, uint32_t part, uint32_t n_parts) {
    const column_work *w = (const column_work *)arg;
    size_t begin, end;
    inki_pool_share(w->n, COLUMN_GRAIN, part, n_parts, &begin, &end);
    if (begin >= end) return;
    if (w->norm != NULL)
        w->net->ops.norm_back_gain(w->norm->dgain, w->norm->dbias, w->dy, w->x, w->stats, w->n_rows,
                                   w->n, begin, end);
    else
        w->net->ops.column_sums(w->sums, w->dy, w->n_rows, w->n, begin, end);
}

void inki_net_norm_back(inki_net *net, float *dx, const float *dy, const float *x,
                        const inki_norm_stats *stats, const inki_net_norm *norm, size_t n_rows) {
    const size_t n = net->options.shape.n_embd;
    if (norm->dgain != NULL) {
        column_work c = {
            .net = net, .n_rows = n_rows, .n = n, .dy = dy, .x = x, .stats = stats, .norm = norm};
        inki_net_parts(net, column_part, &c);
    }
    row_work w = {.net = net,
                  .rows = norm_back_rows,
                  .n_rows = n_rows,
                  .n = n,
                  .y = dx,
                  .x = x,
                  .from = dy,
                  .stats = (inki_norm_stats *)stats,
                  .norm = norm};
    inki_net_parts(net, row_part, &w);
}

// --- matrices ------------------------------------------------------------------------------------

void inki_net_multiply(inki_net *net, float *c, inki_operand a, inki_operand b, size_t m, size_t n,
                       size_t k, const float *bias, bool add) {
    const inki_product p = {
        .c = c, .c_stride = n, .a = a, .b = b, .bias = bias, .m = m, .n = n, .k = k, .add = add};
    inki_gemm_run(net->gemm, &p);
}

static float lora_scale(const inki_net *net) {
    return net->options.lora_alpha / (float)net->options.lora_rank;
}

// lora_t [N, rank] = (alpha / rank) x A^T
static void lora_down(inki_net *net, const float *x, const inki_net_linear *l) {
    const size_t rank = net->options.lora_rank;
    inki_net_multiply(net, net->lora_t, inki_net_floats(x, l->n_in, false),
                      inki_net_floats(l->lora_a, l->n_in, true), net->n_rows, rank, l->n_in, NULL,
                      false);
    net->compute.kernels->scale(net->lora_t, lora_scale(net), net->n_rows * rank);
}

// y [N, n_out] = x [N, n_in] W^T + bias
static void linear(inki_net *net, float *y, const float *x, const inki_net_linear *l) {
    inki_net_multiply(net, y, inki_net_floats(x, l->n_in, false), inki_net_turned(l->w),
                      net->n_rows, l->n_out, l->n_in, l->bias, false);
    if (l->lora_a == NULL) return;
    const size_t rank = net->options.lora_rank;
    lora_down(net, x, l);
    inki_net_multiply(net, y, inki_net_floats(net->lora_t, rank, false),
                      inki_net_floats(l->lora_b, rank, true), net->n_rows, l->n_out, rank, NULL,
                      true);
}

static void lora_back(inki_net *net, float *dx, const float *dy, const float *x,
                      const inki_net_linear *l) {
    const size_t n = net->n_rows, rank = net->options.lora_rank;
    lora_down(net, x, l);
    inki_net_multiply(net, l->d_lora_b, inki_net_floats(dy, l->n_out, true),
                      inki_net_floats(net->lora_t, rank, false), l->n_out, rank, n, NULL, true);
    inki_net_multiply(net, net->lora_dt, inki_net_floats(dy, l->n_out, false),
                      inki_net_floats(l->lora_b, rank, false), n, rank, l->n_out, NULL, false);
    net->compute.kernels->scale(net->lora_dt, lora_scale(net), n * rank);
    inki_net_multiply(net, l->d_lora_a, inki_net_floats(net->lora_dt, rank, true),
                      inki_net_floats(x, l->n_in, false), rank, l->n_in, n, NULL, true);
    inki_net_multiply(net, dx, inki_net_floats(net->lora_dt, rank, false),
                      inki_net_floats(l->lora_a, l->n_in, false), n, l->n_in, rank, NULL, true);
}

// dx [N, n_in] = dy [N, n_out] W; the weights' own gradients are added.
static void linear_back(inki_net *net, float *dx, const float *dy, const float *x,
                        const inki_net_linear *l) {
    const size_t n = net->n_rows;
    if (l->dw != NULL) {
        inki_net_multiply(net, l->dw, inki_net_floats(dy, l->n_out, true),
                          inki_net_floats(x, l->n_in, false), l->n_out, l->n_in, n, NULL, true);
        column_work c = {.net = net, .n_rows = n, .n = l->n_out, .sums = l->dbias, .dy = dy};
        inki_net_parts(net, column_part, &c);
    }
    inki_net_multiply(net, dx, inki_net_floats(dy, l->n_out, false), l->w, n, l->n_in, l->n_out,
                      NULL, false);
    if (l->lora_a != NULL) lora_back(net, dx, dy, x, l);
}

// --- attention -----------------------------------------------------------------------------------

typedef struct heads_work {
    const inki_net *net;
    const inki_net_acts *acts;
    const float *dout; // NULL: forward
    float *dqkv;
    uint64_t key;
    atomic_size_t next; // the head that nobody has taken yet
} heads_work;

static void one_head(const heads_work *w, size_t index, void *work) {
    const inki_net *net = w->net;
    const inki_net_shape *s = &net->options.shape;
    const size_t n_seq = net->options.n_seq, n_embd = s->n_embd, head_dim = n_embd / s->n_head;
    const size_t sequence = index / s->n_head, head = index % s->n_head;
    const size_t row = sequence * n_seq, column = head * head_dim;
    const float *q = w->acts->qkv + row * 3 * n_embd + column;
    inki_attention_head h = {
        .q = q,
        .k = q + n_embd,
        .v = q + 2 * n_embd,
        .stride = 3 * n_embd,
        .out = w->acts->attn + row * n_embd + column,
        .out_stride = n_embd,
        .log_sum = w->acts->log_sum + index * n_seq,
        .n = n_seq,
        .head_dim = head_dim,
        .scale = 1.0f / sqrtf((float)head_dim),
        .dropout = net->dropout,
        .key = w->key,
        .first = (net->batch.first_sequence * s->n_head + index) * n_seq * n_seq,
    };
    if (w->dout == NULL) {
        net->attention.forward(&h, work);
        return;
    }
    h.dout = w->dout + row * n_embd + column;
    h.dq = w->dqkv + row * 3 * n_embd + column;
    h.dk = h.dq + n_embd;
    h.dv = h.dq + 2 * n_embd;
    net->attention.backward(&h, work);
}

// Heads are taken one by one: which thread works on which does not matter to the numbers.
static void heads_part(void *arg, uint32_t part, uint32_t n_parts) {
    heads_work *w = (heads_work *)arg;
    const inki_net *net = w->net;
    const size_t n = net->batch.n_sequences * net->options.shape.n_head;
    (void)n_parts;
    for (;;) {
        const size_t index = atomic_fetch_add(&w->next, 1);
        if (index >= n) return;
        one_head(w, index, net->attention_work[part]);
    }
}

static void attention(inki_net *net, const inki_net_acts *a, uint32_t index, const float *dout,
                      float *dqkv) {
    heads_work w = {.net = net,
                    .acts = a,
                    .dout = dout,
                    .dqkv = dqkv,
                    .key = inki_net_site(net, index, SITE_ATTENTION)};
    atomic_init(&w.next, 0);
    inki_net_parts(net, heads_part, &w);
}

// --- the layer -----------------------------------------------------------------------------------

void inki_net_attention_forward(inki_net *net, uint32_t index) {
    const inki_net_layer *l = &net->layers[index];
    const inki_net_acts *a = &net->acts[index];
    const size_t n = net->n_rows, n_embd = net->options.shape.n_embd;

    inki_net_apply_norm(net, net->norm, a->attn_stats, a->x, &l->attn_norm, n);
    linear(net, a->qkv, net->norm, &l->qkv);
    attention(net, a, index, NULL, NULL);
    linear(net, net->part, a->attn, &l->attn_out);
    run_rows(net, residual_rows, a->mid, net->part, a->x, n_embd,
             inki_net_site(net, index, SITE_ATTN_OUT));
}

void inki_net_ffn_forward(inki_net *net, uint32_t index, float *out) {
    const inki_net_layer *l = &net->layers[index];
    const inki_net_acts *a = &net->acts[index];
    const size_t n = net->n_rows, n_embd = net->options.shape.n_embd,
                 n_ff = net->options.shape.n_ff;

    inki_net_apply_norm(net, net->norm, a->ffn_stats, a->mid, &l->ffn_norm, n);
    linear(net, a->up, net->norm, &l->ffn_up);
    if (out == NULL) return;
    run_rows(net, gelu_rows, net->wide, a->up, NULL, n_ff, 0);
    linear(net, net->part, net->wide, &l->ffn_down);
    run_rows(net, residual_rows, out, net->part, a->mid, n_embd,
             inki_net_site(net, index, SITE_FFN_OUT));
}

// The gradient of what was added to the residual at a site: net->dx, less what was dropped there.
static const float *part_gradient(inki_net *net, uint32_t index, uint32_t site) {
    if (net->dropout <= 0) return net->dx;
    run_rows(net, dropped_rows, net->part, net->dx, NULL, net->options.shape.n_embd,
             inki_net_site(net, index, site));
    return net->part;
}

void inki_net_ffn_back(inki_net *net, uint32_t index) {
    const inki_net_layer *l = &net->layers[index];
    const inki_net_acts *a = &net->acts[index];
    const size_t n = net->n_rows, n_ff = net->options.shape.n_ff;

    const float *dpart = part_gradient(net, index, SITE_FFN_OUT);
    run_rows(net, gelu_rows, net->wide, a->up, NULL, n_ff, 0);
    linear_back(net, net->dwide, dpart, net->wide, &l->ffn_down);
    run_rows(net, gelu_back_rows, net->dwide, a->up, NULL, n_ff, 0);
    inki_net_apply_norm(net, net->norm, a->ffn_stats, a->mid, &l->ffn_norm, n);
    linear_back(net, net->dnorm, net->dwide, net->norm, &l->ffn_up);
    inki_net_norm_back(net, net->dx, net->dnorm, a->mid, a->ffn_stats, &l->ffn_norm, n);
}

void inki_net_attention_back(inki_net *net, uint32_t index) {
    const inki_net_layer *l = &net->layers[index];
    const inki_net_acts *a = &net->acts[index];
    const size_t n = net->n_rows;

    const float *dpart = part_gradient(net, index, SITE_ATTN_OUT);
    linear_back(net, net->dnorm, dpart, a->attn, &l->attn_out);
    attention(net, a, index, net->dnorm, net->wide);
    inki_net_apply_norm(net, net->norm, a->attn_stats, a->x, &l->attn_norm, n);
    linear_back(net, net->dnorm, net->wide, net->norm, &l->qkv);
    inki_net_norm_back(net, net->dx, net->dnorm, a->x, a->attn_stats, &l->attn_norm, n);
}
