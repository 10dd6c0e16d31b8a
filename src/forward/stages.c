// SPDX-License-Identifier: MIT
#include "forward/stages.h"

#include "base/prefetch.h"
#include "forward/adapted.h"

#include <string.h>

// Weight rows in a part come in multiples of this: 16 floats are a cache line of the output, which
// two threads then never share.
enum { ROW_GRAIN = 16 };
// What a value of a row costs in a norm or a quantisation, in multiplications of a matrix.
enum { ROW_WORK = 10 };
// How much of the next matrix is asked for ahead, and up to how many rows of activations.
enum { NEXT_BYTES = 16384, NEXT_BATCH = 64 };

uint32_t inki_forward_n_parts(const inki_forward *forward, size_t work) {
    if (forward->pool == NULL) return 1;
    size_t n_threads = inki_pool_n_threads(forward->pool);
    if (forward->n_threads > 0 && forward->n_threads < n_threads) n_threads = forward->n_threads;
    const size_t n = work / forward->kernels->part_work;
    return (uint32_t)(n < 1 ? 1 : n > n_threads ? n_threads : n);
}

// --- stages over rows of activations -----------------------------------------------------------

typedef struct row_stage {
    const inki_forward *forward;
    void (*row)(const struct row_stage *s, size_t r);
    size_t n_rows, n; // n: values in a row
    float *x, *y;     // [n_rows, n]
    const float *gain, *bias;
} row_stage;

static void row_part(void *arg, uint32_t part, uint32_t n_parts) {
    const row_stage *s = (const row_stage *)arg;
    size_t begin, end;
    inki_pool_share(s->n_rows, 1, part, n_parts, &begin, &end);
    for (size_t r = begin; r < end; r++) s->row(s, r);
}

static void run_rows(row_stage *s) {
    inki_pool_run(s->forward->pool, inki_forward_n_parts(s->forward, s->n_rows * s->n * ROW_WORK),
                  row_part, s);
}

static void norm_row(const row_stage *s, size_t r) {
    s->forward->kernels->layer_norm(s->y + r * s->n, s->x + r * s->n, s->gain, s->bias, s->n,
                                    s->forward->weights->norm_eps);
}
void inki_forward_norm(const inki_forward *f, float *out, float *x, const float *gain,
                       const float *bias, size_t n_rows) {
    row_stage s = {f, norm_row, n_rows, f->weights->n_embd, x, out, gain, bias};
    run_rows(&s);
}

static void quantize_row(const row_stage *s, size_t r) {
    const inki_scratch *scratch = s->forward->scratch;
    s->forward->kernels->quantize_act((uint8_t *)scratch->act + r * scratch->act_stride,
                                      s->x + r * s->n, s->n);
}

// --- stages over rows of weights ---------------------------------------------------------------

typedef struct linear_stage {
    const inki_forward *forward;
    const inki_tensor *w; // [n_rows, n_cols]
    const float *bias;    // [n_rows] or NULL
    const void *acts;     // [n_batch, n_cols] in the form that w's type wants
    size_t act_stride;
    size_t n_batch;
    float *out; // [n_batch, n_rows], or NULL: to scratch->wanted[b]->logits
    inki_linear_end end;
    float *residual; // [n_batch, n_rows]
    const inki_tensor *next;
    bool adapted; // rows have adapters of this matrix, perhaps
} linear_stage;

static void linear_rows(const linear_stage *s, float *out, size_t out_stride, size_t row, size_t n,
                        size_t b, size_t n_batch) {
    s->forward->kernels->matmul[s->w->type](
        out, out_stride, (const uint8_t *)s->w->data + row * s->w->row_bytes, s->w->row_bytes,
        (const uint8_t *)s->acts + b * s->act_stride, s->act_stride,
        s->bias != NULL ? s->bias + row : NULL, n, s->w->n_cols, n_batch);
}

