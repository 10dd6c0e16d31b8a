// SPDX-License-Identifier: MIT
// A net is made: its parameters laid out in one row of numbers, its arrays carved from one block.
#include "train/net_parts.h"

#include "base/mix.h"
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Numbers of a piece of logits: 8 MB. More rows would leave the caches, fewer read the head
// oftener.
enum { CHUNK_VALUES = 2 << 20, CHUNK_MIN = 16, MAX_RANK = 1024 };
static const char *const linear_names[] = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};

// --- parameters ----------------------------------------------------------------------------------

// Run twice: with params NULL it counts.
typedef struct layout {
    inki_param *params;
    size_t n_params, n_values;
} layout;

static size_t put_param(layout *l, const char *name, size_t n_rows, size_t n_cols) {
    const size_t at = l->n_values;
    if (l->params != NULL) {
        inki_param *p = &l->params[l->n_params];
        snprintf(p->name, sizeof p->name, "%s", name);
        p->n_rows = (uint32_t)n_rows;
        p->n_cols = (uint32_t)n_cols;
        p->at = at;
        p->decays = n_rows > 1;
    }
    l->n_params++;
    l->n_values += n_rows * n_cols;
    return at;
}

static void put_layer_param(layout *l, uint32_t layer, const char *name, size_t n_rows,
                            size_t n_cols) {
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s", (unsigned)layer, name);
    put_param(l, full, n_rows, n_cols);
}

static void linear_shape(const inki_net_shape *s, size_t index, uint32_t *n_out, uint32_t *n_in) {
    const uint32_t outs[] = {3 * s->n_embd, s->n_embd, s->n_ff, s->n_embd};
    const uint32_t ins[] = {s->n_embd, s->n_embd, s->n_embd, s->n_ff};
    *n_out = outs[index];
    *n_in = ins[index];
}

static void put_norm(layout *l, uint32_t layer, const char *name, size_t n_embd) {
    char full[48];
    snprintf(full, sizeof full, "%s.weight", name);
    put_layer_param(l, layer, full, 1, n_embd);
    snprintf(full, sizeof full, "%s.bias", name);
    put_layer_param(l, layer, full, 1, n_embd);
}

static void put_linear(layout *l, const inki_net_shape *s, uint32_t layer, size_t index,
                       uint32_t rank) {
    uint32_t n_out, n_in;
    char name[48];
    linear_shape(s, index, &n_out, &n_in);
    if (rank > 0) {
        snprintf(name, sizeof name, "%s.weight.lora_a", linear_names[index]);
        put_layer_param(l, layer, name, rank, n_in);
        snprintf(name, sizeof name, "%s.weight.lora_b", linear_names[index]);
        put_layer_param(l, layer, name, n_out, rank);
        return;
    }
    snprintf(name, sizeof name, "%s.weight", linear_names[index]);
    put_layer_param(l, layer, name, n_out, n_in);
    snprintf(name, sizeof name, "%s.bias", linear_names[index]);
    put_layer_param(l, layer, name, 1, n_out);
}

static void lay_out(layout *l, const inki_net_options *o) {
    const inki_net_shape *s = &o->shape;
    const bool lora = o->base != NULL;
    if (lora && o->lora_rank == 0) return;
    if (!lora) {
        put_param(l, "token_embd.weight", s->n_vocab, s->n_embd);
        put_param(l, "position_embd.weight", s->n_ctx, s->n_embd);
    }
    for (uint32_t i = 0; i < s->n_layer; i++) {
        if (!lora) put_norm(l, i, "attn_norm", s->n_embd);
        put_linear(l, s, i, 0, o->lora_rank);
        put_linear(l, s, i, 1, o->lora_rank);
        if (!lora) put_norm(l, i, "ffn_norm", s->n_embd);
        put_linear(l, s, i, 2, o->lora_rank);
        put_linear(l, s, i, 3, o->lora_rank);
    }
    if (lora) return;
    put_param(l, "output_norm.weight", 1, s->n_embd);
    put_param(l, "output_norm.bias", 1, s->n_embd);
}

// --- arrays --------------------------------------------------------------------------------------

static float *take_floats(inki_arena *a, size_t n, size_t width) {
    size_t total;
    if (!inki_mul(n, width, &total)) a->overflow = true;
    return (float *)inki_arena_take(a, a->overflow ? 1 : total, sizeof(float));
}

