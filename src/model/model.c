// SPDX-License-Identifier: MIT
#include "model/model.h"

#include "model/arch.h"
#include "model/parse.h"

#include <stdio.h>
#include <string.h>

enum { MODEL_TENSORS_A_LAYER = 12, MODEL_PIECE = 256 };

typedef unsigned long long model_ull; // for messages

static const inki_arch *const archs[] = {&inki_arch_gpt2};

static ink_status find_arch(inki_parse *p) {
    inki_str name = {"", 0};
    inki_gguf_get_str(p->gguf, "general.architecture", false, &name, NULL);
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (inki_str_equal(name, archs[i]->name)) {
            p->arch = archs[i];
            return INK_OK;
        }
    return inki_gguf_expect_str(p->gguf, "general.architecture", archs[0]->name, INK_E_UNSUPPORTED,
                                p->error);
}

static ink_status get_size(inki_parse *p, const char *key, uint32_t limit, uint32_t *out) {
    const ink_status status = inki_gguf_get_u32(p->gguf, key, true, out, p->error);
    if (status != INK_OK) return status;
    const uint64_t offset = inki_gguf_find(p->gguf, key)->offset;
    if (*out == 0)
        return inki_fail(p->error, INK_E_FORMAT, key, offset, "is 0, at least 1 was expected");
    if (*out > limit)
        return inki_fail(p->error, INK_E_LIMIT, key, offset, "is %u, at most %u is supported",
                         (unsigned)*out, (unsigned)limit);
    return INK_OK;
}

static ink_status get_sizes(inki_parse *p) {
    inki_weights *w = p->w;
    const inki_arch *a = p->arch;
    const struct {
        const char *key;
        uint32_t limit, *out;
    } sizes[] = {{a->n_ctx, INKI_MAX_CTX, &w->n_ctx},
                 {a->n_embd, INKI_MAX_EMBD, &w->n_embd},
                 {a->n_ff, INKI_MAX_FF, &w->n_ff},
                 {a->n_layer, INKI_MAX_LAYERS, &w->n_layer},
                 {a->n_head, INKI_MAX_EMBD, &w->n_head}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const ink_status status = get_size(p, sizes[i].key, sizes[i].limit, sizes[i].out);
        if (status != INK_OK) return status;
    }
    return inki_gguf_get_f32(p->gguf, a->norm_eps, true, &w->norm_eps, p->error);
}

// What one key says must go with what the others say.
static ink_status check_sizes(inki_parse *p) {
    inki_weights *w = p->w;
    const inki_arch *a = p->arch;
    if (w->n_embd % w->n_head != 0)
        return inki_fail(p->error, INK_E_FORMAT, a->n_head,
                         inki_gguf_find(p->gguf, a->n_head)->offset,
                         "is %u, which does not divide the embedding length %u",
                         (unsigned)w->n_head, (unsigned)w->n_embd);
    w->head_dim = w->n_embd / w->n_head;
    if (w->head_dim > INKI_MAX_HEAD_DIM)
        return inki_fail(p->error, INK_E_LIMIT, a->n_head,
                         inki_gguf_find(p->gguf, a->n_head)->offset,
                         "gives heads of %u values, at most %d are supported",
                         (unsigned)w->head_dim, (int)INKI_MAX_HEAD_DIM);
    uint32_t n_head_kv = w->n_head;
    const ink_status status = inki_gguf_get_u32(p->gguf, a->n_head_kv, false, &n_head_kv, p->error);
    if (status != INK_OK) return status;
    if (n_head_kv != w->n_head)
        return inki_fail(p->error, INK_E_UNSUPPORTED, a->n_head_kv,
                         inki_gguf_find(p->gguf, a->n_head_kv)->offset,
                         "is %u, the %u of the head count was expected", (unsigned)n_head_kv,
                         (unsigned)w->n_head);
    if (!(w->norm_eps > 0 && w->norm_eps <= 1)) // a NaN is neither
        return inki_fail(p->error, INK_E_FORMAT, a->norm_eps,
                         inki_gguf_find(p->gguf, a->norm_eps)->offset,
                         "is out of range, a number above 0 and up to 1 was expected");
    if (p->gguf->n_tensors / MODEL_TENSORS_A_LAYER < w->n_layer)
        return inki_fail(p->error, INK_E_FORMAT, a->n_layer,
                         inki_gguf_find(p->gguf, a->n_layer)->offset,
                         "is %u, too many for the %zu tensors in the file", (unsigned)w->n_layer,
                         p->gguf->n_tensors);
    return INK_OK;
}

