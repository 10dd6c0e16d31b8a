// SPDX-License-Identifier: MIT
#include "forward_model.h"

#include "random_blocks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Tests have no way on without memory or with a wrong call of their own.
static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "forward_model: %s\n", what);
    exit(2);
}

static void *keep(forward_model *m, size_t bytes) {
    must(m->n_blocks < FORWARD_MAX_BLOCKS, "too many blocks");
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    must(p != NULL, "no memory");
    m->blocks[m->n_blocks++] = p;
    return p;
}

uint64_t forward_random(uint64_t *state) { // splitmix64
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void next_random(forward_model *m, float *out, size_t n, float middle, float spread) {
    for (size_t i = 0; i < n; i++) {
        const double u = (double)(forward_random(&m->random) >> 11) * 0x1p-52 - 1;
        out[i] = (float)(middle + spread * u);
    }
}

static float *next_vector(forward_model *m, size_t n, float middle, float spread) {
    float *v = keep(m, n * sizeof *v);
    m->next(m, v, n, middle, spread);
    return v;
}

static inki_tensor next_matrix(forward_model *m, forward_matrix *as_seen, uint32_t type,
                               uint32_t n_rows, uint32_t n_cols, float spread) {
    uint64_t row_bytes = 0;
    must(inki_type_row_bytes(type, n_cols, &row_bytes), "columns do not fit the type");
    float *values = next_vector(m, (size_t)n_rows * n_cols, 0, spread);
    uint8_t *data = keep(m, n_rows * (size_t)row_bytes);
    for (uint32_t r = 0; r < n_rows; r++) {
        uint8_t *row = data + r * row_bytes;
        if (!inki_quantize_row(type, row, values + (size_t)r * n_cols, n_cols))
            random_row(type, row, (size_t)row_bytes, forward_random(&m->random));
        m->kernels.dequantize[type](values + (size_t)r * n_cols, row, n_cols);
    }
    *as_seen = (forward_matrix){values, n_rows, n_cols};
    return (inki_tensor){data, "tensor", type, n_rows, n_cols, (size_t)row_bytes, 0};
}

void forward_model_init(forward_model *m, const forward_shape *s,
                        void (*next)(forward_model *, float *, size_t, float, float), void *user) {
    memset(m, 0, sizeof *m);
    must(s->n_layer <= FORWARD_MAX_LAYERS, "too many layers");
    if (s->kernels != NULL)
        m->kernels = *s->kernels;
    else
        inki_kernels_init(&m->kernels, ~0u);
    m->kernels.part_work = 1 << 10; // threads share even what these small models give them to do
    m->next = next != NULL ? next : next_random;
    m->user = user;
    m->random = s->seed;
    inki_weights *w = &m->weights;
    *w = (inki_weights){.n_ctx = s->n_ctx,
                        .n_vocab = s->n_vocab,
                        .n_embd = s->n_embd,
                        .n_layer = s->n_layer,
                        .n_head = s->n_head,
                        .head_dim = s->n_embd / s->n_head,
                        .n_ff = s->n_ff,
                        .norm_eps = 1e-5f};
    w->layers = m->layers;
    const uint32_t e = s->n_embd, f = s->n_ff;
    // Wide enough that attention has preferences and GELU is used on its bend.
    const float d = 1.7f / sqrtf((float)e), df = 1.7f / sqrtf((float)f);
    w->token_embd = next_matrix(m, &m->token_embd, s->type, s->n_vocab, e, 1.0f);
    w->pos_embd = next_matrix(m, &m->pos_embd, INKI_F32, s->n_ctx, e, 0.5f);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        inki_layer *l = &m->layers[i];
        l->attn_norm_gain = next_vector(m, e, 1, 0.5f);
        l->attn_norm_bias = next_vector(m, e, 0, 0.2f);
        l->qkv = next_matrix(m, &m->qkv[i], s->type, 3 * e, e, 2 * d);
        l->qkv_bias = next_vector(m, 3 * e, 0, 0.2f);
        l->attn_out = next_matrix(m, &m->attn_out[i], s->type, e, e, d);
        l->attn_out_bias = next_vector(m, e, 0, 0.2f);
        l->ffn_norm_gain = next_vector(m, e, 1, 0.5f);
        l->ffn_norm_bias = next_vector(m, e, 0, 0.2f);
        l->ffn_up = next_matrix(m, &m->ffn_up[i], s->type, f, e, d);
        l->ffn_up_bias = next_vector(m, f, 0, 0.2f);
        l->ffn_down = next_matrix(m, &m->ffn_down[i], s->type, e, f, df);
        l->ffn_down_bias = next_vector(m, e, 0, 0.2f);
    }
    w->out_norm_gain = next_vector(m, e, 1, 0.5f);
    w->out_norm_bias = next_vector(m, e, 0, 0.2f);
    w->head = w->token_embd;
}