static void carve_layer_acts(inki_net *net, inki_net_acts *acts, inki_arena *a) {
    const inki_net_shape *s = &net->options.shape;
    const size_t n = net->options.n_tokens_a_pass;
    acts->attn_stats = inki_arena_take(a, n, sizeof *acts->attn_stats);
    acts->ffn_stats = inki_arena_take(a, n, sizeof *acts->ffn_stats);
    acts->qkv = take_floats(a, n, 3 * (size_t)s->n_embd);
    acts->attn = take_floats(a, n, s->n_embd);
    acts->log_sum = take_floats(a, n, s->n_head);
    acts->mid = take_floats(a, n, s->n_embd);
    acts->up = take_floats(a, n, s->n_ff);
}

static void carve_acts(inki_net *net, inki_arena *a) {
    const inki_net_options *o = &net->options;
    inki_net_acts shared = {0};
    net->acts = inki_arena_take(a, o->shape.n_layer, sizeof *net->acts);
    // A frozen net without adapters never goes back: one layer's arrays are enough for it.
    const bool one = o->recompute || (o->base != NULL && o->lora_rank == 0);
    if (one) carve_layer_acts(net, &shared, a);
    for (uint32_t i = 0; i < o->shape.n_layer; i++) {
        inki_net_acts acts = shared;
        if (!one) carve_layer_acts(net, &acts, a);
        acts.x = take_floats(a, o->n_tokens_a_pass, o->shape.n_embd);
        if (a->base != NULL) net->acts[i] = acts;
    }
}

static void carve(inki_net *net, inki_arena *a) {
    const inki_net_options *o = &net->options;
    const inki_net_shape *s = &o->shape;
    const size_t n = o->n_tokens_a_pass, n_wide = s->n_ff > 3 * s->n_embd ? s->n_ff : 3 * s->n_embd;
    const size_t head_dim = s->n_embd / s->n_head;
    net->params = inki_arena_take(a, net->n_params + 1, sizeof *net->params);
    net->weights = take_floats(a, net->n_values + 1, 1);
    net->grads = take_floats(a, net->n_values + 1, 1);
    net->layers = inki_arena_take(a, s->n_layer, sizeof *net->layers);
    carve_acts(net, a);
    net->x_out = take_floats(a, n, s->n_embd);
    net->out_stats = inki_arena_take(a, n, sizeof *net->out_stats);
    net->norm = take_floats(a, n, s->n_embd);
    net->wide = take_floats(a, n, n_wide);
    net->dx = take_floats(a, n, s->n_embd);
    net->dnorm = take_floats(a, n, s->n_embd);
    net->part = take_floats(a, n, s->n_embd);
    net->dwide = take_floats(a, n, s->n_ff);
    net->lora_t = take_floats(a, n, (size_t)o->lora_rank + 1);
    net->lora_dt = take_floats(a, n, (size_t)o->lora_rank + 1);
    net->logits = take_floats(a, net->n_chunk, s->n_vocab);
    net->row_loss = inki_arena_take(a, net->n_chunk, sizeof *net->row_loss);
    net->row_hard = inki_arena_take(a, net->n_chunk, sizeof *net->row_hard);
    net->attention_work = inki_arena_take(a, net->n_threads, sizeof *net->attention_work);
    for (uint32_t i = 0; i < net->n_threads; i++) {
        void *work = inki_arena_take(a, inki_attention_work_bytes(o->n_seq, head_dim), 1);
        if (a->base != NULL) net->attention_work[i] = work;
    }
}

// --- views ---------------------------------------------------------------------------------------

typedef struct binder {
    inki_net *net;
    size_t next; // parameter
} binder;

static size_t next_at(binder *b) { return b->net->params[b->next++].at; }

static void bind_norm(binder *b, inki_net_norm *norm, const float *gain, const float *bias) {
    inki_net *net = b->net;
    *norm = (inki_net_norm){gain, bias, NULL, NULL};
    if (net->options.base != NULL) return;
    const size_t g = next_at(b), s = next_at(b);
    *norm = (inki_net_norm){net->weights + g, net->weights + s, net->grads + g, net->grads + s};
}

static inki_operand tensor_operand(const inki_tensor *t) {
    return (inki_operand){t->data, t->type, t->row_bytes, false};
}

static void bind_linear(binder *b, inki_net_linear *l, size_t index, const inki_tensor *tensor,
                        const float *bias) {
    inki_net *net = b->net;
    memset(l, 0, sizeof *l);
    linear_shape(&net->options.shape, index, &l->n_out, &l->n_in);
    if (net->options.base == NULL) {
        const size_t w = next_at(b), c = next_at(b);
        l->w = (inki_operand){net->weights + w, INKI_F32, l->n_in * sizeof(float), false};
        l->dw = net->grads + w;
        l->bias = net->weights + c;
        l->dbias = net->grads + c;
        return;
    }
    l->w = tensor_operand(tensor);
    l->bias = bias;
    if (net->options.lora_rank == 0) return;
    const size_t down = next_at(b), up = next_at(b);
    l->lora_a = net->weights + down;
    l->d_lora_a = net->grads + down;
    l->lora_b = net->weights + up;
    l->d_lora_b = net->grads + up;
}