// rows 0: any number.
static ink_status check_shape(inki_parse *p, const inki_gguf_tensor *t, uint32_t cols,
                              uint64_t rows) {
    const bool fits = t->dims[0] == cols && (rows == 0 || t->dims[1] == rows) && t->dims[2] == 1 &&
                      t->dims[3] == 1;
    if (!fits) {
        char wanted[24] = "any number";
        if (rows != 0) snprintf(wanted, sizeof wanted, "%llu", (model_ull)rows);
        return inki_fail(p->error, INK_E_FORMAT, t->name, t->offset,
                         "has the shape [%llu, %llu, %llu, %llu], [%u, %s, 1, 1] was expected",
                         (model_ull)t->dims[0], (model_ull)t->dims[1], (model_ull)t->dims[2],
                         (model_ull)t->dims[3], (unsigned)cols, wanted);
    }
    // A caller's memory may begin anywhere, offsets in the file say nothing about that.
    if ((uintptr_t)t->data % sizeof(float) != 0)
        return inki_fail(
            p->error, INK_E_ARG, t->name, t->offset,
            "does not lie at a multiple of 4 in memory: the model must begin at a multiple of 8");
    return INK_OK;
}

static ink_status check_type(inki_parse *p, const inki_gguf_tensor *t, int use) {
    const bool multiplies = (use & INKI_USE_MATMUL) == 0 || p->kernels->matmul[t->type] != NULL;
    const bool gives_rows = (use & INKI_USE_ROWS) == 0 || p->kernels->dequantize[t->type] != NULL;
    if (multiplies && gives_rows) return INK_OK;
    return inki_fail(
        p->error, INK_E_UNSUPPORTED, t->name, t->offset,
        "has the type %s, for which there are no kernels (F32, F16, BF16, Q4_0 to Q8_0 and Q2_K to "
        "Q6_K have some)",
        inki_type_of(t->type).name);
}

static const inki_gguf_tensor *find_named(inki_parse *p, const char *name,
                                          char full[INKI_PARSE_NAME]) {
    snprintf(full, INKI_PARSE_NAME, "%s%s", p->prefix, name);
    return inki_gguf_find_tensor(p->gguf, full);
}

static ink_status need_tensor(inki_parse *p, const char *name, const inki_gguf_tensor **out) {
    char full[INKI_PARSE_NAME];
    *out = find_named(p, name, full);
    if (*out != NULL) return INK_OK;
    return inki_fail(p->error, INK_E_FORMAT, full, 0, "this tensor is missing");
}

static ink_status need_vector(inki_parse *p, const char *name, uint32_t n, const float **out) {
    const inki_gguf_tensor *t;
    ink_status status = need_tensor(p, name, &t);
    if (status == INK_OK) status = check_shape(p, t, n, 1);
    if (status != INK_OK) return status;
    if (t->type != INKI_F32)
        return inki_fail(p->error, INK_E_UNSUPPORTED, t->name, t->offset,
                         "has the type %s, vectors must be F32", inki_type_of(t->type).name);
    *out = t->data;
    return INK_OK;
}

ink_status inki_parse_matrix(inki_parse *p, const char *name, uint32_t cols, uint32_t rows, int use,
                             inki_tensor *out) {
    const inki_gguf_tensor *t;
    uint64_t row_bytes = 0;
    ink_status status = need_tensor(p, name, &t);
    if (status == INK_OK) status = check_shape(p, t, cols, rows);
    if (status == INK_OK) status = check_type(p, t, use);
    if (status != INK_OK) return status;
    if (t->dims[1] > INKI_MAX_VOCAB)
        return inki_fail(p->error, INK_E_LIMIT, t->name, t->offset,
                         "has %llu rows, at most %d are supported", (model_ull)t->dims[1],
                         (int)INKI_MAX_VOCAB);
    inki_type_row_bytes(t->type, cols, &row_bytes);
    *out = (inki_tensor){.data = t->data,
                         .name = t->name,
                         .type = t->type,
                         .n_rows = (uint32_t)t->dims[1],
                         .n_cols = cols,
                         .row_bytes = (size_t)row_bytes};
    return INK_OK;
}

// Does the next thing only if all went well so far.
#define STEP(call) (status = status == INK_OK ? (call) : status)

static ink_status find_layer(inki_parse *p, inki_layer *layer) {
    const inki_arch *a = p->arch;
    const uint32_t e = p->w->n_embd, ff = p->w->n_ff;
    ink_status status = INK_OK;
    STEP(need_vector(p, a->attn_norm_gain, e, &layer->attn_norm_gain));
    STEP(need_vector(p, a->attn_norm_bias, e, &layer->attn_norm_bias));
    STEP(inki_parse_matrix(p, a->qkv, e, 3 * e, INKI_USE_MATMUL, &layer->qkv));
    STEP(need_vector(p, a->qkv_bias, 3 * e, &layer->qkv_bias));
    STEP(inki_parse_matrix(p, a->attn_out, e, e, INKI_USE_MATMUL, &layer->attn_out));
    STEP(need_vector(p, a->attn_out_bias, e, &layer->attn_out_bias));
    STEP(need_vector(p, a->ffn_norm_gain, e, &layer->ffn_norm_gain));
    STEP(need_vector(p, a->ffn_norm_bias, e, &layer->ffn_norm_bias));
    STEP(inki_parse_matrix(p, a->ffn_up, e, ff, INKI_USE_MATMUL, &layer->ffn_up));
    STEP(need_vector(p, a->ffn_up_bias, ff, &layer->ffn_up_bias));
    STEP(inki_parse_matrix(p, a->ffn_down, ff, e, INKI_USE_MATMUL, &layer->ffn_down));
    STEP(need_vector(p, a->ffn_down_bias, e, &layer->ffn_down_bias));
    return status;
}