void forward_model_free(forward_model *m) {
    for (uint32_t i = 0; i < m->n_blocks; i++) free(m->blocks[i]);
    m->n_blocks = 0;
}

// --- reference ---------------------------------------------------------------------------------

static void ref_norm(double *out, const double *x, const float *gain, const float *bias,
                     uint32_t n) {
    double mean = 0, variance = 0;
    for (uint32_t i = 0; i < n; i++) mean += x[i] / n;
    for (uint32_t i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / n;
    for (uint32_t i = 0; i < n; i++)
        out[i] = (x[i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)bias[i];
}

static double ref_half(double x) { // to 11 bits, steps of 2^-24 below 2^-14, ties to even
    int exponent;
    frexp(x, &exponent);
    const double step = ldexp(1, exponent < -13 ? -24 : exponent - 11);
    return rint(x / step) * step;
}

static void ref_bytes(double *x, uint32_t n, bool half_scale) {
    for (uint32_t k = 0; k < n; k += 32) {
        const uint32_t end = n - k < 32 ? n : k + 32;
        double largest = 0;
        for (uint32_t i = k; i < end; i++) largest = fmax(largest, fabs(x[i]));
        const double d = half_scale ? ref_half(largest / 127) : largest / 127;
        for (uint32_t i = k; i < end; i++)
            x[i] = d > 0 ? d * fmin(127, fmax(-127, rint(x[i] / d))) : 0;
    }
}

static void ref_kv(double *x, uint32_t n, uint32_t head_dim, int kv_type) {
    for (uint32_t h = 0; h < n && kv_type == INK_KV_Q8_0; h += head_dim)
        ref_bytes(x + h, head_dim, true);
    for (uint32_t i = 0; i < n && kv_type == INK_KV_F16; i++) x[i] = ref_half(x[i]);
}

static void ref_linear(double *out, double *x, const inki_tensor *tensor, const forward_matrix *w,
                       const float *bias) {
    if (inki_type_of(tensor->type).block_elems > 1) ref_bytes(x, w->n_cols, false);
    for (uint32_t r = 0; r < w->n_rows; r++) {
        double sum = bias != NULL ? (double)bias[r] : 0;
        for (uint32_t c = 0; c < w->n_cols; c++)
            sum += (double)w->values[(size_t)r * w->n_cols + c] * x[c];
        out[r] = sum;
    }
}

// qkv: of positions 0..pos, 3 e values each.
static void ref_attention(double *out, const double *qkv, uint32_t pos, uint32_t e,
                          uint32_t head_dim) {
    double *p = malloc((pos + 1) * sizeof *p);
    must(p != NULL, "no memory");
    for (uint32_t h = 0; h < e; h += head_dim) {
        double total = 0;
        for (uint32_t t = 0; t <= pos; t++) {
            double dot = 0;
            for (uint32_t i = 0; i < head_dim; i++)
                dot += qkv[(size_t)pos * 3 * e + h + i] * qkv[(size_t)t * 3 * e + e + h + i];
            p[t] = exp(dot / sqrt((double)head_dim));
            total += p[t];
        }
        for (uint32_t i = 0; i < head_dim; i++) {
            out[h + i] = 0;
            for (uint32_t t = 0; t <= pos; t++)
                out[h + i] += p[t] / total * qkv[(size_t)t * 3 * e + 2 * e + h + i];
        }
    }
    free(p);
}

void forward_reference(const forward_model *m, const int32_t *ids, uint32_t n, int kv_type,
                       double *logits) {
    const inki_weights *w = &m->weights;
    const uint32_t e = w->n_embd, f = w->n_ff;
    double *x = malloc(sizeof *x * n * e), *qkv = malloc(sizeof *qkv * n * 3 * e);
    double *norm = malloc(sizeof *norm * e), *mid = malloc(sizeof *mid * (e > f ? e : f));
    double *out = malloc(sizeof *out * e);
    must(x && qkv && norm && mid && out, "no memory");
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t i = 0; i < e; i++)
            x[t * e + i] = (double)m->token_embd.values[(size_t)ids[t] * e + i] +
                           (double)m->pos_embd.values[(size_t)t * e + i];
    for (uint32_t k = 0; k < w->n_layer; k++) {
        const inki_layer *l = &w->layers[k];
        for (uint32_t t = 0; t < n; t++) {
            ref_norm(norm, x + t * e, l->attn_norm_gain, l->attn_norm_bias, e);
            double *row = qkv + (size_t)t * 3 * e;
            ref_linear(row, norm, &l->qkv, &m->qkv[k], l->qkv_bias);
            ref_kv(row + e, 2 * e, w->head_dim, kv_type);
        }
        for (uint32_t t = 0; t < n; t++) {
            ref_attention(mid, qkv, t, e, w->head_dim);
            ref_linear(out, mid, &l->attn_out, &m->attn_out[k], l->attn_out_bias);
            for (uint32_t i = 0; i < e; i++) x[t * e + i] += out[i];
            ref_norm(norm, x + t * e, l->ffn_norm_gain, l->ffn_norm_bias, e);
            ref_linear(mid, norm, &l->ffn_up, &m->ffn_up[k], l->ffn_up_bias);
            for (uint32_t i = 0; i < f; i++) {
                const double u = mid[i];
                mid[i] = 0.5 * u * (1 + tanh(sqrt(2 / acos(-1.0)) * (u + 0.044715 * u * u * u)));
            }
            ref_linear(out, mid, &l->ffn_down, &m->ffn_down[k], l->ffn_down_bias);
            for (uint32_t i = 0; i < e; i++) x[t * e + i] += out[i];
        }
    }
    for (uint32_t t = 0; t < n; t++) {
        ref_norm(norm, x + t * e, w->out_norm_gain, w->out_norm_bias, e);
        ref_linear(logits + (size_t)t * w->n_vocab, norm, &w->head, &m->token_embd, NULL);
    }
    free(x);
    free(qkv);
    free(norm);
    free(mid);
    free(out);
}

// --- the real pass -----------------------------------------------------------------------------

void forward_runner_init(forward_runner *r, forward_model *m, uint32_t n_threads, uint32_t n_rows) {
    memset(r, 0, sizeof *r);
    r->model = m;
    r->n_rows = n_rows;
    const inki_mem mem = inki_mem_from(NULL);
    if (n_threads > 1)
        must(inki_pool_new(&r->pool, &mem, n_threads, NULL) == INK_OK && inki_pool_enter(r->pool),
             "no pool");
    inki_arena arena = {0};
    inki_scratch_carve(&r->scratch, &arena, &m->weights, n_rows);
    r->memory = aligned_alloc(64, arena.used);
    must(r->memory != NULL, "no memory");
    memset(r->memory, 0xff, arena.used); // NaN: what is read before it is written shows
    arena = (inki_arena){.base = r->memory};
    inki_scratch_carve(&r->scratch, &arena, &m->weights, n_rows);
}

void forward_runner_free(forward_runner *r) {
    if (r->pool != NULL) {
        inki_pool_leave(r->pool);
        inki_pool_free(r->pool);
    }
    free(r->memory);
}

ink_status forward_runner_rows(forward_runner *r, const inki_row *rows, uint32_t n,
                               ink_error *error) {
    const inki_forward f = {.weights = &r->model->weights,
                            .kernels = &r->model->kernels,
                            .pool = r->pool,
                            .scratch = &r->scratch,
                            .cancelled = r->cancelled,
                            .cancelled_arg = r->cancelled_arg};
    return inki_forward_run(&f, rows, n, error);
}

ink_status forward_runner_ids(forward_runner *r, inki_kv *kv, const int32_t *ids, uint32_t n,
                              uint32_t past, uint32_t piece, float *logits, ink_error *error) {
    inki_row *rows = malloc(sizeof *rows * piece);
    must(rows != NULL && piece <= r->n_rows, "piece too large");
    ink_status status = INK_OK;
    for (uint32_t at = 0; at < n && status == INK_OK; at += piece) {
        const uint32_t m = n - at < piece ? n - at : piece;
        must(inki_kv_prepare(kv, past + at, past + at + m, NULL) == INK_OK, "no pages");
        for (uint32_t i = 0; i < m; i++)
            rows[i] = (inki_row){
                kv,          past + at + i,
                ids[at + i], logits ? logits + (size_t)(at + i) * r->model->weights.n_vocab : NULL,
                NULL,        NULL};
        status = forward_runner_rows(r, rows, m, error);
    }
    free(rows);
    return status;
}

void forward_kv_new(inki_kv *kv, const forward_model *m, uint32_t kv_type, bool reserve) {
    const inki_weights *w = &m->weights;
    const inki_mem mem = inki_mem_from(NULL);
    inki_kv_layout layout;
    must(inki_kv_layout_init(&layout, kv_type, w->n_layer, w->n_head, w->head_dim), "layout");
    inki_kv_page **table = malloc(sizeof *table * inki_kv_pages_for(w->n_ctx));
    must(table != NULL, "no memory");
    must(inki_kv_init(kv, &layout, table, w->n_ctx, reserve, &mem, NULL) == INK_OK, "no pages");
}

void forward_kv_delete(inki_kv *kv) {
    inki_kv_page **table = kv->pages;
    inki_kv_free(kv);
    free(table);
}