static void bind(inki_net *net) {
    static const inki_layer none = {0};
    const inki_weights *base = net->options.base;
    const size_t n_embd = net->options.shape.n_embd;
    binder b = {net, 0};
    if (base == NULL) {
        const size_t e = next_at(&b), p = next_at(&b);
        net->embed = (inki_operand){net->weights + e, INKI_F32, n_embd * sizeof(float), false};
        net->positions = (inki_operand){net->weights + p, INKI_F32, n_embd * sizeof(float), false};
        net->d_embed = net->grads + e;
        net->d_positions = net->grads + p;
        net->head = net->embed;
    } else {
        net->embed = tensor_operand(&base->token_embd);
        net->positions = tensor_operand(&base->pos_embd);
        net->head = tensor_operand(&base->head);
    }
    for (uint32_t i = 0; i < net->options.shape.n_layer; i++) {
        const inki_layer *from = base != NULL ? &base->layers[i] : &none;
        inki_net_layer *l = &net->layers[i];
        bind_norm(&b, &l->attn_norm, from->attn_norm_gain, from->attn_norm_bias);
        bind_linear(&b, &l->qkv, 0, &from->qkv, from->qkv_bias);
        bind_linear(&b, &l->attn_out, 1, &from->attn_out, from->attn_out_bias);
        bind_norm(&b, &l->ffn_norm, from->ffn_norm_gain, from->ffn_norm_bias);
        bind_linear(&b, &l->ffn_up, 2, &from->ffn_up, from->ffn_up_bias);
        bind_linear(&b, &l->ffn_down, 3, &from->ffn_down, from->ffn_down_bias);
    }
    bind_norm(&b, &net->out_norm, base != NULL ? base->out_norm_gain : NULL,
              base != NULL ? base->out_norm_bias : NULL);
}

// --- making --------------------------------------------------------------------------------------

static ink_status check_shape(const inki_net_shape *s, ink_error *error) {
    static const struct {
        const char *name;
        size_t at;
        uint32_t most;
    } fields[] = {{"n_vocab", offsetof(inki_net_shape, n_vocab), INKI_MAX_VOCAB},
                  {"n_ctx", offsetof(inki_net_shape, n_ctx), INKI_MAX_CTX},
                  {"n_embd", offsetof(inki_net_shape, n_embd), INKI_MAX_EMBD},
                  {"n_layer", offsetof(inki_net_shape, n_layer), INKI_MAX_LAYERS},
                  {"n_head", offsetof(inki_net_shape, n_head), INKI_MAX_EMBD},
                  {"n_ff", offsetof(inki_net_shape, n_ff), INKI_MAX_FF}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        uint32_t value;
        memcpy(&value, (const char *)s + fields[i].at, sizeof value);
        if (value == 0 || value > fields[i].most)
            return inki_fail(error, value == 0 ? INK_E_ARG : INK_E_LIMIT, fields[i].name, 0,
                             "%u; expected 1 to %u", (unsigned)value, (unsigned)fields[i].most);
    }
    if (s->n_embd % s->n_head != 0)
        return inki_fail(error, INK_E_ARG, "n_embd", 0, "%u is no multiple of %u heads",
                         (unsigned)s->n_embd, (unsigned)s->n_head);
    if (s->n_embd / s->n_head > INKI_MAX_HEAD_DIM)
        return inki_fail(error, INK_E_LIMIT, "n_head", 0, "a head has %u dimensions, at most %d",
                         (unsigned)(s->n_embd / s->n_head), INKI_MAX_HEAD_DIM);
    return INK_OK;
}