// The wanted rows' logits lie anywhere in memory; a matmul wants one stride. One row, as in every
// decode step, has any stride; several pass through the part's share of `wide`, which is free by
// then, in pieces as long as it allows: the weights' stream should not be cut too often.
static void head_rows(const linear_stage *s, size_t begin, size_t end, uint32_t part,
                      uint32_t n_parts) {
    const inki_scratch *scratch = s->forward->scratch;
    size_t from, to;
    inki_pool_share(scratch->n_wide, ROW_GRAIN, part, n_parts, &from, &to);
    const size_t width = to - from; // nothing for this part if the model is tiny
    if (s->n_batch == 1 || width == 0) {
        for (size_t b = 0; b < s->n_batch; b++)
            linear_rows(s, scratch->wanted[b]->logits + begin, s->w->n_rows, begin, end - begin, b,
                        1);
        return;
    }
    float *tile = scratch->wide + from * s->n_batch;
    for (size_t r = begin; r < end; r += width) {
        const size_t n = end - r < width ? end - r : width;
        linear_rows(s, tile, width, r, n, 0, s->n_batch);
        for (size_t b = 0; b < s->n_batch; b++)
            memcpy(scratch->wanted[b]->logits + r, tile + b * width, n * sizeof *tile);
    }
}

static void end_rows(const linear_stage *s, size_t begin, size_t end) {
    const inki_kernels *kernels = s->forward->kernels;
    for (size_t b = 0; b < s->n_batch; b++) {
        const size_t at = b * s->w->n_rows + begin;
        if (s->end == INKI_LINEAR_GELU) kernels->gelu(s->out + at, end - begin);
        if (s->end == INKI_LINEAR_ADD) kernels->add(s->residual + at, s->out + at, 1, end - begin);
    }
}

// Not with many rows: arithmetic is the limit then.
static void fetch_next(const linear_stage *s, uint32_t part, uint32_t n_parts) {
    if (s->next == NULL || s->n_batch > NEXT_BATCH) return;
    size_t begin, end;
    inki_pool_share(s->next->n_rows, ROW_GRAIN, part, n_parts, &begin, &end);
    const size_t n = (end - begin) * s->next->row_bytes;
    inki_prefetch((uintptr_t)s->next->data + begin * s->next->row_bytes,
                  n < NEXT_BYTES ? n : NEXT_BYTES);
}

static void linear_part(void *arg, uint32_t part, uint32_t n_parts) {
    const linear_stage *s = (const linear_stage *)arg;
    size_t begin, end;
    inki_pool_share(s->w->n_rows, ROW_GRAIN, part, n_parts, &begin, &end);
    if (begin >= end) return;
    if (s->out == NULL) {
        head_rows(s, begin, end, part, n_parts);
    } else {
        linear_rows(s, s->out + begin, s->w->n_rows, begin, end - begin, 0, s->n_batch);
        if (s->adapted) inki_forward_add_low(s->forward, s->out, s->w, begin, end, s->n_batch);
        end_rows(s, begin, end);
    }
    fetch_next(s, part, n_parts);
}

static void run_linear(linear_stage *s, float *x) {
    const inki_forward *f = s->forward;
    s->acts = x;
    s->act_stride = s->w->n_cols * sizeof(float);
    if (inki_act_form_of(s->w->type) == INKI_ACT_Q8) {
        row_stage quantize = {f, quantize_row, s->n_batch, s->w->n_cols, x, NULL, NULL, NULL};
        run_rows(&quantize);
        s->acts = f->scratch->act;
        s->act_stride = f->scratch->act_stride;
    }
    s->adapted = f->adapted != NULL && s->w->adapted > 0;
    if (s->adapted) inki_forward_low(f, x, s->w, s->n_batch);
    const size_t work = (size_t)s->w->n_rows * s->w->n_cols * s->n_batch;
    inki_pool_run(f->pool, inki_forward_n_parts(f, work), linear_part, s);
}

void inki_forward_linear(const inki_forward *f, float *out, float *x, const inki_tensor *w,
                         const float *bias, size_t n_rows, inki_linear_end end, float *residual,
                         const inki_tensor *next) {
    linear_stage s = {.forward = f,
                      .w = w,
                      .bias = bias,
                      .n_batch = n_rows,
                      .out = out,
                      .end = end,
                      .residual = residual,
                      .next = next};
    run_linear(&s, x);
}

void inki_forward_head(const inki_forward *f, float *x, size_t n_rows) {
    linear_stage s = {.forward = f, .w = &f->weights->head, .n_batch = n_rows};
    run_linear(&s, x);
}