static ink_status find_layers(inki_parse *p) {
    inki_weights *w = p->w;
    const inki_arch *a = p->arch;
    char full[INKI_PARSE_NAME];
    ink_status status = INK_OK;
    w->layers = inki_alloc_zero(&w->mem, w->n_layer, sizeof *w->layers);
    if (w->layers == NULL) return inki_fail_nomem(p->error, w->n_layer * sizeof *w->layers);
    for (uint32_t i = 0; i < w->n_layer && status == INK_OK; i++) {
        snprintf(p->prefix, sizeof p->prefix, "blk.%u.", (unsigned)i);
        status = find_layer(p, &w->layers[i]);
        inki_tensor *const adapted[] = {&w->layers[i].qkv, &w->layers[i].attn_out,
                                        &w->layers[i].ffn_up, &w->layers[i].ffn_down};
        for (uint32_t k = 0; k < INKI_LORA_A_LAYER; k++)
            adapted[k]->adapted = i * INKI_LORA_A_LAYER + k + 1;
    }
    // With a layer too few the model would run and write nonsense.
    snprintf(p->prefix, sizeof p->prefix, "blk.%u.", (unsigned)w->n_layer);
    if (status == INK_OK && find_named(p, a->attn_norm_gain, full) != NULL)
        status = inki_fail(p->error, INK_E_FORMAT, a->n_layer,
                           inki_gguf_find(p->gguf, a->n_layer)->offset,
                           "is %u, but there is a tensor %s", (unsigned)w->n_layer, full);
    p->prefix[0] = 0;
    return status;
}

static ink_status find_tensors(inki_parse *p) {
    inki_weights *w = p->w;
    const inki_arch *a = p->arch;
    char full[INKI_PARSE_NAME];
    const bool tied = find_named(p, a->head, full) == NULL;
    ink_status status = INK_OK;
    STEP(inki_parse_matrix(p, a->token_embd, w->n_embd, 0,
                           tied ? INKI_USE_ROWS | INKI_USE_MATMUL : INKI_USE_ROWS, &w->token_embd));
    STEP(inki_parse_matrix(p, a->pos_embd, w->n_embd, w->n_ctx, INKI_USE_ROWS, &w->pos_embd));
    if (status != INK_OK) return status;
    w->n_vocab = w->token_embd.n_rows;
    STEP(find_layers(p));
    STEP(need_vector(p, a->out_norm_gain, w->n_embd, &w->out_norm_gain));
    STEP(need_vector(p, a->out_norm_bias, w->n_embd, &w->out_norm_bias));
    if (tied)
        w->head = w->token_embd;
    else
        STEP(inki_parse_matrix(p, a->head, w->n_embd, w->n_vocab, INKI_USE_MATMUL, &w->head));
    return status;
}

ink_status inki_weights_open(inki_weights *out, const inki_gguf *gguf, const inki_kernels *kernels,
                             const inki_mem *mem, ink_error *error) {
    inki_weights w = {.mem = *mem};
    inki_parse p = {.gguf = gguf, .kernels = kernels, .w = &w, .error = error};
    ink_status status = INK_OK;
    STEP(find_arch(&p));
    STEP(get_sizes(&p));
    STEP(check_sizes(&p));
    STEP(find_tensors(&p));
    if (status == INK_OK)
        *out = w;
    else
        inki_weights_close(&w);
    return status;
}
#undef STEP

void inki_weights_close(inki_weights *w) {
    inki_release(&w->mem, w->layers, w->n_layer, sizeof *w->layers);
    *w = (inki_weights){0};
}

// The first element of values [n] that is no finite number; n if all are. Seen in the bits:
// compilers may be told that infinities do not occur.
static size_t first_nonfinite(const float *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u) return i;
    }
    return n;
}

const char *inki_weights_find_nonfinite(const inki_gguf *gguf, const inki_kernels *kernels,
                                        uint64_t *index) {
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const inki_gguf_tensor *t = &gguf->tensors[i];
        const inki_type_info info = inki_type_of(t->type);
        if (kernels->dequantize[t->type] == NULL) continue;
        const uint64_t n = t->bytes / info.block_bytes * info.block_elems;
        const uint8_t *from = t->data;
        float values[MODEL_PIECE]; // a multiple of every block
        for (uint64_t at = 0; at < n; at += MODEL_PIECE) {
            const size_t piece = n - at < MODEL_PIECE ? (size_t)(n - at) : MODEL_PIECE;
            kernels->dequantize[t->type](values, from, piece);
            from += piece / info.block_elems * info.block_bytes;
            const size_t bad = first_nonfinite(values, piece);
            if (bad == piece) continue;
            if (index != NULL) *index = at + bad;
            return t->name;
        }
    }
    return NULL;
}