static ink_status check_options(inki_net_options *o, ink_error *error) {
    ink_status status = check_shape(&o->shape, error);
    if (status != INK_OK) return status;
    if (o->n_seq == 0) o->n_seq = o->shape.n_ctx;
    if (o->n_seq > o->shape.n_ctx)
        return inki_fail(error, INK_E_ARG, "n_seq", 0, "%u tokens do not fit into a context of %u",
                         (unsigned)o->n_seq, (unsigned)o->shape.n_ctx);
    if (o->n_tokens_a_pass == 0) o->n_tokens_a_pass = o->n_seq;
    if (o->n_tokens_a_pass % o->n_seq != 0 || o->n_tokens_a_pass > 1u << 24)
        return inki_fail(error, INK_E_ARG, "n_tokens_a_pass", 0,
                         "%u; expected a multiple of %u, at most 2^24",
                         (unsigned)o->n_tokens_a_pass, (unsigned)o->n_seq);
    if (!(o->dropout >= 0 && o->dropout < 1)) {
        char text[32];
        inki_format_float(o->dropout, text, sizeof text);
        return inki_fail(error, INK_E_ARG, "dropout", 0, "%s; expected 0 to below 1", text);
    }
    if (o->base == NULL && o->lora_rank > 0)
        return inki_fail(error, INK_E_ARG, "lora_rank", 0, "adapters need a model to be beside");
    if (o->lora_rank > MAX_RANK)
        return inki_fail(error, INK_E_LIMIT, "lora_rank", 0, "%u; at most %d",
                         (unsigned)o->lora_rank, MAX_RANK);
    return INK_OK;
}

// Sizes, and the block's bytes by a first carving.
static ink_status measure(inki_net *net, const inki_compute *compute,
                          const inki_net_options *options, ink_error *error) {
    memset(net, 0, sizeof *net);
    net->compute = *compute;
    net->options = *options;
    const ink_status status = check_options(&net->options, error);
    if (status != INK_OK) return status;
    layout l = {0};
    lay_out(&l, &net->options);
    net->n_params = l.n_params;
    net->n_values = l.n_values;
    net->n_threads = compute->pool != NULL ? inki_pool_n_threads(compute->pool) : 1;
    const size_t rows = CHUNK_VALUES / net->options.shape.n_vocab;
    net->n_chunk = rows < CHUNK_MIN ? CHUNK_MIN : rows;
    if (net->n_chunk > net->options.n_tokens_a_pass) net->n_chunk = net->options.n_tokens_a_pass;
    inki_arena arena = {0};
    carve(net, &arena);
    if (arena.overflow) return inki_fail(error, INK_E_LIMIT, NULL, 0, "such a net is too large");
    net->block_bytes = arena.used;
    return INK_OK;
}

ink_status inki_net_measure(const inki_compute *compute, const inki_net_options *options,
                            size_t *bytes, ink_error *error) {
    inki_net net;
    const ink_status status = measure(&net, compute, options, error);
    if (status == INK_OK) *bytes = net.block_bytes + sizeof net;
    return status;
}

ink_status inki_net_new(inki_net **out, const inki_compute *compute,
                        const inki_net_options *options, ink_error *error) {
    inki_net *net = inki_alloc_zero(&compute->mem, 1, sizeof *net);
    if (net == NULL) return inki_fail_nomem(error, sizeof *net);
    ink_status status = measure(net, compute, options, error);
    if (status == INK_OK) {
        net->block = inki_alloc(&compute->mem, net->block_bytes, 1);
        if (net->block == NULL) status = inki_fail_nomem(error, net->block_bytes);
    }
    if (status == INK_OK)
        status = inki_gemm_new(&net->gemm, &compute->mem, compute->kernels, compute->level,
                               compute->precision, compute->pool, error);
    if (status != INK_OK) {
        inki_net_free(net);
        return status;
    }
    inki_arena arena = {.base = net->block};
    carve(net, &arena);
    layout l = {.params = net->params};
    lay_out(&l, &net->options);
    memset(net->weights, 0, net->n_values * sizeof *net->weights);
    inki_train_ops_init(&net->ops, compute->level);
    inki_attention_init(&net->attention, compute->level);
    bind(net);
    inki_net_clear_grads(net);
    *out = net;
    return INK_OK;
}

void inki_net_free(inki_net *net) {
    if (net == NULL) return;
    const inki_mem mem = net->compute.mem;
    inki_gemm_free(net->gemm);
    inki_release(&mem, net->block, net->block_bytes, 1);
    inki_release(&mem, net, 1, sizeof *net);
}

const inki_net_options *inki_net_get_options(const inki_net *net) { return &net->options; }
const inki_compute *inki_net_get_compute(const inki_net *net) { return &net->compute; }
inki_precision inki_net_precision(const inki_net *net) { return inki_gemm_precision(net->gemm); }
void inki_net_use_pool(inki_net *net, inki_pool *pool) {
    net->compute.pool = pool;
    inki_gemm_use_pool(net->gemm, pool);
}
size_t inki_net_n_params(const inki_net *net, const inki_param **params) {
    if (params != NULL) *params = net->params;
    return net->n_params;
}
size_t inki_net_n_values(const inki_net *net) { return net->n_values; }
float *inki_net_weights(inki_net *net) { return net->weights; }
float *inki_net_grads(inki_net *net) { return net->grads; }
void inki_net_clear_grads(inki_net *net) {
    memset(net->grads, 0, net->n_values * sizeof *net->grads);
}

// --- beginnings ----------------------------------------------------------------------------------

static uint64_t mix(uint64_t z) { return inki_mix64(z + INKI_GOLDEN64); }

// Two independent normal numbers from two uniform ones (Box and Muller 1958).
static void fill_normal(float *out, size_t n, double deviation, uint64_t key) {
    for (size_t i = 0; i < n; i += 2) {
        const uint64_t a = mix(key + i), b = mix(key + i + 1);
        const double radius = sqrt(-2 * log(((double)(a >> 11) + 0.5) * 0x1p-53));
        const double angle = 6.283185307179586 * ((double)(b >> 11) * 0x1p-53);
        out[i] = (float)(deviation * radius * cos(angle));
        if (i + 1 < n) out[i + 1] = (float)(deviation * radius * sin(angle));
    }
}

void inki_net_init_random(inki_net *net, uint64_t seed) {
    const double residual = 0.02 / sqrt(2.0 * net->options.shape.n_layer);
    for (size_t i = 0; i < net->n_params; i++) {
        const inki_param *p = &net->params[i];
        const size_t n = (size_t)p->n_rows * p->n_cols;
        float *w = net->weights + p->at;
        const bool back = inki_ends_with(p->name, "attn_output.weight") ||
                          inki_ends_with(p->name, "ffn_down.weight");
        double deviation = back ? residual : 0.02;
        if (inki_ends_with(p->name, ".lora_a")) deviation = 1 / sqrt((double)p->n_cols);
        if (inki_ends_with(p->name, ".lora_b") || inki_ends_with(p->name, ".bias")) deviation = 0;
        if (inki_ends_with(p->name, "norm.weight")) {
            for (size_t k = 0; k < n; k++) w[k] = 1;
            continue;
        }
        fill_normal(w, n, deviation, mix(seed) ^ mix(0x5eed + i));
    }
}

static void load_rows(inki_net *net, float *out, const inki_tensor *t) {
    for (size_t r = 0; r < t->n_rows; r++)
        net->compute.kernels->dequantize[t->type](
            out + r * t->n_cols, (const uint8_t *)t->data + r * t->row_bytes, t->n_cols);
}

static void load_linear(inki_net *net, const inki_net_linear *l, const inki_tensor *t,
                        const float *bias) {
    load_rows(net, net->weights + (l->dw - net->grads), t);
    memcpy(net->weights + (l->dbias - net->grads), bias, l->n_out * sizeof *bias);
}

static void load_norm(inki_net *net, const inki_net_norm *norm, const float *gain,
                      const float *bias) {
    const size_t bytes = net->options.shape.n_embd * sizeof *gain;
    memcpy(net->weights + (norm->dgain - net->grads), gain, bytes);
    memcpy(net->weights + (norm->dbias - net->grads), bias, bytes);
}

ink_status inki_net_load(inki_net *net, const inki_weights *from, ink_error *error) {
    const inki_net_shape *s = &net->options.shape;
    if (from->head.data != from->token_embd.data)
        return inki_fail(error, INK_E_UNSUPPORTED, "output.weight", 0,
                         "a model whose head is not its embedding cannot be trained");
    if (net->options.base != NULL || from->n_vocab != s->n_vocab || from->n_ctx != s->n_ctx ||
        from->n_embd != s->n_embd || from->n_layer != s->n_layer || from->n_head != s->n_head ||
        from->n_ff != s->n_ff)
        return inki_fail(error, INK_E_ARG, NULL, 0, "the model has another shape");
    load_rows(net, net->weights + (net->d_embed - net->grads), &from->token_embd);
    load_rows(net, net->weights + (net->d_positions - net->grads), &from->pos_embd);
    for (uint32_t i = 0; i < s->n_layer; i++) {
        const inki_layer *f = &from->layers[i];
        const inki_net_layer *l = &net->layers[i];
        load_norm(net, &l->attn_norm, f->attn_norm_gain, f->attn_norm_bias);
        load_linear(net, &l->qkv, &f->qkv, f->qkv_bias);
        load_linear(net, &l->attn_out, &f->attn_out, f->attn_out_bias);
        load_norm(net, &l->ffn_norm, f->ffn_norm_gain, f->ffn_norm_bias);
        load_linear(net, &l->ffn_up, &f->ffn_up, f->ffn_up_bias);
        load_linear(net, &l->ffn_down, &f->ffn_down, f->ffn_down_bias);
    }
    load_norm(net, &net->out_norm, from->out_norm_gain, from->out_norm_bias);
    return INK_OK;
}
